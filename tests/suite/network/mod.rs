//! Transport and window: whom the engine talks to, and how fast.

mod border;
mod governor;
mod schedule;
mod stream;
mod tls;

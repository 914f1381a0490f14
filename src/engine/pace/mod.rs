//! How many connections and parts are in flight: what was measured, and what follows from it. Pure but for `admission`.

pub(crate) mod admission;
pub mod governor;
pub mod progress;
pub mod schedule;
pub mod window;

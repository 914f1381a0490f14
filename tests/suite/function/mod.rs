//! The function: payloads in, answers out, and what it says, keeps and shows.

mod bootstrap;
mod handler;
mod policies;
mod queue;
mod refusals;
mod secrecy;
mod warm;

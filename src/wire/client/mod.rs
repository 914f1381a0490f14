//! One side's client: a call from permit to reply, and whether it is made again.

pub mod attempt;
pub mod call;
pub mod config;
pub mod quirks;
mod remedy;
pub(crate) mod request;
pub mod retry;
pub(crate) mod stream;

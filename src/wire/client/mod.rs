//! The client of one side, source or target.

pub mod attempt;
pub mod call;
pub mod config;
pub mod quirks;
mod remedy;
pub(crate) mod request;
pub mod retry;
pub(crate) mod stream;

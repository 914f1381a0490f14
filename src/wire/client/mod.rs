//! One side's client: a call from permit to reply, and whether it is made again.

pub mod attempt;
pub mod call;
pub mod quirks;
pub(crate) mod request;
pub(crate) mod stream;

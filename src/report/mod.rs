//! Reports, tickets and sweeps as JSON: the one place where their format is known.

pub mod json;
pub mod ticket;

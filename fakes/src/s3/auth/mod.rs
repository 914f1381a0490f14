//! Whose request it is, and what it may do.

pub mod keys;
pub mod policy;

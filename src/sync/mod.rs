//! Many objects: which of them, and what differs between two listings.

pub mod filter;
pub mod sweep;
pub(crate) mod swept;

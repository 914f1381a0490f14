//! Many objects: which of them are meant, and what dead work has left at a target.

pub mod filter;
pub mod sweep;
pub(crate) mod swept;

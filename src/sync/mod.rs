//! Many objects: which keys are meant (`filter.rs`), and the removal of what killed work left at a target (`sweep.rs`).

pub mod filter;
pub mod sweep;
pub(crate) mod swept;

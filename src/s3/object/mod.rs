//! Objects: one operation a file.

pub(crate) mod delete;
pub mod get;
pub mod head;
pub mod put;
pub mod tagging;

//! Objects: one operation a file.

pub mod attributes;
pub mod copy;
pub(crate) mod delete;
pub mod encryption;
pub mod get;
pub mod head;
pub mod put;
pub mod tagging;

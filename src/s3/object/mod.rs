//! Objects: one operation a file.

pub mod delete;
pub mod get;
pub mod head;
pub mod put;
pub mod tagging;

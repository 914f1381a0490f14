//! Reading Rust: which files there are, what of their text is code, and what the code names.

pub(crate) mod names;
pub(crate) mod source;
pub(crate) mod text;

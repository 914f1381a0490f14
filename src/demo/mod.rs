//! The demonstration: two embedded S3 servers of the package `fakes`, a border between them, and the function's
//! handler.

pub mod pair;
pub(crate) mod run;

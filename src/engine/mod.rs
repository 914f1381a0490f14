//! One object from one S3 to another.

pub mod report;

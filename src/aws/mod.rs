//! AWS's services besides S3.

pub mod json;

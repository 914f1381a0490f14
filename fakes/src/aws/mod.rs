//! The neighbours: Secrets Manager and SQS, which speak JSON.

pub mod json;
pub mod queue;
pub mod vault;

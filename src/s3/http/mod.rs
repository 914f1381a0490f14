//! Requests and replies as HTTP: operations, headers, addresses, signatures.

pub mod aws_chunked;
pub mod endpoint;
pub mod message;
pub mod operation;
pub mod sign;

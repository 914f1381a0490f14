//! The embedded servers that the demonstration, tests and benches of xpsync share: S3, Secrets Manager, SQS, a border.
//!
//! [`server`] is the way in: an S3 endpoint on loopback with a store in memory, signatures checked, faults on request.
//! [`net::border`] is a network path to put before it, [`aws::vault`] a Secrets Manager beside it. Nothing here knows
//! of xpsync.

pub mod server;

pub mod aws;
pub mod fault;
pub mod front;
pub mod net;
pub mod s3;
pub mod seen;
pub mod store;

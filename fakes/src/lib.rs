//! The embedded servers that the demonstration, tests and benches of xpsync share: S3, Secrets Manager, SQS, a border.
//!
//! [`server`] is the way in: an S3 endpoint on loopback with a store in memory, signatures checked, faults on request.
//! [`border`] is a network path to put before it, `vault` a Secrets Manager beside it. Nothing here knows of xpsync.

pub mod server;

pub mod attributes;
pub mod conditions;
pub mod content;
pub mod history;
pub mod meddling;
pub mod multipart;
pub mod refusal;
pub mod store;

mod call;
mod chunked;
mod copies;
pub mod keys;
mod listing;
mod objects;
pub mod parked;
pub mod policy;
mod service;
mod uploads;

pub mod faults;
mod reply;

pub mod authority;
mod listener;

pub mod border;
mod json;
pub mod queue;
pub mod vault;

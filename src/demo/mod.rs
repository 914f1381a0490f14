//! The demonstration, and the one fake S3 that it shares with tests, benches, fuzz targets and the reference model.
//!
//! `server` is the way in: an S3 endpoint on loopback with a store in memory, signatures checked, faults on request.
//! `border` is a network path to put before it, `vault` a Secrets Manager beside it. Nothing below this floor knows
//! of it. Modules are grouped in the order of reading: the way in; what S3 means; its protocol; what goes wrong; sockets;
//! neighbours.

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
pub mod pair;
pub mod queue;
pub mod vault;

pub mod run;

//! S3's protocol: from a request to a reply.

pub mod answer;
pub mod auth;
pub mod call;
pub mod chunked;
pub mod copies;
pub mod listing;
pub mod objects;
pub mod refusal;
pub mod request;
pub mod service;
pub mod uploads;

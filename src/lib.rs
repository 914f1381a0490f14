//! Keeps an S3 bucket outside AWS China equal to one inside it.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout))]

pub mod engine;
pub mod events;
pub mod handler;
pub mod s3;
pub mod secrets;
pub mod settings;
pub mod sync;
pub mod telemetry;
pub mod wire;

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "demo")]
pub mod demo;

//! Keeps an S3 bucket outside AWS China equal to one inside it.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout))]

#[cfg(feature = "demo")]
pub mod demo;

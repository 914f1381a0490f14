//! The `xpsync` binary as a process.

mod cp;
mod resume;
mod sweep;

//! Connections: opened, pooled, and what the host has room for.

pub mod connect;
pub mod host_limits;
pub mod pool;
pub mod resolve;
pub mod socket;
pub mod tls;

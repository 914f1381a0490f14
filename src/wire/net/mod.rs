//! Connections: opened, pooled, and what the host has room for.

pub mod connect;
pub(crate) mod host_limits;
pub(crate) mod pool;
pub(crate) mod resolve;
pub(crate) mod socket;
pub mod tls;

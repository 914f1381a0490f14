//! Sockets: certificates, a listener, and the border.

pub mod authority;
pub mod border;
pub mod listener;

//! What is at either side now, asked in small requests that write nothing.

pub mod layout;
pub mod source;
pub mod target;

//! What is at either side now, asked in small requests that write nothing.

pub(crate) mod layout;
pub(crate) mod source;
pub(crate) mod target;

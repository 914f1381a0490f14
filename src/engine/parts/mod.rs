//! Parts from the source to the target.

pub(crate) mod buffering;
pub(crate) mod in_flight;
pub(crate) mod md5s;
pub(crate) mod ordered;
pub(crate) mod part;
pub(crate) mod read;
pub(crate) mod send;
pub(crate) mod stream;
pub(crate) mod uploaded;

//! Parts from the source to the target: read, hashed, sent, held against the answers.

pub mod buffering;
pub mod in_flight;
pub mod md5s;
pub mod ordered;
pub mod part;
pub mod read;
pub mod send;
pub mod stream;
pub mod uploaded;

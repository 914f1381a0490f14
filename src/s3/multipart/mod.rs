//! Multipart uploads: create, parts, complete, abort, lists.

pub mod listing;
pub mod streamed;
pub mod upload;

//! What of an object arrives beside its bytes, and what proves it: attributes, checksums, ETags.

mod attribute_limits;
mod attributes;
mod checksums;
mod preserve;
mod target_md5s;

//! One object: what is sent, what is proven, what is left, whatever happens meanwhile.

mod attribute_limits;
mod attributes;
mod checksums;
mod copy;
mod deletes;
mod faults;
mod order;
mod preserve;
mod races;
mod remedies;
mod resume;
mod streamed_parts;
mod sweep;
mod target_md5s;

//! One object: what is sent, what is proven, what is left, whatever happens meanwhile.

mod copy;
mod deletes;
mod faults;
mod order;
mod races;
mod remedies;
mod resume;
mod steps;
mod streamed_parts;
mod sweep;

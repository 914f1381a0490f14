//! What buckets hold, and what each operation makes of it.

pub mod attributes;
pub mod conditions;
pub mod content;
pub mod history;
pub mod multipart;
pub mod object;
pub mod objects;
pub mod state;
pub mod tamper;
pub mod upload;

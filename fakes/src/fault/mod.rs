//! What goes wrong on request: answers that are refused, cut, changed, or late.

pub mod delayed;
pub mod faults;
pub mod reply;

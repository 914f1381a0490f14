//! The Lambda custom runtime.
fn main() {}

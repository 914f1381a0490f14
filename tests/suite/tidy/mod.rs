//! The rules of the house that a machine can hold: it reads the sources, with std only, and names what breaks them.
//!
//! Each rule is a function from sources to violations. Below it stand the test that the tree keeps it and samples that
//! break it, sneaky ones too.

mod reading;
mod rules;

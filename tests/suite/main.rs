//! All tests that need more than one file of the product, in one binary: everything in process or on loopback.

mod rig;

mod command;
mod fakes;
mod fidelity;
mod function;
mod md5s;
mod model;
mod network;
mod object;
mod tidy;

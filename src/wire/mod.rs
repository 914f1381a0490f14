//! Requests on sockets: one call takes a permit, signs, sends, reads, classifies, and goes again if that may help.
//!
//! Owns connections, time-outs, retries, and what is learned of a server on the way (its region, its clock, how it
//! spells ETags in conditions). Must not know what an object's copy is made of: it sends one operation of `s3` and
//! gives back its reply. Whether another attempt is worth it is decided by `client::retry`, which is pure; how many
//! requests may be under way is asked of a [`gate::Gate`], which the engine implements.

pub mod body;
pub mod client;
pub mod deadline;
pub mod error;
pub mod gate;
pub mod keys;
pub mod net;
pub(crate) mod sdk;

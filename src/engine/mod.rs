//! One object from one S3 to another: pin, decide, plan, move, prove, look again, leave clean.
//!
//! [`copy::copy`] is the one entry; `attempt` is one attempt at it. Rooms follow the trip of an object: `look` at both
//! sides, [`decide`], `parts` from one to the other at the pace of [`pace`], `upload`, `commit`. [`decide`] and
//! [`pace`], but for its `admission`, are pure. [`session`] is what the copies of a process share.
//!
//! Invariants: a write carries a precondition; the source is looked at again after every commit; no upload is left open
//! and no stage left behind without the report saying so; slots never exceed the budget; nothing runs on after the
//! report is given.

pub(crate) mod attempt;
pub mod buffer;
pub(crate) mod commit;
pub(crate) mod context;
pub mod copy;
pub mod decide;
pub mod fault;
pub(crate) mod hint;
pub mod job;
pub(crate) mod look;
pub mod notes;
pub mod pace;
pub(crate) mod parts;
pub mod report;
pub mod session;
pub(crate) mod stop;
pub(crate) mod upload;

//! How many connections and parts are in flight: what was measured, and what follows from it. Pure but for `admission`.

pub mod adaptive;
pub(crate) mod admission;
pub(crate) mod goodput;
pub mod governor;
pub(crate) mod replace;
pub(crate) mod tail;
pub(crate) mod trial;

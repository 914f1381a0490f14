//! How many connections and parts are in flight: what was measured, and what follows from it. Pure but for `admission`.

pub mod adaptive;
pub mod admission;
pub mod goodput;
pub mod governor;
pub mod replace;
pub mod tail;

//! Who may send: the trait by which the wire asks for a permit, and what it tells about each attempt.
//!
//! Every attempt goes through it. The engine's governor answers.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// A boxed future, as the object-safe traits of this floor give.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What an attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// To an answer that is not about load, a refusal included.
    Answered,
    /// To being asked for less.
    Throttled,
    /// To nothing: connection or time ran out.
    Lost,
}

/// What the gate is told about an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// What it came to.
    pub came: Came,
    /// Body bytes that were sent or received.
    pub bytes: u64,
    /// From the permit to the end of the answer.
    pub elapsed: Duration,
}

/// The permission to have one request under way, until it is dropped.
pub trait Permit: Send {
    /// Tells what the attempt came to. An attempt that was given up tells nothing.
    fn tell(&mut self, told: Told);
}

/// Gives permits.
pub trait Gate: Send + Sync {
    /// Waits for a permit.
    ///
    /// # Cancel safety
    /// Must hold nothing before it has given the permit.
    fn enter(&self) -> Boxed<'_, Box<dyn Permit>>;
}

/// A gate that is always open, for control calls outside a copy and for tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct Open;

struct Free;

impl Permit for Free {
    fn tell(&mut self, _: Told) {}
}

impl Gate for Open {
    fn enter(&self) -> Boxed<'_, Box<dyn Permit>> {
        Box::pin(async { Box::new(Free) as Box<dyn Permit> })
    }
}

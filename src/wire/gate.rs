//! Who may send: the trait by which the wire asks for a permit, and what it tells about each attempt.
//!
//! Every attempt goes through it. The engine's governor answers.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::Instant;

/// A boxed future, as the object-safe traits of this floor give.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What an attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestOutcome {
    /// To an answer that is not about load, a refusal included.
    Answered,
    /// To being asked for less.
    Throttled,
    /// To nothing: connection or time ran out.
    Lost,
}

/// What the gate is told about an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestResult {
    /// What it came to.
    pub outcome: RequestOutcome,
    /// From the permit to the end of the answer.
    pub elapsed: Duration,
}

/// What a request is part of: who is let in next depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum UnitKind {
    /// A request that carries no object bytes.
    #[default]
    Control,
    /// An object in one request.
    Object,
    /// A part of an object.
    Part,
}

/// A request that is to be let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unit {
    /// What it is part of.
    pub kind: UnitKind,
    /// Which object of the session it is for, in the order in which they were begun.
    pub object: u64,
    /// The length of its body.
    pub bytes: u64,
}

/// The permission to have one request under way, until it is dropped.
pub trait Permit: Send + Sync {
    /// Tells what the attempt came to. An attempt that was given up tells nothing.
    fn record(&mut self, told: RequestResult);
}

/// Gives permits.
pub trait Gate: Send + Sync {
    /// Waits for a permit.
    ///
    /// # Cancel safety
    /// Must hold nothing before it has given the permit.
    fn enter(&self, unit: Unit) -> Boxed<'_, Box<dyn Permit>>;

    /// A permit at once, even above the window: for a request that another one waits for which has a permit already, so
    /// that two kinds of work can never hold what each other needs.
    fn admit(&self) -> Box<dyn Permit>;

    /// Hears of body bytes that moved over the path, as they move.
    fn moved(&self, bytes: u64);

    /// How many requests may be under way now.
    fn window(&self) -> u32;

    /// How many requests in flight are not wanted any more and should be begun again later.
    fn surplus(&self) -> u32;

    /// Hears that nothing moved on so many connections while others moved.
    fn starved(&self, count: u32);

    /// Hears that an invocation begins, and when it ends: what was measured before may have been frozen in between.
    fn resumed(&self, until: Instant);
}

/// A gate that is always open, for control calls outside a copy and for tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct AlwaysOpen;

struct FreePermit;

impl Permit for FreePermit {
    fn record(&mut self, _: RequestResult) {}
}

impl Gate for AlwaysOpen {
    fn enter(&self, _: Unit) -> Boxed<'_, Box<dyn Permit>> {
        Box::pin(async { self.admit() })
    }

    fn admit(&self) -> Box<dyn Permit> {
        Box::new(FreePermit)
    }

    fn moved(&self, _: u64) {}

    fn window(&self) -> u32 {
        u32::MAX
    }

    fn surplus(&self) -> u32 {
        0
    }

    fn starved(&self, _: u32) {}

    fn resumed(&self, _: Instant) {}
}

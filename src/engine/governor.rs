//! How many requests may be under way: pure state machines that are told outcomes and asked for a window.

use crate::wire::gate::Told;
use tokio::time::Instant;

/// Decides on a window.
pub trait Governor: Send {
    /// Hears what an attempt came to.
    fn told(&mut self, told: Told, now: Instant);

    /// How many requests may be under way now, at least one.
    fn window(&self) -> u32;
}

/// A window that never changes.
#[derive(Debug, Clone, Copy)]
pub struct FixedWindow(u32);

impl FixedWindow {
    /// Always so many, at least one.
    pub fn new(window: u32) -> Self {
        Self(window.max(1))
    }
}

impl Governor for FixedWindow {
    fn told(&mut self, _: Told, _: Instant) {}

    fn window(&self) -> u32 {
        self.0
    }
}

//! What a window that follows the path is trying, and what a span of measuring saw.

use tokio::time::Instant;

#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) began: Instant,
    pub(crate) worth: f64,
    pub(crate) answered: u32,
    pub(crate) lost: u32,
    pub(crate) throttled: u32,
    pub(crate) looks: u32,
    pub(crate) filled: u32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Phase {
    Base,
    /// Whether more brings more than the base did.
    More(Trial),
    Less(Trial),
    /// Nothing; so many settled spans are left.
    Rest {
        left: u32,
        next_is_less: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Trial {
    pub(crate) window: u32,
    pub(crate) goodput: f64,
    // Whether the window has only ever grown so far.
    pub(crate) climbing: bool,
    // Whether requests are so short that a window that is too large costs a span at most.
    pub(crate) quick: bool,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usual {
    pub(crate) goodput: Option<f64>,
    pub(crate) off: u32,
}

impl Span {
    pub(crate) fn begin(now: Instant) -> Self {
        Self { began: now, worth: 0.0, answered: 0, lost: 0, throttled: 0, looks: 0, filled: 0 }
    }

    pub(crate) fn was_filled(&self) -> bool {
        self.filled * 2 > self.looks
    }
}

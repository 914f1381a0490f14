//! How many requests may be in flight: pure state machines that are told outcomes and asked for a window.
//!
//! [`AdaptiveWindow`](crate::engine::pace::window::AdaptiveWindow) follows what moves; [`FixedWindow`] is what somebody
//! asked for.

use crate::wire::gate::RequestResult;
use crate::wire::net::host_limits::HostLimits;
use tokio::time::Instant;

/// What is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Requests that have a permit.
    pub requests: u32,
    /// The bytes of their bodies, those that have moved included.
    pub bytes: u64,
}

/// Decides on a window.
pub trait Governor: Send {
    /// Hears of body bytes that moved while so much was in flight.
    fn moved(&mut self, bytes: u64, load: Load, now: Instant);
    /// Hears what an attempt came to while so much was in flight.
    fn on_result(&mut self, told: RequestResult, load: Load, now: Instant);
    /// Hears that nothing moved on so many connections while others moved.
    fn starved(&mut self, count: u32, load: Load, now: Instant);
    /// Hears that an invocation begins, and when it ends. Time was lost: what is being measured says nothing.
    fn resumed(&mut self, until: Option<Instant>, now: Instant);
    /// Hears how many requests the machine has room for now.
    fn allow(&mut self, most: u32);
    /// How many requests may be in flight now, at least one.
    fn window(&self) -> u32;
    /// How many bytes of bodies may be in flight now; one body always may.
    fn bytes(&self, load: Load, now: Instant) -> u64;
    /// How many requests in flight are not wanted any more and should be begun again later.
    fn surplus(&self, load: Load, now: Instant) -> u32;
    /// What was decided since this was last asked.
    fn decided(&mut self) -> Option<WindowDecision>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    Trying,
    /// More brought nothing.
    Flat,
    /// Fewer took something away.
    Missed,
    Throttled,
    /// Many requests were lost at once.
    Lost,
    /// Nothing moved on some connections.
    Starved,
}

impl Why {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Trying => "trying",
            Self::Flat => "flat",
            Self::Missed => "missed",
            Self::Throttled => "throttled",
            Self::Lost => "lost",
            Self::Starved => "starved",
        }
    }
}

/// One decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowDecision {
    /// The window from now on.
    pub(crate) window: u32,
    /// Bytes a second in the span that it was made on; a request that was answered counts as
    /// [`REQUEST_WORTH`](crate::engine::pace::window::REQUEST_WORTH) bytes.
    pub(crate) goodput: f64,
    /// Why.
    pub(crate) why: Why,
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
    fn moved(&mut self, _: u64, _: Load, _: Instant) {}

    fn on_result(&mut self, _: RequestResult, _: Load, _: Instant) {}

    fn starved(&mut self, _: u32, _: Load, _: Instant) {}

    fn resumed(&mut self, _: Option<Instant>, _: Instant) {}

    fn allow(&mut self, _: u32) {}

    fn window(&self) -> u32 {
        self.0
    }

    fn bytes(&self, _: Load, _: Instant) -> u64 {
        u64::MAX
    }

    fn surplus(&self, _: Load, _: Instant) -> u32 {
        0
    }

    fn decided(&mut self) -> Option<WindowDecision> {
        None
    }
}

/// Bounds of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Where it starts over 200 ms; less over less.
    pub first: u32,
    /// Never fewer.
    pub least: u32,
    /// Never more: file descriptors, memory, or what somebody asked for.
    pub most: u32,
}

/// File descriptors for everything that is not a connection of a part.
const OTHER_FILES: u64 = 96;
/// What a connection takes of the kernel on a path of 250 ms at its 2 Mbit/s, both ways, with the kernel's own
/// overhead.
const SOCKET_MEMORY: u64 = 64 << 10;
/// A path that loses one packet in a hundred wants some 850 connections for 600 Mbit/s; half of them is what a process
/// with 1,024 file descriptors has, since a part may hold a connection to the source as well.
const MOST: u64 = 448;

impl Bounds {
    pub(crate) fn at_target(room: HostLimits) -> Self {
        Self { first: 64, least: 4, most: most(room) }
    }

    pub(crate) fn at_source(room: HostLimits) -> Self {
        Self { first: 16, least: 8, most: most(room) }
    }
}

fn most(room: HostLimits) -> u32 {
    let by_files = room.files.saturating_sub(OTHER_FILES) / 2;
    let most = MOST.min(by_files).min(room.socket_memory / SOCKET_MEMORY);
    u32::try_from(most.max(1)).unwrap_or(u32::MAX)
}

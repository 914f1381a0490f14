//! How many requests may be under way: pure state machines that are told outcomes and asked for a window.
//!
//! [`Adaptive`](crate::engine::pace::adaptive::Adaptive) follows the path; [`FixedWindow`] is what somebody asked for.

use crate::wire::gate::RequestResult;
use crate::wire::net::host_limits::HostLimits;
use tokio::time::Instant;

/// Decides on a window.
pub trait Governor: Send {
    /// Hears of body bytes that moved while so many requests were under way.
    fn moved(&mut self, bytes: u64, busy: u32, now: Instant);

    /// Hears what an attempt came to while so many requests were under way.
    fn on_result(&mut self, told: RequestResult, busy: u32, now: Instant);

    /// Hears that time was lost: what was measured so far says nothing about what comes.
    fn resumed(&mut self, now: Instant);

    /// Hears how many requests the machine has room for now.
    fn allow(&mut self, most: u32);

    /// How many requests may be under way now, at least one.
    fn window(&self) -> u32;

    /// What was decided since this was last asked.
    fn decided(&mut self) -> Option<WindowDecision>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    Trying,
    Grew,
    /// More brought nothing.
    Flat,
    Leaner,
    /// Less took nothing away.
    Spared,
    Missed,
    /// Goodput is not what it was: the path has changed.
    Changed,
    Throttled,
    /// Many requests were lost at once.
    Lost,
}

impl Why {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Trying => "trying",
            Self::Grew => "grew",
            Self::Flat => "flat",
            Self::Leaner => "leaner",
            Self::Spared => "spared",
            Self::Missed => "missed",
            Self::Changed => "changed",
            Self::Throttled => "throttled",
            Self::Lost => "lost",
        }
    }
}

/// One decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowDecision {
    /// The window from now on.
    pub(crate) window: u32,
    /// Bytes a second in the span that it was made on; a request that was answered counts as
    /// [`REQUEST_WORTH`](crate::engine::pace::adaptive::REQUEST_WORTH) bytes.
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
    fn moved(&mut self, _: u64, _: u32, _: Instant) {}

    fn on_result(&mut self, _: RequestResult, _: u32, _: Instant) {}

    fn resumed(&mut self, _: Instant) {}

    fn allow(&mut self, _: u32) {}

    fn window(&self) -> u32 {
        self.0
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
    /// Whether chance losses slow connections down, so that more of them carry more. Where they do not, large requests
    /// have `first` and no trials: more would only queue, and with BBR goodput comes and goes by itself.
    pub bold: bool,
}

/// What a window begins with over 200 ms where BBR may be used: a path is full with fewer, but their last wave is
/// longer.
const FIRST_WITH_BBR: u32 = 96;
/// File descriptors for everything that is not a connection of a part.
const OTHER_FILES: u64 = 96;
/// What a connection takes of the kernel on a path of 250 ms at its 2 Mbit/s, both ways, with the kernel's own
/// overhead.
const SOCKET_MEMORY: u64 = 64 << 10;
/// A path that loses one packet in a hundred wants some 850 connections for 600 Mbit/s; half of them is what a process
/// with 1,024 file descriptors has, since a part may hold a connection to the source as well.
const MOST_AT_TARGET: u64 = 448;
/// The source is near, where a connection carries 80 MB/s ("Performance guidelines for Amazon S3"), but small objects
/// wait for its first bytes (100 to 200 ms there).
const MOST_AT_SOURCE: u64 = 192;

impl Bounds {
    pub(crate) fn at_target(room: HostLimits) -> Self {
        let first = if room.bbr { FIRST_WITH_BBR } else { 64 };
        Self { first, least: 4, most: most(room, MOST_AT_TARGET), bold: !room.bbr }
    }

    pub(crate) fn at_source(room: HostLimits) -> Self {
        Self { first: 16, least: 8, most: most(room, MOST_AT_SOURCE), bold: true }
    }
}

fn most(room: HostLimits, most: u64) -> u32 {
    let by_files = room.files.saturating_sub(OTHER_FILES) / 2;
    let most = most.min(by_files).min(room.socket_memory / SOCKET_MEMORY);
    u32::try_from(most.max(1)).unwrap_or(u32::MAX)
}

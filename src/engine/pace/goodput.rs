//! Goodput, of all connections and of one: pure.

use crate::engine::pace::tail::PartProgress;
use crate::wire::body::progress::arrived;
use std::time::Duration;
use tokio::time::Instant;

/// The most goodput that an object has seen.
#[derive(Debug, Clone)]
pub(crate) struct Goodput {
    pub(crate) now: f64,
    pub(crate) lately: f64,
    pub(crate) most: f64,
    pub(crate) looked: Instant,
    // When the path was full last.
    pub(crate) full: Instant,
}

impl Goodput {
    /// Nothing moved yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self { now: 0.0, lately: 0.0, most: 0.0, looked: now, full: now }
    }

    /// So many bytes moved since the last look.
    pub(crate) fn look(&mut self, moved: f64, now: Instant) {
        let seconds = now.saturating_duration_since(self.looked).as_secs_f64();
        if seconds > 0.0 {
            self.now += (moved / seconds - self.now) * NOW;
            self.lately += (moved / seconds - self.lately) * LATELY;
            self.most = self.most.max(self.lately);
            self.looked = now;
            if self.share() > FULL {
                self.full = now;
            }
        }
    }

    /// How long so many bytes take at the goodput of now.
    pub(crate) fn seconds(&self, bytes: f64) -> f64 {
        bytes / self.now
    }

    /// Whether it has been less than its most for long enough, if so many bytes are left.
    pub(crate) fn has_room(&self, left: f64) -> bool {
        let since = self.looked.saturating_duration_since(self.full).as_secs_f64();
        self.share() <= FULL && since >= DIP * left / self.most
    }

    /// What it carries of its most.
    fn share(&self) -> f64 {
        if self.most > 0.0 { (self.now / self.most).min(1.0) } else { 1.0 }
    }

    /// The least that a fresh connection needs for a part, in seconds.
    pub(crate) fn fresh(&self, usual: Duration) -> f64 {
        (usual.as_secs_f64() * FRESH * self.share().max(EMPTY)).max(SHORTEST)
    }

    /// How many copies may be begun at one look by an object that had so many connections.
    pub(crate) fn copies_at_once(&self, connections: usize) -> usize {
        #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
        let free = (1.0 - self.share()) * connections as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most the connections")]
        let copies = (free * AT_ONCE).ceil() as usize;
        copies
    }
}

/// How fast a part is being sent on one connection.
#[derive(Debug, Clone)]
pub(crate) struct PartPace {
    pub(crate) length: f64,
    taken: f64,
    rate: f64,
    pub(crate) began: Instant,
    pub(crate) looked: Instant,
    // Since when all of it is sent and the answer is waited for.
    sent: Option<Instant>,
}

impl PartPace {
    /// A part of which nothing was sent.
    pub(crate) fn new(length: u64, now: Instant) -> Self {
        Self { length: float(length), taken: 0.0, rate: 0.0, began: now, looked: now, sent: None }
    }

    /// The connection has taken so many bytes by now; how many more have left than before.
    pub(crate) fn look(&mut self, taken: u64, now: Instant) -> f64 {
        let seconds = now.saturating_duration_since(self.looked).as_secs_f64();
        if seconds <= 0.0 {
            return 0.0;
        }
        // What has been taken whole is as good as gone; before that some of it is still on this machine.
        let taken = if float(taken) >= self.length { self.length } else { float(arrived(taken)) };
        self.sent = if taken < self.length { None } else { self.sent.or(Some(now)) };
        let moved = (taken - self.taken).max(0.0);
        let rate = moved / seconds;
        // An attempt that began again has a pace of its own.
        self.rate = if taken < self.taken || self.rate == 0.0 { rate } else { self.rate + (rate - self.rate) * RECENT };
        (self.taken, self.looked) = (taken, now);
        moved
    }

    /// How many of so many bytes that were taken no look has seen.
    pub(crate) fn unseen(&self, taken: u64) -> f64 {
        (float(taken) - self.taken).max(0.0)
    }

    /// How many of so many bytes that were taken were still on this machine at the last look.
    pub(crate) fn on_the_way(&self, taken: u64) -> f64 {
        (float(taken).min(self.length) - self.taken).max(0.0)
    }

    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    pub(crate) fn left(&self) -> f64 {
        self.length - self.taken
    }

    /// Where it stands.
    pub(crate) fn standing(&self) -> PartProgress {
        PartProgress { gone: self.taken, left: self.left(), rate: self.rate }
    }

    /// Seconds until it is done, if it goes on like this; an answer that has been waited for will be waited for as long
    /// again.
    pub(crate) fn as_it_goes(&self) -> f64 {
        if let Some(sent) = self.sent {
            return self.looked.saturating_duration_since(sent).as_secs_f64();
        }
        if self.rate > 0.0 { self.left() / self.rate } else { f64::INFINITY }
    }

    /// Seconds until it is sent: as it goes, or as a fresh connection may while it is one.
    pub(crate) fn needs(&self, fresh: f64) -> f64 {
        let as_fresh = fresh - self.looked.saturating_duration_since(self.began).as_secs_f64();
        if as_fresh > fresh / 2.0 { self.as_it_goes().min(as_fresh) } else { self.as_it_goes() }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a part is far below 2^52 bytes")]
pub(crate) fn float(bytes: u64) -> f64 {
    bytes as f64
}

/// The weight of the last look in a part's pace.
pub(crate) const RECENT: f64 = 0.2;

/// The weight of the last look in the goodput of now.
pub(crate) const NOW: f64 = 0.5;

/// The weight of the last look in the goodput of the object: bytes that fill a path at its start move faster than any
/// that follow, and must not be taken for what it can carry.
pub(crate) const LATELY: f64 = 0.04;

/// The least that a fresh connection needs for a part on a full path, as a share of what parts of this object usually
/// took; on an emptier one it is as much less, down to [`EMPTY`] of it.
pub(crate) const FRESH: f64 = 0.3;

pub(crate) const EMPTY: f64 = 0.1;

/// The share of what a path has free that copies may take at one look: a dip is not the end.
pub(crate) const AT_ONCE: f64 = 0.2;

/// The share of its most goodput from which a path is full: there a second connection only takes from the others.
pub(crate) const FULL: f64 = 0.9;

/// The share of the time that is left for which a path must have been less than full: what is shorter is a dip, and
/// copies that were begun in it go on into the full path. Over 250 ms, 200 Mbit/s and 0.5 % of loss, with BBR, a fifth
/// of all bytes was sent in vain without this.
pub(crate) const DIP: f64 = 0.1;

/// Below this a second connection cannot have shaken hands.
pub(crate) const SHORTEST: f64 = 0.6;

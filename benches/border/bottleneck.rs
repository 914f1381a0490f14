//! What becomes of a packet: lost at random, dropped from a full queue, or delivered later.

use std::time::Duration;

use super::link::Link;

/// The fate of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    /// It arrives then.
    Due(Duration),
    /// The path loses it.
    Lost,
    /// The queue is full.
    Dropped,
}

/// One direction's queue before a link of limited rate, as times only; the packets are in `flight`.
#[derive(Debug)]
pub(crate) struct Bottleneck {
    /// When everything that was let in has left the queue.
    free: Duration,
    /// When the last packet arrives. A link whose round trip becomes shorter still does not reorder.
    last: Duration,
    random: fastrand::Rng,
}

impl Bottleneck {
    pub(crate) fn new(seed: u64) -> Self {
        Self { free: Duration::ZERO, last: Duration::ZERO, random: fastrand::Rng::with_seed(seed) }
    }

    /// Lets a packet of so many bytes in.
    pub(crate) fn pass(&mut self, link: &Link, bytes: usize, now: Duration) -> Fate {
        // Drawn for each packet, so that the losses of a seed do not depend on the queue.
        if self.random.f64() < link.loss_at(now) {
            return Fate::Lost;
        }
        let start = self.free.max(now);
        if start - now > link.queue {
            return Fate::Dropped;
        }
        self.free = start + link.busy(bytes);
        Fate::Due(self.behind(link, now))
    }

    /// When something arrives that takes its place behind all that was let in, and no time of the link.
    pub(crate) fn behind(&mut self, link: &Link, now: Duration) -> Duration {
        self.last = self.last.max(self.free.max(now) + link.rtt / 2);
        self.last
    }

    /// How many bytes wait for their turn.
    pub(crate) fn queued(&self, link: &Link, now: Duration) -> usize {
        link.bytes_in(self.free.saturating_sub(now))
    }
}

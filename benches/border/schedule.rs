//! Which link there is at which time.

use std::time::Duration;

use super::link::Link;

/// The link at the start, and those that take its place later.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Schedule {
    first: Link,
    then: Vec<(Duration, Link)>,
}

impl Schedule {
    /// The changes may come in any order.
    pub(crate) fn new(first: Link, mut then: Vec<(Duration, Link)>) -> Self {
        then.sort_by_key(|(at, _)| *at);
        Self { first, then }
    }

    /// The link at a time since the start.
    pub(crate) fn at(&self, now: Duration) -> &Link {
        self.then.iter().rev().find(|(at, _)| *at <= now).map_or(&self.first, |(_, link)| link)
    }

    /// All links, each with the time of its beginning.
    pub(crate) fn links(&self) -> impl Iterator<Item = (Duration, &Link)> {
        std::iter::once((Duration::ZERO, &self.first)).chain(self.then.iter().map(|(at, link)| (*at, link)))
    }

    /// The most bytes that are under way in one direction: those in the queue and those of half a round trip.
    pub(crate) fn most_in_flight(&self) -> usize {
        let time = |of: fn(&Link) -> Duration| self.links().map(|(_, link)| of(link)).max().unwrap_or_default();
        let longest = time(|link| link.rtt) / 2 + time(|link| link.queue);
        self.links().map(|(_, link)| link.bytes_in(longest)).max().unwrap_or_default()
    }
}

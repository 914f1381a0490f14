//! Which part is sent once more, on a second connection: a pure decider.
//!
//! Only the end of an object waits for its slowest connection; before that others use the time. So a part is sent again only
//! when no part waits to be sent for the first time. A connection that loses packets early stays slow, and a fresh one
//! starts fast on a link that the end of the object has begun to empty.

use std::time::Duration;
use tokio::time::Instant;

/// The weight of the last look in a part's pace.
const RECENT: f64 = 0.2;
/// A part is worth a second connection if it needs more than this share of what parts of this object usually take.
const WORTH: f64 = 0.4;
/// No part is sent on more connections than this at a time.
const COPIES: u32 = 3;
/// Below this a second connection cannot have shaken hands.
const SHORTEST: Duration = Duration::from_millis(600);

/// How fast a part is being sent.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    length: f64,
    taken: f64,
    rate: f64,
    looked: Instant,
}

impl Pace {
    /// A part of which nothing was sent.
    pub(super) fn new(length: u64, now: Instant) -> Self {
        Self { length: float(length), taken: 0.0, rate: 0.0, looked: now }
    }

    /// So many bytes are on the connection now.
    pub(super) fn look(&mut self, taken: u64, now: Instant) {
        let seconds = now.saturating_duration_since(self.looked).as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        let taken = float(taken);
        // An attempt that began anew has a pace of its own.
        let rate = (taken - self.taken).max(0.0) / seconds;
        self.rate = if taken < self.taken || self.rate == 0.0 { rate } else { self.rate + (rate - self.rate) * RECENT };
        (self.taken, self.looked) = (taken, now);
    }

    /// Seconds until it is sent, if it goes on like this.
    fn left(&self) -> f64 {
        if self.rate > 0.0 { (self.length - self.taken) / self.rate } else { f64::INFINITY }
    }
}

/// What is known of a part that is being sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sending<'a> {
    /// Which.
    pub(super) index: usize,
    /// One for each connection it is being sent on.
    pub(super) paces: &'a [Pace],
}

/// The part that is worth a second connection most, if one is.
pub(super) fn worst<'a>(sending: impl Iterator<Item = Sending<'a>>, usual: Duration) -> Option<usize> {
    let worth = usual.mul_f64(WORTH).max(SHORTEST).as_secs_f64();
    let soonest = |paces: &[Pace]| paces.iter().map(Pace::left).fold(f64::INFINITY, f64::min);
    sending
        .filter(|part| !part.paces.is_empty() && part.paces.len() < COPIES as usize)
        // The newest connection may not have come to speed.
        .filter(|part| part.paces.len() == 1 || part.paces.last().is_some_and(|pace| pace.rate > 0.0))
        .map(|part| (part.index, soonest(part.paces)))
        .filter(|(_, left)| *left > worth)
        .max_by(|one, other| one.1.total_cmp(&other.1))
        .map(|(index, _)| index)
}

#[expect(clippy::cast_precision_loss, reason = "a part is far below 2^52 bytes")]
fn float(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pace(length: u64, steps: &[u64]) -> Pace {
        let mut now = Instant::now();
        let mut pace = Pace::new(length, now);
        for taken in steps {
            now += SECOND;
            pace.look(*taken, now);
        }
        pace
    }

    fn worst_of(parts: &[Vec<Pace>]) -> Option<usize> {
        worst(parts.iter().enumerate().map(|(index, paces)| Sending { index, paces }), SECOND * 10)
    }

    #[test]
    fn the_part_that_needs_longest_is_chosen() {
        let parts = [vec![pace(100, &[10, 20])], vec![pace(100, &[5, 10])], vec![pace(100, &[40, 80])]];
        assert_eq!(worst_of(&parts), Some(1));
    }

    #[test]
    fn nothing_is_chosen_that_will_be_done_soon() {
        assert_eq!(worst_of(&[vec![pace(100, &[40, 70])]]), None);
        assert_eq!(worst_of(&[]), None);
    }

    #[test]
    fn a_connection_that_stands_still_needs_for_ever() {
        let still = pace(100, &[90, 90, 90, 90, 90, 90, 90, 90, 90, 90, 90, 90, 90, 90, 90, 90, 90, 90]);
        assert_eq!(worst_of(&[vec![pace(100, &[0])], vec![still]]), Some(0));
    }

    #[test]
    fn a_part_with_a_fast_second_connection_waits_for_it() {
        let slow = pace(100, &[1, 2]);
        assert_eq!(worst_of(&[vec![slow.clone()]]), Some(0));
        assert_eq!(worst_of(&[vec![slow.clone(), pace(100, &[50])]]), None);
        // One that has not moved yet is given the time.
        assert_eq!(worst_of(&[vec![slow.clone(), pace(100, &[])]]), None);
        let crowd = vec![slow.clone(), slow.clone(), slow];
        assert_eq!(worst_of(&[crowd]), None);
    }

    #[test]
    fn an_attempt_that_begins_anew_is_judged_anew() {
        let mut pace = pace(100, &[50, 90]);
        let now = pace.looked + SECOND;
        pace.look(0, now);
        assert!(pace.left().is_infinite());
        pace.look(10, now + SECOND);
        assert!((pace.left() - 9.0).abs() < 1e-9);
    }
}

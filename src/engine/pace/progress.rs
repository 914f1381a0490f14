//! How a part in flight gets on, and whether it is taken off its connection and sent again on another: pure.
//!
//! A part has one copy in flight at a time. While parts wait to be sent, a slow connection costs nothing: its part
//! lands later, and others use the time. Only what stands still, or is late when nothing waits any more, is sent again.

use crate::engine::pace::window::LESS;
use crate::wire::body::progress::arrived;
use std::time::Duration;
use tokio::time::Instant;

/// How long a connection may move nothing while others do. TCP's own timer has fired several times by then: it begins
/// at some two round trips and doubles ("RFC 6298").
const STANDS_STILL: Duration = Duration::from_secs(5);

/// The weight of a look in a rate, at five looks a second: some two seconds, a few times of what TCP needs to come back
/// from a loss.
const RECENT: f64 = 0.1;

/// The share of an object's bytes that may be sent again because they were late.
const AGAIN: f64 = 0.03;

/// How far a part is on its connection.
#[derive(Debug, Clone)]
pub struct PartProgress {
    length: u64,
    taken: u64,
    gone: u64,
    // Bytes a second.
    rate: f64,
    began: Option<Instant>,
    moved: Instant,
    looked: Instant,
}

impl PartProgress {
    /// A part of so many bytes of which none has moved.
    pub fn new(length: u64, now: Instant) -> Self {
        Self { length, taken: 0, gone: 0, rate: 0.0, began: None, moved: now, looked: now }
    }

    /// Its connection has taken so many bytes by now, of this attempt; how many more have left than at the last look.
    pub fn look(&mut self, taken: u64, now: Instant) -> u64 {
        if taken < self.taken {
            // Another attempt.
            *self = Self::new(self.length, now);
        }
        let seconds = now.saturating_duration_since(self.looked).as_secs_f64();
        if taken > self.taken {
            self.began.get_or_insert(self.looked);
            self.moved = now;
        }
        // What has been taken whole is as good as gone; before that some of it is still on this machine.
        let gone = if taken >= self.length { self.length } else { arrived(taken) };
        let moved = gone.saturating_sub(self.gone);
        if seconds > 0.0 && self.began.is_some() {
            // Of what has hardly begun, the mean.
            let age = self.age(now).as_secs_f64();
            self.rate += (float(moved) / seconds - self.rate) * RECENT.max(seconds / age.max(seconds));
        }
        (self.taken, self.gone, self.looked) = (taken, gone, now);
        moved
    }

    /// What would be sent twice.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether it is on a connection that moves nothing. What is all sent waits for its answer, which is another
    /// matter.
    fn stands_still(&self, now: Instant) -> bool {
        self.began.is_some() && self.taken < self.length && now.saturating_duration_since(self.moved) >= STANDS_STILL
    }

    /// Whether anything has moved lately.
    fn moves(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.moved) < STANDS_STILL / 2
    }

    /// Seconds until it is sent, at its rate; an answer that has been waited for will be waited for as long again.
    fn left(&self, now: Instant) -> f64 {
        if self.taken >= self.length {
            return now.saturating_duration_since(self.moved).as_secs_f64();
        }
        float(self.length - self.gone) / self.rate.max(1.0)
    }

    /// Whether its rate tells something.
    fn is_old(&self, now: Instant) -> bool {
        self.age(now) >= STANDS_STILL / 2
    }

    /// How long it has been sent.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        self.began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began))
    }
}

/// The goodput of an object, in bytes a second.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Goodput {
    now: f64,
    most: f64,
}

impl Goodput {
    /// So many bytes moved since the last look.
    pub(crate) fn look(&mut self, moved: u64, since: Duration) {
        self.now += (float(moved) / since.as_secs_f64().max(1e-3) - self.now) * RECENT;
        self.most = self.most.max(self.now);
    }

    /// Whether the path carries less than it did: what is sent again takes nothing from the others then.
    fn has_room(self) -> bool {
        self.now < self.most * LESS
    }
}

/// Those that stand still while others move, and how many connections move nothing now: their server or their path
/// serves so many fewer.
pub(crate) fn standing_still<'a, T: Copy + 'a>(
    parts: impl Iterator<Item = (T, &'a PartProgress)> + Clone,
    now: Instant,
) -> (Vec<T>, usize) {
    let begun = parts.filter(|(_, part)| part.began.is_some() && part.taken < part.length);
    let still: Vec<T> = begun.clone().filter(|(_, part)| part.stands_still(now)).map(|(number, _)| number).collect();
    let idle = begun.clone().filter(|(_, part)| !part.moves(now)).count();
    if idle == begun.count() { (Vec::new(), 0) } else { (still, idle) }
}

/// Those of which hardly anything has moved, the least first: taking them back costs nothing.
pub(crate) fn hardly_begun<'a, T: Copy + Ord + 'a>(parts: impl Iterator<Item = (T, &'a PartProgress)>) -> Vec<T> {
    let is_fresh = |part: &PartProgress| part.began.is_some() && part.taken < part.length / 8;
    let mut fresh: Vec<(u64, T)> =
        parts.filter(|(_, part)| is_fresh(part)).map(|(number, part)| (part.taken, number)).collect();
    fresh.sort_unstable();
    fresh.into_iter().map(|(_, number)| number).collect()
}

/// The part that is worth sending again, once nothing waits to be sent: the one that will end last, if it needs longer
/// than a fresh connection on a path with room, as the fastest parts of the object had it. Of a young one the rate
/// tells nothing.
pub(crate) fn late<'a, T: Copy + 'a>(
    parts: impl Iterator<Item = (T, &'a PartProgress)> + Clone,
    goodput: Goodput,
    fastest: Duration,
    budget: u64,
    now: Instant,
) -> Option<T> {
    if !goodput.has_room() {
        return None;
    }
    // What moves nothing is not late but stands still, or waits for its answer.
    let waits = |part: &PartProgress| part.taken >= part.length && part.left(now) >= STANDS_STILL.as_secs_f64();
    let moves = |part: &PartProgress| part.taken < part.length && part.moves(now);
    let old = parts.filter(|(_, part)| part.is_old(now) && part.age(now) >= fastest && (moves(part) || waits(part)));
    let last = old.max_by(|(_, one), (_, other)| one.left(now).total_cmp(&other.left(now)));
    let is_worth = |part: &PartProgress| part.left(now) * LESS > fastest.as_secs_f64() && part.taken <= budget;
    last.filter(|(_, part)| is_worth(part)).map(|(number, _)| number)
}

/// How long a part takes now, by the rates of those in flight, or as long as none of them has been sent for long enough
/// to tell, as the last one did: what needs longer than the time left is not begun.
pub fn usual<'a>(parts: impl Iterator<Item = &'a PartProgress>, last: Option<Duration>, now: Instant) -> Duration {
    let takes = |part: &PartProgress| part.age(now).as_secs_f64() + part.left(now);
    let mut takes: Vec<f64> = parts.filter(|part| part.is_old(now)).map(takes).collect();
    let middle = takes.len() / 2;
    if takes.is_empty() {
        return last.unwrap_or_default();
    }
    let takes = *takes.select_nth_unstable_by(middle, f64::total_cmp).1;
    Duration::try_from_secs_f64(takes).unwrap_or(Duration::MAX)
}

/// How many bytes of an object may be sent again because they were late; one part always.
pub(crate) fn again(size: u64, part: u64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a u64")]
    let bytes = (float(size) * AGAIN) as u64;
    bytes.max(part)
}

#[expect(clippy::cast_precision_loss, reason = "an object is far below 2^52 bytes")]
fn float(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_millis(200);
    const MIB: u64 = 1 << 20;
    const EMPTY: Goodput = Goodput { now: 50.0, most: 100.0 };

    /// A part of 5 MiB that has moved at these rates, each for so many looks.
    fn moved(rates: &[(u64, u32)], start: Instant) -> (PartProgress, Instant) {
        let (mut part, mut taken, mut now) = (PartProgress::new(5 * MIB, start), 0, start);
        for (rate, looks) in rates {
            for _ in 0..*looks {
                now += LOOK;
                taken = (taken + rate / 5).min(5 * MIB);
                part.look(taken, now);
            }
        }
        (part, now)
    }

    #[test]
    fn what_moves_nothing_while_others_move_stands_still() {
        let start = Instant::now();
        let (moving, now) = moved(&[(100_000, 40)], start);
        let (still, _) = moved(&[(100_000, 10), (0, 30)], start);
        let (waits_for_a_permit, _) = moved(&[(0, 40)], start);
        let (waits_for_its_answer, _) = moved(&[(20 * MIB, 5), (0, 35)], start);
        let parts = [(1, &moving), (2, &still), (3, &waits_for_a_permit), (4, &waits_for_its_answer)];
        assert_eq!(standing_still(parts.into_iter(), now), (vec![2], 1));
        // An outage of all is nobody's fault.
        assert_eq!(standing_still([(2, &still), (4, &waits_for_its_answer)].into_iter(), now), (vec![], 0));
    }

    #[test]
    fn only_the_last_is_late_and_only_if_a_fresh_one_would_end_long_before() {
        let start = Instant::now();
        let (fast, now) = moved(&[(400_000, 40)], start);
        let (slow, _) = moved(&[(100_000, 40)], start);
        let parts = [(1, &fast), (2, &slow)];
        let fastest = Duration::from_secs(8);
        assert_eq!(late(parts.into_iter(), EMPTY, fastest, MIB, now), Some(2));
        assert_eq!(late(parts.into_iter(), EMPTY, fastest, 100_000, now), None, "it would cost too many bytes");
        assert_eq!(late([(1, &fast)].into_iter(), EMPTY, fastest, MIB, now), None);
        let full = Goodput { now: 90.0, ..EMPTY };
        assert_eq!(late(parts.into_iter(), full, fastest, MIB, now), None, "it would take from the others");
        assert_eq!(late(parts.into_iter(), EMPTY, fastest * 5, MIB, now), None);
    }

    #[test]
    fn another_attempt_has_a_rate_of_its_own() {
        let (mut part, now) = moved(&[(500_000, 20)], Instant::now());
        part.look(0, now + LOOK);
        assert!(part.taken() == 0 && part.age(now + LOOK) == Duration::ZERO);
        part.look(120_000, now + 2 * LOOK);
        assert!((40.0..70.0).contains(&part.left(now + 2 * LOOK)), "{}", part.left(now + 2 * LOOK));
    }
}

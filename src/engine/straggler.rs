//! Which part is sent once more, on a second connection: a pure decider.
//!
//! Only the end of an object waits for its slowest connection; before that others use the time. So a part is sent again only
//! when no part waits to be sent for the first time. What is left, at the goodput that the path has shown, takes some time
//! however it is spread over connections; a part that will take longer than that and longer than a fresh connection would
//! need is sent again, the slowest first, until the copies themselves make the end come later or fill the path. A connection that loses
//! packets early stays slow; a fresh one starts fast on a path that the end of the object has begun to empty. Once one copy
//! is clearly ahead the others are given up.
//!
//! The constants were chosen by a simulation of CUBIC over 200 ms, 300 Mbit/s and 0.05 % of loss (205 parts, medians of 24):
//! 37.0 s without second connections, 34.1 s with them and 1 % of bytes sent in vain, and a broad optimum around these.

use crate::engine::abreast::Standing;
use crate::wire::body::arrived;
use std::time::Duration;
use tokio::time::Instant;

/// The weight of the last look in a part's pace.
const RECENT: f64 = 0.2;
/// The weight of the last look in the goodput of now.
const NOW: f64 = 0.5;
/// The weight of the last look in the goodput of the object: bytes that fill a path at its start move faster than any that
/// follow, and must not be taken for what it can carry.
const LATELY: f64 = 0.04;
/// The least that a fresh connection needs for a part on a full path, as a share of what parts of this object usually took;
/// on an emptier one it is as much less, down to [`EMPTY`] of it.
const FRESH: f64 = 0.3;
const EMPTY: f64 = 0.1;
/// The share of what a path has free that copies may take at one look: a dip is not the end.
const AT_ONCE: f64 = 0.2;
/// The share of its most goodput from which a path is full: there a second connection only takes from the others.
const FULL: f64 = 0.9;
/// The share of the time that is left for which a path must have been less than full: what is shorter is a dip, and copies
/// that were begun in it go on into the full path. Over 250 ms, 200 Mbit/s and 0.5 % of loss, with BBR, a fifth of all bytes
/// was sent in vain without this.
const DIP: f64 = 0.1;
/// Of what is left, the share by which it is held to be more, because copies of it are sent in vain.
const IN_VAIN: f64 = 0.5;
/// How much later than the rest a part must be.
const LATE: f64 = 1.1;
/// How long a connection takes to come to speed.
const GROWN: Duration = Duration::from_secs(2);
/// How much more time a copy must need than another one to be given up.
const LOST: f64 = 1.5;
/// A part is sent on so many connections at first, given-up ones included, and on another for each time that a fresh one
/// needs.
const COPIES: usize = 3;
/// Below this a second connection cannot have shaken hands.
const SHORTEST: f64 = 0.6;

/// The most goodput that an object has seen.
#[derive(Debug, Clone)]
pub(crate) struct Goodput {
    now: f64,
    lately: f64,
    most: f64,
    looked: Instant,
    // When the path was full last.
    full: Instant,
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
    fn has_room(&self, left: f64) -> bool {
        let since = self.looked.saturating_duration_since(self.full).as_secs_f64();
        self.share() <= FULL && since >= DIP * left / self.most
    }

    /// What it carries of its most.
    fn share(&self) -> f64 {
        if self.most > 0.0 { (self.now / self.most).min(1.0) } else { 1.0 }
    }

    /// The least that a fresh connection needs for a part, in seconds.
    fn fresh(&self, usual: Duration) -> f64 {
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
pub(crate) struct Pace {
    length: f64,
    taken: f64,
    rate: f64,
    began: Instant,
    looked: Instant,
    // Since when all of it is sent and the answer is waited for.
    sent: Option<Instant>,
}

impl Pace {
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
        // An attempt that began anew has a pace of its own.
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

    /// How long it has been under way.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    fn left(&self) -> f64 {
        self.length - self.taken
    }

    /// Where it stands.
    pub(crate) fn standing(&self) -> Standing {
        Standing { gone: self.taken, left: self.left(), rate: self.rate }
    }

    /// Seconds until it is done, if it goes on like this; an answer that has been waited for will be waited for as long
    /// again.
    fn as_it_goes(&self) -> f64 {
        if let Some(sent) = self.sent {
            return self.looked.saturating_duration_since(sent).as_secs_f64();
        }
        if self.rate > 0.0 { self.left() / self.rate } else { f64::INFINITY }
    }

    /// Seconds until it is sent: as it goes, or as a fresh connection may while it is one.
    fn needs(&self, fresh: f64) -> f64 {
        let as_fresh = fresh - self.looked.saturating_duration_since(self.began).as_secs_f64();
        if as_fresh > fresh / 2.0 { self.as_it_goes().min(as_fresh) } else { self.as_it_goes() }
    }
}

/// A part that is being sent.
#[derive(Debug, Clone)]
pub(crate) struct Sending {
    /// Which.
    pub(crate) index: usize,
    /// One for each connection it is being sent on.
    pub(crate) paces: Vec<Pace>,
    /// On how many connections it was or is being sent.
    pub(crate) copies: usize,
    /// Whether it is kept back for others.
    pub(crate) waits: bool,
}

impl Sending {
    /// On how many connections it may have been sent by now.
    fn allowed(&self, fresh: f64) -> usize {
        let age = self.paces.iter().map(|pace| pace.looked.saturating_duration_since(pace.began)).max();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few")]
        let more = (age.unwrap_or_default().as_secs_f64() / fresh) as usize;
        COPIES + more
    }
}

/// The part that is worth another connection most, if one is and the path has room for it, or somebody has made room.
pub(crate) fn worst(sending: &[Sending], usual: Duration, goodput: &Goodput, has_room: bool) -> Option<usize> {
    let least = |part: &Sending| part.paces.iter().map(Pace::left).reduce(f64::min).unwrap_or(0.0);
    let has_room = has_room || goodput.has_room(sending.iter().map(least).sum());
    if goodput.most <= 0.0 || !has_room {
        return None;
    }
    let fresh = goodput.fresh(usual);
    let left: f64 = sending.iter().flat_map(|part| &part.paces).map(Pace::left).sum();
    let copy = sending.iter().flat_map(|part| &part.paces).map(|pace| pace.length).fold(0.0, f64::max);
    let end = ((left * (1.0 + IN_VAIN) + copy) / goodput.most).max(fresh) * LATE;
    sending
        .iter()
        .filter(|part| !part.waits && !part.paces.is_empty() && part.copies < part.allowed(fresh))
        .map(|part| (part.index, part.paces.iter().map(|pace| pace.needs(fresh)).fold(f64::INFINITY, f64::min)))
        .filter(|(_, needs)| *needs > end)
        .max_by(|one, other| one.1.total_cmp(&other.1))
        .map(|(index, _)| index)
}

/// The copies of a part that another one is ahead of and will be done long before: what they still send is sent in vain.
/// One that is only faster may not stay so.
pub(crate) fn losers(paces: &[Pace], now: Instant) -> Vec<usize> {
    let Some(best) = paces.iter().min_by(|one, other| one.as_it_goes().total_cmp(&other.as_it_goes())) else {
        return Vec::new();
    };
    let is_lost = |pace: &Pace| {
        pace.age(now) > GROWN && best.left() < pace.left() && pace.as_it_goes() > best.as_it_goes() * LOST + SHORTEST
    };
    paces.iter().enumerate().filter(|(_, pace)| is_lost(pace)).map(|(index, _)| index).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a part is far below 2^52 bytes")]
fn float(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MIB: u64 = 1 << 20;
    const LENGTH: u64 = 100 * MIB;

    /// A part after so many MiB each second.
    fn pace(start: Instant, steps: &[u64]) -> Pace {
        let mut now = start;
        let mut pace = Pace::new(LENGTH, now);
        for taken in steps {
            now += SECOND;
            pace.look(taken * MIB, now);
        }
        pace
    }

    /// Of a path that carried this once, and half of it now.
    fn goodput(rate: f64) -> Goodput {
        let now = Instant::now();
        Goodput { now: rate / 2.0, lately: rate, most: rate, looked: now, full: now - SECOND * 20 }
    }

    fn worst_of(parts: &[Vec<Pace>], rate: f64) -> Option<usize> {
        let sending: Vec<Sending> = parts
            .iter()
            .enumerate()
            .map(|(index, paces)| Sending { index, copies: paces.len(), paces: paces.clone(), waits: false })
            .collect();
        worst(&sending, SECOND * 10, &goodput(rate), false)
    }

    const FAST: f64 = 1e9;

    #[test]
    fn the_part_that_needs_longest_is_sent_again() {
        let start = Instant::now();
        let parts = [vec![pace(start, &[10, 20])], vec![pace(start, &[5, 10])], vec![pace(start, &[40, 80])]];
        assert_eq!(worst_of(&parts, FAST), Some(1));
    }

    #[test]
    fn a_full_path_has_room_where_somebody_has_made_it() {
        let start = Instant::now();
        let paces = vec![pace(start, &[5, 10])];
        let sending = [Sending { index: 0, paces, copies: 1, waits: false }];
        let full = Goodput { now: FAST, ..goodput(FAST) };
        assert_eq!(worst(&sending, SECOND * 10, &full, false), None);
        assert_eq!(worst(&sending, SECOND * 10, &full, true), Some(0));
    }

    #[test]
    fn what_is_kept_back_is_not_sent_again() {
        let start = Instant::now();
        let [slow, slower] = [vec![pace(start, &[10, 20])], vec![pace(start, &[5, 10])]];
        let sending = [(0, slow, false), (1, slower, true)].map(|(index, paces, waits)| Sending {
            index,
            paces,
            copies: 1,
            waits,
        });
        assert_eq!(worst(&sending, SECOND * 10, &goodput(FAST), false), Some(0));
    }

    #[test]
    fn nothing_is_sent_again_that_will_be_done_soon() {
        assert_eq!(worst_of(&[vec![pace(Instant::now(), &[40, 70])]], FAST), None);
        assert_eq!(worst_of(&[], FAST), None);
    }

    #[test]
    fn nothing_is_sent_again_while_the_path_has_enough_to_do() {
        let start = Instant::now();
        // 90 and 85 MiB are left; at 5 MB/s both would be done in some 35 s, and neither needs much longer.
        let parts = [vec![pace(start, &[3, 6])], vec![pace(start, &[3, 6])]];
        assert_eq!(worst_of(&parts, 5e6), None);
        assert!(worst_of(&parts, 5e7).is_some());
        assert_eq!(worst_of(&parts, 0.0), None);
    }

    #[test]
    fn nothing_is_sent_again_over_a_full_path() {
        let still = pace(Instant::now(), &[1, 1, 1, 1]);
        let sending = [Sending { index: 0, paces: vec![still], copies: 1, waits: false }];
        assert_eq!(worst(&sending, SECOND, &goodput(FAST), false), Some(0));
        assert_eq!(worst(&sending, SECOND, &Goodput { now: FAST * 0.95, ..goodput(FAST) }, false), None);
    }

    #[test]
    fn a_dip_is_not_the_end() {
        let still = pace(Instant::now(), &[1, 1, 1, 1]);
        let sending = [Sending { index: 0, paces: vec![still], copies: 1, waits: false }];
        let after = |dip: Duration| {
            let path = goodput(FAST / 100.0);
            worst(&sending, SECOND, &Goodput { full: path.looked - dip, ..path }, false)
        };
        // 99 MiB take ten seconds.
        assert_eq!(after(SECOND / 2), None);
        assert_eq!(after(SECOND * 3 / 2), Some(0));
    }

    #[test]
    fn the_emptier_the_path_the_sooner_and_the_more() {
        let at = |share: f64| Goodput { now: FAST * share, ..goodput(FAST) };
        assert!((at(1.0).fresh(SECOND * 40) - 12.0).abs() < 0.01);
        assert!((at(0.5).fresh(SECOND * 40) - 6.0).abs() < 0.01);
        assert!((at(0.0).fresh(SECOND * 40) - 1.2).abs() < 0.01);
        assert_eq!([1.0, 0.8, 0.0].map(|share| at(share).copies_at_once(100)), [0, 4, 20]);
        assert_eq!(at(0.99).copies_at_once(4), 1);
    }

    #[test]
    fn a_connection_that_stands_still_needs_for_ever() {
        let start = Instant::now();
        let still = pace(start, &[0, 0, 0]);
        let slow = pace(start, &[1, 2, 3]);
        assert_eq!(worst_of(&[vec![slow], vec![still]], FAST), Some(1));
    }

    #[test]
    fn an_answer_that_does_not_come_counts_as_slow() {
        let start = Instant::now();
        let soon = pace(start, &[100, 100]);
        assert_eq!(worst_of(&[vec![soon]], FAST), None);
        let late = pace(start, &[100; 8]);
        assert_eq!(worst_of(&[vec![late]], FAST), Some(0));
    }

    #[test]
    fn a_part_whose_second_connection_is_young_or_fast_waits_for_it() {
        let start = Instant::now();
        let slow = pace(start, &[1, 2, 3, 4, 5, 6]);
        let at = |seconds| start + SECOND * seconds;
        assert_eq!(worst_of(&[vec![slow.clone(), pace(at(6), &[])]], FAST), None);
        assert_eq!(worst_of(&[vec![slow.clone(), pace(at(4), &[50])]], FAST), None);
        assert_eq!(worst_of(&[vec![slow.clone(), pace(at(3), &[1, 2, 3])]], FAST), Some(0));
        // Three, and another for each of the four times that a fresh one would have needed.
        assert_eq!(worst_of(&[vec![slow.clone(); 6]], FAST), Some(0));
        assert_eq!(worst_of(&[vec![slow; 7]], FAST), None);
    }

    #[test]
    fn the_copies_that_will_be_late_are_given_up_once_they_had_their_time() {
        let start = Instant::now();
        let (slow, fast) = (pace(start, &[1, 2, 3, 4, 5]), pace(start + SECOND * 3, &[30, 60]));
        let now = start + SECOND * 5;
        assert_eq!(losers(&[slow.clone(), fast.clone()], now), vec![0]);
        assert_eq!(losers(&[fast.clone(), pace(start + SECOND * 4, &[1])], now), Vec::<usize>::new());
        assert_eq!(losers(&[pace(start, &[0, 0, 0]), pace(start, &[0, 0, 0])], now), Vec::<usize>::new());
        assert_eq!(losers(&[fast], now), Vec::<usize>::new());
    }

    #[test]
    fn an_attempt_that_begins_anew_is_judged_anew() {
        let start = Instant::now();
        let mut pace = pace(start, &[50, 90]);
        pace.look(0, start + SECOND * 3);
        assert!(pace.as_it_goes().is_infinite());
        pace.look(10 * MIB, start + SECOND * 4);
        assert!((pace.as_it_goes() - 9.0).abs() < 0.5, "{}", pace.as_it_goes());
    }

    #[test]
    fn the_burst_that_fills_a_path_is_not_what_it_carries() {
        let start = Instant::now();
        let mut goodput = Goodput::new(start);
        for look in 1..=100_u32 {
            let moved = if look <= 3 { 4e6 } else { 1e6 };
            goodput.look(moved, start + SECOND / 5 * look);
        }
        assert!(goodput.most < 6e6, "{goodput:?}");
    }
}

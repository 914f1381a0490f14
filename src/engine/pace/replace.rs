//! Which part is sent once more, on a second connection: a pure decider.
//!
//! Only the end of an object waits for its slowest connection; before that others use the time. So a part is sent again
//! only when no part waits to be sent for the first time. What is left, at the goodput that the path has shown, takes
//! some time however it is spread over connections; a part that will take longer than that and longer than a fresh
//! connection would need is sent again, the slowest first, until the copies themselves make the end come later or fill
//! the path. A connection that loses packets early stays slow; a fresh one starts fast on a path that the end of the
//! object has begun to empty. Once one copy is clearly ahead the others are given up.
//!
//! The constants were chosen by a simulation of CUBIC over 200 ms, 300 Mbit/s and 0.05 % of loss (205 parts, medians of
//! 24): 37.0 s without second connections, 34.1 s with them and 1 % of bytes sent in vain, and a broad optimum around
//! these.

use crate::engine::pace::goodput::{Goodput, PartPace, SHORTEST};
use std::time::Duration;
use tokio::time::Instant;

/// Of what is left, the share by which it is held to be more, because copies of it are sent in vain.
const IN_VAIN: f64 = 0.5;
/// How much later than the rest a part must be.
const LATE: f64 = 1.1;
/// How long a connection takes to come to speed.
const GROWN: Duration = Duration::from_secs(2);
/// How much more time a copy must need than another one to be given up.
const LOST: f64 = 1.5;
/// A part is sent on so many connections at first, given-up ones included, and on another for each time that a fresh
/// one needs.
const COPIES: usize = 3;

#[derive(Debug, Clone)]
pub(crate) struct SendingPart {
    pub(crate) index: usize,
    /// One for each connection it is being sent on.
    pub(crate) paces: Vec<PartPace>,
    /// On how many connections it was or is being sent.
    pub(crate) copies: usize,
    /// Whether it is kept back for others.
    pub(crate) waits: bool,
}

impl SendingPart {
    /// On how many connections it may have been sent by now.
    fn allowed(&self, fresh: f64) -> usize {
        let age = self.paces.iter().map(|pace| pace.looked.saturating_duration_since(pace.began)).max();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few")]
        let more = (age.unwrap_or_default().as_secs_f64() / fresh) as usize;
        COPIES + more
    }
}

/// The part that is worth another connection most, if one is and the path has room for it, or somebody has made room.
pub(crate) fn slowest_part(
    sending: &[SendingPart],
    usual: Duration,
    goodput: &Goodput,
    has_room: bool,
) -> Option<usize> {
    let least = |part: &SendingPart| part.paces.iter().map(PartPace::left).reduce(f64::min).unwrap_or(0.0);
    let has_room = has_room || goodput.has_room(sending.iter().map(least).sum());
    if goodput.most <= 0.0 || !has_room {
        return None;
    }
    let fresh = goodput.fresh(usual);
    let left: f64 = sending.iter().flat_map(|part| &part.paces).map(PartPace::left).sum();
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

/// The copies of a part that another one is ahead of and will be done long before: what they still send is sent in
/// vain. One that is only faster may not stay so.
pub(crate) fn parts_to_cancel(paces: &[PartPace], now: Instant) -> Vec<usize> {
    let Some(best) = paces.iter().min_by(|one, other| one.as_it_goes().total_cmp(&other.as_it_goes())) else {
        return Vec::new();
    };
    let is_lost = |pace: &PartPace| {
        pace.age(now) > GROWN && best.left() < pace.left() && pace.as_it_goes() > best.as_it_goes() * LOST + SHORTEST
    };
    paces.iter().enumerate().filter(|(_, pace)| is_lost(pace)).map(|(index, _)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MIB: u64 = 1 << 20;
    const LENGTH: u64 = 100 * MIB;

    /// A part after so many MiB each second.
    fn pace(start: Instant, steps: &[u64]) -> PartPace {
        let mut now = start;
        let mut pace = PartPace::new(LENGTH, now);
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

    fn worst_of(parts: &[Vec<PartPace>], rate: f64) -> Option<usize> {
        let sending: Vec<SendingPart> = parts
            .iter()
            .enumerate()
            .map(|(index, paces)| SendingPart { index, copies: paces.len(), paces: paces.clone(), waits: false })
            .collect();
        slowest_part(&sending, SECOND * 10, &goodput(rate), false)
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
        let sending = [SendingPart { index: 0, paces, copies: 1, waits: false }];
        let full = Goodput { now: FAST, ..goodput(FAST) };
        assert_eq!(slowest_part(&sending, SECOND * 10, &full, false), None);
        assert_eq!(slowest_part(&sending, SECOND * 10, &full, true), Some(0));
    }

    #[test]
    fn what_is_kept_back_is_not_sent_again() {
        let start = Instant::now();
        let [slow, slower] = [vec![pace(start, &[10, 20])], vec![pace(start, &[5, 10])]];
        let sending = [(0, slow, false), (1, slower, true)].map(|(index, paces, waits)| SendingPart {
            index,
            paces,
            copies: 1,
            waits,
        });
        assert_eq!(slowest_part(&sending, SECOND * 10, &goodput(FAST), false), Some(0));
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
        let sending = [SendingPart { index: 0, paces: vec![still], copies: 1, waits: false }];
        assert_eq!(slowest_part(&sending, SECOND, &goodput(FAST), false), Some(0));
        assert_eq!(slowest_part(&sending, SECOND, &Goodput { now: FAST * 0.95, ..goodput(FAST) }, false), None);
    }

    #[test]
    fn a_dip_is_not_the_end() {
        let still = pace(Instant::now(), &[1, 1, 1, 1]);
        let sending = [SendingPart { index: 0, paces: vec![still], copies: 1, waits: false }];
        let after = |dip: Duration| {
            let path = goodput(FAST / 100.0);
            slowest_part(&sending, SECOND, &Goodput { full: path.looked - dip, ..path }, false)
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
        assert_eq!(parts_to_cancel(&[slow.clone(), fast.clone()], now), vec![0]);
        assert_eq!(parts_to_cancel(&[fast.clone(), pace(start + SECOND * 4, &[1])], now), Vec::<usize>::new());
        assert_eq!(parts_to_cancel(&[pace(start, &[0, 0, 0]), pace(start, &[0, 0, 0])], now), Vec::<usize>::new());
        assert_eq!(parts_to_cancel(&[fast], now), Vec::<usize>::new());
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

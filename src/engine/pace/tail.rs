//! How far the last parts of an object may be ahead of each other: a pure decider.
//!
//! Connections share a full path as chance has it: one that lost packets carries a fraction of what its neighbour does,
//! and stays slow while the queue before the link is full, because it loses from that too. The others are done early,
//! and the end of the object waits for the slow ones on a path that is all but empty. So the last parts are all begun
//! together, on more connections than fill the path, and as long as some would come late those that are ahead wait at a
//! level. It rises by what the slow ones leave of the path, less a little: the queue drains, and who is slow finds the
//! speed that the path has for one. All parts then end within a second or two of each other: 1 GiB over 200 ms, 300
//! Mbit/s and 0.05 % of loss takes 32.0 to 33.2 s so, in 21 runs of 22, and 34.9 to 36.1 s with the same connections
//! and no level.

use crate::wire::body::pacer::PacerLine;
use crate::wire::net::host_limits::HostLimits;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// The last parts are those that go in this time, in seconds: a slow connection needs some 15 s to find the speed that
/// an empty queue leaves to it ("RFC 9438", section 4.1.2: CUBIC is back at a window of 100 packets after some 6 s).
const LAST: f64 = 30.0;
/// Or so many windows of them.
const WAVES: usize = 4;
/// Where a part takes less, there is no tail to speak of.
const SLOW: Duration = Duration::from_millis(150);
/// Nor where a window of parts takes less, in seconds, at what connections carry: beside a server a part can be slow
/// only because the processor is. All parts at once take memory there that nothing has touched yet: 1 GiB over loopback
/// then took up to 6.4 s of CPU, and takes 2.3 s at most without.
const SLOW_WAVE: f64 = 1.0;
/// The time over which goodput is measured: what kernels and links hold at a time is little beside what moves in it.
const SPAN: Duration = Duration::from_secs(2);
/// The time in which connections come to speed and buffers fill: bytes that move then are not what the path can carry.
const OPENING: Duration = Duration::from_millis(1_500);
/// What sockets need for a part that is streamed, to both sides, while all of them share the path. They take more where
/// there is more: with 205 parts over `usual` (benches/border) all of the 46 MiB that the kernel of 512 MB allows, in
/// 33 s; bounded at the 31 MiB where that begins to spare, 32 to 34 s.
const SOCKETS: u64 = 128 << 10;
/// Fewer parts are not worth it.
const FEW: usize = 8;
/// Parts that are within so many bytes of the level are together.
const MARGIN: f64 = 131_072.0;
/// How much later than all would be done together, at what the path carries, a part may be done.
const LATE: f64 = 1.1;
/// What is sent while many are late, as a share of what the path carries: until the queue can be taken for empty, and
/// then, when less would be wasted.
const LEAST: (f64, f64) = (0.85, 0.97);
/// What was spared when it can be, in seconds of what the path carries, and the share of what the path carries from
/// which on the queue is taken to fill again: what was measured may be a little too much.
const EMPTY: (f64, f64) = (0.15, 0.99);
/// How a congestion control takes to a level.
struct TailTuning {
    /// What is believed of the most goodput that the path had, until it has shown that it carries that.
    believed: f64,
    /// What is sent while no part is late, as a share of what the path carries.
    most: f64,
    /// The share of the parts that is many to be late.
    many: f64,
    /// How much less or more than was to be sent is made up for at most, in seconds of what the path carries.
    owed: f64,
}
const CUBIC: TailTuning = TailTuning { believed: 1.0, most: 1.0, many: 0.5, owed: 0.3 };
/// BBR has more under way than the path and its queue hold, and as long as that grows it counts as goodput: 206 Mbit/s
/// of the 192 that 1 GiB over `evening` can have (benches/border). It sends more than was measured where nothing holds
/// it back, and its slow connections find free room late.
const BBR: TailTuning = TailTuning { believed: 0.9, most: 0.97, many: 0.25, owed: 0.05 };
/// By how much more the path is held to carry after each second in which it carried what was wanted and hardly a part
/// was late, up to the most goodput that it had.
const RISE: f64 = 0.01;
/// So few that are late are not waited for, but sent on other connections.
pub(crate) const LOST: usize = 4;
/// What is sent at most in the last seconds of the object, and how many they are: a packet that the queue drops then is
/// waited for by everybody.
const CLOSING: (f64, f64) = (0.97, 2.0);
/// The most by which the level rises, as a share of what it has to on the average, and the time in seconds that it has
/// at least for what is left.
const FASTEST: f64 = 3.0;
const SHORTEST: f64 = 0.5;
/// Nobody waits so close to the end of a part.
const END: f64 = 32_768.0;

/// Where a part stands on the connection that is furthest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PartProgress {
    /// Bytes that have left this machine.
    pub(crate) gone: f64,
    /// Bytes that have not.
    pub(crate) left: f64,
    /// Bytes a second.
    pub(crate) rate: f64,
}

/// What is known of the path, and the level.
#[derive(Debug)]
pub(crate) struct TailAlignment {
    looked: Instant,
    moved: f64,
    on_the_way: f64,
    // What had moved when.
    past: VecDeque<(Instant, f64)>,
    // The most goodput of a span.
    measured: f64,
    // What the path is held to carry.
    most: f64,
    line: Option<PacerLine>,
    // The level is at the end of the parts.
    is_over: bool,
    // How many would be late.
    late: usize,
    // Once the last are let out, whether they wait for each other.
    together: Option<bool>,
    room: HostLimits,
    // Since when all are under way.
    all: Option<Instant>,
    // Goodput that was wanted since the last look.
    wanted: f64,
    // What is still to be made up for.
    owed: f64,
    // Seconds of what the path carries that were left for its queue to drain.
    spared: f64,
}

/// Parts that are under way and those that are left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rest {
    pub(crate) in_flight: usize,
    /// How many are not begun.
    pub(crate) left: usize,
    /// How many of them the window lets out.
    pub(crate) window: usize,
    pub(crate) usual: Duration,
    /// How long as many as are under way take at the goodput of now, in seconds.
    pub(crate) wave: f64,
    /// How long all of them take at the goodput of now, in seconds.
    pub(crate) seconds: f64,
}

impl Rest {
    /// Whether no other object has a share of the path: it would stay full at this one's end.
    fn has_all(&self) -> bool {
        self.in_flight * 4 >= self.window * 3
    }

    /// Whether those that are left can be begun with those that are under way, on a machine with such room.
    fn is_last(&self, room: HostLimits) -> bool {
        let is_short = self.in_flight + self.left <= self.window * WAVES || self.seconds <= LAST;
        let fits = (self.in_flight + self.left) as u64 <= room.socket_memory / SOCKETS;
        let is_slow = self.usual >= SLOW && self.wave >= SLOW_WAVE;
        self.has_all() && is_short && fits && is_slow
    }
}

impl TailAlignment {
    /// Nothing moved yet.
    pub(crate) fn new(now: Instant, room: HostLimits) -> Self {
        let past = VecDeque::new();
        Self {
            looked: now,
            moved: 0.0,
            on_the_way: 0.0,
            past,
            measured: 0.0,
            most: 0.0,
            line: None,
            is_over: false,
            late: 0,
            together: None,
            room,
            all: None,
            wanted: 0.0,
            owed: 0.0,
            spared: 0.0,
        }
    }

    /// So many bytes left this machine since the last look, and so many that connections have taken have not.
    pub(crate) fn moved(&mut self, bytes: f64, on_the_way: f64, now: Instant) {
        // Of a connection that has just begun, it takes a while until the first byte is counted.
        let bytes = bytes + on_the_way - std::mem::replace(&mut self.on_the_way, on_the_way);
        let seconds = now.saturating_duration_since(self.looked).as_secs_f64();
        self.looked = now;
        self.moved += bytes;
        let manner = self.tuning();
        let owed = manner.owed * self.most;
        self.owed = (self.owed + self.wanted * seconds - bytes).clamp(-owed, owed);
        if self.line.is_some() {
            self.spared = (self.spared + (EMPTY.1 - self.wanted / self.most) * seconds).clamp(0.0, EMPTY.0);
            if self.late <= LOST && self.owed <= 0.0 {
                self.most = (self.most * (1.0 + RISE * seconds)).min(self.measured);
            }
        }
        let is_open = self.all.is_some_and(|all| now.saturating_duration_since(all) >= OPENING);
        if !is_open {
            return;
        }
        self.past.push_back((now, self.moved));
        while let Some((then, before)) = self.past.front().copied()
            && now.saturating_duration_since(then) >= SPAN
        {
            let seconds = now.saturating_duration_since(then).as_secs_f64();
            // While parts wait, no more moves than the level lets through: only chance would add to this.
            if self.line.is_none() {
                self.measured = self.measured.max((self.moved - before) / seconds);
                self.most = self.most.max(self.measured * manner.believed);
            }
            self.past.pop_front();
        }
    }

    /// The level for these parts, if some have to wait for others. All parts of the object are begun.
    pub(crate) fn level(&mut self, parts: &[PartProgress], now: Instant) -> Option<PacerLine> {
        self.all.get_or_insert(now);
        self.line = self.next(parts, now);
        self.line
    }

    /// Whether those that are left are to be begun now, all together: said once.
    pub(crate) fn are_last(&mut self, rest: &Rest) -> bool {
        if self.together.is_some() {
            return false;
        }
        if rest.left == 0 {
            self.together = Some(rest.has_all());
            return false;
        }
        let are_last = rest.is_last(self.room);
        self.together = are_last.then_some(true);
        are_last
    }

    /// How many more connections there may be although the path is full, if a few parts are so late that they are worth
    /// others: the level leaves room for these.
    pub(crate) fn extra_connections(&self) -> usize {
        let has_lost = self.line.is_some() && (1..=LOST).contains(&self.late);
        if has_lost { LOST } else { 0 }
    }

    /// Whether a part does not wait for others.
    pub(crate) fn is_free(&self, part: &PartProgress, now: Instant) -> bool {
        self.line.is_none_or(|line| part.gone < line.at(now) - MARGIN)
    }

    fn tuning(&self) -> &'static TailTuning {
        if self.room.bbr { &BBR } else { &CUBIC }
    }

    fn next(&mut self, parts: &[PartProgress], now: Instant) -> Option<PacerLine> {
        let soonest = parts.iter().map(|part| part.left).sum::<f64>() / self.most;
        // Not a number before the first span.
        if self.is_over || self.together != Some(true) || parts.len() < FEW || !soonest.is_finite() {
            return None;
        }
        let length = parts.iter().map(|part| part.gone + part.left).fold(0.0, f64::max);
        let furthest = parts.iter().map(|part| part.gone).fold(0.0, f64::max);
        let mut gone: Vec<f64> = parts.iter().map(|part| part.gone).collect();
        gone.sort_by(f64::total_cmp);
        // Were more than a quarter to wait at first, the others could not fill the path.
        let first = gone[gone.len() * 3 / 4];
        let bytes = self.line.map_or(first, |line| line.at(now)).min(furthest);
        if bytes >= length - END {
            self.is_over = self.line.is_some();
            return None;
        }
        let behind = parts.iter().filter(|part| part.gone < bytes - MARGIN);
        let late = behind.clone().filter(|part| part.left > part.rate * soonest * LATE).count();
        if late == 0 && self.line.is_none() {
            return None;
        }
        self.late = late;
        if self.line.is_none() {
            (self.owed, self.spared) = (0.0, 0.0);
        }
        let TailTuning { most, many, .. } = *self.tuning();
        let least = if self.spared < EMPTY.0 { LEAST.0 } else { LEAST.1 };
        let share = most + (least - most) * (count(late) / count(parts.len()) / many).min(1.0);
        let share = share.min(if soonest > CLOSING.1 { most } else { CLOSING.0 });
        self.wanted = share * self.most;
        let theirs: f64 = behind.map(|part| part.rate).sum();
        let tail = parts.iter().filter(|part| (part.gone - bytes).abs() <= MARGIN).count();
        let evenly = (length - bytes) / soonest.max(SHORTEST);
        let rate = ((self.wanted - theirs + self.owed) / count(tail.max(1))).clamp(0.0, evenly * FASTEST);
        Some(PacerLine { bytes, at: now, rate })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few thousand")]
fn count(parts: usize) -> f64 {
    parts as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: HostLimits = HostLimits { files: 1024, socket_memory: 1 << 30, bbr: false };
    const STEP: Duration = Duration::from_millis(200);
    const LENGTH: f64 = 5_242_880.0;
    const PARTS: usize = 200;
    const FULL: f64 = 36e6;

    struct Connection {
        gone: f64,
        rate: f64,
        // What it would send in a second.
        speed: f64,
    }

    /// Seconds until all parts are sent on connections of these speeds over a path of so much. While it is full they
    /// have shares of it by their speeds; while it is not, they grow to `grown`.
    fn seconds(speeds: impl Fn(usize) -> f64, path: f64, grown: f64, has_level: bool) -> f64 {
        let start = Instant::now();
        let (mut now, mut tail) = (start, TailAlignment { together: Some(true), ..TailAlignment::new(start, ROOM) });
        let mut all: Vec<Connection> =
            (0..PARTS).map(|index| Connection { gone: 0.0, rate: 0.0, speed: speeds(index) }).collect();
        let step = STEP.as_secs_f64();
        while all.iter().any(|it| it.gone < LENGTH) {
            let on_their_way = all.iter().filter(|it| it.gone < LENGTH);
            let parts: Vec<PartProgress> =
                on_their_way.map(|it| PartProgress { gone: it.gone, left: LENGTH - it.gone, rate: it.rate }).collect();
            let line = tail.level(&parts, now).filter(|_| has_level);
            now += STEP;
            let wants: Vec<f64> = all
                .iter()
                .map(|it| {
                    let allowed = line.map_or(LENGTH, |line| line.at(now).min(LENGTH));
                    (allowed - it.gone).max(0.0).min(it.speed * step)
                })
                .collect();
            let share = (path * step / wants.iter().sum::<f64>()).min(1.0);
            for (it, wanted) in all.iter_mut().zip(&wants) {
                it.gone += wanted * share;
                it.rate += (wanted * share / step - it.rate) * 0.2;
                if share == 1.0 {
                    it.speed = grown.min(it.speed * (1.0 + 0.2 * step)).max(it.speed);
                }
            }
            tail.moved(wants.iter().sum::<f64>() * share, 0.0, now);
            assert!(now - start < Duration::from_secs(600), "parts that never end");
        }
        (now - start).as_secs_f64()
    }

    /// Of a path that carries 1 MB/s, and is this object's alone.
    fn full(now: Instant) -> TailAlignment {
        TailAlignment { measured: 1e6, most: 1e6, together: Some(true), ..TailAlignment::new(now, ROOM) }
    }

    /// Some connections are several times as fast as others.
    fn uneven(index: usize) -> f64 {
        let share = FULL / count(PARTS);
        share * [0.4, 1.5, 0.8, 3.0, 1.2, 0.6, 2.0, 1.0][index % 8]
    }

    #[test]
    fn on_a_full_path_all_parts_end_together() {
        let soonest = LENGTH * count(PARTS) / FULL;
        let grown = 2.0 * FULL / count(PARTS);
        let alone = seconds(uneven, FULL, grown, false);
        let tail = seconds(uneven, FULL, grown, true);
        assert!(alone > soonest * 1.15, "{alone} of {soonest}: there is nothing to gain");
        assert!(tail < soonest * 1.08, "{tail} of {soonest}");
    }

    #[test]
    fn where_the_path_is_not_full_nothing_is_lost() {
        let alone = seconds(uneven, FULL * 9.0, 0.0, false);
        let tail = seconds(uneven, FULL * 9.0, 0.0, true);
        assert!(tail <= alone * 1.02, "{tail} of {alone}");
    }

    #[test]
    fn nobody_waits_for_those_that_will_be_in_time() {
        let now = Instant::now();
        let mut tail = full(now);
        let part = |gone: f64, rate| PartProgress { gone, left: LENGTH - gone, rate };
        let mut parts = vec![part(2e6, 1e6); FEW];
        assert_eq!(tail.level(&parts, now), None);
        parts[0] = part(0.0, 1e6);
        assert_eq!(tail.level(&parts, now), None);
        assert!(tail.is_free(&parts[1], now));
        parts[0] = part(0.0, 1e3);
        assert!(tail.level(&parts, now).is_some());
        assert!(tail.is_free(&parts[0], now) && !tail.is_free(&parts[1], now));
        assert_eq!(tail.extra_connections(), LOST);
        assert_eq!(full(now).level(&parts[1..], now), None);
    }

    #[test]
    fn no_more_is_left_of_the_path_than_its_queue_takes_to_drain() {
        let start = Instant::now();
        let mut tail = full(start);
        let slow = PartProgress { gone: 0.0, left: LENGTH, rate: 1.0 };
        let parts =
            [vec![slow; PARTS], vec![PartProgress { gone: 2e6, left: LENGTH - 2e6, rate: 1e4 }; PARTS]].concat();
        let mut shares = Vec::new();
        let mut now = start;
        for _ in 0..10 {
            assert!(tail.level(&parts, now).is_some());
            shares.push(tail.wanted / tail.most);
            now += STEP;
            tail.moved(tail.wanted * STEP.as_secs_f64(), 0.0, now);
        }
        assert!((shares[0] - LEAST.0).abs() < 1e-9 && (shares[9] - LEAST.1).abs() < 1e-9, "{shares:?}");
        let left: f64 = shares.iter().map(|share| (LEAST.1 - share) * STEP.as_secs_f64()).sum();
        assert!(left < EMPTY.0 * 2.0, "{left} s");
        // While there is no level, it fills again.
        assert_eq!(tail.level(&parts[..1], now), None);
        assert!(tail.level(&parts, now).is_some());
        assert!((tail.wanted / tail.most - shares[0]).abs() < 1e-9);
    }

    #[test]
    fn what_bbr_was_seen_to_move_is_only_believed_once_hardly_a_part_is_late() {
        let start = Instant::now();
        let even = PartProgress { gone: 2e6, left: LENGTH - 2e6, rate: 1e6 };
        let slow = PartProgress { gone: 0.0, left: LENGTH, rate: 1.0 };
        let measured = |bbr| {
            let room = HostLimits { bbr, ..ROOM };
            let (mut now, mut tail) =
                (start, TailAlignment { together: Some(true), ..TailAlignment::new(start, room) });
            for _ in 0..20 {
                assert_eq!(tail.level(&[even; PARTS], now), None);
                now += STEP;
                tail.moved(1e6 * STEP.as_secs_f64(), 0.0, now);
            }
            (tail, now)
        };
        assert!((measured(false).0.most - 1e6).abs() < 1.0);
        let (mut tail, mut now) = measured(true);
        assert!((tail.most - BBR.believed * 1e6).abs() < 1.0, "{}", tail.most);
        let mut most_after = |late: usize, moved: f64, looks: usize| {
            let parts = [vec![slow; late], vec![even; PARTS - late]].concat();
            for _ in 0..looks {
                assert!(tail.level(&parts, now).is_some());
                now += STEP;
                tail.moved(moved * tail.wanted * STEP.as_secs_f64(), 0.0, now);
            }
            tail.most / 1e6
        };
        assert!((most_after(LOST + 1, 1.0, 25) - BBR.believed).abs() < 1e-6);
        assert!((most_after(LOST, 0.5, 25) - BBR.believed).abs() < 1e-6, "it does not carry what is wanted");
        let risen = most_after(LOST, 1.1, 15);
        assert!(risen > BBR.believed * 1.01 && risen < BBR.believed * 1.04, "{risen}");
        assert!((most_after(LOST, 1.1, 200) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn once_the_level_has_been_at_the_end_nobody_waits() {
        let now = Instant::now();
        let mut tail = full(now);
        let part = |gone: f64| PartProgress { gone, left: LENGTH - gone, rate: 1.0 };
        let parts = [vec![part(0.0)], vec![part(LENGTH); FEW]].concat();
        let near = [vec![part(0.0)], vec![part(LENGTH / 2.0); FEW]].concat();
        assert!(tail.level(&near, now).is_some());
        let later = now + Duration::from_secs(600);
        assert_eq!(tail.level(&parts, later), None);
        assert_eq!(tail.level(&near, later), None);
    }

    const REST: Rest =
        Rest { in_flight: 64, left: 100, window: 64, usual: Duration::from_secs(5), wave: 5.0, seconds: 60.0 };

    #[test]
    fn the_last_parts_are_begun_together() {
        let are_last = |rest: &Rest, room| TailAlignment::new(Instant::now(), room).are_last(rest);
        assert!(are_last(&REST, ROOM));
        assert!(!are_last(&Rest { left: 300, ..REST }, ROOM));
        assert!(are_last(&Rest { left: 300, seconds: 20.0, ..REST }, ROOM));
        assert!(!are_last(&Rest { left: 0, ..REST }, ROOM));
        assert!(!are_last(&Rest { in_flight: 30, ..REST }, ROOM), "others keep the path full");
        assert!(!are_last(&Rest { usual: Duration::from_millis(50), ..REST }, ROOM), "a near path has no tail");
        assert!(!are_last(&Rest { wave: 0.3, ..REST }, ROOM), "a slow processor is no slow path");
        // A sixteenth of 512 and of 256 MiB.
        assert!(are_last(&REST, HostLimits { socket_memory: 32 << 20, ..ROOM }));
        assert!(!are_last(&REST, HostLimits { socket_memory: 16 << 20, ..ROOM }), "they would have no memory");
    }

    #[test]
    fn parts_wait_for_each_other_where_the_path_is_theirs() {
        let now = Instant::now();
        let parts: Vec<PartProgress> = (0..64).map(|_| PartProgress { gone: 2e6, left: 3e6, rate: 1e6 }).collect();
        let parts = [vec![PartProgress { gone: 0.0, left: 5e6, rate: 1.0 }], parts].concat();
        let waits = |rests: &[Rest]| {
            let mut tail = TailAlignment { together: None, ..full(now) };
            let begun = rests.iter().filter(|rest| tail.are_last(rest)).count();
            (begun, tail.level(&parts, now).is_some())
        };
        assert_eq!(waits(&[REST, Rest { in_flight: 164, left: 0, window: 300, ..REST }]), (1, true));
        assert_eq!(waits(&[Rest { left: 0, ..REST }]), (0, true));
        assert_eq!(waits(&[Rest { left: 0, in_flight: 30, ..REST }]), (0, false), "others keep the path full");
        assert_eq!(waits(&[REST, REST]), (1, true));
        assert_eq!(waits(&[]), (0, false), "some are not begun");
    }
}

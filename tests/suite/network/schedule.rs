//! Objects of many parts over invocations of a minute, in simulated time: the schedule, the window and the rule about
//! what is not begun any more, on a path that connections share evenly.

use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;
use xpsync::engine::pace::governor::Bounds;
use xpsync::engine::pace::progress::{PartProgress, usual};
use xpsync::engine::pace::schedule::{Event, Schedule};
use xpsync::engine::pace::window::AdaptiveWindow;
use xpsync::wire::gate::{RequestOutcome, RequestResult, Unit, UnitKind};

const STEP: f64 = 0.05;
const ROUND_TRIP: f64 = 0.2;
const MIB: u64 = 1 << 20;
/// What is kept of an invocation's minute to answer.
const MARGIN: f64 = 6.0;
/// Parts that wait or are in flight at most.
const AT_ONCE: u64 = 500;

/// A path, in bytes a second.
#[derive(Clone, Copy)]
struct Path {
    rate: f64,
    /// Of one connection.
    most: f64,
}

struct Flow {
    unit: Unit,
    began: f64,
    /// Seconds until its first byte, and from its last to its answer.
    idle: f64,
    left: f64,
    rate: f64,
    progress: PartProgress,
}

/// Parts of an object, in invocations.
struct Upload {
    path: Path,
    part: u64,
    parts: u64,
    landed: u64,
    schedule: Schedule,
    start: Instant,
    now: f64,
    number: u64,
    is_warm: bool,
}

impl Upload {
    fn new(path: Path, part: u64, parts: u64, is_warm: bool) -> Self {
        let (schedule, start) = (fresh(), Instant::now());
        Self { path, part, parts, landed: 0, schedule, start, now: 0.0, number: 0, is_warm }
    }

    fn tell(&mut self, event: Event) -> Vec<u64> {
        self.schedule.schedule(self.start + Duration::from_secs_f64(self.now), event)
    }

    /// The bytes that land in an invocation of so many seconds.
    fn invocation(&mut self, seconds: f64) -> u64 {
        if !self.is_warm {
            self.schedule = fresh();
        }
        let end = self.now + seconds - MARGIN;
        self.tell(Event::Resumed(self.start + Duration::from_secs_f64(end)));
        let unit = Unit { kind: UnitKind::Part, object: 1, bytes: self.part };
        let (before, mut asked) = (self.landed, BTreeSet::new());
        let (mut flows, mut last): (Vec<Flow>, Option<Duration>) = (Vec::new(), None);
        let start = self.start;
        let fresh = |now| Flow {
            unit,
            began: now,
            idle: 2.0 * ROUND_TRIP,
            left: unit.bytes as f64,
            rate: 50_000.0,
            progress: PartProgress::new(unit.bytes, start + Duration::from_secs_f64(now)),
        };
        while self.now < end && self.landed < self.parts {
            self.now += STEP;
            let at = self.start + Duration::from_secs_f64(self.now);
            let takes = usual(flows.iter().map(|flow| &flow.progress), last, at);
            let in_time = self.now + takes.as_secs_f64() < end;
            let mut begun = Vec::new();
            if in_time {
                let most = (self.parts - self.landed).min(AT_ONCE);
                for _ in (flows.len() + asked.len()) as u64..most {
                    self.number += 1;
                    asked.insert(self.number);
                    begun.extend(self.tell(Event::Waits(self.number, unit)));
                }
            } else {
                for number in std::mem::take(&mut asked) {
                    self.tell(Event::GaveUp(number, unit));
                }
            }
            let total: f64 = flows.iter().filter(|flow| flow.idle <= 0.0).map(|flow| flow.rate).sum();
            let share = (self.path.rate / total.max(1.0)).min(1.0);
            let (mut moved, mut ended) = (0.0, Vec::new());
            for (index, flow) in flows.iter_mut().enumerate() {
                flow.idle -= STEP;
                if flow.idle > 0.0 {
                    continue;
                }
                if flow.left <= 0.0 {
                    ended.push(index);
                    continue;
                }
                let sent = (flow.rate * share * STEP).min(flow.left);
                flow.left -= sent;
                flow.progress.look(self.part - bytes(flow.left), at);
                moved += sent;
                flow.rate = (flow.rate * 2f64.powf(STEP / ROUND_TRIP)).min(self.path.most);
                if flow.left <= 0.0 {
                    flow.idle = ROUND_TRIP;
                }
            }
            begun.extend(self.tell(Event::Moved(bytes(moved))));
            for index in ended.into_iter().rev() {
                let flow = flows.swap_remove(index);
                let elapsed = Duration::from_secs_f64(self.now - flow.began);
                self.landed += 1;
                last = Some(elapsed);
                begun.extend(self.tell(Event::Told(RequestResult { outcome: RequestOutcome::Answered, elapsed })));
                begun.extend(self.tell(Event::Ended(flow.unit)));
            }
            asked.retain(|number| !begun.contains(number));
            flows.extend(begun.iter().map(|_| fresh(self.now)));
        }
        for flow in flows {
            self.tell(Event::Ended(flow.unit));
        }
        for number in asked {
            self.tell(Event::GaveUp(number, unit));
        }
        (self.landed - before) * self.part
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes of a part")]
fn bytes(count: f64) -> u64 {
    count as u64
}

fn fresh() -> Schedule {
    Schedule::new(AdaptiveWindow::new(Bounds { first: 64, least: 4, most: 448 }))
}

/// How many invocations of a minute it takes; each but the last lands at least half of what the path carries.
fn invocations(what: &str, mut upload: Upload) -> usize {
    let half = upload.path.rate * 60.0 / 2.0;
    let mut count = 0;
    while upload.landed < upload.parts {
        let landed = upload.invocation(60.0);
        count += 1;
        assert!(landed as f64 >= half || upload.landed == upload.parts, "{what}, {count}: {landed}");
        upload.now += 5.0;
    }
    count
}

#[test]
fn work_of_any_length_finishes_over_invocations_of_a_minute() {
    let clean = Path { rate: 20e6, most: 5e6 };
    // A part takes a third of an invocation, however many there are.
    let lossy = Path { rate: 20e6, most: 0.3e6 };
    for is_warm in [true, false] {
        for (what, path, part, size, most) in [
            ("2 GiB", clean, 5 * MIB, 2000 * MIB, 4),
            ("2 GiB over a lossy path", lossy, 5 * MIB, 2000 * MIB, 4),
            ("200 GiB", clean, 21 * MIB, 200 * 1024 * MIB, 300),
        ] {
            let count = invocations(what, Upload::new(path, part, size.div_ceil(part), is_warm));
            assert!(count <= most, "{what}: {count}");
        }
    }
}

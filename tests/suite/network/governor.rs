//! The governor on made-up paths: CUBIC connections that lose packets by chance and where a bottleneck overflows.

use std::time::Duration;
use tokio::time::Instant;
use xpsync::engine::pace::governor::{Bounds, FixedWindow, Governor, Load};
use xpsync::engine::pace::window::AdaptiveWindow;
use xpsync::wire::gate::{RequestOutcome, RequestResult};

const STEP: f64 = 0.025;
const PACKET: f64 = 1448.0;
const PART: f64 = 5.0 * 1024.0 * 1024.0;
const SMALL: f64 = 10.0 * 1024.0;
/// What a bottleneck holds before it drops, in seconds.
const QUEUE: f64 = 0.1;

/// A path.
#[derive(Clone, Copy, Debug)]
struct Path {
    rtt: f64,
    /// Bytes a second.
    rate: f64,
    loss: f64,
}

const GOOD: Path = Path { rtt: 0.06, rate: 78e6, loss: 0.0001 };
const USUAL: Path = Path { rtt: 0.2, rate: 37.5e6, loss: 0.0005 };
const EVENING: Path = Path { rtt: 0.25, rate: 25e6, loss: 0.005 };

/// A connection with a request on it.
struct Flow {
    /// Seconds until it may send: a handshake, or the answer to the last request.
    idle: f64,
    left: f64,
    began: f64,
    /// Packets.
    cwnd: f64,
    max: f64,
    /// Right after the last loss.
    cut: f64,
    /// Seconds since the last loss; negative in slow start.
    since: f64,
    /// Seconds until the answer, once all is sent; the permit is held till then.
    answer: Option<f64>,
    /// Until when a loss is the same as the last one.
    deaf: f64,
}

impl Flow {
    fn fresh(path: Path, size: f64, now: f64) -> Self {
        Self {
            idle: 2.0 * path.rtt,
            left: size,
            began: now,
            cwnd: 10.0,
            max: 0.0,
            cut: 0.0,
            since: -1.0,
            answer: None,
            deaf: 0.0,
        }
    }

    /// The congestion window after `dt`: doubling each round trip, or CUBIC's curve ("RFC 9438").
    fn grow(&mut self, rtt: f64, dt: f64) {
        if self.since < 0.0 {
            self.cwnd *= 2f64.powf(dt / rtt);
        } else {
            self.since += dt;
            let k = ((self.max - self.cut) / 0.4).max(0.0).cbrt();
            let cubic = 0.4 * (self.since - k).powi(3) + self.max;
            let reno = self.cut + 3.0 * 0.3 / 1.7 * (self.since / rtt);
            self.cwnd = cubic.max(reno).max(2.0);
        }
    }

    fn lose(&mut self) {
        // Fast convergence ("RFC 9438").
        self.max = if self.cwnd < self.max { self.cwnd * 0.85 } else { self.cwnd };
        self.cwnd *= 0.7;
        self.cut = self.cwnd;
        self.since = 0.0;
    }
}

struct World {
    path: Path,
    size: f64,
    now: f64,
    queue: f64,
    flows: Vec<Flow>,
    /// Connections that wait: warm ones, with the window they had.
    spare: Vec<f64>,
    random: fastrand::Rng,
    start: Instant,
    pending: f64,
}

impl World {
    fn new(path: Path, size: f64, seed: u64) -> Self {
        Self {
            path,
            size,
            now: 0.0,
            queue: 0.0,
            flows: Vec::new(),
            spare: Vec::new(),
            random: fastrand::Rng::with_seed(seed),
            start: Instant::now(),
            pending: 0.0,
        }
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_secs_f64(self.now)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes of bodies")]
    fn load(&self) -> Load {
        let bytes = (self.flows.len() as f64 * self.size) as u64;
        Load { requests: u32::try_from(self.flows.len()).unwrap(), bytes }
    }

    /// Lets `seconds` pass; the bytes that arrived, requests counted as the governor does.
    fn run(&mut self, governor: &mut dyn Governor, seconds: f64) -> f64 {
        let until = self.now + seconds;
        let mut arrived = 0.0;
        while self.now < until {
            arrived += self.step(governor);
            let _ = governor.decided();
        }
        arrived
    }

    fn step(&mut self, governor: &mut dyn Governor) -> f64 {
        self.now += STEP;
        let in_bodies = |flows: usize| flows as f64 * self.size;
        while self.flows.len() < governor.window() as usize
            && in_bodies(self.flows.len() + 1) <= governor.bytes(self.load(), self.instant()) as f64
        {
            let mut flow = Flow::fresh(self.path, self.size, self.now);
            if let Some(cwnd) = self.spare.pop() {
                flow = Flow { idle: 0.0, cwnd, max: cwnd, cut: cwnd, since: 1.0, ..flow };
            }
            self.flows.push(flow);
        }
        let rtt = self.path.rtt + self.queue / self.path.rate;
        let mut sent = 0.0;
        let mut wants = Vec::with_capacity(self.flows.len());
        for flow in &mut self.flows {
            flow.idle -= STEP;
            let want = if flow.idle > 0.0 || flow.answer.is_some() {
                0.0
            } else {
                (flow.cwnd * PACKET * STEP / rtt).min(flow.left)
            };
            sent += want;
            wants.push(want);
        }
        let room = self.path.rate * STEP;
        let over = (self.queue + sent - room - self.path.rate * QUEUE).max(0.0);
        self.queue = (self.queue + sent - room).clamp(0.0, self.path.rate * QUEUE);
        let dropped = if sent > 0.0 { over / sent } else { 0.0 };
        let loss = 1.0 - (1.0 - self.path.loss) * (1.0 - dropped);
        let mut arrived = 0.0;
        let mut ended = Vec::new();
        for (index, want) in wants.into_iter().enumerate() {
            let flow = &mut self.flows[index];
            if let Some(answer) = &mut flow.answer {
                *answer -= STEP;
                if *answer < 0.0 {
                    ended.push(index);
                }
            }
            if want == 0.0 {
                continue;
            }
            let through = want * (1.0 - loss);
            flow.left -= through;
            arrived += through;
            flow.grow(rtt, STEP);
            let any = 1.0 - (1.0 - loss).powf(want / PACKET);
            if self.now > flow.deaf && self.random.f64() < any {
                flow.lose();
                flow.deaf = self.now + rtt;
            }
            if flow.left < 1.0 && flow.answer.is_none() {
                flow.answer = Some(rtt);
            }
        }
        self.pending += arrived;
        let load = self.load();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes of a step")]
        let bytes = self.pending as u64;
        self.pending -= self.pending.floor();
        let now = self.instant();
        governor.moved(bytes, load, now);
        for index in ended.into_iter().rev() {
            let flow = self.flows.swap_remove(index);
            arrived += 65_536.0;
            self.spare.push(flow.cwnd.max(10.0));
            let elapsed = Duration::from_secs_f64(self.now - flow.began);
            governor.on_result(RequestResult { outcome: RequestOutcome::Answered, elapsed }, load, now);
        }
        arrived
    }
}

/// Goodput of a fixed window once it has settled.
fn fixed(path: Path, size: f64, window: u32) -> f64 {
    let mut world = World::new(path, size, 7);
    let mut governor = FixedWindow::new(window);
    world.run(&mut governor, 30.0);
    world.run(&mut governor, 60.0) / 60.0
}

/// The best goodput that any fixed window brings there.
fn best(path: Path, size: f64) -> f64 {
    [8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384]
        .into_iter()
        .map(|window| fixed(path, size, window))
        .fold(0.0, f64::max)
}

fn bounds() -> Bounds {
    Bounds { first: 64, least: 4, most: 384 }
}

/// Goodput of two minutes, beginning 30 s from now.
fn goodput(world: &mut World, governor: &mut AdaptiveWindow) -> f64 {
    world.run(governor, 30.0);
    world.run(governor, 120.0) / 120.0
}

fn assert_near_best(world: &mut World, governor: &mut AdaptiveWindow, what: &str) {
    let (reached, best) = (goodput(world, governor), best(world.path, world.size));
    assert!(
        reached > 0.9 * best,
        "{what}: {:.1} of {:.1} MB/s, window {}",
        reached / 1e6,
        best / 1e6,
        governor.window()
    );
}

#[test]
fn after_half_a_minute_it_is_within_a_tenth_of_the_best_fixed_window() {
    for (name, path) in [("good", GOOD), ("usual", USUAL), ("evening", EVENING)] {
        for seed in 1..=5 {
            let mut world = World::new(path, PART, seed);
            let mut governor = AdaptiveWindow::new(bounds());
            assert_near_best(&mut world, &mut governor, &format!("{name}, {seed}"));
        }
    }
}

#[test]
fn it_follows_every_change_of_the_path() {
    let paths = [("good", GOOD), ("usual", USUAL), ("evening", EVENING)];
    let mut world = World::new(GOOD, PART, 11);
    let mut governor = AdaptiveWindow::new(bounds());
    for (before, from) in paths {
        for (name, to) in paths {
            world.path = from;
            world.run(&mut governor, 150.0);
            world.path = to;
            assert_near_best(&mut world, &mut governor, &format!("{before} to {name}"));
        }
    }
}

#[test]
fn small_objects_have_as_many_connections_as_they_can_use() {
    for (name, path) in [("good", GOOD), ("usual", USUAL), ("evening", EVENING)] {
        let mut world = World::new(path, 10_240.0, 5);
        let mut governor = AdaptiveWindow::new(bounds());
        world.run(&mut governor, 3.0);
        assert!(governor.window() >= 256, "{name}: {}", governor.window());
        assert_near_best(&mut world, &mut governor, name);
    }
}

#[test]
fn on_a_good_path_it_keeps_no_more_than_twice_what_it_begins_with() {
    let mut world = World::new(GOOD, PART, 2);
    let mut governor = AdaptiveWindow::new(bounds());
    world.run(&mut governor, 300.0);
    assert!(governor.window() <= 2 * bounds().first, "{}", governor.window());
}

fn told(governor: &mut AdaptiveWindow, came: RequestOutcome, count: u32, start: Instant, seconds: f64) {
    let now = start + Duration::from_secs_f64(seconds);
    for _ in 0..count {
        governor.on_result(
            RequestResult { outcome: came, elapsed: Duration::from_millis(200) },
            Load { requests: governor.window(), bytes: 0 },
            now,
        );
    }
}

#[test]
fn it_backs_off_when_it_is_asked_for_less_and_comes_back() {
    let mut world = World::new(USUAL, PART, 4);
    let mut governor = AdaptiveWindow::new(bounds());
    world.run(&mut governor, 60.0);
    let before = governor.window();
    for step in 0..10 {
        told(&mut governor, RequestOutcome::Throttled, 20, world.instant(), f64::from(step) * 0.2);
    }
    assert!(governor.window() < before, "{} of {before}", governor.window());
    assert_near_best(&mut world, &mut governor, "after being asked for less");
}

#[test]
fn a_mass_reset_makes_it_smaller_once_and_single_losses_do_not() {
    let start = Instant::now();
    let mut governor = AdaptiveWindow::new(bounds());
    for second in 0..20 {
        told(&mut governor, RequestOutcome::Answered, 5, start, f64::from(second));
        told(&mut governor, RequestOutcome::Lost, 1, start, f64::from(second) + 0.5);
    }
    let window = governor.window();
    assert!(window >= 64, "{window}");
    told(&mut governor, RequestOutcome::Lost, window, start, 30.0);
    told(&mut governor, RequestOutcome::Answered, 1, start, 31.1);
    assert!((window / 2..window).contains(&governor.window()), "{} of {window}", governor.window());
}

#[test]
fn before_anything_is_known_only_some_bytes_are_begun() {
    let mut world = World::new(USUAL, PART, 3);
    let mut governor = AdaptiveWindow::new(bounds());
    assert_eq!(governor.bytes(Load::default(), world.instant()), 80 << 20);
    world.run(&mut governor, 0.1);
    assert_eq!(world.flows.len(), 16);
    world.run(&mut governor, 10.0);
    assert!(world.flows.len() >= 64, "{}", world.flows.len());
}

#[test]
fn connections_that_get_nothing_are_a_reason_for_fewer_and_not_soon_for_more() {
    let mut world = World::new(USUAL, PART, 3);
    let mut governor = AdaptiveWindow::new(bounds());
    world.run(&mut governor, 20.0);
    let load = Load { requests: 128, bytes: 128 * (5 << 20) };
    governor.starved(76, load, world.instant());
    assert_eq!(governor.window(), 52);
    world.run(&mut governor, 30.0);
    assert_eq!(governor.window(), 52);
}

#[test]
fn what_a_larger_window_did_not_need_is_given_back_only_where_it_would_land_late() {
    let surplus = |path: Path| {
        let mut world = World::new(path, PART, 3);
        let mut governor = AdaptiveWindow::new(bounds());
        world.run(&mut governor, 60.0);
        let requests = governor.window() * 2;
        governor.surplus(Load { requests, bytes: u64::from(requests) * (5 << 20) }, world.instant())
    };
    assert_eq!(surplus(GOOD), 0);
    assert!(surplus(Path { rate: 6.25e6, ..USUAL }) > 8);
}

#[test]
fn it_never_leaves_its_bounds() {
    let tight = Bounds { first: 500, least: 3, most: 20 };
    let mut world = World::new(EVENING, PART, 6);
    let mut governor = AdaptiveWindow::new(tight);
    for round in 0..600_u32 {
        world.run(&mut governor, 0.5);
        assert!((3..=20).contains(&governor.window()), "{}", governor.window());
        if round % 50 == 0 {
            told(&mut governor, RequestOutcome::Throttled, 5, world.instant(), 0.0);
        }
    }
    governor.allow(7);
    assert!(governor.window() <= 7);
    world.run(&mut governor, 60.0);
    assert!(governor.window() <= 7, "{}", governor.window());
}

#[test]
fn a_window_begins_with_as_many_as_the_round_trip_asks_for() {
    let first = |milliseconds| {
        let mut governor = AdaptiveWindow::new(bounds());
        let told = RequestResult { outcome: RequestOutcome::Answered, elapsed: Duration::from_millis(milliseconds) };
        governor.on_result(told, Load { requests: 1, bytes: 0 }, Instant::now());
        governor.window()
    };
    assert_eq!([1, 60, 200, 1000].map(first), [4, 19, 64, 64]);
}

#[test]
fn a_sandbox_that_was_frozen_starts_from_what_it_had_learned() {
    let mut world = World::new(EVENING, PART, 8);
    let mut governor = AdaptiveWindow::new(bounds());
    world.run(&mut governor, 120.0);
    let learned = governor.window();
    assert!(learned > 100, "{learned}");
    world.now += 600.0;
    governor.resumed(None, world.instant());
    assert!(governor.window() * 4 >= learned * 3, "{} of {learned}", governor.window());
    let first = world.run(&mut governor, 5.0) / 5.0;
    assert!(first > 0.8 * best(EVENING, PART), "{first}");
}

#[test]
fn a_climb_of_small_objects_goes_on_in_the_next_batch() {
    // What becomes of the window that was tried, when its trial is cut short.
    let cut_short = |path: Path, size: f64, enough: u32| {
        let mut world = World::new(path, size, 11);
        let mut governor = AdaptiveWindow::new(bounds());
        while governor.window() < enough {
            world.run(&mut governor, 0.1);
            assert!(world.now < 60.0, "{}", governor.window());
        }
        let tried = governor.window();
        governor.resumed(None, world.instant());
        (tried, governor.window())
    };
    let (tried, kept) = cut_short(USUAL, SMALL, bounds().first * 3 / 2);
    assert_eq!(kept, tried);
    let (tried, kept) = cut_short(EVENING, PART, bounds().first * 2 + 1);
    assert!(kept < tried, "a trial with large parts that was cut short tells nothing: {kept} of {tried}");
}

#[test]
fn hours_of_a_path_that_changes_by_the_minute() {
    let mut world = World::new(USUAL, PART, 9);
    let mut governor = AdaptiveWindow::new(bounds());
    let mut random = fastrand::Rng::with_seed(10);
    let (mut moved, mut possible) = (0.0, 0.0);
    for _ in 0..120 {
        let path = [GOOD, USUAL, EVENING][random.usize(..3)];
        world.path = Path { rate: path.rate * (0.5 + random.f64()), loss: path.loss * (0.5 + random.f64()), ..path };
        let seconds = 60.0 + random.f64() * 60.0;
        moved += world.run(&mut governor, seconds);
        possible += best(world.path, PART) * seconds;
    }
    assert!(moved > 0.85 * possible, "{:.2}", moved / possible);
}

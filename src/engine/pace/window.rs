//! A window, the number of requests in flight, that follows what the network carries.
//!
//! A connection over the border carries 0.6 to 18 Mbit/s whatever we do, so goodput grows with connections until the
//! link is full, and then only the time that each part takes grows. So the window grows while goodput grows: it is
//! doubled, and what that brought is seen a few round trips later. Where it brought nothing, the window is what it was,
//! and is tried again after a rest. Being asked for less, losing many requests at once, and connections on which
//! nothing moves make it smaller.
//!
//! What has begun and has not landed is lost when work is stopped. So only some bytes are begun before anything is
//! known of the path; while connections come to speed others are added only as long as all would land within half a
//! minute; and what a larger window did not need is given back where it would take longer.

use crate::engine::pace::governor::{Bounds, Governor, Load, Why, WindowDecision};
use crate::wire::gate::{RequestOutcome, RequestResult};
use std::time::Duration;
use tokio::time::Instant;

/// What a request is worth besides its bytes: a small one takes its connection a round trip all the same.
pub(crate) const REQUEST_WORTH: f64 = 65_536.0;
/// The round trip for which a window begins as its bounds say; over a shorter one it takes as many fewer to fill a
/// link, and beside a server a few.
const ROUND_TRIP: Duration = Duration::from_millis(200);
/// Bytes that are begun before anything is known of the path.
const FIRST_BYTES: u64 = 80 << 20;
/// Seconds within which what has begun should land: a stop loses no more.
const HORIZON: f64 = 60.0;
/// The share of the time left before a deadline within which it should land.
const SHARE: f64 = 1.0 / 3.0;
/// The shortest and the longest span of a measurement; in between it is two round trips.
pub(crate) const SPAN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));
/// How many times larger a window is tried, and how many times smaller it is after being asked for less or losing many
/// requests at once.
const STEP: f64 = 2.0;
/// The share of its goodput, or of its requests, below which a path is not what it was.
pub(crate) const LESS: f64 = 0.75;
/// The share of what was added that has to come back as goodput.
const FAIR: f64 = 0.4;
/// Spans that new connections have to shake hands and find their speed. A window that did not grow rests as many of
/// the longest at first, then twice as long each time, up to the horizon.
const PATIENCE: u32 = 4;
/// A span that is better than the last by less has found its speed.
const SETTLED: f64 = 1.1;

/// A window that follows what moves.
#[derive(Debug, Clone)]
pub struct AdaptiveWindow {
    bounds: Bounds,
    allowed: u32,
    window: u32,
    // The shortest request: a round trip, or a few of them where all are large.
    round_trip: Option<Duration>,
    span: Option<Span>,
    spans: u32,
    // The end of the invocation.
    until: Option<Instant>,
    // The largest window that was seen to carry more than a smaller one.
    needed: u32,
    // Bytes a second: of the last span, and of the best lately.
    last: f64,
    best: f64,
    // What the window was before it grew.
    before: Option<Before>,
    rest: Duration,
    rests_until: Option<Instant>,
    has_begun: bool,
    // The last rest is because a server serves so many and no more.
    is_starved: bool,
    decided: Option<WindowDecision>,
}

#[derive(Debug, Clone, Copy)]
struct Before {
    window: u32,
    goodput: f64,
    // Whether requests were so short that each connection had several in a span.
    is_quick: bool,
}

#[derive(Debug, Clone)]
struct Span {
    began: Instant,
    worth: f64,
    answered: u32,
    // Of those, requests that took no longer than a span.
    quick: u32,
    lost: u32,
    throttled: u32,
    looks: u32,
    filled: u32,
}

impl Span {
    fn begin(now: Instant) -> Self {
        Self { began: now, worth: 0.0, answered: 0, quick: 0, lost: 0, throttled: 0, looks: 0, filled: 0 }
    }
}

impl AdaptiveWindow {
    /// A window that knows nothing of the path.
    pub fn new(bounds: Bounds) -> Self {
        let most = bounds.most.max(1);
        let bounds = Bounds { first: bounds.first.clamp(1, most), least: bounds.least.clamp(1, most), most };
        Self {
            bounds,
            allowed: most,
            window: bounds.first,
            until: None,
            needed: 0,
            round_trip: None,
            span: None,
            spans: 0,
            last: 0.0,
            best: 0.0,
            before: None,
            rest: first_rest(),
            rests_until: None,
            has_begun: false,
            is_starved: false,
            decided: None,
        }
    }

    /// The most that the bounds and the machine allow now.
    fn most(&self) -> u32 {
        self.bounds.most.min(self.allowed)
    }

    /// Whether nothing was decided yet.
    fn is_new(&self) -> bool {
        !self.has_begun
    }

    fn left(&self, now: Instant) -> f64 {
        self.until.map_or(f64::INFINITY, |until| until.saturating_duration_since(now).as_secs_f64())
    }

    /// Seconds within which what is begun now should land.
    fn horizon(&self, now: Instant) -> f64 {
        (self.left(now) * SHARE).min(HORIZON)
    }

    fn set(&mut self, window: f64, why: Why) {
        let most = self.most();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a u32")]
        let window = window.round().clamp(1.0, f64::from(most)) as u32;
        self.window = window.clamp(self.bounds.least.min(most), most);
        self.needed = self.needed.min(self.window);
        self.spans = 0;
        self.decided = Some(WindowDecision { window: self.window, goodput: self.last, why });
    }

    fn rest(&mut self, window: f64, now: Instant, why: Why) {
        self.set(window, why);
        self.before = None;
        self.rests_until = Some(now + self.rest);
        self.rest = (self.rest * 2).min(longest_rest());
        self.best = self.last;
    }

    fn length(&self) -> Duration {
        (self.round_trip.unwrap_or_default() * 2).clamp(SPAN.0, SPAN.1)
    }

    fn look(&mut self, load: Load, now: Instant) {
        let length = self.length();
        let window = self.window;
        let each = load.bytes / u64::from(load.requests.max(1));
        // An eighth of the permits may be on their way; a window with more room than that is not measured.
        let is_filled =
            load.requests.saturating_mul(8) >= window.saturating_mul(7) || load.bytes + each > self.bytes(load, now);
        let span = self.span.get_or_insert_with(|| Span::begin(now));
        span.looks += 1;
        span.filled += u32::from(is_filled);
        if now.saturating_duration_since(span.began) < length {
            return;
        }
        let done = std::mem::replace(span, Span::begin(now));
        let goodput = done.worth / now.saturating_duration_since(done.began).as_secs_f64();
        let last = std::mem::replace(&mut self.last, goodput);
        // What too many connections brought is remembered until they have ended.
        let is_above = load.requests > self.window + self.window / 8;
        self.best = goodput.max(if is_above { self.best } else { self.best + (goodput - self.best) / 8.0 });
        let all = f64::from(done.answered + done.lost);
        if done.throttled > 0 {
            self.rest(f64::from(self.window) / STEP, now, Why::Throttled);
            return;
        }
        if done.lost > 2 && f64::from(done.lost) > (1.0 - LESS) * all.max(f64::from(self.window)) {
            self.rest(f64::from(self.window) / STEP, now, Why::Lost);
            return;
        }
        if done.filled * 2 <= done.looks {
            self.spans = 0;
            return;
        }
        self.spans += 1;
        let in_use = load.requests.clamp(1, self.window);
        let is_quick = done.quick >= in_use;
        let is_settled = goodput <= last * SETTLED && self.spans >= if is_quick { PATIENCE / 2 } else { PATIENCE };
        match self.before {
            Some(before) => {
                let added = f64::from(self.window) / f64::from(before.window) - 1.0;
                if goodput >= before.goodput * (1.0 + FAIR * added) {
                    self.rest = first_rest();
                    self.needed = in_use;
                    self.grow(in_use, is_quick, load, now);
                } else if is_settled {
                    self.rest(f64::from(before.window), now, Why::Flat);
                }
            }
            // What falls while connections end that were held to be too many shows that they were not.
            None if is_above => {
                if !self.is_starved && goodput < self.best * LESS {
                    self.set(f64::from(load.requests), Why::Missed);
                    self.rests_until = None;
                }
            }
            None if self.rests_until.is_some_and(|until| now < until)
                && (self.is_starved || goodput >= self.best * LESS) => {}
            None if is_settled || is_quick => self.grow(in_use, is_quick, load, now),
            // Connections come to speed: more of them may as well, as long as they land soon.
            None => {
                let each = float(load.bytes) / f64::from(in_use);
                let soon = if load.bytes == 0 { f64::INFINITY } else { self.best * self.horizon(now) / 2.0 / each };
                let next = (f64::from(in_use) * STEP).min(soon).min(f64::from(self.bounds.first) * STEP);
                if next > f64::from(self.window) || self.is_new() {
                    let spans = self.spans;
                    self.set(next.max(f64::from(in_use)), Why::Trying);
                    self.spans = spans;
                }
                self.has_begun = true;
            }
        }
    }

    /// Tries a larger window.
    fn grow(&mut self, in_use: u32, is_quick: bool, load: Load, now: Instant) {
        let goodput = self.last;
        (self.has_begun, self.is_starved) = (true, false);
        if in_use >= self.most() {
            self.rest(f64::from(in_use), now, Why::Flat);
            return;
        }
        let step = if is_quick { STEP * STEP } else { STEP };
        // On a full path twice as many take twice as long.
        if float(load.bytes) * step / goodput.max(1.0) > self.left(now) {
            return;
        }
        self.before = Some(Before { window: in_use, goodput, is_quick });
        self.set(f64::from(in_use) * step, Why::Trying);
    }
}

impl Governor for AdaptiveWindow {
    fn moved(&mut self, bytes: u64, load: Load, now: Instant) {
        self.span.get_or_insert_with(|| Span::begin(now)).worth += float(bytes);
        self.look(load, now);
    }

    fn on_result(&mut self, told: RequestResult, load: Load, now: Instant) {
        let length = self.length();
        let span = self.span.get_or_insert_with(|| Span::begin(now));
        match told.outcome {
            RequestOutcome::Answered => {
                span.answered += 1;
                span.quick += u32::from(told.elapsed <= length);
                span.worth += REQUEST_WORTH;
                self.round_trip = Some(self.round_trip.map_or(told.elapsed, |known| known.min(told.elapsed)));
                if self.is_new() {
                    let share = self.round_trip.unwrap_or(ROUND_TRIP).as_secs_f64() / ROUND_TRIP.as_secs_f64();
                    let first = f64::from(self.bounds.first) * share.min(1.0);
                    self.set(first.max(f64::from(load.requests.min(self.window))), Why::Trying);
                    self.decided = None;
                }
            }
            RequestOutcome::Throttled => span.throttled += 1,
            RequestOutcome::Lost => span.lost += 1,
        }
        self.look(load, now);
    }

    fn starved(&mut self, count: u32, load: Load, now: Instant) {
        self.rest = longest_rest();
        self.is_starved = true;
        self.rest(f64::from(load.requests.saturating_sub(count)), now, Why::Starved);
    }

    fn resumed(&mut self, until: Option<Instant>, now: Instant) {
        self.until = until;
        self.span = Some(Span::begin(now));
        self.spans = 0;
        // A trial that was cut short tells nothing; of short requests it costs nothing to go on with.
        if let Some(before) = self.before.take_if(|before| !before.is_quick) {
            self.window = before.window.max(self.bounds.least.min(self.most()));
            self.rests_until = Some(now);
        }
    }

    fn allow(&mut self, most: u32) {
        self.allowed = most.max(1);
        self.window = self.window.min(self.most());
    }

    fn window(&self) -> u32 {
        self.window
    }

    fn bytes(&self, load: Load, now: Instant) -> u64 {
        if self.is_new() {
            return FIRST_BYTES;
        }
        // Where each connection takes longer, fewer would land no sooner. A trial has to show what it is about.
        let needed = if self.before.is_some() { self.window } else { self.needed };
        let each = float(load.bytes) / f64::from(load.requests.max(1));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let bytes = (self.best * self.horizon(now)).max(f64::from(needed) * each) as u64;
        bytes
    }

    fn surplus(&self, load: Load, now: Instant) -> u32 {
        let each = float(load.bytes) / f64::from(load.requests.max(1));
        let beyond = (float(load.bytes) - self.best * self.horizon(now) / 2.0) / each.max(1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        load.requests.saturating_sub(self.window).min(beyond as u32)
    }

    fn decided(&mut self) -> Option<WindowDecision> {
        self.decided.take()
    }
}

fn first_rest() -> Duration {
    SPAN.1 * PATIENCE
}

fn longest_rest() -> Duration {
    Duration::from_secs_f64(HORIZON)
}

#[expect(clippy::cast_precision_loss, reason = "what is in flight is far below 2^52 bytes")]
fn float(bytes: u64) -> f64 {
    bytes as f64
}

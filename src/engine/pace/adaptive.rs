//! A window, the number of requests in flight, that follows what the network carries.
//!
//! A connection over the border carries 0.6 to 18 Mbit/s whatever we do, so goodput grows with connections until the
//! link is full, and then only the time that each part takes grows. [`Adaptive`] looks for the knee. It measures in
//! spans of some round trips and trusts a span only once the connections have found their own speed: when it is no
//! better than the one before, or when requests are so short that it saw many of them end. From a trusted span it tries
//! a larger window, keeps it if goodput grew by a fair share of what was added, and otherwise goes back; later it tries
//! a little more and a little less in turns. Being asked for less, or losing many requests at once, makes it smaller at
//! once.

use crate::engine::pace::governor::{Bounds, Governor, Why, WindowDecision};
use crate::engine::pace::trial::{Phase, Span, Trial, Usual};
use crate::wire::gate::{RequestOutcome, RequestResult};
use std::time::Duration;
use tokio::time::Instant;

/// What a request is worth besides its bytes: a small one takes its connection a round trip all the same.
pub(crate) const REQUEST_WORTH: f64 = 65_536.0;

/// The round trip for which a window begins as its bounds say, and the shares of that which others may begin with.
/// Beside a server, four connections bring as much as sixty and take a third less of the kernel.
const USUAL_ROUND_TRIP: Duration = Duration::from_millis(200);
const GUESSES: (f64, f64) = (0.0625, 1.25);
/// The power of the round trip by which a first window grows: between that of CUBIC's response to chance losses, a
/// fourth, and that of Reno's, 1, by which CUBIC goes where round trips are short ("RFC 9438", sections 4.3 and 5).
const BY_ROUND_TRIP: f64 = 0.625;
/// The shortest and the longest span of a measurement; in between it is [`ROUND_TRIPS`].
const SPAN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));
/// Round trips of a span: time for a congestion window to double twice.
const ROUND_TRIPS: u32 = 2;
/// A span that is better than the last by less has found its speed.
const SETTLED: f64 = 1.12;
/// Spans after which it is trusted even if it still grows.
const PATIENCE: u32 = 8;
/// Below this many bytes a second of each connection, the next step is a doubling: a part takes so long there (15 s and
/// more) that time lost on the way up costs more than a window that turns out too large. Where requests are short, a
/// doubling costs nothing to take back.
const BOLD_BELOW: f64 = 350_000.0;
/// The factor where requests are short, of a bold step, and of a careful one.
const STEPS: (f64, f64, f64) = (3.0, 2.0, 1.25);
/// The share of what was added that has to come back as goodput.
const FAIR_SHARE: f64 = 0.4;
/// A gain that is less than fair and still is one.
const WORTH_KEEPING: f64 = 1.1;
/// A window that is not worth making smaller: what so few connections cost is less than a trial that misses.
const LEAN: u32 = 24;
/// The factor by which less is tried.
const LEANER: f64 = 0.85;
/// What may be missing afterwards.
const SPARED: f64 = 0.97;
/// Settled spans between two trials.
const REST: u32 = 12;
/// A goodput outside of these shares of what it was, for [`CHANGED_FOR`] spans, is another path.
const CHANGED: (f64, f64) = (0.9, 1.5);
const CHANGED_FOR: u32 = 2;
/// The share that goodput must not fall below while connections end.
const MISSED: f64 = 0.93;
/// The factor after being asked for less, and how long nothing is tried then.
const THROTTLED: f64 = 0.6;
const CALM: Duration = Duration::from_secs(3);
/// The factor after losing many requests at once, and the share that is many.
const LOST: f64 = 0.75;
const MANY: f64 = 0.25;

/// A window that follows the path.
#[derive(Debug, Clone)]
pub struct Adaptive {
    bounds: Bounds,
    allowed: u32,
    window: u32,
    // The shortest request: a round trip, or a few of them where all are large.
    round_trip: Option<Duration>,
    span: Option<Span>,
    // Goodput of the span before this one, if it was filled.
    before: Option<f64>,
    waited: u32,
    opening: bool,
    phase: Phase,
    usual: Usual,
    calm_until: Option<Instant>,
    has_tried: bool,
    decided: Option<WindowDecision>,
}

impl Adaptive {
    /// A governor that knows nothing of the path.
    pub fn new(bounds: Bounds) -> Self {
        let most = bounds.most.max(1);
        let bounds = Bounds { first: bounds.first.clamp(1, most), least: bounds.least.clamp(1, most), most, ..bounds };
        Self {
            bounds,
            allowed: most,
            window: bounds.first,
            round_trip: None,
            span: None,
            before: None,
            waited: 0,
            opening: true,
            phase: Phase::Base,
            usual: Usual::default(),
            calm_until: None,
            has_tried: false,
            decided: None,
        }
    }

    /// The most that the bounds and the machine allow now.
    fn most(&self) -> u32 {
        self.bounds.most.min(self.allowed)
    }

    fn set(&mut self, window: f64, goodput: f64, why: Why) {
        self.has_tried = true;
        let most = self.most();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a u32")]
        let window = window.round().clamp(1.0, f64::from(most)) as u32;
        self.window = window.clamp(self.bounds.least.min(most), most);
        self.before = None;
        self.waited = 0;
        // New connections shake hands first.
        self.opening = true;
        self.decided = Some(WindowDecision { window: self.window, goodput, why });
    }

    /// Until something was tried, and where it is not in use yet, the window goes by the round trip: what chance losses
    /// leave to a connection shrinks as round trips grow.
    fn guess(&mut self, busy: u32) {
        if self.has_tried {
            return;
        }
        let share = self.round_trip.unwrap_or(USUAL_ROUND_TRIP).as_secs_f64() / USUAL_ROUND_TRIP.as_secs_f64();
        let first = f64::from(self.bounds.first) * share.powf(BY_ROUND_TRIP).clamp(GUESSES.0, GUESSES.1);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a u32")]
        let first = (first.round() as u32).max(busy.min(self.window));
        self.window = first.clamp(self.bounds.least, self.most());
    }

    fn span_length(&self) -> Duration {
        (self.round_trip.unwrap_or_default() * ROUND_TRIPS).clamp(SPAN.0, SPAN.1)
    }

    /// Ends the span if it is long enough.
    fn look(&mut self, busy: u32, now: Instant) {
        let length = self.span_length();
        let window = self.window;
        let span = self.span.get_or_insert_with(|| Span::begin(now));
        span.looks += 1;
        // An eighth of the permits may be on their way; a window with more room than that is not measured.
        span.filled += u32::from(busy.saturating_mul(8) >= window.saturating_mul(7));
        if now.saturating_duration_since(span.began) < length {
            return;
        }
        let done = std::mem::replace(span, Span::begin(now));
        let seconds = now.saturating_duration_since(done.began).as_secs_f64();
        let goodput = done.worth / seconds;
        if self.backed_off(&done, goodput, now) {
            return;
        }
        // Too many are under way yet, from a larger window.
        let draining = busy > self.window + self.window / 8;
        if std::mem::take(&mut self.opening) {
            return;
        }
        if !done.was_filled() || self.calm_until.is_some_and(|until| now < until) {
            self.before = None;
            return;
        }
        if self.path_changed(goodput, draining) {
            self.decided = Some(WindowDecision { window: self.window, goodput, why: Why::Changed });
            // What is still under way from a larger window is part of what this goodput took.
            self.window = self.window.max(busy.min(self.most()));
            self.try_more(goodput, true, false);
            return;
        }
        if draining {
            self.before = None;
            return;
        }
        let turnover = done.answered >= busy / 2;
        let settled = turnover || self.before.is_some_and(|before| goodput < before * SETTLED);
        self.waited += 1;
        let last = self.before.replace(goodput);
        if settled || self.waited >= PATIENCE {
            // Two spans tell more than one.
            let goodput = if turnover { goodput } else { last.map_or(goodput, |last| last.midpoint(goodput)) };
            self.decide(goodput, turnover);
        }
    }

    fn backed_off(&mut self, span: &Span, goodput: f64, now: Instant) -> bool {
        let all = f64::from(span.answered + span.lost);
        let (factor, why) = if span.throttled > 0 {
            (THROTTLED, Why::Throttled)
        } else if span.lost > 2 && f64::from(span.lost) > MANY * all.max(f64::from(self.window)) {
            (LOST, Why::Lost)
        } else {
            return false;
        };
        self.calm_until = Some(now + CALM);
        self.phase = Phase::Rest { left: REST, next_is_less: false };
        self.usual = Usual::default();
        self.set(f64::from(self.window) * factor, goodput, why);
        true
    }

    /// Whether goodput at this window is not what it was.
    fn path_changed(&mut self, goodput: f64, draining: bool) -> bool {
        let Phase::Rest { .. } = self.phase else { return false };
        let usual = self.usual.goodput.unwrap_or(goodput);
        // What falls while connections end that were held to be too many shows that they were not.
        let least = if draining { MISSED } else { CHANGED.0 };
        self.usual.off = match goodput / usual {
            share if (least..CHANGED.1).contains(&share) => 0,
            _ => self.usual.off + 1,
        };
        // A slow decline adds up: only what is better moves the mark at once.
        self.usual.goodput = Some(usual.max(usual + (goodput - usual) / 8.0));
        self.usual.off >= CHANGED_FOR
    }

    /// Decides on a span that can be trusted.
    fn decide(&mut self, goodput: f64, quick: bool) {
        let window = f64::from(self.window);
        match self.phase {
            Phase::Base => self.try_more(goodput, true, quick),
            Phase::More(from) => {
                let added = window / f64::from(from.window) - 1.0;
                if goodput >= from.goodput * (1.0 + FAIR_SHARE * added) {
                    self.decided = Some(WindowDecision { window: self.window, goodput, why: Why::Grew });
                    self.try_more(goodput, from.climbing, quick);
                } else if goodput >= from.goodput * WORTH_KEEPING {
                    // The link was filled on the way, or nearly; slow connections are worth finding out which.
                    if from.climbing && self.is_bold(goodput) {
                        self.try_more(goodput, true, quick);
                    } else {
                        self.rest(true);
                        self.decided = Some(WindowDecision { window: self.window, goodput, why: Why::Grew });
                    }
                } else if from.climbing && self.is_bold(goodput) {
                    // Fresh connections are fast for a while: what fills the link now may be too few of them soon.
                    self.rest(false);
                    self.decided = Some(WindowDecision { window: self.window, goodput, why: Why::Flat });
                } else {
                    self.rest(true);
                    self.set(f64::from(from.window), goodput, Why::Flat);
                }
            }
            Phase::Less(from) => {
                if goodput >= from.goodput * SPARED {
                    self.decided = Some(WindowDecision { window: self.window, goodput, why: Why::Spared });
                    // The path may have become better meanwhile.
                    self.try_less(from.goodput.max(goodput));
                } else {
                    self.rest(false);
                    self.set(f64::from(from.window), goodput, Why::Missed);
                }
            }
            // One span may have been a poor one.
            Phase::Rest { left: 0, next_is_less: true } => {
                self.try_less(goodput.max(self.usual.goodput.unwrap_or_default()));
            }
            Phase::Rest { left: 0, next_is_less: false } => self.try_more(goodput, false, quick),
            Phase::Rest { left, next_is_less } => {
                self.phase = Phase::Rest { left: left - 1, next_is_less };
            }
        }
    }

    fn is_bold(&self, goodput: f64) -> bool {
        self.bounds.bold && goodput / f64::from(self.window) < BOLD_BELOW
    }

    fn rest(&mut self, next_is_less: bool) {
        self.phase = Phase::Rest { left: REST, next_is_less };
        self.usual = Usual::default();
    }

    fn try_more(&mut self, goodput: f64, climbing: bool, quick: bool) {
        let window = f64::from(self.window);
        let step = match (climbing, quick) {
            (true, true) => STEPS.0,
            (true, false) if self.is_bold(goodput) => STEPS.1,
            (true | false, _) => STEPS.2,
        };
        let has_trials = self.bounds.bold || quick;
        let most = if has_trials { self.most() } else { self.most().min(self.bounds.first) };
        if self.window >= most {
            self.rest(has_trials);
            return;
        }
        self.phase = Phase::More(Trial { window: self.window, goodput, climbing, quick });
        self.set(window * step, goodput, Why::Trying);
    }

    fn try_less(&mut self, goodput: f64) {
        if self.window <= self.bounds.least.max(LEAN) {
            self.rest(false);
            return;
        }
        self.phase = Phase::Less(Trial { window: self.window, goodput, climbing: false, quick: false });
        self.set(f64::from(self.window) * LEANER, goodput, Why::Leaner);
    }
}

impl Governor for Adaptive {
    fn moved(&mut self, bytes: u64, busy: u32, now: Instant) {
        #[expect(clippy::cast_precision_loss, reason = "a piece of a body is far below 2^52 bytes")]
        let worth = bytes as f64;
        self.span.get_or_insert_with(|| Span::begin(now)).worth += worth;
        self.look(busy, now);
    }

    fn on_result(&mut self, told: RequestResult, busy: u32, now: Instant) {
        let span = self.span.get_or_insert_with(|| Span::begin(now));
        match told.outcome {
            RequestOutcome::Answered => {
                span.answered += 1;
                span.worth += REQUEST_WORTH;
                self.round_trip = Some(self.round_trip.map_or(told.elapsed, |known| known.min(told.elapsed)));
                self.guess(busy);
            }
            RequestOutcome::Throttled => span.throttled += 1,
            RequestOutcome::Lost => span.lost += 1,
        }
        self.look(busy, now);
    }

    fn resumed(&mut self, now: Instant) {
        self.span = Some(Span::begin(now));
        self.before = None;
        self.waited = 0;
        self.calm_until = None;
        self.usual = Usual::default();
        self.phase = match self.phase {
            // A batch of small objects is over within a few spans: those that follow go on where it was.
            Phase::More(from) if from.climbing && from.quick => Phase::Base,
            Phase::More(from) | Phase::Less(from) => {
                self.window = from.window;
                Phase::Base
            }
            Phase::Base => Phase::Base,
            Phase::Rest { .. } => Phase::Rest { left: REST, next_is_less: false },
        };
    }

    fn allow(&mut self, most: u32) {
        self.allowed = most.max(self.bounds.least);
        self.window = self.window.min(self.allowed);
    }

    fn window(&self) -> u32 {
        self.window
    }

    fn decided(&mut self) -> Option<WindowDecision> {
        self.decided.take()
    }
}

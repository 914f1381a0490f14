//! A level that bodies on their way to one place keep to: those that have got further wait for it.

use crate::wire::body::progress::arrived;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::debug;

/// The longest that a body waits before it moves on by a piece all the same: no server, no TCP and no watch of ours
/// takes its connection for one that stands still.
const LONGEST: Duration = Duration::from_secs(2);
/// The level may have been set again by then.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PacerLine {
    /// The bytes of each body that may have arrived then.
    pub(crate) bytes: f64,
    pub(crate) at: Instant,
    /// By how many bytes it rises in a second.
    pub(crate) rate: f64,
}

impl PacerLine {
    /// Where it is.
    pub(crate) fn at(&self, now: Instant) -> f64 {
        self.bytes + self.rate * now.saturating_duration_since(self.at).as_secs_f64()
    }

    /// How long it takes to be there; nothing if it is.
    fn until(&self, bytes: f64, now: Instant) -> Option<Duration> {
        let missing = bytes - self.at(now);
        (missing > 0.0).then(|| Duration::try_from_secs_f64(missing / self.rate).unwrap_or(LONGEST))
    }
}

/// What somebody sets and bodies go by.
#[derive(Debug, Default)]
pub(crate) struct Pacer(Mutex<Option<PacerLine>>);

impl Pacer {
    /// From now on bodies keep to this line, or to none.
    pub(crate) fn set(&self, line: Option<PacerLine>) {
        let before = std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), line);
        match (before, line) {
            (None, Some(PacerLine { bytes, rate, .. })) => {
                debug!(bytes, rate, "the last parts of the object are being paced")
            }
            (Some(_), None) => debug!("pacing of the last parts has ended"),
            (None, None) | (Some(_), Some(_)) => {}
        }
    }

    fn get(&self) -> Option<PacerLine> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct PacedBody {
    level: Arc<Pacer>,
    /// Those that got equally far move on one after the other.
    turn: f64,
    since: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl PacedBody {
    /// Within a piece of so many bytes, it moves on at a time of its own.
    pub(crate) fn to(level: Arc<Pacer>, piece: u32) -> Self {
        Self { level, turn: f64::from(piece) * fastrand::f64(), since: None, sleep: None }
    }

    /// Ready once the level is where the body is, which has put so many bytes on its connection, or once it has waited
    /// for long enough.
    pub(crate) fn poll_reached(&mut self, taken: u64, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = Instant::now();
            #[expect(clippy::cast_precision_loss, reason = "a part is far below 2^52 bytes")]
            let reached = arrived(taken) as f64 + self.turn;
            let wait = self.level.get().and_then(|line| line.until(reached, now));
            let since = *self.since.get_or_insert(now);
            let patience = LONGEST.saturating_sub(now.saturating_duration_since(since));
            let Some(wait) = wait.filter(|_| !patience.is_zero()) else {
                self.since = None;
                return Poll::Ready(());
            };
            let until = now + wait.min(patience).min(LOOK).max(Duration::from_millis(1));
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(until)));
            sleep.as_mut().reset(until);
            ready!(sleep.as_mut().poll(cx));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    const AHEAD: u64 = 1 << 20;

    async fn waited(kept: &mut PacedBody, taken: u64) -> Duration {
        let began = Instant::now();
        poll_fn(|cx| kept.poll_reached(taken, cx)).await;
        began.elapsed()
    }

    fn at_level(bytes: f64, rate: f64) -> PacedBody {
        let level = Arc::new(Pacer::default());
        level.set(Some(PacerLine { bytes, at: Instant::now(), rate }));
        PacedBody::to(level, 0)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_waits_until_the_level_is_where_it_is() {
        let bytes = 1e6;
        let mut kept = at_level(bytes / 2.0, bytes);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
        let on_the_way = (0..AHEAD).find(|taken| arrived(*taken) > 0).unwrap() - 1 + bytes as u64;
        let waited = waited(&mut kept, on_the_way).await;
        assert!((500..510).contains(&waited.as_millis()), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_below_the_level_or_without_one() {
        assert_eq!(waited(&mut at_level(1e9, 0.0), AHEAD).await, Duration::ZERO);
        assert_eq!(waited(&mut PacedBody::to(Arc::default(), 0), AHEAD).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_long_at_a_level_that_stands_still() {
        let mut kept = at_level(0.0, 0.0);
        for _ in 0..3 {
            let waited = waited(&mut kept, AHEAD).await;
            assert!((LONGEST..LONGEST + LOOK).contains(&waited), "{waited:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_level_that_is_set_anew_is_seen_by_those_who_wait() {
        let mut kept = at_level(0.0, 0.0);
        let level = Arc::clone(&kept.level);
        let raised = async {
            tokio::time::sleep(Duration::from_millis(250)).await;
            level.set(None);
        };
        let (waited, ()) = tokio::join!(waited(&mut kept, AHEAD), raised);
        assert!(waited <= Duration::from_millis(350), "{waited:?}");
    }
}

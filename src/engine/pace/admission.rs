//! The gate that the wire asks for permits, answered by a [`Governor`].

use crate::engine::pace::governor::Governor;
use crate::wire::gate::{Boxed, Gate, Permit, RequestResult};
use crate::wire::net::host_limits::sockets_are_tight;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::debug;

/// A governor and the permits that are out.
pub(crate) struct Admission(Arc<Shared>);

struct Shared {
    side: &'static str,
    state: Mutex<AdmissionState>,
    room: Notify,
}

struct AdmissionState {
    governor: Box<dyn Governor>,
    in_flight: u32,
    waiting: u32,
    extra: u32,
    looked: Option<Instant>,
}

/// How often the memory of sockets is looked at.
const LOOK: Duration = Duration::from_secs(1);

struct PermitGuard(Arc<Shared>);

/// Somebody who stands in the queue, until it is dropped.
struct Waiter<'a>(&'a Shared);

impl Admission {
    /// A gate with nothing under way; `side` names it in the log.
    pub(crate) fn new(side: &'static str, governor: impl Governor + 'static) -> Self {
        let state = Mutex::new(AdmissionState {
            governor: Box::new(governor),
            in_flight: 0,
            waiting: 0,
            extra: 0,
            looked: None,
        });
        Self(Arc::new(Shared { side, state, room: Notify::new() }))
    }
}

impl Shared {
    fn with<T>(&self, work: impl FnOnce(&mut AdmissionState) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a permit if there is room; who did not wait for it, only if nobody else does.
    fn take(self: &Arc<Self>, waited: bool) -> Option<Box<dyn Permit>> {
        let is_free = self.with(|state| {
            let is_free = state.in_flight < state.window() && (waited || state.waiting == 0);
            if is_free {
                state.in_flight += 1;
            }
            is_free
        });
        is_free.then(|| Box::new(PermitGuard(Arc::clone(self))) as Box<dyn Permit>)
    }

    /// Tells the governor something, and lets in those for whom there is room now.
    fn tell(&self, tell: impl FnOnce(&mut dyn Governor, u32)) {
        let (grew, decided) = self.with(|state| {
            let before = state.window();
            state.look();
            tell(state.governor.as_mut(), state.in_flight);
            (state.window() > before, state.governor.decided())
        });
        if let Some(decided) = decided {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is below 2^64")]
            let goodput = decided.goodput as u64;
            debug!(side = self.side, window = decided.window, goodput, why = decided.why.name(), "window");
        }
        if grew {
            self.room.notify_waiters();
        }
    }
}

impl AdmissionState {
    fn window(&self) -> u32 {
        self.governor.window().saturating_add(self.extra)
    }

    /// While sockets have more memory than the kernel likes, no request is added to those that are under way.
    fn look(&mut self) {
        let now = Instant::now();
        if self.looked.is_none_or(|at| now.saturating_duration_since(at) >= LOOK) {
            self.looked = Some(now);
            self.governor.allow(if sockets_are_tight() { self.in_flight } else { u32::MAX });
        }
    }
}

impl Gate for Admission {
    fn enter(&self) -> Boxed<'_, Box<dyn Permit>> {
        Box::pin(async {
            loop {
                // Asked for before the look, so that room made in between is not missed.
                let room = self.0.room.notified();
                if let Some(permit) = self.0.take(true) {
                    return permit;
                }
                let _waiting = Waiter::new(&self.0);
                room.await;
            }
        })
    }

    fn admit(&self) -> Box<dyn Permit> {
        self.0.with(|state| state.in_flight += 1);
        Box::new(PermitGuard(Arc::clone(&self.0)))
    }

    fn try_enter(&self) -> Option<Box<dyn Permit>> {
        self.0.take(false)
    }

    fn moved(&self, bytes: u64) {
        self.0.tell(|governor, busy| governor.moved(bytes, busy, Instant::now()));
    }

    fn window(&self) -> u32 {
        self.0.with(|state| state.window())
    }

    fn widen(&self, by: u32) {
        self.0.with(|state| state.extra += by);
        debug!(side = self.0.side, window = self.window(), why = "widened", "window");
        self.0.room.notify_waiters();
    }

    fn narrow(&self, by: u32) {
        self.0.with(|state| state.extra -= by);
    }

    fn resumed(&self) {
        self.0.tell(|governor, _| governor.resumed(Instant::now()));
    }
}

impl<'a> Waiter<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.with(|state| state.waiting += 1);
        Self(shared)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.with(|state| state.waiting -= 1);
    }
}

impl Permit for PermitGuard {
    fn record(&mut self, result: RequestResult) {
        self.0.tell(|governor, busy| governor.on_result(result, busy, Instant::now()));
    }
}

impl Drop for PermitGuard {
    fn drop(&mut self) {
        self.0.with(|state| state.in_flight -= 1);
        self.0.room.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::pace::governor::FixedWindow;
    use tokio::time::timeout;

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_window_are_inside() {
        let gate = Admission::new("target", FixedWindow::new(2));
        let first = gate.enter().await;
        let _second = gate.enter().await;
        let waiting = gate.enter();
        tokio::pin!(waiting);
        assert!(timeout(Duration::from_secs(1), &mut waiting).await.is_err());
        drop(first);
        assert!(timeout(Duration::from_secs(1), &mut waiting).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_that_gave_up_does_not_keep_the_room() {
        let gate = Admission::new("target", FixedWindow::new(1));
        let held = gate.enter().await;
        let mut given_up = gate.enter();
        assert!(timeout(Duration::from_millis(1), &mut given_up).await.is_err());
        let patient = gate.enter();
        tokio::pin!(patient);
        assert!(timeout(Duration::from_millis(1), &mut patient).await.is_err());
        drop(held);
        drop(given_up);
        assert!(timeout(Duration::from_secs(1), &mut patient).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_enters_ahead_of_those_who_wait() {
        let gate = Admission::new("target", FixedWindow::new(2));
        let (first, second) = (gate.enter().await, gate.enter().await);
        let mut waiting = gate.enter();
        assert!(timeout(Duration::from_millis(1), &mut waiting).await.is_err());
        drop(first);
        assert!(gate.try_enter().is_none());
        let waited = waiting.await;
        drop(second);
        assert!(gate.try_enter().is_some());
        drop(waited);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wider_gate_lets_those_in_who_wait_and_is_narrow_again_afterwards() {
        let gate = Admission::new("target", FixedWindow::new(1));
        let first = gate.enter().await;
        let mut waiting = gate.enter();
        assert!(timeout(Duration::from_millis(1), &mut waiting).await.is_err());
        gate.widen(1);
        let second = timeout(Duration::from_secs(1), &mut waiting).await.unwrap();
        assert_eq!(gate.window(), 2);
        gate.narrow(1);
        drop(first);
        assert!(gate.try_enter().is_none());
        drop(second);
        assert!(gate.try_enter().is_some());
    }
}

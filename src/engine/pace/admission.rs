//! The gate that the wire asks for permits, answered by a [`Governor`].

use crate::engine::pace::governor::{Governor, Load};
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
    load: Load,
    looked: Option<Instant>,
}

/// How often the memory of sockets is looked at.
const LOOK: Duration = Duration::from_secs(1);

struct PermitGuard {
    shared: Arc<Shared>,
    bytes: u64,
}

impl Admission {
    /// A gate with nothing under way; `side` names it in the log.
    pub(crate) fn new(side: &'static str, governor: impl Governor + 'static) -> Self {
        let state = Mutex::new(AdmissionState { governor: Box::new(governor), load: Load::default(), looked: None });
        Self(Arc::new(Shared { side, state, room: Notify::new() }))
    }
}

impl Shared {
    fn with<T>(&self, work: impl FnOnce(&mut AdmissionState) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a permit for a body of so many bytes, if there is room.
    fn take(self: &Arc<Self>, bytes: u64) -> Option<Box<dyn Permit>> {
        // In one look: two that see the same room must not both have it.
        let is_free = self.with(|state| {
            let is_free = state.has_room(bytes);
            if is_free {
                state.add(bytes);
            }
            is_free
        });
        is_free.then(|| self.permit(bytes))
    }

    fn permit(self: &Arc<Self>, bytes: u64) -> Box<dyn Permit> {
        Box::new(PermitGuard { shared: Arc::clone(self), bytes })
    }

    /// Tells the governor something, and lets in those for whom there is room now.
    fn tell(&self, tell: impl FnOnce(&mut dyn Governor, Load)) {
        let (grew, decided) = self.with(|state| {
            let before = (state.governor.window(), state.governor.bytes());
            state.look();
            tell(state.governor.as_mut(), state.load);
            let grew = state.governor.window() > before.0 || state.governor.bytes() > before.1;
            (grew, state.governor.decided())
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
    /// A body of any size has room where there is no other, and what has none always has.
    fn has_room(&self, bytes: u64) -> bool {
        let Load { requests, bytes: in_flight } = self.load;
        let fits = bytes == 0 || in_flight == 0 || in_flight + bytes <= self.governor.bytes();
        requests < self.governor.window() && fits
    }

    fn add(&mut self, bytes: u64) {
        self.load.requests += 1;
        self.load.bytes += bytes;
    }

    /// While sockets have more memory than the kernel likes, no request is added to those that are under way.
    fn look(&mut self) {
        let now = Instant::now();
        if self.looked.is_none_or(|at| now.saturating_duration_since(at) >= LOOK) {
            self.looked = Some(now);
            self.governor.allow(if sockets_are_tight() { self.load.requests } else { u32::MAX });
        }
    }
}

impl Gate for Admission {
    fn enter(&self, bytes: u64) -> Boxed<'_, Box<dyn Permit>> {
        Box::pin(async move {
            loop {
                // Asked for before the look, so that room made in between is not missed.
                let room = self.0.room.notified();
                if let Some(permit) = self.0.take(bytes) {
                    return permit;
                }
                room.await;
            }
        })
    }

    fn admit(&self) -> Box<dyn Permit> {
        self.0.with(|state| state.add(0));
        self.0.permit(0)
    }

    fn moved(&self, bytes: u64) {
        self.0.tell(|governor, load| governor.moved(bytes, load, Instant::now()));
    }

    fn window(&self) -> u32 {
        self.0.with(|state| state.governor.window())
    }

    fn surplus(&self) -> u32 {
        self.0.with(|state| state.governor.surplus(state.load))
    }

    fn starved(&self, count: u32) {
        self.0.tell(|governor, load| governor.starved(count, load, Instant::now()));
    }

    fn resumed(&self) {
        self.0.tell(|governor, _| governor.resumed(Instant::now()));
    }
}

impl Permit for PermitGuard {
    fn record(&mut self, result: RequestResult) {
        self.shared.tell(|governor, load| governor.on_result(result, load, Instant::now()));
    }
}

impl Drop for PermitGuard {
    fn drop(&mut self) {
        let is_bounded = self.shared.with(|state| {
            state.load.requests -= 1;
            state.load.bytes -= self.bytes;
            state.governor.bytes() < u64::MAX
        });
        // Where bytes are bounded, who has waited longest may have a body for which there is no room yet.
        if is_bounded { self.shared.room.notify_waiters() } else { self.shared.room.notify_one() }
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
        let first = gate.enter(0).await;
        let _second = gate.enter(0).await;
        let waiting = gate.enter(0);
        tokio::pin!(waiting);
        assert!(timeout(Duration::from_secs(1), &mut waiting).await.is_err());
        drop(first);
        assert!(timeout(Duration::from_secs(1), &mut waiting).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_that_gave_up_does_not_keep_the_room() {
        let gate = Admission::new("target", FixedWindow::new(1));
        let held = gate.enter(0).await;
        let mut given_up = gate.enter(0);
        assert!(timeout(Duration::from_millis(1), &mut given_up).await.is_err());
        let patient = gate.enter(0);
        tokio::pin!(patient);
        assert!(timeout(Duration::from_millis(1), &mut patient).await.is_err());
        drop(held);
        drop(given_up);
        assert!(timeout(Duration::from_secs(1), &mut patient).await.is_ok());
    }
}

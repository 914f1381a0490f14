//! The gate that the wire asks for permits, answered by a [`Schedule`].

use crate::engine::pace::governor::Governor;
use crate::engine::pace::schedule::{Event, Schedule};
use crate::engine::pace::window::SPAN;
use crate::wire::gate::{Boxed, Gate, Permit, RequestResult, Unit};
use crate::wire::net::host_limits::sockets_are_tight;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::debug;

/// A schedule and those who wait for it.
pub(crate) struct Admission(Arc<Shared>);

struct Shared {
    side: &'static str,
    state: Mutex<AdmissionState>,
}

struct AdmissionState {
    schedule: Schedule,
    waiting: HashMap<u64, (Unit, oneshot::Sender<PermitGuard>)>,
    number: u64,
    looked: Option<Instant>,
}

struct PermitGuard {
    shared: Arc<Shared>,
    unit: Unit,
}

/// One who waits; dropped, the turn is given up, and a permit that came meanwhile is given back.
struct Waiter {
    shared: Arc<Shared>,
    number: u64,
    unit: Unit,
    permit: oneshot::Receiver<PermitGuard>,
}

impl Admission {
    /// A gate with nothing under way; `side` names it in the log.
    pub(crate) fn new(side: &'static str, governor: impl Governor + 'static) -> Self {
        let state =
            AdmissionState { schedule: Schedule::new(governor), waiting: HashMap::new(), number: 0, looked: None };
        Self(Arc::new(Shared { side, state: Mutex::new(state) }))
    }
}

impl Shared {
    fn with<T>(&self, work: impl FnOnce(&mut AdmissionState) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells the schedule what happened, and gives permits to those that begin.
    fn tell(self: &Arc<Self>, event: Event) {
        let (begun, decided) = self.with(|state| (state.tell(event), state.schedule.decided()));
        if let Some(decided) = decided {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is below 2^64")]
            let goodput = decided.goodput as u64;
            debug!(side = self.side, window = decided.window, goodput, why = decided.why.name(), "window");
        }
        for (unit, permit) in begun {
            // Of one who has just given up, the permit comes back by being dropped.
            let _ = permit.send(PermitGuard { shared: Arc::clone(self), unit });
        }
    }

    fn wait(self: &Arc<Self>, unit: Unit) -> Waiter {
        let (permit, permitted) = oneshot::channel();
        let number = self.with(|state| {
            state.number += 1;
            state.waiting.insert(state.number, (unit, permit));
            state.number
        });
        let waiter = Waiter { shared: Arc::clone(self), number, unit, permit: permitted };
        self.tell(Event::Waits(number, unit));
        waiter
    }
}

impl AdmissionState {
    fn tell(&mut self, event: Event) -> Vec<(Unit, oneshot::Sender<PermitGuard>)> {
        let now = Instant::now();
        let mut begun = Vec::new();
        // While sockets have more memory than the kernel likes, no request is added to those that are under way.
        if self.looked.is_none_or(|at| now.saturating_duration_since(at) >= SPAN.1) {
            self.looked = Some(now);
            begun = self.schedule.schedule(now, Event::Room(!sockets_are_tight()));
        }
        begun.extend(self.schedule.schedule(now, event));
        begun.into_iter().filter_map(|number| self.waiting.remove(&number)).collect()
    }
}

impl Gate for Admission {
    fn enter(&self, unit: Unit) -> Boxed<'_, Box<dyn Permit>> {
        Box::pin(async move {
            let mut waiter = self.0.wait(unit);
            match (&mut waiter.permit).await {
                Ok(permit) => Box::new(permit) as Box<dyn Permit>,
                // The sender is only dropped with its turn.
                Err(_) => std::future::pending().await,
            }
        })
    }

    fn admit(&self) -> Box<dyn Permit> {
        let unit = Unit::default();
        self.0.tell(Event::Admitted(unit));
        Box::new(PermitGuard { shared: Arc::clone(&self.0), unit })
    }

    fn moved(&self, bytes: u64) {
        self.0.tell(Event::Moved(bytes));
    }

    fn window(&self) -> u32 {
        self.0.with(|state| state.schedule.window())
    }

    fn surplus(&self) -> u32 {
        self.0.with(|state| state.schedule.surplus(Instant::now()))
    }

    fn starved(&self, count: u32) {
        self.0.tell(Event::Starved(count));
    }

    fn resumed(&self, until: Instant) {
        self.0.tell(Event::Resumed(until));
    }
}

impl Permit for PermitGuard {
    fn record(&mut self, result: RequestResult) {
        self.shared.tell(Event::Told(result));
    }
}

impl Drop for PermitGuard {
    fn drop(&mut self) {
        self.shared.tell(Event::Ended(self.unit));
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let waits = self.shared.with(|state| state.waiting.remove(&self.number).is_some());
        if waits {
            self.shared.tell(Event::GaveUp(self.number, self.unit));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::pace::governor::FixedWindow;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_window_are_inside() {
        let gate = Admission::new("target", FixedWindow::new(2));
        let first = gate.enter(Unit::default()).await;
        let _second = gate.enter(Unit::default()).await;
        let waiting = gate.enter(Unit::default());
        tokio::pin!(waiting);
        assert!(timeout(Duration::from_secs(1), &mut waiting).await.is_err());
        drop(first);
        assert!(timeout(Duration::from_secs(1), &mut waiting).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_that_gave_up_does_not_keep_the_room() {
        let gate = Admission::new("target", FixedWindow::new(1));
        let held = gate.enter(Unit::default()).await;
        let mut given_up = gate.enter(Unit::default());
        assert!(timeout(Duration::from_millis(1), &mut given_up).await.is_err());
        let patient = gate.enter(Unit::default());
        tokio::pin!(patient);
        assert!(timeout(Duration::from_millis(1), &mut patient).await.is_err());
        drop(held);
        // Its turn came, and it never looked.
        drop(given_up);
        assert!(timeout(Duration::from_secs(1), &mut patient).await.is_ok());
    }
}

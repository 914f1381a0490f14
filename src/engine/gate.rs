//! The gate that the wire asks for permits, answered by a [`Governor`].

use super::governor::Governor;
use crate::wire::gate::{Boxed, Gate, Permit, Told};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
use tokio::time::Instant;

/// A governor and the permits that are out.
pub struct Governed(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    room: Notify,
}

struct State {
    governor: Box<dyn Governor>,
    under_way: u32,
}

struct Ticket(Arc<Shared>);

impl Governed {
    /// A gate with nothing under way.
    pub fn new(governor: impl Governor + 'static) -> Self {
        let state = Mutex::new(State { governor: Box::new(governor), under_way: 0 });
        Self(Arc::new(Shared { state, room: Notify::new() }))
    }
}

impl Shared {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn try_enter(&self) -> bool {
        self.with(|state| {
            let free = state.under_way < state.governor.window();
            if free {
                state.under_way += 1;
            }
            free
        })
    }
}

impl Gate for Governed {
    fn enter(&self) -> Boxed<'_, Box<dyn Permit>> {
        Box::pin(async {
            loop {
                // Asked for before the look, so that room made in between is not missed.
                let room = self.0.room.notified();
                if self.0.try_enter() {
                    return Box::new(Ticket(Arc::clone(&self.0))) as Box<dyn Permit>;
                }
                room.await;
            }
        })
    }
}

impl Permit for Ticket {
    fn tell(&mut self, told: Told) {
        let grew = self.0.with(|state| {
            let before = state.governor.window();
            state.governor.told(told, Instant::now());
            state.governor.window() > before
        });
        if grew {
            self.0.room.notify_waiters();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.with(|state| state.under_way -= 1);
        self.0.room.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::super::governor::FixedWindow;
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_window_are_inside() {
        let gate = Governed::new(FixedWindow::new(2));
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
        let gate = Governed::new(FixedWindow::new(1));
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
}

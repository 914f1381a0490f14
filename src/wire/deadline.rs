//! Until when work may go on, and who else may end it.

use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    Deadline,
    Asked,
}

/// The end of the time that work has, handed down from the invocation. Cloning it shares the end.
#[derive(Debug, Clone)]
pub struct Deadline {
    at: Option<Instant>,
    asked: Option<watch::Receiver<bool>>,
}

impl Deadline {
    /// Work without an end.
    pub fn never() -> Self {
        Self { at: None, asked: None }
    }

    pub(crate) fn at(at: Instant) -> Self {
        Self { at: Some(at), asked: None }
    }

    /// Work that ends after so long.
    pub fn after(time: Duration) -> Self {
        Self::at(Instant::now() + time)
    }

    /// The same, ended also when `asked` becomes true.
    #[must_use]
    pub fn or_asked(self, asked: watch::Receiver<bool>) -> Self {
        Self { asked: Some(asked), ..self }
    }

    /// The same, ended this much earlier; what comes after has the rest.
    #[must_use]
    pub(crate) fn earlier(&self, margin: Duration) -> Self {
        Self { at: self.at.map(|at| at.checked_sub(margin).unwrap_or(at)), asked: self.asked.clone() }
    }

    /// The end, if there is one.
    pub fn instant(&self) -> Option<Instant> {
        self.at
    }

    /// Whether something that takes so long can still be begun.
    pub(crate) fn allows(&self, time: Duration, now: Instant) -> bool {
        self.at.is_none_or(|at| time < at.saturating_duration_since(now))
    }

    /// Waits for the end.
    pub(crate) async fn passed(&self) -> Stopped {
        let time = async {
            match self.at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let asked = async {
            if let Some(asked) = &self.asked {
                let mut asked = asked.clone();
                if asked.wait_for(|asked| *asked).await.is_ok() {
                    return;
                }
            }
            // Nobody is left who could ask.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = time => Stopped::Deadline,
            () = asked => Stopped::Asked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_earlier_of_time_and_asking_ends_it() {
        let (ask, asked) = watch::channel(false);
        let deadline = Deadline::after(Duration::from_secs(5)).or_asked(asked);
        assert!(deadline.allows(Duration::from_secs(4), Instant::now()));
        assert!(!deadline.allows(Duration::from_secs(5), Instant::now()));
        assert_eq!(deadline.earlier(Duration::from_secs(1)).passed().await, Stopped::Deadline);
        ask.send(true).unwrap();
        assert_eq!(deadline.passed().await, Stopped::Asked);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_left_to_ask_is_no_asking() {
        let (ask, asked) = watch::channel(false);
        drop(ask);
        let deadline = Deadline::after(Duration::from_secs(1)).or_asked(asked);
        assert_eq!(deadline.passed().await, Stopped::Deadline);
    }
}

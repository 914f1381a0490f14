//! Whether a failed request is sent again, and when: pure.
//!
//! Control calls follow the constants of AWS's SDKs ("Retry behavior", standard mode, as of 2026); parts go on until
//! the deadline or until nothing progresses. Both pay from one `Budget`, which successes and delivered bytes refill,
//! so that a failing server is not met by a storm.

use crate::s3::error::{Class, Remedy};
use crate::wire::deadline::Deadline;
use crate::wire::error::{Error, LostAt};
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::Instant;

/// Attempts of a control call (SDKs' standard mode).
pub(crate) const CONTROL_ATTEMPTS: u32 = 3;

/// Attempts of a part between two of its successes: with backoff up to [`LONGEST`], two minutes of a dead path.
pub(crate) const PART_ATTEMPTS: u32 = 10;

/// Tokens for another attempt after a failure that is not about load (SDKs' standard mode).
pub(crate) const TRANSIENT_COST: f64 = 14.0;

/// Tokens for another attempt after being asked for less (SDKs' standard mode).
pub(crate) const THROTTLED_COST: f64 = 5.0;

/// Tokens of a full bucket (SDKs' standard mode); a wide window has [`TOKENS_PER_CONNECTION`] instead.
pub(crate) const TOKENS: f64 = 500.0;

/// A burst that resets every connection of the window once must be affordable twice.
pub(crate) const TOKENS_PER_CONNECTION: f64 = 2.0 * TRANSIENT_COST;

/// Tokens that a delivered MiB gives back.
pub(crate) const TOKENS_PER_MIB: f64 = 1.0;

/// First step of the backoff after a failure that is not about load (SDKs' standard mode).
pub(crate) const TRANSIENT_STEP: Duration = Duration::from_millis(50);

/// First step of the backoff after being asked for less (SDKs' standard mode).
pub(crate) const THROTTLED_STEP: Duration = Duration::from_secs(1);

/// The longest backoff (SDKs' standard mode).
pub(crate) const LONGEST: Duration = Duration::from_secs(20);

/// How much longer than our own backoff S3's `x-amz-retry-after` can make a wait (SDKs' standard mode).
pub(crate) const ASKED_FOR_AT_MOST: Duration = Duration::from_secs(5);

/// Connections to one address that are lost within this time are lost together, and paid for once.
pub(crate) const SAME_EVENT: Duration = Duration::from_secs(1);

/// How long a request is worth trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// A call that another one can do without: one attempt.
    Once,
    /// A call that decides: a few attempts.
    Control,
    /// A call that moves bytes: until the deadline or until nothing progresses.
    Part,
}

/// What one side can still afford.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    pub(crate) tokens: f64,
    capacity: f64,
    lost: Vec<(IpAddr, Instant)>,
}

impl Budget {
    /// A full budget for a window of so many connections.
    pub(crate) fn new(window: u32) -> Self {
        let capacity = TOKENS.max(f64::from(window) * TOKENS_PER_CONNECTION);
        Self { tokens: capacity, capacity, lost: Vec::new() }
    }

    /// Bytes arrived where they should: the path works.
    pub(crate) fn delivered(&mut self, bytes: u64) {
        #[expect(clippy::cast_precision_loss, reason = "a part is far below 2^52 bytes")]
        let mib = bytes as f64 / f64::from(1 << 20);
        self.give(mib * TOKENS_PER_MIB);
    }

    /// Whether a connection to this address was lost a moment ago; if not, it was now.
    fn lost_before(&mut self, peer: IpAddr, now: Instant) -> bool {
        self.lost.retain(|(_, at)| now.saturating_duration_since(*at) < SAME_EVENT);
        let before = self.lost.iter().any(|(known, _)| *known == peer);
        if !before {
            self.lost.push((peer, now));
        }
        before
    }

    pub(crate) fn give(&mut self, tokens: f64) {
        self.tokens = (self.tokens + tokens).min(self.capacity);
    }

    fn take(&mut self, tokens: f64) -> bool {
        let enough = self.tokens >= tokens;
        if enough {
            self.tokens -= tokens;
        }
        enough
    }
}

/// What to do after a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Send it again after so long, having applied the remedy.
    Again(Duration, Option<Remedy>),
    GiveUp,
}

/// Which remedies were applied; each is applied once.
#[derive(Debug, Default)]
pub(crate) struct RemediesApplied {
    region: Option<()>,
    clock: Option<()>,
    credentials: Option<()>,
}

/// What one request has been through, as far as it decides whether it is sent again.
#[derive(Debug)]
pub(crate) struct RetryState {
    persistence: Persistence,
    deadline: Deadline,
    /// The address that the next connection does not lead to.
    pub(crate) avoid: Option<IpAddr>,
    /// Attempts in a row that brought nothing.
    pub(crate) failures: u32,
    /// Whether an attempt that leaves traces was not answered, or not clearly.
    pub(crate) unanswered: bool,
    pub(crate) paid: f64,
    /// Whether the next attempt may use a connection that was kept.
    pub(crate) on_kept: bool,
    remedies: RemediesApplied,
}

impl RetryState {
    pub(crate) fn new(persistence: Persistence, deadline: Deadline) -> Self {
        Self {
            persistence,
            deadline,
            avoid: None,
            failures: 0,
            unanswered: false,
            paid: 0.0,
            on_kept: true,
            remedies: RemediesApplied::default(),
        }
    }

    /// Decides about a failure of an attempt that went to `peer`. `jitter` is a random number of 0 to 1.
    pub(crate) fn after_failure(
        &mut self,
        error: &Error,
        peer: Option<IpAddr>,
        budget: &mut Budget,
        now: Instant,
        jitter: f64,
    ) -> Verdict {
        let class = error.class();
        self.unanswered |= class == Class::Ambiguous;
        if let Error::Lost { stage: LostAt::Reused, .. } = error
            && self.on_kept
        {
            // A connection closed behind our back says nothing about the server; the next attempt opens its own.
            self.on_kept = false;
            return Verdict::Again(Duration::ZERO, None);
        }
        if let Some(remedy) = self.remedy(error) {
            return Verdict::Again(Duration::ZERO, Some(remedy));
        }
        let (cost, step) = match class {
            Class::Throttled => (THROTTLED_COST, THROTTLED_STEP),
            Class::Transient | Class::Ambiguous => {
                let is_lost = matches!(error, Error::Lost { .. });
                let together = peer.is_some_and(|peer| is_lost && budget.lost_before(peer, now));
                if is_lost {
                    // "Performance design patterns for Amazon S3", timeouts and retries: a retry uses a new connection.
                    self.on_kept = false;
                    self.avoid = peer;
                }
                (if together { 0.0 } else { TRANSIENT_COST }, TRANSIENT_STEP)
            }
            Class::Precondition | Class::Missing | Class::Refused => return Verdict::GiveUp,
        };
        let most = match (self.persistence, error) {
            (Persistence::Once, _) => 1,
            // A server that answers in another tongue will do so again, and each Create leaves an upload behind.
            (Persistence::Control, _) | (_, Error::Lost { stage: LostAt::Reading, .. }) => CONTROL_ATTEMPTS,
            (Persistence::Part, _) => PART_ATTEMPTS,
        };
        self.failures += 1;
        let ceiling = step.saturating_mul(1 << (self.failures - 1).min(16)).min(LONGEST);
        let backoff = ceiling.mul_f64(jitter.clamp(0.0, 1.0));
        let asked = error.refusal().and_then(|refusal| refusal.retry_after).unwrap_or_default();
        let wait = backoff.max(asked.min(backoff + ASKED_FOR_AT_MOST));
        if self.failures >= most || !self.deadline.allows(wait, now) || !budget.take(cost) {
            return Verdict::GiveUp;
        }
        self.paid = cost;
        Verdict::Again(wait, None)
    }

    fn remedy(&mut self, error: &Error) -> Option<Remedy> {
        let remedy = error.refusal()?.remedy.as_ref()?;
        let applied = match remedy {
            Remedy::Region(_) => &mut self.remedies.region,
            Remedy::Clock => &mut self.remedies.clock,
            Remedy::Credentials => &mut self.remedies.credentials,
        };
        match applied.replace(()) {
            None => Some(remedy.clone()),
            Some(()) => None,
        }
    }
}

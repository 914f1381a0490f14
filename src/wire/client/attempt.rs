//! Whether a failed request is sent again, and when: a pure policy.
//!
//! Control calls follow the constants of AWS's SDKs ("Retry behavior", standard mode, as of 2026); parts go on until
//! the deadline or until nothing progresses. Both pay from one [`Budget`], which successes and delivered bytes refill,
//! so that a failing server is not met by a storm.

use crate::s3::error::{Class, Remedy};
use crate::wire::body::pacer::Pacer;
use crate::wire::deadline::Deadline;
use crate::wire::error::{Error, LostAt};
use crate::wire::gate::Permit;
use aws_credential_types::Credentials;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Attempts of a control call (SDKs' standard mode).
const CONTROL_ATTEMPTS: u32 = 3;
/// Attempts of a part between two of its successes: with backoff up to [`LONGEST`], two minutes of a dead path.
const PART_ATTEMPTS: u32 = 10;
/// Tokens for another attempt after a failure that is not about load (SDKs' standard mode).
const TRANSIENT_COST: f64 = 14.0;
/// Tokens for another attempt after being asked for less (SDKs' standard mode).
const THROTTLED_COST: f64 = 5.0;
/// Tokens of a full bucket (SDKs' standard mode); a wide window has [`TOKENS_PER_CONNECTION`] instead.
const TOKENS: f64 = 500.0;
/// A burst that resets every connection of the window once must be affordable twice.
const TOKENS_PER_CONNECTION: f64 = 2.0 * TRANSIENT_COST;
const TOKENS_PER_MIB: f64 = 1.0;
/// First step of the backoff after a failure that is not about load (SDKs' standard mode).
const TRANSIENT_STEP: Duration = Duration::from_millis(50);
/// First step of the backoff after being asked for less (SDKs' standard mode).
const THROTTLED_STEP: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(20);
/// How much longer than our own backoff S3's `x-amz-retry-after` can make a wait (SDKs' standard mode).
const ASKED_FOR_AT_MOST: Duration = Duration::from_secs(5);

/// Connections to one address that are lost within this time are lost together, and paid for once.
const SAME_EVENT: Duration = Duration::from_secs(1);
/// Tokens for sending a part on a second connection: that of a retry, which it saves when it wins.
const HEDGE_COST: f64 = TRANSIENT_COST;

/// How long a request is worth trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// A call that decides: a few attempts.
    Control,
    /// A call that moves bytes: until the deadline or until nothing progresses.
    Part,
}

/// What one side can still afford.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    tokens: f64,
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

    /// Pays for a hedge; false if there is not enough.
    pub(crate) fn hedges(&mut self) -> bool {
        self.take(HEDGE_COST)
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

    fn give(&mut self, tokens: f64) {
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

/// The address that a request's last attempt went to; cloning it shares the view.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peer(Arc<Mutex<Option<IpAddr>>>);

impl Peer {
    /// The address, once the attempt has a connection that has one.
    pub(crate) fn get(&self) -> Option<IpAddr> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, peer: Option<IpAddr>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = peer;
    }
}

#[derive(Default)]
pub(crate) enum AdmissionMode {
    #[default]
    Wait,
    /// At once: who asks has a permit that is held until this is answered.
    Nested,
    /// At once, and counted nowhere: what it reads goes no faster than what somebody sends under a permit of another
    /// gate.
    Exempt,
    Held(Box<dyn Permit>),
}

impl fmt::Debug for AdmissionMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wait => "Queue",
            Self::Nested => "Within",
            Self::Exempt => "Beside",
            Self::Held(_) => "Given",
        })
    }
}

/// The history of one request.
#[derive(Debug)]
pub struct Attempts {
    persistence: Persistence,
    deadline: Deadline,
    admission: AdmissionMode,
    // Body bytes of the attempt under way that its connection has taken.
    taken: Arc<AtomicU64>,
    level: Option<Arc<Pacer>>,
    began: Option<Instant>,
    peer: Peer,
    avoid: Option<IpAddr>,
    sent: u32,
    failures: u32,
    unanswered: bool,
    paid: f64,
    on_kept: bool,
    signed_with: Option<Credentials>,
    mended: RemediesApplied,
}

/// Which remedies were applied; each is applied once.
#[derive(Debug, Default)]
struct RemediesApplied {
    region: Option<()>,
    clock: Option<()>,
    credentials: Option<()>,
}

impl Attempts {
    /// A request that has not been sent.
    pub fn new(persistence: Persistence, deadline: &Deadline) -> Self {
        Self {
            persistence,
            deadline: deadline.clone(),
            admission: AdmissionMode::Wait,
            taken: Arc::default(),
            level: None,
            began: None,
            peer: Peer::default(),
            avoid: None,
            sent: 0,
            failures: 0,
            unanswered: false,
            paid: 0.0,
            on_kept: true,
            signed_with: None,
            mended: RemediesApplied::default(),
        }
    }

    /// The same, let in at once: for a request that another one waits for which holds a permit.
    #[must_use]
    pub(crate) fn nested(mut self) -> Self {
        self.admission = AdmissionMode::Nested;
        self
    }

    /// The same, let in at once and counted nowhere: for a request whose bytes go straight into another one, which has
    /// a permit at the other side.
    #[must_use]
    pub(crate) fn exempt(mut self) -> Self {
        self.admission = AdmissionMode::Exempt;
        self
    }

    /// The same, the first attempt with this permit.
    #[must_use]
    pub(crate) fn with_permit(mut self, permit: Box<dyn Permit>) -> Self {
        self.admission = AdmissionMode::Held(permit);
        self
    }

    /// The same, on a connection of its own, to another address if there is one.
    #[must_use]
    pub(crate) fn away_from(mut self, peer: Option<IpAddr>) -> Self {
        self.on_kept = false;
        self.avoid = peer;
        self
    }

    /// The same, its body keeping to a level.
    #[must_use]
    pub(crate) fn keeping_to(mut self, level: Arc<Pacer>) -> Self {
        self.level = Some(level);
        self
    }

    pub(crate) fn level(&self) -> Option<Arc<Pacer>> {
        self.level.clone()
    }

    /// A view of how many bytes of the body the attempt under way has put on its connection.
    pub fn taken(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.taken)
    }

    /// A view of where the last attempt went.
    pub(crate) fn peer(&self) -> Peer {
        self.peer.clone()
    }

    /// How long ago the last attempt had its permit.
    pub(crate) fn last_attempt(&self) -> Duration {
        self.began.map(|began| began.elapsed()).unwrap_or_default()
    }

    /// How the next attempt is let in; a permit is given once.
    pub(crate) fn admission(&mut self) -> AdmissionMode {
        match self.admission {
            AdmissionMode::Nested => AdmissionMode::Nested,
            AdmissionMode::Exempt => AdmissionMode::Exempt,
            AdmissionMode::Wait | AdmissionMode::Held(_) => std::mem::take(&mut self.admission),
        }
    }

    /// The address that a connection of its own does not lead to.
    pub(crate) fn avoided(&self) -> Option<IpAddr> {
        self.avoid
    }

    pub(crate) fn sent(&self) -> u32 {
        self.sent
    }

    pub(crate) fn retries(&self) -> u32 {
        self.sent.saturating_sub(1)
    }

    /// Whether an attempt that leaves traces was not answered, or not clearly: a later refusal may be of our own
    /// making.
    pub(crate) fn unanswered(&self) -> bool {
        self.unanswered
    }

    /// Whether the next attempt may use a connection that was kept.
    pub(crate) fn may_use_kept(&self) -> bool {
        self.on_kept
    }

    pub(crate) fn sign_with(&mut self, credentials: Credentials) {
        self.signed_with = Some(credentials);
    }

    /// What the last attempt was signed with: the keys that a refusal is about.
    pub(crate) fn signed_with(&self) -> Option<&Credentials> {
        self.signed_with.as_ref()
    }

    pub(crate) fn sending(&mut self) {
        self.sent += 1;
        self.began = Some(Instant::now());
        self.peer.set(None);
        self.taken.store(0, Ordering::Relaxed);
    }

    pub(crate) fn sending_to(&mut self, peer: Option<IpAddr>) {
        self.peer.set(peer);
    }

    /// Part of what was asked for has come: what failed before is forgiven.
    pub(crate) fn progressed(&mut self) {
        self.failures = 0;
    }

    pub(crate) fn succeeded(&mut self, budget: &mut Budget) {
        budget.give(if self.paid > 0.0 { self.paid } else { 1.0 });
        self.paid = 0.0;
        self.failures = 0;
    }

    /// Decides about a failure. `jitter` is a random number of 0 to 1.
    pub(crate) fn after_failure(&mut self, error: &Error, budget: &mut Budget, now: Instant, jitter: f64) -> Verdict {
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
                let peer = self.peer.get();
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
            Remedy::Region(_) => &mut self.mended.region,
            Remedy::Clock => &mut self.mended.clock,
            Remedy::Credentials => &mut self.mended.credentials,
        };
        match applied.replace(()) {
            None => Some(remedy.clone()),
            Some(()) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::error::Refusal;
    use crate::s3::http::operation::Idempotence;
    use std::io;

    fn refused(class: Class, remedy: Option<Remedy>, retry_after: Option<Duration>) -> Error {
        let refusal = Refusal {
            operation: "PutObject",
            bucket: "b".into(),
            key: None,
            status: 503,
            code: "Code".into(),
            message: String::new(),
            request_id: None,
            host_id: None,
            class,
            remedy,
            delete_marker: false,
            retry_after,
            server_time: None,
        };
        Error::Refused { refusal: Box::new(refusal), attempts: 1 }
    }

    fn lost(stage: LostAt, repeat: Idempotence) -> Error {
        let source = io::ErrorKind::ConnectionReset.into();
        Error::Lost { operation: "PutObject", stage, source, repeat, attempts: 1 }
    }

    fn judge(attempts: &mut Attempts, error: &Error) -> Verdict {
        attempts.after_failure(error, &mut Budget::new(1), Instant::now(), 1.0)
    }

    #[test]
    fn a_control_call_is_sent_three_times_with_growing_waits() {
        let mut attempts = Attempts::new(Persistence::Control, &Deadline::never());
        let error = refused(Class::Transient, None, None);
        assert_eq!(judge(&mut attempts, &error), Verdict::Again(Duration::from_millis(50), None));
        assert_eq!(judge(&mut attempts, &error), Verdict::Again(Duration::from_millis(100), None));
        assert_eq!(judge(&mut attempts, &error), Verdict::GiveUp);
    }

    #[test]
    fn a_part_goes_on_while_something_progresses() {
        let mut attempts = Attempts::new(Persistence::Part, &Deadline::never());
        let error = lost(LostAt::Body, Idempotence::Idempotent);
        for _ in 0..100 {
            assert_ne!(judge(&mut attempts, &error), Verdict::GiveUp);
            attempts.progressed();
        }
        let further = (0..20).take_while(|_| judge(&mut attempts, &error) != Verdict::GiveUp).count();
        assert_eq!(further, 9);
    }

    #[test]
    fn what_was_lost_is_sent_again_on_a_connection_of_its_own_to_another_address() {
        let mut attempts = Attempts::new(Persistence::Part, &Deadline::never());
        let (peer, error) = (IpAddr::from([198, 18, 1, 1]), lost(LostAt::Head, Idempotence::Idempotent));
        attempts.sending();
        attempts.sending_to(Some(peer));
        assert!(attempts.may_use_kept());
        assert_ne!(judge(&mut attempts, &error), Verdict::GiveUp);
        assert!(!attempts.may_use_kept());
        assert_eq!(attempts.avoided(), Some(peer));
    }

    #[test]
    fn connections_to_one_address_that_are_lost_together_are_paid_for_once() {
        let (one, other) = (IpAddr::from([198, 18, 1, 1]), IpAddr::from([198, 18, 1, 2]));
        let (mut budget, start) = (Budget::new(1), Instant::now());
        let mut paid = |peer, now| {
            let mut attempts = Attempts::new(Persistence::Part, &Deadline::never());
            attempts.sending_to(Some(peer));
            let before = budget.tokens;
            let verdict = attempts.after_failure(&lost(LostAt::Head, Idempotence::Idempotent), &mut budget, now, 0.0);
            assert_ne!(verdict, Verdict::GiveUp);
            before - budget.tokens
        };
        let costs: Vec<f64> = (0..200).map(|_| paid(one, start)).collect();
        assert_eq!(costs.iter().sum::<f64>(), TRANSIENT_COST);
        assert_eq!(paid(other, start), TRANSIENT_COST);
        assert_eq!(paid(one, start + SAME_EVENT), TRANSIENT_COST);
    }

    #[test]
    fn what_will_not_change_is_given_up_at_once() {
        for class in [Class::Refused, Class::Missing, Class::Precondition] {
            let mut attempts = Attempts::new(Persistence::Part, &Deadline::never());
            assert_eq!(judge(&mut attempts, &refused(class, None, None)), Verdict::GiveUp);
        }
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_not_asked_for_long() {
        let mut attempts = Attempts::new(Persistence::Part, &Deadline::never());
        let error = lost(LostAt::Reading, Idempotence::NotIdempotent);
        let further = (0..20).take_while(|_| judge(&mut attempts, &error) != Verdict::GiveUp).count();
        assert_eq!(further, 2);
    }

    #[test]
    fn each_remedy_is_applied_once() {
        for remedy in [Remedy::Clock, Remedy::Credentials, Remedy::Region(Some("eu-west-1".into()))] {
            let mut attempts = Attempts::new(Persistence::Control, &Deadline::never());
            let error = refused(Class::Refused, Some(remedy.clone()), None);
            assert_eq!(judge(&mut attempts, &error), Verdict::Again(Duration::ZERO, Some(remedy)));
            assert_eq!(judge(&mut attempts, &error), Verdict::GiveUp);
        }
    }

    #[test]
    fn a_stale_connection_costs_nothing_but_a_fresh_one() {
        let mut attempts = Attempts::new(Persistence::Control, &Deadline::never());
        let error = lost(LostAt::Reused, Idempotence::NotIdempotent);
        assert!(attempts.may_use_kept());
        assert_eq!(judge(&mut attempts, &error), Verdict::Again(Duration::ZERO, None));
        assert!(!attempts.may_use_kept());
        assert!(attempts.unanswered());
    }

    #[test]
    fn being_asked_to_wait_raises_the_wait_by_five_seconds_at_most() {
        let wait = |asked| {
            let mut attempts = Attempts::new(Persistence::Part, &Deadline::never());
            judge(&mut attempts, &refused(Class::Throttled, None, Some(Duration::from_millis(asked))))
        };
        assert_eq!(wait(0), Verdict::Again(Duration::from_secs(1), None));
        assert_eq!(wait(3_000), Verdict::Again(Duration::from_secs(3), None));
        assert_eq!(wait(60_000), Verdict::Again(Duration::from_secs(6), None));
    }

    #[test]
    fn an_empty_budget_ends_retries_and_delivered_bytes_refill_it() {
        let mut budget = Budget::new(1);
        let error = refused(Class::Transient, None, None);
        let one = |budget: &mut Budget| {
            Attempts::new(Persistence::Part, &Deadline::never()).after_failure(&error, budget, Instant::now(), 0.0)
        };
        let affordable = (0..1000).take_while(|_| one(&mut budget) != Verdict::GiveUp).count();
        assert_eq!(affordable, 35);
        budget.delivered(2 << 20);
        assert_eq!(one(&mut budget), Verdict::GiveUp);
        budget.delivered(8 << 20);
        assert_eq!(one(&mut budget), Verdict::Again(Duration::ZERO, None));
    }

    #[test]
    fn nothing_is_waited_for_past_the_deadline() {
        let deadline = Deadline::after(Duration::from_millis(500));
        let mut attempts = Attempts::new(Persistence::Part, &deadline);
        assert_eq!(judge(&mut attempts, &refused(Class::Throttled, None, None)), Verdict::GiveUp);
    }

    #[test]
    fn only_an_unanswered_write_leaves_doubt() {
        let doubt = |error: &Error| {
            let mut attempts = Attempts::new(Persistence::Control, &Deadline::never());
            judge(&mut attempts, error);
            attempts.unanswered()
        };
        assert!(doubt(&lost(LostAt::Head, Idempotence::NotIdempotent)));
        assert!(doubt(&refused(Class::Ambiguous, None, None)));
        assert!(!doubt(&lost(LostAt::Head, Idempotence::Idempotent)));
        assert!(!doubt(&refused(Class::Transient, None, None)));
    }
}

//! The attempts of one HTTP request: how each is let in, what it moved, and its `RetryState`.

use crate::wire::client::retry::{Budget, Persistence, RetryState, Verdict};
use crate::wire::deadline::Deadline;
use crate::wire::error::Error;
use crate::wire::gate::{Permit, Unit, UnitKind};
use aws_credential_types::Credentials;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

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
            Self::Wait => "Wait",
            Self::Nested => "Nested",
            Self::Exempt => "Exempt",
            Self::Held(_) => "Held",
        })
    }
}

/// The history of one request.
#[derive(Debug)]
pub struct Attempts {
    admission: AdmissionMode,
    kind: UnitKind,
    object: u64,
    // Body bytes of the attempt under way that its connection has taken.
    taken: Arc<AtomicU64>,
    began: Option<Instant>,
    peer: Peer,
    sent: u32,
    signed_with: Option<Credentials>,
    retry: RetryState,
}

impl Attempts {
    /// A request that has not been sent.
    pub fn new(persistence: Persistence, deadline: &Deadline) -> Self {
        Self {
            admission: AdmissionMode::Wait,
            kind: UnitKind::Control,
            object: 0,
            taken: Arc::default(),
            began: None,
            peer: Peer::default(),
            sent: 0,
            signed_with: None,
            retry: RetryState::new(persistence, deadline.clone()),
        }
    }

    /// The same, for this object of the session.
    #[must_use]
    pub(crate) fn of_object(mut self, object: u64) -> Self {
        self.object = object;
        self
    }

    /// The same, for a request that carries object bytes, either way.
    #[must_use]
    pub(crate) fn carrying(mut self, kind: UnitKind) -> Self {
        self.kind = kind;
        self
    }

    /// What waits for a permit, with a body of so many bytes.
    pub(crate) fn unit(&self, bytes: u64) -> Unit {
        Unit { kind: self.kind, object: self.object, bytes }
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

    /// The same, on a connection of its own.
    #[must_use]
    pub(crate) fn on_a_new_connection(mut self) -> Self {
        self.retry.on_kept = false;
        self
    }

    /// A view of how many bytes of the body the attempt under way has put on its connection.
    pub fn taken(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.taken)
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
        self.retry.avoid
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
        self.retry.unanswered
    }

    /// Whether the next attempt may use a connection that was kept.
    pub(crate) fn may_use_kept(&self) -> bool {
        self.retry.on_kept
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
        self.retry.failures = 0;
    }

    pub(crate) fn succeeded(&mut self, budget: &mut Budget) {
        budget.give(if self.retry.paid > 0.0 { self.retry.paid } else { 1.0 });
        self.retry.paid = 0.0;
        self.retry.failures = 0;
    }

    /// Decides about a failure. `jitter` is a random number of 0 to 1.
    pub(crate) fn after_failure(&mut self, error: &Error, budget: &mut Budget, now: Instant, jitter: f64) -> Verdict {
        self.retry.after_failure(error, self.peer.get(), budget, now, jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::error::Class;
    use crate::s3::error::Refusal;
    use crate::s3::error::Remedy;
    use crate::s3::http::operation::Idempotence;
    use crate::wire::client::retry::SAME_EVENT;
    use crate::wire::client::retry::TRANSIENT_COST;
    use crate::wire::error::LostAt;
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

//! How an object comes to be at the target: a write under a condition that is decided again when it no longer holds.

pub(crate) mod applied;
pub(crate) mod put;
pub(crate) mod recopy;
pub(crate) mod remove;
pub(crate) mod staged;
pub(crate) mod stages;

use crate::engine::decide::sameness::{Sameness, headers_agree, sameness};
use crate::engine::decide::verify::{self, Expected};
use crate::engine::decide::{Decision, compare};
use crate::engine::fault::Side;
use crate::engine::job::Job;
use crate::engine::look::source::{self, SourceNow};
use crate::engine::look::target::{head, look};
use crate::engine::notes::Notes;
use crate::engine::report::Proof;
use crate::engine::stop::{Stop, fault_at, integrity_stop};
use crate::mutation::{self, Mutation};
use crate::s3::error::Class;
use crate::s3::http::operation::{Operation, Precondition};
use crate::s3::integrity::crc64::Crc64;
use crate::s3::integrity::etag::{ETag, ETagKind};
use crate::s3::object::attributes::Attributes;
use crate::s3::object::head::ObjectHead;
use crate::s3::object::put::Written;
use crate::wire::client::attempt::Attempts;
use crate::wire::error::Error;
use crate::wire::gate::UnitKind;

/// How often a condition is decided again before somebody else is held to be winning on purpose.
pub(crate) const MAX_DECISIONS: u32 = 8;

/// What the target has after a commit, or had before it.
#[derive(Debug, Clone)]
pub(crate) struct TargetState {
    pub(crate) etag: ETag,
    pub(crate) proofs: Vec<Proof>,
}

impl TargetState {
    /// What is there already, and what shows that it is the source's content.
    pub(crate) fn unchanged(seen: &ObjectHead, by: Sameness) -> Self {
        let proofs = match by {
            Sameness::ETag => vec![Proof::ETag],
            Sameness::Crc64Nvme => vec![Proof::Crc64Nvme],
            Sameness::Checksum | Sameness::Recorded | Sameness::Different => Vec::new(),
        };
        Self { etag: seen.etag.clone(), proofs }
    }
}

/// Learns from the ETag of an object that was just written whether those of the next ones are going to be opaque.
pub(crate) fn learn_etag_kind(job: &Job, etag: &ETag) {
    if matches!(etag.kind(), ETagKind::Opaque | ETagKind::OpaqueMultipart(_)) && !etag.as_str().is_empty() {
        job.session.target.client.quirks().expect_opaque_etags();
    }
}

/// Holds what the target says after a commit against what was sent, asking it again where the answer was not enough.
pub(crate) async fn prove_target(
    job: &Job,
    notes: &Notes,
    sent: &Expected,
    etag: ETag,
    crc: Option<Crc64>,
) -> Result<TargetState, Stop> {
    learn_etag_kind(job, &etag);
    let answered = verify::target(sent, &etag, crc).map_err(|mismatch| integrity_stop(&mismatch))?;
    if !answered.is_empty() && !etag.as_str().is_empty() {
        return Ok(TargetState { etag, proofs: answered });
    }
    let Some(head) = head(job, notes).await? else {
        return Err(Stop::replaced("the target object was deleted by somebody else right after it was written"));
    };
    if head.size != sent.size {
        return Err(Stop::replaced("the target object was replaced by somebody else right after it was written"));
    }
    let proofs = verify::target(sent, &head.etag, head.crc).map_err(|mismatch| integrity_stop(&mismatch))?;
    if proofs.is_empty() {
        notes.note("NOT PROVEN: the target shows neither an MD5 ETag nor a CRC64NVME checksum");
    }
    Ok(TargetState { etag: head.etag, proofs })
}

/// What a refused or unanswered commit turned out to be.
enum Resolution {
    /// It was carried out after all.
    Ours(ObjectHead),
    /// The target has the source's content already, from somebody else.
    Unchanged(ObjectHead, Sameness),
    /// It may be tried again under the condition as it is now.
    Retry,
}

/// A write that makes the object: a PUT, a Complete, a copy. What is its own is said here; the rest is [`commit`]'s.
pub(crate) trait Commit: Send + Sync {
    type Operation: Operation<Reply = Written>;
    /// What the request carries.
    const KIND: UnitKind = UnitKind::Control;

    /// The source's state that is written.
    fn source(&self) -> &ObjectHead;

    /// What was sent.
    fn sent(&self) -> &Expected;

    /// The attributes that are sent along.
    fn attributes(&self) -> &Attributes;

    fn operation(&self, precondition: Option<Precondition>) -> Self::Operation;

    /// It was carried out. The condition of another one, if one has to follow.
    fn carried_out(&mut self, how: CarriedOut, etag: &ETag) -> impl Future<Output = Option<Precondition>> + Send;

    /// It was refused, whatever the target has.
    fn refused(&self, error: &Error) -> Stop {
        fault_at(Side::Target, error).into()
    }

    /// The target changed, and it is to be made again; whether it can.
    fn retried(&mut self, _: &Retry) -> impl Future<Output = Result<(), Stop>> + Send {
        std::future::ready(Ok(()))
    }
}

/// How it is known that a write was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CarriedOut {
    Answered,
    /// The answer was lost, and the target has what was sent.
    Found,
}

/// Why a write is made again.
pub(crate) struct Retry {
    pub(crate) class: Class,
    /// S3's code.
    pub(crate) code: Option<String>,
    /// Whether the target is as it was when the condition was decided.
    pub(crate) same_condition: bool,
}

/// Writes under a condition, deciding again while the target changes, and compares what is there with what was sent.
///
/// # Cancel safety
/// The request's connection is closed; whether it was carried out is unknown.
pub(crate) async fn commit<C: Commit>(
    job: &Job,
    notes: &Notes,
    write: &mut C,
    condition: Precondition,
) -> Result<Committed, Stop> {
    let mut condition = CommitCondition { now: condition, decisions: 0 };
    loop {
        let operation = write.operation(asked(&condition.now));
        let mut attempts = job.part().carrying(C::KIND);
        let answer = job.session.target.client.call(&operation, &mut attempts).await;
        notes.count(&attempts);
        let (how, etag, crc) = match answer {
            Ok(written) => (CarriedOut::Answered, written.etag, written.crc),
            Err(error) if matches!(error.class(), Class::Refused | Class::Throttled) && !attempts.unanswered() => {
                return Err(write.refused(&error));
            }
            Err(error) => {
                let (class, code, before) = (error.class(), error.code().map(str::to_owned), condition.now.clone());
                match condition.resolve(job, notes, write, &error, &attempts).await? {
                    Resolution::Ours(seen) => (CarriedOut::Found, seen.etag, seen.crc),
                    Resolution::Unchanged(seen, by) => {
                        return Ok(Committed::Unchanged(TargetState::unchanged(&seen, by), by));
                    }
                    Resolution::Retry => {
                        let same_condition = condition.now == before;
                        write.retried(&Retry { class, code, same_condition }).await?;
                        continue;
                    }
                }
            }
        };
        if let Some(next) = write.carried_out(how, &etag).await {
            condition.now = next;
            continue;
        }
        return Ok(Committed::Written(prove_target(job, notes, write.sent(), etag, crc).await?));
    }
}

/// The condition of a commit, as often as it is decided.
struct CommitCondition {
    now: Precondition,
    decisions: u32,
}

/// What a write says of a condition that was decided.
pub(crate) fn asked(condition: &Precondition) -> Option<Precondition> {
    Some(condition.clone()).filter(|_| !mutation::is_on(Mutation::UnconditionalWrites))
}

impl CommitCondition {
    /// Looks at the target after a commit that was refused, or not answered to the end, and decides.
    async fn resolve<C: Commit>(
        &mut self,
        job: &Job,
        notes: &Notes,
        write: &C,
        error: &Error,
        attempts: &Attempts,
    ) -> Result<Resolution, Stop> {
        let (source, sent, written) = (write.source(), write.sent(), write.attributes());
        self.decisions += 1;
        let seen = look(job, notes, source).await?;
        if attempts.unanswered()
            && let Some(seen) = &seen
            && sent.matches(seen)
            && headers_agree(written, &seen.attributes)
            && (sameness(source, seen) == Sameness::Different || written.tags == seen.attributes.tags)
        {
            return Ok(Resolution::Ours(seen.clone()));
        }
        let may_decide = match error.class() {
            Class::Precondition | Class::Missing => self.decisions < MAX_DECISIONS,
            Class::Throttled | Class::Transient | Class::Ambiguous | Class::Refused => false,
        };
        if !may_decide {
            return Err(fault_at(Side::Target, error).into());
        }
        let next = match compare(source, seen.as_ref()) {
            Decision::Unchanged(by) => match seen {
                Some(seen) => return Ok(Resolution::Unchanged(seen, by)),
                None => return Err(fault_at(Side::Target, error).into()),
            },
            Decision::Write(next) => next,
        };
        if next == self.now && error.code() == Some("PreconditionFailed") && matches!(next, Precondition::IfMatch(_)) {
            learn_etag_form(job, error)?;
        }
        // The one who changed the target may have copied what the source has become since.
        if source::look_again(job, notes, source).await? != SourceNow::Same {
            return Err(Stop::replaced("the source object changed, and somebody else wrote the target meanwhile"));
        }
        self.now = next;
        Ok(Resolution::Retry)
    }
}

/// The very ETag that the target has was refused: this server compares it with our quotes.
pub(crate) fn learn_etag_form(job: &Job, error: &Error) -> Result<(), Stop> {
    if job.session.target.client.quirks().unquoted_if_match() {
        return Err(fault_at(Side::Target, error).into());
    }
    job.session.target.client.quirks().use_unquoted_if_match();
    Ok(())
}

pub(crate) enum Committed {
    Written(TargetState),
    /// Somebody had written the same before.
    Unchanged(TargetState, Sameness),
}

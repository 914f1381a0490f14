//! The entry: one object from one S3 to another, attempt after attempt until the target has what the source has now.

use crate::engine::commit::remove::{Removed, remove};
use crate::engine::commit::stages::Stages;
use crate::engine::context::{Applied, AttemptResult, Context};
use crate::engine::decide::reserved;
use crate::engine::decide::ticket::{Ticket, WhenStopped};
use crate::engine::fault::{Fault, FaultClass, Side};
use crate::engine::job::{Job, Step, Trigger};
use crate::engine::look::source::{self, SourceNow};
use crate::engine::notes::Notes;
use crate::engine::report::{ObjectRef, Outcome, Proof, Report};
use crate::engine::session::options::Deletes;
use crate::engine::stop::{Stop, stopped};
use crate::engine::upload::Uploads;
use crate::mutation::{self, Mutation};
use crate::s3::integrity::etag::ETag;
use crate::s3::object::head::ObjectHead;
use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use tokio::time::Instant;

/// How many attempts an object gets when its source changes under the copy or is read wrongly: each costs at most its
/// parts, and a writer that is faster than this is faster than any copy.
const MAX_ATTEMPTS: u32 = 8;

/// How often an upload may turn out to have other parts than were sent: each time, one more Complete.
const MAX_CONTENDED: u32 = 2;

/// How many of these may be because bytes were not what they should be: the third time it is not chance.
const MAX_MISMATCHES: u32 = 2;

/// Copies one object and reports what became of it.
///
/// # Cancel safety
/// Not to be dropped before it is done: an upload may be left open. It ends by itself, at the job's deadline and its
/// grace.
pub async fn copy(job: &Job) -> Report {
    if let Some(report) = reserved::refused(job) {
        return report;
    }
    let began = Instant::now();
    let uploads = Uploads::after(&job.ongoing);
    let work = Context { job, notes: Arc::new(Notes::default()), uploads, stages: Stages::default() };
    let ended = tokio::select! {
        biased;
        why = job.deadline.passed() => Ok(Err(stopped(why).into())),
        ended = catch_panic(Box::pin(work.run_attempts())) => ended,
    };
    let until = Instant::now() + job.grace;
    let ticket = match &ended {
        Ok(Err(Stop::StepDone)) => work.uploads.ticket(),
        Ok(Err(Stop::Failed(fault))) if fault.class.keeps_parts() => work.ticket_to_keep(),
        Ok(Ok(_) | Err(Stop::Failed(_) | Stop::Restart(_) | Stop::Contended(_))) | Err(_) => None,
    };
    if matches!(ended, Ok(Ok(_))) {
        work.uploads.end_unknown(job, &work.notes).await;
    }
    if ticket.is_none() && !matches!(job.ongoing.step, Step::Send(_)) {
        // Whatever way it ended, what is open by now is not wanted any more.
        work.uploads.clean_up(job, &work.notes).await;
    }
    work.stages.clean_up(job, &work.notes, until).await;
    let ended = ended.unwrap_or_else(|panic| resume_unwind(panic));
    let kept = work.notes.with(|kept| kept.clone());
    let source = kept.source.clone().unwrap_or_else(|| job.source_ref());
    let mut report = match ended {
        Ok(done) => done.report(source, job),
        Err(Stop::Failed(fault)) => match ticket {
            Some(ticket) => work.resumable(source, Some(*fault), ticket),
            None => Report::failed(source, job.target_ref(), *fault),
        },
        Err(Stop::StepDone) => match ticket {
            Some(ticket) => work.resumable(source, None, ticket),
            None => {
                let fault = Fault::new(FaultClass::Internal, "a step ended without an upload");
                Report::failed(source, job.target_ref(), fault)
            }
        },
        Err(Stop::Restart(mut fault) | Stop::Contended(mut fault)) => {
            fault.message = format!("gave up after several attempts: {}", fault.message);
            Report::failed(source, job.target_ref(), *fault)
        }
    };
    if matches!(report.outcome, Outcome::Copied | Outcome::Resumable) {
        report.buffer = kept.buffer;
    }
    report.not_carried = kept.not_carried;
    let reasons: Vec<String> = report.reason.take().into_iter().chain(kept.reasons).chain(kept.history).collect();
    report.reason = (!reasons.is_empty()).then(|| reasons.join("; "));
    report.retries = work.notes.retries.load(Ordering::Relaxed);
    report.hedges = work.notes.hedges.load(Ordering::Relaxed);
    report.seconds = began.elapsed().as_secs_f64();
    report
}

/// The work, or what it panicked with: a defect of ours must not leave an upload behind either.
async fn catch_panic<T>(mut work: impl Future<Output = T> + Unpin) -> Result<T, Box<dyn Any + Send>> {
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut work).poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

enum CopyResult {
    Applied(Applied),
    Superseded {
        reason: String,
        bytes: u64,
        parts: u32,
    },
    /// The target has nothing, as the source; what was removed had this ETag.
    Gone(Option<ETag>),
}

impl Context<'_> {
    /// The ticket of what is open, if it is to be kept: an upload of ours that nothing has arrived in is not worth it,
    /// and one that is not written down would be an orphan as soon as its ticket does not reach anybody.
    fn ticket_to_keep(&self) -> Option<Ticket> {
        let ticket = match self.job.ongoing.when_stopped {
            WhenStopped::Keep => self.uploads.keep()?,
            WhenStopped::Abort => return None,
        };
        let is_ours = self.job.ongoing.ticket.as_ref().is_none_or(|brought| brought.upload != ticket.upload);
        let (_, sent, resumed) = self.notes.in_upload();
        let is_written = self.job.ongoing.journal.as_ref().is_none_or(|journal| journal.is_held());
        (!is_ours || is_written && (sent > 0 || resumed > 0)).then_some(ticket)
    }

    /// The report of work that can be resumed: it was stopped by a fault, or asked to go no further.
    fn resumable(&self, source: ObjectRef, mut fault: Option<Fault>, ticket: Ticket) -> Report {
        if let Some(fault) = fault.as_mut().filter(|fault| fault.class == FaultClass::Deadline) {
            fault.hint = Some(
                "The parts that were sent are kept, and the next invocation resumes from them. Nothing to do.".into(),
            );
        }
        let (bytes, parts, resumed_parts) = self.notes.in_upload();
        let buffer = self.notes.with(|kept| kept.buffer);
        Report {
            bytes,
            parts,
            resumed_parts,
            buffer,
            reason: Some(format!("the multipart upload {} is left open, to be resumed", ticket.upload.as_str())),
            ticket: Some(Box::new(ticket)),
            fault: fault.map(Box::new),
            ..Report::new(Outcome::Resumable, source, self.job.target_ref())
        }
    }

    /// Ends what is open and removes what is ours alone, for at most the job's grace.
    ///
    /// # Cancel safety
    /// Uploads and stages may be left.
    async fn clean_up(&self) {
        let until = Instant::now() + self.job.grace;
        self.uploads.clean_up(self.job, &self.notes).await;
        self.stages.clean_up(self.job, &self.notes, until).await;
    }

    /// Attempts until the target has what the source has now.
    async fn run_attempts(&self) -> Result<CopyResult, Stop> {
        let mut committed: Option<Applied> = None;
        let mut removed: Option<ETag> = None;
        let mut why = Fault::new(FaultClass::Internal, "nothing was attempted");
        let mut refused_pin: Option<ObjectHead> = None;
        let (mut mismatches, mut contended) = (0, 0);
        for _ in 0..MAX_ATTEMPTS {
            let result = match self.attempt(&mut refused_pin).await {
                Ok(result) => result,
                // The upload is not this job's to abort, and not this job's to begin again.
                Err(Stop::Restart(fault) | Stop::Contended(fault))
                    if matches!(self.job.ongoing.step, Step::Send(_)) =>
                {
                    return Err(Stop::Failed(fault));
                }
                Err(Stop::Restart(fault)) => {
                    tracing::info!(key = self.job.source_key.as_str(), reason = %fault, "copy starts again");
                    // What is open belongs to the state that is gone.
                    self.clean_up().await;
                    mismatches += u32::from(fault.class.is_mismatch());
                    if mismatches > MAX_MISMATCHES {
                        return Err(Stop::Restart(fault));
                    }
                    why = *fault;
                    continue;
                }
                Err(Stop::Contended(fault)) => {
                    contended += 1;
                    if contended > MAX_CONTENDED {
                        return Err(Stop::Failed(fault));
                    }
                    why = *fault;
                    continue;
                }
                Err(ended @ (Stop::Failed(_) | Stop::StepDone)) => return Err(ended),
            };
            let applied = match (result, self.job.session.options.deletes) {
                (AttemptResult::Applied(applied), _) => applied,
                (AttemptResult::Gone, Deletes::Keep) => return self.source_gone(committed),
                (AttemptResult::Gone, Deletes::Follow) => {
                    match self.follow_delete(&mut removed).await {
                        Ok(SourceNow::Gone) => return Ok(CopyResult::Gone(removed)),
                        Ok(SourceNow::Same | SourceNow::Changed) => {
                            why = Fault::new(
                                FaultClass::Precondition,
                                "the source object was written again while the target was being deleted",
                            );
                        }
                        Err(Stop::Restart(fault)) => why = *fault,
                        Err(failed) => return Err(failed),
                    }
                    // Whatever an earlier attempt had committed, it is not what the target has now.
                    committed = None;
                    continue;
                }
            };
            if applied.outcome == Outcome::Unchanged {
                // What an earlier attempt committed is what was sent, whoever has written the same since.
                return Ok(CopyResult::Applied(match committed {
                    // Of the same state everything that was proven then still holds.
                    Some(before) if before.source.etag.is_same_state(&applied.source.etag) => before,
                    Some(before) => {
                        let Applied { bytes, parts, resumed_parts, .. } = before;
                        Applied { outcome: Outcome::Copied, bytes, parts, resumed_parts, ..applied }
                    }
                    None => applied,
                }));
            }
            if mutation::is_on(Mutation::NoLookAfterCommit) {
                return Ok(CopyResult::Applied(applied));
            }
            match source::look_again(self.job, &self.notes, &applied.source).await? {
                SourceNow::Same => return Ok(CopyResult::Applied(applied)),
                SourceNow::Gone if self.job.session.options.deletes == Deletes::Keep => {
                    return self.source_gone(Some(applied));
                }
                // The next attempt finds out what it is now, which may be nothing.
                SourceNow::Gone | SourceNow::Changed => {
                    why = Fault::new(FaultClass::Precondition, "the source object changed while it was copied");
                    committed = Some(applied);
                }
            }
        }
        Err(Stop::Restart(Box::new(why)))
    }

    /// The source is gone, and the target follows it; then the source is looked at again.
    ///
    /// # Cancel safety
    /// Whether the target was removed is unknown.
    async fn follow_delete(&self, removed: &mut Option<ETag>) -> Result<SourceNow, Stop> {
        // What is open belongs to the state that is gone.
        self.uploads.clean_up(self.job, &self.notes).await;
        self.notes.unpinned();
        match remove(self.job, &self.notes).await? {
            Removed::Object(etag) => *removed = Some(etag),
            // Nothing was done that a look could find outdated.
            Removed::Nothing => return Ok(SourceNow::Gone),
        }
        Ok(if source::is_gone(self.job, &self.notes).await? { SourceNow::Gone } else { SourceNow::Changed })
    }

    /// The source is gone, before or after something was committed. Nothing is removed from the target.
    fn source_gone(&self, committed: Option<Applied>) -> Result<CopyResult, Stop> {
        let (bytes, parts) = committed.as_ref().map_or((0, 0), |applied| (applied.bytes, applied.parts));
        match (self.job.trigger, committed) {
            (Trigger::Event, None) => Ok(CopyResult::Superseded {
                reason: "the source object does not exist any more; the target was not changed".into(),
                bytes,
                parts,
            }),
            (Trigger::Event, Some(_)) => Ok(CopyResult::Superseded {
                reason: "the source object was deleted while it was copied; the target keeps the copy".into(),
                bytes,
                parts,
            }),
            (Trigger::Command, Some(applied)) => {
                self.notes.note("the source object was deleted after it was copied");
                Ok(CopyResult::Applied(applied))
            }
            (Trigger::Command, None) => {
                let mut fault = Fault::new(FaultClass::Missing, "the object does not exist")
                    .with_hint("Check bucket and key. The key is everything after s3://bucket/, taken literally.");
                fault.side = Some(Side::Source);
                fault.operation = Some("GetObject");
                fault.code = Some("NoSuchKey".into());
                fault.status = Some(404);
                fault.bucket = Some(self.job.session.source.bucket.as_str().to_owned());
                fault.key = Some(self.job.source_key.as_str().to_owned());
                Err(fault.into())
            }
        }
    }
}

impl CopyResult {
    fn report(self, source: ObjectRef, job: &Job) -> Report {
        let target = job.target_ref();
        match self {
            Self::Superseded { reason, bytes, parts } => {
                Report { bytes, parts, reason: Some(reason), ..Report::new(Outcome::Superseded, source, target) }
            }
            Self::Gone(Some(etag)) => {
                let target = ObjectRef { etag: Some(etag.as_str().to_owned()), ..target };
                Report::new(Outcome::Deleted, source, target)
            }
            Self::Gone(None) => {
                let reason = "neither the source nor the target has this object: nothing to delete";
                Report { reason: Some(reason.into()), ..Report::new(Outcome::Unchanged, source, target) }
            }
            Self::Applied(done) => {
                let mut verified_by: Vec<Proof> = done.at_target.proofs.into_iter().chain(done.source_proofs).collect();
                verified_by.sort_unstable();
                verified_by.dedup();
                let etag = done.at_target.etag;
                let etag_preserved = etag.as_str() == done.source.etag.as_str();
                let target = ObjectRef { etag: Some(etag.as_str().to_owned()), ..target };
                Report {
                    bytes: done.bytes,
                    parts: done.parts,
                    resumed_parts: done.resumed_parts,
                    etag_preserved,
                    verified_by,
                    ..Report::new(done.outcome, source, target)
                }
            }
        }
    }
}

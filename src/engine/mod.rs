//! One object from one S3 to another: pin, decide, plan, move, prove, look again, leave clean.
//!
//! [`copy`] is the one entry. Deciders ([`decide`], [`mod@plan`], [`governor`], [`adaptive`], [`verify`], `straggler`,
//! `hint`) are pure; the others do as they say. Invariants: a write carries a precondition; the source is looked at again after every commit; no upload is
//! left open without the report saying so; slots never exceed the budget; nothing runs on after the report is given.

pub mod adaptive;
pub mod buffer;
mod buffering;
pub mod decide;
mod fill;
pub mod gate;
pub mod governor;
pub mod hint;
pub mod job;
mod ordered;
mod pin;
mod pipeline;
pub mod plan;
mod put;
pub mod report;
mod straggler;
mod streamed;
mod target;
mod upload;
pub mod verify;

use crate::s3::ByteRange;
use crate::s3::etag::ETag;
use crate::s3::object::ObjectHead;
use crate::s3::operation::Precondition;
use crate::wire::body::Incoming;
use buffer::Ring;
use decide::{Decision, Sameness};
use job::{Halt, Job, Notes, Trigger, stopped};
use ordered::OrderedMd5;
use pin::{Found, Now};
use pipeline::{Parts, send_parts};
use plan::{EtagMode, Plan, SINGLE_PUT_LIMIT, SourceLayout, plan};
use put::Committed;
use report::{BufferKind, Fault, Outcome, Place, Proof, Report};
use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use target::{AtTarget, integrity};
use tokio::time::Instant;
use upload::{Completion, Uploads};
use verify::{Expected, SourceCheck};

/// Up to here the conditional PUT goes first, without a look at the target: a new small object costs the border one round
/// trip, and one that is there already costs its body once.
pub const PUT_FIRST_LIMIT: u64 = 64 << 10;

/// Connections to the target that are opened while the first look at it is under way: some, because it may show that
/// there is nothing to send. The others are opened while the upload is begun.
const EARLY_CONNECTIONS: u32 = 16;

/// How often an object is begun anew, because the source changed under the copy or was read wrongly, before it is given
/// up: each time costs at most its parts, and a writer that is faster than this is faster than any copy.
const PASSES: u32 = 8;
/// How many of these may be because bytes were not what they should be: the third time it is not chance.
const MISMATCHES: u32 = 2;

/// Copies one object and reports what became of it.
///
/// # Cancel safety
/// Not to be dropped before it is done: an upload may be left open. It ends by itself, at the job's deadline and its grace.
pub async fn copy(job: &Job) -> Report {
    let began = Instant::now();
    let work = Work { job, notes: Arc::new(Notes::default()), uploads: Uploads::default() };
    let ended = tokio::select! {
        biased;
        why = job.deadline.passed() => Ok(Err(stopped(why).into())),
        ended = caught(Box::pin(work.passes())) => ended,
    };
    // Whatever way it ended, what is open by now is not wanted any more.
    work.uploads.leave(job, &work.notes).await;
    let ended = ended.unwrap_or_else(|panic| resume_unwind(panic));
    let kept = work.notes.with(|kept| kept.clone());
    let source = kept.source.clone().unwrap_or_else(|| job.source_place());
    let mut report = match ended {
        Ok(done) => done.report(source, job),
        Err(Halt::Failed(fault)) => Report::failed(source, job.target_place(), *fault),
        Err(Halt::Again(mut fault)) => {
            fault.message = format!("given up after several passes: {}", fault.message);
            Report::failed(source, job.target_place(), *fault)
        }
    };
    if report.outcome == Outcome::Copied {
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
async fn caught<T>(mut work: impl Future<Output = T> + Unpin) -> Result<T, Box<dyn Any + Send>> {
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut work).poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

struct Work<'a> {
    job: &'a Job,
    notes: Arc<Notes>,
    uploads: Uploads,
}

/// What a pass made of the target.
struct Enforced {
    source: Box<ObjectHead>,
    outcome: Outcome,
    at_target: AtTarget,
    source_proofs: Vec<Proof>,
    bytes: u64,
    parts: u32,
}

/// What a pass came to.
enum Pass {
    Enforced(Enforced),
    Gone,
}

/// How the passes ended.
enum Done {
    Enforced(Enforced),
    Superseded { reason: String, bytes: u64, parts: u32 },
}

impl Work<'_> {
    /// Passes until the target has what the source has now.
    async fn passes(&self) -> Result<Done, Halt> {
        let mut committed: Option<Enforced> = None;
        let mut why = Fault::new("internal", "no pass was made");
        let mut refused_pin: Option<ObjectHead> = None;
        let mut mismatches = 0;
        for _ in 0..PASSES {
            let pass = match self.pass(&mut refused_pin).await {
                Ok(pass) => pass,
                Err(Halt::Again(fault)) => {
                    tracing::info!(key = self.job.source.key.as_str(), reason = fault.message, "begun anew");
                    // What is open belongs to the state that is gone.
                    self.uploads.leave(self.job, &self.notes).await;
                    mismatches += u32::from(fault.class == "integrity");
                    if mismatches > MISMATCHES {
                        return Err(Halt::Again(fault));
                    }
                    why = *fault;
                    continue;
                }
                Err(failed) => return Err(failed),
            };
            let enforced = match pass {
                Pass::Gone => return self.gone(committed),
                Pass::Enforced(enforced) => enforced,
            };
            if enforced.outcome == Outcome::Unchanged {
                // What an earlier pass committed is what was sent, whoever has written the same since.
                return Ok(Done::Enforced(match committed {
                    // Of the same state everything that was proven then still holds.
                    Some(before) if before.source.etag.is_same_state(&enforced.source.etag) => before,
                    Some(before) => {
                        Enforced { outcome: Outcome::Copied, bytes: before.bytes, parts: before.parts, ..enforced }
                    }
                    None => enforced,
                }));
            }
            match pin::look(self.job, &self.notes, &enforced.source).await? {
                Now::Same => return Ok(Done::Enforced(enforced)),
                Now::Gone => return self.gone(Some(enforced)),
                Now::Changed => {
                    why = Fault::new("precondition", "the source changed while it was copied");
                    committed = Some(enforced);
                }
            }
        }
        Err(Halt::Again(Box::new(why)))
    }

    /// The source is gone, before or after something was committed. Nothing is removed from the target.
    fn gone(&self, committed: Option<Enforced>) -> Result<Done, Halt> {
        let (bytes, parts) = committed.as_ref().map_or((0, 0), |enforced| (enforced.bytes, enforced.parts));
        match (self.job.trigger, committed) {
            (Trigger::Event, None) => Ok(Done::Superseded {
                reason: "the source object is gone; the target was left as it is".into(),
                bytes,
                parts,
            }),
            (Trigger::Event, Some(_)) => Ok(Done::Superseded {
                reason: "the source object was deleted while it was copied; the target keeps the copy".into(),
                bytes,
                parts,
            }),
            (Trigger::Command, Some(enforced)) => {
                self.notes.remark("the source object was deleted after it was copied");
                Ok(Done::Enforced(enforced))
            }
            (Trigger::Command, None) => {
                let mut fault = Fault::new("missing", "source: there is no such object")
                    .with_hint("Check the key: it is taken literally, everything after s3://bucket/.");
                fault.operation = Some("GetObject");
                fault.code = Some("NoSuchKey".into());
                fault.status = Some(404);
                fault.bucket = Some(self.job.source.bucket.as_str().to_owned());
                fault.key = Some(self.job.source.key.as_str().to_owned());
                Err(fault.into())
            }
        }
    }

    async fn pass(&self, refused_pin: &mut Option<ObjectHead>) -> Result<Pass, Halt> {
        let job = self.job;
        let hinted_large = job.size_hint.is_some_and(|size| size > PUT_FIRST_LIMIT);
        let early_look = async { if hinted_large { Some(target::see_head(job, &self.notes).await) } else { None } };
        let (found, early) = tokio::join!(pin::pin(job, &self.notes), early_look);
        let (head, body) = match found? {
            Found::Gone => return Ok(Pass::Gone),
            Found::Object(head, body) => (head, body),
        };
        self.learn_spelling(refused_pin.take(), &head);
        job.meter.begin(head.size);
        if head.size > SINGLE_PUT_LIMIT {
            job.target.client.warm(&job.target.bucket, EARLY_CONNECTIONS);
        }
        let result = async {
            if self.goes_first(&head) {
                return self.put_first(&head, body).await;
            }
            let seen = match early {
                Some(seen) => match seen? {
                    Some(mut seen) => {
                        target::add_tags(job, &self.notes, &head, &mut seen).await?;
                        Some(seen)
                    }
                    None => None,
                },
                None => target::see(job, &self.notes, &head).await?,
            };
            match decide::decide(&head, seen.as_ref()) {
                Decision::Unchanged(by) => match seen {
                    Some(seen) => Ok(self.unchanged(&head, AtTarget::unchanged(&seen, by), by)),
                    None => Err(Fault::new("internal", "unchanged without a target").into()),
                },
                Decision::Write(condition) => self.write(&head, body, seen.as_ref(), condition).await,
            }
        }
        .await;
        if matches!(result, Err(Halt::Again(_))) {
            *refused_pin = Some(*head);
        }
        result.map(Pass::Enforced)
    }

    /// Whether the conditional PUT goes before any look at the target.
    fn goes_first(&self, head: &ObjectHead) -> bool {
        let in_parts = self.job.options.etag == EtagMode::Preserve && head.etag.parts().is_some();
        head.size <= PUT_FIRST_LIMIT && !in_parts
    }

    /// If a state was refused as replaced and the very same is there, the server compares ETags with our quotes.
    fn learn_spelling(&self, refused: Option<ObjectHead>, found: &ObjectHead) {
        if let Some(refused) = refused
            && refused.etag.is_same_state(&found.etag)
            && refused.version == found.version
            && refused.last_modified == found.last_modified
        {
            self.job.source.client.spell_etags_bare();
        }
    }

    fn unchanged(&self, head: &ObjectHead, at_target: AtTarget, by: Sameness) -> Enforced {
        if by == Sameness::Recorded {
            self.notes.remark("the target's metadata names this source; its content was not compared");
        }
        Enforced {
            source: Box::new(head.clone()),
            outcome: Outcome::Unchanged,
            at_target,
            source_proofs: Vec::new(),
            bytes: 0,
            parts: 0,
        }
    }

    /// The small path: no look before the first PUT.
    async fn put_first(&self, head: &ObjectHead, body: Option<Box<Incoming>>) -> Result<Enforced, Halt> {
        let ring = self.job.buffers.memory(head.size).map_err(|error| buffering::budget(&error))?;
        self.put(head, body, None, Precondition::IfAbsent, ring).await
    }

    async fn write(
        &self,
        head: &ObjectHead,
        body: Option<Box<Incoming>>,
        seen: Option<&ObjectHead>,
        condition: Precondition,
    ) -> Result<Enforced, Halt> {
        let job = self.job;
        let layout = pin::layout(job, &self.notes, head).await?;
        let plan = plan(head.size, &layout, job.options.etag, job.options.part_size)
            .map_err(|error| Fault::new("configuration", error.to_string()))?;
        let may_stream = matches!(verify::source_check(head, &layout, &plan), SourceCheck::Nothing);
        let ring = buffering::ring(job, &self.notes, head.size, &plan, may_stream).await?;
        match &plan {
            Plan::Put { .. } => self.put(head, body, seen, condition, ring).await,
            Plan::Parts(_) => {
                drop(body);
                self.parts(head, &layout, &plan, seen, condition, ring).await
            }
        }
    }

    async fn put(
        &self,
        head: &ObjectHead,
        body: Option<Box<Incoming>>,
        seen: Option<&ObjectHead>,
        condition: Precondition,
        ring: Ring,
    ) -> Result<Enforced, Halt> {
        let job = self.job;
        let size = usize::try_from(head.size).map_err(|error| Fault::new("budget", error.to_string()))?;
        let mut body = body;
        let slot = tokio::select! {
            biased;
            slot = ring.slot(size) => slot,
            // An open body holds a permit that somebody with a slot may need to fill it: it is asked for again later.
            () = std::future::ready(()) => {
                body = None;
                ring.slot(size).await
            }
        };
        let slot = slot.map_err(|error| Fault::new("budget", format!("no memory: {error}")))?;
        let under_way = job.meter.enter();
        let range = ByteRange::new(0, head.size).ok();
        let sealed = fill::fill(job, &self.notes, head, range, body, slot, ring.kind()).await?;
        let made = Expected::of_put(sealed.digests());
        let source_proofs = self.prove_source(head, &made, None)?;
        let keeps_etag = made.etag.proves_same_content(&head.etag);
        let style = put::style(job, head, keeps_etag, seen, Some(&sealed));
        let committed = put::put(job, &self.notes, head, &sealed, condition, style).await?;
        drop(under_way);
        Ok(self.enforced(head, committed, source_proofs, 1, ring.kind()))
    }

    async fn parts(
        &self,
        head: &ObjectHead,
        layout: &SourceLayout,
        planned: &Plan,
        seen: Option<&ObjectHead>,
        condition: Precondition,
        ring: Ring,
    ) -> Result<Enforced, Halt> {
        let Plan::Parts(cut) = planned else { return Err(Fault::new("internal", "parts without a layout").into()) };
        let job = self.job;
        let own_boundaries = match verify::source_check(head, layout, planned) {
            SourceCheck::Nothing => None,
            SourceCheck::Lengths(lengths) => Some(OrderedMd5::begin(lengths)),
        };
        let keeps_etag = matches!(layout, SourceLayout::Parts(own) if own == cut);
        let style = put::style(job, head, keeps_etag, seen, None);
        let kind = ring.kind();
        let wanted = u32::try_from(cut.count()).unwrap_or(u32::MAX).min(job.target.client.window());
        job.target.client.warm(&job.target.bucket, wanted);
        let upload = self.uploads.begin(job, &self.notes, &style).await?;
        let parts = Arc::new(Parts {
            job: job.clone(),
            notes: Arc::clone(&self.notes),
            pinned: head.clone(),
            upload: upload.clone(),
            own_boundaries,
            ring,
        });
        let sent = send_parts(Arc::clone(&parts), cut).await?;
        let made = Expected::of_parts(&sent.digests);
        let own = match &parts.own_boundaries {
            Some(ordered) => ordered.finish().await,
            None => None,
        };
        let source_proofs = self.prove_source(head, &made, own.as_ref())?;
        let completion =
            Completion { source: head, upload: &upload, parts: &sent.parts, sent: &made, condition, style: &style };
        let committed = self.uploads.complete(job, &self.notes, completion).await?;
        let mut enforced =
            self.enforced(head, committed, source_proofs, u32::try_from(sent.parts.len()).unwrap_or(u32::MAX), kind);
        if sent.all_md5 && enforced.outcome == Outcome::Copied {
            enforced.at_target.proofs.push(Proof::PartMd5);
        }
        Ok(enforced)
    }

    fn prove_source(&self, head: &ObjectHead, made: &Expected, own: Option<&ETag>) -> Result<Vec<Proof>, Halt> {
        let proofs = verify::source(head, made, own).map_err(|mismatch| integrity(&mismatch))?;
        if proofs.is_empty() {
            self.notes.remark("the source has no checksum and no ETag that the bytes could be held against");
        }
        Ok(proofs)
    }

    fn enforced(
        &self,
        head: &ObjectHead,
        committed: Committed,
        source_proofs: Vec<Proof>,
        parts: u32,
        kind: BufferKind,
    ) -> Enforced {
        match committed {
            Committed::Written(at_target) => {
                self.notes.with(|kept| kept.buffer = Some(kind));
                let source = Box::new(head.clone());
                Enforced { source, outcome: Outcome::Copied, at_target, source_proofs, bytes: head.size, parts }
            }
            Committed::Unchanged(at_target, by) => Enforced { source_proofs, ..self.unchanged(head, at_target, by) },
        }
    }
}

impl Done {
    fn report(self, source: Place, job: &Job) -> Report {
        let target = job.target_place();
        match self {
            Self::Superseded { reason, bytes, parts } => {
                Report { bytes, parts, reason: Some(reason), ..Report::new(Outcome::Superseded, source, target) }
            }
            Self::Enforced(done) => {
                let mut verified_by: Vec<Proof> = done.at_target.proofs.into_iter().chain(done.source_proofs).collect();
                verified_by.sort_unstable();
                verified_by.dedup();
                let etag = done.at_target.etag;
                let etag_preserved = etag.as_str() == done.source.etag.as_str();
                let target = Place { etag: Some(etag.as_str().to_owned()), ..target };
                Report {
                    bytes: done.bytes,
                    parts: done.parts,
                    etag_preserved,
                    verified_by,
                    ..Report::new(done.outcome, source, target)
                }
            }
        }
    }
}

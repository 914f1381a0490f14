//! One attempt at an object: what is at the source is pinned, what is at the target decides, and what differs is
//! written.

use crate::engine::buffer::Ring;
use crate::engine::commit::put::{self, PutRequest};
use crate::engine::commit::recopy;
use crate::engine::commit::{Committed, TargetState};
use crate::engine::context::{Applied, AttemptResult, Context, PendingWrite};
use crate::engine::decide::plan::{Cut, EtagMode, Layout, SourceLayout};
use crate::engine::decide::sameness::Sameness;
use crate::engine::decide::style::object_options;
use crate::engine::decide::verify::{self, Expected, SourceCheck};
use crate::engine::decide::{Checks, Decision, Facts, Plan, Route, Style, compare, decide};
use crate::engine::fault::{Fault, FaultClass};
use crate::engine::job::Step;
use crate::engine::look::source::{self, Pinned};
use crate::engine::look::target;
use crate::engine::notes;
use crate::engine::parts::buffering;
use crate::engine::parts::ordered::OrderedChecksum;
use crate::engine::parts::part::PartContext;
use crate::engine::parts::read;
use crate::engine::parts::uploaded::PartOrigin;
use crate::engine::report::{BufferKind, Outcome, Proof};
use crate::engine::stop::{Stop, integrity_stop};
use crate::engine::upload::Completion;
use crate::s3::http::operation::Precondition;
use crate::s3::integrity::sums::Stored;
use crate::s3::object::head::ObjectHead;
use crate::s3::{ByteRange, PartNumber};
use crate::wire::body::incoming::Incoming;
use std::sync::Arc;

/// Connections to the target that are opened while the first look at it is under way: some, because it may show that
/// there is nothing to send. The others are opened while the upload is begun.
const EARLY_CONNECTIONS: u32 = 16;

impl Context<'_> {
    /// Pins the source, looks at the target, and writes it if it differs.
    pub(crate) async fn attempt(&self, refused_pin: &mut Option<ObjectHead>) -> Result<AttemptResult, Stop> {
        let job = self.job;
        let hinted_large = job.size_hint.is_some_and(|size| size > job.session.options.table.put_first);
        let early_look = async { if hinted_large { Some(target::head(job, &self.notes).await) } else { None } };
        let (found, early) = tokio::join!(source::pin(job, &self.notes), early_look);
        let (head, body) = match found? {
            Pinned::Gone => return Ok(AttemptResult::Gone),
            Pinned::Object(head, body) => (head, body),
        };
        self.learn_source_etag_form(refused_pin.take(), &head);
        job.progress.begin(head.size);
        if head.size > job.session.options.table.single_put {
            job.session.target.client.warm(&job.session.target.bucket, EARLY_CONNECTIONS);
        }
        let result = async {
            if self.puts_before_looking(&head) {
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
                None => target::look(job, &self.notes, &head).await?,
            };
            let decision = compare(&head, seen.as_ref());
            match recopy::require_etag(decision, job.session.options.etag, &head, seen.as_ref()) {
                Decision::Unchanged(by) => match seen {
                    Some(seen) => Ok(self.unchanged(&head, TargetState::unchanged(&seen, by), by)),
                    None => Err(Fault::new(FaultClass::Internal, "unchanged without a target").into()),
                },
                Decision::Write(condition) => self.update(&head, body, seen.as_ref(), condition).await,
            }
        }
        .await;
        if matches!(result, Err(Stop::Restart(_))) {
            *refused_pin = Some(*head);
        }
        result.map(AttemptResult::Applied)
    }

    /// Whether the conditional PUT goes before any look at the target.
    fn puts_before_looking(&self, head: &ObjectHead) -> bool {
        let in_parts = self.job.session.options.etag == EtagMode::Preserve && head.etag.parts().is_some();
        head.size <= self.job.session.options.table.put_first && !in_parts
    }

    /// If a state was refused as replaced and the very same is there, the server compares ETags with our quotes.
    fn learn_source_etag_form(&self, refused: Option<ObjectHead>, found: &ObjectHead) {
        if let Some(refused) = refused
            && refused.etag.is_same_state(&found.etag)
            && refused.version == found.version
            && refused.last_modified == found.last_modified
        {
            self.job.session.source.client.quirks().use_unquoted_if_match();
        }
    }

    pub(crate) fn unchanged(&self, head: &ObjectHead, at_target: TargetState, by: Sameness) -> Applied {
        match by {
            Sameness::Recorded => {
                self.notes.note(
                    "considered equal by the xpsync-source-etag metadata at the target; the content was not compared",
                );
            }
            Sameness::Checksum => self.notes.note("considered equal: source and target store the same checksum"),
            Sameness::ETag | Sameness::Crc64Nvme | Sameness::Different => {}
        }
        Applied {
            source: Box::new(head.clone()),
            outcome: Outcome::Unchanged,
            at_target,
            source_proofs: Vec::new(),
            bytes: 0,
            parts: 0,
            resumed_parts: 0,
        }
    }

    /// The small path: no look before the first PUT.
    async fn put_first(&self, head: &ObjectHead, body: Option<Box<Incoming>>) -> Result<Applied, Stop> {
        let ring = self.job.session.buffers.memory(head.size).map_err(|error| buffering::budget(&error))?;
        // Of a single part; those of several are larger, but for the last.
        let layout = match head.etag.parts() {
            Some(1) if head.size > 0 => SourceLayout::Parts(Layout::Even { part: head.size, size: head.size }),
            Some(_) => SourceLayout::Unknown,
            None => SourceLayout::Single,
        };
        let checks = Plan::of_first_put(&self.facts(head, &layout, None)).checks;
        self.put(head, body, None, Precondition::IfAbsent, checks, ring).await
    }

    /// Copies what is at the target onto itself where that makes it what is wanted, and sends the bytes otherwise.
    async fn update(
        &self,
        head: &ObjectHead,
        mut body: Option<Box<Incoming>>,
        seen: Option<&ObjectHead>,
        condition: Precondition,
    ) -> Result<Applied, Stop> {
        let options = &self.job.session.options;
        if let Some(seen) = seen
            && let Some(recopy) = recopy::plan(head, seen, options.etag, options.kms_key.as_deref())
        {
            // An open body holds a permit; it is asked for again if it is wanted after all.
            drop(body.take());
            if let Some(applied) = self.recopied(head, seen, &condition, &recopy).await? {
                return Ok(applied);
            }
        }
        self.write(head, body, seen, condition).await
    }

    async fn write(
        &self,
        head: &ObjectHead,
        body: Option<Box<Incoming>>,
        seen: Option<&ObjectHead>,
        condition: Precondition,
    ) -> Result<Applied, Stop> {
        let job = self.job;
        let layout = source::layout(job, &self.notes, head).await?;
        let plan = decide(&self.facts(head, &layout, seen))
            .map_err(|error| Fault::new(FaultClass::Configuration, error.to_string()))?;
        if plan.style.gives_up_etag {
            self.notes
                .note("the source's ETag was not preserved: one side is encrypted with KMS, where ETags are not MD5s");
        }
        let wanted = PendingWrite { head, seen, condition };
        match &plan.route {
            Route::StagedWhole(stage) => return self.staged_whole(&wanted, stage).await,
            Route::StagedParts(stages) => return self.staged_parts(&wanted, stages).await,
            Route::Put | Route::Upload(_) => {}
        }
        let may_stream = matches!(plan.checks.source, SourceCheck::Nothing);
        let ring = buffering::ring(job, &self.notes, head.size, &plan.cut, may_stream).await?;
        let PendingWrite { condition, .. } = wanted;
        match plan.route {
            Route::Put => self.put(head, body, seen, condition, plan.checks, ring).await,
            Route::Upload(cut) => {
                drop(body);
                self.parts(head, &cut, seen, condition, (plan.checks, plan.style), ring).await
            }
            Route::StagedWhole(_) | Route::StagedParts(_) => {
                Err(Fault::new(FaultClass::Internal, "a staged object was not staged").into())
            }
        }
    }

    fn facts<'a>(
        &'a self,
        source: &'a ObjectHead,
        layout: &'a SourceLayout,
        seen: Option<&'a ObjectHead>,
    ) -> Facts<'a> {
        let learned_opaque = self.job.session.target.client.quirks().expects_opaque_etags();
        Facts { source, layout, seen, options: &self.job.session.options, learned_opaque }
    }

    async fn put(
        &self,
        head: &ObjectHead,
        body: Option<Box<Incoming>>,
        seen: Option<&ObjectHead>,
        condition: Precondition,
        checks: Checks,
        ring: Ring,
    ) -> Result<Applied, Stop> {
        let job = self.job;
        let size = usize::try_from(head.size).map_err(|error| Fault::new(FaultClass::Budget, error.to_string()))?;
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
        let slot =
            slot.map_err(|error| Fault::new(FaultClass::Budget, format!("no buffer for the object: {error}")))?;
        let under_way = job.progress.part_started();
        let range = ByteRange::new(0, head.size).ok();
        let slot = slot.with(checks.kinds);
        let sealed = read::read_into_slot(job, &self.notes, head, range, body, slot, ring.kind()).await?;
        let made = Expected::of_put(sealed.digests());
        let own = match checks.source {
            SourceCheck::Nothing => None,
            SourceCheck::Ordered(algorithm, runs) => {
                let ordered = OrderedChecksum::begin(algorithm, runs);
                ordered.take(PartNumber::FIRST, sealed.bytes().clone());
                ordered.finish().await
            }
        };
        let source_proofs = self.prove_source(head, &made, own.as_ref())?;
        let putting = PutRequest::new(job, head, seen, &sealed);
        let committed = put::put(job, &self.notes, head, &sealed, putting, condition).await?;
        self.tag_apart(head, &committed).await?;
        drop(under_way);
        Ok(self.applied(head, committed, source_proofs, 1, ring.kind()))
    }

    async fn parts(
        &self,
        head: &ObjectHead,
        cut: &Layout,
        seen: Option<&ObjectHead>,
        condition: Precondition,
        (checks, style): (Checks, Style),
        ring: Ring,
    ) -> Result<Applied, Stop> {
        let job = self.job;
        let keeps_etag = style.keeps_etag;
        let own_boundaries = match checks.source {
            SourceCheck::Ordered(algorithm, runs) if job.ongoing.step == Step::Complete => {
                Some(OrderedChecksum::begin(algorithm, runs))
            }
            SourceCheck::Ordered(..) | SourceCheck::Nothing => None,
        };
        let style = object_options(&job.session.options, head, keeps_etag, seen);
        let kind = ring.kind();
        let wanted = u32::try_from(cut.count()).unwrap_or(u32::MAX).min(job.session.target.client.window());
        job.session.target.client.warm(&job.session.target.bucket, wanted);
        let (upload, listed) = self.upload_for(head, cut, &style, &condition).await?;
        let parts = Arc::new(PartContext {
            job: job.clone(),
            notes: Arc::clone(&self.notes),
            pinned: head.clone(),
            upload: upload.clone(),
            own_boundaries,
            listed,
            ring,
        });
        let sent = match &job.ongoing.step {
            Step::Complete => self.all_parts(&parts, cut, keeps_etag, checks.kinds).await?,
            Step::Send(numbers) => return Err(self.some_parts(&parts, cut, numbers, checks.kinds).await?),
            Step::Begin => return Err(Stop::StepDone),
        };
        let made = Expected::of_parts(&sent.digests());
        let own = match &parts.own_boundaries {
            Some(ordered) => ordered.finish().await,
            None => None,
        };
        let source_proofs = self.prove_source(head, &made, own.as_ref())?;
        // Bytes that prove nothing although they were cut as the source was are wrong.
        if source_proofs.is_empty()
            && keeps_etag
            && let Some(mismatch) = verify::layout_mismatch(head, &made)
            && source::is_layout(job, &self.notes, head, cut).await?
        {
            return Err(integrity_stop(&mismatch));
        }
        let named = sent.completed_parts();
        let completion =
            Completion { source: head, upload: &upload, parts: &named, sent: &made, condition, style: &style };
        let committed = self.uploads.complete(job, &self.notes, completion).await?;
        self.tag_apart(head, &committed).await?;
        let mut applied = self.applied(head, committed, source_proofs, sent.count(PartOrigin::Sent), kind);
        if applied.outcome == Outcome::Copied {
            applied.bytes = sent.bytes(PartOrigin::Sent);
            applied.resumed_parts = sent.count(PartOrigin::Kept);
            notes::note(&self.notes, head, &Cut::Parts(cut.clone()), None);
            if sent.all_md5 && sent.all_hashed() {
                applied.at_target.proofs.push(Proof::PartMd5);
            }
        }
        Ok(applied)
    }

    pub(crate) async fn tag_apart(&self, head: &ObjectHead, committed: &Committed) -> Result<(), Stop> {
        match committed {
            Committed::Written(_) => put::put_tags(self.job, &self.notes, head).await,
            Committed::Unchanged(..) => Ok(()),
        }
    }

    pub(crate) fn prove_source(
        &self,
        head: &ObjectHead,
        made: &Expected,
        own: Option<&Stored>,
    ) -> Result<Vec<Proof>, Stop> {
        let proofs = verify::source(head, made, own).map_err(|mismatch| integrity_stop(&mismatch))?;
        if proofs.is_empty() {
            self.notes.note(
                "the source stores no checksum, and its ETag is not an MD5, so the bytes read could not be compared \
                 with it",
            );
        }
        Ok(proofs)
    }

    pub(crate) fn applied(
        &self,
        head: &ObjectHead,
        committed: Committed,
        source_proofs: Vec<Proof>,
        parts: u32,
        kind: BufferKind,
    ) -> Applied {
        match committed {
            Committed::Written(at_target) => {
                self.notes.with(|kept| kept.buffer = Some(kind));
                let source = Box::new(head.clone());
                let (bytes, resumed_parts) = (head.size, 0);
                Applied { source, outcome: Outcome::Copied, at_target, source_proofs, bytes, parts, resumed_parts }
            }
            Committed::Unchanged(at_target, by) => Applied { source_proofs, ..self.unchanged(head, at_target, by) },
        }
    }
}

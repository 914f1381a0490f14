//! An object that keeps the source's ETag although its own pieces are too large to be sent: by way of stages.
//!
//! Its bytes cross in small parts, as many at a time as the path bears and none larger than the budget, to stages under
//! the reserved prefix; S3 then copies them under the source's boundaries. Nothing wrong is committed: each piece is
//! held against its MD5 and checksum as ever, each stage is completed with its checksum, each copied part against the
//! checksum of the pieces that make it, and *before* the last write the whole against the source's stored checksum, or,
//! of parts, the ETag that the copied parts make against the source's ETag. An object of a single PUT without a stored
//! checksum shows its MD5 only as a copy: it is copied to a stage of its own first, and committed when that one has the
//! source's ETag.

use crate::engine::commit::{CarriedOut, Commit, Committed, Retry, commit};
use crate::engine::context::{Applied, Context, PendingWrite};
use crate::engine::decide::checksum::TargetETags;
use crate::engine::decide::plan::{Cut, Layout, SourceLayout};
use crate::engine::decide::staging::Stage;
use crate::engine::decide::style::object_options;
use crate::engine::decide::verify::{self, Expected, Mismatch};
use crate::engine::fault::{Fault, FaultClass, Side};
use crate::engine::job::Job;
use crate::engine::notes;
use crate::engine::parts::buffering;
use crate::engine::parts::part::PartContext;
use crate::engine::parts::send::send_parts;
use crate::engine::report::{BufferKind, Proof};
use crate::engine::session::options::Buffering;
use crate::engine::stop::{Stop, fault_at, integrity_stop};
use crate::engine::upload::Completion;
use crate::engine::upload::part_copies::{self, CopiedPart, PartCopy, copy_parts};
use crate::s3::error::Class;
use crate::s3::http::operation::Precondition;
use crate::s3::integrity::checksum::{Digests, combine};
use crate::s3::integrity::etag::{ETag, ETagKind};
use crate::s3::integrity::sums::{Stored, Sum};
use crate::s3::object::attributes::Attributes;
use crate::s3::object::copy::{CopyObject, CopySource, Summed};
use crate::s3::object::head::ObjectHead;
use crate::s3::object::put::ObjectOptions;
use crate::s3::{ByteRange, PartNumber, UploadId};
use std::collections::BTreeMap;
use std::sync::Arc;

struct StagedObject {
    from: CopySource,
    digests: Vec<Digests>,
    all_md5: bool,
    kind: BufferKind,
}

/// What was sent, over all stages.
struct StagedTotals {
    digests: Vec<Digests>,
    all_md5: bool,
    kind: BufferKind,
}

impl StagedTotals {
    fn new() -> Self {
        Self { digests: Vec::new(), all_md5: true, kind: BufferKind::Streamed }
    }

    fn add(&mut self, made: &StagedObject) {
        self.digests.extend(&made.digests);
        self.all_md5 &= made.all_md5;
        self.kind = made.kind;
    }
}

/// A digest ETag as the checksum in order that it is.
fn in_order(etag: &ETag) -> Option<Stored> {
    let (md5, parts) = match etag.kind() {
        ETagKind::ContentMd5(md5) => (md5, None),
        ETagKind::Multipart(md5, parts) => (md5, Some(parts)),
        ETagKind::OpaqueMultipart(_) | ETagKind::Opaque | ETagKind::Unknown => return None,
    };
    Some(Stored { sum: Sum::Md5(md5), parts })
}

impl Context<'_> {
    /// An object of a single PUT: one stage, copied as a whole.
    ///
    /// # Cancel safety
    /// Uploads and stages are left to [`Context::clean_up`]; whether the last copy was carried out is unknown.
    pub(crate) async fn staged_whole(&self, wanted: &PendingWrite<'_>, stage: &Stage) -> Result<Applied, Stop> {
        let (job, head) = (self.job, wanted.head);
        self.warm(stage.pieces.len());
        let made = self.stage(head, stage).await?;
        let mut totals = StagedTotals::new();
        totals.add(&made);
        let whole = Expected::of_parts(&totals.digests);
        let own = if head.crc.is_some() { None } else { self.proof_copy(&made.from).await? };
        let source_proofs = self.prove_source(head, &whole, own.as_ref().and_then(in_order).as_ref())?;
        let style = object_options(&job.session.options, head, made.all_md5, wanted.seen);
        let sent = Expected { etag: Some(head.etag.clone()), ..whole };
        let committed = self.copy_whole(wanted, made.from, &sent, &style).await?;
        self.tag_apart(head, &committed).await?;
        Ok(self.finished(head, committed, source_proofs, &totals).await)
    }

    /// An object of parts: stage by stage, each copied under the source's boundaries and removed before the next.
    ///
    /// # Cancel safety
    /// Uploads and stages are left to [`Context::clean_up`]; whether the upload was completed is unknown.
    pub(crate) async fn staged_parts(&self, wanted: &PendingWrite<'_>, stages: &[Stage]) -> Result<Applied, Stop> {
        let (job, head) = (self.job, wanted.head);
        self.warm(stages.iter().map(|stage| stage.pieces.len()).sum());
        let mut totals = StagedTotals::new();
        let mut copied: Vec<CopiedPart> = Vec::new();
        let mut begun: Option<(UploadId, ObjectOptions)> = None;
        for stage in stages {
            let made = self.stage(head, stage).await?;
            let (upload, _) = match &begun {
                Some(begun) => begun,
                // When there is something to put into it, and it has shown whether the target keeps digests.
                None => {
                    let style = object_options(&job.session.options, head, made.all_md5, wanted.seen);
                    begun.insert((self.uploads.begin_bare(job, &self.notes, &style).await?, style))
                }
            };
            copied.extend(self.copy_stage(upload, stage, &made).await?);
            self.stages.remove(job, &self.notes).await;
            totals.add(&made);
        }
        let (upload, style) = begun.ok_or_else(|| Fault::new(FaultClass::Internal, "an object without a stage"))?;
        let whole = Expected::of_parts(&totals.digests);
        let own = part_copies::etag(&copied);
        let source_proofs = self.prove_source(head, &whole, own.as_ref().and_then(in_order).as_ref())?;
        let parts =
            part_copies::named(&copied).ok_or_else(|| Fault::new(FaultClass::Internal, "a part without a checksum"))?;
        let sent = Expected { etag: Some(head.etag.clone()), ..whole };
        let condition = wanted.condition.clone();
        let completion =
            Completion { source: head, upload: &upload, parts: &parts, sent: &sent, condition, style: &style };
        let committed = self.uploads.complete(job, &self.notes, completion).await?;
        self.tag_apart(head, &committed).await?;
        Ok(self.finished(head, committed, source_proofs, &totals).await)
    }

    fn warm(&self, pieces: usize) {
        let target = &self.job.session.target;
        let wanted = u32::try_from(pieces).unwrap_or(u32::MAX).min(target.client.window());
        target.client.warm(&target.bucket, wanted);
    }

    async fn stage(&self, head: &ObjectHead, stage: &Stage) -> Result<StagedObject, Stop> {
        let mut job = self.stages.name(self.job)?;
        // Pieces are small whatever the object is, so the heap's budget has some; slots of a mapped file would be
        // resident beside it, 168 MiB of them where 64 MiB were allowed (docs/performance.md: neither is faster).
        if let Buffering::Auto(_) | Buffering::Fitting = job.session.options.buffering {
            job.session.options.buffering = Buffering::Auto(u64::MAX);
        }
        let lengths = Layout::Uneven(stage.pieces.iter().map(|piece| piece.bytes()).collect());
        let planned = Cut::Parts(lengths);
        let ring = buffering::ring(&job, &self.notes, stage.bytes(), &planned, true).await?;
        let kind = ring.kind();
        let style = ObjectOptions::default();
        let upload = self.stages.uploads.begin_bare(&job, &self.notes, &style).await?;
        let parts = PartContext {
            job: job.clone(),
            notes: Arc::clone(&self.notes),
            pinned: head.clone(),
            upload: upload.clone(),
            own_boundaries: None,
            listed: BTreeMap::new(),
            ring,
        };
        let kinds = verify::kinds(head, &SourceLayout::Unknown, &planned, TargetETags::Digests);
        let pieces = PartNumber::all().zip(stage.pieces.iter().copied()).collect();
        let sent = send_parts(Arc::new(parts), &pieces, BTreeMap::new(), kinds).await?;
        if !sent.all_md5 && head.crc.is_none() {
            // Its arithmetic was to show that the source was read rightly, and shows nothing now.
            job.session.target.client.quirks().expect_opaque_etags();
            return Err(Stop::replaced(
                "the target's ETags are not MD5s (KMS), so the source's ETag cannot be preserved",
            ));
        }
        let (digests, named) = (sent.digests(), sent.completed_parts());
        let made = Expected::of_parts(&digests);
        let completion = Completion {
            source: head,
            upload: &upload,
            parts: &named,
            sent: &made,
            condition: Precondition::IfAbsent,
            style: &style,
        };
        let etag = match self.stages.uploads.complete(&job, &self.notes, completion).await? {
            Committed::Written(at) => at.etag,
            // Of two that were begun, as a server that completes twice may have them.
            Committed::Unchanged(at, _) => {
                self.stages.uploads.clean_up(&job, &self.notes).await;
                at.etag
            }
        };
        let from = CopySource {
            bucket: job.session.target.bucket.clone(),
            key: job.target_key.clone(),
            version: None,
            if_match: etag,
        };
        Ok(StagedObject { from, digests, all_md5: sent.all_md5, kind })
    }

    /// Copies a stage's parts into the upload, and holds each against the pieces that make it.
    async fn copy_stage(&self, upload: &UploadId, stage: &Stage, made: &StagedObject) -> Result<Vec<CopiedPart>, Stop> {
        let start = stage.start();
        let mut copies = Vec::with_capacity(stage.parts.len());
        for part in &stage.parts {
            let range = ByteRange::new(part.range.start() - start, part.range.end() - start)
                .map_err(|error| Fault::new(FaultClass::Internal, error.to_string()))?;
            copies.push(PartCopy { number: part.number, range });
        }
        let copied = copy_parts(self.job, &self.notes, upload, (&made.from, stage.bytes()), &copies).await?;
        let mut copied = copied.map_err(|error| match error.class() {
            Class::Missing | Class::Precondition => {
                Stop::replaced("a temporary object or the upload was removed by somebody else")
            }
            Class::Throttled | Class::Transient | Class::Ambiguous | Class::Refused => {
                fault_at(Side::Target, &error).into()
            }
        })?;
        let mut digests = made.digests.as_slice();
        for (part, copied) in stage.parts.iter().zip(&mut copied) {
            let (own, rest) = digests.split_at(part.pieces.min(digests.len()));
            digests = rest;
            let expected = combine(own).crc;
            // A server that does not say it holds it against ours when the upload is completed.
            let found = *copied.crc.get_or_insert(expected);
            if found != expected {
                let (expected, found) = (expected.header(), found.header());
                return Err(integrity_stop(&Mismatch::Target { what: "copied part's checksum", expected, found }));
            }
        }
        Ok(copied)
    }

    /// The ETag that a copy of the stage has, seen on one that nobody reads; `None` where it is not a digest.
    async fn proof_copy(&self, from: &CopySource) -> Result<Option<ETag>, Stop> {
        let job = self.stages.name(self.job)?;
        let operation = CopyObject {
            bucket: job.session.target.bucket.clone(),
            key: job.target_key.clone(),
            source: from.clone(),
            precondition: None,
            summed: Summed::Crc64Nvme,
            style: ObjectOptions::default(),
        };
        let mut attempts = job.part();
        let answer = job.session.target.client.call(&operation, &mut attempts).await;
        self.notes.count(&attempts);
        let etag = answer.map_err(|error| fault_at(Side::Target, &error))?.etag;
        Ok(Some(etag).filter(|etag| etag.proves_same_content(etag)))
    }

    /// Copies the stage to where it belongs, deciding again while the target changes.
    async fn copy_whole(
        &self,
        wanted: &PendingWrite<'_>,
        from: CopySource,
        sent: &Expected,
        style: &ObjectOptions,
    ) -> Result<Committed, Stop> {
        let mut copy = StageCopy { job: self.job, head: wanted.head, from, sent, style };
        commit(self.job, &self.notes, &mut copy, wanted.condition.clone()).await
    }

    /// What it came to, once the stages are gone.
    async fn finished(
        &self,
        head: &ObjectHead,
        committed: Committed,
        mut source_proofs: Vec<Proof>,
        totals: &StagedTotals,
    ) -> Applied {
        self.stages.remove(self.job, &self.notes).await;
        if let Committed::Written(at_target) = &committed {
            if at_target.etag.proves_same_content(&head.etag) {
                source_proofs.push(Proof::SourceETag);
            } else {
                self.notes.note(
                    "the source's ETag was not preserved: the target is encrypted with KMS, where ETags are not MD5s",
                );
            }
        }
        if let Committed::Written(_) = &committed {
            let lengths = totals.digests.iter().map(|piece| piece.length).collect();
            notes::note(&self.notes, head, &Cut::Parts(Layout::Uneven(lengths)), None);
        }
        let pieces = u32::try_from(totals.digests.len()).unwrap_or(u32::MAX);
        let mut applied = self.applied(head, committed, source_proofs, pieces, totals.kind);
        if totals.all_md5 && applied.outcome == crate::engine::report::Outcome::Copied {
            applied.at_target.proofs.push(Proof::PartMd5);
        }
        applied
    }
}

/// The copy of a stage to where it belongs.
struct StageCopy<'a> {
    job: &'a Job,
    head: &'a ObjectHead,
    from: CopySource,
    sent: &'a Expected,
    style: &'a ObjectOptions,
}

impl Commit for StageCopy<'_> {
    type Operation = CopyObject;

    fn source(&self) -> &ObjectHead {
        self.head
    }

    fn sent(&self) -> &Expected {
        self.sent
    }

    fn attributes(&self) -> &Attributes {
        &self.style.attributes
    }

    fn operation(&self, precondition: Option<Precondition>) -> CopyObject {
        CopyObject {
            bucket: self.job.session.target.bucket.clone(),
            key: self.job.target_key.clone(),
            source: self.from.clone(),
            precondition,
            summed: Summed::Crc64Nvme,
            style: self.style.clone(),
        }
    }

    async fn carried_out(&mut self, _: CarriedOut, _: &ETag) -> Option<Precondition> {
        None
    }

    async fn retried(&mut self, retry: &Retry) -> Result<(), Stop> {
        // What is missing is not the target, which is as it was.
        if retry.class == Class::Missing && retry.same_condition {
            return Err(Stop::replaced("a temporary object was removed by somebody else"));
        }
        Ok(())
    }
}

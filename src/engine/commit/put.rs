//! An object that goes in one PUT.

use crate::engine::buffer::slot::Sealed;
use crate::engine::commit::{CarriedOut, Commit, Committed, commit, learn_etag_kind};
use crate::engine::context::{Applied, Context, PendingWrite};
use crate::engine::decide::Checks;
use crate::engine::decide::checksum;
use crate::engine::decide::plan::Cut;
use crate::engine::decide::style::{SourceRecord, attributes, expected_etags, options_with, tags_go_apart};
use crate::engine::decide::verify::{Expected, SourceCheck};
use crate::engine::fault::{Fault, FaultClass, Side};
use crate::engine::job::Job;
use crate::engine::notes::{self, Notes};
use crate::engine::parts::ordered::OrderedChecksum;
use crate::engine::parts::{buffering, read};
use crate::engine::stop::{Stop, fault_at};
use crate::s3::error::Class;
use crate::s3::http::operation::Precondition;
use crate::s3::integrity::etag::ETag;
use crate::s3::integrity::sums::Checksum;
use crate::s3::object::attributes::Attributes;
use crate::s3::object::head::ObjectHead;
use crate::s3::object::put::{ObjectOptions, PutObject};
use crate::s3::object::tagging::PutObjectTagging;
use crate::s3::{ByteRange, PartNumber};
use crate::wire::body::incoming::Incoming;
use crate::wire::gate::UnitKind;

struct PutRequest {
    checksum: Checksum,
    style: ObjectOptions,
}

impl PutRequest {
    /// Decides it for bytes that are held against the source already.
    fn new(job: &Job, source: &ObjectHead, seen: Option<&ObjectHead>, sealed: &Sealed) -> Self {
        let etags =
            expected_etags(&job.session.options, seen, job.session.target.client.quirks().expects_opaque_etags());
        let made = sealed.digests();
        let checksum = checksum::for_put(source, made, etags);
        let keeps_etag = made.md5.is_some_and(|md5| ETag::of_content(md5).proves_same_content(&source.etag));
        let mut style = options_with(&job.session.options, source, keeps_etag, seen, etags, Some(made.crc));
        if checksum::tells_content(checksum) {
            style.attributes = attributes(source, SourceRecord::Omit);
        }
        Self { checksum, style }
    }

    /// Goes on after the target was found to make opaque ETags: the bytes are there, but the checksum that was given
    /// took the place of the one that proves them. Once for each target.
    fn prove_by_crc(&mut self, job: &Job, source: &ObjectHead, sent: &Expected, etag: &ETag) {
        learn_etag_kind(job, etag);
        self.checksum = Checksum::Crc64Nvme(sent.crc);
        self.style.attributes = attributes(source, SourceRecord::Include(Some(sent.crc)));
    }
}

impl Context<'_> {
    /// Puts the object under a condition.
    ///
    /// # Cancel safety
    /// The request's connection is closed; whether it was carried out is unknown.
    pub(crate) async fn put(
        &self,
        wanted: PendingWrite<'_>,
        body: Option<Box<Incoming>>,
        checks: Checks,
    ) -> Result<Applied, Stop> {
        let job = self.job;
        let PendingWrite { head, seen, condition } = wanted;
        let ring = if head.size <= job.session.options.table.put_first {
            job.session.buffers.memory(head.size).map_err(|error| buffering::budget(&error))?
        } else {
            let may_stream = matches!(checks.source, SourceCheck::Nothing);
            buffering::ring(job, &self.notes, head.size, &Cut::Put { size: head.size }, may_stream).await?
        };
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
        let committed = put(job, &self.notes, head, &sealed, putting, condition).await?;
        self.tag_apart(head, &committed).await?;
        drop(under_way);
        Ok(self.applied(head, committed, source_proofs, 1, ring.kind()))
    }
}

async fn put(
    job: &Job,
    notes: &Notes,
    source: &ObjectHead,
    sealed: &Sealed,
    put: PutRequest,
    condition: Precondition,
) -> Result<Committed, Stop> {
    let sent = Expected::of_put(sealed.digests());
    commit(job, notes, &mut PutCommit { job, notes, source, sealed, sent, put }, condition).await
}

struct PutCommit<'a> {
    job: &'a Job,
    notes: &'a Notes,
    source: &'a ObjectHead,
    sealed: &'a Sealed,
    sent: Expected,
    put: PutRequest,
}

impl Commit for PutCommit<'_> {
    type Operation = PutObject;
    const KIND: UnitKind = UnitKind::Object;

    fn source(&self) -> &ObjectHead {
        self.source
    }

    fn sent(&self) -> &Expected {
        &self.sent
    }

    fn attributes(&self) -> &Attributes {
        &self.put.style.attributes
    }

    fn operation(&self, precondition: Option<Precondition>) -> PutObject {
        PutObject {
            bucket: self.job.session.target.bucket.clone(),
            key: self.job.target_key.clone(),
            bytes: self.sealed.bytes().clone(),
            checksum: Some(self.put.checksum),
            precondition,
            style: self.put.style.clone(),
        }
    }

    async fn carried_out(&mut self, how: CarriedOut, etag: &ETag) -> Option<Precondition> {
        if how == CarriedOut::Answered {
            self.job.session.target.client.delivered(self.sent.size);
        }
        if checksum::hides_proof(self.put.checksum, etag) {
            self.put.prove_by_crc(self.job, self.source, &self.sent, etag);
            return Some(Precondition::IfMatch(etag.clone()));
        }
        self.job.progress.add_sent(self.sent.size);
        notes::note(self.notes, self.source, &Cut::Put { size: self.source.size }, Some(self.put.checksum));
        None
    }
}

/// Gives the target its tags after it was written, where they did not fit the head of that request. What is there
/// between the two lacks them; if the second never comes, the next look finds the difference.
///
/// # Cancel safety
/// Whether the tags were written is unknown.
pub(crate) async fn put_tags(job: &Job, notes: &Notes, source: &ObjectHead) -> Result<(), Stop> {
    if !tags_go_apart(source) {
        return Ok(());
    }
    let operation = PutObjectTagging {
        bucket: job.session.target.bucket.clone(),
        key: job.target_key.clone(),
        version: None,
        tags: source.attributes.tags.clone(),
    };
    let mut attempts = job.control();
    let answer = job.session.target.client.call(&operation, &mut attempts).await;
    notes.count(&attempts);
    match answer {
        Ok(()) => Ok(()),
        Err(error) if error.class() == Class::Missing => {
            Err(Stop::replaced("the target object was deleted by somebody else before its tags were set"))
        }
        Err(error) => Err(fault_at(Side::Target, &error).into()),
    }
}

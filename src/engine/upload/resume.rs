//! Resuming an upload that another invocation or process has begun.
//!
//! What is listed is kept where it can be shown to be the source's: unread, if parts carry checksums and what they
//! combine to can be held against the source's own stored checksum or ETag; otherwise their ranges are read again, in
//! the source's region, and compared. What does not fit is sent again over it.

use crate::engine::context::Context;
use crate::engine::decide::plan::{Layout, PartRanges};
use crate::engine::decide::ticket::SourcePin;
use crate::engine::decide::verify::{self, Expected};
use crate::engine::fault::{Fault, FaultClass, Side};
use crate::engine::job::{Job, Step};
use crate::engine::notes::Notes;
use crate::engine::parts::part::PartContext;
use crate::engine::parts::read::read_digests;
use crate::engine::parts::send::send_parts;
use crate::engine::parts::uploaded::{PartOrigin, UploadedPart, UploadedParts, same_bytes};
use crate::engine::report::Proof;
use crate::engine::stop::{Stop, fault_at};
use crate::engine::upload::NewUpload;
use crate::mutation::{self, Mutation};
use crate::s3::error::Class;
use crate::s3::http::operation::Precondition;
use crate::s3::integrity::checksum::Kinds;
use crate::s3::integrity::etag::{ETag, ETagKind};
use crate::s3::multipart::listing::{ListParts, ListedPart};
use crate::s3::object::head::ObjectHead;
use crate::s3::object::put::ObjectOptions;
use crate::s3::{ByteRange, PartNumber, UploadId};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::task::JoinSet;

/// Parts that are read again at a time: the source is near, and digests keep two cores busy at less.
const REREADS: usize = 16;

pub(crate) enum ListedUpload {
    /// These parts of the layout.
    Parts(BTreeMap<PartNumber, ListedPart>),
    /// It is not there any more: completed or aborted.
    Gone,
    /// Parts that the layout does not have; they could not be left out of Complete ("CompleteMultipartUpload": the list
    /// of parts must be complete).
    Foreign,
}

impl Context<'_> {
    /// The upload to send parts into, and what it has already: the one of the ticket if it fits, or a new one.
    pub(crate) async fn upload_for(
        &self,
        source: &ObjectHead,
        layout: &Layout,
        style: &ObjectOptions,
        condition: &Precondition,
    ) -> Result<(UploadId, BTreeMap<PartNumber, ListedPart>), Stop> {
        let (job, notes) = (self.job, &self.notes);
        let pin = SourcePin::of(source, style);
        if let Some(ticket) = self.uploads.ticket() {
            let is_of_this =
                ticket.holds(&pin, layout) || mutation::is_on(Mutation::UncheckedTickets) && ticket.layout == *layout;
            let listed =
                if is_of_this { listed(job, notes, &ticket.upload, layout).await? } else { ListedUpload::Foreign };
            match listed {
                ListedUpload::Parts(parts) => {
                    tracing::info!(
                        key = job.source_key.as_str(),
                        upload = ticket.upload.as_str(),
                        parts = parts.len(),
                        same_condition = ticket.condition.is_same(condition),
                        "resuming upload"
                    );
                    return Ok((ticket.upload, parts));
                }
                ListedUpload::Gone => {
                    self.uploads.close(job, notes).await;
                    return Err(Stop::replaced("the upload to resume does not exist any more"));
                }
                ListedUpload::Foreign if matches!(job.ongoing.step, Step::Send(_)) => {
                    return Err(Stop::replaced("the ticket is of another version of the source than there is now"));
                }
                ListedUpload::Foreign => {
                    notes.note_permanent(
                        "the parts of an earlier run are of an older version of the source; that upload was aborted",
                    );
                    self.uploads.clean_up(job, notes).await;
                }
            }
        }
        if let Step::Send(_) = job.ongoing.step {
            return Err(Fault::new(FaultClass::Configuration, "parts are sent with the ticket of their upload").into());
        }
        let beginning = NewUpload { style, pin, layout, condition };
        Ok((self.uploads.begin(job, notes, beginning).await?, BTreeMap::new()))
    }

    /// All parts of the upload: those that are kept, and the others sent. What is known of parts by the target's word
    /// alone is the source's, or they are read again and held against that word.
    pub(crate) async fn all_parts(
        &self,
        parts: &Arc<PartContext>,
        layout: &Layout,
        keeps_etag: bool,
        kinds: Kinds,
    ) -> Result<UploadedParts, Stop> {
        let head = &parts.pinned;
        let wanted = layout.parts();
        // Parts whose bytes are wanted in order go through slots, and are compared there.
        if parts.own_boundaries.is_some() || (kinds.md5 && parts.listed.is_empty()) {
            return send_parts(Arc::clone(parts), &wanted, BTreeMap::new(), kinds).await;
        }
        let hashed = Kinds { md5: true, ..kinds };
        if !may_stay_unread(head, keeps_etag, parts.listed.values()) {
            let listed =
                parts.listed.iter().map(|(number, listed)| (*number, (listed.clone(), PartOrigin::Kept))).collect();
            let kept = reread(parts, &wanted, listed, hashed).await?;
            self.count_kept(kept.keys().map(|number| &wanted[number]));
            return send_parts(Arc::clone(parts), &wanted, kept, hashed).await;
        }
        let unread: BTreeMap<PartNumber, UploadedPart> = parts
            .listed
            .iter()
            .filter_map(|(number, listed)| Some((*number, UploadedPart::kept_unread(listed)?)))
            .collect();
        self.count_kept(unread.keys().map(|number| &wanted[number]));
        let sent = send_parts(Arc::clone(parts), &wanted, unread, kinds).await?;
        if shows_the_source(head, &sent) {
            return Ok(sent);
        }
        tracing::warn!(
            key = self.job.source_key.as_str(),
            "the parts at the target do not match the source; they are compared again with the source"
        );
        let (mut known, in_doubt) = sent.split();
        let as_said = |number, done: &UploadedPart| parts.listed.get(number).cloned().unwrap_or_else(|| done.listed());
        let in_doubt = in_doubt.iter().map(|(number, done)| (*number, (as_said(number, done), done.origin))).collect();
        known.extend(reread(parts, &wanted, in_doubt, hashed).await?);
        send_parts(Arc::clone(parts), &wanted, known, hashed).await
    }

    /// Of these parts of the upload those that it lacks. What the others are made of is for the job that completes it.
    pub(crate) async fn some_parts(
        &self,
        parts: &Arc<PartContext>,
        layout: &Layout,
        numbers: &RangeInclusive<PartNumber>,
        kinds: Kinds,
    ) -> Result<Stop, Stop> {
        let wanted = layout.parts().into_iter().filter(|(number, _)| numbers.contains(number));
        let (kept, missing): (PartRanges, PartRanges) =
            wanted.partition(|(number, _)| parts.listed.contains_key(number));
        self.count_kept(kept.values());
        send_parts(Arc::clone(parts), &missing, BTreeMap::new(), kinds).await?;
        Ok(Stop::StepDone)
    }

    /// Looks at the parts before they are completed, where some were cancelled and sent again: a server may store what
    /// it got of the first attempt, and later than the second.
    pub(crate) async fn parts_landed_as_sent(
        &self,
        upload: &UploadId,
        layout: &Layout,
        sent: &UploadedParts,
    ) -> Result<(), Stop> {
        if self.notes.hedges.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        // What cannot be looked at, Complete decides: it compares the ETag of each.
        let Ok(ListedUpload::Parts(listed)) = listed(self.job, &self.notes, upload, layout).await else {
            return Ok(());
        };
        let is_sent =
            |number: &PartNumber, etag: &ETag| listed.get(number).is_some_and(|part| part.etag.is_same_state(etag));
        match sent.etags().find(|(number, etag)| !is_sent(number, etag)) {
            None => Ok(()),
            Some((number, _)) => {
                let what = format!("part {} at the target is not what was sent last", number.get());
                Err(Stop::Contended(Box::new(Fault::new(FaultClass::Precondition, what))))
            }
        }
    }

    fn count_kept<'a>(&self, kept: impl ExactSizeIterator<Item = &'a ByteRange>) {
        self.notes.resumed(kept.len());
        self.job.progress.add_sent(kept.map(|range| range.bytes()).sum());
    }
}

/// All parts that an upload has.
pub(crate) async fn listed(job: &Job, notes: &Notes, upload: &UploadId, layout: &Layout) -> Result<ListedUpload, Stop> {
    let mut list = ListParts {
        bucket: job.session.target.bucket.clone(),
        key: job.target_key.clone(),
        upload: upload.clone(),
        after: None,
    };
    let mut all = Vec::new();
    loop {
        let mut attempts = job.part();
        let answer = job.session.target.client.call(&list, &mut attempts).await;
        notes.count(&attempts);
        match answer {
            Ok(page) => {
                all.extend(page.parts);
                match page.next {
                    Some(next) => list.after = Some(next),
                    None => return Ok(fitting(all, &layout.parts())),
                }
            }
            Err(error) if error.class() == Class::Missing => return Ok(ListedUpload::Gone),
            Err(error) => return Err(fault_at(Side::Target, &error).into()),
        }
    }
}

/// The parts that have the length that the layout gives them; others are sent again.
fn fitting(all: Vec<ListedPart>, wanted: &PartRanges) -> ListedUpload {
    if all.iter().any(|part| !wanted.contains_key(&part.number)) {
        return ListedUpload::Foreign;
    }
    let fits = |part: &ListedPart| wanted.get(&part.number).is_some_and(|range| range.bytes() == part.size);
    ListedUpload::Parts(all.into_iter().filter(fits).map(|part| (part.number, part)).collect())
}

/// Whether what all parts combine to can be held against something that the source says of itself.
fn may_stay_unread<'a>(
    source: &ObjectHead,
    keeps_etag: bool,
    mut listed: impl Iterator<Item = &'a ListedPart>,
) -> bool {
    let is_digest = matches!(source.etag.kind(), ETagKind::Multipart(..));
    (source.crc.is_some() || (keeps_etag && is_digest)) && listed.all(|part| UploadedPart::kept_unread(part).is_some())
}

/// Whether the parts make what the source says that it is.
fn shows_the_source(source: &ObjectHead, sent: &UploadedParts) -> bool {
    match verify::source(source, &Expected::of_parts(&sent.digests()), None) {
        // Our own checksum of bytes that were sent says nothing of the MD5s that the target then gave.
        Ok(proofs) if sent.relies_on_target_md5s() => proofs.contains(&Proof::SourceETag),
        Ok(proofs) => !proofs.is_empty(),
        Err(_) => false,
    }
}

/// Reads the ranges of these parts again, and keeps those that are what is read.
async fn reread(
    parts: &Arc<PartContext>,
    wanted: &PartRanges,
    in_doubt: BTreeMap<PartNumber, (ListedPart, PartOrigin)>,
    kinds: Kinds,
) -> Result<BTreeMap<PartNumber, UploadedPart>, Stop> {
    let mut waiting = in_doubt.keys().copied();
    // Dropped with this: its tasks end, their sockets close.
    let mut reading = JoinSet::new();
    let mut kept = BTreeMap::new();
    loop {
        while reading.len() < REREADS
            && let Some(number) = waiting.next()
        {
            let (parts, range) = (Arc::clone(parts), wanted[&number]);
            reading.spawn(async move {
                (number, read_digests(&parts.job, &parts.notes, &parts.pinned, range, kinds).await)
            });
        }
        let Some(joined) = reading.join_next().await else { return Ok(kept) };
        let (number, read) = joined
            .map_err(|error| Fault::new(FaultClass::Internal, format!("a task that reads a part ended: {error}")))?;
        let read = read?;
        if let Some((listed, origin)) = in_doubt.get(&number).filter(|(listed, _)| same_bytes(listed, &read)) {
            kept.insert(number, UploadedPart::kept(listed, read).with_origin(*origin));
        }
    }
}

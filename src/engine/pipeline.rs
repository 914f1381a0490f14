//! Parts from the source to the target, many at a time: reserve, read, send, hold the answer against the bytes.

use super::buffer::{Ring, Sealed, Slot};
use super::fill::fill;
use super::hint::End;
use super::job::{Halt, Job, Notes, fault_at};
use super::ordered::OrderedMd5;
use super::plan::Layout;
use super::report::Fault;
use super::target::integrity;
use super::verify;
use crate::s3::checksum::Digests;
use crate::s3::error::Class;
use crate::s3::multipart::{CompletedPart, UploadPart};
use crate::s3::object::ObjectHead;
use crate::s3::{ByteRange, PartNumber, UploadId};
use std::sync::Arc;
use tokio::task::JoinSet;

/// What all parts share.
pub(super) struct Parts {
    pub(super) job: Job,
    pub(super) notes: Arc<Notes>,
    pub(super) pinned: ObjectHead,
    pub(super) upload: UploadId,
    pub(super) own_boundaries: Option<OrderedMd5>,
    pub(super) ring: Ring,
}

/// Parts that the target holds.
pub(super) struct Sent {
    /// As Complete names them, in order.
    pub(super) parts: Vec<CompletedPart>,
    /// What they were made of, in order.
    pub(super) digests: Vec<Digests>,
    /// Whether each one's ETag was its MD5.
    pub(super) all_md5: bool,
}

struct Done {
    index: usize,
    part: CompletedPart,
    digests: Digests,
    is_md5: bool,
}

/// Sends all parts of a layout. Slots are taken in the order of the parts, so that the earliest part never waits for a
/// later one's memory.
///
/// # Cancel safety
/// Every part's connection is closed and its slot given back; parts that were sent stay in the upload.
pub(super) async fn send_parts(parts: Arc<Parts>, layout: &Layout) -> Result<Sent, Halt> {
    let ranges = layout.ranges();
    let most = parts.job.options.parts_under_way.max(1);
    let mut done: Vec<Option<Done>> = Vec::new();
    done.resize_with(ranges.len(), || None);
    let mut waiting = ranges.iter().copied().enumerate().peekable();
    // Dropped with this future: its tasks end, their sockets close.
    let mut under_way: JoinSet<Result<Done, Halt>> = JoinSet::new();
    loop {
        let next = waiting.peek().copied().filter(|_| under_way.len() < most);
        let slot = async {
            match next {
                Some((index, range)) => (index, range, parts.ring.slot(length(range)).await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(joined) = under_way.join_next() => {
                let part = joined.map_err(|error| Fault::new("internal", format!("a part's task ended: {error}")))??;
                let index = part.index;
                done[index] = Some(part);
            }
            (index, range, slot) = slot => {
                waiting.next();
                let slot = slot.map_err(|error| Fault::new("budget", format!("no memory for a part: {error}")))?;
                under_way.spawn(one(Arc::clone(&parts), index, range, slot));
            }
            else => break,
        }
        if under_way.is_empty() && waiting.peek().is_none() {
            break;
        }
    }
    let mut sent = Sent { parts: Vec::new(), digests: Vec::new(), all_md5: true };
    for part in done {
        let part = part.ok_or_else(|| Fault::new("internal", "a part is missing"))?;
        sent.all_md5 &= part.is_md5;
        sent.parts.push(part.part);
        sent.digests.push(part.digests);
    }
    Ok(sent)
}

fn length(range: ByteRange) -> usize {
    usize::try_from(range.bytes()).unwrap_or(usize::MAX)
}

async fn one(parts: Arc<Parts>, index: usize, range: ByteRange, slot: Slot) -> Result<Done, Halt> {
    let _under_way = parts.job.meter.enter();
    let number = PartNumber::at(index).map_err(|error| Fault::new("internal", error.to_string()))?;
    let kind = parts.ring.kind();
    let sealed = fill(&parts.job, &parts.notes, &parts.pinned, Some(range), None, slot, kind).await?;
    if let Some(ordered) = &parts.own_boundaries {
        ordered.take(index, sealed.bytes().clone());
    }
    send(&parts, index, number, sealed).await
}

/// Sends a part until the target has it, byte for byte.
async fn send(parts: &Parts, index: usize, number: PartNumber, sealed: Sealed) -> Result<Done, Halt> {
    let digests = *sealed.digests();
    let operation = UploadPart {
        bucket: parts.job.target.bucket.clone(),
        key: parts.job.target.key.clone(),
        upload: parts.upload.clone(),
        number,
        bytes: sealed.bytes().clone(),
        crc: digests.crc,
    };
    let client = &parts.job.target.client;
    let mut attempts = parts.job.part();
    let answer = client.call(&operation, &mut attempts).await;
    parts.notes.count(&attempts);
    let written = answer.map_err(|error| match error.class() {
        Class::Missing if error.code() == Some("NoSuchUpload") => {
            Halt::replaced("the upload was aborted by somebody else")
        }
        Class::Missing
        | Class::Precondition
        | Class::Throttled
        | Class::Transient
        | Class::Ambiguous
        | Class::Refused => fault_at(End::Target, &error).into(),
    })?;
    let is_md5 = verify::part(&digests, &written).map_err(|mismatch| integrity(&mismatch))?;
    client.delivered(digests.length);
    parts.job.meter.arrived(digests.length);
    Ok(Done { index, part: CompletedPart { number, etag: written.etag, crc: digests.crc }, digests, is_md5 })
}

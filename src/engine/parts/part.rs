//! One part that waits in a slot: read whole, then sent, and the answer compared with its bytes.

use crate::engine::buffer::Ring;
use crate::engine::buffer::slot::Slot;
use crate::engine::fault::Side;
use crate::engine::job::Job;
use crate::engine::notes::Notes;
use crate::engine::parts::in_flight::ReadPart;
use crate::engine::parts::md5s::Md5s;
use crate::engine::parts::ordered::OrderedChecksum;
use crate::engine::parts::read::read_into_slot;
use crate::engine::parts::uploaded::{UploadedPart, proven, same_bytes};
use crate::engine::stop::{Stop, fault_at};
use crate::s3::error::Class;
use crate::s3::multipart::listing::ListedPart;
use crate::s3::multipart::upload::UploadPart;
use crate::s3::object::head::ObjectHead;
use crate::s3::{ByteRange, PartNumber, UploadId};
use crate::wire::client::attempt::Attempts;
use crate::wire::error::Error;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What all parts share.
pub(crate) struct PartContext {
    pub(crate) job: Job,
    pub(crate) notes: Arc<Notes>,
    pub(crate) pinned: ObjectHead,
    pub(crate) upload: UploadId,
    pub(crate) own_boundaries: Option<OrderedChecksum>,
    /// What the upload has already, by the number of the part: not sent again if it is what is read now.
    pub(crate) listed: BTreeMap<PartNumber, ListedPart>,
    pub(crate) ring: Ring,
}

pub(crate) fn length(range: ByteRange) -> usize {
    usize::try_from(range.bytes()).unwrap_or(usize::MAX)
}

pub(crate) async fn send_part(
    parts: Arc<PartContext>,
    number: PartNumber,
    range: ByteRange,
    slot: Slot,
    md5s: Option<Arc<Md5s>>,
    shared: Arc<Mutex<Option<Arc<ReadPart>>>>,
    attempts: Attempts,
) -> Result<UploadedPart, Stop> {
    let kind = parts.ring.kind();
    let sealed = read_into_slot(&parts.job, &parts.notes, &parts.pinned, Some(range), None, slot, kind).await?;
    if let Some(ordered) = &parts.own_boundaries {
        ordered.take(number, sealed.bytes().clone());
    }
    let md5 = md5s.map(|md5s| md5s.enter(sealed.bytes().clone()));
    let read = Arc::new(ReadPart { sealed, md5 });
    if let Some(listed) = parts.listed.get(&number) {
        let digests = read.digests().await?;
        if same_bytes(listed, &digests) {
            return Ok(UploadedPart::kept(listed, digests));
        }
    }
    *shared.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&read));
    put_part(Arc::clone(&parts), number, read, attempts).await
}

/// Sends a part until the target has it, byte for byte.
pub(crate) async fn put_part(
    parts: Arc<PartContext>,
    number: PartNumber,
    read: Arc<ReadPart>,
    mut attempts: Attempts,
) -> Result<UploadedPart, Stop> {
    let operation = UploadPart {
        bucket: parts.job.session.target.bucket.clone(),
        key: parts.job.target_key.clone(),
        upload: parts.upload.clone(),
        number,
        bytes: read.sealed.bytes().clone(),
        crc: read.sealed.digests().crc,
    };
    let answer = parts.job.session.target.client.call(&operation, &mut attempts).await;
    parts.notes.count(&attempts);
    let written = answer.map_err(|error| refused(&error))?;
    proven(operation.number, &read.digests().await?, written, &attempts)
}

/// Why the target does not have a part.
pub(crate) fn refused(error: &Error) -> Stop {
    match error.class() {
        Class::Missing if error.code() == Some("NoSuchUpload") => {
            Stop::replaced("the multipart upload does not exist any more: somebody else aborted or completed it")
        }
        Class::Missing
        | Class::Precondition
        | Class::Throttled
        | Class::Transient
        | Class::Ambiguous
        | Class::Refused => fault_at(Side::Target, error).into(),
    }
}

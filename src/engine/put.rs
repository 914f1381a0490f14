//! An object that goes in one PUT.

use super::buffer::Sealed;
use super::decide::{Sameness, carried, with_record};
use super::hint::End;
use super::job::{Halt, Job, Notes, fault_at};
use super::target::{AtTarget, Attempted, Condition, Settled, prove};
use super::verify::Expected;
use crate::s3::error::Class;
use crate::s3::object::{ObjectHead, PutObject, Style};
use crate::s3::operation::Precondition;
use crate::s3::sums::Checksum;

/// What a commit came to.
pub(super) enum Committed {
    /// The target was written.
    Written(AtTarget),
    /// Somebody had written the same before.
    Unchanged(AtTarget, Sameness),
}

/// Puts the object under a condition, deciding anew while the target changes.
///
/// # Cancel safety
/// The request's connection is closed; whether it was carried out is unknown.
pub(super) async fn put(
    job: &Job,
    notes: &Notes,
    source: &ObjectHead,
    sealed: &Sealed,
    condition: Precondition,
    style: Style,
) -> Result<Committed, Halt> {
    let sent = Expected::of_put(sealed.digests());
    let mut condition = Condition::new(condition);
    loop {
        let operation = PutObject {
            bucket: job.target.bucket.clone(),
            key: job.target.key.clone(),
            bytes: sealed.bytes().clone(),
            checksum: Some(Checksum::Crc64Nvme(sent.crc)),
            precondition: Some(condition.now.clone()),
            style: style.clone(),
        };
        let mut attempts = job.part();
        let answer = job.target.client.call(&operation, &mut attempts).await;
        notes.count(&attempts);
        let error = match answer {
            Ok(written) => {
                job.target.client.delivered(sent.size);
                job.meter.arrived(sent.size);
                return Ok(Committed::Written(prove(job, notes, &sent, written.etag, written.crc).await?));
            }
            Err(error) => error,
        };
        if matches!(error.class(), Class::Refused | Class::Throttled) && !attempts.unanswered() {
            return Err(fault_at(End::Target, &error).into());
        }
        let attempted = Attempted { source, sent: &sent, written: &style.attributes, error, attempts: &attempts };
        match condition.settle(job, notes, attempted).await? {
            Settled::Ours(seen) => {
                job.meter.arrived(sent.size);
                return Ok(Committed::Written(prove(job, notes, &sent, seen.etag, seen.crc).await?));
            }
            Settled::Unchanged(seen, by) => return Ok(Committed::Unchanged(AtTarget::unchanged(&seen, by), by)),
            Settled::Write => {}
        }
    }
}

/// What the new object is given. The source is recorded where a second look could not show otherwise that the target has
/// its content: neither by an ETag that will be the same nor by a checksum that both sides store.
pub(super) fn style(
    job: &Job,
    source: &ObjectHead,
    keeps_etag: bool,
    seen: Option<&ObjectHead>,
    sent: Option<&Sealed>,
) -> Style {
    let opaque = job.options.kms_key.is_some() || seen.is_some_and(|seen| !seen.encryption.keeps_md5());
    // A target that was seen without a checksum is not expected to show one of the next object.
    let shows_crc = source.crc.is_some() && seen.is_none_or(|seen| seen.crc.is_some());
    let shown = shows_crc || (keeps_etag && !opaque);
    let attributes =
        if shown { carried(&source.attributes) } else { with_record(source, sent.map(|sealed| sealed.digests().crc)) };
    Style { attributes, storage_class: job.options.storage_class.clone(), kms_key: job.options.kms_key.clone() }
}

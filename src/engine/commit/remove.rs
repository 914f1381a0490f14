//! Removing what the target has of a source that is gone.
//!
//! Whether it is gone was believed by a GET; here it is asked once more between the look at the target and the delete,
//! so that the ETag which the delete is bound to was seen while the source was still gone.

use crate::engine::commit::{MAX_DECISIONS, learn_etag_form};
use crate::engine::decide::{PriorDelete, Removal, removal};
use crate::engine::fault::Side;
use crate::engine::job::Job;
use crate::engine::look::source;
use crate::engine::look::target::{head, is_absent};
use crate::engine::notes::Notes;
use crate::engine::stop::{Stop, fault_at};
use crate::mutation::{self, Mutation};
use crate::s3::error::Class;
use crate::s3::integrity::etag::ETag;
use crate::s3::object::delete::DeleteObject;
use crate::wire::error::Error;

pub(crate) enum Removed {
    /// What had this ETag was removed: by a delete marker upon it in a versioned bucket, for good elsewhere.
    Object(ETag),
    /// There was nothing to remove.
    Nothing,
}

/// A delete that was refused, or not answered to the end.
struct FailedDelete {
    etag: ETag,
    error: Error,
    tried: PriorDelete,
}

/// Removes the target's object under its ETag, deciding again while the target changes.
///
/// # Cancel safety
/// The request's connection is closed; whether it was carried out is unknown.
pub(crate) async fn remove(job: &Job, notes: &Notes) -> Result<Removed, Stop> {
    let mut before: Option<FailedDelete> = None;
    for _ in 0..MAX_DECISIONS {
        let seen = head(job, notes).await?;
        if seen.is_none() && !is_absent(job, notes).await? {
            // It came between the two looks.
            continue;
        }
        let tried = before.as_ref().map_or(PriorDelete::No, |before| before.tried);
        let etag = match (removal(tried, seen.as_ref()), before.take()) {
            (Removal::Nothing, _) | (Removal::Done, None) => return Ok(Removed::Nothing),
            (Removal::Done, Some(before)) => return Ok(Removed::Object(before.etag)),
            (Removal::Remove(etag), Some(before)) => {
                before.allows_another(job, &etag)?;
                etag
            }
            (Removal::Remove(etag), None) => etag,
        };
        if !source::is_gone(job, notes).await? {
            return Err(Stop::replaced("the source object was written again before the target was deleted"));
        }
        let operation = DeleteObject {
            bucket: job.session.target.bucket.clone(),
            key: job.target_key.clone(),
            // In a versioned bucket a marker is set upon what is there, which stays to be brought back.
            version: None,
            if_match: Some(etag.clone()).filter(|_| !mutation::is_on(Mutation::UnconditionalWrites)),
        };
        let mut attempts = job.part();
        let answer = job.session.target.client.call(&operation, &mut attempts).await;
        notes.count(&attempts);
        let Err(error) = answer else { return Ok(Removed::Object(etag)) };
        if matches!(error.class(), Class::Refused | Class::Throttled) && !attempts.unanswered() {
            return Err(fault_at(Side::Target, &error).into());
        }
        let tried = if attempts.unanswered() { PriorDelete::Unanswered } else { PriorDelete::No };
        before = Some(FailedDelete { etag, error, tried });
    }
    Err(match before {
        Some(FailedDelete { error, .. }) => fault_at(Side::Target, &error).into(),
        None => Stop::replaced("the target object kept changing while it was to be deleted"),
    })
}

impl FailedDelete {
    /// Whether what is there now may be removed after this.
    fn allows_another(self, job: &Job, now: &ETag) -> Result<(), Stop> {
        match self.error.class() {
            // "Conditional deletes": 412 another ETag, 409 a conflicting request, 404 nothing there.
            Class::Precondition | Class::Missing => {}
            Class::Throttled | Class::Transient | Class::Ambiguous | Class::Refused => {
                return Err(fault_at(Side::Target, &self.error).into());
            }
        }
        let of_this = self.error.code() == Some("PreconditionFailed") && self.etag.is_same_state(now);
        if of_this { learn_etag_form(job, &self.error) } else { Ok(()) }
    }
}

//! The target: what is there now.

use crate::engine::decide::sameness::{Sameness, sameness};
use crate::engine::fault::Side;
use crate::engine::job::Job;
use crate::engine::notes::Notes;
use crate::engine::stop::{Stop, fault_at};
use crate::s3::error::Class;
use crate::s3::object::get::GetObject;
use crate::s3::object::head::{HeadObject, ObjectHead};
use crate::s3::object::tagging::GetObjectTagging;
use crate::wire::error::Error;

/// What is at the target now, with its tags if they could matter; `None` if nothing is.
pub(crate) async fn look(job: &Job, notes: &Notes, source: &ObjectHead) -> Result<Option<ObjectHead>, Stop> {
    let Some(mut seen) = head(job, notes).await? else { return Ok(None) };
    add_tags(job, notes, source, &mut seen).await?;
    Ok(Some(seen))
}

/// Asks for the target's tags where they decide: the content is the same, and one side has some.
pub(crate) async fn add_tags(job: &Job, notes: &Notes, source: &ObjectHead, seen: &mut ObjectHead) -> Result<(), Stop> {
    let some = !source.attributes.tags.is_empty() || seen.tag_count.is_some_and(|count| count > 0);
    if some && sameness(source, seen) != Sameness::Different {
        seen.attributes.tags = tags(job, notes, source).await?;
    }
    Ok(())
}

/// What is at the target now, but for tags.
pub(crate) async fn head(job: &Job, notes: &Notes) -> Result<Option<ObjectHead>, Stop> {
    let operation = HeadObject::current(job.session.target.bucket.clone(), job.target_key.clone());
    let mut attempts = job.part();
    let answer = job.session.target.client.call(&operation, &mut attempts).await;
    notes.count(&attempts);
    match answer {
        Ok(head) => Ok(Some(head)),
        // If it is the bucket that is missing, the write says so.
        Err(error) if error.class() == Class::Missing => Ok(None),
        Err(error) => Err(fault_at(Side::Target, &error).into()),
    }
}

/// Whether nothing is at the target now, said so that it can be believed: a HEAD's 404 may be a missing bucket.
pub(crate) async fn is_absent(job: &Job, notes: &Notes) -> Result<bool, Stop> {
    let operation = GetObject::whole(job.session.target.bucket.clone(), job.target_key.clone());
    let mut attempts = job.part();
    let answer = job.session.target.client.open(&operation, &mut attempts).await;
    notes.count(&attempts);
    match answer {
        // Its bytes are not wanted; dropping them closes the connection.
        Ok(_) => Ok(false),
        Err(Error::Refused { refusal, .. }) if refusal.says_gone() => Ok(true),
        Err(error) => Err(fault_at(Side::Target, &error).into()),
    }
}

/// The target's tags; those of the source if the target does not show its own, which then cannot be compared.
pub(crate) async fn tags(
    job: &Job,
    notes: &Notes,
    source: &ObjectHead,
) -> Result<std::collections::BTreeMap<String, String>, Stop> {
    let operation =
        GetObjectTagging { bucket: job.session.target.bucket.clone(), key: job.target_key.clone(), version: None };
    let mut attempts = job.control();
    let answer = job.session.target.client.call(&operation, &mut attempts).await;
    notes.count(&attempts);
    match answer {
        Ok(tags) => Ok(tags),
        Err(error) => match error.class() {
            // A server without tags: `rclone serve s3` answers with the object's bytes.
            Class::Transient if error.is_unreadable() => {
                notes.note("the target's tags were not compared: the target does not support tags");
                Ok(source.attributes.tags.clone())
            }
            Class::Refused | Class::Missing | Class::Precondition => {
                notes.note(format!("the target's tags were not compared: {error}"));
                Ok(source.attributes.tags.clone())
            }
            Class::Throttled | Class::Transient | Class::Ambiguous => Err(fault_at(Side::Target, &error).into()),
        },
    }
}

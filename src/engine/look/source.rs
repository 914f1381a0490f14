//! The source: which state of it is copied, and whether that is still its state.

use crate::engine::decide::plan::{EtagMode, Layout, SourceLayout};
use crate::engine::decide::sameness::headers_agree;
use crate::engine::fault::Side;
use crate::engine::job::Job;
use crate::engine::look::layout::{self, KnownObject, MiddleParts};
use crate::engine::notes::Notes;
use crate::engine::stop::{Stop, fault_at};
use crate::s3::error::Class;
use crate::s3::object::get::GetObject;
use crate::s3::object::head::{HeadObject, ObjectHead};
use crate::s3::object::tagging::GetObjectTagging;
use crate::wire::body::incoming::Incoming;
use crate::wire::error::Error;
use crate::wire::gate::UnitKind;
use std::collections::BTreeMap;

pub(crate) enum Pinned {
    /// An object, and its bytes if they are on their way already.
    Object(Box<ObjectHead>, Option<Box<Incoming>>),
    /// Nothing, said so that it can be believed.
    Gone,
}

/// Asks for the current state: with a GET, whose body is used if the object goes in one PUT; with a HEAD if the hint
/// says that it will not.
pub(crate) async fn pin(job: &Job, notes: &Notes) -> Result<Pinned, Stop> {
    let single_put = job.session.options.table.single_put;
    let (head, body) = if job.size_hint.is_some_and(|size| size > single_put) {
        match head(job, notes).await? {
            Some(head) => (head, None),
            // A HEAD's 404 may be a missing bucket; a GET says which.
            None => match get(job, notes).await? {
                Some((head, body)) => (head, Some(body)),
                None => return Ok(Pinned::Gone),
            },
        }
    } else {
        match get(job, notes).await? {
            Some((head, body)) => (head, Some(body)),
            None => return Ok(Pinned::Gone),
        }
    };
    let mut head = head;
    notes.pinned(job.source_ref(), &head);
    for unread in &head.unread {
        notes.not_carried(&unread.name, &unread.reason);
    }
    // "GetObject", x-amz-tagging-count: there if there are tags and the caller may read them; asked for without it,
    // `rclone serve s3` answers with the object's bytes. HEAD gives it only since 2025, so its silence means nothing.
    if head.tag_count.map_or(body.is_none(), |count| count > 0) {
        head.attributes.tags = tags(job, notes, &head).await?;
    }
    let body = body.filter(|_| head.size <= single_put);
    Ok(Pinned::Object(Box::new(head), body.map(Box::new)))
}

async fn get(job: &Job, notes: &Notes) -> Result<Option<(ObjectHead, Incoming)>, Stop> {
    let mut attempts = job.part().carrying(UnitKind::Object);
    let operation = GetObject::whole(job.session.source.bucket.clone(), job.source_key.clone());
    let answer = job.session.source.client.open(&operation, &mut attempts).await;
    notes.count(&attempts);
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(Error::Refused { refusal, .. }) if refusal.says_gone() => Ok(None),
        Err(error) => Err(fault_at(Side::Source, &error).into()),
    }
}

async fn head(job: &Job, notes: &Notes) -> Result<Option<ObjectHead>, Stop> {
    let mut attempts = job.part();
    let operation = HeadObject::current(job.session.source.bucket.clone(), job.source_key.clone());
    let answer = job.session.source.client.call(&operation, &mut attempts).await;
    notes.count(&attempts);
    match answer {
        Ok(head) => Ok(Some(head)),
        Err(error) if error.class() == Class::Missing => Ok(None),
        Err(error) => Err(fault_at(Side::Source, &error).into()),
    }
}

async fn tags(job: &Job, notes: &Notes, pinned: &ObjectHead) -> Result<BTreeMap<String, String>, Stop> {
    let operation = GetObjectTagging {
        bucket: job.session.source.bucket.clone(),
        key: job.source_key.clone(),
        version: pinned.version.clone(),
    };
    // The pinned object's body may be waiting to be read meanwhile.
    let mut attempts = job.control().nested();
    let answer = job.session.source.client.call(&operation, &mut attempts).await;
    notes.count(&attempts);
    match answer {
        Ok(tags) => Ok(tags),
        Err(error) => match error.class() {
            Class::Missing | Class::Precondition => {
                Err(Stop::replaced("the source object was replaced while its tags were read"))
            }
            Class::Transient if error.is_unreadable() => Ok(BTreeMap::new()),
            // A server without tags, or a caller who may not read them: the object is still worth copying.
            Class::Refused => {
                notes.not_carried("tags", format!("tags could not be read from the source: {error}"));
                Ok(BTreeMap::new())
            }
            Class::Throttled | Class::Transient | Class::Ambiguous => Err(fault_at(Side::Source, &error).into()),
        },
    }
}

/// How the pinned object was put together, as far as the plan will want to know.
pub(crate) async fn layout(job: &Job, notes: &Notes, pinned: &ObjectHead) -> Result<SourceLayout, Stop> {
    if pinned.etag.parts().is_none() {
        return Ok(SourceLayout::Single);
    }
    let wanted = match job.session.options.etag {
        EtagMode::Preserve => true,
        EtagMode::Auto => pinned.size > job.session.options.table.single_put && job.session.options.part_size.is_none(),
        EtagMode::Any => false,
    };
    // Without a stored checksum, only the source's own boundaries can show that it was read rightly.
    if !wanted && pinned.crc.is_some() {
        return Ok(SourceLayout::Unknown);
    }
    // Nearly every client cuts evenly; where the ETag must be kept, nearly is not enough.
    let between =
        if job.session.options.etag == EtagMode::Preserve { MiddleParts::AskEach } else { MiddleParts::AssumeEven };
    let held = KnownObject { end: Side::Source, head: pinned };
    let own = layout::layout(job, notes, held, between, job.session.options.table.kept_part).await?;
    Ok(own.map_or(SourceLayout::Unknown, SourceLayout::Parts))
}

/// Whether the source was really put together from parts of these lengths: of an even layout only the first and the
/// last were looked at, which is enough for nearly every client.
pub(crate) async fn is_layout(job: &Job, notes: &Notes, pinned: &ObjectHead, layout: &Layout) -> Result<bool, Stop> {
    let count = u16::try_from(layout.count()).unwrap_or(u16::MAX);
    let held = KnownObject { end: Side::Source, head: pinned };
    let lengths = match layout {
        Layout::Uneven(_) => return Ok(true),
        Layout::Even { .. } => layout::all_lengths(job, notes, held, count).await?,
    };
    Ok(lengths.is_some_and(|lengths| lengths.iter().copied().eq(layout.ranges().iter().map(|range| range.bytes()))))
}

/// Whether the source is gone now, said so that it can be believed.
pub(crate) async fn is_gone(job: &Job, notes: &Notes) -> Result<bool, Stop> {
    Ok(get(job, notes).await?.is_none())
}

/// How many tags a pinned object had; what it said goes before what could be read.
fn tag_count(pinned: &ObjectHead) -> u64 {
    pinned.tag_count.unwrap_or(pinned.attributes.tags.len() as u64)
}

/// Whether the source is still what was enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceNow {
    Same,
    Changed,
    Gone,
}

/// Looks at the source's current state, in its region and without a version.
pub(crate) async fn look_again(job: &Job, notes: &Notes, applied: &ObjectHead) -> Result<SourceNow, Stop> {
    let now = match head(job, notes).await? {
        Some(now) => now,
        None => match get(job, notes).await? {
            Some((now, _)) => now,
            None => return Ok(SourceNow::Gone),
        },
    };
    let same = now.etag.is_same_state(&applied.etag)
        && now.version == applied.version
        && now.size == applied.size
        && now.last_modified == applied.last_modified
        // The same bytes can have been put with other headers within that second, or with other tags.
        && headers_agree(&applied.attributes, &now.attributes)
        && now.tag_count.is_none_or(|count| count == tag_count(applied));
    if !same {
        return Ok(SourceNow::Changed);
    }
    if applied.attributes.tags.is_empty() {
        return Ok(SourceNow::Same);
    }
    match tags(job, notes, &now).await {
        Ok(tags) if tags == applied.attributes.tags => Ok(SourceNow::Same),
        Ok(_) | Err(Stop::Restart(_)) => Ok(SourceNow::Changed),
        Err(stop) => Err(stop),
    }
}

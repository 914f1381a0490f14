//! The target: what is there, and committing under a condition that is decided anew when it no longer holds.

use crate::engine::decide::{Decision, Sameness, carried, decide, sameness};
use crate::engine::hint::End;
use crate::engine::job::{Halt, Job, Notes, fault_at};
use crate::engine::pin::{self, Now};
use crate::engine::report::{Fault, Proof};
use crate::engine::verify::{self, Expected, Mismatch};
use crate::mutation::{self, Mutation};
use crate::s3::attributes::Attributes;
use crate::s3::checksum::Crc64;
use crate::s3::error::Class;
use crate::s3::etag::{ETag, ETagKind};
use crate::s3::object::{GetObject, GetObjectTagging, HeadObject, ObjectHead};
use crate::s3::operation::Precondition;
use crate::wire::attempt::Attempts;
use crate::wire::error::Error;

/// How often a condition is decided anew before somebody else is held to be winning on purpose.
pub(crate) const DECISIONS: u32 = 8;

/// What is at the target now, with its tags if they could matter; `None` if nothing is.
///
/// # Cancel safety
/// Holds nothing.
pub(crate) async fn see(job: &Job, notes: &Notes, source: &ObjectHead) -> Result<Option<ObjectHead>, Halt> {
    let Some(mut seen) = see_head(job, notes).await? else { return Ok(None) };
    add_tags(job, notes, source, &mut seen).await?;
    Ok(Some(seen))
}

/// Asks for the target's tags where they decide: the content is the same, and one side has some.
///
/// # Cancel safety
/// Holds nothing.
pub(crate) async fn add_tags(job: &Job, notes: &Notes, source: &ObjectHead, seen: &mut ObjectHead) -> Result<(), Halt> {
    let some = !source.attributes.tags.is_empty() || seen.tag_count.is_some_and(|count| count > 0);
    if some && sameness(source, seen) != Sameness::Different {
        seen.attributes.tags = tags(job, notes, source).await?;
    }
    Ok(())
}

/// What is at the target now, but for tags.
///
/// # Cancel safety
/// Holds nothing.
pub(crate) async fn see_head(job: &Job, notes: &Notes) -> Result<Option<ObjectHead>, Halt> {
    let operation = HeadObject::current(job.target.bucket.clone(), job.target.key.clone());
    let mut attempts = job.part();
    let answer = job.target.client.call(&operation, &mut attempts).await;
    notes.count(&attempts);
    match answer {
        Ok(head) => Ok(Some(head)),
        // If it is the bucket that is missing, the write says so.
        Err(error) if error.class() == Class::Missing => Ok(None),
        Err(error) => Err(fault_at(End::Target, &error).into()),
    }
}

/// Whether nothing is at the target now, said so that it can be believed: a HEAD's 404 may be a missing bucket.
///
/// # Cancel safety
/// Holds nothing.
pub(crate) async fn is_absent(job: &Job, notes: &Notes) -> Result<bool, Halt> {
    let operation = GetObject::whole(job.target.bucket.clone(), job.target.key.clone());
    let mut attempts = job.part();
    let answer = job.target.client.open(&operation, &mut attempts).await;
    notes.count(&attempts);
    match answer {
        // Its bytes are not wanted; dropping them closes the connection.
        Ok(_) => Ok(false),
        Err(Error::Refused { refusal, .. }) if refusal.says_gone() => Ok(true),
        Err(error) => Err(fault_at(End::Target, &error).into()),
    }
}

/// The target's tags; those of the source if the target does not show its own, which then cannot be compared.
async fn tags(
    job: &Job,
    notes: &Notes,
    source: &ObjectHead,
) -> Result<std::collections::BTreeMap<String, String>, Halt> {
    let operation = GetObjectTagging { bucket: job.target.bucket.clone(), key: job.target.key.clone(), version: None };
    let mut attempts = job.control();
    let answer = job.target.client.call(&operation, &mut attempts).await;
    notes.count(&attempts);
    match answer {
        Ok(tags) => Ok(tags),
        Err(error) => match error.class() {
            // A server without tags: `rclone serve s3` answers with the object's bytes.
            Class::Transient if error.makes_no_sense() => {
                notes.remark("the target's tags could not be compared: it does not know tags");
                Ok(source.attributes.tags.clone())
            }
            Class::Refused | Class::Missing | Class::Precondition => {
                notes.remark(format!("the target's tags could not be compared: {error}"));
                Ok(source.attributes.tags.clone())
            }
            Class::Throttled | Class::Transient | Class::Ambiguous => Err(fault_at(End::Target, &error).into()),
        },
    }
}

/// What the target has after a commit, or had before it.
#[derive(Debug, Clone)]
pub(crate) struct AtTarget {
    pub(crate) etag: ETag,
    pub(crate) proofs: Vec<Proof>,
}

impl AtTarget {
    /// What is there already, and what shows that it is the source's content.
    pub(crate) fn unchanged(seen: &ObjectHead, by: Sameness) -> Self {
        let proofs = match by {
            Sameness::ETag => vec![Proof::ETag],
            Sameness::Crc64Nvme => vec![Proof::Crc64Nvme],
            Sameness::Checksum | Sameness::Recorded | Sameness::Different => Vec::new(),
        };
        Self { etag: seen.etag.clone(), proofs }
    }
}

/// Learns from the ETag of an object that was just written whether those of the next ones are going to be opaque.
pub(crate) fn learn(job: &Job, etag: &ETag) {
    if matches!(etag.kind(), ETagKind::Opaque | ETagKind::OpaqueMultipart(_)) && !etag.as_str().is_empty() {
        job.target.client.expect_opaque_etags();
    }
}

/// Holds what the target says after a commit against what was sent, asking it again where the answer was not enough.
///
/// # Cancel safety
/// Holds nothing.
pub(crate) async fn prove(
    job: &Job,
    notes: &Notes,
    sent: &Expected,
    etag: ETag,
    crc: Option<Crc64>,
) -> Result<AtTarget, Halt> {
    learn(job, &etag);
    let answered = verify::target(sent, &etag, crc).map_err(|mismatch| integrity(&mismatch))?;
    if !answered.is_empty() && !etag.as_str().is_empty() {
        return Ok(AtTarget { etag, proofs: answered });
    }
    let Some(head) = see_head(job, notes).await? else {
        return Err(Halt::replaced("the target was removed as soon as it was written"));
    };
    if head.size != sent.size {
        return Err(Halt::replaced("the target was replaced as soon as it was written"));
    }
    let proofs = verify::target(sent, &head.etag, head.crc).map_err(|mismatch| integrity(&mismatch))?;
    if proofs.is_empty() {
        notes.remark("the target shows neither an ETag made of MD5 nor a CRC64NVME, so its content is not proven");
    }
    Ok(AtTarget { etag: head.etag, proofs })
}

/// Bytes that are not what they should be: begun anew, because reading or writing them once more can mend it.
pub(crate) fn integrity(mismatch: &Mismatch) -> Halt {
    let hint = match mismatch {
        Mismatch::Source { .. } => "Nothing was written at the target; read the source object another way and compare.",
        Mismatch::Target { .. } => "The target may hold wrong bytes; compare it with the source before using it.",
    };
    Halt::Again(Box::new(Fault::new("integrity", mismatch.to_string()).with_hint(hint)))
}

/// What a refused or unanswered commit turned out to be.
pub(crate) enum Settled {
    /// It was carried out after all.
    Ours(ObjectHead),
    /// The target has the source's content already, from somebody else.
    Unchanged(ObjectHead, Sameness),
    /// It may be tried again under the condition as it is now.
    Write,
}

/// A commit that was refused, or not answered to the end.
pub(crate) struct Attempted<'a> {
    /// The source's state that was to be written.
    pub(crate) source: &'a ObjectHead,
    /// What was sent.
    pub(crate) sent: &'a Expected,
    /// The attributes that were sent along.
    pub(crate) written: &'a Attributes,
    /// What it came to.
    pub(crate) error: Error,
    /// How it was tried.
    pub(crate) attempts: &'a Attempts,
}

/// The condition of a commit, as often as it is decided.
pub(crate) struct Condition {
    pub(crate) now: Precondition,
    decisions: u32,
}

/// What a write says of a condition that was decided.
pub(crate) fn asked(condition: &Precondition) -> Option<Precondition> {
    Some(condition.clone()).filter(|_| !mutation::is_on(Mutation::UnconditionalWrites))
}

impl Condition {
    pub(crate) fn new(now: Precondition) -> Self {
        Self { now, decisions: 0 }
    }

    /// What the commit asks for.
    pub(crate) fn asked(&self) -> Option<Precondition> {
        asked(&self.now)
    }

    /// Looks at the target after a commit that was refused, or not answered to the end, and decides.
    ///
    /// # Cancel safety
    /// Holds nothing.
    pub(crate) async fn settle(&mut self, job: &Job, notes: &Notes, attempted: Attempted<'_>) -> Result<Settled, Halt> {
        let Attempted { source, sent, written, error, attempts } = attempted;
        self.decisions += 1;
        let seen = see(job, notes, source).await?;
        if attempts.unanswered()
            && let Some(seen) = &seen
            && sent.is(seen)
            && headers_agree(written, &seen.attributes)
            && (sameness(source, seen) == Sameness::Different || written.tags == seen.attributes.tags)
        {
            return Ok(Settled::Ours(seen.clone()));
        }
        let may_decide = match error.class() {
            Class::Precondition | Class::Missing => self.decisions < DECISIONS,
            Class::Throttled | Class::Transient | Class::Ambiguous | Class::Refused => false,
        };
        if !may_decide {
            return Err(fault_at(End::Target, &error).into());
        }
        let next = match decide(source, seen.as_ref()) {
            Decision::Unchanged(by) => match seen {
                Some(seen) => return Ok(Settled::Unchanged(seen, by)),
                None => return Err(fault_at(End::Target, &error).into()),
            },
            Decision::Write(next) => next,
        };
        if next == self.now && error.code() == Some("PreconditionFailed") && matches!(next, Precondition::IfMatch(_)) {
            learn_spelling(job, &error)?;
        }
        // The one who changed the target may have copied what the source has become since.
        if pin::look(job, notes, source).await? != Now::Same {
            return Err(Halt::replaced("the source was replaced while the target was written by somebody else"));
        }
        self.now = next;
        Ok(Settled::Write)
    }
}

/// The very ETag that the target has was refused: this server compares it with our quotes.
pub(crate) fn learn_spelling(job: &Job, error: &Error) -> Result<(), Halt> {
    if job.target.client.spells_etags_bare() {
        return Err(fault_at(End::Target, error).into());
    }
    job.target.client.spell_etags_bare();
    Ok(())
}

/// Whether an object has the headers and metadata that were sent; tags are not in a HEAD, and are asked for apart where the
/// source's content is there.
pub(crate) fn headers_agree(written: &Attributes, seen: &Attributes) -> bool {
    let bare = |attributes: &Attributes| Attributes { tags: Default::default(), ..carried(attributes) };
    bare(written).agree(&bare(seen))
}

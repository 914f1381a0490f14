//! An object whose content is at the target already, and whose headers, metadata or tags are not: it is copied onto
//! itself, and no byte of it crosses.
//!
//! Only content that is proven equal, by ETag or checksum, is left where it is; what our own record says of it is not
//! enough. The copy is made under the condition that the target still is what was seen, on both of its sides. Its ETag
//! stays: one CopyObject makes the ETag of a single PUT, so an object of parts is copied part by part within its own
//! boundaries. With the ETag preserved on demand these are the source's, and an object that was once sent otherwise
//! gets the source's ETag by the same way. Tags have an operation of their own (PutObjectTagging) that takes no
//! condition, so they go with the copy too. Objects that go by PUT first, at most 64 KiB, are sent again: that costs
//! what the question does.
//!
//! A server that refuses such copies is sent the bytes.

use crate::engine::commit::{Committed, TargetState, asked, prove_target};
use crate::engine::context::{Applied, Context};
use crate::engine::decide::plan::{EtagMode, Layout, PART_MAX, SourceLayout};
use crate::engine::decide::sameness::{Sameness, sameness};
use crate::engine::decide::style::object_options;
use crate::engine::decide::verify::{self, Expected, Mismatch};
use crate::engine::decide::{Decision, compare};
use crate::engine::fault::Side;
use crate::engine::look::layout::{self, KnownObject, MiddleParts};
use crate::engine::look::source;
use crate::engine::look::target;
use crate::engine::report::Outcome;
use crate::engine::stop::{Stop, fault_at, integrity_stop};
use crate::engine::upload::Completion;
use crate::engine::upload::part_copies::{self, PartCopy, copy_parts};
use crate::s3::PartNumber;
use crate::s3::error::Class;
use crate::s3::http::operation::Precondition;
use crate::s3::integrity::crc64::Crc64;
use crate::s3::integrity::etag::{ETag, ETagKind};
use crate::s3::object::copy::{CopyObject, CopySource, Summed};
use crate::s3::object::head::ObjectHead;
use crate::s3::object::put::ObjectOptions;
use crate::wire::error::Error;

/// Parts of an opaque ETag's object above 5 GiB, where no boundary matters: few enough requests, each done in seconds.
const ANY_PART: u64 = 512 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    Whole,
    /// Within the boundaries of one of the two ends.
    PartsOf(Side),
    Parts(Layout),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recopy {
    shape: Shape,
    // That the copy will have, where the target's encryption leaves it a digest.
    etag: ETag,
    // Of the content, if a side has stored it.
    crc: Option<Crc64>,
    summed: Summed,
}

/// The decision, where the source's ETag is asked for: the same content under another digest is not what was asked for.
pub(crate) fn require_etag(
    decision: Decision,
    mode: EtagMode,
    source: &ObjectHead,
    seen: Option<&ObjectHead>,
) -> Decision {
    match (decision, mode, seen) {
        (Decision::Unchanged(Sameness::Crc64Nvme), EtagMode::Preserve, Some(seen))
            if is_digest(&source.etag) && is_digest(&seen.etag) =>
        {
            Decision::Write(Precondition::IfMatch(seen.etag.clone()))
        }
        (decision, EtagMode::Auto | EtagMode::Any | EtagMode::Preserve, _) => decision,
    }
}

/// Whether the object at the target can be made into what is wanted by a copy of itself, and how.
pub(crate) fn plan(source: &ObjectHead, seen: &ObjectHead, mode: EtagMode, kms_key: Option<&str>) -> Option<Recopy> {
    match sameness(source, seen) {
        Sameness::ETag | Sameness::Crc64Nvme => {}
        // Of another checksum than CRC64NVME a copy shows nothing that could be held against it.
        Sameness::Checksum | Sameness::Recorded | Sameness::Different => return None,
    }
    let crc = source.crc.or(seen.crc);
    let stays_plain = kms_key.is_none() && seen.encryption.keeps_md5();
    // Of an opaque copy only a checksum can be held against anything.
    if !stays_plain && crc.is_none() {
        return None;
    }
    let (end, etag) = match mode {
        EtagMode::Preserve if is_digest(&source.etag) => (Side::Source, source.etag.clone()),
        // The same parts make the same ETag, and the source is nearer.
        _ if source.etag.proves_same_content(&seen.etag) => (Side::Source, seen.etag.clone()),
        EtagMode::Preserve | EtagMode::Auto | EtagMode::Any => (Side::Target, seen.etag.clone()),
    };
    let shape = match etag.kind() {
        ETagKind::Multipart(..) if stays_plain => Shape::PartsOf(end),
        _ if source.size <= PART_MAX => Shape::Whole,
        ETagKind::ContentMd5(_) if stays_plain => return None,
        ETagKind::ContentMd5(_)
        | ETagKind::Multipart(..)
        | ETagKind::OpaqueMultipart(_)
        | ETagKind::Opaque
        | ETagKind::Unknown => {
            let part = source.size.div_ceil(u64::from(PartNumber::MAX)).max(ANY_PART);
            Shape::Parts(Layout::Even { part, size: source.size })
        }
    };
    // A checksum of another kind is the source's own, and stays where the ETag is the proof.
    let keeps_sum = stays_plain && seen.crc.is_none() && seen.stored.is_some();
    let summed = if keeps_sum { Summed::AsBefore } else { Summed::Crc64Nvme };
    Some(Recopy { shape, etag, crc, summed })
}

fn is_digest(etag: &ETag) -> bool {
    etag.proves_same_content(etag)
}

/// What is copied onto itself, and what it becomes.
struct SelfCopy<'a> {
    source: &'a ObjectHead,
    seen: &'a ObjectHead,
    from: CopySource,
    condition: Precondition,
    style: ObjectOptions,
}

impl Context<'_> {
    /// Copies the object at the target onto itself; `None` if its bytes have to be sent after all, which nothing stands
    /// in the way of.
    ///
    /// # Cancel safety
    /// An upload is left to [`Context::clean_up`]; whether the copy was carried out is unknown.
    pub(crate) async fn recopied(
        &self,
        source: &ObjectHead,
        seen: &ObjectHead,
        condition: &Precondition,
        recopy: &Recopy,
    ) -> Result<Option<Applied>, Stop> {
        let job = self.job;
        let keeps_etag = recopy.etag.proves_same_content(&source.etag);
        let onto = SelfCopy {
            source,
            seen,
            from: CopySource {
                bucket: job.session.target.bucket.clone(),
                key: job.target_key.clone(),
                version: None,
                if_match: seen.etag.clone(),
            },
            condition: condition.clone(),
            style: object_options(&job.session.options, source, keeps_etag, Some(seen)),
        };
        let parts = match &recopy.shape {
            Shape::Whole => None,
            Shape::Parts(layout) => Some(layout.clone()),
            Shape::PartsOf(end) => match self.boundaries(*end, &onto).await? {
                Some(layout) => Some(layout),
                None => return Ok(None),
            },
        };
        let committed = match parts {
            None => self.copy_onto(&onto, recopy).await?,
            Some(layout) => self.copy_parts_onto(&onto, recopy, &layout).await?,
        };
        if let Some(committed) = &committed {
            self.tag_apart(source, committed).await?;
        }
        Ok(committed.map(|committed| match committed {
            Committed::Written(at_target) => Applied {
                source: Box::new(source.clone()),
                outcome: Outcome::Copied,
                at_target,
                source_proofs: Vec::new(),
                bytes: 0,
                parts: 0,
                resumed_parts: 0,
            },
            Committed::Unchanged(at_target, by) => self.unchanged(source, at_target, by),
        }))
    }

    /// Where the parts of one end's object begin and end, if it says so and S3 takes such parts.
    async fn boundaries(&self, end: Side, onto: &SelfCopy<'_>) -> Result<Option<Layout>, Stop> {
        let (job, notes) = (self.job, &self.notes);
        let layout = match (end, job.session.options.etag) {
            (Side::Source, EtagMode::Preserve) => match source::layout(job, notes, onto.source).await? {
                SourceLayout::Parts(layout) => Some(layout),
                SourceLayout::Single | SourceLayout::Unknown => None,
            },
            (Side::Source | Side::Target, _) => {
                let head = if end == Side::Source { onto.source } else { onto.seen };
                layout::layout(job, notes, KnownObject { end, head }, MiddleParts::AssumeEven, PART_MAX).await?
            }
        };
        Ok(layout.filter(|layout| layout.makes(onto.source.size, &job.session.options.table)))
    }

    async fn copy_onto(&self, onto: &SelfCopy<'_>, recopy: &Recopy) -> Result<Option<Committed>, Stop> {
        let (job, notes) = (self.job, &self.notes);
        let operation = CopyObject {
            bucket: job.session.target.bucket.clone(),
            key: job.target_key.clone(),
            source: onto.from.clone(),
            precondition: asked(&onto.condition),
            summed: recopy.summed,
            style: onto.style.clone(),
        };
        let mut attempts = job.part();
        let answer = job.session.target.client.call(&operation, &mut attempts).await;
        notes.count(&attempts);
        let error = match answer {
            Ok(written) => {
                let size = onto.source.size;
                let at_target = match recopy.crc {
                    Some(crc) => {
                        let sent = Expected { size, etag: Some(recopy.etag.clone()), crc, stored: Vec::new() };
                        prove_target(job, notes, &sent, written.etag, written.crc).await?
                    }
                    // Neither side had a checksum to expect, so the ETag shows the content or nothing does.
                    None => {
                        let sent =
                            Expected { size, etag: Some(recopy.etag.clone()), crc: Crc64::EMPTY, stored: Vec::new() };
                        let proofs =
                            verify::target(&sent, &written.etag, None).map_err(|mismatch| integrity_stop(&mismatch))?;
                        if proofs.is_empty() {
                            notes.note("the target's ETag is no longer an MD5 (KMS), so its content is not proven");
                        }
                        TargetState { etag: written.etag, proofs }
                    }
                };
                return Ok(Some(Committed::Written(at_target)));
            }
            Err(error) => error,
        };
        if error.class() == Class::Refused && !attempts.unanswered() {
            return Ok(self.send_instead(&error));
        }
        let now = target::look(job, notes, onto.source).await?;
        let decision =
            require_etag(compare(onto.source, now.as_ref()), job.session.options.etag, onto.source, now.as_ref());
        if let (Decision::Unchanged(by), Some(now)) = (&decision, &now) {
            let at_target = TargetState::unchanged(now, *by);
            return Ok(Some(match attempts.unanswered() {
                true => Committed::Written(at_target),
                false => Committed::Unchanged(at_target, *by),
            }));
        }
        let as_it_was = now
            .as_ref()
            .is_some_and(|now| now.etag.is_same_state(&onto.seen.etag) && now.attributes.agree(&onto.seen.attributes));
        match error.class() {
            // A condition that holds was refused: this server reads it in another way.
            Class::Refused | Class::Precondition | Class::Missing if as_it_was => Ok(self.send_instead(&error)),
            Class::Precondition | Class::Missing | Class::Refused => {
                Err(Stop::replaced("the target object was changed by somebody else while its metadata was updated"))
            }
            Class::Throttled | Class::Transient | Class::Ambiguous => Err(fault_at(Side::Target, &error).into()),
        }
    }

    async fn copy_parts_onto(
        &self,
        onto: &SelfCopy<'_>,
        recopy: &Recopy,
        layout: &Layout,
    ) -> Result<Option<Committed>, Stop> {
        let (job, notes) = (self.job, &self.notes);
        let upload = self.uploads.begin_bare(job, notes, &onto.style).await?;
        let parts: Vec<PartCopy> =
            layout.parts().into_iter().map(|(number, range)| PartCopy { number, range }).collect();
        let copied = match copy_parts(job, notes, &upload, (&onto.from, onto.seen.size), &parts).await? {
            Ok(copied) => copied,
            Err(error) => {
                self.uploads.clean_up(job, notes).await;
                return match error.class() {
                    Class::Refused => Ok(self.send_instead(&error)),
                    Class::Transient if error.is_unreadable() => Ok(self.send_instead(&error)),
                    Class::Missing | Class::Precondition => Err(Stop::replaced(
                        "the target object was changed by somebody else while its metadata was updated",
                    )),
                    Class::Throttled | Class::Transient | Class::Ambiguous => {
                        Err(fault_at(Side::Target, &error).into())
                    }
                };
            }
        };
        let made = part_copies::etag(&copied);
        let is_wanted = made.as_ref().is_none_or(|made| !is_digest(&recopy.etag) || *made == recopy.etag);
        let named = part_copies::named(&copied).zip(part_copies::crc(&copied)).filter(|_| is_wanted);
        let Some((named, crc)) = named else {
            self.uploads.clean_up(job, notes).await;
            notes.note(
                "updating the metadata at the target did not give the expected object, so the bytes were sent again",
            );
            return Ok(None);
        };
        if let Some(known) = recopy.crc.filter(|known| *known != crc) {
            let (expected, found) = (known.header(), crc.header());
            return Err(integrity_stop(&Mismatch::Target { what: "checksum", expected, found }));
        }
        let etag = made.unwrap_or_else(|| recopy.etag.clone());
        let sent = Expected { size: onto.source.size, etag: Some(etag), crc, stored: Vec::new() };
        let condition = onto.condition.clone();
        let completion = Completion {
            source: onto.source,
            upload: &upload,
            parts: &named,
            sent: &sent,
            condition,
            style: &onto.style,
        };
        self.uploads.complete(job, notes, completion).await.map(Some)
    }

    fn send_instead(&self, error: &Error) -> Option<Committed> {
        self.notes.note(format!("the target refused to copy its own object, so the bytes were sent again: {error}"));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::decide::tests::head;
    use crate::s3::object::encryption::Encryption;

    const MD5: &str = "0cc175b9c0f1b6a831c399e269772661";
    const GIB: u64 = 1 << 30;

    fn object(size: u64, etag: &str, crc: Option<Crc64>) -> ObjectHead {
        head(size, etag, Encryption::None, crc)
    }

    fn shape(source: &ObjectHead, seen: &ObjectHead, mode: EtagMode) -> Option<Shape> {
        plan(source, seen, mode, None).map(|recopy| recopy.shape)
    }

    #[test]
    fn one_copy_makes_the_etag_of_a_single_put_and_parts_that_of_parts() {
        let (single, parts) = (object(GIB, MD5, None), object(GIB, &format!("{MD5}-2"), None));
        assert_eq!(shape(&single, &single, EtagMode::Auto), Some(Shape::Whole));
        assert_eq!(shape(&parts, &parts, EtagMode::Auto), Some(Shape::PartsOf(Side::Source)));
        let crc = Some(Crc64::of(b"x"));
        let (single, parts) = (object(GIB, MD5, crc), object(GIB, &format!("{MD5}-2"), crc));
        assert_eq!(shape(&single, &parts, EtagMode::Auto), Some(Shape::PartsOf(Side::Target)));
        assert_eq!(shape(&parts, &single, EtagMode::Auto), Some(Shape::Whole));
    }

    #[test]
    fn content_that_is_not_proven_equal_is_sent() {
        let (one, other) = (object(9, MD5, None), object(9, &MD5.replace('0', "1"), None));
        assert_eq!(shape(&one, &other, EtagMode::Auto), None);
        let mut recorded = other.clone();
        recorded.attributes.metadata.insert(crate::engine::decide::sameness::SOURCE_ETAG.into(), MD5.into());
        assert_eq!(sameness(&one, &recorded), Sameness::Recorded);
        assert_eq!(shape(&one, &recorded, EtagMode::Auto), None);
    }

    #[test]
    fn an_opaque_copy_needs_a_checksum_and_no_boundaries() {
        let crc = Some(Crc64::of(b"x"));
        let opaque = |size, crc| head(size, &format!("{MD5}-9"), Encryption::Kms(None), crc);
        assert_eq!(shape(&object(GIB, MD5, crc), &opaque(GIB, crc), EtagMode::Auto), Some(Shape::Whole));
        let large = shape(&object(6 * GIB, MD5, crc), &opaque(6 * GIB, crc), EtagMode::Auto);
        assert_eq!(large, Some(Shape::Parts(Layout::Even { part: ANY_PART, size: 6 * GIB })));
        let plain = object(GIB, MD5, None);
        assert!(plan(&plain, &plain, EtagMode::Auto, None).is_some());
        assert_eq!(plan(&plain, &plain, EtagMode::Auto, Some("key")), None);
    }

    #[test]
    fn preserving_takes_the_sources_boundaries_and_insists_on_its_etag() {
        let crc = Some(Crc64::of(b"x"));
        let (single, parts) = (object(GIB, MD5, crc), object(GIB, &format!("{MD5}-2"), crc));
        assert_eq!(shape(&single, &parts, EtagMode::Preserve), Some(Shape::Whole));
        assert_eq!(shape(&parts, &single, EtagMode::Preserve), Some(Shape::PartsOf(Side::Source)));
        let decision = || compare(&single, Some(&parts));
        assert_eq!(decision(), Decision::Unchanged(Sameness::Crc64Nvme));
        assert_eq!(require_etag(decision(), EtagMode::Auto, &single, Some(&parts)), decision());
        let insisted = require_etag(decision(), EtagMode::Preserve, &single, Some(&parts));
        assert_eq!(insisted, Decision::Write(Precondition::IfMatch(parts.etag.clone())));
        let opaque = head(GIB, MD5, Encryption::Kms(None), crc);
        let unchanged = Decision::Unchanged(Sameness::Crc64Nvme);
        assert_eq!(require_etag(unchanged.clone(), EtagMode::Preserve, &opaque, Some(&parts)), unchanged);
    }
}

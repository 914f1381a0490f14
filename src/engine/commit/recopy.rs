//! An object whose content is at the target already, and whose headers, metadata or tags are not: it is copied onto
//! itself, and no byte of it crosses.
//!
//! The copy is made under the condition that the target still is what was seen, on both of its sides. Tags have an
//! operation of their own (PutObjectTagging) that takes no condition, so they go with the copy too. Objects that go by
//! PUT first, at most 64 KiB, are sent again: that costs what the question does.
//!
//! A server that refuses such copies is sent the bytes.

use crate::engine::commit::{Committed, TargetState, asked, prove_target};
use crate::engine::context::{Applied, Context};
use crate::engine::decide::plan::{EtagMode, Layout, PART_MAX, SourceLayout};
use crate::engine::decide::recopy::{Recopy, Shape, is_digest};
use crate::engine::decide::style::object_options;
use crate::engine::decide::verify::{self, Expected, Mismatch};
use crate::engine::decide::{Action, action};
use crate::engine::fault::Side;
use crate::engine::look::layout::{self, KnownObject, MiddleParts};
use crate::engine::look::source;
use crate::engine::look::target;
use crate::engine::report::Outcome;
use crate::engine::stop::{Stop, fault_at, integrity_stop};
use crate::engine::upload::Completion;
use crate::engine::upload::part_copies::{self, PartCopy, copy_parts};
use crate::s3::error::Class;
use crate::s3::http::operation::Precondition;
use crate::s3::integrity::crc64::Crc64;
use crate::s3::object::copy::{CopyObject, CopySource};
use crate::s3::object::head::ObjectHead;
use crate::s3::object::put::ObjectOptions;
use crate::wire::error::Error;

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
        if let (Action::Keep(by), Some(now)) = (action(onto.source, now.as_ref(), &job.session.options), &now) {
            let at_target = TargetState::unchanged(now, by);
            return Ok(Some(match attempts.unanswered() {
                true => Committed::Written(at_target),
                false => Committed::Unchanged(at_target, by),
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

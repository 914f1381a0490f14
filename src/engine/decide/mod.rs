//! Whether the target already has what the source has, and under which condition it may be written: pure.

pub(crate) mod checksum;
pub mod plan;
pub mod reserved;
pub(crate) mod sameness;
pub mod staging;
pub mod ticket;
pub(crate) mod verify;

use crate::engine::decide::sameness::{Sameness, carried, sameness};
use crate::s3::http::operation::Precondition;
use crate::s3::integrity::etag::ETag;
use crate::s3::object::head::ObjectHead;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing: content and attributes agree.
    Unchanged(Sameness),
    /// Write, if the target is still as it was seen.
    Write(Precondition),
}

/// Decides what to do, given what is at the target now; `None` if nothing is.
pub(crate) fn decide(source: &ObjectHead, target: Option<&ObjectHead>) -> Decision {
    let Some(target) = target else { return Decision::Write(Precondition::IfAbsent) };
    match sameness(source, target) {
        Sameness::Different => {}
        same if carried(&source.attributes).agree(&carried(&target.attributes)) => return Decision::Unchanged(same),
        Sameness::ETag | Sameness::Crc64Nvme | Sameness::Checksum | Sameness::Recorded => {}
    }
    Decision::Write(Precondition::IfMatch(target.etag.clone()))
}

/// What to do about an attempt to remove, given how it ended and what is at the target now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Removal {
    /// It was carried out, or may have been and nothing is there.
    Done,
    /// Nothing is there, and it was not we who removed it.
    Nothing,
    /// Remove what has this ETag, if it still has and the source is still gone.
    Remove(ETag),
}

/// How an earlier attempt to remove ended, if there was one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PriorDelete {
    /// None was made, or it was certainly not carried out.
    No,
    /// It was not answered to the end.
    Unanswered,
}

/// Decides what is left to remove. What is at the key goes, whoever wrote it: that the target equals the source is the
/// promise, and the ETag seen keeps it from taking what nobody has looked at.
pub(crate) fn removal(tried: PriorDelete, seen: Option<&ObjectHead>) -> Removal {
    match (tried, seen) {
        (_, Some(seen)) => Removal::Remove(seen.etag.clone()),
        (PriorDelete::Unanswered, None) => Removal::Done,
        (PriorDelete::No, None) => Removal::Nothing,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::s3::integrity::crc64::Crc64;
    use crate::s3::object::attributes::Attributes;
    use crate::s3::object::encryption::Encryption;

    pub(crate) fn head(size: u64, etag: &str, encryption: Encryption, crc: Option<Crc64>) -> ObjectHead {
        ObjectHead {
            size,
            etag: ETag::new(etag, &encryption),
            version: None,
            last_modified: None,
            crc,
            stored: None,
            encryption,
            storage_class: None,
            parts_count: None,
            tag_count: None,
            range: None,
            length: size,
            attributes: Attributes::default(),
            unread: Vec::new(),
        }
    }

    const A: &str = "0cc175b9c0f1b6a831c399e269772661";

    #[test]
    fn a_changed_attribute_is_written_anew() {
        let source = head(1, A, Encryption::None, None);
        let mut target = source.clone();
        assert_eq!(decide(&source, Some(&target)), Decision::Unchanged(Sameness::ETag));
        target.attributes.tags.insert("k".into(), "v".into());
        let written = Decision::Write(Precondition::IfMatch(target.etag.clone()));
        assert_eq!(decide(&source, Some(&target)), written);
        assert_eq!(decide(&source, None), Decision::Write(Precondition::IfAbsent));
    }

    #[test]
    fn what_is_seen_is_removed_and_an_unanswered_removal_of_what_is_gone_was_ours() {
        let seen = head(1, A, Encryption::None, None);
        for tried in [PriorDelete::No, PriorDelete::Unanswered] {
            assert_eq!(removal(tried, Some(&seen)), Removal::Remove(seen.etag.clone()));
        }
        assert_eq!(removal(PriorDelete::No, None), Removal::Nothing);
        assert_eq!(removal(PriorDelete::Unanswered, None), Removal::Done);
    }
}

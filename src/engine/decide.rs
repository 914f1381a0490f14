//! Whether the target already has what the source has, and under which condition it may be written: pure.

use crate::engine::given;
use crate::s3::attributes::Attributes;
use crate::s3::checksum::Crc64;
use crate::s3::etag::ETag;
use crate::s3::object::ObjectHead;
use crate::s3::operation::Precondition;

/// User metadata by which an object of ours names the source that it was made of, where neither ETag nor checksum could
/// show it. It saves work and proves nothing.
pub const SOURCE_ETAG: &str = "xpsync-source-etag";
/// The source's version beside [`SOURCE_ETAG`].
pub const SOURCE_VERSION: &str = "xpsync-source-version";
/// The CRC64NVME of what was sent, beside [`SOURCE_ETAG`]: a target that stores another was changed since.
pub const SOURCE_CRC: &str = "xpsync-source-crc64nvme";

/// "Working with object metadata": S3 takes 2 KB of user metadata.
const METADATA_LIMIT: usize = 2 << 10;

/// By what two objects were found to have the same content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sameness {
    /// Equal size and equal ETags made of digests.
    ETag,
    /// Equal size and equal full-object CRC64NVME.
    Crc64Nvme,
    /// Equal size and equal full-object checksums of another kind that is as good.
    Checksum,
    /// The target's metadata names the source.
    Recorded,
    /// Nothing shows it.
    Different,
}

/// What to do at the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: content and attributes agree.
    Unchanged(Sameness),
    /// Write, if the target is still as it was seen.
    Write(Precondition),
}

/// Compares content, in the order of the rules.
pub fn sameness(source: &ObjectHead, target: &ObjectHead) -> Sameness {
    if source.size != target.size {
        return Sameness::Different;
    }
    if source.etag.proves_same_content(&target.etag) {
        return Sameness::ETag;
    }
    match (source.crc, target.crc) {
        (Some(ours), Some(theirs)) if ours == theirs => return Sameness::Crc64Nvme,
        // Two full-object checksums that differ are two contents, whatever the metadata remembers.
        (Some(_), Some(_)) => return Sameness::Different,
        (None, _) | (_, None) => {}
    }
    if let Some(shown) = given::sameness(source, target) {
        return shown;
    }
    if is_recorded(source, target) { Sameness::Recorded } else { Sameness::Different }
}

fn is_recorded(source: &ObjectHead, target: &ObjectHead) -> bool {
    let recorded = |name: &str| target.attributes.metadata.get(name).map(String::as_str);
    let version = source.version.as_ref().map(|version| version.as_str());
    let crc_holds = match (recorded(SOURCE_CRC), target.crc) {
        (Some(recorded), Some(stored)) => Crc64::parse(recorded) == Some(stored),
        (Some(_), None) | (None, _) => true,
    };
    recorded(SOURCE_ETAG) == Some(source.etag.as_str()) && recorded(SOURCE_VERSION) == version && crc_holds
}

/// Decides what to do, given what is at the target now; `None` if nothing is.
pub fn decide(source: &ObjectHead, target: Option<&ObjectHead>) -> Decision {
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
pub enum Removal {
    /// It was carried out, or may have been and nothing is there.
    Done,
    /// Nothing is there, and it was not we who removed it.
    Nothing,
    /// Remove what has this ETag, if it still has and the source is still gone.
    Remove(ETag),
}

/// How an earlier attempt to remove ended, if there was one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tried {
    /// None was made, or it was certainly not carried out.
    No,
    /// It was not answered to the end.
    Unanswered,
}

/// Decides what is left to remove. What is at the key goes, whoever wrote it: that the target equals the source is the
/// promise, and the ETag seen keeps it from taking what nobody has looked at.
pub fn removal(tried: Tried, seen: Option<&ObjectHead>) -> Removal {
    match (tried, seen) {
        (_, Some(seen)) => Removal::Remove(seen.etag.clone()),
        (Tried::Unanswered, None) => Removal::Done,
        (Tried::No, None) => Removal::Nothing,
    }
}

/// The attributes without our own record: what is carried, and what is compared.
pub fn carried(attributes: &Attributes) -> Attributes {
    let mut carried = attributes.clone();
    for name in [SOURCE_ETAG, SOURCE_VERSION, SOURCE_CRC] {
        carried.metadata.remove(name);
    }
    carried
}

/// The attributes to write where a second look could not show sameness otherwise: with a record of the source, unless it
/// would pass S3's limit.
pub fn with_record(source: &ObjectHead, crc: Option<Crc64>) -> Attributes {
    let plain = carried(&source.attributes);
    let mut recorded = plain.clone();
    recorded.metadata.insert(SOURCE_ETAG.to_owned(), source.etag.as_str().to_owned());
    if let Some(version) = &source.version {
        recorded.metadata.insert(SOURCE_VERSION.to_owned(), version.as_str().to_owned());
    }
    if let Some(crc) = crc {
        recorded.metadata.insert(SOURCE_CRC.to_owned(), crc.header());
    }
    if recorded.metadata_bytes() <= METADATA_LIMIT { recorded } else { plain }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::s3::VersionId;
    use crate::s3::encryption::Encryption;

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
    const B: &str = "92eb5ffee6ae2fec3ad71c777531578f";

    #[test]
    fn content_is_compared_in_the_order_of_the_rules() {
        let plain = Encryption::Aes256;
        let kms = Encryption::Kms(None);
        let (one, two) = (Some(Crc64::of(b"1")), Some(Crc64::of(b"2")));
        let check = |source: ObjectHead, target: ObjectHead, expected| assert_eq!(sameness(&source, &target), expected);
        check(head(1, A, plain.clone(), None), head(1, A, plain.clone(), None), Sameness::ETag);
        check(head(1, A, plain.clone(), one), head(1, A, plain.clone(), two), Sameness::ETag);
        check(head(1, A, plain.clone(), None), head(2, A, plain.clone(), None), Sameness::Different);
        check(head(1, A, kms.clone(), None), head(1, A, kms.clone(), None), Sameness::Different);
        check(head(1, A, kms.clone(), one), head(1, B, plain.clone(), one), Sameness::Crc64Nvme);
        check(head(1, A, plain.clone(), one), head(1, B, plain.clone(), two), Sameness::Different);
        check(head(1, A, plain.clone(), one), head(1, B, plain, None), Sameness::Different);
    }

    #[test]
    fn a_record_of_the_source_counts_until_the_content_contradicts() {
        let kms = Encryption::Kms(None);
        let mut source = head(1, A, kms.clone(), None);
        source.version = VersionId::new("v1").ok();
        let crc = Crc64::of(b"1");
        let mut target = head(1, B, kms, Some(crc));
        target.attributes = with_record(&source, Some(crc));
        assert_eq!(sameness(&source, &target), Sameness::Recorded);
        assert_eq!(decide(&source, Some(&target)), Decision::Unchanged(Sameness::Recorded));
        target.crc = Some(Crc64::of(b"2"));
        assert_eq!(sameness(&source, &target), Sameness::Different);
        target.crc = Some(crc);
        source.version = VersionId::new("v2").ok();
        assert_eq!(sameness(&source, &target), Sameness::Different);
    }

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
        for tried in [Tried::No, Tried::Unanswered] {
            assert_eq!(removal(tried, Some(&seen)), Removal::Remove(seen.etag.clone()));
        }
        assert_eq!(removal(Tried::No, None), Removal::Nothing);
        assert_eq!(removal(Tried::Unanswered, None), Removal::Done);
    }

    #[test]
    fn a_record_that_would_pass_the_limit_is_left_out() {
        let mut source = head(1, A, Encryption::Kms(None), None);
        source.attributes.metadata.insert("big".into(), "x".repeat(2000));
        assert_eq!(with_record(&source, None), source.attributes);
        source.attributes.metadata.insert(SOURCE_ETAG.into(), "of an earlier hop".into());
        assert!(!with_record(&source, None).metadata.contains_key(SOURCE_ETAG));
    }
}

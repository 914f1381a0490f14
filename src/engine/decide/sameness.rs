//! When two objects have the same content, and what an object records of its source: pure.

use crate::s3::integrity::crc64::Crc64;
use crate::s3::object::attributes::Attributes;
use crate::s3::object::head::ObjectHead;

/// User metadata by which an object of ours names the source that it was made of, where neither ETag nor checksum could
/// show it. It saves work and proves nothing.
pub(crate) const SOURCE_ETAG: &str = "xpsync-source-etag";

/// The source's version beside [`SOURCE_ETAG`].
pub(crate) const SOURCE_VERSION: &str = "xpsync-source-version";

/// The CRC64NVME of what was sent, beside [`SOURCE_ETAG`]: a target that stores another was changed since.
pub(crate) const SOURCE_CRC: &str = "xpsync-source-crc64nvme";

/// "Working with object metadata": S3 takes 2 KB of user metadata.
pub(crate) const METADATA_LIMIT: usize = 2 << 10;

/// By what two objects were found to have the same content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sameness {
    /// Equal size and equal ETags made of digests.
    ETag,
    /// Equal size and equal full-object CRC64NVME.
    Crc64Nvme,
    /// Equal size and equal full-object checksums of another kind that is as good.
    Checksum,
    Recorded,
    /// Nothing shows it.
    Different,
}

/// Compares content, in the order of the rules.
pub(crate) fn sameness(source: &ObjectHead, target: &ObjectHead) -> Sameness {
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
    if let Some(shown) = by_stored_checksum(source, target) {
        return shown;
    }
    if is_recorded(source, target) { Sameness::Recorded } else { Sameness::Different }
}

/// By what a stored checksum of the same kind at both sides shows the same content.
fn by_stored_checksum(source: &ObjectHead, target: &ObjectHead) -> Option<Sameness> {
    let (ours, theirs) = source.stored.zip(target.stored)?;
    let is_comparable = ours.parts.is_none()
        && theirs.parts.is_none()
        && ours.sum.algorithm() == theirs.sum.algorithm()
        && ours.sum.algorithm().tells_content();
    is_comparable.then(|| if ours == theirs { Sameness::Checksum } else { Sameness::Different })
}

pub(crate) fn is_recorded(source: &ObjectHead, target: &ObjectHead) -> bool {
    let recorded = |name: &str| target.attributes.metadata.get(name).map(String::as_str);
    let version = source.version.as_ref().map(|version| version.as_str());
    let crc_holds = match (recorded(SOURCE_CRC), target.crc) {
        (Some(recorded), Some(stored)) => Crc64::parse(recorded) == Some(stored),
        (Some(_), None) | (None, _) => true,
    };
    recorded(SOURCE_ETAG) == Some(source.etag.as_str()) && recorded(SOURCE_VERSION) == version && crc_holds
}

/// The attributes without our own record: what is carried, and what is compared.
pub(crate) fn carried(attributes: &Attributes) -> Attributes {
    let mut carried = attributes.clone();
    for name in [SOURCE_ETAG, SOURCE_VERSION, SOURCE_CRC] {
        carried.metadata.remove(name);
    }
    carried
}

/// The attributes to write where a second look could not show sameness otherwise: with a record of the source, unless
/// it would pass S3's limit.
pub(crate) fn with_record(source: &ObjectHead, crc: Option<Crc64>) -> Attributes {
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

/// Whether an object has the headers and metadata that were sent; tags are not in a HEAD, and are asked for apart where
/// the source's content is there.
pub(crate) fn headers_agree(written: &Attributes, seen: &Attributes) -> bool {
    let bare = |attributes: &Attributes| Attributes { tags: Default::default(), ..carried(attributes) };
    bare(written).agree(&bare(seen))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::decide::tests::head;
    use crate::engine::decide::{Decision, compare};
    use crate::s3::VersionId;
    use crate::s3::integrity::sums::{Algorithm, Stored, Sum};
    use crate::s3::object::encryption::Encryption;

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
        assert_eq!(compare(&source, Some(&target)), Decision::Unchanged(Sameness::Recorded));
        target.crc = Some(Crc64::of(b"2"));
        assert_eq!(sameness(&source, &target), Sameness::Different);
        target.crc = Some(crc);
        source.version = VersionId::new("v2").ok();
        assert_eq!(sameness(&source, &target), Sameness::Different);
    }

    #[test]
    fn a_record_that_would_pass_the_limit_is_left_out() {
        let mut source = head(1, A, Encryption::Kms(None), None);
        source.attributes.metadata.insert("big".into(), "x".repeat(2000));
        assert_eq!(with_record(&source, None), source.attributes);
        source.attributes.metadata.insert(SOURCE_ETAG.into(), "of an earlier hop".into());
        assert!(!with_record(&source, None).metadata.contains_key(SOURCE_ETAG));
    }

    #[test]
    fn two_checksums_of_one_kind_decide_if_they_are_long_enough() {
        let with = |stored| ObjectHead { stored: Some(stored), ..head(1, "opaque", Encryption::Kms(None), None) };
        let check = |ours, theirs, expected| assert_eq!(by_stored_checksum(&with(ours), &with(theirs)), expected);
        let of = |algorithm, bytes| Stored::full(Sum::of(algorithm, bytes));
        let (sha, crc) = (Algorithm::Sha256, Algorithm::Crc32);
        check(of(sha, b"a"), of(sha, b"a"), Some(Sameness::Checksum));
        check(of(sha, b"a"), of(sha, b"b"), Some(Sameness::Different));
        check(of(crc, b"a"), of(crc, b"a"), None);
        check(of(sha, b"a"), of(Algorithm::Sha1, b"a"), None);
        let composite = Stored { parts: Some(1), ..of(sha, b"a") };
        check(composite, composite, None);
    }
}

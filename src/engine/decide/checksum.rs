//! Which checksum the target is given: our CRC64NVME, or the source's own kind where no proof is lost by it: pure.
//!
//! An object has one checksum ("Checking object integrity"), and a write names one. The target's content is proven by
//! its ETag or by the CRC64NVME that S3 computed. So the source's own kind is given where the ETag is going to be the
//! proof: in one PUT to where ETags are MD5s. What goes in parts keeps the CRC64NVME, by which its parts can be told
//! again and the whole is checked when it is put together.

use crate::engine::decide::plan::Cut;
use crate::s3::integrity::checksum::Digests;
use crate::s3::integrity::etag::{ETag, ETagKind};
use crate::s3::integrity::sums::{Checksum, Sum};
use crate::s3::object::head::ObjectHead;

/// What is known of the ETags at the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TargetETags {
    /// Nothing says that they are opaque; if they are, the answer shows it, and the object is written once more.
    Digests,
    Opaque,
}

/// What a single PUT names. The digests are held against the source already.
pub(crate) fn for_put(source: &ObjectHead, made: &Digests, etags: TargetETags) -> Checksum {
    let own = source.stored.filter(|stored| stored.parts.is_none() && source.crc.is_none()).map(|stored| stored.sum);
    match etags {
        TargetETags::Digests if own.is_some() && own == made.sum => {
            own.map_or(Checksum::Crc64Nvme(made.crc), Checksum::Other)
        }
        TargetETags::Digests | TargetETags::Opaque => Checksum::Crc64Nvme(made.crc),
    }
}

/// The checksum of the source's that the target was not given, as reports name it, and why.
pub(crate) fn not_carried(
    source: &ObjectHead,
    plan: &Cut,
    chosen: Option<Checksum>,
) -> Option<(&'static str, &'static str)> {
    let stored = source.stored.filter(|_| source.crc.is_none())?;
    let reason = match (plan, chosen) {
        (_, Some(Checksum::Other(_))) => return None,
        (Cut::Parts(_), _) => "S3 stores one checksum per object; a multipart upload stores CRC64NVME",
        (Cut::Put { .. }, _) if stored.parts.is_some() => {
            "the source's checksum is of its parts, and the target's object was sent in one PUT"
        }
        (Cut::Put { .. }, _) => {
            "S3 stores one checksum per object; under KMS the ETag proves nothing, so CRC64NVME is stored"
        }
    };
    Some((name(&stored.sum), reason))
}

/// Whether a second look will find by the checksum alone that the target has the source's content.
pub(crate) fn tells_content(chosen: Checksum) -> bool {
    match chosen {
        Checksum::Crc64Nvme(_) => false,
        Checksum::Other(sum) => sum.algorithm().tells_content(),
    }
}

/// Whether a written object's checksum took the place of the only one that could prove it.
pub(crate) fn hides_proof(chosen: Checksum, etag: &ETag) -> bool {
    // Where no ETag was answered, the target is asked for it, and what it shows is reported.
    let is_proof = matches!(etag.kind(), ETagKind::ContentMd5(_)) || etag.as_str().is_empty();
    matches!(chosen, Checksum::Other(_)) && !is_proof
}

fn name(sum: &Sum) -> &'static str {
    let header = sum.algorithm().header();
    header.strip_prefix("x-amz-").unwrap_or(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::decide::plan::Layout;
    use crate::engine::decide::tests::head;
    use crate::s3::integrity::checksum::{Kinds, Running};
    use crate::s3::integrity::crc64::Crc64;
    use crate::s3::integrity::sums::{Algorithm, Stored};
    use crate::s3::object::encryption::Encryption;

    fn digests(algorithm: Algorithm) -> Digests {
        let mut running = Running::of(Kinds { sum: Some(algorithm), ..Kinds::default() });
        running.update(b"a");
        running.finish()
    }

    fn source(stored: Stored) -> ObjectHead {
        ObjectHead { stored: Some(stored), ..head(1, "opaque", Encryption::Kms(None), None) }
    }

    const PUT: Cut = Cut::Put { size: 1 };

    #[test]
    fn the_sources_kind_is_given_where_the_etag_is_the_proof() {
        for algorithm in Algorithm::ALL {
            let (made, sum) = (digests(algorithm), Sum::of(algorithm, b"a"));
            let source = source(Stored::full(sum));
            assert_eq!(for_put(&source, &made, TargetETags::Digests), Checksum::Other(sum));
            assert_eq!(not_carried(&source, &PUT, Some(Checksum::Other(sum))), None);
            assert_eq!(for_put(&source, &made, TargetETags::Opaque), Checksum::Crc64Nvme(made.crc));
            let stores_both = ObjectHead { crc: Some(made.crc), ..source };
            assert_eq!(for_put(&stores_both, &made, TargetETags::Digests), Checksum::Crc64Nvme(made.crc));
        }
    }

    #[test]
    fn a_checksum_beside_an_opaque_etag_hides_the_proof() {
        let own = Checksum::Other(Sum::Crc32(1));
        let opaque = ETag::new("0cc175b9c0f1b6a831c399e269772661", &Encryption::Dsse(None));
        assert!(hides_proof(own, &opaque));
        assert!(!hides_proof(own, &ETag::of_content([1; 16])));
        assert!(!hides_proof(own, &ETag::new("", &Encryption::None)));
        assert!(!hides_proof(Checksum::Crc64Nvme(Crc64::EMPTY), &opaque));
    }

    #[test]
    fn what_was_not_computed_or_is_another_value_is_not_given() {
        let other = source(Stored::full(Sum::of(Algorithm::Sha256, b"b")));
        for made in [Digests::of(b"a"), digests(Algorithm::Sha256), digests(Algorithm::Crc32)] {
            assert_eq!(for_put(&other, &made, TargetETags::Digests), Checksum::Crc64Nvme(made.crc));
        }
    }

    #[test]
    fn what_is_left_behind_has_its_name_and_its_reason() {
        let ours = Some(Checksum::Crc64Nvme(Crc64::EMPTY));
        let (full, composite) = (Stored::full(Sum::Crc32C(1)), Stored { sum: Sum::Sha1([0; 20]), parts: Some(2) });
        let parts = Cut::Parts(Layout::Even { part: 1, size: 1 });
        let check = |stored, plan, name, why| {
            let (attribute, reason) = not_carried(&source(stored), plan, ours).unwrap();
            assert_eq!(attribute, name);
            assert!(reason.contains(why), "{reason}");
        };
        check(full, &PUT, "checksum-crc32c", "under KMS the ETag proves nothing");
        check(full, &parts, "checksum-crc32c", "a multipart upload stores CRC64NVME");
        check(composite, &PUT, "checksum-sha1", "of its parts");
        check(composite, &parts, "checksum-sha1", "a multipart upload stores CRC64NVME");
        assert_eq!(not_carried(&head(1, "a", Encryption::None, Some(Crc64::EMPTY)), &PUT, ours), None);
    }
}

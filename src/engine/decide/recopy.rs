//! Whether an object at the target can be made into what is wanted by a copy of itself, and how: pure.
//!
//! Only content that is proven equal, by ETag or checksum, is left where it is; what our own record says of it is not
//! enough. One CopyObject makes the ETag of a single PUT, so an object of parts is copied part by part within its own
//! boundaries. With the ETag preserved on demand these are the source's, and an object that was once sent otherwise
//! gets the source's ETag by the same way.

use crate::engine::decide::plan::{EtagMode, Layout, PART_MAX};
use crate::engine::decide::sameness::{Sameness, sameness};
use crate::engine::fault::Side;
use crate::s3::PartNumber;
use crate::s3::integrity::crc64::Crc64;
use crate::s3::integrity::etag::{ETag, ETagKind};
use crate::s3::object::copy::Summed;
use crate::s3::object::head::ObjectHead;

/// Parts of an opaque ETag's object above 5 GiB, where no boundary matters: few enough requests, each done in seconds.
const ANY_PART: u64 = 512 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    Whole,
    /// Within the boundaries of one of the two ends.
    PartsOf(Side),
    Parts(Layout),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recopy {
    pub(crate) shape: Shape,
    /// That the copy will have, where the target's encryption leaves it a digest.
    pub(crate) etag: ETag,
    /// Of the content, if a side has stored it.
    pub(crate) crc: Option<Crc64>,
    pub(crate) summed: Summed,
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

pub(crate) fn is_digest(etag: &ETag) -> bool {
    etag.proves_same_content(etag)
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
    fn preserving_takes_the_sources_boundaries() {
        let crc = Some(Crc64::of(b"x"));
        let (single, parts) = (object(GIB, MD5, crc), object(GIB, &format!("{MD5}-2"), crc));
        assert_eq!(shape(&single, &parts, EtagMode::Preserve), Some(Shape::Whole));
        assert_eq!(shape(&parts, &single, EtagMode::Preserve), Some(Shape::PartsOf(Side::Source)));
    }
}

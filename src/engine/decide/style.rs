//! What the new object is given besides its bytes: attributes, a record of the source, class and key: pure.

use crate::engine::decide::checksum::TargetETags;
use crate::engine::decide::sameness::{carried, with_record};
use crate::engine::session::options::Options;
use crate::s3::integrity::crc64::Crc64;
use crate::s3::object::attributes::Attributes;
use crate::s3::object::head::ObjectHead;
use crate::s3::object::put::ObjectOptions;

/// How much of a request's head attributes may take, in bytes as [`Attributes::header_bytes`] counts them: of S3's 8 KB
/// ("Working with object metadata"), 2 KB are left to signature, conditions, checksum and key names.
pub(crate) const ATTRIBUTES_LIMIT: usize = 6 << 10;

/// What the new object is given. The source is recorded where a second look could not show otherwise that the target
/// has its content: neither by an ETag that will be the same nor by a checksum that both sides store.
pub(crate) fn options_with(
    options: &Options,
    source: &ObjectHead,
    keeps_etag: bool,
    seen: Option<&ObjectHead>,
    etags: TargetETags,
    sent: Option<Crc64>,
) -> ObjectOptions {
    // A target that was seen without a checksum is not expected to show one of the next object.
    let shows_crc = source.crc.is_some() && seen.is_none_or(|seen| seen.crc.is_some());
    let shown = shows_crc || (keeps_etag && etags == TargetETags::Digests);
    let record = if shown { SourceRecord::Omit } else { SourceRecord::Include(sent) };
    let attributes = attributes(source, record);
    ObjectOptions { attributes, storage_class: options.storage_class.clone(), kms_key: options.kms_key.clone() }
}

pub(crate) enum SourceRecord {
    Omit,
    /// With the CRC64NVME of what is sent, if that is known by now.
    Include(Option<Crc64>),
}

/// The attributes that go with the request that makes the object.
pub(crate) fn attributes(source: &ObjectHead, record: SourceRecord) -> Attributes {
    let mut attributes = match record {
        SourceRecord::Omit => carried(&source.attributes),
        SourceRecord::Include(crc) => with_record(source, crc),
    };
    if tags_go_apart(source) {
        attributes.tags.clear();
    }
    attributes
}

/// Whether the tags are too many for the head of the request that writes the object: ten of 128 and 256 characters take
/// up to 34 KB there, as they are encoded.
pub(crate) fn tags_go_apart(source: &ObjectHead) -> bool {
    !source.attributes.tags.is_empty() && source.attributes.header_bytes() > ATTRIBUTES_LIMIT
}

/// What is to be expected of the new object's ETag, from what was asked for and what is there.
pub(crate) fn configured_etags(options: &Options, seen: Option<&ObjectHead>) -> TargetETags {
    let is_opaque = options.kms_key.is_some() || seen.is_some_and(|seen| !seen.encryption.keeps_md5());
    if is_opaque { TargetETags::Opaque } else { TargetETags::Digests }
}

/// What an object that goes in parts is given. A ticket of it holds only while the same is given again, so it follows
/// from both sides, and not from what this process has learned.
pub(crate) fn object_options(
    options: &Options,
    source: &ObjectHead,
    keeps_etag: bool,
    seen: Option<&ObjectHead>,
) -> ObjectOptions {
    options_with(options, source, keeps_etag, seen, configured_etags(options, seen), None)
}

/// What is to be expected of the new object's ETag, from what this process has learned as well.
pub(crate) fn expected_etags(options: &Options, seen: Option<&ObjectHead>, learned_opaque: bool) -> TargetETags {
    if seen.is_none() && learned_opaque { TargetETags::Opaque } else { configured_etags(options, seen) }
}

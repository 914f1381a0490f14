//! Operations on one object: GetObject, HeadObject, PutObject, DeleteObject, and its tags.

use super::attributes::Attributes;
use super::checksum::Crc64;
use super::encryption::Encryption;
use super::error::Unreadable;
use super::etag::ETag;
use super::operation::{Answer, Head, Headers, Operation, Pace, Precondition, Query, Repeat};
use super::{Bucket, ByteRange, ContentRange, Key, PartNumber, VersionId, xml};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const CRC64NVME: &str = "x-amz-checksum-crc64nvme";

/// What the headers of a GET or a HEAD say of an object.
#[derive(Debug, Clone)]
pub struct ObjectHead {
    /// Its size, whatever range was asked for.
    pub size: u64,
    /// Its ETag, whose kind is known.
    pub etag: ETag,
    /// Its version, in a versioned bucket.
    pub version: Option<VersionId>,
    /// `Last-Modified` as it was spelled.
    pub last_modified: Option<String>,
    /// The CRC64NVME of the whole object, if S3 stores one and was asked for it.
    pub crc: Option<Crc64>,
    /// How it is encrypted.
    pub encryption: Encryption,
    /// `x-amz-storage-class`; absent for STANDARD.
    pub storage_class: Option<String>,
    /// `x-amz-mp-parts-count`, in answers to a part number.
    pub parts_count: Option<u16>,
    /// How many tags it has, if the caller may know; absent if none.
    pub tag_count: Option<u64>,
    /// Which bytes follow, in answers to a range or a part number.
    pub range: Option<ByteRange>,
    /// How many bytes follow.
    pub length: u64,
    /// Headers and user metadata; tags are asked for apart.
    pub attributes: Attributes,
    /// What of these could not be read.
    pub unread: Vec<super::attributes::Unread>,
}

impl ObjectHead {
    fn read(head: &Head) -> Result<Self, Unreadable> {
        let encryption = Encryption::from_headers(&head.headers);
        let etag = head.text("etag").ok_or_else(|| Unreadable::header("etag"))?;
        let length = head.number("content-length").ok_or_else(|| Unreadable::header("content-length"))?;
        let content_range = match head.text("content-range") {
            Some(text) => Some(ContentRange::parse(text).map_err(|error| Unreadable::new(error.to_string()))?),
            None => None,
        };
        if content_range.is_some_and(|c| c.range.bytes() != length) {
            return Err(Unreadable::new("Content-Range and Content-Length disagree"));
        }
        let (attributes, unread) = Attributes::from_head(head);
        let parts_count = head.number("x-amz-mp-parts-count").and_then(|count| u16::try_from(count).ok());
        // "Checking object integrity": a range that is exactly a part comes with the part's checksum, not the object's.
        let is_whole = content_range.is_none_or(|c| c.range.bytes() == c.size);
        let full = head.text("x-amz-checksum-type").is_none_or(|kind| kind.eq_ignore_ascii_case("FULL_OBJECT"));
        Ok(Self {
            size: content_range.map_or(length, |c| c.size),
            etag: ETag::new(etag, &encryption),
            version: head.text("x-amz-version-id").filter(|id| *id != "null").and_then(|id| VersionId::new(id).ok()),
            last_modified: head.text("last-modified").map(str::to_owned),
            crc: if is_whole && full { head.text(CRC64NVME).and_then(Crc64::parse) } else { None },
            encryption,
            storage_class: head.text("x-amz-storage-class").map(str::to_owned),
            parts_count,
            tag_count: head.number("x-amz-tagging-count"),
            range: content_range.map(|c| c.range),
            length,
            attributes,
            unread,
        })
    }
}

/// Which object, in which state.
#[derive(Debug, Clone)]
pub struct GetObject {
    /// The bucket.
    pub bucket: Bucket,
    /// The key.
    pub key: Key,
    /// A version other than the current one.
    pub version: Option<VersionId>,
    /// Only these bytes.
    pub range: Option<ByteRange>,
    /// Only if the object still has this ETag.
    pub if_match: Option<ETag>,
}

impl GetObject {
    /// The name in the API reference.
    pub const NAME: &'static str = "GetObject";

    /// All of the current version, whatever it is.
    pub fn whole(bucket: Bucket, key: Key) -> Self {
        Self { bucket, key, version: None, range: None, if_match: None }
    }
}

impl Operation for GetObject {
    const NAME: &'static str = Self::NAME;
    const METHOD: Method = Method::GET;
    const ACCEPTS: &'static [StatusCode] = &[StatusCode::OK, StatusCode::PARTIAL_CONTENT];
    const REPEAT: Repeat = Repeat::Same;
    const ANSWER: Answer = Answer::Stream;
    const PACE: Pace = Pace::Prompt;
    type Reply = ObjectHead;

    fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    fn key(&self) -> Option<&Key> {
        Some(&self.key)
    }

    fn query(&self, query: &mut Query) {
        query.optional("versionId", self.version.as_ref().map(VersionId::as_str));
    }

    fn headers(&self, headers: &mut Headers) {
        headers.optional("range", self.range.map(ByteRange::header).as_deref());
        headers.optional("if-match", self.if_match.as_ref().map(ETag::quoted).as_deref());
        if self.range.is_none() {
            headers.set("x-amz-checksum-mode", "ENABLED");
        }
    }

    fn body(&self) -> Bytes {
        Bytes::new()
    }

    fn reply(&self, head: &Head, _: &[u8]) -> Result<ObjectHead, Unreadable> {
        let reply = ObjectHead::read(head)?;
        match (self.range, reply.range) {
            // "GetObject", Range: the bytes asked for that exist; ours never reach past the end of a pinned object.
            (Some(asked), Some(given)) if asked == given => Ok(reply),
            (Some(asked), Some(given)) => {
                Err(Unreadable::new(format!("asked for {}, got {}", asked.header(), given.header())))
            }
            // A server that ignores Range, or says 200 for it, may only be believed if it sent just what was asked for.
            (Some(asked), None) if reply.length == asked.bytes() => Ok(reply),
            (Some(asked), None) => {
                Err(Unreadable::new(format!("asked for {}, got {} bytes", asked.header(), reply.length)))
            }
            (None, Some(given)) => Err(Unreadable::new(format!("asked for everything, got {}", given.header()))),
            (None, None) => Ok(reply),
        }
    }
}

/// HeadObject.
#[derive(Debug, Clone)]
pub struct HeadObject {
    /// The bucket.
    pub bucket: Bucket,
    /// The key.
    pub key: Key,
    /// A version other than the current one.
    pub version: Option<VersionId>,
    /// Only if the object still has this ETag.
    pub if_match: Option<ETag>,
    /// The layout's part, whose length and whose siblings' number come back.
    pub part: Option<PartNumber>,
}

impl HeadObject {
    /// The current version.
    pub fn current(bucket: Bucket, key: Key) -> Self {
        Self { bucket, key, version: None, if_match: None, part: None }
    }
}

impl Operation for HeadObject {
    const NAME: &'static str = "HeadObject";
    const METHOD: Method = Method::HEAD;
    const ACCEPTS: &'static [StatusCode] = &[StatusCode::OK, StatusCode::PARTIAL_CONTENT];
    const REPEAT: Repeat = Repeat::Same;
    const ANSWER: Answer = Answer::Head;
    const PACE: Pace = Pace::Prompt;
    type Reply = ObjectHead;

    fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    fn key(&self) -> Option<&Key> {
        Some(&self.key)
    }

    fn query(&self, query: &mut Query) {
        query.optional("partNumber", self.part.map(|part| part.get().to_string()).as_deref());
        query.optional("versionId", self.version.as_ref().map(VersionId::as_str));
    }

    fn headers(&self, headers: &mut Headers) {
        headers.optional("if-match", self.if_match.as_ref().map(ETag::quoted).as_deref());
        headers.set("x-amz-checksum-mode", "ENABLED");
    }

    fn body(&self) -> Bytes {
        Bytes::new()
    }

    fn reply(&self, head: &Head, _: &[u8]) -> Result<ObjectHead, Unreadable> {
        ObjectHead::read(head)
    }
}

/// PutObject.
#[derive(Debug, Clone)]
pub struct PutObject {
    /// The bucket.
    pub bucket: Bucket,
    /// The key.
    pub key: Key,
    /// The bytes.
    pub bytes: Bytes,
    /// Their CRC64NVME; S3 refuses bytes that do not have it (BadDigest).
    pub crc: Option<Crc64>,
    /// What must hold at the target.
    pub precondition: Option<Precondition>,
    /// What the object is given.
    pub style: Style,
}

/// What a new object is given besides its bytes: by PutObject and by CreateMultipartUpload alike.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Style {
    /// Headers, metadata and tags.
    pub attributes: Attributes,
    /// `x-amz-storage-class`.
    pub storage_class: Option<String>,
    /// Encrypt with this KMS key rather than with the bucket's default.
    pub kms_key: Option<String>,
}

impl Style {
    /// Sets its headers.
    pub(super) fn set(&self, headers: &mut Headers) {
        self.attributes.set(headers);
        headers.optional("x-amz-storage-class", self.storage_class.as_deref());
        if let Some(key) = &self.kms_key {
            headers.set("x-amz-server-side-encryption", "aws:kms");
            headers.set("x-amz-server-side-encryption-aws-kms-key-id", key);
        }
    }
}

impl PutObject {
    /// Unconditional, without attributes and checksum.
    pub fn new(bucket: Bucket, key: Key, bytes: Bytes) -> Self {
        Self { bucket, key, bytes, crc: None, precondition: None, style: Style::default() }
    }
}

/// What a write says of the object it made.
#[derive(Debug, Clone)]
pub struct Written {
    /// The ETag, whose kind is known; empty where the server gave none.
    pub etag: ETag,
    /// The CRC64NVME that was stored, if one was sent along.
    pub crc: Option<Crc64>,
    /// The version that was made.
    pub version: Option<VersionId>,
}

impl Written {
    /// Reads the headers of a PUT's reply.
    pub(super) fn read(head: &Head) -> Self {
        Self {
            etag: ETag::new(head.text("etag").unwrap_or_default(), &Encryption::from_headers(&head.headers)),
            crc: head.text(CRC64NVME).and_then(Crc64::parse),
            version: head.text("x-amz-version-id").filter(|id| *id != "null").and_then(|id| VersionId::new(id).ok()),
        }
    }
}

impl Operation for PutObject {
    const NAME: &'static str = "PutObject";
    const METHOD: Method = Method::PUT;
    const ACCEPTS: &'static [StatusCode] = &[StatusCode::OK];
    const REPEAT: Repeat = Repeat::Traces;
    const ANSWER: Answer = Answer::Head;
    const PACE: Pace = Pace::Prompt;
    type Reply = Written;

    fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    fn key(&self) -> Option<&Key> {
        Some(&self.key)
    }

    fn query(&self, _: &mut Query) {}

    fn headers(&self, headers: &mut Headers) {
        headers.optional(CRC64NVME, self.crc.map(Crc64::header).as_deref());
        if let Some(precondition) = &self.precondition {
            precondition.set(headers);
        }
        self.style.set(headers);
    }

    fn body(&self) -> Bytes {
        self.bytes.clone()
    }

    fn reply(&self, head: &Head, _: &[u8]) -> Result<Written, Unreadable> {
        Ok(Written::read(head))
    }
}

/// DeleteObject.
#[derive(Debug, Clone)]
pub struct DeleteObject {
    /// The bucket.
    pub bucket: Bucket,
    /// The key.
    pub key: Key,
    /// This version for good, rather than a delete marker upon the current one.
    pub version: Option<VersionId>,
    /// Only if the object still has this ETag ("Conditional deletes").
    pub if_match: Option<ETag>,
}

impl Operation for DeleteObject {
    const NAME: &'static str = "DeleteObject";
    const METHOD: Method = Method::DELETE;
    const ACCEPTS: &'static [StatusCode] = &[StatusCode::NO_CONTENT, StatusCode::OK];
    const REPEAT: Repeat = Repeat::Traces;
    const ANSWER: Answer = Answer::Head;
    const PACE: Pace = Pace::Prompt;
    type Reply = ();

    fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    fn key(&self) -> Option<&Key> {
        Some(&self.key)
    }

    fn query(&self, query: &mut Query) {
        query.optional("versionId", self.version.as_ref().map(VersionId::as_str));
    }

    fn headers(&self, headers: &mut Headers) {
        headers.optional("if-match", self.if_match.as_ref().map(ETag::quoted).as_deref());
    }

    fn body(&self) -> Bytes {
        Bytes::new()
    }

    fn reply(&self, _: &Head, _: &[u8]) -> Result<(), Unreadable> {
        Ok(())
    }
}

/// The `Tagging` document.
#[derive(Debug, Serialize, Deserialize)]
struct Tagging {
    #[serde(rename = "TagSet")]
    set: TagSet,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct TagSet {
    #[serde(rename = "Tag", default)]
    tags: Vec<Tag>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    key: String,
    #[serde(default)]
    value: String,
}

/// GetObjectTagging.
#[derive(Debug, Clone)]
pub struct GetObjectTagging {
    /// The bucket.
    pub bucket: Bucket,
    /// The key.
    pub key: Key,
    /// A version other than the current one.
    pub version: Option<VersionId>,
}

impl Operation for GetObjectTagging {
    const NAME: &'static str = "GetObjectTagging";
    const METHOD: Method = Method::GET;
    const ACCEPTS: &'static [StatusCode] = &[StatusCode::OK];
    const REPEAT: Repeat = Repeat::Same;
    const ANSWER: Answer = Answer::Document;
    const PACE: Pace = Pace::Prompt;
    type Reply = BTreeMap<String, String>;

    fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    fn key(&self) -> Option<&Key> {
        Some(&self.key)
    }

    fn query(&self, query: &mut Query) {
        query.flag("tagging");
        query.optional("versionId", self.version.as_ref().map(VersionId::as_str));
    }

    fn headers(&self, _: &mut Headers) {}

    fn body(&self) -> Bytes {
        Bytes::new()
    }

    fn reply(&self, _: &Head, body: &[u8]) -> Result<Self::Reply, Unreadable> {
        let document: Tagging = xml::read(body, "Tagging")?;
        Ok(document.set.tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
    }
}

/// PutObjectTagging.
#[derive(Debug, Clone)]
pub struct PutObjectTagging {
    /// The bucket.
    pub bucket: Bucket,
    /// The key.
    pub key: Key,
    /// A version other than the current one.
    pub version: Option<VersionId>,
    /// All tags that the object then has.
    pub tags: BTreeMap<String, String>,
}

impl Operation for PutObjectTagging {
    const NAME: &'static str = "PutObjectTagging";
    const METHOD: Method = Method::PUT;
    const ACCEPTS: &'static [StatusCode] = &[StatusCode::OK];
    const REPEAT: Repeat = Repeat::Same;
    const ANSWER: Answer = Answer::Head;
    const PACE: Pace = Pace::Prompt;
    type Reply = ();

    fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    fn key(&self) -> Option<&Key> {
        Some(&self.key)
    }

    fn query(&self, query: &mut Query) {
        query.flag("tagging");
        query.optional("versionId", self.version.as_ref().map(VersionId::as_str));
    }

    fn headers(&self, headers: &mut Headers) {
        headers.content_md5(&self.body());
    }

    fn body(&self) -> Bytes {
        let tags = self.tags.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() }).collect();
        xml::write(&Tagging { set: TagSet { tags } }, "Tagging").into()
    }

    fn reply(&self, _: &Head, _: &[u8]) -> Result<(), Unreadable> {
        Ok(())
    }
}

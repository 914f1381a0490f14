//! HeadObject, and what S3 says of an object in the head of an answer.

use crate::s3::http::message::{Head, Headers, Query, Unreadable};
use crate::s3::http::operation::{AnswerTime, Idempotence, Operation, ReplyIn};
use crate::s3::integrity::crc64::Crc64;
use crate::s3::integrity::etag::ETag;
use crate::s3::integrity::sums::Stored;
use crate::s3::object::attributes::Attributes;
use crate::s3::object::encryption::Encryption;
use crate::s3::{Bucket, ByteRange, ContentRange, Key, PartNumber, VersionId};
use http::{Method, StatusCode};

/// What the headers of a GET or a HEAD say of an object.
#[derive(Debug, Clone)]
pub struct ObjectHead {
    /// Its size, whatever range was asked for.
    pub size: u64,
    /// Its ETag, whose kind is known.
    pub etag: ETag,
    /// Its version, in a versioned bucket.
    pub(crate) version: Option<VersionId>,
    /// `Last-Modified` as it was spelled.
    pub(crate) last_modified: Option<String>,
    /// The CRC64NVME of the whole object, if S3 stores one and was asked for it.
    pub crc: Option<Crc64>,
    /// Its checksum, if S3 stores another one that is read, and was asked for it.
    pub stored: Option<Stored>,
    /// How it is encrypted.
    pub(crate) encryption: Encryption,
    /// `x-amz-storage-class`; absent for STANDARD.
    pub storage_class: Option<String>,
    /// `x-amz-mp-parts-count`, in answers to a part number.
    pub(crate) parts_count: Option<u16>,
    /// How many tags it has, if the caller may know; absent if none.
    pub(crate) tag_count: Option<u64>,
    /// Which bytes follow, in answers to a range or a part number.
    pub range: Option<ByteRange>,
    /// How many bytes follow.
    pub length: u64,
    /// Headers and user metadata; tags are asked for apart.
    pub attributes: Attributes,
    /// What of these could not be read.
    pub(crate) unread: Vec<crate::s3::object::attributes::Unread>,
}

impl ObjectHead {
    pub(crate) fn read(head: &Head) -> Result<Self, Unreadable> {
        let encryption = Encryption::from_headers(&head.headers);
        let etag = ETag::new(head.text("etag").unwrap_or_default(), &encryption);
        // The pin of an object is its ETag, and an empty one pins nothing.
        if etag.as_str().is_empty() {
            return Err(Unreadable::header("etag"));
        }
        let length = head.number("content-length").ok_or_else(|| Unreadable::header("content-length"))?;
        let content_range = head.text("content-range").map(ContentRange::parse).transpose();
        let content_range = content_range.map_err(|error| Unreadable::new(error.to_string()))?;
        if content_range.is_some_and(|c| c.range.bytes() != length) {
            return Err(Unreadable::new("Content-Range and Content-Length disagree"));
        }
        let (attributes, unread) = Attributes::from_head(head);
        // "Checking object integrity": a range that is exactly a part comes with the part's checksum, not the object's.
        let is_whole = content_range.is_none_or(|c| c.range.bytes() == c.size);
        Ok(Self {
            size: content_range.map_or(length, |c| c.size),
            etag,
            version: head.version(),
            last_modified: head.text("last-modified").map(str::to_owned),
            crc: head.crc().filter(|_| is_whole),
            stored: Stored::from_head(head).filter(|_| is_whole),
            encryption,
            storage_class: head.text("x-amz-storage-class").map(str::to_owned),
            parts_count: head.number("x-amz-mp-parts-count").and_then(|count| count.try_into().ok()),
            tag_count: head.number("x-amz-tagging-count"),
            range: content_range.map(|c| c.range),
            length,
            attributes,
            unread,
        })
    }
}

/// HeadObject.
#[derive(Debug, Clone)]
pub struct HeadObject {
    /// The bucket.
    pub(crate) bucket: Bucket,
    /// The key.
    pub(crate) key: Key,
    /// A version other than the current one.
    pub(crate) version: Option<VersionId>,
    /// Only if the object still has this ETag.
    pub(crate) if_match: Option<ETag>,
    /// The layout's part, whose length and whose siblings' number come back.
    pub(crate) part: Option<PartNumber>,
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
    const IDEMPOTENCE: Idempotence = Idempotence::Idempotent;
    const REPLY_IN: ReplyIn = ReplyIn::Head;
    const ANSWER_TIME: AnswerTime = AnswerTime::Prompt;
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

    fn reply(&self, head: &Head, _: &[u8]) -> Result<ObjectHead, Unreadable> {
        ObjectHead::read(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::s3::spelled::{head, reply, request};

    fn bucket() -> Bucket {
        Bucket::new("example-bucket").unwrap()
    }

    fn key() -> Key {
        Key::new("my image.jpg").unwrap()
    }

    #[test]
    fn a_head_of_a_part_tells_the_layout() {
        let operation = HeadObject {
            part: Some(PartNumber::FIRST),
            version: VersionId::new("v").ok(),
            if_match: Some(ETag::listed("a-3")),
            ..HeadObject::current(bucket(), key())
        };
        assert_eq!(
            request(&operation),
            "HEAD /my%20image.jpg?partNumber=1&versionId=v\nif-match: \"a-3\"\nx-amz-checksum-mode: ENABLED\n\n"
        );
        let lines =
            "etag: \"a-3\"\ncontent-length: 8388608\ncontent-range: bytes 0-8388607/20971520\nx-amz-mp-parts-count: 3";
        let read = reply(&operation, &head(206, lines), "").unwrap();
        assert_eq!((read.size, read.length, read.parts_count), (20_971_520, 8_388_608, Some(3)));
    }
}

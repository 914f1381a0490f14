//! Operations on one object: GetObject, HeadObject, PutObject, DeleteObject, and its tags.

use crate::s3::attributes::Attributes;
use crate::s3::checksum::Crc64;
use crate::s3::encryption::Encryption;
use crate::s3::error::Unreadable;
use crate::s3::etag::ETag;
use crate::s3::operation::{Answer, Head, Headers, Operation, Pace, Precondition, Query, Repeat};
use crate::s3::sums::{Checksum, Stored};
use crate::s3::xml;
use crate::s3::{Bucket, ByteRange, ContentRange, Key, PartNumber, VersionId};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// Its checksum, if S3 stores another one that is read, and was asked for it.
    pub stored: Option<Stored>,
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
    pub unread: Vec<crate::s3::attributes::Unread>,
}

impl ObjectHead {
    fn read(head: &Head) -> Result<Self, Unreadable> {
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
        // RFC 9110, 15.3.7: a 206 says which part it is. One that does not may be any part of the right length.
        if head.status == StatusCode::PARTIAL_CONTENT && reply.range.is_none() {
            return Err(Unreadable::new("206 without Content-Range"));
        }
        match (self.range, reply.range) {
            // "GetObject", Range: the bytes asked for that exist; ours never reach past the end of a pinned object.
            (Some(asked), Some(given)) if asked == given => Ok(reply),
            (Some(asked), Some(given)) => {
                Err(Unreadable::new(format!("asked for {}, got {}", asked.header(), given.header())))
            }
            // A server that ignores Range sends the whole object, which may happen to be what was asked for.
            (Some(asked), None) if asked.start() == 0 && reply.length == asked.bytes() => Ok(reply),
            (Some(asked), None) => {
                Err(Unreadable::new(format!("asked for {}, got all {} bytes", asked.header(), reply.length)))
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
    /// Their checksum, which S3 stores; it refuses bytes that do not have it (BadDigest).
    pub checksum: Option<Checksum>,
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
    pub(crate) fn set(&self, headers: &mut Headers) {
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
        Self { bucket, key, bytes, checksum: None, precondition: None, style: Style::default() }
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
    pub(crate) fn read(head: &Head) -> Self {
        Self {
            etag: ETag::new(head.text("etag").unwrap_or_default(), &Encryption::from_headers(&head.headers)),
            crc: head.crc(),
            version: head.version(),
        }
    }

    /// Reads the headers of a part's reply. Complete names each part by its ETag, so a part without one is no part.
    pub(crate) fn of_part(head: &Head) -> Result<Self, Unreadable> {
        let written = Self::read(head);
        if written.etag.as_str().is_empty() { Err(Unreadable::header("etag")) } else { Ok(written) }
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
        headers.optional_pair(self.checksum.map(Checksum::header));
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
        // radosgw 16 answers with nothing for an object that was made in parts.
        if body.is_empty() {
            return Ok(BTreeMap::new());
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::encryption::Encryption;
    use crate::s3::etag::ETagKind;
    use crate::s3::operation::spelled::{head, reply, request};
    use crate::s3::sums::{Algorithm, Sum};

    const CRC: &str = "rosUhgp5mIg=";

    fn bucket() -> Bucket {
        Bucket::new("example-bucket").unwrap()
    }

    fn key() -> Key {
        Key::new("my image.jpg").unwrap()
    }

    fn get(range: Option<(u64, u64)>) -> GetObject {
        let range = range.map(|(start, end)| ByteRange::new(start, end).unwrap());
        GetObject { range, ..GetObject::whole(bucket(), key()) }
    }

    /// "GetObject", sample response.
    const GOT: &str = "
        x-amz-id-2: eftixk72aD6Ap51TnqcoF8eFidJG9Z/2mkiDFu8yU9AS1ed4OpIszj7UDNEHGran
        x-amz-request-id: 318BC8BC148832E5
        Date: Mon, 3 Oct 2016 22:32:00 GMT
        Last-Modified: Wed, 12 Oct 2009 17:50:00 GMT
        ETag: \"fba9dede5f27731c9771645a39863328\"
        Content-Length: 434234
        Server: AmazonS3";

    #[test]
    fn a_get_is_spelled_as_the_reference_spells_it() {
        assert_eq!(request(&get(None)), "GET /my%20image.jpg\nx-amz-checksum-mode: ENABLED\n\n");
        let pinned = GetObject {
            version: VersionId::new("3/L4kqtJlcpXroDTDmpUMLUo").ok(),
            if_match: Some(ETag::listed("fba9dede5f27731c9771645a39863328")),
            ..get(Some((5, 10)))
        };
        assert_eq!(
            request(&pinned),
            "GET /my%20image.jpg?versionId=3%2FL4kqtJlcpXroDTDmpUMLUo\n\
             if-match: \"fba9dede5f27731c9771645a39863328\"\nrange: bytes=5-9\n\n"
        );
    }

    #[test]
    fn an_object_is_read_from_its_headers() {
        let got = reply(&get(None), &head(200, GOT), "").unwrap();
        assert_eq!((got.size, got.length, got.range), (434_234, 434_234, None));
        assert_eq!(got.etag.as_str(), "fba9dede5f27731c9771645a39863328");
        assert!(matches!(got.etag.kind(), ETagKind::ContentMd5(_)));
        assert_eq!(got.last_modified.as_deref(), Some("Wed, 12 Oct 2009 17:50:00 GMT"));
        assert_eq!((got.version, got.crc, got.storage_class, got.tag_count), (None, None, None, None));
        assert_eq!((got.encryption, got.attributes, got.unread), (Encryption::None, Attributes::default(), Vec::new()));
    }

    #[test]
    fn all_that_is_said_of_an_object_is_read() {
        let lines = format!(
            "{GOT}
            x-amz-version-id: QUpfdndhfd8438MNFDN93jdnJFkdmqnh893
            x-amz-checksum-crc64nvme: {CRC}
            x-amz-checksum-type: FULL_OBJECT
            x-amz-storage-class: STANDARD_IA
            x-amz-tagging-count: 3
            x-amz-server-side-encryption: AES256
            x-amz-meta-a: 1
            x-amz-missing-meta: 1
            content-type: text/plain"
        );
        let got = reply(&HeadObject::current(bucket(), key()), &head(200, &lines), "").unwrap();
        assert_eq!(got.version.unwrap().as_str(), "QUpfdndhfd8438MNFDN93jdnJFkdmqnh893");
        assert_eq!(got.crc, Crc64::parse(CRC));
        assert_eq!((got.storage_class.as_deref(), got.tag_count), (Some("STANDARD_IA"), Some(3)));
        assert_eq!(got.encryption, Encryption::Aes256);
        assert_eq!(got.attributes.metadata["a"], "1");
        assert_eq!(got.attributes.system["content-type"], "text/plain");
        assert_eq!(got.unread.len(), 1);
    }

    #[test]
    fn a_reply_without_what_s3_always_sends_is_unreadable() {
        let check = |lines: &str, expected: &str| {
            let missing = format!("unreadable reply: header {expected} is missing or malformed");
            assert_eq!(reply(&get(None), &head(200, lines), "").unwrap_err(), missing, "{lines}");
            let operation = HeadObject::current(bucket(), key());
            assert_eq!(reply(&operation, &head(200, lines), "").unwrap_err(), missing, "{lines}");
        };
        check("content-length: 3", "etag");
        check("content-length: 3\netag:", "etag");
        check("content-length: 3\netag: \"\"", "etag");
        check("etag: \"a\"", "content-length");
        check("etag: \"a\"\ncontent-length: many", "content-length");
        check("etag: \"a\"\ncontent-length: -1", "content-length");
    }

    #[test]
    fn the_version_of_an_unversioned_object_is_none() {
        let lines = format!("{GOT}\nx-amz-version-id: null");
        assert_eq!(reply(&get(None), &head(200, &lines), "").unwrap().version, None);
        let put = PutObject::new(bucket(), key(), Bytes::new());
        assert_eq!(reply(&put, &head(200, &lines), "").unwrap().version, None);
    }

    #[test]
    fn only_the_checksum_of_a_whole_object_is_the_objects() {
        let check = |status, lines: &str, expected: Option<&str>| {
            let lines = format!("etag: \"a-2\"\n{lines}");
            let read = reply(&HeadObject::current(bucket(), key()), &head(status, &lines), "").unwrap();
            assert_eq!(read.crc, expected.and_then(Crc64::parse), "{lines}");
        };
        let crc = "content-length: 10\nx-amz-checksum-crc64nvme: rosUhgp5mIg=";
        check(200, &format!("{crc}\nx-amz-checksum-type: FULL_OBJECT"), Some(CRC));
        check(200, &format!("{crc}\nx-amz-checksum-type: full_object"), Some(CRC));
        check(200, crc, Some(CRC));
        check(200, &format!("{crc}\nx-amz-checksum-type: COMPOSITE"), None);
        check(200, "content-length: 10\nx-amz-checksum-crc64nvme: rosUhgp5mIg=-2", None);
        check(200, "content-length: 10\nx-amz-checksum-crc32: AAAAAA==", None);
        // A part's checksum under the object's header.
        check(206, &format!("{crc}\ncontent-range: bytes 0-9/20"), None);
        check(206, &format!("{crc}\ncontent-range: bytes 0-9/10"), Some(CRC));
    }

    #[test]
    fn a_written_checksum_is_the_whole_objects_too() {
        let check = |kind: &str, expected: Option<&str>| {
            let lines = format!("etag: \"a\"\nx-amz-checksum-crc64nvme: {CRC}\nx-amz-checksum-type: {kind}");
            let written = reply(&PutObject::new(bucket(), key(), Bytes::new()), &head(200, &lines), "").unwrap();
            assert_eq!(written.crc, expected.and_then(Crc64::parse), "{kind}");
        };
        check("FULL_OBJECT", Some(CRC));
        check("COMPOSITE", None);
    }

    #[test]
    fn keys_of_kms_make_etags_opaque() {
        let check = |line: &str, expected: ETagKind| {
            let lines = format!("{GOT}\n{line}");
            assert_eq!(reply(&get(None), &head(200, &lines), "").unwrap().etag.kind(), expected, "{line}");
            let written = reply(&PutObject::new(bucket(), key(), Bytes::new()), &head(200, &lines), "").unwrap();
            assert_eq!(written.etag.kind(), expected, "{line}");
        };
        check("x-amz-server-side-encryption: aws:kms", ETagKind::Opaque);
        check("x-amz-server-side-encryption: aws:kms:dsse", ETagKind::Opaque);
        check("x-amz-server-side-encryption-customer-algorithm: AES256", ETagKind::Opaque);
        let md5 = *b"\xfb\xa9\xde\xde\x5f\x27\x73\x1c\x97\x71\x64\x5a\x39\x86\x33\x28";
        check("x-amz-server-side-encryption: AES256", ETagKind::ContentMd5(md5));
    }

    #[test]
    fn a_range_is_believed_only_if_it_is_the_one_asked_for() {
        let check = |range: Option<(u64, u64)>, status, lines: &str, expected: Result<u64, &str>| {
            let lines = format!("etag: \"a\"\n{lines}");
            let read = reply(&get(range), &head(status, &lines), "").map(|got| got.length);
            let text = format!("{range:?} {status} {lines}");
            match (read, expected) {
                (Ok(read), Ok(expected)) => assert_eq!(read, expected, "{text}"),
                (Err(read), Err(expected)) => assert!(read.ends_with(expected), "{text}: {read}"),
                (read, expected) => panic!("{text}: {read:?}, expected {expected:?}"),
            }
        };
        let asked = Some((5, 10));
        check(asked, 206, "content-length: 5\ncontent-range: bytes 5-9/20", Ok(5));
        // rclone serves ranges under 200.
        check(asked, 200, "content-length: 5\ncontent-range: bytes 5-9/20", Ok(5));
        let all = Err("asked for bytes=5-9, got all 5 bytes");
        check(asked, 200, "content-length: 5", all);
        check(Some((0, 5)), 200, "content-length: 5", Ok(5));
        check(asked, 206, "content-length: 5", Err("206 without Content-Range"));
        let other = Err("asked for bytes=5-9, got bytes=0-4");
        check(asked, 206, "content-length: 5\ncontent-range: bytes 0-4/20", other);
        let shorter = Err("asked for bytes=5-9, got bytes=5-8");
        check(asked, 206, "content-length: 4\ncontent-range: bytes 5-8/9", shorter);
        check(asked, 200, "content-length: 20", Err("asked for bytes=5-9, got all 20 bytes"));
        let disagree = Err("Content-Range and Content-Length disagree");
        check(asked, 206, "content-length: 4\ncontent-range: bytes 5-9/20", disagree);
        check(asked, 206, "content-length: 5\ncontent-range: bytes 5-9/*", Err("`bytes 5-9/*` is not a Content-Range"));
        check(None, 200, "content-length: 20", Ok(20));
        let part = Err("asked for everything, got bytes=0-4");
        check(None, 206, "content-length: 5\ncontent-range: bytes 0-4/20", part);
        check(None, 206, "content-length: 5", Err("206 without Content-Range"));
    }

    #[test]
    fn a_range_tells_the_size_of_the_whole() {
        let lines = "etag: \"a\"\ncontent-length: 5\ncontent-range: bytes 5-9/20";
        let got = reply(&get(Some((5, 10))), &head(206, lines), "").unwrap();
        assert_eq!((got.size, got.length, got.range), (20, 5, ByteRange::new(5, 10).ok()));
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
        let lines = "etag: \"a-3\"\ncontent-length: 8388608\ncontent-range: bytes 0-8388607/20971520\n\
            x-amz-mp-parts-count: 3";
        let read = reply(&operation, &head(206, lines), "").unwrap();
        assert_eq!((read.size, read.length, read.parts_count), (20_971_520, 8_388_608, Some(3)));
    }

    #[test]
    fn a_plain_put_has_no_headers_of_its_own() {
        let put = PutObject::new(bucket(), key(), Bytes::from_static(b"12345"));
        assert_eq!(request(&put), "PUT /my%20image.jpg\n\n12345");
    }

    #[test]
    fn a_put_carries_all_that_the_object_is_given() {
        let mut style = Style { storage_class: Some("GLACIER_IR".into()), ..Style::default() };
        style.attributes.system.insert("content-type".into(), "text/plain".into());
        style.attributes.metadata.insert("family".into(), "Weasley".into());
        style.attributes.tags.insert("tag 1".into(), "value+1".into());
        style.kms_key = Some("arn:aws:kms:us-west-2:111122223333:key/k".into());
        let mut put = PutObject::new(bucket(), key(), Bytes::from_static(b"123456789"));
        put.style = style;
        put.checksum = Some(Checksum::Crc64Nvme(Crc64::of(b"123456789")));
        put.precondition = Some(Precondition::IfAbsent);
        assert_eq!(
            request(&put),
            "PUT /my%20image.jpg\n\
             content-type: text/plain\n\
             if-none-match: *\n\
             x-amz-checksum-crc64nvme: rosUhgp5mIg=\n\
             x-amz-meta-family: Weasley\n\
             x-amz-server-side-encryption-aws-kms-key-id: arn:aws:kms:us-west-2:111122223333:key/k\n\
             x-amz-server-side-encryption: aws:kms\n\
             x-amz-storage-class: GLACIER_IR\n\
             x-amz-tagging: tag%201=value%2B1\n\
             \n123456789"
        );
        put.precondition = Some(Precondition::IfMatch(ETag::listed("a")));
        put.checksum = Some(Checksum::Other(Sum::of(Algorithm::Crc32, b"123456789")));
        assert!(request(&put).contains("\nx-amz-checksum-crc32: y/Q5Jg==\nx-amz-meta-family"));
        assert!(request(&put).contains("\nif-match: \"a\"\n"));
    }

    #[test]
    fn what_was_written_is_read_from_the_headers() {
        // "PutObject", sample response, and its default checksum.
        let lines = format!(
            "x-amz-id-2: LriYPLdmOdAiIfgSm/F1YsViT1LW94/xUQxMsF7xiEb1a0wiIOIxl+zbwZ163pt7
            x-amz-request-id: 0A49CE4060975EAC
            x-amz-version-id: 43jfkodU8493jnFJD9fjj3HHNVfdsQUIFDNsidf038jfdsjGFDSIRp
            ETag: \"fbacf535f27731c9771645a39863328\"
            x-amz-checksum-crc64nvme: {CRC}
            x-amz-checksum-type: FULL_OBJECT
            Content-Length: 0"
        );
        let written = reply(&PutObject::new(bucket(), key(), Bytes::new()), &head(200, &lines), "").unwrap();
        // The sample's ETag has 31 digits: no MD5, whatever it looks like.
        assert_eq!(written.etag.kind(), ETagKind::Opaque);
        assert_eq!(written.crc, Crc64::parse(CRC));
        assert_eq!(written.version.unwrap().as_str(), "43jfkodU8493jnFJD9fjj3HHNVfdsQUIFDNsidf038jfdsjGFDSIRp");
    }

    #[test]
    fn a_put_without_an_etag_is_left_to_the_caller() {
        let written = reply(&PutObject::new(bucket(), key(), Bytes::new()), &head(200, ""), "").unwrap();
        assert_eq!((written.etag.as_str(), written.crc, written.version), ("", None, None));
    }

    #[test]
    fn a_delete_can_be_of_a_version_or_conditional() {
        let mut delete = DeleteObject { bucket: bucket(), key: key(), version: None, if_match: None };
        assert_eq!(request(&delete), "DELETE /my%20image.jpg\n\n");
        delete.if_match = Some(ETag::listed("a"));
        assert_eq!(request(&delete), "DELETE /my%20image.jpg\nif-match: \"a\"\n\n");
        delete.version = VersionId::new("UIORUnfndfiufdisojhr398493jfdkjFJjkndnqUifhnw89493jJFJ").ok();
        assert!(request(&delete).starts_with("DELETE /my%20image.jpg?versionId=UIORUnfndfi"));
        assert_eq!(reply(&delete, &head(204, "x-amz-delete-marker: true"), ""), Ok(()));
    }

    fn get_tags() -> GetObjectTagging {
        GetObjectTagging { bucket: bucket(), key: key(), version: None }
    }

    /// "GetObjectTagging", sample response.
    const TAGGING: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<Tagging xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
   <TagSet>
      <Tag>
         <Key>tag1</Key>
         <Value>val1</Value>
      </Tag>
      <Tag>
         <Key>tag2</Key>
         <Value>val2</Value>
      </Tag>
   </TagSet>
</Tagging>"#;

    fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn tags_are_read_from_their_document() {
        assert_eq!(request(&get_tags()), "GET /my%20image.jpg?tagging=\n\n");
        let versioned = GetObjectTagging { version: VersionId::new("v").ok(), ..get_tags() };
        assert_eq!(request(&versioned), "GET /my%20image.jpg?tagging=&versionId=v\n\n");
        let check = |body: &str, expected: &[(&str, &str)]| {
            assert_eq!(reply(&get_tags(), &head(200, ""), body), Ok(tags(expected)), "{body}");
        };
        check(TAGGING, &[("tag1", "val1"), ("tag2", "val2")]);
        check("<Tagging><TagSet/></Tagging>", &[]);
        check("<Tagging><TagSet></TagSet></Tagging>", &[]);
        check("<Tagging><TagSet><Tag><Key>a</Key><Value/></Tag></TagSet></Tagging>", &[("a", "")]);
        check("<Tagging><TagSet><Tag><Value>1</Value><Key>a&amp;b</Key></Tag></TagSet></Tagging>", &[("a&b", "1")]);
    }

    #[test]
    fn a_document_that_is_not_tagging_has_no_tags() {
        for body in ["  ", "<Tagging/>", "<Other><TagSet/></Other>", "<Tagging><TagSet><Tag/></TagSet></Tagging>"] {
            assert!(reply(&get_tags(), &head(200, ""), body).is_err(), "{body}");
        }
        for cut in 1..TAGGING.trim_end().len() {
            assert!(reply(&get_tags(), &head(200, ""), &TAGGING[..cut]).is_err(), "{cut}");
        }
        assert_eq!(reply(&get_tags(), &head(200, ""), ""), Ok(BTreeMap::new()), "radosgw's way to say none");
    }

    fn put_tags(pairs: &[(&str, &str)]) -> PutObjectTagging {
        PutObjectTagging { bucket: bucket(), key: key(), version: None, tags: tags(pairs) }
    }

    #[test]
    fn tags_are_written_with_the_md5_of_their_document() {
        assert_eq!(
            request(&put_tags(&[("tag1", "val<1>"), ("tag2", "")])),
            "PUT /my%20image.jpg?tagging=\ncontent-md5: jdgm0Dorz0Da1IB1jL+Ctg==\n\n\
             <Tagging xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><TagSet>\
             <Tag><Key>tag1</Key><Value>val&lt;1&gt;</Value></Tag><Tag><Key>tag2</Key><Value/></Tag>\
             </TagSet></Tagging>"
        );
        assert_eq!(reply(&put_tags(&[]), &head(200, "x-amz-version-id: v"), ""), Ok(()));
    }

    #[test]
    fn tags_that_were_written_are_the_tags_that_are_read() {
        for pairs in [
            &[][..],
            &[("a", "b")],
            &[("a&b", "<c>"), ("\"q\"", "'s'"), ("ü+-=._:/@", "日本 語")],
            &[(" led", "trailed "), ("two  blanks", " ")],
        ] {
            let body = put_tags(pairs).body();
            let body = std::str::from_utf8(&body).unwrap();
            assert_eq!(reply(&get_tags(), &head(200, ""), body), Ok(tags(pairs)), "{body}");
        }
    }
}

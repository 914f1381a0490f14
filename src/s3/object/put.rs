//! PutObject, and what a write says.

use crate::s3::http::message::{Head, Headers, Unreadable};
use crate::s3::http::operation::{AnswerTime, Idempotence, Operation, Precondition, ReplyIn};
use crate::s3::integrity::crc64::Crc64;
use crate::s3::integrity::etag::ETag;
use crate::s3::integrity::sums::Checksum;
use crate::s3::object::attributes::Attributes;
use crate::s3::object::encryption::Encryption;
use crate::s3::{Bucket, Key, VersionId};
use bytes::Bytes;
use http::{Method, StatusCode};

/// PutObject.
#[derive(Debug, Clone)]
pub struct PutObject {
    /// The bucket.
    pub(crate) bucket: Bucket,
    /// The key.
    pub(crate) key: Key,
    /// The bytes.
    pub(crate) bytes: Bytes,
    /// Their checksum, which S3 stores; it refuses bytes that do not have it (BadDigest).
    pub(crate) checksum: Option<Checksum>,
    /// What must hold at the target.
    pub(crate) precondition: Option<Precondition>,
    /// What the object is given.
    pub(crate) style: ObjectOptions,
}

/// What a new object is given besides its bytes: by PutObject and by CreateMultipartUpload alike.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectOptions {
    /// Headers, metadata and tags.
    pub(crate) attributes: Attributes,
    /// `x-amz-storage-class`.
    pub(crate) storage_class: Option<String>,
    /// Encrypt with this KMS key rather than with the bucket's default.
    pub(crate) kms_key: Option<String>,
}

impl ObjectOptions {
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
        Self { bucket, key, bytes, checksum: None, precondition: None, style: ObjectOptions::default() }
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
    const IDEMPOTENCE: Idempotence = Idempotence::NotIdempotent;
    const REPLY_IN: ReplyIn = ReplyIn::Head;
    const ANSWER_TIME: AnswerTime = AnswerTime::Prompt;
    type Reply = Written;

    fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    fn key(&self) -> Option<&Key> {
        Some(&self.key)
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    use crate::s3::integrity::etag::ETagKind;
    use crate::s3::integrity::sums::{Algorithm, Sum};
    use crate::s3::spelled::{head, reply, request};

    const CRC: &str = "rosUhgp5mIg=";

    fn bucket() -> Bucket {
        Bucket::new("example-bucket").unwrap()
    }

    fn key() -> Key {
        Key::new("my image.jpg").unwrap()
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
    fn a_plain_put_has_no_headers_of_its_own() {
        let put = PutObject::new(bucket(), key(), Bytes::from_static(b"12345"));
        assert_eq!(request(&put), "PUT /my%20image.jpg\n\n12345");
    }

    #[test]
    fn a_put_carries_all_that_the_object_is_given() {
        let mut style = ObjectOptions { storage_class: Some("GLACIER_IR".into()), ..ObjectOptions::default() };
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
            "PUT /my%20image.jpg\ncontent-type: text/plain\nif-none-match: *\nx-amz-checksum-crc64nvme: \
             rosUhgp5mIg=\nx-amz-meta-family: Weasley\nx-amz-server-side-encryption-aws-kms-key-id: \
             arn:aws:kms:us-west-2:111122223333:key/k\nx-amz-server-side-encryption: aws:kms\nx-amz-storage-class: \
             GLACIER_IR\nx-amz-tagging: tag%201=value%2B1\n\n123456789"
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
}

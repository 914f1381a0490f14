//! GetObject, and which object in which state a request is about.

use crate::s3::http::message::{Head, Headers, Query, Unreadable};
use crate::s3::http::operation::{AnswerTime, Idempotence, Operation, ReplyIn};
use crate::s3::integrity::etag::ETag;
use crate::s3::object::head::ObjectHead;
use crate::s3::{Bucket, ByteRange, Key, VersionId};
use http::{Method, StatusCode};

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
    pub(crate) const NAME: &'static str = "GetObject";

    /// All of the current version, whatever it is.
    pub fn whole(bucket: Bucket, key: Key) -> Self {
        Self { bucket, key, version: None, range: None, if_match: None }
    }
}

impl Operation for GetObject {
    const NAME: &'static str = Self::NAME;
    const METHOD: Method = Method::GET;
    const ACCEPTS: &'static [StatusCode] = &[StatusCode::OK, StatusCode::PARTIAL_CONTENT];
    const IDEMPOTENCE: Idempotence = Idempotence::Idempotent;
    const REPLY_IN: ReplyIn = ReplyIn::Stream;
    const ANSWER_TIME: AnswerTime = AnswerTime::Prompt;
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
            (None, Some(given)) => {
                Err(Unreadable::new(format!("asked for the whole object, got only {}", given.header())))
            }
            (None, None) => Ok(reply),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::integrity::crc64::Crc64;
    use crate::s3::integrity::etag::ETagKind;
    use crate::s3::object::attributes::Attributes;
    use crate::s3::object::encryption::Encryption;
    use crate::s3::object::head::HeadObject;
    use crate::s3::object::put::PutObject;
    use crate::s3::spelled::{head, reply, request};

    use bytes::Bytes;

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
            "GET /my%20image.jpg?versionId=3%2FL4kqtJlcpXroDTDmpUMLUo\nif-match: \
             \"fba9dede5f27731c9771645a39863328\"\nrange: bytes=5-9\n\n"
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
            let missing = format!("reply not understood: header {expected} is missing or malformed");
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
        let part = Err("asked for the whole object, got only bytes=0-4");
        check(None, 206, "content-length: 5\ncontent-range: bytes 0-4/20", part);
        check(None, 206, "content-length: 5", Err("206 without Content-Range"));
    }

    #[test]
    fn a_range_tells_the_size_of_the_whole() {
        let lines = "etag: \"a\"\ncontent-length: 5\ncontent-range: bytes 5-9/20";
        let got = reply(&get(Some((5, 10))), &head(206, lines), "").unwrap();
        assert_eq!((got.size, got.length, got.range), (20, 5, ByteRange::new(5, 10).ok()));
    }
}

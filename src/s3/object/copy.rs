//! Copies that S3 makes by itself, without the bytes crossing: CopyObject and UploadPartCopy.
//!
//! Both can answer 200 before they have done anything and fail in the document that follows ("CopyObject", "Response
//! and special errors"), and both take a condition on what they copy; CopyObject takes one on what it replaces too
//! ("Conditional copies").

use crate::s3::http::message::{Head, Headers, Query, Unreadable, is_full_object, path_of};
use crate::s3::http::operation::{AnswerTime, Idempotence, Operation, Precondition, ReplyIn};
use crate::s3::integrity::crc64::Crc64;
use crate::s3::integrity::etag::ETag;
use crate::s3::multipart::upload::name_part;
use crate::s3::object::encryption::Encryption;
use crate::s3::object::put::{ObjectOptions, Written};
use crate::s3::xml;
use crate::s3::{Bucket, ByteRange, Key, PartNumber, UploadId, VersionId};
use http::{Method, StatusCode};
use serde::Deserialize;

/// What is copied.
#[derive(Debug, Clone)]
pub struct CopySource {
    /// Its bucket.
    pub bucket: Bucket,
    /// Its key.
    pub key: Key,
    /// A version other than the current one.
    pub version: Option<VersionId>,
    /// Only if it still has this ETag.
    pub if_match: ETag,
}

impl CopySource {
    /// Sets its headers. The value is a path as in a URL, so a `?` of the key is encoded and one that is not begins the
    /// version.
    fn set(&self, headers: &mut Headers) {
        let mut version = Query::default();
        version.optional("versionId", self.version.as_ref().map(VersionId::as_str));
        let question = if self.version.is_some() { "?" } else { "" };
        let path = path_of(self.key.as_str());
        headers.set("x-amz-copy-source", &format!("{}/{path}{question}{}", self.bucket, version.as_str()));
        headers.set("x-amz-copy-source-if-match", &self.if_match.quoted());
    }
}

/// What either of the two answers with. AWS's root differs, the elements do not.
#[derive(Deserialize)]
struct Copied {
    #[serde(rename = "ETag")]
    etag: String,
    #[serde(rename = "ChecksumCRC64NVME")]
    crc: Option<String>,
    #[serde(rename = "ChecksumType")]
    checksum_type: Option<String>,
}

impl Copied {
    fn written(self, head: &Head) -> Result<Written, Unreadable> {
        let etag = ETag::new(&self.etag, &Encryption::from_headers(&head.headers));
        if etag.as_str().is_empty() {
            return Err(Unreadable::new("a copy without an ETag"));
        }
        let full = self.checksum_type.as_deref().is_none_or(is_full_object);
        let crc = self.crc.filter(|_| full).as_deref().and_then(Crc64::parse);
        Ok(Written { etag, crc, version: head.version() })
    }
}

/// Which checksum a copy stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Summed {
    /// A CRC64NVME.
    Crc64Nvme,
    /// One of the kind that what it is a copy of stores.
    AsBefore,
}

/// CopyObject, with attributes of its own rather than those of the source.
#[derive(Debug, Clone)]
pub struct CopyObject {
    /// The bucket.
    pub bucket: Bucket,
    /// The key.
    pub key: Key,
    /// What is copied; at most 5 GiB.
    pub source: CopySource,
    /// What must hold at the target.
    pub precondition: Option<Precondition>,
    /// Which checksum it stores.
    pub summed: Summed,
    /// What the copy is given.
    pub style: ObjectOptions,
}

impl Operation for CopyObject {
    const NAME: &'static str = "CopyObject";
    const METHOD: Method = Method::PUT;
    const ACCEPTS: &'static [StatusCode] = &[StatusCode::OK];
    const IDEMPOTENCE: Idempotence = Idempotence::NotIdempotent;
    const REPLY_IN: ReplyIn = ReplyIn::Document;
    const ANSWER_TIME: AnswerTime = AnswerTime::Slow;
    type Reply = Written;

    fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    fn key(&self) -> Option<&Key> {
        Some(&self.key)
    }

    fn headers(&self, headers: &mut Headers) {
        self.source.set(headers);
        headers.set("x-amz-metadata-directive", "REPLACE");
        headers.set("x-amz-tagging-directive", "REPLACE");
        match self.summed {
            Summed::Crc64Nvme => headers.set("x-amz-checksum-algorithm", "CRC64NVME"),
            Summed::AsBefore => {}
        }
        if let Some(precondition) = &self.precondition {
            precondition.set(headers);
        }
        self.style.set(headers);
    }

    fn reply(&self, head: &Head, body: &[u8]) -> Result<Written, Unreadable> {
        xml::read::<Copied>(body, "CopyObjectResult")?.written(head)
    }
}

/// UploadPartCopy.
#[derive(Debug, Clone)]
pub struct UploadPartCopy {
    /// The bucket.
    pub bucket: Bucket,
    /// The key.
    pub key: Key,
    /// The upload.
    pub upload: UploadId,
    /// The part's number.
    pub number: PartNumber,
    /// What is copied.
    pub source: CopySource,
    /// Only these bytes of it. "UploadPartCopy": of a source of up to 5 MB none but all can be copied, so all of it is
    /// not to be asked for as a range.
    pub range: Option<ByteRange>,
}

impl Operation for UploadPartCopy {
    const NAME: &'static str = "UploadPartCopy";
    const METHOD: Method = Method::PUT;
    const ACCEPTS: &'static [StatusCode] = &[StatusCode::OK];
    // A part copied twice replaces itself.
    const IDEMPOTENCE: Idempotence = Idempotence::Idempotent;
    const REPLY_IN: ReplyIn = ReplyIn::Document;
    const ANSWER_TIME: AnswerTime = AnswerTime::Slow;
    type Reply = Written;

    fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    fn key(&self) -> Option<&Key> {
        Some(&self.key)
    }

    fn query(&self, query: &mut Query) {
        name_part(query, self.number, &self.upload);
    }

    fn headers(&self, headers: &mut Headers) {
        self.source.set(headers);
        headers.optional("x-amz-copy-source-range", self.range.map(ByteRange::header).as_deref());
    }

    fn reply(&self, head: &Head, body: &[u8]) -> Result<Written, Unreadable> {
        xml::read::<Copied>(body, "CopyPartResult")?.written(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::error::Class;
    use crate::s3::integrity::etag::ETagKind;
    use crate::s3::spelled::{cut_anywhere_is_unreadable, head, refusal, reply, request};

    const MD5: &str = "9b2cf535f27731c974343645a3985328";

    fn source(key: &str) -> CopySource {
        CopySource {
            bucket: Bucket::new("from").unwrap(),
            key: Key::new(key).unwrap(),
            version: None,
            if_match: ETag::listed(MD5),
        }
    }

    fn copy() -> CopyObject {
        CopyObject {
            bucket: Bucket::new("to-bucket").unwrap(),
            key: Key::new("to").unwrap(),
            source: source("my/image ü+?%.jpg"),
            precondition: None,
            summed: Summed::Crc64Nvme,
            style: ObjectOptions::default(),
        }
    }

    fn part() -> UploadPartCopy {
        UploadPartCopy {
            bucket: Bucket::new("to-bucket").unwrap(),
            key: Key::new("to").unwrap(),
            upload: UploadId::new("id").unwrap(),
            number: PartNumber::new(2).unwrap(),
            source: source("//a"),
            range: ByteRange::new(500, 6_291_456).ok(),
        }
    }

    #[test]
    fn a_copy_names_its_source_as_a_path_and_replaces_everything_beside_the_bytes() {
        assert_eq!(
            request(&copy()),
            format!(
                "PUT /to\nx-amz-checksum-algorithm: CRC64NVME\nx-amz-copy-source-if-match: \
                 \"{MD5}\"\nx-amz-copy-source: from/my/image%20%C3%BC%2B%3F%25.jpg\nx-amz-metadata-directive: \
                 REPLACE\nx-amz-tagging-directive: REPLACE\n\n"
            )
        );
        let mut styled = copy();
        styled.source.version = VersionId::new("a/b=").ok();
        styled.summed = Summed::AsBefore;
        styled.precondition = Some(Precondition::IfMatch(ETag::listed("e")));
        styled.style.storage_class = Some("STANDARD_IA".into());
        styled.style.attributes.tags.insert("a".into(), "b c".into());
        let text = request(&styled);
        for line in [
            "x-amz-copy-source: from/my/image%20%C3%BC%2B%3F%25.jpg?versionId=a%2Fb%3D\n",
            "if-match: \"e\"\n",
            "x-amz-storage-class: STANDARD_IA\n",
            "x-amz-tagging: a=b%20c\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert!(!text.contains("checksum"), "{text}");
    }

    #[test]
    fn a_part_is_copied_from_a_range_or_from_everything() {
        assert_eq!(
            request(&part()),
            format!(
                "PUT /to?partNumber=2&uploadId=id\nx-amz-copy-source-if-match: \"{MD5}\"\nx-amz-copy-source-range: \
                 bytes=500-6291455\nx-amz-copy-source: from///a\n\n"
            )
        );
        assert!(!request(&UploadPartCopy { range: None, ..part() }).contains("range"));
    }

    /// "CopyObject", sample response, and the checksum that S3 adds.
    const COPIED: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<CopyObjectResult>
   <LastModified>2009-10-28T22:32:00</LastModified>
   <ETag>"9b2cf535f27731c974343645a3985328"</ETag>
   <ChecksumCRC64NVME>rosUhgp5mIg=</ChecksumCRC64NVME>
   <ChecksumType>FULL_OBJECT</ChecksumType>
 </CopyObjectResult>"#;

    fn of_a_part() -> String {
        COPIED.replace("CopyObjectResult", "CopyPartResult")
    }

    #[test]
    fn a_copy_is_read_behind_keep_alives() {
        for body in [COPIED.to_owned(), format!(" \n \r\n\t {COPIED}\n")] {
            let written = reply(&copy(), &head(200, "x-amz-version-id: v1"), &body).unwrap();
            assert_eq!((written.etag.as_str(), written.crc), (MD5, Crc64::parse("rosUhgp5mIg=")));
            assert!(matches!(written.etag.kind(), ETagKind::ContentMd5(_)));
            assert_eq!(written.version, VersionId::new("v1").ok());
        }
        let written = reply(&part(), &head(200, "x-amz-server-side-encryption: aws:kms"), &of_a_part()).unwrap();
        assert_eq!(written.etag.kind(), ETagKind::Opaque);
    }

    #[test]
    fn a_composite_checksum_is_not_the_copys() {
        let composite = COPIED.replace("FULL_OBJECT", "COMPOSITE");
        assert_eq!(reply(&copy(), &head(200, ""), &composite).unwrap().crc, None);
    }

    #[test]
    fn a_200_without_the_whole_document_is_no_copy() {
        for body in ["", " \n", "<html/>", "<CopyObjectResult/>", &COPIED.replace(&format!("\"{MD5}\""), "")] {
            assert!(reply(&copy(), &head(200, ""), body).is_err(), "{body}");
        }
        assert!(reply(&copy(), &head(200, ""), &of_a_part()).is_err());
        assert!(reply(&part(), &head(200, ""), COPIED).is_err());
        cut_anywhere_is_unreadable(&copy(), COPIED);
        cut_anywhere_is_unreadable(&part(), &of_a_part());
    }

    #[test]
    fn an_error_in_a_200_is_a_refusal() {
        let body = " \n<?xml version=\"1.0\"?><Error><Code>InternalError</Code><Message>m</Message></Error>";
        assert_eq!(refusal(&copy(), &head(200, ""), body).class, Class::Ambiguous);
        assert_eq!(refusal(&part(), &head(200, ""), body).class, Class::Transient);
        let changed = "<Error><Code>PreconditionFailed</Code></Error>";
        assert_eq!(refusal(&part(), &head(412, ""), changed).class, Class::Precondition);
    }
}

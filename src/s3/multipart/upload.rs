//! Multipart uploads: create, part, complete, abort.
//!
//! What is open is listed by `listing.rs`; parts whose bytes are still to come when they are sent are `streamed.rs`.
//!
//! An upload is created with `x-amz-checksum-algorithm: CRC64NVME` and type `FULL_OBJECT`, so that S3 checks each part
//! and, at the end, the whole ("Checking object integrity", multipart uploads).

use crate::mutation::{self, Mutation};
use crate::s3::http::message::{CRC64NVME, Head, Headers, Query, Unreadable, is_full_object};
use crate::s3::http::operation::{AnswerTime, Idempotence, Operation, Precondition, ReplyIn};
use crate::s3::integrity::crc64::Crc64;
use crate::s3::integrity::etag::ETag;
use crate::s3::object::encryption::Encryption;
use crate::s3::object::put::{ObjectOptions, Written};
use crate::s3::xml;
use crate::s3::{Bucket, Key, PartNumber, UploadId};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};

/// CreateMultipartUpload.
#[derive(Debug, Clone)]
pub struct CreateMultipartUpload {
    /// The bucket.
    pub bucket: Bucket,
    /// The key.
    pub key: Key,
    /// What the object will be given.
    pub style: ObjectOptions,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Initiated {
    upload_id: String,
}

impl Operation for CreateMultipartUpload {
    const NAME: &'static str = "CreateMultipartUpload";
    const METHOD: Method = Method::POST;
    const ACCEPTS: &'static [StatusCode] = &[StatusCode::OK];
    const IDEMPOTENCE: Idempotence = Idempotence::NotIdempotent;
    const REPLY_IN: ReplyIn = ReplyIn::Document;
    const ANSWER_TIME: AnswerTime = AnswerTime::Prompt;
    type Reply = UploadId;

    fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    fn key(&self) -> Option<&Key> {
        Some(&self.key)
    }

    fn query(&self, query: &mut Query) {
        query.flag("uploads");
    }

    fn headers(&self, headers: &mut Headers) {
        headers.set("x-amz-checksum-algorithm", "CRC64NVME");
        headers.set("x-amz-checksum-type", "FULL_OBJECT");
        self.style.set(headers);
    }

    fn reply(&self, _: &Head, body: &[u8]) -> Result<UploadId, Unreadable> {
        let document: Initiated = xml::read(body, "InitiateMultipartUploadResult")?;
        UploadId::new(&document.upload_id).map_err(|error| Unreadable::new(error.to_string()))
    }
}

/// UploadPart.
#[derive(Debug, Clone)]
pub struct UploadPart {
    /// The bucket.
    pub bucket: Bucket,
    /// The key.
    pub key: Key,
    /// The upload.
    pub upload: UploadId,
    /// The part's number.
    pub number: PartNumber,
    /// The bytes.
    pub bytes: Bytes,
    /// Their CRC64NVME; S3 refuses bytes that do not have it (BadDigest).
    pub crc: Crc64,
}

pub(crate) fn name_part(query: &mut Query, number: PartNumber, upload: &UploadId) {
    query.pair("partNumber", &number.get().to_string());
    query.pair("uploadId", upload.as_str());
}

impl Operation for UploadPart {
    const NAME: &'static str = "UploadPart";
    const METHOD: Method = Method::PUT;
    const ACCEPTS: &'static [StatusCode] = &[StatusCode::OK];
    // A part sent twice replaces itself.
    const IDEMPOTENCE: Idempotence = Idempotence::Idempotent;
    const REPLY_IN: ReplyIn = ReplyIn::Head;
    const ANSWER_TIME: AnswerTime = AnswerTime::Prompt;
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
        headers.set(CRC64NVME, &self.crc.header());
    }

    fn body(&self) -> Bytes {
        self.bytes.clone()
    }

    fn reply(&self, head: &Head, _: &[u8]) -> Result<Written, Unreadable> {
        Written::of_part(head)
    }
}

/// A part as Complete names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletedPart {
    /// Its number.
    pub number: PartNumber,
    /// The ETag that UploadPart answered with.
    pub etag: ETag,
    /// Its CRC64NVME.
    pub crc: Crc64,
}

/// CompleteMultipartUpload.
#[derive(Debug, Clone)]
pub struct CompleteMultipartUpload {
    /// The bucket.
    pub bucket: Bucket,
    /// The key.
    pub key: Key,
    /// The upload.
    pub upload: UploadId,
    /// All parts, in order.
    pub parts: Vec<CompletedPart>,
    /// The size of the whole; S3 refuses another (InvalidRequest).
    pub size: u64,
    /// The CRC64NVME of the whole; S3 refuses another (BadDigest).
    pub crc: Crc64,
    /// What must hold at the target.
    pub precondition: Option<Precondition>,
}

#[derive(Serialize)]
struct CompleteDocument {
    #[serde(rename = "Part")]
    parts: Vec<PartElement>,
}

#[derive(Serialize)]
struct PartElement {
    #[serde(rename = "PartNumber")]
    number: u16,
    #[serde(rename = "ETag")]
    etag: String,
    #[serde(rename = "ChecksumCRC64NVME", skip_serializing_if = "Option::is_none")]
    crc: Option<String>,
}

#[derive(Deserialize)]
struct Completed {
    // AWS always sends it; radosgw leaves it empty, and the caller looks again.
    #[serde(rename = "ETag", default)]
    etag: String,
    #[serde(rename = "ChecksumCRC64NVME")]
    crc: Option<String>,
    #[serde(rename = "ChecksumType")]
    checksum_type: Option<String>,
}

impl Operation for CompleteMultipartUpload {
    const NAME: &'static str = "CompleteMultipartUpload";
    const METHOD: Method = Method::POST;
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

    fn query(&self, query: &mut Query) {
        query.pair("uploadId", self.upload.as_str());
    }

    fn headers(&self, headers: &mut Headers) {
        headers.set("content-type", "application/xml");
        headers.set(CRC64NVME, &self.crc.header());
        headers.set("x-amz-checksum-type", "FULL_OBJECT");
        headers.set("x-amz-mp-object-size", &self.size.to_string());
        if let Some(precondition) = &self.precondition {
            precondition.set(headers);
        }
    }

    fn body(&self) -> Bytes {
        let crc = |part: &CompletedPart| Some(part.crc.header()).filter(|_| !mutation::is_on(Mutation::NoCrc));
        let element =
            |part: &CompletedPart| PartElement { number: part.number.get(), etag: part.etag.quoted(), crc: crc(part) };
        let parts = self.parts.iter().map(element).collect();
        xml::write(&CompleteDocument { parts }, "CompleteMultipartUpload").into()
    }

    fn reply(&self, head: &Head, body: &[u8]) -> Result<Written, Unreadable> {
        let document: Completed = xml::read(body, "CompleteMultipartUploadResult")?;
        let full = document.checksum_type.as_deref().is_none_or(is_full_object);
        let etag = ETag::new(&document.etag, &Encryption::from_headers(&head.headers));
        let crc = document.crc.filter(|_| full).as_deref().and_then(Crc64::parse);
        Ok(Written { etag, crc, ..Written::read(head) })
    }
}

#[derive(Debug, Clone)]
pub(crate) struct AbortMultipartUpload {
    pub(crate) bucket: Bucket,
    pub(crate) key: Key,
    pub(crate) upload: UploadId,
}

impl Operation for AbortMultipartUpload {
    const NAME: &'static str = "AbortMultipartUpload";
    const METHOD: Method = Method::DELETE;
    const ACCEPTS: &'static [StatusCode] = &[StatusCode::NO_CONTENT, StatusCode::OK];
    const IDEMPOTENCE: Idempotence = Idempotence::Idempotent;
    const REPLY_IN: ReplyIn = ReplyIn::Head;
    const ANSWER_TIME: AnswerTime = AnswerTime::Prompt;
    type Reply = ();

    fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    fn key(&self) -> Option<&Key> {
        Some(&self.key)
    }

    fn query(&self, query: &mut Query) {
        query.pair("uploadId", self.upload.as_str());
    }

    fn reply(&self, _: &Head, _: &[u8]) -> Result<(), Unreadable> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::error::Class;
    use crate::s3::integrity::etag::ETagKind;
    use crate::s3::object::encryption::Encryption;
    use crate::s3::spelled::{cut_anywhere_is_unreadable, head, refusal, reply, request};

    const CRC: &str = "rosUhgp5mIg=";
    const ID: &str = "VXBsb2FkIElEIGZvciA2aWWpbmcncyBteS1tb3ZpZS5tMnRzIHVwbG9hZA";

    fn bucket() -> Bucket {
        Bucket::new("example-bucket").unwrap()
    }

    fn key() -> Key {
        Key::new("example-object").unwrap()
    }

    fn upload() -> UploadId {
        UploadId::new(ID).unwrap()
    }

    fn create() -> CreateMultipartUpload {
        CreateMultipartUpload { bucket: bucket(), key: key(), style: ObjectOptions::default() }
    }

    /// "CreateMultipartUpload", sample response.
    const INITIATED: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<InitiateMultipartUploadResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Bucket>example-bucket</Bucket>
  <Key>example-object</Key>
  <UploadId>VXBsb2FkIElEIGZvciA2aWWpbmcncyBteS1tb3ZpZS5tMnRzIHVwbG9hZA</UploadId>
</InitiateMultipartUploadResult>"#;

    #[test]
    fn an_upload_is_begun_with_a_full_object_checksum() {
        assert_eq!(
            request(&create()),
            "POST /example-object?uploads=\nx-amz-checksum-algorithm: CRC64NVME\nx-amz-checksum-type: FULL_OBJECT\n\n"
        );
        let mut styled = create();
        styled.style.storage_class = Some("STANDARD_IA".into());
        styled.style.attributes.tags.insert("a".into(), "b c".into());
        assert_eq!(
            request(&styled),
            "POST /example-object?uploads=\nx-amz-checksum-algorithm: CRC64NVME\nx-amz-checksum-type: \
             FULL_OBJECT\nx-amz-storage-class: STANDARD_IA\nx-amz-tagging: a=b%20c\n\n"
        );
    }

    #[test]
    fn the_id_of_an_upload_is_read() {
        assert_eq!(reply(&create(), &head(200, ""), INITIATED), Ok(upload()));
        for body in [
            "",
            "<InitiateMultipartUploadResult/>",
            "<InitiateMultipartUploadResult><UploadId/></InitiateMultipartUploadResult>",
            "<CompleteMultipartUploadResult><UploadId>a</UploadId></CompleteMultipartUploadResult>",
        ] {
            assert!(reply(&create(), &head(200, ""), body).is_err(), "{body}");
        }
        cut_anywhere_is_unreadable(&create(), INITIATED);
    }

    fn part() -> UploadPart {
        UploadPart {
            bucket: bucket(),
            key: key(),
            upload: UploadId::new("a+b/c=").unwrap(),
            number: PartNumber::FIRST,
            bytes: Bytes::from_static(b"123456789"),
            crc: Crc64::of(b"123456789"),
        }
    }

    #[test]
    fn a_part_is_sent_with_its_checksum() {
        assert_eq!(
            request(&part()),
            "PUT /example-object?partNumber=1&uploadId=a%2Bb%2Fc%3D\nx-amz-checksum-crc64nvme: \
             rosUhgp5mIg=\n\n123456789"
        );
    }

    #[test]
    fn a_part_is_known_by_its_etag() {
        // "UploadPart", sample response.
        let lines = format!(
            "x-amz-id-2: Vvag1LuByRx9e6j5Onimru9pO4ZVKnJ2Qz7/C1NPcfTWAtRPfTaOFg==
            x-amz-request-id: 656c76696e6727732072657175657374
            Date: Mon, 1 Nov 2010 20:34:56 GMT
            ETag: \"b54357faf0632cce46e942fa68356b38\"
            x-amz-checksum-crc64nvme: {CRC}
            Content-Length: 0"
        );
        let written = reply(&part(), &head(200, &lines), "").unwrap();
        assert_eq!(written.etag.as_str(), "b54357faf0632cce46e942fa68356b38");
        assert!(matches!(written.etag.kind(), ETagKind::ContentMd5(_)));
        assert_eq!(written.crc, Crc64::parse(CRC));
        let encrypted = format!("{lines}\nx-amz-server-side-encryption: aws:kms");
        assert_eq!(reply(&part(), &head(200, &encrypted), "").unwrap().etag.kind(), ETagKind::Opaque);
        for lines in ["", "etag:", "etag: \"\""] {
            assert!(reply(&part(), &head(200, lines), "").is_err(), "{lines}");
        }
    }

    fn complete() -> CompleteMultipartUpload {
        let part = |number, etag: &str| CompletedPart {
            number: PartNumber::new(number).unwrap(),
            etag: ETag::new(etag, &Encryption::None),
            crc: Crc64::EMPTY,
        };
        CompleteMultipartUpload {
            bucket: bucket(),
            key: key(),
            upload: upload(),
            parts: vec![part(1, "a54357aff0632cce46d942af68356b38"), part(2, "0c78aef83f66abc1fa1e8477f296d394")],
            size: 9,
            crc: Crc64::of(b"123456789"),
            precondition: Some(Precondition::IfAbsent),
        }
    }

    #[test]
    fn an_upload_is_completed_with_all_its_proofs() {
        assert_eq!(
            request(&complete()),
            format!(
                "POST /example-object?uploadId={ID}\n\
                 content-type: application/xml\n\
                 if-none-match: *\n\
                 x-amz-checksum-crc64nvme: rosUhgp5mIg=\n\
                 x-amz-checksum-type: FULL_OBJECT\n\
                 x-amz-mp-object-size: 9\n\n\
                 <CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                 <Part><PartNumber>1</PartNumber><ETag>\"a54357aff0632cce46d942af68356b38\"</ETag>\
                 <ChecksumCRC64NVME>AAAAAAAAAAA=</ChecksumCRC64NVME></Part>\
                 <Part><PartNumber>2</PartNumber><ETag>\"0c78aef83f66abc1fa1e8477f296d394\"</ETag>\
                 <ChecksumCRC64NVME>AAAAAAAAAAA=</ChecksumCRC64NVME></Part>\
                 </CompleteMultipartUpload>"
            )
        );
    }

    /// "CompleteMultipartUpload", sample response, and the checksum that S3 adds.
    const COMPLETED: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<CompleteMultipartUploadResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
 <Location>http://Example-Bucket.s3.us-west-2.amazonaws.com/Example-Object</Location>
 <Bucket>Example-Bucket</Bucket>
 <Key>Example-Object</Key>
 <ETag>"3858f62230ac3c915f300c664312c11f-9"</ETag>
 <ChecksumCRC64NVME>rosUhgp5mIg=</ChecksumCRC64NVME>
 <ChecksumType>FULL_OBJECT</ChecksumType>
</CompleteMultipartUploadResult>"#;

    #[test]
    fn a_completed_object_is_read_behind_keep_alives() {
        let kept_alive = format!(" \n \r\n\t {COMPLETED}\n");
        for body in [COMPLETED, &kept_alive] {
            let lines = "x-amz-version-id: v1\nx-amz-server-side-encryption: AES256";
            let written = reply(&complete(), &head(200, lines), body).unwrap();
            assert!(matches!(written.etag.kind(), ETagKind::Multipart(_, 9)));
            assert_eq!(written.etag.as_str(), "3858f62230ac3c915f300c664312c11f-9");
            assert_eq!(written.crc, Crc64::parse(CRC));
            assert_eq!(written.version, crate::s3::VersionId::new("v1").ok());
        }
    }

    #[test]
    fn keys_of_kms_and_the_null_version_are_read_from_the_headers() {
        let lines = "x-amz-version-id: null\nx-amz-server-side-encryption: aws:kms";
        let written = reply(&complete(), &head(200, lines), COMPLETED).unwrap();
        assert_eq!((written.etag.kind(), written.version), (ETagKind::OpaqueMultipart(9), None));
    }

    #[test]
    fn a_composite_checksum_is_not_the_objects() {
        let composite = COMPLETED.replace("FULL_OBJECT", "COMPOSITE");
        assert_eq!(reply(&complete(), &head(200, ""), &composite).unwrap().crc, None);
        let of_parts = COMPLETED.replace(CRC, "rosUhgp5mIg=-9");
        assert_eq!(reply(&complete(), &head(200, ""), &of_parts).unwrap().crc, None);
    }

    #[test]
    fn an_etag_that_was_left_out_is_left_to_the_caller() {
        let empty = COMPLETED.replace("\"3858f62230ac3c915f300c664312c11f-9\"", "");
        assert_eq!(reply(&complete(), &head(200, ""), &empty).unwrap().etag.as_str(), "");
    }

    #[test]
    fn a_200_without_the_whole_document_is_no_success() {
        for body in ["", " \n \n", "<?xml version=\"1.0\"?>", "<html><body>ok</body></html>", INITIATED] {
            assert!(reply(&complete(), &head(200, ""), body).is_err(), "{body}");
        }
        cut_anywhere_is_unreadable(&complete(), COMPLETED);
    }

    #[test]
    fn what_the_reference_refuses_a_complete_for_is_refused() {
        let check = |status, code: &str, expected| {
            let body = format!("<Error><Code>{code}</Code><Message>m</Message></Error>");
            assert_eq!(refusal(&complete(), &head(status, ""), &body).class, expected, "{code}");
        };
        check(400, "EntityTooSmall", Class::Refused);
        check(400, "InvalidPart", Class::Refused);
        check(400, "InvalidPartOrder", Class::Refused);
        check(404, "NoSuchUpload", Class::Missing);
        check(409, "ConditionalRequestConflict", Class::Precondition);
        check(412, "PreconditionFailed", Class::Precondition);
        check(500, "InternalError", Class::Ambiguous);
        check(503, "SlowDown", Class::Throttled);
    }

    #[test]
    fn an_upload_is_aborted_by_its_id() {
        let abort = AbortMultipartUpload { bucket: bucket(), key: key(), upload: upload() };
        assert_eq!(request(&abort), format!("DELETE /example-object?uploadId={ID}\n\n"));
    }
}

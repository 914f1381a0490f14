//! Multipart uploads: create, part, complete, abort, and listing what is open.
//!
//! An upload is created with `x-amz-checksum-algorithm: CRC64NVME` and type `FULL_OBJECT`, so that S3 checks each part
//! and, at the end, the whole ("Checking object integrity", multipart uploads).

use super::bucket::{decoded, is_url};
use super::checksum::Crc64;
use super::encryption::Encryption;
use super::error::Unreadable;
use super::etag::ETag;
use super::object::{Style, Written};
use super::operation::{
    Answer, CRC64NVME, Head, Headers, Operation, Pace, Precondition, Query, Repeat, is_full_object,
};
use super::{Bucket, Key, PartNumber, UploadId, xml};
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
    pub style: Style,
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
    const REPEAT: Repeat = Repeat::Traces;
    const ANSWER: Answer = Answer::Document;
    const PACE: Pace = Pace::Prompt;
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

    fn body(&self) -> Bytes {
        Bytes::new()
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

impl Operation for UploadPart {
    const NAME: &'static str = "UploadPart";
    const METHOD: Method = Method::PUT;
    const ACCEPTS: &'static [StatusCode] = &[StatusCode::OK];
    // A part sent twice replaces itself.
    const REPEAT: Repeat = Repeat::Same;
    const ANSWER: Answer = Answer::Head;
    const PACE: Pace = Pace::Prompt;
    type Reply = Written;

    fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    fn key(&self) -> Option<&Key> {
        Some(&self.key)
    }

    fn query(&self, query: &mut Query) {
        query.pair("partNumber", &self.number.get().to_string());
        query.pair("uploadId", self.upload.as_str());
    }

    fn headers(&self, headers: &mut Headers) {
        headers.set(CRC64NVME, &self.crc.header());
    }

    fn body(&self) -> Bytes {
        self.bytes.clone()
    }

    fn reply(&self, head: &Head, _: &[u8]) -> Result<Written, Unreadable> {
        let written = Written::read(head);
        // Complete names each part by its ETag, so a part without one is no part.
        if written.etag.as_str().is_empty() { Err(Unreadable::header("etag")) } else { Ok(written) }
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
    #[serde(rename = "ChecksumCRC64NVME")]
    crc: String,
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
    const REPEAT: Repeat = Repeat::Traces;
    const ANSWER: Answer = Answer::Document;
    const PACE: Pace = Pace::Slow;
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
        let parts = self
            .parts
            .iter()
            .map(|part| PartElement { number: part.number.get(), etag: part.etag.quoted(), crc: part.crc.header() })
            .collect();
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

/// AbortMultipartUpload.
#[derive(Debug, Clone)]
pub struct AbortMultipartUpload {
    /// The bucket.
    pub bucket: Bucket,
    /// The key.
    pub key: Key,
    /// The upload.
    pub upload: UploadId,
}

impl Operation for AbortMultipartUpload {
    const NAME: &'static str = "AbortMultipartUpload";
    const METHOD: Method = Method::DELETE;
    const ACCEPTS: &'static [StatusCode] = &[StatusCode::NO_CONTENT, StatusCode::OK];
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
        query.pair("uploadId", self.upload.as_str());
    }

    fn headers(&self, _: &mut Headers) {}

    fn body(&self) -> Bytes {
        Bytes::new()
    }

    fn reply(&self, _: &Head, _: &[u8]) -> Result<(), Unreadable> {
        Ok(())
    }
}

/// ListParts, a page.
#[derive(Debug, Clone)]
pub struct ListParts {
    /// The bucket.
    pub bucket: Bucket,
    /// The key.
    pub key: Key,
    /// The upload.
    pub upload: UploadId,
    /// Parts after this one.
    pub after: Option<PartNumber>,
}

/// Parts that S3 holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartPage {
    /// In order of their numbers.
    pub parts: Vec<ListedPart>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<PartNumber>,
}

/// One part that S3 holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPart {
    /// Its number.
    pub number: PartNumber,
    /// Its size.
    pub size: u64,
    /// Its ETag; a listing does not say of which kind.
    pub etag: ETag,
    /// Its CRC64NVME, if it was sent with one.
    pub crc: Option<Crc64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListPartsResult {
    is_truncated: bool,
    // Text, because on the last page it may be empty.
    next_part_number_marker: Option<String>,
    #[serde(rename = "Part", default)]
    parts: Vec<PartResult>,
}

#[derive(Deserialize)]
struct PartResult {
    #[serde(rename = "PartNumber")]
    number: u64,
    #[serde(rename = "Size")]
    size: u64,
    #[serde(rename = "ETag")]
    etag: String,
    #[serde(rename = "ChecksumCRC64NVME")]
    crc: Option<String>,
}

impl Operation for ListParts {
    const NAME: &'static str = "ListParts";
    const METHOD: Method = Method::GET;
    const ACCEPTS: &'static [StatusCode] = &[StatusCode::OK];
    const REPEAT: Repeat = Repeat::Same;
    const ANSWER: Answer = Answer::Document;
    const PACE: Pace = Pace::Prompt;
    type Reply = PartPage;

    fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    fn key(&self) -> Option<&Key> {
        Some(&self.key)
    }

    fn query(&self, query: &mut Query) {
        query.optional("part-number-marker", self.after.map(|part| part.get().to_string()).as_deref());
        query.pair("uploadId", self.upload.as_str());
    }

    fn headers(&self, _: &mut Headers) {}

    fn body(&self) -> Bytes {
        Bytes::new()
    }

    fn reply(&self, _: &Head, body: &[u8]) -> Result<PartPage, Unreadable> {
        let page: ListPartsResult = xml::read(body, "ListPartsResult")?;
        let number = |n| PartNumber::new(n).map_err(|error| Unreadable::new(error.to_string()));
        let parts = page
            .parts
            .into_iter()
            .map(|part| {
                Ok(ListedPart {
                    number: number(part.number)?,
                    size: part.size,
                    etag: ETag::listed(&part.etag),
                    crc: part.crc.as_deref().and_then(Crc64::parse),
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let marker = page.next_part_number_marker.and_then(|text| text.parse().ok());
        let next = match (page.is_truncated, marker.and_then(|marker| PartNumber::new(marker).ok())) {
            // A marker that does not move on would be followed for ever.
            (true, Some(next)) if Some(next) > self.after => Some(next),
            (true, _) => return Err(Unreadable::new("a truncated ListParts without a marker that moves on")),
            (false, _) => None,
        };
        Ok(PartPage { parts, next })
    }
}

/// ListMultipartUploads, a page.
#[derive(Debug, Clone)]
pub struct ListMultipartUploads {
    /// The bucket.
    pub bucket: Bucket,
    /// Only keys that begin so.
    pub prefix: String,
    /// Uploads after these.
    pub after: Option<UploadMarker>,
}

/// Where a page of uploads begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadMarker {
    /// The key.
    pub key: String,
    /// The upload under that key.
    pub upload: String,
}

/// Uploads that are open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadPage {
    /// By key, then by time.
    pub uploads: Vec<OpenUpload>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<UploadMarker>,
}

/// One upload that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenUpload {
    /// Its key.
    pub key: Key,
    /// Its id.
    pub upload: UploadId,
    /// Who began it, if S3 says so.
    pub initiator: Option<String>,
    /// When it was begun, in seconds since 1970, if S3 says so.
    pub initiated: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListMultipartUploadsResult {
    is_truncated: bool,
    next_key_marker: Option<String>,
    next_upload_id_marker: Option<String>,
    encoding_type: Option<String>,
    #[serde(rename = "Upload", default)]
    uploads: Vec<UploadResult>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UploadResult {
    key: String,
    upload_id: String,
    initiator: Option<Initiator>,
    initiated: Option<String>,
}

#[derive(Deserialize)]
struct Initiator {
    #[serde(rename = "ID")]
    id: Option<String>,
}

impl Operation for ListMultipartUploads {
    const NAME: &'static str = "ListMultipartUploads";
    const METHOD: Method = Method::GET;
    const ACCEPTS: &'static [StatusCode] = &[StatusCode::OK];
    const REPEAT: Repeat = Repeat::Same;
    const ANSWER: Answer = Answer::Document;
    const PACE: Pace = Pace::Prompt;
    type Reply = UploadPage;

    fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    fn key(&self) -> Option<&Key> {
        None
    }

    fn query(&self, query: &mut Query) {
        query.flag("uploads");
        query.pair("encoding-type", "url");
        query.pair("prefix", &self.prefix);
        if let Some(after) = &self.after {
            query.pair("key-marker", &after.key);
            query.pair("upload-id-marker", &after.upload);
        }
    }

    fn headers(&self, _: &mut Headers) {}

    fn body(&self) -> Bytes {
        Bytes::new()
    }

    fn reply(&self, _: &Head, body: &[u8]) -> Result<UploadPage, Unreadable> {
        let page: ListMultipartUploadsResult = xml::read(body, "ListMultipartUploadsResult")?;
        let encoding = is_url(page.encoding_type.as_deref());
        let invalid = |error: super::Invalid| Unreadable::new(error.to_string());
        let uploads = page
            .uploads
            .into_iter()
            .map(|upload| {
                Ok(OpenUpload {
                    key: Key::new(&decoded(upload.key, encoding)?).map_err(invalid)?,
                    upload: UploadId::new(&upload.upload_id).map_err(invalid)?,
                    initiator: upload.initiator.and_then(|initiator| initiator.id),
                    initiated: upload.initiated.as_deref().and_then(iso_date),
                })
            })
            .collect::<Result<Vec<_>, Unreadable>>()?;
        let given = |marker: Option<String>| marker.filter(|marker| !marker.is_empty());
        let next = match (page.is_truncated, given(page.next_key_marker), given(page.next_upload_id_marker)) {
            (true, Some(key), Some(upload)) => Some(UploadMarker { key: decoded(key, encoding)?, upload }),
            (true, _, _) => return Err(Unreadable::new("a truncated ListMultipartUploads without markers")),
            (false, _, _) => None,
        };
        // Markers that do not move on would be followed for ever.
        if next.is_some() && next == self.after {
            return Err(Unreadable::new("a truncated ListMultipartUploads whose markers do not move on"));
        }
        Ok(UploadPage { uploads, next })
    }
}

/// Reads a date of a document: `2026-11-22T15:53:11.000Z`.
fn iso_date(text: &str) -> Option<i64> {
    use aws_smithy_types::date_time::{DateTime, Format};
    DateTime::from_str(text, Format::DateTime).ok().map(|time| time.secs())
}

#[cfg(test)]
mod tests {
    use super::super::encryption::Encryption;
    use super::super::error::Class;
    use super::super::etag::ETagKind;
    use super::super::operation::spelled::{cut_anywhere_is_unreadable, head, refusal, reply, request};
    use super::*;

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
        CreateMultipartUpload { bucket: bucket(), key: key(), style: Style::default() }
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
            "POST /example-object?uploads=\n\
             x-amz-checksum-algorithm: CRC64NVME\nx-amz-checksum-type: FULL_OBJECT\n\n"
        );
        let mut styled = create();
        styled.style.storage_class = Some("STANDARD_IA".into());
        styled.style.attributes.tags.insert("a".into(), "b c".into());
        assert_eq!(
            request(&styled),
            "POST /example-object?uploads=\n\
             x-amz-checksum-algorithm: CRC64NVME\nx-amz-checksum-type: FULL_OBJECT\n\
             x-amz-storage-class: STANDARD_IA\nx-amz-tagging: a=b%20c\n\n"
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
            "PUT /example-object?partNumber=1&uploadId=a%2Bb%2Fc%3D\n\
             x-amz-checksum-crc64nvme: rosUhgp5mIg=\n\n123456789"
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
            assert_eq!(written.version, super::super::VersionId::new("v1").ok());
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

    fn list_parts(after: Option<u64>) -> ListParts {
        let after = after.map(|number| PartNumber::new(number).unwrap());
        ListParts { bucket: bucket(), key: key(), upload: upload(), after }
    }

    /// "ListParts", sample response.
    const PARTS: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListPartsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Bucket>example-bucket</Bucket>
  <Key>example-object</Key>
  <UploadId>XXBsb2FkIElEIGZvciBlbHZpbmcncyVcdS1tb3ZpZS5tMnRzEEEwbG9hZA</UploadId>
  <Initiator>
      <ID>arn:aws:iam::111122223333:user/some-user-11116a31-17b5-4fb7-9df5-b288870f11xx</ID>
      <DisplayName>umat-user-11116a31-17b5-4fb7-9df5-b288870f11xx</DisplayName>
  </Initiator>
  <Owner>
    <ID>75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a</ID>
    <DisplayName>someName</DisplayName>
  </Owner>
  <StorageClass>STANDARD</StorageClass>
  <PartNumberMarker>1</PartNumberMarker>
  <NextPartNumberMarker>3</NextPartNumberMarker>
  <MaxParts>2</MaxParts>
  <IsTruncated>true</IsTruncated>
  <Part>
    <PartNumber>2</PartNumber>
    <LastModified>2010-11-10T20:48:34.000Z</LastModified>
    <ETag>"7778aef83f66abc1fa1e8477f296d394"</ETag>
    <Size>10485760</Size>
  </Part>
  <Part>
    <PartNumber>3</PartNumber>
    <LastModified>2010-11-10T20:48:33.000Z</LastModified>
    <ETag>"aaaa18db4cc2f85cedef654fccc4a4x8"</ETag>
    <Size>10485760</Size>
  </Part>
</ListPartsResult>"#;

    fn listed(number: u64, size: u64, etag: &str, crc: Option<&str>) -> ListedPart {
        let number = PartNumber::new(number).unwrap();
        ListedPart { number, size, etag: ETag::listed(etag), crc: crc.and_then(Crc64::parse) }
    }

    #[test]
    fn listing_parts_is_spelled_as_the_reference_spells_it() {
        assert_eq!(request(&list_parts(None)), format!("GET /example-object?uploadId={ID}\n\n"));
        let next = format!("GET /example-object?part-number-marker=1&uploadId={ID}\n\n");
        assert_eq!(request(&list_parts(Some(1))), next);
    }

    #[test]
    fn a_page_of_parts_is_read() {
        let page = reply(&list_parts(Some(1)), &head(200, ""), PARTS).unwrap();
        assert_eq!(page.next, PartNumber::new(3).ok());
        assert_eq!(
            page.parts,
            [
                listed(2, 10_485_760, "7778aef83f66abc1fa1e8477f296d394", None),
                listed(3, 10_485_760, "aaaa18db4cc2f85cedef654fccc4a4x8", None),
            ]
        );
        cut_anywhere_is_unreadable(&list_parts(None), PARTS);
    }

    #[test]
    fn parts_carry_the_checksum_they_were_sent_with() {
        let part = "<Part><PartNumber>1</PartNumber><ETag>&quot;a&quot;</ETag><Size>9</Size>\
            <ChecksumCRC64NVME>rosUhgp5mIg=</ChecksumCRC64NVME></Part>";
        let body = format!(
            "<ListPartsResult><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>\
             {part}<IsTruncated>false</IsTruncated></ListPartsResult>"
        );
        let page = reply(&list_parts(None), &head(200, ""), &body).unwrap();
        assert_eq!(page, PartPage { parts: vec![listed(1, 9, "a", Some(CRC))], next: None });
    }

    #[test]
    fn parts_may_stand_between_the_other_elements() {
        let part = |n| format!("<Part><PartNumber>{n}</PartNumber><ETag>e</ETag><Size>{n}</Size></Part>");
        let body = format!(
            "<ListPartsResult>{}<IsTruncated>false</IsTruncated>{}<MaxParts>9</MaxParts>{}</ListPartsResult>",
            part(1),
            part(2),
            part(3)
        );
        let page = reply(&list_parts(None), &head(200, ""), &body).unwrap();
        assert_eq!(page.parts.iter().map(|part| part.size).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn the_last_page_of_parts_has_no_next_whatever_the_marker_says() {
        for marker in ["", "<NextPartNumberMarker>0</NextPartNumberMarker>", "<NextPartNumberMarker/>"] {
            let body = format!("<ListPartsResult>{marker}<IsTruncated>false</IsTruncated></ListPartsResult>");
            let page = reply(&list_parts(None), &head(200, ""), &body);
            assert_eq!(page, Ok(PartPage { parts: Vec::new(), next: None }), "{body}");
        }
    }

    #[test]
    fn a_truncated_page_of_parts_needs_a_marker_that_moves_on() {
        for marker in ["", "<X/>", "<N/>", "<N>0</N>", "<N>4</N>", "<N>5</N>", "<N>10001</N>", "<N>x</N>"] {
            let marker = marker.replace('N', "NextPartNumberMarker");
            let body = format!("<ListPartsResult>{marker}<IsTruncated>true</IsTruncated></ListPartsResult>");
            assert!(reply(&list_parts(Some(5)), &head(200, ""), &body).is_err(), "{body}");
        }
    }

    #[test]
    fn a_page_of_parts_without_what_s3_always_sends_is_unreadable() {
        for field in ["PartNumber", "ETag", "Size"] {
            let body =
                PARTS.replacen(&format!("<{field}>"), "<Gone>", 1).replacen(&format!("</{field}>"), "</Gone>", 1);
            assert!(reply(&list_parts(None), &head(200, ""), &body).is_err(), "{field}");
        }
        for body in [
            "<ListPartsResult/>",
            "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>",
            &PARTS.replace("<PartNumber>3<", "<PartNumber>10001<"),
            &PARTS.replace("<Size>10485760<", "<Size>-1<"),
        ] {
            assert!(reply(&list_parts(None), &head(200, ""), body).is_err(), "{body}");
        }
    }

    fn list_uploads(after: Option<UploadMarker>) -> ListMultipartUploads {
        ListMultipartUploads { bucket: bucket(), prefix: "a b+c".into(), after }
    }

    /// "ListMultipartUploads", sample response, with the encoding that is asked for.
    const UPLOADS: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Bucket>bucket</Bucket>
  <KeyMarker></KeyMarker>
  <UploadIdMarker></UploadIdMarker>
  <NextKeyMarker>my-movie+2%2B3.m2ts</NextKeyMarker>
  <NextUploadIdMarker>YW55IGlkZWEgd2h5IGVsdmluZydzIHVwbG9hZCBmYWlsZWQ</NextUploadIdMarker>
  <EncodingType>url</EncodingType>
  <MaxUploads>3</MaxUploads>
  <IsTruncated>true</IsTruncated>
  <Upload>
    <Key>my-divisor</Key>
    <UploadId>XMgbGlrZSBlbHZpbmcncyBub3QgaGF2aW5nIG11Y2ggbHVjaw</UploadId>
    <Initiator>
      <ID>arn:aws:iam::111122223333:user/user1-11111a31-17b5-4fb7-9df5-b111111f13de</ID>
      <DisplayName>user1-11111a31-17b5-4fb7-9df5-b111111f13de</DisplayName>
    </Initiator>
    <Owner>
      <ID>75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a</ID>
      <DisplayName>OwnerDisplayName</DisplayName>
    </Owner>
    <StorageClass>STANDARD</StorageClass>
    <Initiated>2010-11-10T20:48:33.000Z</Initiated>
  </Upload>
  <Upload>
    <Key>my-movie+2%2B3.m2ts</Key>
    <UploadId>VXBsb2FkIElEIGZvciBlbHZpbmcncyBteS1tb3ZpZS5tMnRzIHVwbG9hZA</UploadId>
    <Initiated>not a date</Initiated>
  </Upload>
</ListMultipartUploadsResult>"#;

    #[test]
    fn listing_uploads_is_spelled_as_the_reference_spells_it() {
        assert_eq!(request(&list_uploads(None)), "GET /?uploads=&encoding-type=url&prefix=a%20b%2Bc\n\n");
        let after = UploadMarker { key: "a b+c/d".into(), upload: "id+1".into() };
        assert_eq!(
            request(&list_uploads(Some(after))),
            "GET /?uploads=&encoding-type=url&prefix=a%20b%2Bc&key-marker=a%20b%2Bc%2Fd&upload-id-marker=id%2B1\n\n"
        );
    }

    #[test]
    fn a_page_of_uploads_is_read() {
        let page = reply(&list_uploads(None), &head(200, ""), UPLOADS).unwrap();
        let [first, second] = page.uploads.as_slice() else { panic!("{page:?}") };
        assert_eq!(first.key.as_str(), "my-divisor");
        assert_eq!(first.upload.as_str(), "XMgbGlrZSBlbHZpbmcncyBub3QgaGF2aW5nIG11Y2ggbHVjaw");
        assert!(first.initiator.as_deref().unwrap().ends_with("b111111f13de"));
        assert_eq!(first.initiated, Some(1_289_422_113));
        assert_eq!(second.key.as_str(), "my-movie 2+3.m2ts");
        assert_eq!((second.initiator.as_deref(), second.initiated), (None, None));
        let next = page.next.unwrap();
        assert_eq!(next.key, "my-movie 2+3.m2ts");
        assert_eq!(next.upload, "YW55IGlkZWEgd2h5IGVsdmluZydzIHVwbG9hZCBmYWlsZWQ");
        cut_anywhere_is_unreadable(&list_uploads(None), UPLOADS);
    }

    #[test]
    fn a_page_of_uploads_that_was_not_encoded_is_read_as_it_is() {
        let plain = UPLOADS.replace("<EncodingType>url</EncodingType>", "");
        let page = reply(&list_uploads(None), &head(200, ""), &plain).unwrap();
        assert_eq!(page.uploads[1].key.as_str(), "my-movie+2%2B3.m2ts");
        assert_eq!(page.next.unwrap().key, "my-movie+2%2B3.m2ts");
    }

    #[test]
    fn no_uploads_are_a_page_too() {
        let body = "<ListMultipartUploadsResult><NextKeyMarker/><NextUploadIdMarker></NextUploadIdMarker>\
            <IsTruncated>false</IsTruncated></ListMultipartUploadsResult>";
        let page = reply(&list_uploads(None), &head(200, ""), body);
        assert_eq!(page, Ok(UploadPage { uploads: Vec::new(), next: None }));
    }

    #[test]
    fn a_truncated_page_of_uploads_needs_markers_that_move_on() {
        let id = "YW55IGlkZWEgd2h5IGVsdmluZydzIHVwbG9hZCBmYWlsZWQ";
        for body in [
            UPLOADS.replace("NextKeyMarker", "Gone"),
            UPLOADS.replace("NextUploadIdMarker", "Gone"),
            UPLOADS.replace("<NextKeyMarker>my-movie+2%2B3.m2ts<", "<NextKeyMarker><"),
            UPLOADS.replace(&format!("{id}</Next"), "</Next"),
            UPLOADS.replace("my-movie+2%2B3", "%ff"),
        ] {
            assert!(reply(&list_uploads(None), &head(200, ""), &body).is_err(), "{body}");
        }
        let same = UploadMarker { key: "my-movie 2+3.m2ts".into(), upload: id.into() };
        assert!(reply(&list_uploads(Some(same)), &head(200, ""), UPLOADS).is_err());
    }
}

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
use super::operation::{Answer, Head, Headers, Operation, Pace, Precondition, Query, Repeat};
use super::{Bucket, Key, PartNumber, UploadId, xml};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};

const CRC64NVME: &str = "x-amz-checksum-crc64nvme";

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
        let full = document.checksum_type.as_deref().is_none_or(|kind| kind.eq_ignore_ascii_case("FULL_OBJECT"));
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
    next_part_number_marker: Option<u64>,
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
        let next = match (page.is_truncated, page.next_part_number_marker) {
            (true, Some(marker)) => Some(number(marker)?),
            (true, None) => return Err(Unreadable::new("a truncated ListParts without a marker")),
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
        let next = match (page.is_truncated, page.next_key_marker, page.next_upload_id_marker) {
            (true, Some(key), Some(upload)) => Some(UploadMarker { key: decoded(key, encoding)?, upload }),
            (true, _, _) => return Err(Unreadable::new("a truncated ListMultipartUploads without markers")),
            (false, _, _) => None,
        };
        Ok(UploadPage { uploads, next })
    }
}

/// Reads a date of a document: `2026-11-22T15:53:11.000Z`.
fn iso_date(text: &str) -> Option<i64> {
    use aws_smithy_types::date_time::{DateTime, Format};
    DateTime::from_str(text, Format::DateTime).ok().map(|time| time.secs())
}

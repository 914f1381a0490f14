//! What is open: ListParts of an upload, and ListMultipartUploads of a bucket.
//!
//! A page that says there are more must say where they begin, and further on than it began itself; otherwise following
//! it would not end.

use crate::s3::bucket::{decoded, is_url};
use crate::s3::http::message::{Head, Query, Unreadable};
use crate::s3::http::operation::{AnswerTime, Idempotence, Operation, ReplyIn};
use crate::s3::integrity::crc64::Crc64;
use crate::s3::integrity::etag::ETag;
use crate::s3::xml;
use crate::s3::{Bucket, Key, PartNumber, UploadId};
use http::{Method, StatusCode};
use serde::Deserialize;

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
    // `rclone serve s3` leaves it out. A part that is not listed is sent again.
    #[serde(default)]
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
    const IDEMPOTENCE: Idempotence = Idempotence::Idempotent;
    const REPLY_IN: ReplyIn = ReplyIn::Document;
    const ANSWER_TIME: AnswerTime = AnswerTime::Prompt;
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
            (true, _) => {
                return Err(Unreadable::new("a truncated ListParts reply without a usable marker for the next page"));
            }
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
    const IDEMPOTENCE: Idempotence = Idempotence::Idempotent;
    const REPLY_IN: ReplyIn = ReplyIn::Document;
    const ANSWER_TIME: AnswerTime = AnswerTime::Prompt;
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

    fn reply(&self, _: &Head, body: &[u8]) -> Result<UploadPage, Unreadable> {
        let page: ListMultipartUploadsResult = xml::read(body, "ListMultipartUploadsResult")?;
        let encoding = is_url(page.encoding_type.as_deref());
        let invalid = |error: crate::s3::Invalid| Unreadable::new(error.to_string());
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
            (true, _, _) => {
                return Err(Unreadable::new(
                    "a truncated ListMultipartUploads reply without a usable marker for the next page",
                ));
            }
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
pub(crate) fn iso_date(text: &str) -> Option<i64> {
    use aws_smithy_types::date_time::{DateTime, Format};
    DateTime::from_str(text, Format::DateTime).ok().map(|time| time.secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::spelled::{cut_anywhere_is_unreadable, head, reply, request};

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
        let part = "<Part><PartNumber>1</PartNumber><ETag>&quot;a&quot;</ETag><Size>9</\
                    Size><ChecksumCRC64NVME>rosUhgp5mIg=</ChecksumCRC64NVME></Part>";
        let body = format!(
            "<ListPartsResult><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</\
             ChecksumType>{part}<IsTruncated>false</IsTruncated></ListPartsResult>"
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
    fn a_page_that_does_not_say_whether_it_is_the_last_is_the_last() {
        let page = reply(&list_parts(None), &head(200, ""), "<ListPartsResult/>");
        assert_eq!(page, Ok(PartPage { parts: Vec::new(), next: None }));
    }

    #[test]
    fn a_page_of_parts_without_what_s3_always_sends_is_unreadable() {
        for field in ["PartNumber", "ETag", "Size"] {
            let body =
                PARTS.replacen(&format!("<{field}>"), "<Gone>", 1).replacen(&format!("</{field}>"), "</Gone>", 1);
            assert!(reply(&list_parts(None), &head(200, ""), &body).is_err(), "{field}");
        }
        for body in [
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
        let body = "<ListMultipartUploadsResult><NextKeyMarker/><NextUploadIdMarker></\
                    NextUploadIdMarker><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>";
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

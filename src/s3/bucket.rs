//! Operations on a bucket: ListObjectsV2 and HeadBucket.

use crate::s3::http::message::{Head, Query, Unreadable};
use crate::s3::http::operation::{AnswerTime, Idempotence, Operation, ReplyIn};
use crate::s3::integrity::etag::ETag;
use crate::s3::xml;
use crate::s3::{Bucket, Key};
use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Deserialize;

/// HeadBucket; its reply is the bucket's region, if the server says it.
#[derive(Debug, Clone)]
pub(crate) struct HeadBucket {
    pub(crate) bucket: Bucket,
}

impl Operation for HeadBucket {
    const NAME: &'static str = "HeadBucket";
    const METHOD: Method = Method::HEAD;
    const ACCEPTS: &'static [StatusCode] = &[StatusCode::OK];
    const IDEMPOTENCE: Idempotence = Idempotence::Idempotent;
    const REPLY_IN: ReplyIn = ReplyIn::Head;
    const ANSWER_TIME: AnswerTime = AnswerTime::Prompt;
    type Reply = Option<String>;

    fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    fn key(&self) -> Option<&Key> {
        None
    }

    fn reply(&self, head: &Head, _: &[u8]) -> Result<Self::Reply, Unreadable> {
        Ok(head.text("x-amz-bucket-region").map(str::to_owned))
    }
}

/// ListObjectsV2, a page.
#[derive(Debug, Clone)]
pub struct ListObjectsV2 {
    /// The bucket.
    pub bucket: Bucket,
    /// Only keys that begin so.
    pub prefix: String,
    /// Only keys after this one.
    pub start_after: Option<String>,
    /// The token of the page before.
    pub continuation: Option<String>,
    /// At most so many keys, 1 to 1,000; S3's own default is 1,000.
    pub max_keys: Option<u16>,
}

/// A page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectPage {
    /// In order of the keys' UTF-8 bytes.
    pub objects: Vec<ListedObject>,
    /// The token of the next page; `None` on the last.
    pub next: Option<String>,
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Its key.
    pub key: Key,
    /// Its size.
    pub size: u64,
    /// Its ETag; a listing does not say of which kind.
    pub etag: ETag,
    /// `LastModified` as it was spelled.
    pub last_modified: String,
    /// Its storage class, if it was said.
    pub storage_class: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListBucketResult {
    is_truncated: bool,
    next_continuation_token: Option<String>,
    encoding_type: Option<String>,
    #[serde(rename = "Contents", default)]
    contents: Vec<Content>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Content {
    key: String,
    size: u64,
    #[serde(rename = "ETag")]
    etag: String,
    last_modified: String,
    storage_class: Option<String>,
}

impl Operation for ListObjectsV2 {
    const NAME: &'static str = "ListObjectsV2";
    const METHOD: Method = Method::GET;
    const ACCEPTS: &'static [StatusCode] = &[StatusCode::OK];
    const IDEMPOTENCE: Idempotence = Idempotence::Idempotent;
    const REPLY_IN: ReplyIn = ReplyIn::Document;
    const ANSWER_TIME: AnswerTime = AnswerTime::Prompt;
    type Reply = ObjectPage;

    fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    fn key(&self) -> Option<&Key> {
        None
    }

    fn query(&self, query: &mut Query) {
        query.pair("list-type", "2");
        query.pair("encoding-type", "url");
        query.pair("prefix", &self.prefix);
        query.optional("start-after", self.start_after.as_deref());
        query.optional("continuation-token", self.continuation.as_deref());
        query.optional("max-keys", self.max_keys.map(|max| max.to_string()).as_deref());
    }

    fn reply(&self, _: &Head, body: &[u8]) -> Result<ObjectPage, Unreadable> {
        let page: ListBucketResult = xml::read(body, "ListBucketResult")?;
        let encoding = is_url(page.encoding_type.as_deref());
        let objects = page
            .contents
            .into_iter()
            .map(|object| {
                Ok(ListedObject {
                    key: Key::new(&decoded(object.key, encoding)?)
                        .map_err(|error| Unreadable::new(error.to_string()))?,
                    size: object.size,
                    etag: ETag::listed(&object.etag),
                    last_modified: object.last_modified,
                    storage_class: object.storage_class,
                })
            })
            .collect::<Result<Vec<_>, Unreadable>>()?;
        let next = match (page.is_truncated, page.next_continuation_token.filter(|token| !token.is_empty())) {
            // A token that does not move on would be followed for ever.
            (true, Some(token)) if self.continuation.as_ref() != Some(&token) => Some(token),
            (true, _) => {
                return Err(Unreadable::new(
                    "a truncated ListObjectsV2 reply without a usable marker for the next page",
                ));
            }
            (false, _) => None,
        };
        Ok(ObjectPage { objects, next })
    }
}

/// How the keys of a document are spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelling {
    Plain,
    /// URL-encoded, a blank as `+`, because the server took `encoding-type=url`.
    Url,
}

/// Reads the `EncodingType` of a document: a server that ignores the request for it leaves it out.
pub(crate) fn is_url(encoding_type: Option<&str>) -> Spelling {
    if encoding_type == Some("url") { Spelling::Url } else { Spelling::Plain }
}

/// Undoes `encoding-type=url`.
pub(crate) fn decoded(text: String, spelling: Spelling) -> Result<String, Unreadable> {
    match spelling {
        Spelling::Plain => Ok(text),
        Spelling::Url => percent_decode_str(&text.replace('+', " "))
            .decode_utf8()
            .map(|text| text.into_owned())
            .map_err(|_| Unreadable::new(format!("key `{text}` is not UTF-8 once decoded"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::spelled::{cut_anywhere_is_unreadable, head, reply, request};

    fn list() -> ListObjectsV2 {
        ListObjectsV2 {
            bucket: Bucket::new("example-bucket").unwrap(),
            prefix: String::new(),
            start_after: None,
            continuation: None,
            max_keys: None,
        }
    }

    fn keys(body: &str) -> Result<Vec<String>, String> {
        let page = reply(&list(), &head(200, ""), body)?;
        Ok(page.objects.iter().map(|object| object.key.as_str().to_owned()).collect())
    }

    /// A page of one object with this key, spelled as the server says.
    fn page_of(key: &str, encoding: &str) -> String {
        format!(
            "<ListBucketResult>{encoding}<IsTruncated>false</IsTruncated><Contents><Key>{key}</\
             Key><LastModified>2014-11-21T19:40:05.000Z</LastModified><ETag>\"a\"</ETag><Size>1</Size></Contents></\
             ListBucketResult>"
        )
    }

    const URL: &str = "<EncodingType>url</EncodingType>";

    #[test]
    fn a_bucket_tells_its_region() {
        let operation = HeadBucket { bucket: Bucket::new("example-bucket").unwrap() };
        assert_eq!(request(&operation), "HEAD /\n\n");
        let region = reply(&operation, &head(200, "x-amz-bucket-region: cn-north-1"), "");
        assert_eq!(region, Ok(Some("cn-north-1".to_owned())));
        assert_eq!(reply(&operation, &head(200, ""), ""), Ok(None));
    }

    #[test]
    fn listing_is_spelled_as_the_reference_spells_it() {
        assert_eq!(request(&list()), "GET /?list-type=2&encoding-type=url&prefix=\n\n");
        let next = ListObjectsV2 {
            prefix: "a b/".into(),
            start_after: Some("a b/é".into()),
            continuation: Some("1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=".into()),
            max_keys: Some(3),
            ..list()
        };
        assert_eq!(
            request(&next),
            "GET /?list-type=2&encoding-type=url&prefix=a%20b%2F&start-after=a%20b%2F%C3%A9&\
             continuation-token=1ueGcxLPRx1Tr%2FXYExHnhbYLgveDs2J%2Fwm36Hy4vbOwM%3D&max-keys=3\n\n"
        );
    }

    /// "ListObjectsV2", sample response.
    const LISTED: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
    <Name>quotes</Name>
    <Prefix>E</Prefix>
    <StartAfter>ExampleGuide.pdf</StartAfter>
    <KeyCount>1</KeyCount>
    <MaxKeys>3</MaxKeys>
    <IsTruncated>false</IsTruncated>
    <Contents>
        <Key>ExampleObject.txt</Key>
        <LastModified>2013-09-17T18:07:53.000Z</LastModified>
        <ETag>"599bab3ed2c697f1d26842727561fd94"</ETag>
        <Size>857</Size>
        <StorageClass>REDUCED_REDUNDANCY</StorageClass>
    </Contents>
</ListBucketResult>"#;

    /// The same reference's sample with a token, with prefixes as a delimiter makes them.
    const TRUNCATED: &str = r#"<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Name>bucket</Name>
  <Prefix></Prefix>
  <NextContinuationToken>1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=</NextContinuationToken>
  <KeyCount>1000</KeyCount>
  <MaxKeys>1000</MaxKeys>
  <Delimiter>/</Delimiter>
  <IsTruncated>true</IsTruncated>
  <CommonPrefixes><Prefix>photos/2006/February/</Prefix></CommonPrefixes>
  <Contents>
    <Key>happyface.jpg</Key>
    <LastModified>2014-11-21T19:40:05.000Z</LastModified>
    <ETag>"70ee1738b6b21e2c8a43f3a5ab0eee71"</ETag>
    <ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>
    <ChecksumType>FULL_OBJECT</ChecksumType>
    <Size>11</Size>
    <Owner><ID>id</ID></Owner>
  </Contents>
  <CommonPrefixes><Prefix>photos/2006/January/</Prefix></CommonPrefixes>
  <Contents>
    <Key>sadface.jpg</Key>
    <LastModified>2014-11-21T19:40:06.000Z</LastModified>
    <ETag>"70ee1738b6b21e2c8a43f3a5ab0eee71-2"</ETag>
    <Size>12</Size>
    <StorageClass>STANDARD</StorageClass>
    <RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress></RestoreStatus>
  </Contents>
</ListBucketResult>"#;

    #[test]
    fn the_last_page_is_read() {
        let page = reply(&list(), &head(200, ""), LISTED).unwrap();
        let expected = ListedObject {
            key: Key::new("ExampleObject.txt").unwrap(),
            size: 857,
            etag: ETag::listed("599bab3ed2c697f1d26842727561fd94"),
            last_modified: "2013-09-17T18:07:53.000Z".into(),
            storage_class: Some("REDUCED_REDUNDANCY".into()),
        };
        assert_eq!(page, ObjectPage { objects: vec![expected], next: None });
        cut_anywhere_is_unreadable(&list(), LISTED);
    }

    #[test]
    fn a_page_with_prefixes_between_its_objects_is_read() {
        let page = reply(&list(), &head(200, ""), TRUNCATED).unwrap();
        assert_eq!(page.next.as_deref(), Some("1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM="));
        let sizes: Vec<(&str, u64)> = page.objects.iter().map(|o| (o.key.as_str(), o.size)).collect();
        assert_eq!(sizes, [("happyface.jpg", 11), ("sadface.jpg", 12)]);
        assert_eq!(page.objects[0].storage_class, None);
        cut_anywhere_is_unreadable(&list(), TRUNCATED);
    }

    #[test]
    fn an_empty_listing_is_a_page_too() {
        let body = "<ListBucketResult><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>";
        assert_eq!(keys(body), Ok(Vec::new()));
        assert_eq!(keys(&format!(" \n{body}")), Ok(Vec::new()));
    }

    #[test]
    fn a_truncated_page_needs_a_token_that_moves_on() {
        let token = "1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=";
        assert!(keys(&TRUNCATED.replace("NextContinuationToken", "Gone")).is_err());
        assert!(keys(&TRUNCATED.replace(token, "")).is_err());
        let same = ListObjectsV2 { continuation: Some(token.into()), ..list() };
        assert!(reply(&same, &head(200, ""), TRUNCATED).is_err());
        let last = LISTED.replace("<Name>quotes</Name>", "<NextContinuationToken/>");
        assert_eq!(reply(&list(), &head(200, ""), &last).unwrap().next, None);
    }

    #[test]
    fn a_page_without_what_s3_always_sends_is_unreadable() {
        for field in ["IsTruncated", "Key", "LastModified", "ETag", "Size"] {
            let body = LISTED.replace(&format!("<{field}>"), "<Gone>").replace(&format!("</{field}>"), "</Gone>");
            assert!(keys(&body).is_err(), "{field}");
        }
        for body in [
            "",
            "<ListBucketResult/>",
            "<ListAllMyBucketsResult><IsTruncated>false</IsTruncated></ListAllMyBucketsResult>",
            &LISTED.replace("<Size>857<", "<Size>lots<"),
            &LISTED.replace("<Size>857<", "<Size>18446744073709551616<"),
            &LISTED.replace("<IsTruncated>false<", "<IsTruncated>no<"),
            &LISTED.replace("ExampleObject.txt", ""),
        ] {
            assert!(keys(body).is_err(), "{body}");
        }
    }

    #[test]
    fn encoded_keys_are_decoded_once() {
        let check = |encoded: &str, expected: &str| {
            assert_eq!(keys(&page_of(encoded, URL)), Ok(vec![expected.to_owned()]), "{encoded}");
        };
        check("a+b", "a b");
        check("a%20b", "a b");
        check("a%2Bb", "a+b");
        check("a%252Bb", "a%2Bb");
        check("%E6%97%A5%E6%9C%AC", "日本");
        check("a%26%3Cb%3E", "a&<b>");
        check("a&amp;b", "a&b");
        check("%0A%0D%01", "\n\r\u{1}");
        check("+led%2Ftrailed+", " led/trailed ");
        check("a%zzb%", "a%zzb%");
    }

    #[test]
    fn an_encoded_key_that_is_not_utf_8_is_unreadable() {
        for encoded in ["%FF", "a%C3", "%C3+%A9", "%ED%A0%80"] {
            assert!(keys(&page_of(encoded, URL)).is_err(), "{encoded}");
        }
    }

    #[test]
    fn keys_are_taken_as_they_are_where_the_server_did_not_encode_them() {
        for encoding in ["", "<EncodingType/>", "<EncodingType>plain</EncodingType>"] {
            let check = |spelled: &str, expected: &str| {
                assert_eq!(keys(&page_of(spelled, encoding)), Ok(vec![expected.to_owned()]), "{spelled}");
            };
            check("a+b%2B", "a+b%2B");
            check("a&amp;b&#x26;c&lt;d", "a&b&c<d");
            check("<![CDATA[a&b]]>", "a&b");
            check("日本", "日本");
            check(" led and trailed ", " led and trailed ");
            check("&#10;a&#13;", "\na\r");
        }
    }
}

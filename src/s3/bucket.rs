//! Operations on a bucket: ListObjectsV2 and HeadBucket.

use super::error::Unreadable;
use super::etag::ETag;
use super::operation::{Answer, Head, Headers, Operation, Pace, Query, Repeat};
use super::{Bucket, Key, xml};
use bytes::Bytes;
use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Deserialize;

/// HeadBucket; its reply is the bucket's region, if the server says it.
#[derive(Debug, Clone)]
pub struct HeadBucket {
    /// The bucket.
    pub bucket: Bucket,
}

impl Operation for HeadBucket {
    const NAME: &'static str = "HeadBucket";
    const METHOD: Method = Method::HEAD;
    const ACCEPTS: &'static [StatusCode] = &[StatusCode::OK];
    const REPEAT: Repeat = Repeat::Same;
    const ANSWER: Answer = Answer::Head;
    const PACE: Pace = Pace::Prompt;
    type Reply = Option<String>;

    fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    fn key(&self) -> Option<&Key> {
        None
    }

    fn query(&self, _: &mut Query) {}

    fn headers(&self, _: &mut Headers) {}

    fn body(&self) -> Bytes {
        Bytes::new()
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
    const REPEAT: Repeat = Repeat::Same;
    const ANSWER: Answer = Answer::Document;
    const PACE: Pace = Pace::Prompt;
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

    fn headers(&self, _: &mut Headers) {}

    fn body(&self) -> Bytes {
        Bytes::new()
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
        let next = match (page.is_truncated, page.next_continuation_token) {
            (true, Some(token)) => Some(token),
            (true, None) => return Err(Unreadable::new("a truncated ListObjectsV2 without a token")),
            (false, _) => None,
        };
        Ok(ObjectPage { objects, next })
    }
}

/// How the keys of a document are spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// As they are.
    Plain,
    /// URL-encoded, a blank as `+`, because the server took `encoding-type=url`.
    Url,
}

/// Reads the `EncodingType` of a document: a server that ignores the request for it leaves it out.
pub(super) fn is_url(encoding_type: Option<&str>) -> Spelling {
    if encoding_type == Some("url") { Spelling::Url } else { Spelling::Plain }
}

/// Undoes `encoding-type=url`.
pub(super) fn decoded(text: String, spelling: Spelling) -> Result<String, Unreadable> {
    match spelling {
        Spelling::Plain => Ok(text),
        Spelling::Url => percent_decode_str(&text.replace('+', " "))
            .decode_utf8()
            .map(|text| text.into_owned())
            .map_err(|_| Unreadable::new(format!("key `{text}` is not UTF-8 once decoded"))),
    }
}

//! What the targets have in common: made replies, text as S3 spells it in documents, keys and tickets.

use arbitrary::{Arbitrary, Unstructured};
use http::{HeaderMap, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use xpsync::engine::decide::plan::Layout;
use xpsync::engine::decide::ticket::{SourcePin, Ticket};
use xpsync::s3::error::{Failure, read};
use xpsync::s3::http::message::Head;
use xpsync::s3::http::operation::{Operation, Precondition};
use xpsync::s3::integrity::etag::ETag;
use xpsync::s3::{Bucket, Key, UploadId};

/// A head that says 200 and nothing else.
pub fn ok() -> Head {
    Head { status: StatusCode::OK, headers: HeaderMap::new() }
}

/// Reads a body under 200. A refusal must carry a class and a code, whatever the bytes are.
pub fn reply<O: Operation>(operation: &O, body: &[u8]) -> Option<O::Reply> {
    match read(operation, &ok(), body) {
        Ok(reply) => Some(reply),
        Err(Failure::Refused(refusal)) => {
            assert!(!refusal.code.is_empty());
            assert_eq!(refusal.status, 200);
            None
        }
        Err(Failure::Unreadable(_)) => None,
    }
}

/// Some bucket.
pub fn bucket() -> Bucket {
    Bucket::new("bucket").unwrap()
}

/// Some key.
pub fn key() -> Key {
    Key::new("key").unwrap()
}

/// Some upload.
pub fn upload() -> UploadId {
    UploadId::new("upload").unwrap()
}

/// Text in an element.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A key as `encoding-type=url` and event notifications spell it: a form's encoding that leaves `/` and `*` as they
/// are.
pub fn url(key: &str) -> String {
    const KEPT: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'/').remove(b'*').remove(b' ');
    utf8_percent_encode(key, KEPT).to_string().replace(' ', "+")
}

/// Printable text without blanks at its ends, as tokens, dates, ids and classes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word(pub String);

impl<'a> Arbitrary<'a> for Word {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let text: String = u.arbitrary::<&str>()?.chars().filter(|c| is_plain(*c)).take(64).collect();
        let text = text.trim();
        Ok(Self(if text.is_empty() { "word".to_owned() } else { text.to_owned() }))
    }
}

/// Whether a character can stand in an XML document as itself and come back as itself.
pub fn is_plain(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{85}' | '\u{2028}' | '\u{fffe}' | '\u{ffff}')
}

/// Any key at all: no character is spared, since `encoding-type=url` is there for all of them.
pub fn any_key(u: &mut Unstructured<'_>) -> arbitrary::Result<Key> {
    let mut text: String = u.arbitrary::<&str>()?.to_owned();
    while text.len() > Key::MAX_BYTES {
        text.pop();
    }
    Ok(Key::new(&text).unwrap_or_else(|_| key()))
}

/// Any ticket that this program could have made.
#[derive(Debug, Clone)]
pub struct AnyTicket(pub Ticket);

impl<'a> Arbitrary<'a> for AnyTicket {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let text = |u: &mut Unstructured<'a>| u.arbitrary::<String>();
        let pin = SourcePin {
            etag: text(u)?,
            version: u.arbitrary()?,
            size: u.arbitrary()?,
            last_modified: u.arbitrary()?,
            style: text(u)?,
        };
        let layout = if u.arbitrary()? {
            Layout::Even { part: u.int_in_range(1..=u64::MAX)?, size: u.arbitrary()? }
        } else {
            Layout::Uneven(u.arbitrary()?)
        };
        let condition =
            if u.arbitrary()? { Precondition::IfAbsent } else { Precondition::IfMatch(ETag::listed(&text(u)?)) };
        let upload = UploadId::new(&text(u)?).unwrap_or_else(|_| upload());
        Ok(Self(Ticket { upload, pin, layout, condition }))
    }
}

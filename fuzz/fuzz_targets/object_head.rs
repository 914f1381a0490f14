//! The headers of GET and HEAD: an object's head or none, whatever they are, and attributes come back as they were
//! written.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use xpsync::s3::error::read;
use xpsync::s3::http::message::{Head, Headers};
use xpsync::s3::object::attributes::Attributes;
use xpsync::s3::object::get::GetObject;
use xpsync::s3::object::head::{HeadObject, ObjectHead};
use xpsync_fuzz::{Word, bucket, key};

/// Lines of `name: value`, as they came from a server.
fn headers(text: &[u8]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in text.split(|byte| *byte == b'\n').take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            map.append(name, value);
        }
    }
    map
}

fn check(head: &ObjectHead) {
    assert!(!head.etag.as_str().is_empty());
    if let Some(range) = head.range {
        assert!(range.bytes() == head.length && range.end() <= head.size);
        assert!(head.length == head.size || (head.crc.is_none() && head.stored.is_none()), "a part's checksum");
    } else {
        assert_eq!(head.length, head.size);
    }
    round_trip(&head.attributes);
}

/// What can be set at the target is what is read there; tags are asked for apart.
fn round_trip(attributes: &Attributes) {
    let mut written = Headers::default();
    attributes.set(&mut written);
    let Ok(headers) = written.finish() else { return };
    let (found, unread) = Attributes::from_head(&Head { status: StatusCode::OK, headers });
    let tags = BTreeMap::new();
    assert_eq!((found, unread), (Attributes { tags, ..attributes.clone() }, Vec::new()));
}

fn name(word: &Word) -> String {
    word.0.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}

fuzz_target!(|data: &[u8]| {
    let map = headers(data);
    for status in [StatusCode::OK, StatusCode::PARTIAL_CONTENT] {
        let head = Head { status, headers: map.clone() };
        if let Ok(found) = read(&HeadObject::current(bucket(), key()), &head, b"") {
            check(&found);
        }
        if let Ok(found) = read(&GetObject::whole(bucket(), key()), &head, b"") {
            check(&found);
            assert!(status == StatusCode::OK && found.range.is_none());
        }
    }
    let Ok((metadata, cache)) = <(Vec<(Word, Word)>, Option<Word>)>::arbitrary(&mut Unstructured::new(data)) else {
        return;
    };
    let metadata = metadata.into_iter().map(|(key, value)| (name(&key), value.0)).filter(|(key, _)| !key.is_empty());
    let system = cache.map(|word| ("cache-control".to_owned(), word.0)).into_iter().collect();
    round_trip(&Attributes { system, metadata: metadata.collect(), tags: BTreeMap::new() });
});

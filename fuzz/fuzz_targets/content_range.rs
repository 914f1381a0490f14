//! `Content-Range`: text and value are each other's, and no answer passes for a range that was not asked for.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use http::{HeaderMap, HeaderValue, StatusCode};
use libfuzzer_sys::fuzz_target;
use xpsync::s3::error::read;
use xpsync::s3::http::message::Head;
use xpsync::s3::object::get::GetObject;
use xpsync::s3::{ByteRange, ContentRange};
use xpsync_fuzz::{bucket, key};

fuzz_target!(|data: &[u8]| {
    if let Some(range) = std::str::from_utf8(data).ok().and_then(|text| ContentRange::parse(text).ok()) {
        assert!(range.range.end() <= range.size);
        assert_eq!(ContentRange::parse(&range.to_string()), Ok(range));
    }
    let mut u = Unstructured::new(data);
    let Ok((start, end, size, partial, length)) = <(u64, u64, u64, bool, u64)>::arbitrary(&mut u) else { return };
    let Ok(range) = ByteRange::new(start, end) else { return };
    let written = ContentRange { range, size };
    let read_back = ContentRange::parse(&written.to_string());
    assert_eq!(read_back.is_ok(), end <= size, "{written}");
    assert!(read_back.is_err() || read_back == Ok(written));

    let Ok(header) = HeaderValue::from_bytes(u.take_rest()) else { return };
    let mut headers = HeaderMap::new();
    headers.insert("etag", HeaderValue::from_static("\"d41d8cd98f00b204e9800998ecf8427e\""));
    headers.insert("content-length", HeaderValue::from(length));
    headers.insert("content-range", header);
    let status = if partial { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let get = GetObject { range: Some(range), ..GetObject::whole(bucket(), key()) };
    if let Ok(reply) = read(&get, &Head { status, headers }, b"") {
        assert_eq!(reply.length, range.bytes());
        match reply.range {
            Some(given) => assert_eq!(given, range),
            None => assert!(!partial && range.start() == 0),
        }
    }
});

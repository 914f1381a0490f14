//! `x-amz-checksum-…` of any algorithm: what is read is spelled as it was, and what is spelled is read as it was.
#![no_main]

use http::{HeaderMap, HeaderValue, StatusCode};
use libfuzzer_sys::fuzz_target;
use xpsync::s3::http::message::Head;
use xpsync::s3::integrity::sums::{Algorithm, Stored, Sum};

/// A head that has this checksum, said to be of this type or of none.
fn head(algorithm: Algorithm, value: &[u8], kind: Option<&'static str>) -> Option<Head> {
    let mut headers = HeaderMap::new();
    headers.insert(algorithm.header(), HeaderValue::from_bytes(value).ok()?);
    if let Some(kind) = kind {
        headers.insert("x-amz-checksum-type", HeaderValue::from_static(kind));
    }
    Some(Head { status: StatusCode::OK, headers })
}

fuzz_target!(|data: &[u8]| {
    let (head_bytes, tail) = data.split_at(data.len() / 3);
    for algorithm in Algorithm::ALL {
        for kind in [None, Some("FULL_OBJECT"), Some("COMPOSITE")] {
            let stored = head(algorithm, data, kind).and_then(|head| Stored::from_head(&head));
            if let Some(stored) = stored {
                assert_eq!(stored.sum.algorithm(), algorithm);
                assert_ne!(stored.parts, Some(0));
                assert!(kind.is_none_or(|kind| (kind == "COMPOSITE") == stored.parts.is_some()));
                let again = head(algorithm, stored.header().as_bytes(), kind).unwrap();
                assert_eq!(Stored::from_head(&again), Some(stored));
            }
        }
        let (first, second) = (Sum::of(algorithm, head_bytes), Sum::of(algorithm, tail));
        let whole = Stored::full(Sum::of(algorithm, data));
        let parts = Stored::composite(&[first, second]).unwrap();
        for (stored, kind) in [(whole, "FULL_OBJECT"), (parts, "COMPOSITE")] {
            let text = stored.header();
            for kind in [None, Some(kind)] {
                let head = head(algorithm, text.as_bytes(), kind).unwrap();
                assert_eq!(Stored::from_head(&head), Some(stored), "{text}");
            }
            if let Some(etag) = stored.etag() {
                assert_eq!(algorithm, Algorithm::Md5);
                assert!(!etag.as_str().is_empty());
            }
        }
        let combined = first.followed_by(second, tail.len() as u64);
        assert_eq!(combined, algorithm.combines().then_some(whole.sum));
    }
});

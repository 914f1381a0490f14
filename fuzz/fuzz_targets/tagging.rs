//! The `Tagging` document: the one that PutObjectTagging sends is the one that GetObjectTagging reads.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use xpsync::s3::http::operation::Operation as _;
use xpsync::s3::object::tagging::{GetObjectTagging, PutObjectTagging};
use xpsync_fuzz::{bucket, is_plain, key, reply};

fuzz_target!(|data: &[u8]| {
    let get = GetObjectTagging { bucket: bucket(), key: key(), version: None };
    let round_trip = |tags: BTreeMap<String, String>| {
        let put = PutObjectTagging { bucket: bucket(), key: key(), version: None, tags: tags.clone() };
        let body = put.body();
        assert_eq!(reply(&get, &body), Some(tags), "{}", String::from_utf8_lossy(&body));
    };
    let fits = |tags: &BTreeMap<String, String>| tags.iter().all(|(k, v)| k.chars().chain(v.chars()).all(is_plain));
    if let Some(tags) = reply(&get, data)
        && fits(&tags)
    {
        round_trip(tags);
    }
    if let Ok(tags) = Arbitrary::arbitrary(&mut Unstructured::new(data))
        && fits(&tags)
    {
        round_trip(tags);
    }
});

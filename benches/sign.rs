//! How long does it take to spell and sign one PUT?

use aws_credential_types::Credentials;
use bytes::Bytes;
use criterion::Criterion;
use std::hint::black_box;
use std::time::{Duration, UNIX_EPOCH};
use xpsync::s3::http::endpoint::{Endpoint, Region};
use xpsync::s3::http::message::{Headers, Query};
use xpsync::s3::http::operation::Operation;
use xpsync::s3::http::sign::{Scope, sign_unsigned_payload};
use xpsync::s3::integrity::crc64::Crc64;
use xpsync::s3::multipart::upload::UploadPart;
use xpsync::s3::{Bucket, Key, PartNumber, UploadId};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let endpoint = Endpoint::regional(Region::new("us-west-2").expect("a region"));
    let credentials = Credentials::from_keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", None);
    let now = UNIX_EPOCH + Duration::from_secs(1_369_353_600);
    let part = UploadPart {
        bucket: Bucket::new("example-bucket").expect("a bucket"),
        key: Key::new("photos/2013/05/a b+c.jpg").expect("a key"),
        upload: UploadId::new("VXBsb2FkIElEIGZvciBlbHZpbmcncyBteS1tb3ZpZS5tMnRzIHVwbG9hZA").expect("an id"),
        number: PartNumber::FIRST,
        bytes: Bytes::new(),
        crc: Crc64::of(b"123456789"),
    };
    criterion.bench_function("sign one PUT", |bencher| {
        bencher.iter(|| {
            let part = black_box(&part);
            let (mut query, mut headers) = (Query::default(), Headers::default());
            part.query(&mut query);
            part.headers(&mut headers);
            let mut headers = headers.finish().expect("headers");
            let location = endpoint.locate(part.bucket(), part.key());
            let uri = format!("https://{}{}?{}", location.authority(), location.path, query.as_str());
            let scope = Scope { credentials: &credentials, region: "us-west-2", now };
            sign_unsigned_payload(&UploadPart::METHOD, &uri, &mut headers, scope).expect("signed");
            headers
        });
    });
    criterion.final_summary();
}

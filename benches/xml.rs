//! How long do the largest documents take: reading a full page of keys or of parts, writing a Complete of all parts?

use criterion::Criterion;
use http::{HeaderMap, StatusCode};
use std::fmt::Write as _;
use std::hint::black_box;
use xpsync::s3::bucket::ListObjectsV2;
use xpsync::s3::error::read;
use xpsync::s3::http::message::Head;
use xpsync::s3::http::operation::Operation as _;
use xpsync::s3::integrity::crc64::Crc64;
use xpsync::s3::integrity::etag::ETag;
use xpsync::s3::multipart::listing::ListParts;
use xpsync::s3::multipart::upload::{CompleteMultipartUpload, CompletedPart};
use xpsync::s3::object::encryption::Encryption;
use xpsync::s3::{Bucket, Key, PartNumber, UploadId};

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

fn objects(count: u32) -> String {
    let mut body = format!("{DECLARATION}<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    body += "<Name>example-bucket</Name><Prefix></Prefix><EncodingType>url</EncodingType>";
    body += "<KeyCount>1000</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>";
    for n in 0..count {
        let _ = write!(
            body,
            "<Contents><Key>photos/2026/11/a+b%2Bc-{n:06}.jpg</Key><LastModified>2026-11-22T15:53:11.000Z</\
             LastModified><ETag>&quot;{n:032x}&quot;</ETag><ChecksumAlgorithm>CRC64NVME</\
             ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType><Size>{n}</Size><StorageClass>STANDARD</\
             StorageClass></Contents>"
        );
    }
    body + "</ListBucketResult>"
}

fn parts(count: u32) -> String {
    let mut body = format!("{DECLARATION}<ListPartsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    body += "<Bucket>example-bucket</Bucket><Key>example-object</Key><UploadId>id</UploadId>";
    body += "<MaxParts>1000</MaxParts><IsTruncated>false</IsTruncated>";
    for n in 1..=count {
        let crc = Crc64::of(&n.to_be_bytes()).header();
        let _ = write!(
            body,
            "<Part><PartNumber>{n}</PartNumber><LastModified>2026-11-22T15:53:11.000Z</LastModified><ETag>&quot;{n:\
             032x}&quot;</ETag><Size>5242880</Size><ChecksumCRC64NVME>{crc}</ChecksumCRC64NVME></Part>"
        );
    }
    body + "</ListPartsResult>"
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let bucket = Bucket::new("example-bucket").expect("a bucket");
    let key = Key::new("example-object").expect("a key");
    let upload = UploadId::new("id").expect("an id");
    let head = Head { status: StatusCode::OK, headers: HeaderMap::new() };

    let list = ListObjectsV2 {
        bucket: bucket.clone(),
        prefix: String::new(),
        start_after: None,
        continuation: None,
        max_keys: None,
    };
    let body = objects(1_000);
    assert_eq!(read(&list, &head, body.as_bytes()).expect("a page").objects.len(), 1_000);
    criterion.bench_function("read a page of 1,000 keys", |bencher| {
        bencher.iter(|| read(&list, &head, black_box(body.as_bytes())));
    });

    let list = ListParts { bucket: bucket.clone(), key: key.clone(), upload: upload.clone(), after: None };
    let body = parts(1_000);
    assert_eq!(read(&list, &head, body.as_bytes()).expect("a page").parts.len(), 1_000);
    criterion.bench_function("read a page of 1,000 parts", |bencher| {
        bencher.iter(|| read(&list, &head, black_box(body.as_bytes())));
    });

    let part = |number: PartNumber| CompletedPart {
        number,
        etag: ETag::new(&format!("{:032x}", number.get()), &Encryption::None),
        crc: Crc64::of(&number.get().to_be_bytes()),
    };
    let complete = CompleteMultipartUpload {
        bucket,
        key,
        upload,
        parts: PartNumber::all().map(part).collect(),
        size: 1,
        crc: Crc64::EMPTY,
        precondition: None,
    };
    criterion.bench_function("write a Complete of 10,000 parts", |bencher| {
        bencher.iter(|| black_box(&complete).body());
    });
    criterion.final_summary();
}

//! ListParts: a page that was read or made is written and read again.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use xpsync::s3::PartNumber;
use xpsync::s3::integrity::crc64::Crc64;
use xpsync::s3::integrity::etag::ETag;
use xpsync::s3::multipart::listing::{ListParts, ListedPart, PartPage};
use xpsync_fuzz::{Word, bucket, escaped, is_plain, key, reply, upload};

#[derive(Debug, Arbitrary)]
struct Part {
    number: u16,
    size: u64,
    etag: Word,
    crc: Option<[u8; 4]>,
}

fn page(parts: Vec<Part>, next: Option<u16>) -> PartPage {
    let number = |n: u16| PartNumber::new(u64::from(n % PartNumber::MAX) + 1).unwrap();
    let part = |part: Part| ListedPart {
        number: number(part.number),
        size: part.size,
        etag: ETag::listed(&part.etag.0),
        crc: part.crc.map(|bytes| Crc64::of(&bytes)),
    };
    PartPage { parts: parts.into_iter().map(part).collect(), next: next.map(number) }
}

fn written(page: &PartPage) -> String {
    let mut body = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListPartsResult>");
    for part in &page.parts {
        let crc = part.crc.map(|c| format!("<ChecksumCRC64NVME>{}</ChecksumCRC64NVME>", c.header()));
        body += &format!(
            "<Part><PartNumber>{}</PartNumber><ETag>{}</ETag><Size>{}</Size>{}</Part>",
            part.number.get(),
            escaped(&part.etag.quoted()),
            part.size,
            crc.unwrap_or_default(),
        );
    }
    match page.next {
        Some(next) => {
            body +=
                &format!("<IsTruncated>true</IsTruncated><NextPartNumberMarker>{}</NextPartNumberMarker>", next.get());
        }
        None => body += "<IsTruncated>false</IsTruncated>",
    }
    body + "</ListPartsResult>"
}

fuzz_target!(|data: &[u8]| {
    let list = ListParts { bucket: bucket(), key: key(), upload: upload(), after: None };
    let round_trip = |page: PartPage| {
        let body = written(&page);
        assert_eq!(reply(&list, body.as_bytes()), Some(page), "{body}");
    };
    if let Some(page) = reply(&list, data)
        && page.parts.iter().all(|part| part.etag.as_str().chars().all(is_plain))
    {
        round_trip(page);
    }
    if let Ok((parts, next)) = Arbitrary::arbitrary(&mut Unstructured::new(data)) {
        round_trip(page(parts, next));
    }
});

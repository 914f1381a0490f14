//! CompleteMultipartUpload: any reply is read or not; the document that is sent holds just the parts that were given.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use quick_xml::events::Event;
use xpsync::s3::PartNumber;
use xpsync::s3::http::operation::Operation as _;
use xpsync::s3::integrity::crc64::Crc64;
use xpsync::s3::integrity::etag::ETag;
use xpsync::s3::multipart::upload::{CompleteMultipartUpload, CompletedPart};
use xpsync::s3::object::encryption::Encryption;
use xpsync_fuzz::{Word, bucket, key, reply, upload};

#[derive(Debug, Arbitrary)]
struct Part {
    number: u16,
    etag: Word,
    crc: [u8; 4],
}

fn complete(parts: Vec<CompletedPart>) -> CompleteMultipartUpload {
    CompleteMultipartUpload {
        bucket: bucket(),
        key: key(),
        upload: upload(),
        parts,
        size: 0,
        crc: Crc64::EMPTY,
        precondition: None,
    }
}

/// The leaves of a document, by name, in order.
fn leaves(body: &str) -> Vec<(String, String)> {
    let mut reader = quick_xml::Reader::from_str(body);
    let mut leaves: Vec<(String, String)> = Vec::new();
    loop {
        match reader.read_event().expect("our own document is XML") {
            Event::Start(start) => leaves.push((start.local_name().as_ref().to_owned(), String::new())),
            Event::Text(text) => leaves.last_mut().expect("text is in an element").1.push_str(&text),
            Event::GeneralRef(name) => {
                let name: &str = &name;
                let text = quick_xml::escape::resolve_xml_entity(name).expect("one of the five entities");
                leaves.last_mut().expect("text is in an element").1.push_str(text);
            }
            Event::End(_) => {}
            Event::Eof => return leaves,
            other => panic!("{other:?}"),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let _ = reply(&complete(Vec::new()), data);
    let Ok(parts) = Vec::<Part>::arbitrary(&mut Unstructured::new(data)) else { return };
    if parts.is_empty() {
        return;
    }
    let parts: Vec<CompletedPart> = parts
        .into_iter()
        .map(|part| CompletedPart {
            number: PartNumber::new(u64::from(part.number % PartNumber::MAX) + 1).unwrap(),
            etag: ETag::new(&part.etag.0, &Encryption::None),
            crc: Crc64::of(&part.crc),
        })
        .collect();
    let mut expected = vec![("CompleteMultipartUpload".to_owned(), String::new())];
    for part in &parts {
        expected.push(("Part".to_owned(), String::new()));
        expected.push(("PartNumber".to_owned(), part.number.get().to_string()));
        expected.push(("ETag".to_owned(), part.etag.quoted()));
        expected.push(("ChecksumCRC64NVME".to_owned(), part.crc.header()));
    }
    let body = complete(parts).body();
    let body = std::str::from_utf8(&body).unwrap();
    assert_eq!(leaves(body), expected, "{body}");
});

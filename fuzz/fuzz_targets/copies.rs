//! CopyObject and UploadPartCopy: any reply is read or not, and what was written as one is read as it was written.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use xpsync::s3::PartNumber;
use xpsync::s3::integrity::crc64::Crc64;
use xpsync::s3::integrity::etag::ETag;
use xpsync::s3::object::copy::{CopyObject, CopySource, Summed, UploadPartCopy};
use xpsync::s3::object::put::ObjectOptions;
use xpsync_fuzz::{Word, bucket, escaped, key, reply, upload};

#[derive(Debug, Arbitrary)]
struct Copied {
    etag: Word,
    modified: Word,
    crc: Option<[u8; 4]>,
    blanks: u8,
}

impl Copied {
    fn document(&self, root: &str, crc: Option<Crc64>) -> String {
        let crc = crc.map_or_else(String::new, |crc| {
            format!("<ChecksumCRC64NVME>{}</ChecksumCRC64NVME><ChecksumType>FULL_OBJECT</ChecksumType>", crc.header())
        });
        format!(
            "{}<?xml version=\"1.0\"?>\n<{root}><LastModified>{}</LastModified><ETag>&quot;{}&quot;</ETag>{crc}</{root}>",
            " ".repeat(usize::from(self.blanks)),
            escaped(&self.modified.0),
            escaped(&self.etag.0)
        )
    }
}

fn source() -> CopySource {
    CopySource { bucket: bucket(), key: key(), version: None, if_match: ETag::listed("etag") }
}

fn object() -> CopyObject {
    CopyObject {
        bucket: bucket(),
        key: key(),
        source: source(),
        precondition: None,
        summed: Summed::Crc64Nvme,
        style: ObjectOptions::default(),
    }
}

fn part() -> UploadPartCopy {
    UploadPartCopy {
        bucket: bucket(),
        key: key(),
        upload: upload(),
        number: PartNumber::FIRST,
        source: source(),
        range: None,
    }
}

fuzz_target!(|data: &[u8]| {
    for written in [reply(&object(), data), reply(&part(), data)].into_iter().flatten() {
        assert!(!written.etag.as_str().is_empty());
    }
    let Ok(copied) = Copied::arbitrary(&mut Unstructured::new(data)) else { return };
    let crc = copied.crc.as_ref().map(|bytes| Crc64::of(bytes));
    let of_object = copied.document("CopyObjectResult", crc);
    let of_part = copied.document("CopyPartResult", crc);
    let read = reply(&object(), of_object.as_bytes()).unwrap_or_else(|| panic!("{of_object}"));
    assert_eq!((read.etag.as_str(), read.crc), (copied.etag.0.as_str(), crc));
    let read = reply(&part(), of_part.as_bytes()).unwrap_or_else(|| panic!("{of_part}"));
    assert_eq!((read.etag.as_str(), read.crc), (copied.etag.0.as_str(), crc));
    // Neither is taken for the other.
    assert!(reply(&object(), of_part.as_bytes()).is_none() && reply(&part(), of_object.as_bytes()).is_none());
});

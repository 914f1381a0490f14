//! `x-amz-checksum-crc64nvme`: every checksum has one spelling.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xpsync::s3::integrity::crc64::Crc64;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(crc) = Crc64::parse(text)
    {
        assert_eq!(crc.header(), text);
    }
    let crc = Crc64::of(data);
    assert_eq!(Crc64::parse(&crc.header()), Some(crc));
    let (head, tail) = data.split_at(data.len() / 3);
    assert_eq!(Crc64::of(head).followed_by(Crc64::of(tail), tail.len() as u64), crc);
});

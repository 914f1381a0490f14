//! Dates: those of headers and those of listings, as another crate writes them.
#![no_main]

use arbitrary::Unstructured;
use aws_smithy_types::date_time::{DateTime, Format};
use libfuzzer_sys::fuzz_target;
use xpsync::s3::error::http_date;
use xpsync::s3::versions::ListObjectVersions;
use xpsync_fuzz::{bucket, escaped, reply};

/// The year 10000, where both spellings end.
const END: i64 = 253_402_300_800;

/// What a listing's date is read as.
fn listed(text: &str) -> Option<i64> {
    let list = ListObjectVersions { bucket: bucket(), prefix: String::new(), after: None };
    let body = format!(
        "<ListVersionsResult><EncodingType>url</EncodingType><Version><Key>k</Key><VersionId>v</VersionId>\
         <LastModified>{}</LastModified></Version><IsTruncated>false</IsTruncated></ListVersionsResult>",
        escaped(text)
    );
    reply(&list, body.as_bytes())?.versions.first()?.modified
}

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        for seconds in [http_date(text), listed(text)].into_iter().flatten() {
            assert!((-END..END).contains(&seconds), "{text}");
        }
    }
    let Ok(seconds) = Unstructured::new(data).int_in_range(0..=END - 1) else { return };
    let time = DateTime::from_secs(seconds);
    let header = time.fmt(Format::HttpDate).unwrap();
    assert_eq!(http_date(&header), Some(seconds), "{header}");
    let iso = time.fmt(Format::DateTime).unwrap();
    assert_eq!(listed(&iso), Some(seconds), "{iso}");
});

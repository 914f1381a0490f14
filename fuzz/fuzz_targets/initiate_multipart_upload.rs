//! CreateMultipartUpload's reply: an id that was written is read.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use xpsync::s3::multipart::upload::CreateMultipartUpload;
use xpsync::s3::object::put::ObjectOptions;
use xpsync_fuzz::{Word, bucket, escaped, key, reply};

fuzz_target!(|data: &[u8]| {
    let create = CreateMultipartUpload { bucket: bucket(), key: key(), style: ObjectOptions::default() };
    if let Some(id) = reply(&create, data) {
        assert!(!id.as_str().is_empty());
    }
    if let Ok(id) = Word::arbitrary(&mut Unstructured::new(data)) {
        let body = format!(
            "<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><UploadId>{}</UploadId>\
             </InitiateMultipartUploadResult>",
            escaped(&id.0)
        );
        assert_eq!(reply(&create, body.as_bytes()).map(|id| id.as_str().to_owned()), Some(id.0), "{body}");
    }
});

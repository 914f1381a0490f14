//! The `Error` document: whatever comes, a refusal has a code, and what was written is read.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use http::{HeaderMap, StatusCode};
use libfuzzer_sys::fuzz_target;
use xpsync::s3::error::{ErrorDocument, Refusal};
use xpsync::s3::http::message::Head;
use xpsync::s3::object::get::GetObject;
use xpsync_fuzz::{Word, bucket, escaped, key};

#[derive(Debug, Arbitrary)]
struct Written {
    code: Word,
    message: Word,
    request_id: Option<Word>,
    region: Option<Word>,
}

fuzz_target!(|data: &[u8]| {
    let _ = ErrorDocument::read(data);
    for status in [200, 301, 400, 403, 404, 409, 412, 500, 503] {
        let head = Head { status: StatusCode::from_u16(status).unwrap(), headers: HeaderMap::new() };
        let refusal = Refusal::read(&GetObject::whole(bucket(), key()), &head, data);
        assert!(!refusal.code.is_empty());
        assert!(!refusal.says_gone() || (status == 404 && refusal.code == "NoSuchKey"));
    }
    let Ok(written) = Written::arbitrary(&mut Unstructured::new(data)) else { return };
    let optional = |name: &str, value: &Option<Word>| match value {
        Some(value) => format!("<{name}>{}</{name}>", escaped(&value.0)),
        None => String::new(),
    };
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{}</Code><Message>{}</Message>{}{}</Error>",
        escaped(&written.code.0),
        escaped(&written.message.0),
        optional("RequestId", &written.request_id),
        optional("Region", &written.region),
    );
    let expected = ErrorDocument {
        code: written.code.0,
        message: written.message.0,
        request_id: written.request_id.map(|word| word.0),
        host_id: None,
        region: written.region.map(|word| word.0),
    };
    assert_eq!(ErrorDocument::read(body.as_bytes()), Some(expected), "{body}");
});

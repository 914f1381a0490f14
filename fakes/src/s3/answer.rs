//! What answers are made of: headers, documents, and the numbers in requests that they repeat.

use crate::s3::call::Call;
use crate::s3::refusal::Refusal;
use crate::s3::request::RequestContext;
use crate::store::content::Checksum;
use crate::store::multipart::LAST_PART;
use crate::store::object::{Encryption, Object};
use crate::store::upload::UploadRef;
use http::header::{CONTENT_TYPE, ETAG, HeaderMap};
use http::{HeaderName, HeaderValue, Response};
use s3s::dto::{Timestamp, TimestampFormat};
use s3s::{Body, xml};
use std::time::SystemTime;

pub(crate) const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");

/// The largest document that a request may bring; a Complete of 10,000 parts is about a megabyte.
pub(crate) const DOCUMENT_LIMIT: usize = 4 << 20;

/// The encryption that a write asks for.
pub(crate) fn encryption(headers: &HeaderMap) -> Option<Encryption> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text("x-amz-server-side-encryption")? {
        "AES256" => Some(Encryption::Aes256),
        method => {
            let key = text("x-amz-server-side-encryption-aws-kms-key-id");
            let key = key.unwrap_or("arn:aws:kms:us-west-2:111122223333:key/aws-s3").to_owned();
            Some(if method == "aws:kms:dsse" { Encryption::Dsse(key) } else { Encryption::Kms(key) })
        }
    }
}

/// Headers of a reply to a write that made an object.
pub(crate) fn write_written(headers: &mut HeaderMap, object: &Object) {
    insert(headers, ETAG, &object.quoted_etag());
    write_encryption(headers, &object.encryption);
    write_version(headers, object);
}

pub(crate) fn write_encryption(headers: &mut HeaderMap, encryption: &Encryption) {
    let header = HeaderName::from_static("x-amz-server-side-encryption");
    match encryption {
        Encryption::Plain => {}
        Encryption::Customer => {
            insert(headers, HeaderName::from_static("x-amz-server-side-encryption-customer-algorithm"), "AES256");
        }
        Encryption::Aes256 => insert(headers, header, "AES256"),
        Encryption::Kms(key) | Encryption::Dsse(key) => {
            let is_dsse = matches!(encryption, Encryption::Dsse(_));
            insert(headers, header, if is_dsse { "aws:kms:dsse" } else { "aws:kms" });
            insert(headers, HeaderName::from_static("x-amz-server-side-encryption-aws-kms-key-id"), key);
        }
    }
}

pub(crate) fn write_version(headers: &mut HeaderMap, object: &Object) {
    if let Some(version) = &object.version {
        insert(headers, VERSION_ID, version);
    }
}

pub(crate) fn write_checksum(headers: &mut HeaderMap, checksum: &Checksum) {
    insert(headers, HeaderName::from_static(checksum.algorithm.header()), &checksum.value);
    insert(headers, HeaderName::from_static("x-amz-checksum-type"), checksum.kind.name());
}

/// Sets a header; a value that HTTP cannot carry is left out.
pub(crate) fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        headers.insert(name, value);
    }
}

/// A reply with an XML document, written by s3s from AWS's model.
pub(crate) fn document<T: xml::Serialize>(value: &T) -> Result<Response<Body>, Refusal> {
    let mut text = Vec::new();
    let mut serializer = xml::Serializer::new(&mut text);
    let written = serializer.decl().and_then(|()| value.serialize(&mut serializer));
    written.map_err(|error| Refusal::of("InternalError").because(error.to_string()))?;
    let mut reply = Response::new(Body::from(text));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    Ok(reply)
}

/// Reads an XML document by s3s's reader of AWS's model.
pub(crate) fn parse<T: for<'xml> xml::Deserialize<'xml>>(text: &[u8]) -> Result<T, Refusal> {
    let mut deserializer = xml::Deserializer::new(text);
    let value = T::deserialize(&mut deserializer);
    let value = value.and_then(|value| deserializer.expect_eof().map(|()| value));
    value.map_err(|_| Refusal::of("MalformedXML"))
}

/// A time as HTTP headers have it.
pub(crate) fn http_date(time: SystemTime) -> String {
    let mut text = Vec::new();
    match Timestamp::from(time).format(TimestampFormat::HttpDate, &mut text) {
        Ok(()) => String::from_utf8_lossy(&text).into_owned(),
        Err(_) => String::new(),
    }
}

/// The part that an address names.
pub(crate) fn part_number(call: &Call) -> Result<u16, Refusal> {
    let number = call.get("partNumber").and_then(|number| number.parse().ok());
    number.filter(|number| (1..=LAST_PART).contains(number)).ok_or_else(|| {
        Refusal::of("InvalidArgument")
            .because("Part number must be an integer between 1 and 10000, inclusive")
            .detail("ArgumentName", "partNumber")
            .detail("ArgumentValue", call.get("partNumber").unwrap_or_default())
    })
}

/// The upload that an address names.
pub(crate) fn which<'a>(ask: &RequestContext<'a>) -> Result<UploadRef<'a>, Refusal> {
    let id = ask.call.get("uploadId").filter(|id| !id.is_empty()).ok_or_else(|| Refusal::of("NoSuchUpload"))?;
    Ok(UploadRef { bucket: &ask.call.bucket, key: &ask.call.key, id })
}

/// A number of the query that is not negative.
pub(crate) fn number(ask: &RequestContext<'_>, name: &'static str) -> Result<Option<i32>, Refusal> {
    let Some(text) = ask.call.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    text.parse().ok().filter(|number| *number >= 0).map(Some).ok_or_else(|| {
        Refusal::of("InvalidArgument")
            .because(format!("Provided {name} not an integer or within integer range"))
            .detail("ArgumentName", name)
            .detail("ArgumentValue", text)
    })
}

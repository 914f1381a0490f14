//! Operations on objects: GetObject, HeadObject, PutObject, DeleteObject and the tags.

use crate::s3::answer::{
    DOCUMENT_LIMIT, VERSION_ID, document, encryption, http_date, insert, parse, write_checksum, write_encryption,
    write_version, write_written,
};
use crate::s3::auth::policy::denied;
use crate::s3::call::Operation;
use crate::s3::refusal::Refusal;
use crate::s3::request::{RequestContext, whole_body};
use crate::store::attributes::{Attributes, checked_tags};
use crate::store::conditions::{WriteCondition, check_read};
use crate::store::content::{Algorithm, Checksum, Content, Digest, Intake};
use crate::store::object::{Draft, Encryption, Found, Object};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, ETAG, EXPIRES, HeaderMap, LAST_MODIFIED, RANGE,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use s3s::Body;
use s3s::dto::{self, GetObjectTaggingOutput, Tag, Tagging};
use std::ops::Range;
use std::sync::Arc;

const DELETE_MARKER: HeaderName = HeaderName::from_static("x-amz-delete-marker");

/// GetObject and HeadObject: the same answer but for the bytes.
pub(crate) fn read(ask: &RequestContext<'_>) -> Result<Response<Body>, Refusal> {
    let object = current(ask)?;
    if object.encryption == Encryption::Customer {
        // "Using server-side encryption with customer-provided keys": nobody else learns more than that.
        return Err(Refusal::of("InvalidRequest").because(
            "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to \
             retrieve the object.",
        ));
    }
    check_read(ask.headers, &object)?;
    let gives_bytes = ask.call.operation == Operation::GetObject;
    if gives_bytes && object.attributes.is_archived() {
        let class = object.attributes.storage_class.clone().unwrap_or_default();
        return Err(Refusal::of("InvalidObjectState").detail("StorageClass", class));
    }
    let wants_checksum = ask.header("x-amz-checksum-mode").is_some_and(|mode| mode.eq_ignore_ascii_case("ENABLED"));
    if (gives_bytes || wants_checksum) && object.encryption.asks_kms() {
        ask.policy.require(&["kms:Decrypt"], &ask.call.bucket, &ask.call.key)?;
    }

    let chosen = Chosen::of(ask, &object)?;
    let mut reply = Response::new(Body::empty());
    let headers = reply.headers_mut();
    object.attributes.write(headers);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    insert(headers, ETAG, &object.quoted_etag());
    insert(headers, LAST_MODIFIED, &http_date(object.modified));
    insert(headers, CONTENT_LENGTH, &(chosen.range.end - chosen.range.start).to_string());
    write_encryption(headers, &object.encryption);
    write_version(headers, &object);
    let tags = object.attributes.tags.len();
    let tag_action = if ask.call.version().is_some() { "s3:GetObjectVersionTagging" } else { "s3:GetObjectTagging" };
    if tags > 0 && ask.policy.grants(tag_action, &ask.call.bucket, &ask.call.key) {
        insert(headers, HeaderName::from_static("x-amz-tagging-count"), &tags.to_string());
    }
    if chosen.by_part && !object.parts.is_empty() {
        insert(headers, HeaderName::from_static("x-amz-mp-parts-count"), &object.parts.len().to_string());
    }
    if let Some(checksum) = chosen.checksum.as_ref().filter(|_| wants_checksum) {
        write_checksum(headers, checksum);
    }
    for (query, header) in [
        ("response-cache-control", CACHE_CONTROL),
        ("response-content-disposition", CONTENT_DISPOSITION),
        ("response-content-encoding", CONTENT_ENCODING),
        ("response-content-language", CONTENT_LANGUAGE),
        ("response-content-type", CONTENT_TYPE),
        ("response-expires", EXPIRES),
    ] {
        if let Some(value) = ask.call.get(query) {
            insert(headers, header, value);
        }
    }
    if chosen.partial {
        if !chosen.range.is_empty() {
            let (first, last) = (chosen.range.start, chosen.range.end - 1);
            insert(headers, CONTENT_RANGE, &format!("bytes {first}-{last}/{}", object.content.len()));
        }
        *reply.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    if gives_bytes {
        *reply.body_mut() = Body::http_body(object.content.slice(chosen.range).into_body());
    }
    Ok(reply)
}

/// Which bytes a read gets, and the checksum that belongs to exactly these.
struct Chosen {
    range: Range<u64>,
    partial: bool,
    by_part: bool,
    checksum: Option<Checksum>,
}

impl Chosen {
    fn of(ask: &RequestContext<'_>, object: &Object) -> Result<Self, Refusal> {
        let len = object.content.len();
        // S3 serves the whole object where it does not understand the range, several ranges included.
        let range = ask.header(RANGE.as_str()).and_then(|text| dto::Range::parse(text).ok());
        if let Some(number) = ask.call.get("partNumber") {
            if ask.headers.contains_key(RANGE) {
                return Err(Refusal::of("InvalidRequest")
                    .because("Cannot specify both Range header and partNumber query parameter"));
            }
            return Self::part(object, number);
        }
        let Some(range) = range else {
            return Ok(Self { range: 0..len, partial: false, by_part: false, checksum: object.checksum.clone() });
        };
        // s3s takes a suffix range of an empty object for satisfiable; S3 refuses every range of one.
        let range = range.check(len).ok().filter(|range| !range.is_empty()).ok_or_else(|| {
            let mut refusal = Refusal::of("InvalidRange")
                .detail("RangeRequested", ask.header(RANGE.as_str()).unwrap_or_default())
                .detail("ActualObjectSize", len.to_string());
            if let Ok(value) = format!("bytes */{len}").parse() {
                refusal = refusal.header(CONTENT_RANGE, value);
            }
            refusal
        })?;
        let checksum = if range == (0..len) {
            object.checksum.clone()
        } else {
            let part = parts(object).find(|(_, _, part)| *part == range);
            part.filter(|_| object.checksum.is_some()).map(|(_, checksum, _)| checksum.clone())
        };
        Ok(Self { range, partial: true, by_part: false, checksum })
    }

    fn part(object: &Object, number: &str) -> Result<Self, Refusal> {
        let number: u16 = number.parse().ok().filter(|number| (1..=10_000).contains(number)).ok_or_else(|| {
            Refusal::of("InvalidArgument")
                .because("Part number must be an integer between 1 and 10000, inclusive")
                .detail("ArgumentName", "partNumber")
                .detail("ArgumentValue", number)
        })?;
        if object.parts.is_empty() && number == 1 {
            let checksum = object.checksum.clone();
            return Ok(Self { range: 0..object.content.len(), partial: true, by_part: true, checksum });
        }
        // A completed object's parts are numbered again from 1 in S3, whatever numbers they were uploaded under.
        let (_, checksum, range) = parts(object).nth(usize::from(number) - 1).ok_or_else(|| {
            Refusal::of("InvalidPartNumber")
                .detail("PartNumberRequested", number.to_string())
                .detail("ActualPartCount", object.parts.len().max(1).to_string())
        })?;
        let checksum = object.checksum.is_some().then(|| checksum.clone());
        Ok(Self { range, partial: true, by_part: true, checksum })
    }
}

pub(crate) fn parts(object: &Object) -> impl Iterator<Item = (u16, &Checksum, Range<u64>)> {
    object.parts.iter().scan(0, |start, part| {
        let range = *start..*start + part.size;
        *start = range.end;
        Some((part.number, &part.checksum, range))
    })
}

/// The object that a read means, or S3's answer for there being none. Who may not list may not learn that a key is
/// absent either.
fn current(ask: &RequestContext<'_>) -> Result<Arc<Object>, Refusal> {
    let (bucket, key) = (&ask.call.bucket, &ask.call.key);
    let may_know = |refusal: Refusal| {
        if ask.policy.grants("s3:ListBucket", bucket, "") { refusal } else { denied("s3:ListBucket", bucket, "") }
    };
    match ask.store.find(bucket, key, ask.call.version())? {
        Found::Object(object) => Ok(object),
        Found::Nothing => Err(may_know(Refusal::of("NoSuchKey").detail("Key", key))),
        Found::Marker { id, modified } => {
            let refusal = if ask.call.version().is_some() {
                let refusal = Refusal::of("MethodNotAllowed").detail("Method", ask.call.method.as_str());
                let refusal = refusal.detail("ResourceType", "DeleteMarker");
                match HeaderValue::from_str(&http_date(modified)) {
                    Ok(value) => refusal.header(LAST_MODIFIED, value),
                    Err(_) => refusal,
                }
            } else {
                may_know(Refusal::of("NoSuchKey").detail("Key", key))
            };
            let refusal = refusal.header(DELETE_MARKER, HeaderValue::from_static("true"));
            Err(match HeaderValue::from_str(&id) {
                Ok(id) => refusal.header(VERSION_ID, id),
                Err(_) => refusal,
            })
        }
    }
}

/// PutObject. What can be refused without the body is, before it is read.
pub(crate) async fn put(ask: RequestContext<'_>) -> Result<Response<Body>, Refusal> {
    let attributes = Attributes::from_request(ask.headers)?;
    let condition = WriteCondition::of(ask.headers)?;
    let encryption = encryption(ask.headers);
    let default = ask.store.bucket(&ask.call.bucket)?.encryption;
    if encryption.as_ref().unwrap_or(&default).asks_kms() {
        ask.policy.require(&["kms:GenerateDataKey"], &ask.call.bucket, &ask.call.key)?;
    }
    let (store, call) = (ask.store, ask.call);
    let (content, digest, proof) = receive(ask).await?;
    let mut draft = Draft::single(content, &digest, attributes);
    draft.encryption = encryption;
    draft.keeps_checksum = proof != Proof::Unsupported;
    let object = store.commit(&call.bucket, &call.key, &condition, draft)?;
    let mut reply = Response::new(Body::empty());
    write_written(reply.headers_mut(), &object);
    if let Some(checksum) = &object.checksum {
        write_checksum(reply.headers_mut(), checksum);
    }
    Ok(reply)
}

/// DeleteObject: 204 whether anything was there or not.
pub(crate) fn delete(ask: &RequestContext<'_>) -> Result<Response<Body>, Refusal> {
    let condition = WriteCondition::of(ask.headers)?;
    let deleted = ask.store.remove(&ask.call.bucket, &ask.call.key, ask.call.version(), &condition)?;
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    if deleted.marker {
        reply.headers_mut().insert(DELETE_MARKER, HeaderValue::from_static("true"));
    }
    if let Some(version) = deleted.version {
        insert(reply.headers_mut(), VERSION_ID, &version);
    }
    Ok(reply)
}

/// GetObjectTagging.
pub(crate) fn tags(ask: &RequestContext<'_>) -> Result<Response<Body>, Refusal> {
    let object = current(ask)?;
    let tag_set = object.attributes.tags.iter();
    let tag_set = tag_set.map(|(key, value)| Tag { key: Some(key.clone()), value: Some(value.clone()) }).collect();
    let mut reply = document(&GetObjectTaggingOutput { tag_set, version_id: None })?;
    write_version(reply.headers_mut(), &object);
    Ok(reply)
}

/// PutObjectTagging.
pub(crate) async fn put_tags(ask: RequestContext<'_>) -> Result<Response<Body>, Refusal> {
    let (store, call) = (ask.store, ask.call);
    let tagging: Tagging = parse(&whole_body(ask.body, DOCUMENT_LIMIT).await?)?;
    let tags = tagging.tag_set.into_iter();
    let tags = tags.map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default())).collect();
    store.set_tags(&call.bucket, &call.key, call.version(), checked_tags(tags)?)?;
    Ok(Response::new(Body::empty()))
}

/// Whether the client sent a checksum of its own, and which.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Proof {
    /// None.
    None,
    /// One that was compared.
    Checked(Checksum),
    /// One of an algorithm that is not computed here (SHA512, MD5, XXHASH); it is taken on trust and not kept.
    Unsupported,
}

/// Takes a body in and compares it with everything the client said about it.
pub(crate) async fn receive(ask: RequestContext<'_>) -> Result<(Content, Digest, Proof), Refusal> {
    let said =
        |name: &str| ask.headers.contains_key(name) || ask.header("x-amz-trailer").is_some_and(|value| value == name);
    let named = Algorithm::ALL.into_iter().find(|algorithm| said(algorithm.header()));
    let unsupported = named.is_none()
        && (ask.headers.keys().any(|name| name.as_str().starts_with("x-amz-checksum-"))
            || ask.header("x-amz-trailer").is_some_and(|value| value.starts_with("x-amz-checksum-")));
    if named.is_none() && !unsupported && ask.headers.contains_key("x-amz-sdk-checksum-algorithm") {
        return Err(Refusal::of("InvalidRequest").because(
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers \
             were found.",
        ));
    }
    let mut claimed = named.and_then(|algorithm| ask.header(algorithm.header())).map(str::to_owned);
    let promised: Option<u64> =
        ask.header("x-amz-decoded-content-length").or(ask.header("content-length")).and_then(|len| len.parse().ok());
    let promised = promised.ok_or_else(|| Refusal::of("MissingContentLength"))?;
    let md5 = ask.header("content-md5").map(str::to_owned);

    let mut intake = Intake::new(named);
    crate::s3::request::each_piece(ask.body, |piece| intake.push(piece)).await?;
    let (content, digest) = intake.finish();
    if digest.len != promised {
        return Err(Refusal::of("IncompleteBody"));
    }
    if md5.is_some_and(|md5| md5 != STANDARD.encode(digest.md5)) {
        return Err(Refusal::of("BadDigest").because("The Content-MD5 you specified did not match what we received."));
    }
    let Some(algorithm) = named else {
        return Ok((content, digest, if unsupported { Proof::Unsupported } else { Proof::None }));
    };
    if claimed.is_none()
        && let Some(trailers) = &ask.trailers
    {
        let value = |trailers: &HeaderMap| Some(trailers.get(algorithm.header())?.to_str().ok()?.to_owned());
        claimed = trailers.read(value).flatten();
    }
    let checksum = digest.checksum();
    match claimed {
        Some(value) if value == checksum.value => Ok((content, digest, Proof::Checked(checksum))),
        Some(value) if value.len() == checksum.value.len() && STANDARD.decode(&value).is_ok() => {
            let name = algorithm.name();
            Err(Refusal::of("BadDigest")
                .because(format!("The {name} you specified did not match the calculated checksum.")))
        }
        _ => Err(Refusal::of("InvalidRequest").because(format!("Value for {} header is invalid.", algorithm.header()))),
    }
}

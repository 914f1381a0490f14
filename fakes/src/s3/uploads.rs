//! Operations on multipart uploads, from CreateMultipartUpload to CompleteMultipartUpload and the two listings.

use crate::s3::answer::{
    DOCUMENT_LIMIT, document, encryption, insert, number, parse, part_number, which, write_encryption, write_written,
};
use crate::s3::listing::encode;
use crate::s3::objects::{Proof, receive};
use crate::s3::refusal::Refusal;
use crate::s3::request::{RequestContext, whole_body};
use crate::store::attributes::Attributes;
use crate::store::conditions::{WriteCondition, bare};
use crate::store::upload::{CompleteUpload, CreateUpload, NamedPart, Upload};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use s3s::Body;
use s3s::dto::{
    self, CompleteMultipartUploadOutput, CompletedMultipartUpload, CreateMultipartUploadOutput, ETag, Initiator,
    ListMultipartUploadsOutput, ListPartsOutput, MultipartUpload, Owner, Part, Timestamp,
};

const ACCOUNT: &str = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be";

/// CreateMultipartUpload.
pub(crate) fn create(ask: &RequestContext<'_>) -> Result<Response<Body>, Refusal> {
    let create = CreateUpload {
        attributes: Attributes::from_request(ask.headers)?,
        algorithm: ask.header("x-amz-checksum-algorithm").map(str::to_ascii_uppercase),
        checksum_type: ask.header("x-amz-checksum-type").map(str::to_ascii_uppercase),
        encryption: encryption(ask.headers),
    };
    let default = ask.store.bucket(&ask.call.bucket)?.encryption;
    if create.encryption.as_ref().unwrap_or(&default).asks_kms() {
        // Multipart under KMS decrypts too, when the parts are put together.
        ask.policy.require(&["kms:GenerateDataKey", "kms:Decrypt"], &ask.call.bucket, &ask.call.key)?;
    }
    let upload = ask.store.create_upload(&ask.call.bucket, &ask.call.key, create)?;
    let mut reply = document(&CreateMultipartUploadOutput {
        bucket: Some(upload.bucket.clone()),
        key: Some(upload.key.clone()),
        upload_id: Some(upload.id.clone()),
        ..Default::default()
    })?;
    let headers = reply.headers_mut();
    write_encryption(headers, &upload.encryption);
    for (name, value) in
        [("x-amz-checksum-algorithm", &upload.algorithm), ("x-amz-checksum-type", &upload.checksum_type)]
    {
        if let Some(value) = value {
            insert(headers, HeaderName::from_static(name), value);
        }
    }
    Ok(reply)
}

/// UploadPart. An upload that is gone is refused before the body is read, and again after it.
pub(crate) async fn put_part(ask: RequestContext<'_>) -> Result<Response<Body>, Refusal> {
    let (store, call) = (ask.store, ask.call);
    let number = part_number(call)?;
    let which = which(&ask)?;
    let upload = store.upload(which)?;
    let (content, digest, proof) = receive(ask).await?;
    let part = store.put_part(which, number, content, digest)?;
    let mut reply = Response::new(Body::empty());
    insert(reply.headers_mut(), http::header::ETAG, &format!("\"{}\"", part.etag));
    write_encryption(reply.headers_mut(), &upload.encryption);
    if let Proof::Checked(checksum) = proof {
        insert(reply.headers_mut(), HeaderName::from_static(checksum.algorithm.header()), &checksum.value);
    }
    Ok(reply)
}

/// CompleteMultipartUpload.
pub(crate) async fn complete(ask: RequestContext<'_>) -> Result<Response<Body>, Refusal> {
    let (store, call) = (ask.store, ask.call);
    let which = which(&ask)?;
    let size = match ask.header("x-amz-mp-object-size").map(str::parse) {
        None => None,
        Some(Ok(size)) => Some(size),
        Some(Err(_)) => return Err(Refusal::of("InvalidRequest")),
    };
    let (crc64nvme, checksum_type, condition) = (
        ask.header("x-amz-checksum-crc64nvme").map(str::to_owned),
        ask.header("x-amz-checksum-type").map(str::to_owned),
        WriteCondition::of(ask.headers)?,
    );
    let body: CompletedMultipartUpload = parse(&whole_body(ask.body, DOCUMENT_LIMIT).await?)?;
    let mut parts = Vec::new();
    for part in body.parts.unwrap_or_default() {
        let (Some(number), Some(etag)) = (part.part_number, part.e_tag) else {
            return Err(Refusal::of("MalformedXML"));
        };
        parts.push(NamedPart { number, etag: bare(etag.value()).to_owned(), crc64nvme: part.checksum_crc64nvme });
    }
    let complete = CompleteUpload { parts, size, crc64nvme, checksum_type, condition };
    let object = store.complete_upload(which, &complete)?;
    let mut reply = document(&CompleteMultipartUploadOutput {
        bucket: Some(call.bucket.clone()),
        key: Some(call.key.clone()),
        location: Some(format!("https://localhost{}", call.path)),
        e_tag: Some(ETag::Strong(object.etag.clone())),
        checksum_crc64nvme: object.checksum.as_ref().map(|checksum| checksum.value.clone()),
        checksum_type: object.checksum.as_ref().map(|_| dto::ChecksumType::from_static("FULL_OBJECT")),
        ..Default::default()
    })?;
    write_written(reply.headers_mut(), &object);
    reply.headers_mut().remove(http::header::ETAG);
    Ok(reply)
}

/// AbortMultipartUpload.
pub(crate) fn abort(ask: &RequestContext<'_>) -> Result<Response<Body>, Refusal> {
    ask.store.abort_upload(which(ask)?)?;
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    Ok(reply)
}

/// ListParts.
pub(crate) fn parts(ask: &RequestContext<'_>) -> Result<Response<Body>, Refusal> {
    let marker = number(ask, "part-number-marker")?.unwrap_or(0);
    let max = number(ask, "max-parts")?.unwrap_or(1_000).min(1_000);
    let (upload, parts, more) =
        ask.store.parts(which(ask)?, u16::try_from(marker).unwrap_or(u16::MAX), usize::try_from(max).unwrap_or(0))?;
    let named = upload.names_crc64nvme();
    let last = parts.last().map(|part| i32::from(part.number));
    let parts = parts.into_iter().map(|part| Part {
        checksum_crc64nvme: named.then(|| part.digest.crc64nvme().value),
        e_tag: Some(ETag::Strong(part.etag)),
        last_modified: Some(Timestamp::from(part.modified)),
        part_number: Some(i32::from(part.number)),
        size: i64::try_from(part.size).ok(),
        ..Default::default()
    });
    document(&ListPartsOutput {
        bucket: Some(upload.bucket.clone()),
        checksum_algorithm: upload.algorithm.clone().map(Into::into),
        checksum_type: upload.checksum_type.clone().map(Into::into),
        initiator: initiator(&upload),
        is_truncated: Some(more),
        key: Some(upload.key.clone()),
        max_parts: Some(max),
        next_part_number_marker: Some(last.unwrap_or(0)),
        owner: Some(owner()),
        part_number_marker: Some(marker),
        parts: Some(parts.collect()),
        storage_class: Some(class_of(&upload)),
        upload_id: Some(upload.id),
        ..Default::default()
    })
}

/// ListMultipartUploads, ordered by key and then by time of beginning.
pub(crate) fn uploads(ask: &RequestContext<'_>) -> Result<Response<Body>, Refusal> {
    ask.store.bucket(&ask.call.bucket)?;
    let prefix = ask.call.get("prefix").unwrap_or_default();
    let key_marker = ask.call.get("key-marker").unwrap_or_default();
    let id_marker = ask.call.get("upload-id-marker").filter(|_| !key_marker.is_empty()).unwrap_or_default();
    let max = number(ask, "max-uploads")?.unwrap_or(1_000).min(1_000);
    let page = usize::try_from(max).unwrap_or(0).min(ask.store.state().page);
    let url = ask.call.get("encoding-type") == Some("url");

    let mut found: Vec<Upload> = ask.store.open_uploads();
    found.retain(|upload| upload.bucket == ask.call.bucket && upload.key.starts_with(prefix));
    // The marker is a place in the order, found again even if that upload has gone in between.
    if !id_marker.is_empty()
        && let Some(place) = found.iter().position(|upload| upload.key == key_marker && upload.id == id_marker)
    {
        found.drain(..=place);
    } else if !key_marker.is_empty() {
        found.retain(|upload| upload.key.as_str() > key_marker);
    }
    let more = found.len() > page;
    found.truncate(page);
    let last = found.last().filter(|_| more);
    let text = |text: &str| encode(text, url);
    let (next_key, next_id) = (last.map(|last| text(&last.key)), last.map(|last| last.id.clone()));
    let uploads = found.iter().map(|upload| MultipartUpload {
        checksum_algorithm: upload.algorithm.clone().map(Into::into),
        checksum_type: upload.checksum_type.clone().map(Into::into),
        initiated: Some(Timestamp::from(upload.initiated)),
        initiator: initiator(upload),
        key: Some(text(&upload.key)),
        owner: Some(owner()),
        storage_class: Some(class_of(upload)),
        upload_id: Some(upload.id.clone()),
    });
    document(&ListMultipartUploadsOutput {
        bucket: Some(ask.call.bucket.clone()),
        encoding_type: url.then(|| dto::EncodingType::from_static("url")),
        is_truncated: Some(more),
        key_marker: Some(text(key_marker)),
        max_uploads: Some(max),
        next_key_marker: next_key,
        next_upload_id_marker: next_id,
        prefix: Some(text(prefix)),
        upload_id_marker: Some(id_marker.to_owned()),
        uploads: Some(uploads.collect()),
        ..Default::default()
    })
}

fn class_of(upload: &Upload) -> dto::StorageClass {
    upload.attributes.storage_class.clone().unwrap_or_else(|| "STANDARD".to_owned()).into()
}

fn initiator(upload: &Upload) -> Option<Initiator> {
    let id = upload.initiator.clone()?;
    Some(Initiator { display_name: id.rsplit('/').next().map(str::to_owned), id: Some(id) })
}

fn owner() -> Owner {
    Owner { display_name: None, id: Some(ACCOUNT.to_owned()) }
}

/// The answer to GetBucketLocation: empty for us-east-1, as ever.
pub(crate) fn location(ask: &RequestContext<'_>) -> Result<Response<Body>, Refusal> {
    ask.store.bucket(&ask.call.bucket)?;
    let region = if ask.region == "us-east-1" { "" } else { ask.region };
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<LocationConstraint \
         xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{region}</LocationConstraint>"
    );
    let mut reply = Response::new(Body::from(text));
    reply.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    Ok(reply)
}

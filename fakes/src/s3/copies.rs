//! Copies within the server: CopyObject and UploadPartCopy.
//!
//! The rules are those of <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html> and
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html>.
//! What a copy's bytes make is computed from the
//! bytes wherever what it is a copy of does not say it: the copy of a multipart object has the ETag of a single PUT.

use crate::s3::answer::{VERSION_ID, encryption, http_date, insert, part_number, which, write_encryption};
use crate::s3::auth::policy::denied;
use crate::s3::refusal::Refusal;
use crate::s3::request::RequestContext;
use crate::store::attributes::Attributes;
use crate::store::conditions::{WriteCondition, check_copy_source};
use crate::store::content::{Algorithm, Content, Digest, Intake};
use crate::store::object::{Draft, Found, Object};
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Response};
use percent_encoding::percent_decode_str;
use s3s::Body;
use std::sync::Arc;

/// The largest object that one copy takes, and the largest part.
const LARGEST: u64 = 5 << 30;

/// CopyObject.
pub(crate) async fn object(ask: RequestContext<'_>) -> Result<Response<Body>, Refusal> {
    let source = Source::of(&ask)?;
    let copied = source.find(&ask)?;
    let (headers, call) = (ask.headers, ask.call);
    let condition = WriteCondition::of(headers)?;
    if copied.content.len() > LARGEST {
        return Err(Refusal::of("InvalidRequest").because(format!(
            "The specified copy source is larger than the maximum allowable size for a copy source: {LARGEST}"
        )));
    }
    let asked = Attributes::from_request(headers)?;
    let replaces = |name: &str| match ask.header(name) {
        None | Some("COPY") => Ok(false),
        Some("REPLACE") => Ok(true),
        Some(_) => Err(Refusal::of("InvalidArgument").because(format!("Unknown {name}"))),
    };
    let (replaces_metadata, replaces_tags) =
        (replaces("x-amz-metadata-directive")?, replaces("x-amz-tagging-directive")?);
    let encryption = encryption(headers);
    let is_itself = source.bucket == call.bucket && source.key == call.key && source.version.is_none();
    let changes = replaces_metadata
        || encryption.is_some()
        || asked.storage_class.is_some()
        || headers.contains_key("x-amz-website-redirect-location");
    if is_itself && !changes {
        return Err(Refusal::of("InvalidRequest").because(
            "This copy request is illegal because it is trying to copy an object to itself without changing the \
             object's metadata, storage class, website redirect location or encryption attributes.",
        ));
    }
    if !replaces_tags && !copied.attributes.tags.is_empty() {
        ask.policy.require(&["s3:GetObjectTagging"], &source.bucket, &source.key)?;
        ask.policy.require(&["s3:PutObjectTagging"], &call.bucket, &call.key)?;
    }
    let default = ask.store.bucket(&call.bucket)?.encryption;
    if encryption.as_ref().unwrap_or(&default).asks_kms() {
        ask.policy.require(&["kms:GenerateDataKey"], &call.bucket, &call.key)?;
    }
    let mut attributes = if replaces_metadata { asked.clone() } else { copied.attributes.clone() };
    if !replaces_metadata {
        // "CopyObject": the redirect and the storage class are not copied.
        attributes.headers.remove("x-amz-website-redirect-location");
        if let Some(redirect) = asked.headers.get("x-amz-website-redirect-location") {
            attributes.headers.insert("x-amz-website-redirect-location", redirect.clone());
        }
        attributes.storage_class.clone_from(&asked.storage_class);
        attributes.restored = false;
    }
    attributes.tags = if replaces_tags { asked.tags } else { copied.attributes.tags.clone() };
    let wanted = ask.header("x-amz-checksum-algorithm").map(str::to_ascii_uppercase);
    let named = match wanted.as_deref() {
        None => copied.checksum.as_ref().map(|checksum| checksum.algorithm),
        Some(name) => Some(
            Algorithm::ALL
                .into_iter()
                .find(|algorithm| algorithm.name() == name)
                .ok_or_else(|| Refusal::of("NotImplemented").detail("Header", "x-amz-checksum-algorithm"))?,
        ),
    };
    let digest = digest(copied.content.clone(), named).await?;
    let mut draft = Draft::single(copied.content.clone(), &digest, attributes);
    draft.encryption = encryption;
    let object = ask.store.commit(&call.bucket, &call.key, &condition, draft)?;
    let checksum = object.checksum.as_ref().map(|checksum| (checksum.algorithm, checksum.value.as_str()));
    let mut reply = copied_document("CopyObjectResult", &object.etag, &http_date(object.modified), checksum);
    write_encryption(reply.headers_mut(), &object.encryption);
    if let Some(version) = &object.version {
        insert(reply.headers_mut(), VERSION_ID, version);
    }
    source.name_version(&mut reply, &copied);
    Ok(reply)
}

/// UploadPartCopy.
pub(crate) async fn part(ask: RequestContext<'_>) -> Result<Response<Body>, Refusal> {
    let source = Source::of(&ask)?;
    let copied = source.find(&ask)?;
    let (number, which) = (part_number(ask.call)?, which(&ask)?);
    let upload = ask.store.upload(which)?;
    let size = copied.content.len();
    let range = match ask.header("x-amz-copy-source-range") {
        None => 0..size,
        Some(text) => {
            let (first, end) = range_of(text).ok_or_else(|| {
                Refusal::of("InvalidArgument").because(
                    "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are \
                     the zero-based offsets of the first and last bytes to copy",
                )
            })?;
            if end > size {
                return Err(Refusal::of("InvalidArgument")
                    .because(format!("Range specified is not valid for source object of size: {size}")));
            }
            // "You can copy a range only if the source object is greater than 5 MB."
            if size <= ask.store.state().smallest_part {
                return Err(Refusal::of("InvalidRequest")
                    .because("The specified copy source is not supported as a byte-range copy source"));
            }
            first..end
        }
    };
    if range.end - range.start > LARGEST {
        return Err(Refusal::of("InvalidRequest").because(format!(
            "The specified copy range is larger than the maximum allowable size for a copy source: {LARGEST}"
        )));
    }
    let content = copied.content.slice(range);
    let digest = digest(content.clone(), None).await?;
    let crc = digest.crc64nvme();
    let part = ask.store.put_part(which, number, content, digest)?;
    let checksum = upload.names_crc64nvme().then_some((Algorithm::Crc64Nvme, crc.value.as_str()));
    let mut reply = copied_document("CopyPartResult", &part.etag, &http_date(part.modified), checksum);
    write_encryption(reply.headers_mut(), &upload.encryption);
    source.name_version(&mut reply, &copied);
    Ok(reply)
}

/// What `x-amz-copy-source` names.
struct Source {
    bucket: String,
    key: String,
    version: Option<String>,
}

impl Source {
    fn of(ask: &RequestContext<'_>) -> Result<Self, Refusal> {
        let unreadable = || {
            Refusal::of("InvalidArgument")
                .because("Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
                .detail("ArgumentName", "x-amz-copy-source")
        };
        let text = ask.header("x-amz-copy-source").ok_or_else(unreadable)?;
        let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
        let (bucket, key) = path.strip_prefix('/').unwrap_or(path).split_once('/').ok_or_else(unreadable)?;
        let decode = |text: &str| percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| unreadable());
        let version = match query {
            None => None,
            Some(query) => Some(decode(query.strip_prefix("versionId=").ok_or_else(unreadable)?)?),
        };
        let (bucket, key) = (decode(bucket)?, decode(key)?);
        if key.is_empty() { Err(unreadable()) } else { Ok(Self { bucket, key, version }) }
    }

    /// The object, if the caller may read it and it is what the request's conditions say.
    fn find(&self, ask: &RequestContext<'_>) -> Result<Arc<Object>, Refusal> {
        let (bucket, key) = (&self.bucket, &self.key);
        ask.store.bucket(bucket)?;
        let action = if self.version.is_some() { "s3:GetObjectVersion" } else { "s3:GetObject" };
        ask.policy.require(&[action], bucket, key)?;
        let object = match ask.store.find(bucket, key, self.version.as_deref())? {
            Found::Object(object) => object,
            Found::Marker { .. } if self.version.is_some() => {
                return Err(Refusal::of("InvalidRequest").because(
                    "The source of a copy request may not specifically refer to a delete marker by version id.",
                ));
            }
            Found::Marker { .. } | Found::Nothing if ask.policy.grants("s3:ListBucket", bucket, "") => {
                return Err(Refusal::of("NoSuchKey").detail("Key", key));
            }
            Found::Marker { .. } | Found::Nothing => return Err(denied("s3:ListBucket", bucket, "")),
        };
        check_copy_source(ask.headers, &object)?;
        if object.attributes.is_archived() {
            return Err(Refusal::of("ObjectNotInActiveTierError"));
        }
        if object.encryption.asks_kms() {
            ask.policy.require(&["kms:Decrypt"], bucket, key)?;
        }
        Ok(object)
    }

    fn name_version(&self, reply: &mut Response<Body>, copied: &Object) {
        if let Some(version) = &copied.version {
            insert(reply.headers_mut(), HeaderName::from_static("x-amz-copy-source-version-id"), version);
        }
    }
}

/// The first byte and the end of `bytes=first-last`.
fn range_of(text: &str) -> Option<(u64, u64)> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last.checked_add(1)?))
}

/// What bytes make; those of a gigabyte take seconds, in which the server answers others.
async fn digest(content: Content, named: Option<Algorithm>) -> Result<Digest, Refusal> {
    let task = tokio::task::spawn_blocking(move || {
        let mut intake = Intake::new(named);
        content.pieces().for_each(|piece| intake.push(piece));
        intake.finish().1
    });
    task.await.map_err(|error| Refusal::of("InternalError").because(error.to_string()))
}

fn copied_document(root: &str, etag: &str, modified: &str, checksum: Option<(Algorithm, &str)>) -> Response<Body> {
    let checksum = checksum.map_or_else(String::new, |(algorithm, value)| {
        let name = algorithm.name();
        format!("<Checksum{name}>{value}</Checksum{name}><ChecksumType>FULL_OBJECT</ChecksumType>")
    });
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root} xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
         <LastModified>{modified}</LastModified><ETag>&quot;{etag}&quot;</ETag>{checksum}</{root}>"
    );
    let mut reply = Response::new(Body::from(text));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    reply
}

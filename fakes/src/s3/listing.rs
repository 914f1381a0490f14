//! ListObjectsV2, ListObjectVersions and what else asks a bucket about itself.

use crate::s3::answer::{document, insert, number};
use crate::s3::refusal::Refusal;
use crate::s3::request::RequestContext;
use crate::store::object::{BucketConfig, Entry};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderName, Response};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::Body;
use s3s::dto::{
    self, CommonPrefix, DeleteMarkerEntry, ETag, GetBucketVersioningOutput, ListObjectVersionsOutput,
    ListObjectsV2Output, Object, ObjectVersion, Timestamp,
};

/// What `encoding-type=url` leaves as it is; blanks become `+`, as botocore's decoder expects.
const LISTED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'*').remove(b'/').remove(b' ');

/// A key as a listing shows it.
pub(crate) fn encode(text: &str, url: bool) -> String {
    if url { utf8_percent_encode(text, LISTED).to_string().replace(' ', "+") } else { text.to_owned() }
}

/// CreateBucket, for scripts; a bucket that is there stays as it is.
pub(crate) fn create_bucket(ask: &RequestContext<'_>) -> Result<Response<Body>, Refusal> {
    if ask.store.bucket(&ask.call.bucket).is_err() {
        ask.store.create_bucket(&ask.call.bucket, BucketConfig::default());
    }
    let mut reply = Response::new(Body::empty());
    insert(reply.headers_mut(), HeaderName::from_static("location"), &format!("/{}", ask.call.bucket));
    Ok(reply)
}

/// HeadBucket.
pub(crate) fn head_bucket(ask: &RequestContext<'_>) -> Result<Response<Body>, Refusal> {
    ask.store.bucket(&ask.call.bucket)?;
    let mut reply = Response::new(Body::empty());
    insert(reply.headers_mut(), HeaderName::from_static("x-amz-bucket-region"), ask.region);
    insert(reply.headers_mut(), HeaderName::from_static("x-amz-access-point-alias"), "false");
    Ok(reply)
}

/// GetBucketVersioning.
pub(crate) fn versioning(ask: &RequestContext<'_>) -> Result<Response<Body>, Refusal> {
    let versioned = ask.store.bucket(&ask.call.bucket)?.versioned;
    let status = versioned.then(|| dto::BucketVersioningStatus::from_static("Enabled"));
    document(&GetBucketVersioningOutput { status, ..Default::default() })
}

/// ListObjectsV2. A page counts keys and common prefixes alike.
pub(crate) fn objects(ask: &RequestContext<'_>) -> Result<Response<Body>, Refusal> {
    let prefix = ask.call.get("prefix").unwrap_or_default();
    let delimiter = ask.call.get("delimiter").unwrap_or_default();
    let start_after = ask.call.get("start-after").filter(|_| !ask.call.query.contains("continuation-token"));
    let token = ask.call.get("continuation-token");
    let resumed = token.map(decode_token).transpose()?;
    let url = ask.call.get("encoding-type") == Some("url");
    let max = number(ask, "max-keys")?.unwrap_or(1_000).min(1_000);

    // The place after which to go on; past a common prefix everything under it is skipped.
    let after = resumed.as_deref().or(start_after).unwrap_or_default();
    let state = ask.store.state();
    let page = usize::try_from(max).unwrap_or(0).min(state.page);
    let (mut contents, mut prefixes, mut more, mut last) = (Vec::new(), Vec::<String>::new(), false, String::new());
    for (key, object) in state.bucket(&ask.call.bucket)?.from(prefix.max(after)) {
        let Some(rest) = key.strip_prefix(prefix) else {
            // Keys are in order, so that the first one beyond the prefix is the end.
            if key < prefix {
                continue;
            }
            break;
        };
        let common = (!delimiter.is_empty())
            .then(|| rest.find(delimiter).map(|at| &key[..prefix.len() + at + delimiter.len()]))
            .flatten();
        let skipped = key <= after && !after.is_empty();
        let seen = common.is_some_and(|common| {
            prefixes.last().is_some_and(|before| before == common) || (resumed.is_some() && after == common)
        });
        if skipped || seen {
            continue;
        }
        if contents.len() + prefixes.len() >= page {
            more = page > 0;
            break;
        }
        match common {
            Some(common) => {
                prefixes.push(common.to_owned());
                common.clone_into(&mut last);
            }
            None => {
                contents.push(Object {
                    e_tag: Some(ETag::Strong(object.etag.clone())),
                    key: Some(encode(key, url)),
                    last_modified: Some(Timestamp::from(object.modified)),
                    size: i64::try_from(object.content.len()).ok(),
                    storage_class: Some(
                        object.attributes.storage_class.clone().unwrap_or_else(|| "STANDARD".to_owned()).into(),
                    ),
                    ..Default::default()
                });
                key.clone_into(&mut last);
            }
        }
    }
    drop(state);
    let count = contents.len() + prefixes.len();
    let prefixes = prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(encode(prefix, url)) });
    document(&ListObjectsV2Output {
        common_prefixes: Some(prefixes.collect()),
        contents: Some(contents),
        continuation_token: token.map(str::to_owned),
        delimiter: (!delimiter.is_empty()).then(|| encode(delimiter, url)),
        encoding_type: url.then(|| dto::EncodingType::from_static("url")),
        is_truncated: Some(more),
        key_count: i32::try_from(count).ok(),
        max_keys: Some(max),
        name: Some(ask.call.bucket.clone()),
        next_continuation_token: more.then(|| URL_SAFE_NO_PAD.encode(&last)),
        prefix: Some(encode(prefix, url)),
        start_after: start_after.map(|start| encode(start, url)),
        ..Default::default()
    })
}

/// ListObjectVersions, ordered by key and then from the newest version to the oldest.
pub(crate) fn versions(ask: &RequestContext<'_>) -> Result<Response<Body>, Refusal> {
    let prefix = ask.call.get("prefix").unwrap_or_default();
    let key_marker = ask.call.get("key-marker").unwrap_or_default();
    let id_marker = ask.call.get("version-id-marker").filter(|_| !key_marker.is_empty()).unwrap_or_default();
    let url = ask.call.get("encoding-type") == Some("url");
    let max = number(ask, "max-keys")?.unwrap_or(1_000).min(1_000);

    let state = ask.store.state();
    let page = usize::try_from(max).unwrap_or(0).min(state.page);
    let keys = state.bucket(&ask.call.bucket)?.keys.range(prefix.max(key_marker).to_owned()..);
    let (mut objects, mut markers, mut last, mut more) = (Vec::new(), Vec::new(), None, false);
    // A marker that has gone leaves the rest of its key out, as it would if it were the oldest version.
    let mut past = false;
    'keys: for (key, versions) in keys.take_while(|(key, _)| key.starts_with(prefix)) {
        for (age, version) in versions.iter().rev().enumerate() {
            let id = version.id.clone().unwrap_or_else(|| "null".to_owned());
            if key == key_marker && !past {
                past = id == id_marker;
                continue;
            }
            if objects.len() + markers.len() >= page {
                more = page > 0;
                break 'keys;
            }
            last = Some((encode(key, url), id.clone()));
            let (key, version_id, is_latest) = (Some(encode(key, url)), Some(id), Some(age == 0));
            match &version.entry {
                Entry::Object(object) => objects.push(ObjectVersion {
                    e_tag: Some(ETag::Strong(object.etag.clone())),
                    key,
                    version_id,
                    is_latest,
                    last_modified: Some(Timestamp::from(object.modified)),
                    size: i64::try_from(object.content.len()).ok(),
                    ..Default::default()
                }),
                Entry::Marker(modified) => markers.push(DeleteMarkerEntry {
                    key,
                    version_id,
                    is_latest,
                    last_modified: Some(Timestamp::from(*modified)),
                    ..Default::default()
                }),
            }
        }
    }
    drop(state);
    let (next_key, next_id) = last.filter(|_| more).unzip();
    document(&ListObjectVersionsOutput {
        delete_markers: Some(markers),
        encoding_type: url.then(|| dto::EncodingType::from_static("url")),
        is_truncated: Some(more),
        key_marker: Some(encode(key_marker, url)),
        max_keys: Some(max),
        name: Some(ask.call.bucket.clone()),
        next_key_marker: next_key,
        next_version_id_marker: next_id,
        prefix: Some(encode(prefix, url)),
        version_id_marker: Some(id_marker.to_owned()),
        versions: Some(objects),
        ..Default::default()
    })
}

fn decode_token(token: &str) -> Result<String, Refusal> {
    let key = URL_SAFE_NO_PAD.decode(token).ok().and_then(|key| String::from_utf8(key).ok());
    key.ok_or_else(|| {
        Refusal::of("InvalidArgument")
            .because("The continuation token provided is incorrect")
            .detail("ArgumentName", "continuation-token")
    })
}

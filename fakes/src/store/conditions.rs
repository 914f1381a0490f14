//! Preconditions of reads and writes, as values.
//!
//! The rules are those of <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html>.

use crate::s3::refusal::Refusal;
use crate::store::object::Object;
use http::HeaderName;
use http::header::{HeaderMap, IF_MATCH, IF_NONE_MATCH};

/// What a write or a delete asks of the current object.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum WriteCondition {
    /// Nothing.
    #[default]
    Any,
    /// `If-None-Match: *`
    IfAbsent,
    /// `If-Match` with an ETag without its quotes, or `*`.
    IfMatch(String),
}

impl WriteCondition {
    /// Reads it from a request. S3 takes the ETag with or without quotes.
    ///
    /// # Errors
    /// `NotImplemented` for an If-None-Match other than `*`, and for both headers at once.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        match (text(headers, &IF_MATCH), text(headers, &IF_NONE_MATCH)) {
            (None, None) => Ok(Self::Any),
            (None, Some("*")) => Ok(Self::IfAbsent),
            (Some(etag), None) => Ok(Self::IfMatch(bare(etag).to_owned())),
            (_, Some(_)) => Err(Refusal::of("NotImplemented").detail("Header", "If-None-Match")),
        }
    }

    /// Decides against the current object; a delete marker counts as none.
    ///
    /// # Errors
    /// `PreconditionFailed`, or `NoSuchKey` for an If-Match on nothing.
    pub(crate) fn check(&self, key: &str, current: Option<&Object>) -> Result<(), Refusal> {
        match (self, current) {
            (Self::Any, _) | (Self::IfAbsent, None) => Ok(()),
            (Self::IfAbsent, Some(_)) => Err(failed("If-None-Match")),
            (Self::IfMatch(_), None) => Err(Refusal::of("NoSuchKey").detail("Key", key)),
            (Self::IfMatch(etag), Some(object)) if etag == "*" || *etag == object.etag => Ok(()),
            (Self::IfMatch(_), Some(_)) => Err(failed("If-Match")),
        }
    }
}

/// Decides a read against the object found.
///
/// # Errors
/// `PreconditionFailed` for an If-Match that names other ETags, `NotModified` for an If-None-Match that names this one.
pub(crate) fn check_read(headers: &HeaderMap, object: &Object) -> Result<(), Refusal> {
    let names = |value: &str| value.split(',').map(bare).any(|etag| etag == "*" || etag == object.etag);
    if text(headers, &IF_MATCH).is_some_and(|value| !names(value)) {
        return Err(failed("If-Match"));
    }
    if text(headers, &IF_NONE_MATCH).is_some_and(names) {
        let mut refusal = Refusal::of("NotModified");
        if let Ok(etag) = object.quoted_etag().parse() {
            refusal = refusal.header(http::header::ETAG, etag);
        }
        return Err(refusal);
    }
    Ok(())
}

/// Decides a copy against the object that is to be copied.
///
/// # Errors
/// `PreconditionFailed`, and `NotImplemented` for the conditions on times.
pub(crate) fn check_copy_source(headers: &HeaderMap, object: &Object) -> Result<(), Refusal> {
    let condition = |name: &'static str| text(headers, &HeaderName::from_static(name));
    let names = |value: &str| value.split(',').map(bare).any(|etag| etag == "*" || etag == object.etag);
    for name in ["x-amz-copy-source-if-modified-since", "x-amz-copy-source-if-unmodified-since"] {
        if condition(name).is_some() {
            return Err(Refusal::of("NotImplemented").detail("Header", name));
        }
    }
    if condition("x-amz-copy-source-if-match").is_some_and(|value| !names(value)) {
        return Err(failed("x-amz-copy-source-If-Match"));
    }
    if condition("x-amz-copy-source-if-none-match").is_some_and(names) {
        return Err(failed("x-amz-copy-source-If-None-Match"));
    }
    Ok(())
}

fn failed(condition: &str) -> Refusal {
    Refusal::of("PreconditionFailed").detail("Condition", condition)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim).filter(|value| !value.is_empty())
}

/// An ETag without quotes and weakness.
pub(crate) fn bare(etag: &str) -> &str {
    etag.trim().trim_start_matches("W/").trim_matches('"')
}

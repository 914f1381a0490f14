//! What an object carries beside its bytes: the headers that S3 keeps, user metadata, tags, storage class.
//!
//! Header values are kept as the bytes that came in and given back as they are: S3 decodes RFC 2047 words on the way
//! in and encodes them on the way out, which for a header that holds such words is the same.

use crate::s3::refusal::Refusal;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES, HeaderMap,
};
use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

/// S3's limit on user metadata: the sum of names and values in bytes
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>).
const METADATA_LIMIT: usize = 2048;

/// S3's limit on tags of an object (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html>).
const TAG_LIMIT: usize = 10;

const META: &str = "x-amz-meta-";
const REDIRECT: HeaderName = HeaderName::from_static("x-amz-website-redirect-location");
const KEPT: [HeaderName; 7] =
    [CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES, REDIRECT];

/// Everything beside the bytes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Attributes {
    /// The kept system headers and `x-amz-meta-*`, under their lower-case names.
    pub headers: HeaderMap,
    /// Tags in the order given.
    pub tags: Vec<(String, String)>,
    /// `None` is `STANDARD`.
    pub storage_class: Option<String>,
    /// Whether an archived object has been restored.
    pub restored: bool,
}

impl Attributes {
    /// Sets a header; an unusable name or value is left out.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(value.as_bytes())) {
            self.headers.insert(name, value);
        }
        self
    }

    /// Sets an entry of user metadata.
    #[must_use]
    pub fn meta(self, name: &str, value: &str) -> Self {
        self.header(&format!("{META}{name}"), value)
    }

    /// Adds a tag.
    #[must_use]
    pub fn tag(mut self, key: &str, value: &str) -> Self {
        self.tags.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Sets the storage class.
    #[must_use]
    pub fn storage_class(mut self, class: &str) -> Self {
        self.storage_class = (class != "STANDARD").then(|| class.to_owned());
        self
    }

    /// Marks an archived object as restored.
    #[must_use]
    pub fn restored(mut self) -> Self {
        self.restored = true;
        self
    }

    /// A header's value, if it is there and is text.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether reading it needs a restore first.
    #[must_use]
    pub fn is_archived(&self) -> bool {
        !self.restored && matches!(self.storage_class.as_deref(), Some("GLACIER" | "DEEP_ARCHIVE"))
    }

    /// Reads them from the headers of a PutObject or a CreateMultipartUpload.
    ///
    /// # Errors
    /// `MetadataTooLarge` above 2 KB of user metadata, `InvalidTag` for tags S3 would not take.
    pub(crate) fn from_request(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut attributes = Self::default();
        let mut metadata = 0;
        for (name, value) in headers {
            if let Some(short) = name.as_str().strip_prefix(META) {
                metadata += short.len() + value.len();
                // Repeated metadata headers are one entry, joined by commas, in S3.
                let joined = match attributes.headers.get(name) {
                    Some(before) => [before.as_bytes(), b",", value.as_bytes()].concat(),
                    None => value.as_bytes().to_vec(),
                };
                if let Ok(joined) = HeaderValue::from_bytes(&joined) {
                    attributes.headers.insert(name.clone(), joined);
                }
            } else if *name == CONTENT_ENCODING {
                // The transfer's own coding is not the object's: S3 strips aws-chunked.
                let kept: Vec<&str> = value
                    .to_str()
                    .unwrap_or_default()
                    .split(',')
                    .map(str::trim)
                    .filter(|coding| !coding.is_empty() && *coding != "aws-chunked")
                    .collect();
                if let (false, Ok(kept)) = (kept.is_empty(), HeaderValue::from_str(&kept.join(","))) {
                    attributes.headers.insert(name.clone(), kept);
                }
            } else if KEPT.contains(name) && !value.is_empty() {
                attributes.headers.insert(name.clone(), value.clone());
            }
        }
        if metadata > METADATA_LIMIT {
            return Err(Refusal::of("MetadataTooLarge")
                .detail("Size", metadata.to_string())
                .detail("MaxSizeAllowed", METADATA_LIMIT.to_string()));
        }
        if let Some(tags) = headers.get("x-amz-tagging") {
            attributes.tags = tags_of_header(tags)?;
        }
        if let Some(class) = headers.get("x-amz-storage-class").and_then(|value| value.to_str().ok()) {
            attributes = attributes.storage_class(class);
        }
        Ok(attributes)
    }

    /// Adds them to a reply. The count of tags depends on the caller's rights and is the operation's business.
    pub(crate) fn write(&self, reply: &mut HeaderMap) {
        reply.insert(CONTENT_TYPE, HeaderValue::from_static("binary/octet-stream"));
        for (name, value) in &self.headers {
            reply.insert(name.clone(), value.clone());
        }
        if let Some(class) = self.storage_class.as_deref().and_then(|class| HeaderValue::from_str(class).ok()) {
            reply.insert(HeaderName::from_static("x-amz-storage-class"), class);
        }
        if self.restored {
            reply.insert(
                HeaderName::from_static("x-amz-restore"),
                HeaderValue::from_static("ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2040 00:00:00 GMT\""),
            );
        }
    }
}

/// Tags as `x-amz-tagging` has them: a form-encoded query.
fn tags_of_header(value: &HeaderValue) -> Result<Vec<(String, String)>, Refusal> {
    let text = value.to_str().map_err(|_| Refusal::of("InvalidArgument").detail("ArgumentName", "x-amz-tagging"))?;
    let decode = |part: &str| {
        percent_decode_str(&part.replace('+', " ")).decode_utf8().map(Into::into).map_err(|_| Refusal::of("InvalidTag"))
    };
    let mut tags = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        tags.push((decode(key)?, decode(value)?));
    }
    checked_tags(tags)
}

/// Tags within S3's limits: at most ten, keys of 1 to 128 characters without repetition, values of at most 256.
///
/// # Errors
/// `BadRequest` for too many, `InvalidTag` otherwise.
pub(crate) fn checked_tags(tags: Vec<(String, String)>) -> Result<Vec<(String, String)>, Refusal> {
    if tags.len() > TAG_LIMIT {
        return Err(Refusal::of("BadRequest")
            .status(http::StatusCode::BAD_REQUEST)
            .because("Object tags cannot be greater than 10"));
    }
    for (index, (key, value)) in tags.iter().enumerate() {
        if key.is_empty() || key.chars().count() > 128 {
            return Err(Refusal::of("InvalidTag").because("The TagKey you have provided is invalid"));
        }
        if value.chars().count() > 256 {
            return Err(Refusal::of("InvalidTag").because("The TagValue you have provided is invalid"));
        }
        if tags[..index].iter().any(|(before, _)| before == key) {
            return Err(Refusal::of("InvalidTag").because("Cannot provide multiple Tags with the same key"));
        }
    }
    Ok(tags)
}

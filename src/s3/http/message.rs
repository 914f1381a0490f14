//! The parts that requests and replies are made of: query, headers, status.

use crate::mutation::{self, Mutation};
use crate::s3::VersionId;
use crate::s3::integrity::crc64::Crc64;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use md5::{Digest as _, Md5};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use thiserror::Error;

/// Status and headers of a reply.
#[derive(Debug, Clone)]
pub struct Head {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
}

impl Head {
    /// A header's text, if it is there and is UTF-8.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
    }

    /// A header's number, if it is there and is one: digits and nothing else.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.text(name).filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
    }

    /// The version that it names; an object without one has the version `null` ("Working with objects in a
    /// versioning-suspended bucket").
    pub(crate) fn version(&self) -> Option<VersionId> {
        self.text("x-amz-version-id").filter(|id| *id != "null").and_then(|id| VersionId::new(id).ok())
    }

    /// The CRC64NVME that it says of a whole object or of a whole part, never one that was made of parts' checksums.
    pub(crate) fn crc(&self) -> Option<Crc64> {
        let full = self.text("x-amz-checksum-type").is_none_or(is_full_object);
        self.text(CRC64NVME).filter(|_| full).and_then(Crc64::parse)
    }
}

/// The header of a CRC64NVME.
pub(crate) const CRC64NVME: &str = "x-amz-checksum-crc64nvme";

/// Whether a checksum type says that the checksum is of the bytes themselves. CRT spells it in lower case.
pub(crate) fn is_full_object(checksum_type: &str) -> bool {
    checksum_type.eq_ignore_ascii_case("FULL_OBJECT")
}

/// Everything but the unreserved characters of RFC 3986.
pub(crate) const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(crate) const PATH: &AsciiSet = &QUERY.remove(b'/');

/// A key as a path: every byte but the unreserved ones and `/` percent-encoded, nothing normalised.
pub(crate) fn path_of(key: &str) -> String {
    utf8_percent_encode(key, PATH).to_string()
}

/// The query of a request, encoded strictly, because the signature decodes and encodes it again.
#[derive(Debug, Default)]
pub struct Query(String);

impl Query {
    /// A name without a value.
    pub(crate) fn flag(&mut self, name: &str) {
        self.pair(name, "");
    }

    /// A name and its value.
    pub fn pair(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.extend(utf8_percent_encode(name, QUERY));
        self.0.push('=');
        self.0.extend(utf8_percent_encode(value, QUERY));
    }

    /// A name and its value, if there is one.
    pub(crate) fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.pair(name, value);
        }
    }

    /// The encoded text, empty if nothing was added.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Names and values as a form encodes them: `x-amz-tagging`.
pub(crate) fn form(pairs: &[(String, String)]) -> String {
    let mut query = Query::default();
    for (name, value) in pairs {
        query.pair(name, value);
    }
    query.0
}

/// The headers of a request; a value that cannot stand in a header is remembered and refused before it is sent.
#[derive(Debug, Default, Clone)]
pub struct Headers {
    map: HeaderMap,
    unfit: Option<String>,
}

impl Headers {
    /// Sets a header.
    pub fn set(&mut self, name: &str, value: &str) {
        if name == CRC64NVME && mutation::is_on(Mutation::NoCrc) {
            return;
        }
        match (HeaderName::try_from(name), HeaderValue::from_bytes(value.as_bytes())) {
            (Ok(name), Ok(value)) => drop(self.map.insert(name, value)),
            _ => self.unfit = Some(name.to_owned()),
        }
    }

    /// Sets a header, if there is a value.
    pub(crate) fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    /// Sets a header, if there is one.
    pub(crate) fn optional_pair(&mut self, header: Option<(&str, String)>) {
        if let Some((name, value)) = header {
            self.set(name, &value);
        }
    }

    /// Sets `Content-MD5`, which some operations require of their document.
    pub(crate) fn content_md5(&mut self, body: &[u8]) {
        self.set("content-md5", &STANDARD.encode(Md5::digest(body)));
    }

    /// The headers.
    ///
    /// # Errors
    /// The name of a header whose value cannot be sent.
    pub fn finish(self) -> Result<HeaderMap, String> {
        match self.unfit {
            None => Ok(self.map),
            Some(name) => Err(name),
        }
    }
}

/// A reply that is neither what was asked for nor an error.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("reply not understood: {what}")]
pub struct Unreadable {
    what: String,
}

impl Unreadable {
    /// Says what could not be read.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }

    /// A header that S3 always sends, and that is missing or unreadable.
    pub(crate) fn header(name: &str) -> Self {
        Self::new(format!("header {name} is missing or malformed"))
    }
}

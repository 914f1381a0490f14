//! What belongs to an object besides its bytes, and is carried with it.
//!
//! "Working with object metadata": system headers, user metadata, tags, the website redirect. Values are passed on as
//! S3 gave them: it returns what is not ASCII as RFC 2047 words and takes those words back.

use crate::s3::http::message::{Head, Headers, form};
use std::collections::BTreeMap;

/// The system headers that are carried, by name.
const SYSTEM: [&str; 7] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
    "x-amz-website-redirect-location",
];
const METADATA: &str = "x-amz-meta-";

/// What is seen of Object Lock by who may see it. A lock forbids deletion at the bucket it is in for the sake of the
/// rules there; copied to another, it would forbid what nobody there has asked for and could not be taken back.
const LOCKS: [(&str, &str); 2] =
    [("x-amz-object-lock-legal-hold", "a legal hold"), ("x-amz-object-lock-mode", "a retention period")];

/// Headers, user metadata and tags of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// System headers by lower-case name.
    pub system: BTreeMap<String, String>,
    /// User metadata by lower-case name without its prefix.
    pub metadata: BTreeMap<String, String>,
    /// Tags by key.
    pub tags: BTreeMap<String, String>,
}

/// An attribute that could not be read from a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// The header's name.
    pub(crate) name: String,
    /// Why.
    pub(crate) reason: String,
}

impl Attributes {
    /// Reads headers and metadata of a GET's or HEAD's reply, and says which could not be read.
    pub fn from_head(head: &Head) -> (Self, Vec<Unread>) {
        let mut attributes = Self::default();
        let mut unread = Vec::new();
        for (name, value) in &head.headers {
            let name = name.as_str();
            let metadata = name.strip_prefix(METADATA);
            if metadata.is_none() && !SYSTEM.contains(&name) {
                continue;
            }
            let Ok(text) = std::str::from_utf8(value.as_bytes()) else {
                unread.push(Unread { name: name.to_owned(), reason: "its value is not UTF-8".to_owned() });
                continue;
            };
            match metadata {
                Some(metadata) => {
                    // A name given twice arrives as two headers or as one with a comma; both are the same value.
                    let entry = attributes.metadata.entry(metadata.to_owned()).or_default();
                    if !entry.is_empty() {
                        entry.push(',');
                    }
                    entry.push_str(text);
                }
                None if name == "content-encoding" => {
                    // `aws-chunked` is of the transfer, and some servers keep it ("PutObject", Content-Encoding).
                    let kept: Vec<&str> =
                        text.split(',').map(str::trim).filter(|t| *t != "aws-chunked" && !t.is_empty()).collect();
                    if !kept.is_empty() {
                        attributes.system.insert(name.to_owned(), kept.join(","));
                    }
                }
                None => drop(attributes.system.insert(name.to_owned(), text.to_owned())),
            }
        }
        for (name, held) in LOCKS {
            if head.text(name).is_some_and(|value| value != "OFF") {
                let reason = format!("{held} (Object Lock) is not copied: it stays with the source bucket");
                unread.push(Unread { name: name.to_owned(), reason });
            }
        }
        if let Some(missing) = head.number("x-amz-missing-meta").filter(|count| *count > 0) {
            let reason = format!("{missing} entries of user metadata that S3 cannot show in headers");
            unread.push(Unread { name: "x-amz-missing-meta".to_owned(), reason });
        }
        (attributes, unread)
    }

    /// Sets the headers that give a new object these attributes.
    pub fn set(&self, headers: &mut Headers) {
        for (name, value) in &self.system {
            headers.set(name, value);
        }
        for (name, value) in &self.metadata {
            headers.set(&format!("{METADATA}{name}"), value);
        }
        if !self.tags.is_empty() {
            let pairs: Vec<(String, String)> = self.tags.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
            headers.set("x-amz-tagging", &form(&pairs));
        }
    }

    /// Whether two objects look the same but for their bytes. A missing Content-Type is what S3 stores for it.
    pub(crate) fn agree(&self, other: &Self) -> bool {
        fn content_type(attributes: &Attributes) -> &str {
            attributes.system.get("content-type").map_or("binary/octet-stream", String::as_str)
        }
        fn others(attributes: &Attributes) -> impl Iterator<Item = (&String, &String)> {
            attributes.system.iter().filter(|(name, _)| *name != "content-type")
        }
        content_type(self) == content_type(other)
            && others(self).eq(others(other))
            && self.metadata == other.metadata
            && self.tags == other.tags
    }

    /// About how much they add to the head of a request: names and values, and the names once more in the signature.
    pub(crate) fn header_bytes(&self) -> usize {
        let system = self.system.iter().map(|(name, value)| 2 * name.len() + value.len());
        let metadata = self.metadata.iter().map(|(name, value)| 2 * (METADATA.len() + name.len()) + value.len());
        let tags = self.tags.iter().map(|(key, value)| form(&[(key.clone(), value.clone())]).len() + 1);
        system.chain(metadata).chain(tags).sum()
    }

    /// The bytes that S3 counts against its 2 KB of user metadata: UTF-8 of names and values.
    pub(crate) fn metadata_bytes(&self) -> usize {
        self.metadata.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue, StatusCode};

    fn read(pairs: &[(&'static str, &'static [u8])]) -> (Attributes, Vec<Unread>) {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        Attributes::from_head(&Head { status: StatusCode::OK, headers })
    }

    #[test]
    fn what_was_read_is_written_again() {
        let (mut attributes, unread) = read(&[
            ("content-type", b"text/plain"),
            ("x-amz-meta-name", b"=?UTF-8?B?w6k=?="),
            ("x-amz-website-redirect-location", b"/other"),
            ("date", b"now"),
        ]);
        attributes.tags.insert("a b".into(), "c&d".into());
        assert!(unread.is_empty());
        let mut headers = Headers::default();
        attributes.set(&mut headers);
        let headers = headers.finish().unwrap();
        assert_eq!(headers["x-amz-meta-name"], "=?UTF-8?B?w6k=?=");
        assert_eq!(headers["x-amz-tagging"], "a%20b=c%26d");
        assert_eq!(headers["content-type"], "text/plain");
        assert_eq!(headers.len(), 4);
    }

    #[test]
    fn the_transfers_encoding_is_not_the_objects() {
        assert!(read(&[("content-encoding", b"aws-chunked")]).0.system.is_empty());
        assert_eq!(read(&[("content-encoding", b"gzip,aws-chunked")]).0.system["content-encoding"], "gzip");
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let (_, unread) = read(&[("x-amz-meta-latin", b"\xe9"), ("x-amz-missing-meta", b"2")]);
        assert_eq!(
            unread.iter().map(|u| u.name.as_str()).collect::<Vec<_>>(),
            ["x-amz-meta-latin", "x-amz-missing-meta"]
        );
    }

    #[test]
    fn a_lock_is_left_alone_and_said() {
        let names = |pairs| read(pairs).1.into_iter().map(|unread| unread.name).collect::<Vec<_>>();
        let retained: [(&'static str, &'static [u8]); 3] = [
            ("x-amz-object-lock-mode", b"COMPLIANCE"),
            ("x-amz-object-lock-retain-until-date", b"2030-01-01T00:00:00Z"),
            ("x-amz-object-lock-legal-hold", b"ON"),
        ];
        assert_eq!(names(&retained), ["x-amz-object-lock-legal-hold", "x-amz-object-lock-mode"]);
        assert!(names(&[("x-amz-object-lock-legal-hold", b"OFF")]).is_empty());
        assert!(read(&retained).0 == Attributes::default());
    }

    #[test]
    fn what_they_add_to_a_request_is_counted_as_it_is_sent() {
        let (mut attributes, _) = read(&[("x-amz-meta-ab", b"cde"), ("expires", b"0")]);
        assert_eq!(attributes.header_bytes(), 2 * 13 + 3 + 2 * 7 + 1);
        let before = attributes.header_bytes();
        attributes.tags.insert("ü".into(), "v".into());
        assert_eq!(attributes.header_bytes() - before, "%C3%BC=v&".len());
    }

    #[test]
    fn a_missing_content_type_is_the_one_that_s3_stores() {
        let (none, _) = read(&[]);
        let (stored, _) = read(&[("content-type", b"binary/octet-stream")]);
        let (other, _) = read(&[("content-type", b"text/plain")]);
        let (cached, _) = read(&[("cache-control", b"no-store")]);
        assert!(none.agree(&stored) && stored.agree(&none));
        assert!(!none.agree(&other));
        assert!(!none.agree(&cached));
    }
}

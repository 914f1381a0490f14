//! The S3 protocol as values: requests in, replies out, the time passed in as `now`.
//!
//! Owns the words of the protocol and one struct for each operation. Must not know a socket, a clock, the
//! environment, a task or a log. Everything here can be tested, benched and fuzzed without a server.

pub mod bucket;
pub mod error;
pub mod http;
pub mod integrity;
pub mod multipart;
pub mod object;
#[cfg(test)]
pub(crate) mod spelled;
pub mod versions;
pub(crate) mod xml;

use std::fmt;
use thiserror::Error;

/// A word of the protocol that is not one.
#[derive(Debug, Error, PartialEq, Eq, Clone)]
pub enum Invalid {
    /// "Bucket naming rules": 3 to 63 characters of `a-z`, `0-9`, `.` and `-`; older buckets also have capitals,
    /// underscores and up to 255 characters, and are let through.
    #[error("`{0}` is not a bucket name")]
    Bucket(String),
    /// "Naming Amazon S3 objects": 1 to 1,024 bytes of UTF-8.
    #[error("an object key has 1 to 1,024 bytes of UTF-8, this one has {0}")]
    Key(usize),
    /// An empty version id or upload id, or one that cannot stand in a header.
    #[error("{0} is empty or has unprintable characters")]
    Id(&'static str),
    /// "Amazon S3 multipart upload limits": 1 to 10,000.
    #[error("a part number is 1 to 10,000, not {0}")]
    PartNumber(u64),
    /// A range that holds no byte.
    #[error("the byte range from {0} to {1} is empty")]
    Range(u64, u64),
    /// A `Content-Range` that cannot be read.
    #[error("`{0}` is not a Content-Range")]
    ContentRange(String),
}

/// The name of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bucket(Box<str>);

impl Bucket {
    /// Checks a name against S3's rules.
    ///
    /// # Errors
    /// [`Invalid::Bucket`].
    pub fn new(name: &str) -> Result<Self, Invalid> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        let well_formed = (3..=255).contains(&name.len())
            && name.chars().all(allowed)
            && ends(name.chars().next())
            && ends(name.chars().next_back())
            && !name.contains("..");
        if well_formed { Ok(Self(name.into())) } else { Err(Invalid::Bucket(name.to_owned())) }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the name can be a label before the endpoint's host: the wildcard of S3's certificates covers one
    /// label, and a host has no capitals ("Virtual hosting of buckets").
    pub(crate) fn is_host_label(&self) -> bool {
        self.0.len() <= 63 && self.0.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The key of an object, never normalised.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Box<str>);

impl Key {
    /// The longest key in bytes ("Naming Amazon S3 objects").
    pub const MAX_BYTES: usize = 1024;

    /// Checks the length.
    ///
    /// # Errors
    /// [`Invalid::Key`].
    pub fn new(key: &str) -> Result<Self, Invalid> {
        if (1..=Self::MAX_BYTES).contains(&key.len()) { Ok(Self(key.into())) } else { Err(Invalid::Key(key.len())) }
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// Checks that the id is printable and not empty; otherwise it is opaque.
            ///
            /// # Errors
            /// [`Invalid::Id`].
            pub fn new(id: &str) -> Result<Self, Invalid> {
                if id.is_empty() || id.chars().any(char::is_control) { Err(Invalid::Id($what)) } else { Ok(Self(id.into())) }
            }

            /// The id as S3 gave it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}

id!(
    /// One version of an object in a versioned bucket.
    VersionId,
    "version id"
);
id!(
    /// A multipart upload that is open.
    UploadId,
    "upload id"
);

/// The number of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartNumber(u16);

impl PartNumber {
    /// The most parts an upload can have ("Amazon S3 multipart upload limits").
    pub const MAX: u16 = 10_000;
    /// The first part.
    pub const FIRST: Self = Self(1);

    /// Checks the bounds.
    ///
    /// # Errors
    /// [`Invalid::PartNumber`].
    pub fn new(number: u64) -> Result<Self, Invalid> {
        match u16::try_from(number) {
            Ok(small @ 1..=Self::MAX) => Ok(Self(small)),
            _ => Err(Invalid::PartNumber(number)),
        }
    }

    /// All of them, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..=Self::MAX).map(Self)
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0
    }
}

/// Bytes `start..end` of an object, never empty; half-open here, inclusive only in header text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ByteRange {
    start: u64,
    end: u64,
}

impl ByteRange {
    /// Bytes `start..end`.
    ///
    /// # Errors
    /// [`Invalid::Range`] if the object is empty.
    pub fn new(start: u64, end: u64) -> Result<Self, Invalid> {
        if start < end { Ok(Self { start, end }) } else { Err(Invalid::Range(start, end)) }
    }

    /// The first byte.
    pub fn start(self) -> u64 {
        self.start
    }

    /// One past the last byte.
    pub fn end(self) -> u64 {
        self.end
    }

    /// How many bytes it holds; the name `len` would ask for an `is_empty` that is never true.
    pub fn bytes(self) -> u64 {
        self.end - self.start
    }

    /// What is left after `done` bytes; `None` when nothing is.
    pub(crate) fn after(self, done: u64) -> Option<Self> {
        Self::new(self.start.checked_add(done)?, self.end).ok()
    }

    /// The value of a `Range` header.
    pub(crate) fn header(self) -> String {
        format!("bytes={}-{}", self.start, self.end - 1)
    }
}

/// The `Content-Range` of a reply: which bytes of how large an object (RFC 9110, 14.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    /// The bytes that follow.
    pub range: ByteRange,
    /// The size of the object.
    pub size: u64,
}

impl ContentRange {
    /// Reads `bytes 0-4/10`.
    ///
    /// # Errors
    /// [`Invalid::ContentRange`] for anything else, a range past the size included.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid::ContentRange(text.to_owned());
        let (range, size) = text.strip_prefix("bytes ").and_then(|t| t.split_once('/')).ok_or_else(invalid)?;
        let (first, last) = range.split_once('-').ok_or_else(invalid)?;
        let number = |digits: &str| {
            if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse::<u64>().ok() } else { None }
                .ok_or_else(invalid)
        };
        let end = number(last)?.checked_add(1).ok_or_else(invalid)?;
        let range = ByteRange::new(number(first)?, end).map_err(|_| invalid())?;
        let size = number(size)?;
        if range.end <= size { Ok(Self { range, size }) } else { Err(invalid()) }
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {}-{}/{}", self.range.start, self.range.end - 1, self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_follow_the_naming_rules() {
        for good in ["abc", "a.b-c", "my-bucket-1", "Old_Bucket", &"a".repeat(63)] {
            assert!(Bucket::new(good).is_ok(), "{good}");
        }
        for bad in ["", "ab", "a/b", "-abc", "abc-", "a..b", "a b", "böse", &"a".repeat(256)] {
            assert_eq!(Bucket::new(bad), Err(Invalid::Bucket(bad.to_owned())));
        }
    }

    #[test]
    fn a_dotted_or_capital_bucket_is_no_host_label() {
        assert!(Bucket::new("plain-1").unwrap().is_host_label());
        assert!(!Bucket::new("a.b.c").unwrap().is_host_label());
        assert!(!Bucket::new("Capital").unwrap().is_host_label());
    }

    #[test]
    fn keys_are_measured_in_bytes() {
        assert!(Key::new("//").is_ok());
        assert!(Key::new(&"é".repeat(512)).is_ok());
        assert_eq!(Key::new(&"é".repeat(513)), Err(Invalid::Key(1026)));
        assert_eq!(Key::new(""), Err(Invalid::Key(0)));
    }

    #[test]
    fn part_numbers_end_at_ten_thousand() {
        assert_eq!(PartNumber::all().last().unwrap().get(), 10_000);
        assert_eq!(PartNumber::new(0), Err(Invalid::PartNumber(0)));
        assert_eq!(PartNumber::new(10_001), Err(Invalid::PartNumber(10_001)));
        assert_eq!(PartNumber::new(65_537), Err(Invalid::PartNumber(65_537)));
    }

    #[test]
    fn ranges_are_half_open_inside_and_inclusive_in_headers() {
        let range = ByteRange::new(5, 10).unwrap();
        assert_eq!(range.header(), "bytes=5-9");
        assert_eq!(range.bytes(), 5);
        assert_eq!(range.after(3), ByteRange::new(8, 10).ok());
        assert_eq!(range.after(5), None);
        assert_eq!(range.after(u64::MAX), None);
    }

    #[test]
    fn content_ranges_are_read_strictly() {
        let good = ContentRange::parse("bytes 5-9/10").unwrap();
        assert_eq!((good.range, good.size), (ByteRange::new(5, 10).unwrap(), 10));
        assert_eq!(good.to_string(), "bytes 5-9/10");
        let most = u64::MAX;
        for bad in [
            "",
            "bytes 5-9",
            "bytes 5-9/*",
            "bytes 9-5/10",
            "bytes 5-10/10",
            "bytes +5-9/10",
            "bytes */10",
            &format!("bytes 0-{most}/{most}"),
        ] {
            assert!(ContentRange::parse(bad).is_err(), "{bad}");
        }
    }
}

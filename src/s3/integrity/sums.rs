//! The checksums besides CRC64NVME that S3 stores with an object: of its bytes, or of its parts' checksums.
//!
//! "Checking object integrity": an object has one checksum. Of a multipart object it is either that of all bytes
//! (`FULL_OBJECT`; CRCs only, since those of parts can be combined) or that of the parts' raw checksums one after the
//! other (`COMPOSITE`, followed by `-` and their number). The composite of MD5s is what a multipart ETag is. SHA512 and
//! the XXHASH family, which few clients send, are not read: an object that has one of them is one without a stored
//! checksum.

use crate::s3::http::message::{CRC64NVME, Head, is_full_object};
use crate::s3::integrity::crc64::Crc64;
use crate::s3::integrity::etag::ETag;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use std::fmt;

/// What a checksum is computed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// CRC32, the default of boto3.
    Crc32,
    /// CRC32C.
    Crc32C,
    /// MD5.
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl Algorithm {
    /// Those there are, the one that says most first.
    pub const ALL: [Self; 5] = [Self::Sha256, Self::Sha1, Self::Md5, Self::Crc32C, Self::Crc32];

    /// The header that carries its value.
    pub fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32C => "x-amz-checksum-crc32c",
            Self::Md5 => "x-amz-checksum-md5",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// Whether the checksum of a whole follows from those of its parts.
    pub fn combines(self) -> bool {
        matches!(self, Self::Crc32 | Self::Crc32C)
    }

    /// Whether two equal values say that two contents are equal. Thirty-two bits are too few for that.
    pub(crate) fn tells_content(self) -> bool {
        matches!(self, Self::Md5 | Self::Sha1 | Self::Sha256)
    }
}

/// A checksum of bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sum {
    /// CRC32.
    Crc32(u32),
    /// CRC32C.
    Crc32C(u32),
    /// MD5.
    Md5([u8; 16]),
    /// SHA-1.
    Sha1([u8; 20]),
    /// SHA-256.
    Sha256([u8; 32]),
}

impl Sum {
    /// The checksum of `bytes`.
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut running = RunningSum::new(algorithm);
        running.update(bytes);
        running.finish()
    }

    /// What it was computed by.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Crc32(_) => Algorithm::Crc32,
            Self::Crc32C(_) => Algorithm::Crc32C,
            Self::Md5(_) => Algorithm::Md5,
            Self::Sha1(_) => Algorithm::Sha1,
            Self::Sha256(_) => Algorithm::Sha256,
        }
    }

    /// Its header's value: base64 of its bytes, most significant first.
    pub(crate) fn header(&self) -> String {
        STANDARD.encode(self.raw())
    }

    /// The checksum of these bytes followed by `length` bytes whose checksum is `next`, where that follows from both.
    #[must_use]
    pub fn followed_by(self, next: Self, length: u64) -> Option<Self> {
        match (self, next) {
            (Self::Crc32(first), Self::Crc32(second)) => {
                let mut whole = crc32fast::Hasher::new_with_initial(first);
                whole.combine(&crc32fast::Hasher::new_with_initial_len(second, length));
                Some(Self::Crc32(whole.finalize()))
            }
            (Self::Crc32C(first), Self::Crc32C(second)) => {
                let length = usize::try_from(length).ok()?;
                Some(Self::Crc32C(crc32c::crc32c_combine(first, second, length)))
            }
            (Self::Crc32(_) | Self::Crc32C(_) | Self::Md5(_) | Self::Sha1(_) | Self::Sha256(_), _) => None,
        }
    }

    fn raw(&self) -> Vec<u8> {
        match self {
            Self::Crc32(value) | Self::Crc32C(value) => value.to_be_bytes().to_vec(),
            Self::Md5(value) => value.to_vec(),
            Self::Sha1(value) => value.to_vec(),
            Self::Sha256(value) => value.to_vec(),
        }
    }

    fn parse(algorithm: Algorithm, text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text).ok()?;
        Some(match algorithm {
            Algorithm::Crc32 => Self::Crc32(u32::from_be_bytes(bytes.try_into().ok()?)),
            Algorithm::Crc32C => Self::Crc32C(u32::from_be_bytes(bytes.try_into().ok()?)),
            Algorithm::Md5 => Self::Md5(bytes.try_into().ok()?),
            Algorithm::Sha1 => Self::Sha1(bytes.try_into().ok()?),
            Algorithm::Sha256 => Self::Sha256(bytes.try_into().ok()?),
        })
    }
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({})", self.algorithm(), self.header())
    }
}

/// A checksum as S3 stores it with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// The checksum: of the bytes, or of the raw checksums of the parts.
    pub sum: Sum,
    /// Of how many parts, if it is of their checksums.
    pub parts: Option<u16>,
}

impl Stored {
    /// That of an object's bytes.
    pub fn full(sum: Sum) -> Self {
        Self { sum, parts: None }
    }

    /// That of an object put together from parts with these checksums; `None` if they are not all of one algorithm.
    pub fn composite(parts: &[Sum]) -> Option<Self> {
        let algorithm = parts.first()?.algorithm();
        let mut running = RunningSum::new(algorithm);
        for part in parts {
            if part.algorithm() != algorithm {
                return None;
            }
            running.update(&part.raw());
        }
        Some(Self { sum: running.finish(), parts: Some(u16::try_from(parts.len()).ok()?) })
    }

    /// What a reply says of a whole object; `None` if it has no checksum, or none of those that are read.
    pub fn from_head(head: &Head) -> Option<Self> {
        let kind = head.text("x-amz-checksum-type");
        Algorithm::ALL.into_iter().find_map(|algorithm| Self::parse(algorithm, head.text(algorithm.header())?, kind))
    }

    /// The ETag that it is, if it is made of MD5s.
    pub fn etag(&self) -> Option<ETag> {
        match (self.sum, self.parts) {
            (Sum::Md5(md5), None) => Some(ETag::of_content(md5)),
            (Sum::Md5(md5), Some(parts)) => Some(ETag::of_parts(md5, parts)),
            (Sum::Crc32(_) | Sum::Crc32C(_) | Sum::Sha1(_) | Sum::Sha256(_), _) => None,
        }
    }

    /// As S3 spells it.
    pub fn header(&self) -> String {
        match self.parts {
            None => self.sum.header(),
            Some(parts) => format!("{}-{parts}", self.sum.header()),
        }
    }

    /// Reads a value, whose type some servers leave to be seen from its form.
    fn parse(algorithm: Algorithm, text: &str, kind: Option<&str>) -> Option<Self> {
        let (value, parts) = match text.split_once('-') {
            Some((value, parts)) => (value, Some(parts.parse().ok().filter(|parts| *parts > 0)?)),
            None => (text, None),
        };
        let fits = kind.is_none_or(|kind| is_full_object(kind) == parts.is_none());
        Some(Self { sum: Sum::parse(algorithm, value).filter(|_| fits)?, parts })
    }
}

/// The one checksum that a write can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// CRC64NVME.
    Crc64Nvme(Crc64),
    /// The source's own.
    Other(Sum),
}

impl Checksum {
    /// The header that carries it, and its value.
    pub(crate) fn header(self) -> (&'static str, String) {
        match self {
            Self::Crc64Nvme(crc) => (CRC64NVME, crc.header()),
            Self::Other(sum) => (sum.algorithm().header(), sum.header()),
        }
    }
}

/// A checksum over bytes as they arrive.
#[derive(Clone)]
pub(crate) enum RunningSum {
    /// CRC32.
    Crc32(crc32fast::Hasher),
    /// CRC32C.
    Crc32C(u32),
    /// MD5.
    Md5(Md5),
    /// SHA-1.
    Sha1(Context),
    /// SHA-256.
    Sha256(Context),
}

impl RunningSum {
    /// Of nothing yet.
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Crc32 => Self::Crc32(crc32fast::Hasher::new()),
            Algorithm::Crc32C => Self::Crc32C(0),
            Algorithm::Md5 => Self::Md5(Md5::new()),
            Algorithm::Sha1 => Self::Sha1(Context::new(&SHA1_FOR_LEGACY_USE_ONLY)),
            Algorithm::Sha256 => Self::Sha256(Context::new(&SHA256)),
        }
    }

    /// Takes the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc32(hasher) => hasher.update(bytes),
            Self::Crc32C(value) => *value = crc32c::crc32c_append(*value, bytes),
            Self::Md5(md5) => md5.update(bytes),
            Self::Sha1(context) | Self::Sha256(context) => context.update(bytes),
        }
    }

    /// The checksum of all that was taken.
    pub(crate) fn finish(self) -> Sum {
        match self {
            Self::Crc32(hasher) => Sum::Crc32(hasher.finalize()),
            Self::Crc32C(value) => Sum::Crc32C(value),
            Self::Md5(md5) => Sum::Md5(md5.finalize().into()),
            Self::Sha1(context) => Sum::Sha1(array(context.finish().as_ref())),
            Self::Sha256(context) => Sum::Sha256(array(context.finish().as_ref())),
        }
    }
}

impl fmt::Debug for RunningSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunningSum")
    }
}

fn array<const N: usize>(digest: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    for (to, from) in array.iter_mut().zip(digest) {
        *to = *from;
    }
    array
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::spelled::head;
    use proptest::prelude::*;

    #[test]
    fn checksums_have_their_published_values() {
        let check = |algorithm, expected: &str| {
            assert_eq!(Sum::of(algorithm, b"123456789").header(), expected, "{algorithm:?}");
        };
        // The check values of the CRC catalogue, and those of `printf 123456789 | openssl dgst -binary | base64`.
        check(Algorithm::Crc32, "y/Q5Jg==");
        check(Algorithm::Crc32C, "4waSgw==");
        check(Algorithm::Md5, "JfnnlDI7RTiF9RgfG2JNCw==");
        check(Algorithm::Sha1, "98O8HYCOBHMq32eZZczDTKeuNEE=");
        check(Algorithm::Sha256, "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=");
    }

    #[test]
    fn a_composite_is_the_checksum_of_the_parts_checksums() {
        for algorithm in Algorithm::ALL {
            let parts = [Sum::of(algorithm, b"hello "), Sum::of(algorithm, b"world")];
            let raw = [parts[0].raw(), parts[1].raw()].concat();
            let composite = Stored::composite(&parts).unwrap();
            assert_eq!(composite.header(), format!("{}-2", Sum::of(algorithm, &raw).header()));
        }
        assert_eq!(Stored::composite(&[]), None);
        assert_eq!(Stored::composite(&[Sum::Crc32(1), Sum::Crc32C(1)]), None);
    }

    #[test]
    fn a_stored_checksum_is_read_with_its_type() {
        let check = |lines: &str, expected: Option<(Algorithm, Option<u16>)>| {
            let stored = Stored::from_head(&head(200, lines));
            assert_eq!(stored.map(|stored| (stored.sum.algorithm(), stored.parts)), expected, "{lines}");
        };
        let sha = "x-amz-checksum-sha256: FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=";
        check(sha, Some((Algorithm::Sha256, None)));
        check(&format!("{sha}\nx-amz-checksum-type: FULL_OBJECT"), Some((Algorithm::Sha256, None)));
        check(&format!("{sha}-3\nx-amz-checksum-type: COMPOSITE"), Some((Algorithm::Sha256, Some(3))));
        check(&format!("{sha}-3"), Some((Algorithm::Sha256, Some(3))));
        check("x-amz-checksum-crc32: y/Q5Jg==\nx-amz-checksum-type: full_object", Some((Algorithm::Crc32, None)));
        check("x-amz-checksum-crc32c: 4waSgw==-10000", Some((Algorithm::Crc32C, Some(10_000))));
        check("x-amz-checksum-sha1: 98O8HYCOBHMq32eZZczDTKeuNEE=", Some((Algorithm::Sha1, None)));
        // A part's checksum, a value of another length, a count that is none, and what is not read.
        check("x-amz-checksum-crc32: y/Q5Jg==\nx-amz-checksum-type: COMPOSITE", None);
        check("x-amz-checksum-crc32: y/Q5Jg==-2\nx-amz-checksum-type: FULL_OBJECT", None);
        check("x-amz-checksum-crc32: rosUhgp5mIg=", None);
        for count in ["", "0", "65536", "-1", "x"] {
            check(&format!("x-amz-checksum-crc32: y/Q5Jg==-{count}"), None);
        }
        check("x-amz-checksum-crc64nvme: rosUhgp5mIg=", None);
        check("x-amz-checksum-sha512: AAAA\nx-amz-checksum-xxhash64: AAAA\nx-amz-checksum-md5: AAAA", None);
    }

    proptest! {
        #[test]
        fn combining_equals_one_pass(first in prop::collection::vec(any::<u8>(), 0..300), second in prop::collection::vec(any::<u8>(), 0..300)) {
            let all = [&first[..], &second[..]].concat();
            for algorithm in Algorithm::ALL {
                let combined = Sum::of(algorithm, &first).followed_by(Sum::of(algorithm, &second), second.len() as u64);
                prop_assert_eq!(combined, algorithm.combines().then(|| Sum::of(algorithm, &all)));
            }
        }

        #[test]
        fn what_is_spelled_is_read_again(bytes in prop::collection::vec(any::<u8>(), 0..50), parts in 1_u16..=10_000) {
            for algorithm in Algorithm::ALL {
                for parts in [None, Some(parts)] {
                    let stored = Stored { sum: Sum::of(algorithm, &bytes), parts };
                    prop_assert_eq!(Stored::parse(algorithm, &stored.header(), None), Some(stored));
                }
            }
        }
    }
}

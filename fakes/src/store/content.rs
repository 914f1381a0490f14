//! The bytes of an object as they arrived, and the digests taken while they did.
//!
//! Body bytes are never copied or joined: an object is a list of shared slices, so that one of 1 GiB costs 1 GiB, and
//! a multipart object is its parts' lists one after the other.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use crc_fast::CrcAlgorithm;
use http_body::{Frame, SizeHint};
use md5::{Digest as _, Md5};
use ring::digest::{Context as Sha, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Bytes in pieces.
#[derive(Clone, Debug, Default)]
pub struct Content {
    pieces: Vec<Bytes>,
    len: u64,
}

impl Content {
    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a piece at the end.
    pub fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.len += piece.len() as u64;
            self.pieces.push(piece);
        }
    }

    /// Adds all pieces of another one at the end.
    pub fn append(&mut self, other: &Self) {
        self.len += other.len;
        self.pieces.extend(other.pieces.iter().cloned());
    }

    /// Views of the bytes in the range, which is cut to what there is.
    #[must_use]
    pub fn slice(&self, range: Range<u64>) -> Self {
        let mut slice = Self::default();
        let mut start = 0;
        for piece in &self.pieces {
            let end = start + piece.len() as u64;
            let (from, to) = (range.start.max(start), range.end.min(end));
            if from < to {
                // Both differences are at most the piece's length, which is a usize.
                let (from, to) = (usize::try_from(from - start), usize::try_from(to - start));
                if let (Ok(from), Ok(to)) = (from, to) {
                    slice.push(piece.slice(from..to));
                }
            }
            start = end;
        }
        slice
    }

    /// Its pieces, shared.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.pieces.iter().cloned()
    }

    /// One copy of everything, for tests that compare.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.pieces.concat()
    }

    /// A reply body that sends the pieces.
    pub(crate) fn into_body(self) -> Pieces {
        Pieces { left: self.len, pieces: self.pieces.into() }
    }
}

/// A body made of pieces that are in memory.
pub(crate) struct Pieces {
    pieces: VecDeque<Bytes>,
    left: u64,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.pop_front();
        self.left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// A checksum that a client can name and that is computed here. CRC64NVME is what S3 itself stores by default; CRC32
/// is the default of boto3 and the AWS CLI.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Algorithm {
    /// `x-amz-checksum-crc64nvme`
    Crc64Nvme,
    /// `x-amz-checksum-crc32`
    Crc32,
    /// `x-amz-checksum-crc32c`
    Crc32C,
    /// `x-amz-checksum-sha1`
    Sha1,
    /// `x-amz-checksum-sha256`
    Sha256,
}

impl Algorithm {
    /// Those there are.
    pub const ALL: [Self; 5] = [Self::Crc64Nvme, Self::Crc32, Self::Crc32C, Self::Sha1, Self::Sha256];

    /// As it is written in `x-amz-checksum-algorithm`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc64Nvme => "CRC64NVME",
            Self::Crc32 => "CRC32",
            Self::Crc32C => "CRC32C",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// The header that carries its value.
    #[must_use]
    pub fn header(self) -> &'static str {
        match self {
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32C => "x-amz-checksum-crc32c",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    fn begin(self) -> Summing {
        match self {
            Self::Crc64Nvme => Summing::Crc(crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme), 8),
            Self::Crc32 => Summing::Crc(crc_fast::Digest::new(CrcAlgorithm::Crc32IsoHdlc), 4),
            Self::Crc32C => Summing::Crc(crc_fast::Digest::new(CrcAlgorithm::Crc32Iscsi), 4),
            Self::Sha1 => Summing::Sha(Sha::new(&SHA1_FOR_LEGACY_USE_ONLY)),
            Self::Sha256 => Summing::Sha(Sha::new(&SHA256)),
        }
    }

    /// The checksum of bytes that are at hand, as they are.
    fn raw(self, bytes: &[u8]) -> Vec<u8> {
        let mut summing = self.begin();
        summing.update(bytes);
        summing.finish()
    }

    /// The checksum of an object put together from these parts: of all bytes, or of the parts' checksums.
    #[must_use]
    pub fn of_parts(self, parts: &[Bytes], kind: ChecksumType) -> Checksum {
        let value = match kind {
            ChecksumType::FullObject => STANDARD.encode(self.raw(&parts.concat())),
            ChecksumType::Composite => {
                let sums: Vec<u8> = parts.iter().flat_map(|part| self.raw(part)).collect();
                format!("{}-{}", STANDARD.encode(self.raw(&sums)), parts.len())
            }
        };
        Checksum { algorithm: self, kind, value }
    }
}

/// A checksum that is being computed.
enum Summing {
    /// A CRC of so many bytes.
    Crc(crc_fast::Digest, usize),
    Sha(Sha),
}

impl Summing {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc(digest, _) => digest.update(bytes),
            Self::Sha(context) => context.update(bytes),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::Crc(digest, bytes) => digest.finalize().to_be_bytes()[8 - bytes..].to_vec(),
            Self::Sha(context) => context.finish().as_ref().to_vec(),
        }
    }
}

/// What a checksum is of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChecksumType {
    /// All bytes.
    FullObject,
    /// The parts' checksums.
    Composite,
}

impl ChecksumType {
    /// As headers have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }
}

/// A checksum value with its algorithm.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Checksum {
    /// Which one.
    pub algorithm: Algorithm,
    /// What it is of.
    pub kind: ChecksumType,
    /// The wire form.
    pub value: String,
}

/// What was computed over a body while it arrived.
#[derive(Clone, Debug)]
pub struct Digest {
    /// How many bytes went in.
    pub len: u64,
    /// Their MD5.
    pub md5: [u8; 16],
    /// The raw CRC64NVME, for combining.
    pub crc64nvme: u64,
    named: Option<Checksum>,
}

impl Digest {
    /// The CRC64NVME in wire form.
    #[must_use]
    pub fn crc64nvme(&self) -> Checksum {
        crc64nvme(self.crc64nvme)
    }

    /// The checksum of the algorithm that the client named, or the default.
    #[must_use]
    pub fn checksum(&self) -> Checksum {
        self.named.clone().unwrap_or_else(|| self.crc64nvme())
    }
}

/// A raw CRC64NVME in wire form.
#[must_use]
pub fn crc64nvme(value: u64) -> Checksum {
    Checksum {
        algorithm: Algorithm::Crc64Nvme,
        kind: ChecksumType::FullObject,
        value: STANDARD.encode(value.to_be_bytes()),
    }
}

/// The polynomial of CRC64NVME as it stands in a register, whose lowest bit is the highest power.
const POLYNOMIAL: u64 = 0x9A6C_9329_AC4B_C9B5;

/// The raw CRC64NVME of bodies one after the other. crc-fast takes half a millisecond to find what a length does to the
/// checksum of what is before it; parts are mostly of one length, for which that is kept.
#[derive(Default)]
pub struct Joined {
    crc64nvme: u64,
    /// Such a length, and what becomes of each bit of a checksum that so many bytes follow.
    length: Option<(u64, [u64; 64])>,
}

impl Joined {
    /// Adds a body at the end.
    pub fn push(&mut self, crc64nvme: u64, length: u64) {
        let bits = match self.length.take() {
            Some((known, bits)) if known == length => bits,
            _ => following(length),
        };
        let before = (0..64).filter(|bit| self.crc64nvme >> bit & 1 == 1).fold(0, |sum, bit| sum ^ bits[bit]);
        self.crc64nvme = before ^ crc64nvme;
        self.length = Some((length, bits));
    }

    /// The checksum of all of them.
    #[must_use]
    pub fn crc64nvme(&self) -> u64 {
        self.crc64nvme
    }
}

/// What becomes of each bit of a checksum that so many bytes follow: each bit is the power after that of the next
/// higher.
fn following(length: u64) -> [u64; 64] {
    let mut power = crc_fast::checksum_combine(CrcAlgorithm::Crc64Nvme, 1 << 63, 0, length);
    let mut bits = [0; 64];
    for bit in bits.iter_mut().rev() {
        *bit = power;
        power = power >> 1 ^ if power & 1 == 1 { POLYNOMIAL } else { 0 };
    }
    bits
}

/// The ETag of a multipart object: MD5 over the parts' raw MD5s, and their number.
#[must_use]
pub fn multipart_etag(parts: &[[u8; 16]]) -> String {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(part);
    }
    format!("{}-{}", hex(&md5.finalize()), parts.len())
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Takes a body in, digesting it on the way.
pub struct Intake {
    content: Content,
    md5: Md5,
    crc64nvme: crc_fast::Digest,
    named: Option<(Algorithm, Summing)>,
}

impl Intake {
    /// Nothing yet. CRC64NVME is always computed; `named` is computed beside it if it is another one.
    #[must_use]
    pub fn new(named: Option<Algorithm>) -> Self {
        Self {
            content: Content::default(),
            md5: Md5::new(),
            crc64nvme: crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme),
            named: named
                .filter(|algorithm| *algorithm != Algorithm::Crc64Nvme)
                .map(|algorithm| (algorithm, algorithm.begin())),
        }
    }

    /// The next bytes.
    pub fn push(&mut self, piece: Bytes) {
        self.md5.update(&piece);
        self.crc64nvme.update(&piece);
        if let Some((_, digest)) = &mut self.named {
            digest.update(&piece);
        }
        self.content.push(piece);
    }

    /// What came in, and its digests.
    #[must_use]
    pub fn finish(self) -> (Content, Digest) {
        let named = self.named.map(|(algorithm, summing)| Checksum {
            algorithm,
            kind: ChecksumType::FullObject,
            value: STANDARD.encode(summing.finish()),
        });
        let digest = Digest {
            len: self.content.len(),
            md5: self.md5.finalize().into(),
            crc64nvme: self.crc64nvme.finalize(),
            named,
        };
        (self.content, digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_cross_pieces() {
        let mut content = Content::default();
        for piece in ["abc", "", "de", "fghi"] {
            content.push(Bytes::from_static(piece.as_bytes()));
        }
        assert_eq!(content.len(), 9);
        assert_eq!(content.slice(2..6).to_vec(), b"cdef");
        assert_eq!(content.slice(0..9).to_vec(), b"abcdefghi");
        assert_eq!(content.slice(8..100).to_vec(), b"i");
        assert_eq!(content.slice(4..4).len(), 0);
    }

    #[test]
    fn checksums_have_their_published_values() {
        for (algorithm, value) in
            [(Algorithm::Crc64Nvme, "rosUhgp5mIg="), (Algorithm::Crc32, "y/Q5Jg=="), (Algorithm::Crc32C, "4waSgw==")]
        {
            let mut intake = Intake::new(Some(algorithm));
            intake.push(Bytes::from_static(b"123456789"));
            assert_eq!(intake.finish().1.checksum().value, value, "{}", algorithm.name());
        }
    }

    #[test]
    fn bodies_are_joined_as_if_they_had_come_as_one() {
        let bytes = b"123456789 and some more, so that there are lengths enough".repeat(9);
        for lengths in [&[][..], &[0], &[9], &[0, 100, 100, 100, 7, 100, 0], &[1, 2, 3, 3, 2, 1]] {
            let (mut joined, mut at) = (Joined::default(), 0);
            for length in lengths {
                let body = &bytes[at..at + length];
                joined.push(crc_fast::checksum(CrcAlgorithm::Crc64Nvme, body), *length as u64);
                at += length;
            }
            assert_eq!(joined.crc64nvme(), crc_fast::checksum(CrcAlgorithm::Crc64Nvme, &bytes[..at]), "{lengths:?}");
        }
    }
}

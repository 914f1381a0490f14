//! The arithmetic of proofs: MD5 and CRC64NVME over bytes as they arrive, and putting parts' digests together.
//!
//! "Checking object integrity": a multipart ETag is the MD5 of the parts' binary MD5s; a full-object CRC64NVME can be
//! combined from those of the parts because a CRC is linear.

use crate::s3::integrity::crc64::Crc64;
use crate::s3::integrity::etag::ETag;
use crate::s3::integrity::sums::{Algorithm, RunningSum, Stored, Sum};
use crc64fast_nvme::Digest as CrcDigest;
use md5::{Digest as _, Md5};
use std::fmt;

/// What is computed of bytes besides their CRC64NVME.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kinds {
    /// Their MD5, which costs as much as all else that is done to a byte where it is computed alone.
    pub(crate) md5: bool,
    /// The checksum by which their source is proven, where it stores another one.
    pub(crate) sum: Option<Algorithm>,
}

impl Default for Kinds {
    fn default() -> Self {
        Self { md5: true, sum: None }
    }
}

/// What a run of bytes was proven to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digests {
    /// How many bytes.
    pub length: u64,
    /// Their MD5, where somebody computed it.
    pub md5: Option<[u8; 16]>,
    /// Their CRC64NVME.
    pub crc: Crc64,
    /// The checksum by which their source is proven, where it was asked for.
    pub(crate) sum: Option<Sum>,
}

impl Digests {
    /// The digests of bytes that are all at hand.
    pub fn of(bytes: &[u8]) -> Self {
        let mut running = Running::default();
        running.update(bytes);
        running.finish()
    }
}

/// The digests over bytes as they arrive.
#[derive(Clone)]
pub struct Running {
    length: u64,
    md5: Option<Md5>,
    crc: CrcDigest,
    sum: Option<RunningSum>,
}

impl Default for Running {
    fn default() -> Self {
        Self::of(Kinds::default())
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Running({} bytes)", self.length)
    }
}

impl Running {
    /// Of no bytes yet. What is not asked for costs nothing.
    pub(crate) fn of(kinds: Kinds) -> Self {
        let (md5, sum) = (kinds.md5.then(Md5::new), kinds.sum.map(RunningSum::new));
        Self { length: 0, md5, crc: CrcDigest::new(), sum }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        // All digests read a piece while it is in the first-level cache.
        for piece in bytes.chunks(16 << 10) {
            if let Some(md5) = &mut self.md5 {
                md5.update(piece);
            }
            self.crc.write(piece);
            if let Some(sum) = &mut self.sum {
                sum.update(piece);
            }
        }
        self.length += bytes.len() as u64;
    }

    /// How many bytes were taken.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The digests of all that was taken.
    pub fn finish(self) -> Digests {
        Digests {
            length: self.length,
            md5: self.md5.map(|md5| md5.finalize().into()),
            crc: Crc64(self.crc.sum64()),
            sum: self.sum.map(RunningSum::finish),
        }
    }
}

/// The whole of an object, put together from its parts in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// How many bytes.
    pub length: u64,
    /// The CRC64NVME of all of them.
    pub crc: Crc64,
    /// The ETag that a multipart upload of these parts gets, if the MD5 of each is known.
    pub etag: Option<ETag>,
    /// What its other checksums would be, if the parts have one: of all bytes, and of the parts' checksums.
    pub(crate) stored: Vec<Stored>,
}

/// Combines parts in order.
pub fn combine<'a>(parts: impl IntoIterator<Item = &'a Digests>) -> Whole {
    let (mut length, mut crc, mut count, mut md5) = (0, Crc64::EMPTY, 0_u16, Some(Md5::new()));
    let (mut sums, mut full) = (Vec::new(), None);
    for part in parts {
        full = match (count, full, part.sum) {
            (0, _, sum) => sum,
            (_, Some(before), Some(sum)) => Sum::followed_by(before, sum, part.length),
            (_, None, _) | (_, _, None) => None,
        };
        sums.extend(part.sum);
        crc = crc.followed_by(part.crc, part.length);
        length += part.length;
        md5 = md5.zip(part.md5).map(|(md5, part)| md5.chain_update(part));
        count = count.saturating_add(1);
    }
    let composite =
        Some(sums).filter(|sums| sums.len() == usize::from(count)).and_then(|sums| Stored::composite(&sums));
    let stored = full.map(Stored::full).into_iter().chain(composite).collect();
    let etag = md5.map(|md5| ETag::of_parts(md5.finalize().into(), count));
    Whole { length, crc, etag, stored }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::integrity::etag::hex;
    use proptest::prelude::*;

    #[test]
    fn an_empty_part_changes_nothing_but_the_etag() {
        let whole = combine(&[Digests::of(b"")]);
        assert_eq!((whole.length, whole.crc), (0, Crc64::EMPTY));
        assert_eq!(whole.etag.unwrap().as_str(), "59adb24ef3cdbe0297f05b395827453f-1");
    }

    #[test]
    fn what_is_not_asked_for_is_not_made_up() {
        let kinds = Kinds { md5: false, sum: None };
        let mut running = Running::of(kinds);
        running.update(b"world");
        let (known, unknown) = (Digests::of(b"hello "), running.finish());
        assert_eq!(unknown, Digests { md5: None, ..Digests::of(b"world") });
        let whole = combine(&[known, unknown]);
        assert_eq!((whole.crc, whole.etag), (Crc64::of(b"hello world"), None));
        assert_eq!(combine(&[unknown, known]).etag, None);
    }

    #[test]
    fn the_md5_of_nothing_is_the_known_one() {
        assert_eq!(hex(&Digests::of(b"").md5.unwrap()), "d41d8cd98f00b204e9800998ecf8427e");
    }

    #[test]
    fn parts_make_the_checksums_that_all_of_them_have() {
        let part = |bytes: &[u8], algorithm| {
            let mut running = Running::of(Kinds { sum: algorithm, ..Kinds::default() });
            running.update(bytes);
            running.finish()
        };
        let stored = |first, second| combine(&[part(b"hello ", first), part(b"world", second)]).stored;
        let composite =
            |algorithm| Stored::composite(&[Sum::of(algorithm, b"hello "), Sum::of(algorithm, b"world")]).unwrap();
        let (crc, sha) = (Algorithm::Crc32, Algorithm::Sha256);
        assert_eq!(stored(Some(crc), Some(crc)), [Stored::full(Sum::of(crc, b"hello world")), composite(crc)]);
        assert_eq!(stored(Some(sha), Some(sha)), [composite(sha)]);
        for (first, second) in [(None, None), (Some(crc), None), (None, Some(crc)), (Some(crc), Some(sha))] {
            assert_eq!(stored(first, second), []);
        }
        // A whole of one part is that part.
        assert_eq!(combine(&[part(b"a", Some(sha))]).stored[0], Stored::full(Sum::of(sha, b"a")));
    }

    proptest! {
        #[test]
        fn combining_parts_equals_one_pass(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..12)) {
            let all: Vec<u8> = parts.concat();
            let digests: Vec<Digests> = parts.iter().map(|part| Digests::of(part)).collect();
            let whole = combine(&digests);
            prop_assert_eq!(whole.length, all.len() as u64);
            prop_assert_eq!(whole.crc, Crc64::of(&all));
            let md5s: Vec<u8> = digests.iter().flat_map(|d| d.md5.unwrap()).collect();
            let expected = ETag::of_parts(Md5::digest(&md5s).into(), u16::try_from(parts.len()).unwrap());
            prop_assert_eq!(whole.etag, Some(expected));
        }

        #[test]
        fn pieces_do_not_matter(bytes in prop::collection::vec(any::<u8>(), 0..70_000), cut in 0_usize..70_000) {
            let mut running = Running::default();
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            running.update(head);
            running.update(tail);
            prop_assert_eq!(running.finish(), Digests::of(&bytes));
        }
    }
}

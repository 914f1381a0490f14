//! Parts that the target holds: what each was made of, how it came there, and what that is as a whole.

use crate::engine::decide::ticket::part_md5;
use crate::engine::decide::verify;
use crate::engine::stop::{Stop, integrity_stop};
use crate::s3::PartNumber;
use crate::s3::integrity::checksum::Digests;
use crate::s3::integrity::etag::ETag;
use crate::s3::multipart::listing::ListedPart;
use crate::s3::multipart::upload::CompletedPart;
use crate::s3::object::put::Written;
use crate::wire::client::attempt::Attempts;
use std::collections::BTreeMap;
use std::time::Duration;

/// Parts that the target holds, in order.
pub(crate) struct UploadedParts {
    pub(crate) parts: BTreeMap<PartNumber, UploadedPart>,
    /// Whether each one's ETag was an MD5.
    pub(crate) all_md5: bool,
}

impl UploadedParts {
    pub(crate) fn completed_parts(&self) -> Vec<CompletedPart> {
        self.parts.values().map(|done| done.part.clone()).collect()
    }

    /// The ETag of each, as the target gave it.
    pub(crate) fn etags(&self) -> impl Iterator<Item = (PartNumber, &ETag)> {
        self.parts.iter().map(|(number, done)| (*number, &done.part.etag))
    }

    pub(crate) fn digests(&self) -> Vec<Digests> {
        self.parts.values().map(|done| done.digests).collect()
    }

    pub(crate) fn count(&self, origin: PartOrigin) -> u32 {
        u32::try_from(self.of(origin).count()).unwrap_or(u32::MAX)
    }

    /// Bytes of those that came so.
    pub(crate) fn bytes(&self, origin: PartOrigin) -> u64 {
        self.of(origin).map(|done| done.digests.length).sum()
    }

    fn of(&self, origin: PartOrigin) -> impl Iterator<Item = &UploadedPart> {
        self.parts.values().filter(move |done| done.origin == origin)
    }

    /// Whether the MD5 of each was computed here.
    pub(crate) fn all_hashed(&self) -> bool {
        self.parts.values().all(|done| done.hashed == Hashed::Here)
    }

    /// Whether the MD5 of some that were sent is known by the target's answer alone.
    pub(crate) fn relies_on_target_md5s(&self) -> bool {
        self.of(PartOrigin::Sent).any(|done| done.hashed == Hashed::There && done.is_md5)
    }

    /// Those whose MD5s were computed here, and the others.
    pub(crate) fn split(self) -> (BTreeMap<PartNumber, UploadedPart>, BTreeMap<PartNumber, UploadedPart>) {
        self.parts.into_iter().partition(|(_, done)| done.hashed == Hashed::Here)
    }
}

/// How a part came to be in the upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PartOrigin {
    Sent,
    /// It was there before.
    Kept,
}

/// Who says what a part's MD5 is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hashed {
    Here,
    /// The target does, if anybody.
    There,
}

impl Hashed {
    fn of(digests: &Digests) -> Self {
        if digests.md5.is_some() { Self::Here } else { Self::There }
    }
}

pub(crate) struct UploadedPart {
    part: CompletedPart,
    pub(crate) digests: Digests,
    pub(crate) hashed: Hashed,
    /// Whether its ETag was an MD5.
    pub(crate) is_md5: bool,
    pub(crate) took: Duration,
    pub(crate) origin: PartOrigin,
}

impl UploadedPart {
    /// A part that was there before, as its listing describes it: with a checksum, and an ETag that can be the MD5.
    pub(crate) fn kept_unread(listed: &ListedPart) -> Option<Self> {
        let md5 = part_md5(&listed.etag)?;
        let digests = Digests { length: listed.size, md5: Some(md5), crc: listed.crc?, sum: None };
        Some(Self { hashed: Hashed::There, ..Self::kept(listed, digests) })
    }

    /// A part that was there before, of bytes with these digests.
    pub(crate) fn kept(listed: &ListedPart, digests: Digests) -> Self {
        let (told, hashed) = (part_md5(&listed.etag), Hashed::of(&digests));
        let digests = Digests { md5: digests.md5.or(told), ..digests };
        let part = CompletedPart { number: listed.number, etag: listed.etag.clone(), crc: digests.crc };
        let is_md5 = told.is_some() && told == digests.md5;
        Self { part, digests, hashed, is_md5, took: Duration::ZERO, origin: PartOrigin::Kept }
    }

    pub(crate) fn with_origin(self, origin: PartOrigin) -> Self {
        Self { origin, ..self }
    }

    /// As a listing would describe it, by what the target itself said of it.
    pub(crate) fn listed(&self) -> ListedPart {
        let CompletedPart { number, etag, crc } = self.part.clone();
        // The checksum is ours, so it shows nothing where there is an MD5 of the target's.
        ListedPart { number, etag, size: self.digests.length, crc: (!self.is_md5).then_some(crc) }
    }
}

/// A part that the target says it has, held against the bytes.
pub(crate) fn proven(
    number: PartNumber,
    digests: &Digests,
    written: Written,
    attempts: &Attempts,
) -> Result<UploadedPart, Stop> {
    let told = verify::part(digests, &written).map_err(|mismatch| integrity_stop(&mismatch))?;
    let hashed = Hashed::of(digests);
    let digests = Digests { md5: digests.md5.or(told), ..*digests };
    let part = CompletedPart { number, etag: written.etag, crc: digests.crc };
    let (is_md5, took, origin) = (told.is_some(), attempts.last_attempt(), PartOrigin::Sent);
    Ok(UploadedPart { part, digests, hashed, is_md5, took, origin })
}

/// Whether a listed part is of these bytes: by its checksum, or where it has none by its MD5. Under KMS an ETag looks
/// like an MD5 and is none, so where there is a checksum it says nothing.
pub(crate) fn same_bytes(listed: &ListedPart, read: &Digests) -> bool {
    let by_etag = || read.md5.is_some() && part_md5(&listed.etag) == read.md5;
    listed.size == read.length && listed.crc.map_or_else(by_etag, |crc| crc == read.crc)
}

//! Parts that the target holds: what each was made of, how it came there, and what that is as a whole.

use super::job::Halt;
use super::target::integrity;
use super::ticket::part_md5;
use super::verify;
use crate::s3::PartNumber;
use crate::s3::checksum::Digests;
use crate::s3::multipart::CompletedPart;
use crate::s3::object::Written;
use crate::s3::uploads::ListedPart;
use crate::wire::attempt::Attempts;
use std::collections::BTreeMap;
use std::time::Duration;

/// Parts that the target holds, in order.
pub(super) struct Sent {
    pub(super) parts: Vec<Done>,
    /// Whether each one's ETag was its MD5.
    pub(super) all_md5: bool,
}

impl Sent {
    /// As Complete names them.
    pub(super) fn named(&self) -> Vec<CompletedPart> {
        self.parts.iter().map(|done| done.part.clone()).collect()
    }

    /// What they were made of.
    pub(super) fn digests(&self) -> Vec<Digests> {
        self.parts.iter().map(|done| done.digests).collect()
    }

    /// How many came so.
    pub(super) fn count(&self, origin: Origin) -> u32 {
        u32::try_from(self.of(origin).count()).unwrap_or(u32::MAX)
    }

    /// Bytes of those that came so.
    pub(super) fn bytes(&self, origin: Origin) -> u64 {
        self.of(origin).map(|done| done.digests.length).sum()
    }

    fn of(&self, origin: Origin) -> impl Iterator<Item = &Done> {
        self.parts.iter().filter(move |done| done.origin == origin)
    }

    /// Those that were sent, by index.
    pub(super) fn into_sent(self) -> BTreeMap<usize, Done> {
        self.parts.into_iter().enumerate().filter(|(_, done)| done.origin == Origin::Sent).collect()
    }
}

/// How a part came to be in the upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It was sent.
    Sent,
    /// It was there before.
    Kept,
}

/// A part that the target holds.
pub(super) struct Done {
    part: CompletedPart,
    pub(super) digests: Digests,
    /// Whether its ETag was its MD5.
    pub(super) is_md5: bool,
    /// How long it took to send it.
    pub(super) took: Duration,
    pub(super) origin: Origin,
}

impl Done {
    /// A part that was there before, of bytes with these digests.
    pub(super) fn kept(listed: &ListedPart, digests: Digests) -> Self {
        let is_md5 = part_md5(&listed.etag) == Some(digests.md5);
        let part = CompletedPart { number: listed.number, etag: listed.etag.clone(), crc: digests.crc };
        Self { part, digests, is_md5, took: Duration::ZERO, origin: Origin::Kept }
    }
}

/// A part that the target says it has, held against the bytes.
pub(super) fn proven(
    number: PartNumber,
    digests: &Digests,
    written: Written,
    attempts: &Attempts,
) -> Result<Done, Halt> {
    let is_md5 = verify::part(digests, &written).map_err(|mismatch| integrity(&mismatch))?;
    let part = CompletedPart { number, etag: written.etag, crc: digests.crc };
    Ok(Done { part, digests: *digests, is_md5, took: attempts.last_attempt(), origin: Origin::Sent })
}

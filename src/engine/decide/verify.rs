//! What the bytes prove about the source and about the target: pure.

use crate::engine::decide::checksum::TargetETags;
use crate::engine::decide::plan::{Cut, SourceLayout};
use crate::engine::report::Proof;
use crate::mutation::{self, Mutation};
use crate::s3::integrity::checksum::{Digests, Kinds, Whole, combine};
use crate::s3::integrity::crc64::Crc64;
use crate::s3::integrity::etag::{ETag, ETagKind};
use crate::s3::integrity::sums::{Algorithm, Stored};
use crate::s3::object::head::ObjectHead;
use crate::s3::object::put::Written;
use thiserror::Error;

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Mismatch {
    /// The bytes read are not the object that the source described.
    #[error("the bytes read do not match the source's {what}: expected {expected}, computed {found}")]
    Source {
        /// `ETag`, `checksum` or `size`.
        what: &'static str,
        expected: String,
        /// What the bytes make.
        found: String,
    },
    /// The target does not have what was sent.
    #[error("the target's {what} does not match the bytes sent: expected {expected}, found {found}")]
    Target {
        /// `ETag`, `checksum` or `part ETag`.
        what: &'static str,
        /// What the bytes make.
        expected: String,
        found: String,
    },
}

/// What the bytes sent should make of the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expected {
    /// How many bytes.
    pub(crate) size: u64,
    /// The ETag, where encryption leaves it a digest; `None` if the MD5 of some part is not known.
    pub(crate) etag: Option<ETag>,
    /// The CRC64NVME.
    pub(crate) crc: Crc64,
    /// The checksums of the source's algorithm that the bytes make, if that is another one.
    pub(crate) stored: Vec<Stored>,
}

impl Expected {
    pub(crate) fn of_put(digests: &Digests) -> Self {
        Self {
            size: digests.length,
            etag: digests.md5.map(ETag::of_content),
            crc: digests.crc,
            stored: digests.sum.map(Stored::full).into_iter().collect(),
        }
    }

    /// Of parts in order.
    pub(crate) fn of_parts(parts: &[Digests]) -> Self {
        let Whole { length, crc, etag, stored } = combine(parts);
        Self { size: length, etag, crc, stored }
    }

    /// Whether an object at the target is what we sent: the answer to a write that was not answered.
    pub(crate) fn matches(&self, head: &ObjectHead) -> bool {
        head.size == self.size && (self.has_etag(&head.etag) || head.crc == Some(self.crc) || self.is_stored(head))
    }

    /// Whether an ETag shows that its object is this.
    fn has_etag(&self, etag: &ETag) -> bool {
        self.etag.as_ref().is_some_and(|own| own.proves_same_content(etag))
    }

    fn is_stored(&self, head: &ObjectHead) -> bool {
        head.stored.is_some_and(|stored| stored.sum.algorithm().tells_content() && self.stored.contains(&stored))
    }
}

/// What has to be computed besides the parts' own digests to prove the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SourceCheck {
    /// Nothing: a stored checksum, or the parts' digests, show it; or nothing can.
    Nothing,
    /// A checksum of the bytes in order. An MD5 makes the ETag.
    Ordered(Algorithm, ChecksumRuns),
}

/// What a checksum in order is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChecksumRuns {
    /// All of so many bytes.
    Whole(u64),
    /// The checksums of parts of these lengths, the source's own; one part is not the whole.
    Parts(Vec<u64>),
}

pub(crate) fn source_check(source: &ObjectHead, layout: &SourceLayout, plan: &Cut) -> SourceCheck {
    if source.crc.is_some() {
        return SourceCheck::Nothing;
    }
    let own = match layout {
        SourceLayout::Parts(own) if !is_sent_as_it_is(layout, plan) => Some(own),
        SourceLayout::Parts(_) | SourceLayout::Single | SourceLayout::Unknown => None,
    };
    let own = own.map(|own| own.ranges().iter().map(|range| range.bytes()).collect::<Vec<u64>>());
    let whole = match plan {
        Cut::Parts(_) => Some(ChecksumRuns::Whole(source.size)),
        Cut::Put { .. } => None,
    };
    let by_etag = match source.etag.kind() {
        ETagKind::ContentMd5(_) => whole.clone(),
        ETagKind::Multipart(..) => own.clone().map(ChecksumRuns::Parts),
        ETagKind::OpaqueMultipart(_) | ETagKind::Opaque | ETagKind::Unknown => None,
    };
    let stored = source.stored.map(|stored| (stored.sum.algorithm(), stored.parts));
    let by_checksum = match stored {
        Some((algorithm, None)) => whole.filter(|_| !algorithm.combines()),
        Some((_, Some(parts))) => own.filter(|own| own.len() == usize::from(parts)).map(ChecksumRuns::Parts),
        None => None,
    };
    match (by_etag, by_checksum.zip(stored)) {
        // One digest in order is enough, and the better of the two is a SHA; a CRC has fewer bits than the ETag.
        (_, Some((runs, (algorithm, _)))) if algorithm.tells_content() => SourceCheck::Ordered(algorithm, runs),
        (Some(runs), _) => SourceCheck::Ordered(Algorithm::Md5, runs),
        (None, Some((runs, (algorithm, _)))) => SourceCheck::Ordered(algorithm, runs),
        (None, None) => SourceCheck::Nothing,
    }
}

/// What is computed of each part besides its CRC64NVME. Not the MD5 where parts are sent as the source has them and
/// both sides' ETags are made of MD5s: the target computes that of each part it takes, and what these make is held
/// against the source's ETag before the object is put together ("Checking object integrity").
pub(crate) fn kinds(source: &ObjectHead, layout: &SourceLayout, plan: &Cut, etags: TargetETags) -> Kinds {
    let is_told = match (etags, source.etag.kind()) {
        (TargetETags::Digests, ETagKind::Multipart(..)) => is_sent_as_it_is(layout, plan),
        (TargetETags::Digests | TargetETags::Opaque, _) => false,
    };
    Kinds { md5: !is_told, sum: part_sum(source, layout, plan) }
}

/// Which checksum is computed of each part besides its MD5 and CRC64NVME: the source's own, where those of the parts
/// show it. A source that has none, or one that they cannot show, costs nothing.
fn part_sum(source: &ObjectHead, layout: &SourceLayout, plan: &Cut) -> Option<Algorithm> {
    let stored = source.stored.filter(|_| source.crc.is_none())?;
    let algorithm = stored.sum.algorithm();
    let is_shown = match (stored.parts, plan) {
        (None, Cut::Put { .. }) => true,
        (None, Cut::Parts(_)) => algorithm.combines(),
        (Some(_), Cut::Put { .. } | Cut::Parts(_)) => is_sent_as_it_is(layout, plan),
    };
    is_shown.then_some(algorithm)
}

fn is_sent_as_it_is(layout: &SourceLayout, plan: &Cut) -> bool {
    matches!((layout, plan), (SourceLayout::Parts(own), Cut::Parts(planned)) if own == planned)
}

/// What convicts bytes that prove nothing of the source, if it was put together from parts like those that were read:
/// its multipart ETag or composite checksum of as many parts, which they do not make. Whether the parts are alike is
/// for the caller to find out.
pub(crate) fn layout_mismatch(head: &ObjectHead, made: &Expected) -> Option<Mismatch> {
    let mismatch = |what, expected, found| Some(Mismatch::Source { what, expected, found });
    if let Some(own) = &made.etag
        && let (ETagKind::Multipart(_, ours), ETagKind::Multipart(_, theirs)) = (own.kind(), head.etag.kind())
        && ours == theirs
    {
        return mismatch("ETag", head.etag.to_string(), own.to_string());
    }
    let stored = head.stored.filter(|stored| stored.parts.is_some())?;
    let is_alike = |own: &&Stored| own.parts == stored.parts && own.sum.algorithm() == stored.sum.algorithm();
    made.stored.iter().find(is_alike).and_then(|own| mismatch("checksum", stored.header(), own.header()))
}

/// Holds what was read against what the source says of itself. An empty list means that the source says nothing that
/// could be held against it.
///
/// # Errors
/// [`Mismatch::Source`].
pub(crate) fn source(head: &ObjectHead, made: &Expected, in_order: Option<&Stored>) -> Result<Vec<Proof>, Mismatch> {
    let mismatch = |what, expected: String, found: String| Err(Mismatch::Source { what, expected, found });
    if made.size != head.size {
        return mismatch("size", head.size.to_string(), made.size.to_string());
    }
    let mut proofs = Vec::new();
    let same_shape = |a: &ETag, b: &ETag| match (a.kind(), b.kind()) {
        (ETagKind::ContentMd5(_), ETagKind::ContentMd5(_)) => true,
        (ETagKind::Multipart(_, n), ETagKind::Multipart(_, m)) => n == m,
        (
            ETagKind::ContentMd5(_)
            | ETagKind::Multipart(..)
            | ETagKind::OpaqueMultipart(_)
            | ETagKind::Opaque
            | ETagKind::Unknown,
            _,
        ) => false,
    };
    if let Some(own) = in_order.and_then(Stored::etag).filter(|own| same_shape(own, &head.etag)) {
        if !own.proves_same_content(&head.etag) {
            return mismatch("ETag", head.etag.to_string(), own.to_string());
        }
        proofs.push(Proof::SourceETag);
    } else if let Some(own) = made.etag.as_ref().filter(|own| same_shape(own, &head.etag)) {
        if own.proves_same_content(&head.etag) {
            proofs.push(Proof::SourceETag);
        } else if matches!(head.etag.kind(), ETagKind::ContentMd5(_)) {
            return mismatch("ETag", head.etag.to_string(), own.to_string());
        }
        // The same number of parts with other boundaries makes another ETag of the same bytes, and shows nothing.
    }
    match head.crc.filter(|_| is_compared()) {
        Some(crc) if crc == made.crc => proofs.push(Proof::SourceChecksum),
        Some(crc) => return mismatch("checksum", crc.header(), made.crc.header()),
        None => {
            if let Some(stored) = &head.stored
                && holds(stored, made, in_order)?
            {
                proofs.push(Proof::SourceChecksum);
            }
        }
    }
    Ok(proofs)
}

/// Holds the bytes against a stored checksum of another algorithm. False if nothing like it was computed.
fn holds(stored: &Stored, made: &Expected, in_order: Option<&Stored>) -> Result<bool, Mismatch> {
    let is_alike = |own: &&Stored| own.parts == stored.parts && own.sum.algorithm() == stored.sum.algorithm();
    let in_order = in_order.filter(is_alike);
    let Some(own) = in_order.or_else(|| made.stored.iter().find(is_alike)) else { return Ok(false) };
    match own == stored {
        true => Ok(true),
        // As with ETags: of as many parts with other boundaries.
        false if own.parts.is_some() && in_order.is_none() => Ok(false),
        false => Err(Mismatch::Source { what: "checksum", expected: stored.header(), found: own.header() }),
    }
}

/// Holds a part's answer against what was sent. The MD5 that its ETag is, if it is one.
///
/// # Errors
/// [`Mismatch::Target`].
pub(crate) fn part(sent: &Digests, written: &Written) -> Result<Option<[u8; 16]>, Mismatch> {
    if let Some(crc) = written.crc
        && is_compared()
        && crc != sent.crc
    {
        return Err(target_mismatch("part checksum", sent.crc.header(), crc.header()));
    }
    match (written.etag.kind(), sent.md5) {
        (ETagKind::ContentMd5(found), Some(own)) if found != own => {
            Err(target_mismatch("part ETag", ETag::of_content(own).to_string(), written.etag.to_string()))
        }
        (ETagKind::ContentMd5(found), _) => Ok(Some(found)),
        (ETagKind::Multipart(..) | ETagKind::OpaqueMultipart(_) | ETagKind::Opaque | ETagKind::Unknown, _) => Ok(None),
    }
}

/// Holds what the target says of the object against what was sent. An empty list means that it is not proven.
///
/// # Errors
/// [`Mismatch::Target`].
pub(crate) fn target(sent: &Expected, etag: &ETag, crc: Option<Crc64>) -> Result<Vec<Proof>, Mismatch> {
    let mut proofs = Vec::new();
    match (etag.kind(), &sent.etag) {
        (ETagKind::ContentMd5(_) | ETagKind::Multipart(..), Some(own)) if etag.proves_same_content(own) => {
            proofs.push(Proof::ETag);
        }
        (ETagKind::ContentMd5(_) | ETagKind::Multipart(..), Some(own)) => {
            return Err(target_mismatch("ETag", own.to_string(), etag.to_string()));
        }
        (ETagKind::ContentMd5(_) | ETagKind::Multipart(..), None)
        | (ETagKind::OpaqueMultipart(_) | ETagKind::Opaque | ETagKind::Unknown, _) => {}
    }
    match crc.filter(|_| is_compared()) {
        Some(crc) if crc == sent.crc => proofs.push(Proof::Crc64Nvme),
        Some(crc) => return Err(target_mismatch("checksum", sent.crc.header(), crc.header())),
        None => {}
    }
    Ok(proofs)
}

/// Whether checksums are held against each other at all.
fn is_compared() -> bool {
    !mutation::is_on(Mutation::NoCrc)
}

fn target_mismatch(what: &'static str, expected: String, found: String) -> Mismatch {
    Mismatch::Target { what, expected, found }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::decide::plan::Layout;
    use crate::engine::decide::tests::head;
    use crate::s3::integrity::checksum::Running;
    use crate::s3::integrity::sums::Sum;
    use crate::s3::object::encryption::Encryption;

    fn parts() -> [Digests; 2] {
        [Digests::of(b"hello "), Digests::of(b"world")]
    }

    fn whole() -> Digests {
        Digests::of(b"hello world")
    }

    #[test]
    fn the_source_is_proven_by_checksum_or_etag_or_not_at_all() {
        let made = Expected::of_parts(&parts());
        let own = made.etag.clone().unwrap();
        let md5 = Expected::of_put(&whole()).etag.unwrap();
        let whole_md5 = Stored::full(Sum::Md5(whole().md5.unwrap()));
        let check = |etag: &str, encryption, crc, own: Option<&Stored>, expected: &[Proof]| {
            assert_eq!(source(&head(11, etag, encryption, crc), &made, own).unwrap(), expected, "{etag}");
        };
        check(own.as_str(), Encryption::None, None, None, &[Proof::SourceETag]);
        check(own.as_str(), Encryption::None, Some(whole().crc), None, &[Proof::SourceETag, Proof::SourceChecksum]);
        check("opaque", Encryption::Kms(None), Some(whole().crc), None, &[Proof::SourceChecksum]);
        check(md5.as_str(), Encryption::None, None, None, &[]);
        check(md5.as_str(), Encryption::None, None, Some(&whole_md5), &[Proof::SourceETag]);
    }

    #[test]
    fn a_source_that_was_read_wrongly_is_found_out() {
        let made = Expected::of_put(&whole());
        let md5 = ETag::of_content([9; 16]);
        assert!(source(&head(11, md5.as_str(), Encryption::None, None), &made, None).is_err());
        assert!(source(&head(11, "opaque", Encryption::None, Some(Crc64::of(b"x"))), &made, None).is_err());
        let own = made.etag.clone().unwrap();
        assert!(source(&head(12, own.as_str(), Encryption::None, None), &made, None).is_err());
        let in_parts = Expected::of_parts(&parts());
        let other = Stored::full(Sum::Md5([9; 16]));
        assert!(source(&head(11, md5.as_str(), Encryption::None, None), &in_parts, Some(&other)).is_ok());
        let own = Stored::full(Sum::Md5(whole().md5.unwrap()));
        assert!(source(&head(11, md5.as_str(), Encryption::None, None), &in_parts, Some(&own)).is_err());
    }

    #[test]
    fn the_target_is_proven_by_etag_or_checksum() {
        let sent = Expected::of_put(&whole());
        let kms = ETag::new("0cc175b9c0f1b6a831c399e269772661", &Encryption::Kms(None));
        let own = sent.etag.clone().unwrap();
        assert_eq!(target(&sent, &own, Some(sent.crc)), Ok(vec![Proof::ETag, Proof::Crc64Nvme]));
        assert_eq!(target(&sent, &kms, Some(sent.crc)), Ok(vec![Proof::Crc64Nvme]));
        assert_eq!(target(&sent, &kms, None), Ok(vec![]));
        assert!(target(&sent, &ETag::of_content([1; 16]), None).is_err());
        assert!(target(&sent, &own, Some(Crc64::of(b"x"))).is_err());
        // Without the MD5 of each part nothing is known of the ETag.
        let unknown = Expected { etag: None, ..sent };
        assert_eq!(target(&unknown, &own, Some(unknown.crc)), Ok(vec![Proof::Crc64Nvme]));
        assert_eq!(target(&unknown, &own, None), Ok(vec![]));
    }

    #[test]
    fn a_part_is_held_against_its_own_digests() {
        let [first, second] = parts();
        let written = |etag: ETag, crc| Written { etag, crc, version: None };
        let etag = |digests: Digests| ETag::of_content(digests.md5.unwrap());
        assert_eq!(part(&first, &written(etag(first), Some(first.crc))), Ok(first.md5));
        assert_eq!(part(&first, &written(ETag::new("x", &Encryption::Kms(None)), None)), Ok(None));
        assert!(part(&first, &written(etag(second), None)).is_err());
        assert!(part(&first, &written(etag(first), Some(second.crc))).is_err());
        // The MD5 is the target's word where it was not computed.
        let unhashed = Digests { md5: None, ..first };
        assert_eq!(part(&unhashed, &written(etag(second), Some(first.crc))), Ok(second.md5));
        assert!(part(&unhashed, &written(etag(first), Some(second.crc))).is_err());
    }

    #[test]
    fn parts_are_hashed_but_where_both_sides_etags_show_them() {
        let multipart = format!("{}-3", "0cc175b9c0f1b6a831c399e269772661");
        let layout = |part| Layout::Even { part, size: 30 };
        let (tens, own) = (Cut::Parts(layout(10)), SourceLayout::Parts(layout(10)));
        let hashed = |etag: &str, encryption, layout: &SourceLayout, etags| {
            kinds(&head(30, etag, encryption, Some(Crc64::EMPTY)), layout, &tens, etags).md5
        };
        assert!(!hashed(&multipart, Encryption::None, &own, TargetETags::Digests));
        assert!(!hashed(&multipart, Encryption::Aes256, &own, TargetETags::Digests));
        assert!(hashed(&multipart, Encryption::None, &own, TargetETags::Opaque));
        assert!(hashed(&multipart, Encryption::Kms(None), &own, TargetETags::Digests));
        assert!(hashed(&multipart, Encryption::None, &SourceLayout::Unknown, TargetETags::Digests));
        assert!(hashed(&multipart, Encryption::None, &SourceLayout::Parts(layout(20)), TargetETags::Digests));
        assert!(hashed(&multipart[..32], Encryption::None, &SourceLayout::Single, TargetETags::Digests));
    }

    #[test]
    fn own_boundaries_are_hashed_only_where_nothing_else_shows_the_source() {
        let multipart = format!("{}-2", "0cc175b9c0f1b6a831c399e269772661");
        let single = head(30, "0cc175b9c0f1b6a831c399e269772661", Encryption::None, None);
        let stored = head(30, "0cc175b9c0f1b6a831c399e269772661", Encryption::None, Some(Crc64::EMPTY));
        let pieced = head(30, &multipart, Encryption::None, None);
        let layout = |part| Layout::Even { part, size: 30 };
        let planned = Cut::Parts(layout(10));
        assert_eq!(
            source_check(&single, &SourceLayout::Single, &planned),
            SourceCheck::Ordered(Algorithm::Md5, ChecksumRuns::Whole(30))
        );
        assert_eq!(source_check(&single, &SourceLayout::Single, &Cut::Put { size: 30 }), SourceCheck::Nothing);
        assert_eq!(source_check(&stored, &SourceLayout::Single, &planned), SourceCheck::Nothing);
        let own = SourceLayout::Parts(layout(20));
        assert_eq!(
            source_check(&pieced, &own, &planned),
            SourceCheck::Ordered(Algorithm::Md5, ChecksumRuns::Parts(vec![20, 10]))
        );
        assert_eq!(source_check(&pieced, &SourceLayout::Parts(layout(10)), &planned), SourceCheck::Nothing);
        assert_eq!(source_check(&pieced, &SourceLayout::Unknown, &planned), SourceCheck::Nothing);
    }

    #[test]
    fn a_stored_checksum_is_shown_by_the_parts_where_it_can_be_and_in_order_where_not() {
        let layout = |part| Layout::Even { part, size: 30 };
        let opaque = |stored| ObjectHead { stored: Some(stored), ..head(30, "opaque", Encryption::Kms(None), None) };
        let plain = |stored| ObjectHead {
            stored: Some(stored),
            ..head(30, "0cc175b9c0f1b6a831c399e269772661", Encryption::None, None)
        };
        let (put, tens, own) = (Cut::Put { size: 30 }, Cut::Parts(layout(10)), SourceLayout::Parts(layout(20)));
        let same = SourceLayout::Parts(layout(10));
        let sum = |algorithm| Sum::of(algorithm, b"");
        let full = |algorithm| Stored::full(sum(algorithm));
        let composite = |algorithm, parts| Stored { sum: sum(algorithm), parts: Some(parts) };
        let check =
            |source: &ObjectHead, layout: &SourceLayout, plan: &Cut, part, runs: Option<(Algorithm, ChecksumRuns)>| {
                let expected = runs.map_or(SourceCheck::Nothing, |(by, runs)| SourceCheck::Ordered(by, runs));
                assert_eq!(source_check(source, layout, plan), expected, "{source:?} {layout:?} {plan:?}");
                assert_eq!(part_sum(source, layout, plan), part, "{source:?} {layout:?} {plan:?}");
            };
        use Algorithm::{Crc32, Crc32C, Md5, Sha256};
        let single = SourceLayout::Single;
        check(&opaque(full(Sha256)), &single, &put, Some(Sha256), None);
        check(&opaque(full(Sha256)), &single, &tens, None, Some((Sha256, ChecksumRuns::Whole(30))));
        check(&plain(full(Sha256)), &single, &tens, None, Some((Sha256, ChecksumRuns::Whole(30))));
        check(&opaque(full(Crc32C)), &single, &tens, Some(Crc32C), None);
        check(&plain(full(Crc32)), &single, &tens, Some(Crc32), Some((Md5, ChecksumRuns::Whole(30))));
        check(&opaque(composite(Crc32, 3)), &same, &tens, Some(Crc32), None);
        check(&opaque(composite(Crc32, 2)), &own, &tens, None, Some((Crc32, ChecksumRuns::Parts(vec![20, 10]))));
        check(&opaque(composite(Crc32, 2)), &own, &put, None, Some((Crc32, ChecksumRuns::Parts(vec![20, 10]))));
        // The checksum of one part's checksum is another than that of its bytes.
        let one = SourceLayout::Parts(layout(30));
        check(&opaque(composite(Crc32, 1)), &one, &put, None, Some((Crc32, ChecksumRuns::Parts(vec![30]))));
        check(&opaque(composite(Crc32, 1)), &one, &tens, None, Some((Crc32, ChecksumRuns::Parts(vec![30]))));
        // Boundaries that nobody knows, or that are not those of the checksum.
        check(&opaque(composite(Crc32, 2)), &SourceLayout::Unknown, &tens, None, None);
        check(&opaque(composite(Crc32, 3)), &own, &tens, None, None);
        // A CRC64NVME needs no other.
        let both = ObjectHead { crc: Some(Crc64::EMPTY), ..opaque(full(Crc32)) };
        check(&both, &single, &tens, None, None);
    }

    #[test]
    fn parts_that_make_another_etag_or_composite_are_suspect() {
        let made = Expected::of_parts(&parts());
        let of = |etag: &str, encryption| head(11, etag, encryption, None);
        let digits = "0cc175b9c0f1b6a831c399e269772661";
        assert!(layout_mismatch(&of(&format!("{digits}-2"), Encryption::None), &made).is_some());
        assert_eq!(layout_mismatch(&of(&format!("{digits}-3"), Encryption::None), &made), None);
        assert_eq!(layout_mismatch(&of(&format!("{digits}-2"), Encryption::Kms(None)), &made), None);
        assert_eq!(layout_mismatch(&of(digits, Encryption::None), &made), None);
        let sums = [Sum::of(Algorithm::Sha1, b"hello "), Sum::of(Algorithm::Sha1, b"world")];
        let summed = Expected { stored: Stored::composite(&sums).into_iter().collect(), ..made };
        let stored =
            |sum, parts| ObjectHead { stored: Some(Stored { sum, parts }), ..of("x-2", Encryption::Kms(None)) };
        assert!(layout_mismatch(&stored(Sum::Sha1([0; 20]), Some(2)), &summed).is_some());
        assert_eq!(layout_mismatch(&stored(Sum::Sha1([0; 20]), Some(3)), &summed), None);
        assert_eq!(layout_mismatch(&stored(Sum::Sha1([0; 20]), None), &summed), None);
        assert_eq!(layout_mismatch(&stored(Sum::Crc32(0), Some(2)), &summed), None);
    }

    #[test]
    fn another_stored_checksum_proves_the_source_or_convicts_the_bytes() {
        let (kms, algorithm) = (Encryption::Kms(None), Algorithm::Sha256);
        let digests = |bytes: &[u8]| {
            let mut running = Running::of(Kinds { sum: Some(algorithm), ..Kinds::default() });
            running.update(bytes);
            running.finish()
        };
        let of = |stored| ObjectHead { stored: Some(stored), ..head(11, "opaque", kms.clone(), None) };
        let full = |bytes| Stored::full(Sum::of(algorithm, bytes));
        let composite = |a, b| Stored::composite(&[Sum::of(algorithm, a), Sum::of(algorithm, b)]).unwrap();
        let put = Expected::of_put(&digests(b"hello world"));
        let in_parts = Expected::of_parts(&[digests(b"hello "), digests(b"world")]);
        let proven = Ok(vec![Proof::SourceChecksum]);
        assert_eq!(source(&of(full(b"hello world")), &put, None), proven);
        assert!(source(&of(full(b"hello_world")), &put, None).is_err());
        assert_eq!(source(&of(composite(b"hello ", b"world")), &in_parts, None), proven);
        assert_eq!(source(&of(composite(b"hello", b" world")), &in_parts, None), Ok(vec![]));
        let in_order = composite(b"hello", b" world");
        assert_eq!(source(&of(in_order), &in_parts, Some(&in_order)), proven);
        assert!(source(&of(composite(b"hello", b"_world")), &in_parts, Some(&in_order)).is_err());
        assert_eq!(source(&of(full(b"hello world")), &in_parts, None), Ok(vec![]));
    }
}

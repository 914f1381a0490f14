//! Which objects reach the target by way of a stage so that they keep the source's ETag, and how: pure.
//!
//! An ETag is made of the source's own boundaries. Where these make pieces that are too large to be sent as they are,
//! the bytes are sent in small parts to stages, objects of ours at the target, and S3 puts the object together from
//! them without a byte crossing: by one CopyObject, whose copy has the ETag of a single PUT, or by UploadPartCopy with
//! the source's boundaries. The layout of stages is a function of the source's and of the limits alone, like every
//! plan.

use crate::engine::decide::checksum::TargetETags;
use crate::engine::decide::plan::{EtagMode, Layout, PART_MAX, PartSizeTable, SourceLayout, Unplannable};
use crate::s3::integrity::etag::{ETag, ETagKind};
use crate::s3::{ByteRange, PartNumber};

/// From which sizes on pieces are staged, and in which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StagingLimits {
    /// The largest object that goes in one PUT.
    pub put: u64,
    /// The largest part of the source's layout that is sent as it is.
    pub part: u64,
    /// The smallest piece that is sent to a stage; none is twice as large.
    pub piece: u64,
    /// The most bytes of a stage.
    pub stage: u64,
}

impl StagingLimits {
    /// One PUT and one part as they are without preserving: more than one connection of a lossy path moves in minutes,
    /// or a small function holds. Pieces of the table's smallest parts. A stage is at most what one CopyObject
    /// takes; it is removed before the next is begun, so that no more than 5 GiB are stored twice.
    pub(crate) fn of(table: &PartSizeTable) -> Self {
        Self { put: table.single_put, part: table.kept_part, piece: table.part_min, stage: PART_MAX }
    }
}

impl Default for StagingLimits {
    fn default() -> Self {
        Self::of(&PartSizeTable::V1)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StagingRoute {
    /// As [`crate::engine::decide::plan::plan`] has it for this mode.
    Direct(EtagMode),
    /// By one stage, copied as a whole.
    Whole(Stage),
    /// By stages in order, each copied part by part.
    Parts(Vec<Stage>),
}

/// One stage: consecutive bytes of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stage {
    /// What is sent to it, as ranges of the source.
    pub(crate) pieces: Vec<ByteRange>,
    /// The source's own parts that are in it, as ranges of the source.
    pub(crate) parts: Vec<StagedPart>,
}

/// A part of the source's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StagedPart {
    pub(crate) number: PartNumber,
    /// Its bytes.
    pub(crate) range: ByteRange,
    /// How many of the stage's pieces make it.
    pub(crate) pieces: usize,
}

/// Decides the way of an object. Where the ETag cannot be kept, because the source's is opaque or the target's will be,
/// an object that would have to be staged for it goes like any other.
///
/// # Errors
/// [`Unplannable::NotPreservable`] for layouts that S3 takes from nobody.
pub(crate) fn route(
    etag: &ETag,
    size: u64,
    layout: &SourceLayout,
    mode: EtagMode,
    target: TargetETags,
    limits: StagingLimits,
    table: &PartSizeTable,
) -> Result<StagingRoute, Unplannable> {
    let largest = match (mode, layout) {
        (EtagMode::Auto | EtagMode::Any, _) | (EtagMode::Preserve, SourceLayout::Unknown) => {
            return Ok(StagingRoute::Direct(mode));
        }
        (EtagMode::Preserve, SourceLayout::Single) => size,
        (EtagMode::Preserve, SourceLayout::Parts(own)) => own.largest(),
    };
    let limit = if matches!(layout, SourceLayout::Single) { limits.put } else { limits.part };
    if largest <= limit {
        return Ok(StagingRoute::Direct(mode));
    }
    let is_digest = match etag.kind() {
        ETagKind::ContentMd5(_) | ETagKind::Multipart(..) => true,
        ETagKind::OpaqueMultipart(_) | ETagKind::Opaque | ETagKind::Unknown => false,
    };
    if !is_digest || target == TargetETags::Opaque {
        return Ok(StagingRoute::Direct(EtagMode::Auto));
    }
    match layout {
        SourceLayout::Parts(own) => {
            // The plan of the same name refuses what S3 does not take.
            crate::engine::decide::plan::cut(table, size, layout, EtagMode::Preserve, None)?;
            Ok(StagingRoute::Parts(stages(own, limits)))
        }
        SourceLayout::Single | SourceLayout::Unknown => {
            crate::engine::decide::plan::cut(table, size, layout, EtagMode::Preserve, None)?;
            let whole = ByteRange::new(0, size).map_err(|_| Unplannable::NotPreservable("the object is empty"))?;
            Ok(StagingRoute::Whole(Stage { pieces: pieces(whole, limits.piece), parts: Vec::new() }))
        }
    }
}

/// As many whole parts to a stage as it may hold; a part that is larger by itself has one of its own.
fn stages(own: &Layout, limits: StagingLimits) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    let mut bytes = 0;
    for (number, range) in own.parts() {
        let cut = pieces(range, limits.piece);
        let part = StagedPart { number, range, pieces: cut.len() };
        match stages.last_mut() {
            Some(stage) if bytes + range.bytes() <= limits.stage => {
                bytes += range.bytes();
                stage.pieces.extend(cut);
                stage.parts.push(part);
            }
            Some(_) | None => {
                bytes = range.bytes();
                stages.push(Stage { pieces: cut, parts: vec![part] });
            }
        }
    }
    stages
}

/// Cuts a range into pieces of nearly the same size, none below `smallest` unless the range itself is. Cut at the
/// source's boundaries, they tell the checksum of each of its parts.
fn pieces(range: ByteRange, smallest: u64) -> Vec<ByteRange> {
    let count = (range.bytes() / smallest.max(1)).max(1);
    let (length, longer) = (range.bytes() / count, range.bytes() % count);
    let mut start = range.start();
    (0..count)
        .filter_map(|index| {
            let end = start + length + u64::from(index < longer);
            let piece = ByteRange::new(start, end).ok();
            start = end;
            piece
        })
        .collect()
}

impl Stage {
    /// Its first byte in the source.
    pub(crate) fn start(&self) -> u64 {
        self.pieces.first().map_or(0, |piece| piece.start())
    }

    /// How many bytes it has.
    pub(crate) fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.bytes()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    fn single() -> ETag {
        ETag::of_content([1; 16])
    }

    fn in_parts() -> ETag {
        ETag::of_parts([1; 16], 2)
    }

    fn even(part: u64, size: u64) -> SourceLayout {
        SourceLayout::Parts(Layout::Even { part, size })
    }

    fn preserve(etag: &ETag, size: u64, layout: &SourceLayout) -> Result<StagingRoute, Unplannable> {
        route(
            etag,
            size,
            layout,
            EtagMode::Preserve,
            TargetETags::Digests,
            StagingLimits::default(),
            &PartSizeTable::V1,
        )
    }

    #[test]
    fn only_what_is_too_large_to_be_sent_as_it_is_is_staged() {
        let direct = |etag: &ETag, size, layout: &SourceLayout| {
            assert_eq!(preserve(etag, size, layout), Ok(StagingRoute::Direct(EtagMode::Preserve)), "{size}");
        };
        direct(&single(), 16 * MIB, &SourceLayout::Single);
        direct(&in_parts(), 640 * MIB, &even(64 * MIB, 640 * MIB));
        direct(&in_parts(), GIB, &SourceLayout::Unknown);
        assert!(matches!(preserve(&single(), 16 * MIB + 1, &SourceLayout::Single), Ok(StagingRoute::Whole(_))));
        assert!(matches!(preserve(&in_parts(), 640 * MIB, &even(64 * MIB + 1, 640 * MIB)), Ok(StagingRoute::Parts(_))));
        for mode in [EtagMode::Auto, EtagMode::Any] {
            let way = route(
                &single(),
                GIB,
                &SourceLayout::Single,
                mode,
                TargetETags::Digests,
                StagingLimits::default(),
                &PartSizeTable::V1,
            );
            assert_eq!(way, Ok(StagingRoute::Direct(mode)));
        }
    }

    #[test]
    fn no_stage_is_made_for_an_etag_that_cannot_be_kept() {
        let opaque = ETag::new("x", &crate::s3::object::encryption::Encryption::Kms(None));
        assert_eq!(preserve(&opaque, GIB, &SourceLayout::Single), Ok(StagingRoute::Direct(EtagMode::Auto)));
        let to_kms = route(
            &single(),
            GIB,
            &SourceLayout::Single,
            EtagMode::Preserve,
            TargetETags::Opaque,
            StagingLimits::default(),
            &PartSizeTable::V1,
        );
        assert_eq!(to_kms, Ok(StagingRoute::Direct(EtagMode::Auto)));
    }

    #[test]
    fn what_s3_does_not_take_is_refused() {
        assert!(preserve(&single(), 5 * GIB + 1, &SourceLayout::Single).is_err());
        let small = SourceLayout::Parts(Layout::Uneven(vec![MIB, 100 * MIB]));
        assert!(preserve(&in_parts(), 101 * MIB, &small).is_err());
    }

    #[test]
    fn half_gibibytes_share_a_stage_and_its_pieces_end_where_they_do() {
        let Ok(StagingRoute::Parts(stages)) = preserve(&in_parts(), GIB, &even(512 * MIB, GIB)) else {
            panic!("not staged")
        };
        assert_eq!(stages.len(), 1);
        let stage = &stages[0];
        assert_eq!((stage.pieces.len(), stage.bytes(), stage.start()), (204, GIB, 0));
        assert!(stage.pieces.iter().all(|piece| piece.bytes() < 6 * MIB));
        let counts: Vec<usize> = stage.parts.iter().map(|part| part.pieces).collect();
        assert_eq!(counts, [102, 102]);
        assert_eq!(stage.pieces[101].end(), 512 * MIB);
    }

    #[test]
    fn ten_thousand_of_the_largest_parts_take_as_many_stages_and_small_ones_few() {
        let size = 10_000 * 5 * GIB;
        let Ok(StagingRoute::Parts(stages)) = preserve(&in_parts(), size, &even(5 * GIB, size)) else {
            panic!("not staged")
        };
        assert_eq!(stages.len(), 10_000);
        assert!(stages.iter().all(|stage| stage.pieces.len() <= 1_024));
        let size = 10_000 * 65 * MIB;
        let Ok(StagingRoute::Parts(stages)) = preserve(&in_parts(), size, &even(65 * MIB, size)) else {
            panic!("not staged")
        };
        assert_eq!(stages.len(), 129);
    }

    proptest! {
        #[test]
        fn pieces_cover_the_source_in_order_and_are_what_s3_takes(
            lengths in prop::collection::vec(5 * MIB..=300 * MIB, 1..20),
            last in 1..=100 * MIB,
        ) {
            let lengths = [lengths, vec![last]].concat();
            let own = Layout::Uneven(lengths.clone());
            let limits = StagingLimits { stage: 400 * MIB, ..StagingLimits::default() };
            let stages = stages(&own, limits);
            let pieces: Vec<ByteRange> = stages.iter().flat_map(|stage| stage.pieces.clone()).collect();
            prop_assert_eq!(pieces[0].start(), 0);
            prop_assert!(pieces.windows(2).all(|pair| pair[0].end() == pair[1].start()));
            prop_assert_eq!(pieces[pieces.len() - 1].end(), lengths.iter().sum::<u64>());
            for stage in &stages {
                prop_assert!(stage.bytes() <= limits.stage);
                let (_, others) = stage.pieces.split_last().unwrap();
                prop_assert!(others.iter().all(|piece| (PartSizeTable::V1.part_min..2 * PartSizeTable::V1.part_min).contains(&piece.bytes())));
                prop_assert_eq!(stage.parts.iter().map(|part| part.pieces).sum::<usize>(), stage.pieces.len());
            }
            let parts: Vec<ByteRange> = stages.iter().flat_map(|stage| stage.parts.iter().map(|part| part.range)).collect();
            prop_assert_eq!(parts, own.ranges());
        }
    }
}

//! How an object is cut for the target: a pure function of its size, the source's own layout, the ETag mode and a
//! table.
//!
//! Never of memory, window or a measured rate: another invocation must arrive at the same parts. Limits are those of
//! "Amazon S3 multipart upload limits".

use crate::s3::{ByteRange, PartNumber};
use std::collections::BTreeMap;
use thiserror::Error;

/// The smallest part but the last.
pub(crate) const PART_MIN: u64 = 5 << 20;
/// The largest part, and the largest single PUT.
pub(crate) const PART_MAX: u64 = 5 << 30;
/// The largest object: 10,000 parts of 5 GiB.
pub const OBJECT_MAX: u64 = PARTS_MAX * PART_MAX;

const PARTS_MAX: u64 = PartNumber::MAX as u64;

/// Where one way of sending ends and the next begins, in bytes. `PartSizeTable::V1` is the one that objects are sent
/// by; a server whose parts may be smaller than S3's is met with another, so that thousands of objects in parts are few
/// bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartSizeTable {
    /// Up to here the conditional PUT goes first, without a look at the target.
    pub put_first: u64,
    /// Above this an object goes in parts.
    pub single_put: u64,
    /// The smallest part but the last.
    pub part_min: u64,
    /// The largest part of the source's own layout that is kept.
    pub kept_part: u64,
    /// Parts grow in steps of this.
    pub step: u64,
}

impl PartSizeTable {
    /// Version 1.
    pub const V1: Self = Self {
        // A new small object costs the border one round trip, and one that is there already costs its body once.
        put_first: 64 << 10,
        // One PUT up to here costs the border fewest round trips; a part costs one each.
        single_put: 16 << 20,
        part_min: PART_MIN,
        // What one connection moves in some minutes, and what fits a small function's memory.
        kept_part: 64 << 20,
        step: 1 << 20,
    };
}

/// What is asked of the target's ETag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EtagMode {
    /// The source's where that costs nothing.
    #[default]
    Auto,
    /// The source's, or a refusal.
    Preserve,
    /// Whatever the table gives.
    Any,
}

impl std::str::FromStr for EtagMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "preserve" => Ok(Self::Preserve),
            "any" => Ok(Self::Any),
            _ => Err(format!("`{text}` is none of auto, preserve, any")),
        }
    }
}

/// How the source was put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceLayout {
    /// By one PUT.
    Single,
    /// From parts of these lengths.
    Parts(Layout),
    /// From parts, but nobody says from which.
    Unknown,
}

/// The ranges of the source that parts are made of.
pub(crate) type PartRanges = BTreeMap<PartNumber, ByteRange>;

/// The lengths of consecutive parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// Parts of `part` bytes and what is left.
    Even {
        /// The bytes of all parts but the last, which may have fewer.
        part: u64,
        /// The bytes of all.
        size: u64,
    },
    /// Each part's own length.
    Uneven(Vec<u64>),
}

impl Layout {
    /// How many parts; an empty object has one.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Even { part, size } => usize::try_from(size.div_ceil(*part).max(1)).unwrap_or(usize::MAX),
            Self::Uneven(lengths) => lengths.len(),
        }
    }

    pub(crate) fn largest(&self) -> u64 {
        match self {
            Self::Even { part, size } => *part.min(size),
            Self::Uneven(lengths) => lengths.iter().copied().max().unwrap_or(0),
        }
    }

    /// The parts' ranges in order; an empty part has none and is left out.
    pub fn ranges(&self) -> Vec<ByteRange> {
        let mut start = 0_u64;
        let mut ranges = Vec::with_capacity(self.count());
        for index in 0..self.count() {
            let length = match self {
                Self::Even { part, size } => (*part).min(size - start),
                Self::Uneven(lengths) => lengths[index],
            };
            if let Ok(range) = ByteRange::new(start, start + length) {
                ranges.push(range);
            }
            start += length;
        }
        ranges
    }

    /// The parts' ranges by their numbers.
    pub(crate) fn parts(&self) -> PartRanges {
        PartNumber::all().zip(self.ranges()).collect()
    }

    fn size(&self) -> u64 {
        match self {
            Self::Even { size, .. } => *size,
            Self::Uneven(lengths) => lengths.iter().sum(),
        }
    }

    /// Whether S3 takes these parts, and they make an object of so many bytes.
    pub(crate) fn makes(&self, size: u64, table: &PartSizeTable) -> bool {
        self.size() == size && self.is_allowed(table) && self.ranges().len() == self.count()
    }

    /// Whether S3 takes these parts.
    fn is_allowed(&self, table: &PartSizeTable) -> bool {
        let count = self.count() as u64;
        let all_but_last = match self {
            Self::Even { part, .. } => count <= 1 || *part >= table.part_min,
            Self::Uneven(lengths) => {
                lengths.split_last().is_some_and(|(_, others)| others.iter().all(|length| *length >= table.part_min))
            }
        };
        (1..=PARTS_MAX).contains(&count) && all_but_last && self.largest() <= PART_MAX
    }
}

/// How the object is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// By one PUT of all its bytes.
    Put {
        /// How many.
        size: u64,
    },
    /// In parts.
    Parts(Layout),
}

impl Cut {
    /// The largest piece that has to be held at once.
    pub(crate) fn slot(&self) -> u64 {
        match self {
            Self::Put { size } => *size,
            Self::Parts(layout) => layout.largest(),
        }
    }

    pub(crate) fn pieces(&self) -> usize {
        match self {
            Self::Put { .. } => 1,
            Self::Parts(layout) => layout.count(),
        }
    }
}

/// An object that cannot be planned as asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unplannable {
    /// Larger than S3's largest.
    #[error("an object of {0} bytes is larger than S3's largest of {OBJECT_MAX}")]
    TooLarge(u64),
    /// A part size that S3 does not take.
    #[error("a part size of {0} bytes is not allowed: S3 takes 5 MiB to 5 GiB")]
    PartSize(u64),
    /// A part size that makes too many parts.
    #[error("with a part size of {0} bytes this object has more than 10,000 parts; use at least {1} bytes, or auto")]
    TooManyParts(u64, u64),
    /// The source's layout cannot be sent, or is not known.
    #[error("the source's ETag cannot be preserved: {0}")]
    NotPreservable(&'static str),
}

/// Plans an object by a table. `part_size` is the user's own, if there is one.
///
/// # Errors
/// [`Unplannable`].
pub fn cut(
    table: &PartSizeTable,
    size: u64,
    source: &SourceLayout,
    mode: EtagMode,
    part_size: Option<u64>,
) -> Result<Cut, Unplannable> {
    if size > OBJECT_MAX {
        return Err(Unplannable::TooLarge(size));
    }
    match (mode, source) {
        (EtagMode::Preserve, _) => preserved(table, size, source),
        (EtagMode::Auto, SourceLayout::Parts(layout)) if part_size.is_none() && is_kept(table, size, layout) => {
            Ok(Cut::Parts(layout.clone()))
        }
        (EtagMode::Auto | EtagMode::Any, _) => by_table(table, size, part_size),
    }
}

/// Whether the source's layout is taken over for the sake of its ETag.
fn is_kept(table: &PartSizeTable, size: u64, layout: &Layout) -> bool {
    let may_be_sent = layout.size() == size && layout.is_allowed(table);
    size > table.single_put && may_be_sent && layout.largest() <= table.kept_part
}

fn preserved(table: &PartSizeTable, size: u64, source: &SourceLayout) -> Result<Cut, Unplannable> {
    match source {
        SourceLayout::Single if size <= PART_MAX => Ok(Cut::Put { size }),
        SourceLayout::Single => Err(Unplannable::NotPreservable("one PUT holds at most 5 GiB")),
        SourceLayout::Parts(layout) if layout.makes(size, table) => Ok(Cut::Parts(layout.clone())),
        SourceLayout::Parts(_) => Err(Unplannable::NotPreservable("S3 does not accept parts of the source's sizes")),
        SourceLayout::Unknown => Err(Unplannable::NotPreservable("the source does not show its part sizes")),
    }
}

/// By version 1 of the table: one PUT up to 16 MiB; parts of 5 MiB, because a path that loses packets rewards
/// connections, up to 10,000 of them; then as small as 10,000 allow, in whole MiB.
fn by_table(table: &PartSizeTable, size: u64, part_size: Option<u64>) -> Result<Cut, Unplannable> {
    let needed = size.div_ceil(PARTS_MAX).div_ceil(table.step) * table.step;
    let part = match part_size {
        None if size <= table.single_put => return Ok(Cut::Put { size }),
        None => needed.max(table.part_min),
        Some(asked) if !(table.part_min..=PART_MAX).contains(&asked) => return Err(Unplannable::PartSize(asked)),
        Some(asked) if size <= asked => return Ok(Cut::Put { size }),
        Some(asked) if size.div_ceil(asked) > PARTS_MAX => return Err(Unplannable::TooManyParts(asked, needed)),
        Some(asked) => asked,
    };
    Ok(Cut::Parts(Layout::Even { part, size }))
}

/// The layout that a count of parts and the lengths of the first and the last suggest, if all between can be equal to
/// the first. Otherwise the parts' own lengths have to be asked for.
pub(crate) fn even_layout(size: u64, count: u16, first: u64, last: u64) -> Option<Layout> {
    let others = first.checked_mul(u64::from(count).checked_sub(1)?)?;
    let fits = (1..=first).contains(&last) && others.checked_add(last) == Some(size);
    fits.then_some(Layout::Even { part: first, size })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    fn parts(plan: &Cut) -> (u64, usize) {
        match plan {
            Cut::Put { size } => (*size, 0),
            Cut::Parts(layout) => (layout.largest(), layout.count()),
        }
    }

    #[test]
    fn the_table_grows_so_that_ten_thousand_parts_suffice() {
        let check = |size: u64, expected: (u64, usize)| {
            let plan = cut(&PartSizeTable::V1, size, &SourceLayout::Single, EtagMode::Auto, None).unwrap();
            assert_eq!(parts(&plan), expected, "{size}");
        };
        check(0, (0, 0));
        check(1, (1, 0));
        check(16 * MIB, (16 * MIB, 0));
        check(16 * MIB + 1, (5 * MIB, 4));
        check(1 << 30, (5 * MIB, 205));
        check(50_000 * MIB, (5 * MIB, 10_000));
        check(50_000 * MIB + 1, (6 * MIB, 8_334));
        check(1 << 40, (105 * MIB, 9_987));
        check(OBJECT_MAX, (PART_MAX, 10_000));
        assert_eq!(
            cut(&PartSizeTable::V1, OBJECT_MAX + 1, &SourceLayout::Single, EtagMode::Auto, None),
            Err(Unplannable::TooLarge(OBJECT_MAX + 1))
        );
    }

    #[test]
    fn the_sources_own_layout_is_kept_up_to_64_mib() {
        let even = |part, size| SourceLayout::Parts(Layout::Even { part, size });
        let check = |size, source: SourceLayout, expected| {
            assert_eq!(parts(&cut(&PartSizeTable::V1, size, &source, EtagMode::Auto, None).unwrap()), expected);
        };
        check(100 * MIB, even(8 * MIB, 100 * MIB), (8 * MIB, 13));
        check(640 * MIB, even(64 * MIB, 640 * MIB), (64 * MIB, 10));
        check(640 * MIB, even(65 * MIB, 640 * MIB), (5 * MIB, 128));
        check(20 * MIB, SourceLayout::Parts(Layout::Uneven(vec![5 * MIB, 9 * MIB, 6 * MIB])), (9 * MIB, 3));
        check(20 * MIB, SourceLayout::Parts(Layout::Uneven(vec![MIB, 19 * MIB])), (5 * MIB, 4));
        check(12 * MIB, even(5 * MIB, 12 * MIB), (12 * MIB, 0));
        check(100 * MIB, even(8 * MIB, 99 * MIB), (5 * MIB, 20));
        check(100 * MIB, SourceLayout::Unknown, (5 * MIB, 20));
    }

    #[test]
    fn preserving_keeps_the_layout_or_refuses() {
        let plan = |size, source: &SourceLayout| cut(&PartSizeTable::V1, size, source, EtagMode::Preserve, None);
        assert_eq!(plan(5 << 30, &SourceLayout::Single), Ok(Cut::Put { size: 5 << 30 }));
        assert!(plan((5 << 30) + 1, &SourceLayout::Single).is_err());
        let giant = Layout::Even { part: 1 << 30, size: 3 << 30 };
        assert_eq!(plan(3 << 30, &SourceLayout::Parts(giant.clone())), Ok(Cut::Parts(giant)));
        let small = SourceLayout::Parts(Layout::Even { part: 5 * MIB, size: 12 * MIB });
        assert_eq!(parts(&plan(12 * MIB, &small).unwrap()), (5 * MIB, 3));
        assert!(plan(12 * MIB, &SourceLayout::Unknown).is_err());
    }

    #[test]
    fn a_users_part_size_is_held_against_the_limits() {
        let plan = |size, part| cut(&PartSizeTable::V1, size, &SourceLayout::Single, EtagMode::Auto, Some(part));
        assert_eq!(parts(&plan(20 * MIB, 8 * MIB).unwrap()), (8 * MIB, 3));
        assert_eq!(parts(&plan(8 * MIB, 8 * MIB).unwrap()), (8 * MIB, 0));
        assert_eq!(plan(20 * MIB, MIB), Err(Unplannable::PartSize(MIB)));
        assert_eq!(plan(1 << 40, 8 * MIB), Err(Unplannable::TooManyParts(8 * MIB, 105 * MIB)));
    }

    #[test]
    fn a_count_and_both_ends_make_an_even_layout_or_none() {
        let check = |size, count, first, last, expected: bool| {
            assert_eq!(even_layout(size, count, first, last).is_some(), expected, "{size} {count} {first} {last}");
        };
        check(20, 3, 8, 4, true);
        check(24, 3, 8, 8, true);
        check(8, 1, 8, 8, true);
        check(25, 3, 8, 9, false);
        check(20, 3, 8, 3, false);
        check(0, 1, 0, 0, false);
        check(8, 0, 8, 8, false);
        check(u64::MAX, 10_000, u64::MAX, 1, false);
    }

    proptest! {
        #[test]
        fn every_plan_covers_the_object_within_s3s_limits(size in 0..=OBJECT_MAX) {
            match cut(&PartSizeTable::V1, size, &SourceLayout::Single, EtagMode::Auto, None).unwrap() {
                Cut::Put { size: all } => prop_assert!(all == size && size <= PartSizeTable::V1.single_put),
                Cut::Parts(layout) => {
                    prop_assert!(layout.is_allowed(&PartSizeTable::V1));
                    let ranges = layout.ranges();
                    prop_assert_eq!(ranges.len(), layout.count());
                    prop_assert_eq!(ranges[0].start(), 0);
                    prop_assert_eq!(ranges[ranges.len() - 1].end(), size);
                    prop_assert!(ranges.windows(2).all(|pair| pair[0].end() == pair[1].start()));
                }
            }
        }
    }
}

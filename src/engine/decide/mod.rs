//! What is decided about an object: whether the target has it already, under which condition it may be written, and
//! how.
//!
//! Pure: facts in, a decision or a `Plan` out.

pub(crate) mod checksum;
pub mod plan;
pub(crate) mod recopy;
pub mod reserved;
pub(crate) mod sameness;
pub mod staging;
pub(crate) mod style;
pub mod ticket;
pub(crate) mod verify;

use crate::engine::decide::checksum::TargetETags;
use crate::engine::decide::plan::{Cut, EtagMode, Layout, SourceLayout, Unplannable};
use crate::engine::decide::recopy::{Recopy, is_digest};
use crate::engine::decide::sameness::{Sameness, carried, sameness};
use crate::engine::decide::staging::{Stage, StagingRoute};
use crate::engine::decide::verify::SourceCheck;
use crate::engine::session::options::Options;
use crate::s3::http::operation::Precondition;
use crate::s3::integrity::checksum::Kinds;
use crate::s3::integrity::etag::ETag;
use crate::s3::object::head::ObjectHead;
use crate::s3::object::put::ObjectOptions;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing: content and attributes agree.
    Unchanged(Sameness),
    /// Write, if the target is still as it was seen.
    Write(Precondition),
}

/// Decides what to do, given what is at the target now; `None` if nothing is.
pub(crate) fn compare(source: &ObjectHead, target: Option<&ObjectHead>) -> Decision {
    let Some(target) = target else { return Decision::Write(Precondition::IfAbsent) };
    match sameness(source, target) {
        Sameness::Different => {}
        same if carried(&source.attributes).agree(&carried(&target.attributes)) => return Decision::Unchanged(same),
        Sameness::ETag | Sameness::Crc64Nvme | Sameness::Checksum | Sameness::Recorded => {}
    }
    Decision::Write(Precondition::IfMatch(target.etag.clone()))
}

/// What is done about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing: content and attributes agree.
    Keep(Sameness),
    /// The target is copied onto itself.
    Recopy(Recopy, Precondition),
    /// It is written, if the target is still as it was seen.
    Write(Precondition),
}

/// Decides what to do about an object, given what was seen at the target.
pub(crate) fn action(source: &ObjectHead, seen: Option<&ObjectHead>, options: &Options) -> Action {
    let condition = match (compare(source, seen), options.etag, seen) {
        // The same content under another ETag is not what was asked for.
        (Decision::Unchanged(Sameness::Crc64Nvme), EtagMode::Preserve, Some(seen))
            if is_digest(&source.etag) && is_digest(&seen.etag) =>
        {
            Precondition::IfMatch(seen.etag.clone())
        }
        (Decision::Unchanged(by), ..) => return Action::Keep(by),
        (Decision::Write(condition), ..) => condition,
    };
    match seen.and_then(|seen| recopy::plan(source, seen, options.etag, options.kms_key.as_deref())) {
        Some(recopy) => Action::Recopy(recopy, condition),
        None => Action::Write(condition),
    }
}

/// What is known when an object is to be written.
pub(crate) struct Facts<'a> {
    pub(crate) source: &'a ObjectHead,
    /// How the source was put together.
    pub(crate) layout: &'a SourceLayout,
    /// What was seen at the target.
    pub(crate) seen: Option<&'a ObjectHead>,
    pub(crate) options: &'a Options,
    /// Whether an object that was written there had an opaque ETag though nobody asked for a key.
    pub(crate) learned_opaque: bool,
}

/// How an object is written.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) route: Route,
    /// What the target's object is made of.
    pub(crate) cut: Cut,
    pub(crate) checks: Checks,
    pub(crate) style: Style,
}

/// By which requests.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// Of the cut: one PUT, or a multipart upload.
    Direct,
    /// A stage that is copied as a whole.
    StagedWhole(Stage),
    /// Stages that are copied under the source's boundaries.
    StagedParts(Vec<Stage>),
}

/// What is computed on the way, to be compared with what both sides say.
#[derive(Debug)]
pub(crate) struct Checks {
    /// Of each part.
    pub(crate) kinds: Kinds,
    /// Of the bytes in order.
    pub(crate) source: SourceCheck,
}

/// What follows from the plan for what the object is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Style {
    /// What an object that goes in parts is given.
    pub(crate) object: ObjectOptions,
    /// Whether the new object's ETag is the source's, where both are digests.
    pub(crate) keeps_etag: bool,
    /// Whether the ETag was to be preserved and cannot be.
    pub(crate) gives_up_etag: bool,
}

/// Decides how an object is written. The cut follows from size, layout, mode and table alone, so that the next
/// invocation's parts line up.
///
/// # Errors
/// If S3 takes no object of this size or these parts.
pub(crate) fn decide(facts: &Facts<'_>) -> Result<Plan, Unplannable> {
    let Facts { source, layout, seen, options, learned_opaque } = *facts;
    let Options { table, etag: mode, staging, part_size, .. } = options;
    // What a source without a checksum is, only its ETag shows, and no copy at such a target has it.
    let etags = match style::configured_etags(options, seen) {
        TargetETags::Digests if source.crc.is_none() && learned_opaque => TargetETags::Opaque,
        etags @ (TargetETags::Digests | TargetETags::Opaque) => etags,
    };
    let mode = match staging::route(&source.etag, source.size, layout, *mode, etags, *staging, table)? {
        StagingRoute::Whole(stage) => {
            let cut = Cut::Put { size: source.size };
            return Ok(Plan::of(facts, Route::StagedWhole(stage), cut, *mode));
        }
        StagingRoute::Parts(stages) => {
            let own =
                Layout::Uneven(stages.iter().flat_map(|stage| &stage.parts).map(|part| part.range.bytes()).collect());
            return Ok(Plan::of(facts, Route::StagedParts(stages), Cut::Parts(own), *mode));
        }
        StagingRoute::Direct(mode) => mode,
    };
    let cut = plan::cut(table, source.size, layout, mode, *part_size)?;
    Ok(Plan::of(facts, Route::Direct, cut, mode))
}

impl Plan {
    /// The plan of a PUT that goes before any look at the target.
    pub(crate) fn of_first_put(facts: &Facts<'_>) -> Self {
        Self::of(facts, Route::Direct, Cut::Put { size: facts.source.size }, facts.options.etag)
    }

    fn of(facts: &Facts<'_>, route: Route, cut: Cut, mode: EtagMode) -> Self {
        let Facts { source, layout, seen, options, learned_opaque } = *facts;
        let etags = match (&route, &cut) {
            // A PUT learns from its answer what the target's ETags are, and is made again if it has to be.
            (Route::Direct, Cut::Put { .. }) => TargetETags::Digests,
            (Route::Direct | Route::StagedWhole(_) | Route::StagedParts(_), _) => {
                style::expected_etags(options, seen, learned_opaque)
            }
        };
        let kinds = verify::kinds(source, layout, &cut, etags);
        let checks = Checks { kinds, source: verify::source_check(source, layout, &cut) };
        let keeps_etag = matches!((layout, &cut), (SourceLayout::Parts(own), Cut::Parts(cut)) if own == cut);
        let object = style::object_options(options, source, keeps_etag, seen);
        let style = Style { object, keeps_etag, gives_up_etag: mode != options.etag };
        Self { route, cut, checks, style }
    }
}

/// What to do about an attempt to remove, given how it ended and what is at the target now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Removal {
    /// It was carried out, or may have been and nothing is there.
    Done,
    /// Nothing is there, and it was not we who removed it.
    Nothing,
    /// Remove what has this ETag, if it still has and the source is still gone.
    Remove(ETag),
}

/// How an earlier attempt to remove ended, if there was one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PriorDelete {
    /// None was made, or it was certainly not carried out.
    No,
    /// It was not answered to the end.
    Unanswered,
}

/// Decides what is left to remove. What is at the key goes, whoever wrote it: that the target equals the source is the
/// promise, and the ETag seen keeps it from taking what nobody has looked at.
pub(crate) fn removal(tried: PriorDelete, seen: Option<&ObjectHead>) -> Removal {
    match (tried, seen) {
        (_, Some(seen)) => Removal::Remove(seen.etag.clone()),
        (PriorDelete::Unanswered, None) => Removal::Done,
        (PriorDelete::No, None) => Removal::Nothing,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::s3::integrity::crc64::Crc64;
    use crate::s3::object::attributes::Attributes;
    use crate::s3::object::encryption::Encryption;

    pub(crate) fn head(size: u64, etag: &str, encryption: Encryption, crc: Option<Crc64>) -> ObjectHead {
        ObjectHead {
            size,
            etag: ETag::new(etag, &encryption),
            version: None,
            last_modified: None,
            crc,
            stored: None,
            encryption,
            storage_class: None,
            parts_count: None,
            tag_count: None,
            range: None,
            length: size,
            attributes: Attributes::default(),
            unread: Vec::new(),
        }
    }

    const A: &str = "0cc175b9c0f1b6a831c399e269772661";

    #[test]
    fn a_changed_attribute_is_written_anew() {
        let source = head(1, A, Encryption::None, None);
        let mut target = source.clone();
        assert_eq!(compare(&source, Some(&target)), Decision::Unchanged(Sameness::ETag));
        target.attributes.tags.insert("k".into(), "v".into());
        let written = Decision::Write(Precondition::IfMatch(target.etag.clone()));
        assert_eq!(compare(&source, Some(&target)), written);
        assert_eq!(compare(&source, None), Decision::Write(Precondition::IfAbsent));
    }

    #[test]
    fn preserving_insists_on_the_sources_etag_where_both_are_digests() {
        let (crc, parts) = (Some(Crc64::of(b"x")), format!("{A}-2"));
        let (single, parts) = (head(1, A, Encryption::None, crc), head(1, &parts, Encryption::None, crc));
        let acted = |source: &ObjectHead, etag| action(source, Some(&parts), &Options { etag, ..Options::default() });
        let kept = Action::Keep(Sameness::Crc64Nvme);
        assert_eq!(acted(&single, EtagMode::Auto), kept);
        let Action::Recopy(_, condition) = acted(&single, EtagMode::Preserve) else { panic!("the ETag is another") };
        assert_eq!(condition, Precondition::IfMatch(parts.etag.clone()));
        assert_eq!(acted(&head(1, A, Encryption::Kms(None), crc), EtagMode::Preserve), kept);
    }

    #[test]
    fn the_plan_follows_from_size_layout_mode_and_what_is_known_of_the_target() {
        let mib = 1 << 20;
        let options = Options { kms_key: Some("key".into()), etag: EtagMode::Preserve, ..Options::default() };
        let (multipart, own) = (format!("{A}-2"), Layout::Even { part: 16 * mib, size: 20 * mib });
        let planned = |size: u64, etag: &str, layout: SourceLayout, options: &Options| {
            let source = head(size, etag, Encryption::Aes256, None);
            decide(&Facts { source: &source, layout: &layout, seen: None, options, learned_opaque: false }).unwrap()
        };
        let auto = Options::default();
        let put = planned(mib, A, SourceLayout::Single, &auto);
        assert_eq!((put.route, put.cut), (Route::Direct, Cut::Put { size: mib }));
        let cut = planned(20 * mib, A, SourceLayout::Single, &auto);
        assert_eq!(cut.cut, Cut::Parts(Layout::Even { part: 5 * mib, size: 20 * mib }));
        assert!(!cut.style.keeps_etag && matches!(cut.checks.source, SourceCheck::Ordered(..)));
        let kept = planned(20 * mib, &multipart, SourceLayout::Parts(own.clone()), &auto);
        assert_eq!(kept.cut, Cut::Parts(own.clone()));
        assert!(kept.style.keeps_etag && !kept.style.gives_up_etag);
        assert!(!kept.checks.kinds.md5, "the target's ETags show the parts");
        let large = Layout::Even { part: 3 << 30, size: 6 << 30 };
        let opaque = planned(6 << 30, &multipart, SourceLayout::Parts(large), &options);
        assert!(opaque.style.gives_up_etag && opaque.checks.kinds.md5);
        let preserve = Options { etag: EtagMode::Preserve, ..Options::default() };
        assert!(matches!(planned(1 << 30, A, SourceLayout::Single, &preserve).route, Route::StagedWhole(_)));
    }

    #[test]
    fn what_is_seen_is_removed_and_an_unanswered_removal_of_what_is_gone_was_ours() {
        let seen = head(1, A, Encryption::None, None);
        for tried in [PriorDelete::No, PriorDelete::Unanswered] {
            assert_eq!(removal(tried, Some(&seen)), Removal::Remove(seen.etag.clone()));
        }
        assert_eq!(removal(PriorDelete::No, None), Removal::Nothing);
        assert_eq!(removal(PriorDelete::Unanswered, None), Removal::Done);
    }
}

//! What a sweep may remove: pure.
//!
//! An upload that is open may be somebody's work of this hour, or of another tool of the bucket's. So it has to be ours
//! by what the target itself says about who began it, old by the target's own clock, and named by nobody who would go
//! on with it; what is not known to be so is left alone.

use crate::s3::UploadId;
use crate::s3::multipart::listing::OpenUpload;
use crate::s3::versions::ListedVersion;
use std::collections::BTreeSet;
use std::time::Duration;

/// What becomes of something that a sweep found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Swept,
    /// It was begun by somebody else, or nobody says by whom.
    Foreign,
    /// It is younger than the age asked for, or nobody says how old it is.
    Young,
    /// A journal of this machine names it: it will be resumed.
    Kept,
}

/// What becomes of an upload. `ours` is the initiator of an upload that we have begun, `now` the target's time in
/// seconds since 1970, `kept` what journals name.
pub(crate) fn of_upload(upload: &OpenUpload, ours: &str, now: i64, age: Duration, kept: &BTreeSet<UploadId>) -> Fate {
    if upload.initiator.as_deref() != Some(ours) {
        Fate::Foreign
    } else if kept.contains(&upload.upload) {
        Fate::Kept
    } else if is_old(upload.initiated, now, age) {
        Fate::Swept
    } else {
        Fate::Young
    }
}

/// What becomes of a version under the reserved prefix, where everything is ours.
pub(crate) fn of_stage(version: &ListedVersion, now: i64, age: Duration) -> Fate {
    if is_old(version.modified, now, age) { Fate::Swept } else { Fate::Young }
}

fn is_old(then: Option<i64>, now: i64, age: Duration) -> bool {
    let age = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
    then.is_some_and(|then| now.saturating_sub(then) >= age)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::versions::VersionKind;
    use crate::s3::{Key, VersionId};

    const NOW: i64 = 1_800_000_000;
    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn only_what_is_ours_and_old_and_named_by_nobody_is_swept() {
        let check = |initiator: Option<&str>, initiated: Option<i64>, kept: &[&str], expected: Fate| {
            let upload = OpenUpload {
                key: Key::new("k").unwrap(),
                upload: UploadId::new("u").unwrap(),
                initiator: initiator.map(str::to_owned),
                initiated,
            };
            let kept = kept.iter().map(|id| UploadId::new(id).unwrap()).collect();
            assert_eq!(of_upload(&upload, "us", NOW, DAY, &kept), expected, "{upload:?}");
        };
        let day_ago = Some(NOW - 86_400);
        check(Some("us"), day_ago, &[], Fate::Swept);
        check(Some("us"), Some(NOW - 86_399), &[], Fate::Young);
        check(Some("us"), Some(NOW + 1), &[], Fate::Young);
        check(Some("us"), Some(i64::MIN), &[], Fate::Swept);
        check(Some("us"), None, &[], Fate::Young);
        check(Some("us"), day_ago, &["u"], Fate::Kept);
        check(Some("us"), day_ago, &["v"], Fate::Swept);
        check(Some("them"), day_ago, &[], Fate::Foreign);
        check(Some("US"), day_ago, &[], Fate::Foreign);
        check(None, day_ago, &[], Fate::Foreign);
    }

    #[test]
    fn a_stage_is_swept_by_its_age() {
        let check = |modified, expected| {
            let (key, version) = (Key::new(".xpsync/k").unwrap(), VersionId::new("null").unwrap());
            let version = ListedVersion { key, version, kind: VersionKind::Object, modified };
            assert_eq!(of_stage(&version, NOW, DAY), expected);
        };
        check(Some(NOW - 86_400), Fate::Swept);
        check(Some(NOW), Fate::Young);
        check(None, Fate::Young);
    }
}

//! The part of the target's keys that belongs to us: what waits there is no copy of anything, and nobody's to read.
//!
//! Nothing is copied from it, since a source that is a target of somebody else's has stages that come and go; nothing is
//! copied into it, since what is old there is swept.

use super::job::{Job, Trigger};
use super::report::{Fault, Outcome, Report};
use crate::s3::Key;

/// What the keys of our own helpers begin with: stages, of which objects are put together, and the probe by which a sweep
/// learns who we are. Listings of the target leave it out, and a sweep removes what is old under it. A deployed function
/// and a later version meet here, so it is never changed; with it the target user's policy, which names it, would be.
pub const PREFIX: &str = ".xpsync/";

/// The report of a job whose key is reserved at either end: an event about it asks for nothing, a command for too much.
pub(super) fn refused(job: &Job) -> Option<Report> {
    let is_reserved = |key: &Key| key.as_str().starts_with(PREFIX);
    if !is_reserved(&job.source.key) && !is_reserved(&job.target.key) {
        return None;
    }
    let why = format!("keys that begin with {PREFIX} are reserved for stages");
    let (source, target) = (job.source_place(), job.target_place());
    Some(match job.trigger {
        Trigger::Event => Report { reason: Some(why), ..Report::new(Outcome::Ignored, source, target) },
        Trigger::Command => Report::failed(source, target, Fault::new("configuration", why)),
    })
}

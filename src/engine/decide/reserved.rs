//! The part of the target's keys that belongs to us: what waits there is no copy of anything, and nobody's to read.
//!
//! Nothing is copied into it, since what is old there is swept. At the source the same keys are anybody's: under a
//! prefix of the target's they are copied like others.

use crate::engine::fault::{Fault, FaultClass};
use crate::engine::job::{Job, Trigger};
use crate::engine::report::{Outcome, Report};

/// What the keys of our own helpers begin with: stages, of which objects are put together, and the probe by which a
/// sweep learns who we are. Listings of the target leave it out, and a sweep removes what is old under it. A deployed
/// function and a later version meet here, so it is never changed; with it the target user's policy, which names it,
/// would be.
pub const PREFIX: &str = ".xpsync/";

/// The report of a job whose key is reserved at the target: an event about it asks for nothing, a command for too much.
pub(crate) fn refused(job: &Job) -> Option<Report> {
    if !job.target_key.as_str().starts_with(PREFIX) {
        return None;
    }
    let why = format!("target keys under {PREFIX} are reserved for xpsync's temporary objects");
    let (source, target) = (job.source_ref(), job.target_ref());
    Some(match job.trigger {
        Trigger::Event => Report { reason: Some(why), ..Report::new(Outcome::Ignored, source, target) },
        Trigger::Command => Report::failed(source, target, Fault::new(FaultClass::Configuration, why)),
    })
}

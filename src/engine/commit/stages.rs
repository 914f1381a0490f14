//! Stages at the target: objects of ours under the reserved prefix, of which others are put together, and which are
//! gone when that is done, whatever way it was done or cut off.
//!
//! A stage is written down before anything of it is begun. It has a name that nobody else has, so whatever is under it
//! is ours; it is removed by version where the target has versions, so that not even a marker stays. What a process
//! that died left behind is a sweep's, which finds it under the prefix by its age.

use crate::engine::decide::reserved::PREFIX;
use crate::engine::fault::{Fault, FaultClass};
use crate::engine::job::{Job, Ongoing};
use crate::engine::notes::Notes;
use crate::engine::stop::Stop;
use crate::engine::upload::Uploads;
use crate::s3::Key;
use crate::s3::error::Class;
use crate::s3::object::delete::DeleteObject;
use crate::s3::object::head::HeadObject;
use crate::wire::client::attempt::Attempts;
use crate::wire::client::retry::Persistence;
use crate::wire::deadline::Deadline;
use crate::wire::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::{Instant, timeout_at};

/// How often a stage is looked for and removed: once, and once for each version that a Complete carried out twice has
/// made.
const REMOVALS: u32 = 4;

#[derive(Default)]
pub(crate) struct Stages {
    /// The upload to the stage that is being made.
    pub(crate) uploads: Uploads,
    left: Mutex<Vec<Key>>,
}

impl Stages {
    fn left(&self) -> Vec<Key> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Names another stage, which from now on is removed sooner or later. The job that is given back writes there.
    ///
    /// # Errors
    /// A fault of our own, if the name is no key.
    pub(crate) fn name(&self, job: &Job) -> Result<Job, Stop> {
        let name = format!("{PREFIX}stages/{:032x}", fastrand::u128(..));
        let key = Key::new(&name).map_err(|error| Fault::new(FaultClass::Internal, error.to_string()))?;
        self.left.lock().unwrap_or_else(PoisonError::into_inner).push(key.clone());
        Ok(at(job, key))
    }

    /// Removes the stages there are. What cannot be removed is remarked on, and left to a sweep.
    ///
    /// # Cancel safety
    /// Stages may be left; [`Self::clean_up`] removes them.
    pub(crate) async fn remove(&self, job: &Job, notes: &Notes) {
        for key in self.left() {
            if let Err(error) = remove(job, &key).await {
                notes.note_permanent(format!(
                    "temporary object {key} could not be removed, a sweep removes it: {error}"
                ));
            }
            self.left.lock().unwrap_or_else(PoisonError::into_inner).retain(|left| *left != key);
        }
    }

    /// Ends the upload of the stage that was being made, and removes those that were, until then.
    ///
    /// # Cancel safety
    /// An upload and stages may be left.
    pub(crate) async fn clean_up(&self, job: &Job, notes: &Arc<Notes>, until: Instant) {
        let Some(last) = self.left().pop() else { return };
        let mut at_stage = at(job, last);
        at_stage.grace = until.saturating_duration_since(Instant::now());
        self.uploads.clean_up(&at_stage, notes).await;
        if timeout_at(until, self.remove(job, notes)).await.is_err() {
            for key in self.left() {
                notes.note_permanent(format!(
                    "temporary object {key} could not be removed within {:?}; a sweep removes it",
                    job.grace
                ));
            }
        }
    }
}

/// The same job with this key at the target. Nobody resumes a stage, so nothing of it is written down elsewhere.
fn at(job: &Job, key: Key) -> Job {
    let mut job = job.clone();
    job.target_key = key;
    job.ongoing = Ongoing::default();
    job
}

/// Removes whatever is under a key of ours.
async fn remove(job: &Job, key: &Key) -> Result<(), Error> {
    let client = &job.session.target.client;
    let head = HeadObject::current(job.session.target.bucket.clone(), key.clone());
    for _ in 0..REMOVALS {
        // Past the job's deadline: what is left is bounded by its grace.
        let mut attempts = Attempts::new(Persistence::Part, &Deadline::never());
        let version = match client.call(&head, &mut attempts).await {
            Ok(seen) => seen.version,
            Err(error) if error.class() == Class::Missing => return Ok(()),
            Err(error) => return Err(error),
        };
        let delete =
            DeleteObject { bucket: job.session.target.bucket.clone(), key: key.clone(), version, if_match: None };
        match client.call(&delete, &mut attempts).await {
            Err(error) if error.class() != Class::Missing => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    let alive = std::io::Error::other("it was deleted several times but is still there");
    Err(Error::body(alive))
}

//! Removing what dead work has left at a target: uploads that are open, and stages under the reserved prefix.
//!
//! Who we are is learnt from the target: an upload is begun under the reserved prefix, looked at in the listing, and
//! aborted. What is compared is then the initiator as this server spells it, and ages are told by its clock. Each page
//! is acted on when the next one has been listed, so that a marker still points at something that is there.

use crate::engine::decide::reserved;
use crate::engine::fault::{Fault, FaultClass, Side};
use crate::engine::session::BucketClient;
use crate::engine::stop::fault_at;
use crate::engine::upload::abort::abort;
use crate::s3::error::Class;
use crate::s3::multipart::listing::{ListMultipartUploads, OpenUpload};
use crate::s3::multipart::upload::CreateMultipartUpload;
use crate::s3::object::delete::DeleteObject;
use crate::s3::object::put::ObjectOptions;
use crate::s3::versions::{ListObjectVersions, ListedVersion};
use crate::s3::{Key, UploadId};
use crate::sync::swept::{Fate, of_stage, of_upload};
use crate::wire::client::attempt::Attempts;
use crate::wire::client::retry::Persistence;
use crate::wire::deadline::{Deadline, Stopped};
use crate::wire::error::Error;
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// How many are removed at a time: each is a round trip or two of the border, and a page of a thousand should take a
/// minute rather than ten.
const AT_ONCE: usize = 16;
/// How old something is before it is swept, unless told otherwise: a `cp` of days is still at work before it.
pub(crate) const DEFAULT_AGE: Duration = Duration::from_hours(7 * 24);

/// Whether a sweep removes what it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It tells what it would remove.
    Dry,
    /// It removes it.
    Act,
}

/// A sweep to make.
pub struct Sweep {
    /// The target.
    pub target: BucketClient,
    /// Only keys that begin so.
    pub prefix: String,
    /// How old something has to be.
    pub older_than: Duration,
    /// Uploads that are named by the journals of this machine.
    pub kept: BTreeSet<UploadId>,
    /// Whether it removes.
    pub mode: Mode,
    /// Until when.
    pub deadline: Deadline,
    /// How long aborting our own probe may take after the deadline.
    pub grace: Duration,
}

/// Something that is swept, or would be.
#[derive(Debug, Clone, Copy)]
pub enum Finding<'a> {
    /// An upload.
    Upload(&'a OpenUpload),
    /// A version under the reserved prefix.
    Stage(&'a ListedVersion),
}

/// How many of a kind there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Found, whatever became of them.
    pub found: u64,
    /// Removed, or to be removed by a sweep that is not dry.
    pub swept: u64,
    /// Somebody else's.
    pub foreign: u64,
    /// Too young.
    pub young: u64,
    /// Named by a journal.
    pub kept: u64,
    /// To be removed, and not removed.
    pub failed: u64,
}

/// What a sweep came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Swept {
    /// Uploads.
    pub uploads: Counts,
    /// Stages.
    pub stages: Counts,
    /// What is worth saying though nothing failed.
    pub reason: Option<String>,
    /// The first thing that failed.
    pub fault: Option<Box<Fault>>,
}

/// Sweeps, telling of each thing before it is removed.
///
/// # Cancel safety
/// Not to be dropped before it is done: our own probe may be left open, which a later sweep finds. It ends by itself,
/// at its deadline and its grace.
pub async fn sweep(sweep: &Sweep, tell: &(dyn Fn(Finding<'_>) + Sync)) -> Swept {
    let work = SweepRun { sweep, tell, probe: Mutex::default(), swept: Mutex::default() };
    let ended = tokio::select! {
        biased;
        why = sweep.deadline.passed() => Err(stopped(why)),
        ended = Box::pin(work.all()) => ended,
    };
    let left = work.leave_probe().await;
    let mut swept = work.swept.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Err(fault) = ended.and(left) {
        // What stopped it says more than what failed on the way.
        swept.fault = Some(fault);
    }
    swept
}

/// The fault of a sweep that had to stop.
fn stopped(why: Stopped) -> Box<Fault> {
    Box::new(match why {
        Stopped::Deadline => Fault::new(FaultClass::Deadline, "the time ran out before the sweep was finished")
            .with_hint("The next sweep continues."),
        Stopped::Asked => Fault::new(FaultClass::Interrupted, "interrupted before the sweep was finished"),
    })
}

/// What the target answered, as a fault with its advice.
fn refused(error: &Error) -> Box<Fault> {
    Box::new(fault_at(Side::Target, error))
}

/// Who we are at the target, and what time it is there.
struct Ours {
    initiator: String,
    now: i64,
}

struct SweepRun<'a> {
    sweep: &'a Sweep,
    tell: &'a (dyn Fn(Finding<'_>) + Sync),
    /// Our own upload, while it is open.
    probe: Mutex<Option<UploadId>>,
    swept: Mutex<Swept>,
}

impl SweepRun<'_> {
    fn note(&self, note: impl FnOnce(&mut Swept)) {
        note(&mut self.swept.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn attempts(&self) -> Attempts {
        Attempts::new(Persistence::Control, &self.sweep.deadline)
    }

    fn probe_key() -> Result<Key, Box<Fault>> {
        Key::new(&format!("{}probe", reserved::PREFIX))
            .map_err(|error| Box::new(Fault::new(FaultClass::Internal, error.to_string())))
    }

    async fn all(&self) -> Result<(), Box<Fault>> {
        let ours = self.who_we_are().await;
        // Whatever came of it, it is not needed any more.
        self.leave_probe().await?;
        let Some(ours) = ours? else {
            self.note(|swept| {
                swept.reason =
                    Some("the target does not show who started its uploads, or when, so nothing was removed".into());
            });
            return Ok(());
        };
        self.uploads(&ours).await?;
        self.stages(&ours).await
    }

    /// Begins an upload and looks at who the target says began it.
    ///
    /// # Cancel safety
    /// An upload may be left open: the probe once it is known, and the one of a request that was cut off.
    async fn who_we_are(&self) -> Result<Option<Ours>, Box<Fault>> {
        let (client, bucket, key) = (&self.sweep.target.client, &self.sweep.target.bucket, Self::probe_key()?);
        let create =
            CreateMultipartUpload { bucket: bucket.clone(), key: key.clone(), style: ObjectOptions::default() };
        let begun = client.call(&create, &mut self.attempts()).await.map_err(|error| refused(&error))?;
        *self.probe.lock().unwrap_or_else(PoisonError::into_inner) = Some(begun.clone());
        let mut list = ListMultipartUploads { bucket: bucket.clone(), prefix: key.as_str().to_owned(), after: None };
        loop {
            let page = client.call(&list, &mut self.attempts()).await.map_err(|error| refused(&error))?;
            if let Some(probe) = page.uploads.into_iter().find(|upload| upload.upload == begun) {
                let ours = |(initiator, now)| Ours { initiator, now };
                return Ok(probe.initiator.zip(probe.initiated).map(ours));
            }
            match page.next {
                Some(next) => list.after = Some(next),
                None => return Ok(None),
            }
        }
    }

    /// Aborts the probe, if it is open.
    async fn leave_probe(&self) -> Result<(), Box<Fault>> {
        let probe = self.probe.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(probe) = probe else { return Ok(()) };
        let key = Self::probe_key()?;
        let why = match timeout(self.sweep.grace, abort(&self.sweep.target, &key, &probe)).await {
            Ok(Ok(())) => {
                *self.probe.lock().unwrap_or_else(PoisonError::into_inner) = None;
                return Ok(());
            }
            Ok(Err(error)) => *refused(&error),
            Err(_) => Fault::new(FaultClass::Deadline, format!("no answer within {:?}", self.sweep.grace)),
        };
        let message =
            format!("the sweep's own test upload {} at {} could not be aborted: {}", probe.as_str(), key, why.message);
        Err(Box::new(Fault { message, ..why }))
    }

    async fn uploads(&self, ours: &Ours) -> Result<(), Box<Fault>> {
        let (bucket, prefix) = (self.sweep.target.bucket.clone(), self.sweep.prefix.clone());
        let mut list = ListMultipartUploads { bucket, prefix, after: None };
        let mut due: Vec<OpenUpload> = Vec::new();
        loop {
            let answer = self.sweep.target.client.call(&list, &mut self.attempts()).await;
            let page = answer.map_err(|error| refused(&error))?;
            self.abort_all(&std::mem::take(&mut due)).await;
            for upload in page.uploads {
                let fate = of_upload(&upload, &ours.initiator, ours.now, self.sweep.older_than, &self.sweep.kept);
                self.note(|swept| swept.uploads.add(fate));
                if fate == Fate::Swept {
                    due.push(upload);
                }
            }
            match page.next {
                Some(next) => list.after = Some(next),
                None => break,
            }
        }
        self.abort_all(&due).await;
        Ok(())
    }

    async fn abort_all(&self, due: &[OpenUpload]) {
        for some in due.chunks(AT_ONCE) {
            join_all(some.iter().map(|upload| self.abort_one(upload))).await;
        }
    }

    async fn abort_one(&self, upload: &OpenUpload) {
        (self.tell)(Finding::Upload(upload));
        let done = match self.sweep.mode {
            Mode::Dry => Ok(()),
            Mode::Act => abort(&self.sweep.target, &upload.key, &upload.upload).await,
        };
        let done = done.map_err(|error| refused(&error));
        self.note(|swept| swept.done(done, |swept| &mut swept.uploads));
    }

    async fn stages(&self, ours: &Ours) -> Result<(), Box<Fault>> {
        let Some(prefix) = stages_under(&self.sweep.prefix) else { return Ok(()) };
        let mut list =
            ListObjectVersions { bucket: self.sweep.target.bucket.clone(), prefix: prefix.to_owned(), after: None };
        let mut due: Vec<ListedVersion> = Vec::new();
        loop {
            let answer = self.sweep.target.client.call(&list, &mut self.attempts()).await;
            let page = answer.map_err(|error| refused(&error))?;
            self.delete_all(&std::mem::take(&mut due)).await;
            // A server that forgets the prefix would have us delete the bucket.
            for version in page.versions.into_iter().filter(|version| version.key.as_str().starts_with(prefix)) {
                let fate = of_stage(&version, ours.now, self.sweep.older_than);
                self.note(|swept| swept.stages.add(fate));
                if fate == Fate::Swept {
                    due.push(version);
                }
            }
            match page.next {
                Some(next) => list.after = Some(next),
                None => break,
            }
        }
        self.delete_all(&due).await;
        Ok(())
    }

    async fn delete_all(&self, due: &[ListedVersion]) {
        for some in due.chunks(AT_ONCE) {
            join_all(some.iter().map(|version| self.delete_one(version))).await;
        }
    }

    /// Deletes a version for good: a delete marker upon a stage would keep its bytes, and their price.
    async fn delete_one(&self, version: &ListedVersion) {
        (self.tell)(Finding::Stage(version));
        let operation = DeleteObject {
            bucket: self.sweep.target.bucket.clone(),
            key: version.key.clone(),
            version: Some(version.version.clone()),
            if_match: None,
        };
        let done = match self.sweep.mode {
            Mode::Dry => Ok(()),
            Mode::Act => self.sweep.target.client.call(&operation, &mut self.attempts()).await,
        };
        let done = match done {
            Err(error) if error.class() != Class::Missing => Err(refused(&error)),
            Ok(()) | Err(_) => Ok(()),
        };
        self.note(|swept| swept.done(done, |swept| &mut swept.stages));
    }
}

/// The stages among the keys that begin so: all of them, some, or none.
fn stages_under(prefix: &str) -> Option<&str> {
    if reserved::PREFIX.starts_with(prefix) {
        Some(reserved::PREFIX)
    } else {
        Some(prefix).filter(|prefix| prefix.starts_with(reserved::PREFIX))
    }
}

impl Counts {
    fn add(&mut self, fate: Fate) {
        self.found += 1;
        match fate {
            // It counts once it is done.
            Fate::Swept => {}
            Fate::Foreign => self.foreign += 1,
            Fate::Young => self.young += 1,
            Fate::Kept => self.kept += 1,
        }
    }
}

impl Swept {
    /// One was removed, or would be, or was not.
    fn done(&mut self, done: Result<(), Box<Fault>>, of: impl FnOnce(&mut Self) -> &mut Counts) {
        match done {
            Ok(()) => of(self).swept += 1,
            Err(fault) => {
                of(self).failed += 1;
                self.fault.get_or_insert(fault);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_swept_where_the_prefix_allows_it() {
        let check = |prefix: &str, expected: Option<&str>| assert_eq!(stages_under(prefix), expected, "{prefix}");
        check("", Some(".xpsync/"));
        check(".xp", Some(".xpsync/"));
        check(".xpsync/", Some(".xpsync/"));
        check(".xpsync/a", Some(".xpsync/a"));
        check("a", None);
        check(".xpsync-", None);
    }
}

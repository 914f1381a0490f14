//! A job: one object to copy, how far, until when, and what came before.

use crate::engine::decide::ticket::{Ticket, UploadJournal, WhenStopped};
use crate::engine::notes::Progress;
use crate::engine::report::ObjectRef;
use crate::engine::session::{BucketClient, Session};
use crate::s3::{Key, PartNumber};
use crate::wire::client::attempt::Attempts;
use crate::wire::client::retry::Persistence;
use crate::wire::deadline::Deadline;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Why an object is copied: what "the source is gone" means depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// An event, which may be late.
    Event,
    /// Somebody asked for this object.
    Command,
}

/// One object to copy.
#[derive(Clone)]
pub struct Job {
    /// How both sides are reached, and how objects are copied.
    pub session: Session,
    /// Which object of the session it is: those that were begun first are finished first.
    pub order: u64,
    /// The key at the source.
    pub source_key: Key,
    /// The key at the target.
    pub target_key: Key,
    /// Its size as an event told it: never believed, but it saves a round trip when it is right.
    pub size_hint: Option<u64>,
    /// Why.
    pub trigger: Trigger,
    /// Until when.
    pub deadline: Deadline,
    /// How long aborting may take after the deadline.
    pub grace: Duration,
    /// Shown while it goes on.
    pub progress: Arc<Progress>,
    /// What came before, and what is left for later.
    pub ongoing: Ongoing,
}

/// How far the work on an object goes. What is not uploaded in parts is copied by whichever step finds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Step {
    /// To the end. With a ticket, the parts that ListParts does not show are sent, and the upload is completed.
    #[default]
    Complete,
    /// To the ticket of an upload that has no parts.
    Begin,
    /// To these parts in the ticket's upload, which several jobs may send at once: none of them completes or aborts it.
    Send(RangeInclusive<PartNumber>),
}

/// What an earlier invocation or process left, and what this one leaves to a later one. The default knows of none.
#[derive(Clone, Default)]
pub struct Ongoing {
    /// How far the work goes.
    pub step: Step,
    /// An upload to resume.
    pub ticket: Option<Ticket>,
    /// When, in seconds since 1970, processes that were killed meant to begin uploads that there is no ticket of.
    pub intended: Vec<i64>,
    /// What becomes of an upload that cannot be finished.
    pub when_stopped: WhenStopped,
    /// Where open uploads are written down.
    pub journal: Option<Arc<dyn UploadJournal>>,
}

/// How long aborting may take after the deadline or an interrupt, where nobody says otherwise.
const GRACE: Duration = Duration::from_secs(30);

impl Job {
    /// A job for one object: no deadline, nothing known of it, nothing begun.
    pub fn new(session: Session, source_key: Key, target_key: Key, trigger: Trigger) -> Self {
        let order = session.objects.fetch_add(1, Ordering::Relaxed);
        Self {
            session,
            order,
            source_key,
            target_key,
            size_hint: None,
            trigger,
            deadline: Deadline::never(),
            grace: GRACE,
            progress: Arc::new(Progress::default()),
            ongoing: Ongoing::default(),
        }
    }

    /// The source as reports name it, before anything is known of it.
    pub(crate) fn source_ref(&self) -> ObjectRef {
        object_ref(&self.session.source, &self.source_key)
    }

    /// The target as reports name it, before anything is known of it.
    pub(crate) fn target_ref(&self) -> ObjectRef {
        object_ref(&self.session.target, &self.target_key)
    }
}

fn object_ref(side: &BucketClient, key: &Key) -> ObjectRef {
    ObjectRef { bucket: side.bucket.as_str().to_owned(), key: key.as_str().to_owned(), ..ObjectRef::default() }
}

impl Job {
    pub(crate) fn once(&self) -> Attempts {
        Attempts::new(Persistence::Once, &self.deadline).of_object(self.order)
    }

    pub(crate) fn control(&self) -> Attempts {
        Attempts::new(Persistence::Control, &self.deadline).of_object(self.order)
    }

    pub(crate) fn part(&self) -> Attempts {
        Attempts::new(Persistence::Part, &self.deadline).of_object(self.order)
    }
}

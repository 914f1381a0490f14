//! What is asked for, and what is noted down while it is done.

use crate::engine::buffer::Buffers;
use crate::engine::decide::plan::{EtagMode, PartSizeTable};
use crate::engine::decide::staging::StagingLimits;
use crate::engine::decide::ticket::{Ticket, UploadJournal, WhenStopped};
use crate::engine::notes::Progress;
use crate::engine::report::ObjectRef;
use crate::s3::{Bucket, Key};
use crate::wire::client::attempt::{Attempts, Persistence};
use crate::wire::client::call::Client;
use crate::wire::deadline::Deadline;
use std::sync::Arc;
use std::time::Duration;

/// One end of a copy.
#[derive(Clone)]
pub struct ObjectClient {
    /// How to reach it.
    pub client: Client,
    /// The bucket.
    pub bucket: Bucket,
    /// The object.
    pub key: Key,
}

/// Where parts wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Buffering {
    /// Objects below so many bytes on the heap, others in /tmp, or on the heap if /tmp has no room.
    Auto(u64),
    /// On the heap if its budget has all slots that are wanted, else in /tmp, or on the heap if that has no room.
    Fitting,
    /// On the heap.
    Memory,
    /// In /tmp.
    Tmp,
}

/// What becomes of the target's object once the source is gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Deletes {
    /// It stays.
    #[default]
    Keep,
    /// It is removed too.
    Follow,
}

/// How an object is copied.
#[derive(Debug, Clone)]
pub struct Options {
    /// What is asked of the target's ETag.
    pub etag: EtagMode,
    /// From which sizes on an object is staged to keep its ETag.
    pub staging: StagingLimits,
    /// By which table it is cut.
    pub(crate) table: PartSizeTable,
    /// The user's own part size.
    pub part_size: Option<u64>,
    /// Where parts wait.
    pub buffering: Buffering,
    /// Parts under way at most, being read or being sent.
    pub parts_in_flight: usize,
    /// `x-amz-storage-class` at the target.
    pub(crate) storage_class: Option<String>,
    /// The KMS key at the target.
    pub kms_key: Option<String>,
    /// What becomes of the target once the source is gone.
    pub deletes: Deletes,
}

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
    /// Where it is.
    pub source: ObjectClient,
    /// Where it goes.
    pub target: ObjectClient,
    /// How.
    pub options: Options,
    /// Its size as an event told it: never believed, but it saves a round trip when it is right.
    pub size_hint: Option<u64>,
    /// Why.
    pub trigger: Trigger,
    /// Until when.
    pub deadline: Deadline,
    /// How long aborting may take after the deadline.
    pub grace: Duration,
    /// Where parts wait.
    pub buffers: Arc<Buffers>,
    /// Shown while it goes on.
    pub progress: Arc<Progress>,
    /// What came before, and what is left for later.
    pub ongoing: Ongoing,
}

/// What an earlier invocation or process left, and what this one leaves to a later one. The default knows of none.
#[derive(Clone, Default)]
pub struct Ongoing {
    /// An upload to go on with.
    pub ticket: Option<Ticket>,
    /// When, in seconds since 1970, processes that were killed meant to begin uploads that there is no ticket of.
    pub intended: Vec<i64>,
    /// What becomes of an upload that cannot be finished.
    pub when_stopped: WhenStopped,
    /// Where open uploads are written down.
    pub journal: Option<Arc<dyn UploadJournal>>,
}

impl Job {
    /// The source as reports name it, before anything is known of it.
    pub(crate) fn source_ref(&self) -> ObjectRef {
        object_ref(&self.source)
    }

    /// The target as reports name it, before anything is known of it.
    pub(crate) fn target_ref(&self) -> ObjectRef {
        object_ref(&self.target)
    }
}

pub(crate) fn object_ref(side: &ObjectClient) -> ObjectRef {
    ObjectRef { bucket: side.bucket.as_str().to_owned(), key: side.key.as_str().to_owned(), ..ObjectRef::default() }
}

impl Job {
    pub(crate) fn control(&self) -> Attempts {
        Attempts::new(Persistence::Control, &self.deadline)
    }

    pub(crate) fn part(&self) -> Attempts {
        Attempts::new(Persistence::Part, &self.deadline)
    }
}

//! What is asked for, and what is noted down while it is done.

use crate::engine::buffer::Buffers;
use crate::engine::hint::{End, hint};
use crate::engine::plan::{EtagMode, Table};
use crate::engine::report::{BufferKind, Fault, NotCarried, Place};
use crate::engine::stage_plan::Limits;
use crate::engine::ticket::{Ledger, Ticket, WhenStopped};
use crate::s3::error::Class;
use crate::s3::object::ObjectHead;
use crate::s3::{Bucket, Key};
use crate::wire::attempt::{Attempts, Persistence};
use crate::wire::call::Client;
use crate::wire::deadline::{Deadline, Stopped};
use crate::wire::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// One end of a copy.
#[derive(Clone)]
pub struct Side {
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
    pub staging: Limits,
    /// By which table it is cut.
    pub table: Table,
    /// The user's own part size.
    pub part_size: Option<u64>,
    /// Where parts wait.
    pub buffering: Buffering,
    /// Parts under way at most, being read or being sent.
    pub parts_under_way: usize,
    /// `x-amz-storage-class` at the target.
    pub storage_class: Option<String>,
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
    pub source: Side,
    /// Where it goes.
    pub target: Side,
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
    pub meter: Arc<Meter>,
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
    pub ledger: Option<Arc<dyn Ledger>>,
}

impl Job {
    /// The source as reports name it, before anything is known of it.
    pub fn source_place(&self) -> Place {
        place(&self.source)
    }

    /// The target as reports name it, before anything is known of it.
    pub fn target_place(&self) -> Place {
        place(&self.target)
    }
}

fn place(side: &Side) -> Place {
    Place { bucket: side.bucket.as_str().to_owned(), key: side.key.as_str().to_owned(), ..Place::default() }
}

/// How far it is.
#[derive(Debug, Default)]
pub struct Meter {
    total: AtomicU64,
    sent: AtomicU64,
    under_way: AtomicU32,
}

impl Meter {
    /// Bytes of the object, 0 until known.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Bytes that arrived at the target.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Parts under way.
    pub fn under_way(&self) -> u32 {
        self.under_way.load(Ordering::Relaxed)
    }

    pub(crate) fn begin(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
        self.sent.store(0, Ordering::Relaxed);
    }

    pub(crate) fn arrived(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn enter(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(self))
    }
}

/// A part under way, until it is dropped.
pub(crate) struct UnderWay(Arc<Meter>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a pass over the object ended without having made the target equal.
#[derive(Debug)]
pub(crate) enum Halt {
    /// For good.
    Failed(Box<Fault>),
    /// What was pinned is not there any more, or something was not what it should be: start again on what is there now.
    /// The fault is reported if that happens too often.
    Again(Box<Fault>),
    /// Somebody else goes on with the same upload and has sent a part of it once more: start again on what it has now.
    Shared(Box<Fault>),
}

impl Halt {
    /// Another state has taken the place of the one that was worked on.
    pub(crate) fn replaced(what: impl Into<String>) -> Self {
        Self::Again(Box::new(Fault::new(Class::Precondition.name(), what)))
    }
}

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Self {
        Self::Failed(Box::new(fault))
    }
}

/// What is noted down besides the result.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) retries: AtomicU32,
    pub(crate) hedges: AtomicU32,
    pub(crate) streamed: AtomicU32,
    landed: Landed,
    kept: Mutex<Kept>,
}

/// Parts that came to be in the upload that is open.
#[derive(Debug, Default)]
struct Landed {
    bytes: AtomicU64,
    parts: AtomicU32,
    resumed: AtomicU32,
}

/// The part of the notes that goes into the report as it is.
#[derive(Debug, Default, Clone)]
pub(crate) struct Kept {
    pub(crate) source: Option<Place>,
    pub(crate) buffer: Option<BufferKind>,
    pub(crate) not_carried: Vec<NotCarried>,
    /// What is true of the state that is worked on.
    pub(crate) reasons: Vec<String>,
    /// What stays true whatever state comes next.
    pub(crate) history: Vec<String>,
}

impl Notes {
    pub(crate) fn with<T>(&self, write: impl FnOnce(&mut Kept) -> T) -> T {
        write(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Remarks something once.
    pub(crate) fn remark(&self, reason: impl Into<String>) {
        let reason = reason.into();
        self.with(|kept| {
            if !kept.reasons.contains(&reason) {
                kept.reasons.push(reason);
            }
        });
    }

    /// Remarks something once that happened at the target, and is not undone by beginning anew.
    pub(crate) fn remark_for_good(&self, reason: impl Into<String>) {
        let reason = reason.into();
        self.with(|kept| {
            if !kept.history.contains(&reason) {
                kept.history.push(reason);
            }
        });
    }

    /// Notes an attribute that stays behind, once.
    pub(crate) fn not_carried(&self, attribute: impl Into<String>, reason: impl Into<String>) {
        let (attribute, reason) = (attribute.into(), reason.into());
        self.with(|kept| {
            if kept.not_carried.iter().all(|known| known.attribute != attribute) {
                kept.not_carried.push(NotCarried { attribute, reason });
            }
        });
    }

    /// Begins another pass over this state of the source: what was noted of another is not of this one.
    pub(crate) fn pinned(&self, place: Place, head: &ObjectHead) {
        let place = Place {
            version_id: head.version.as_ref().map(|version| version.as_str().to_owned()),
            etag: Some(head.etag.as_str().to_owned()),
            size: Some(head.size),
            ..place
        };
        self.with(|kept| {
            let history = std::mem::take(&mut kept.history);
            *kept = Kept { source: Some(place), buffer: kept.buffer, history, ..Kept::default() };
        });
    }

    /// Another upload is open: what landed in the last one does not count.
    pub(crate) fn begin_upload(&self) {
        self.landed.bytes.store(0, Ordering::Relaxed);
        self.landed.parts.store(0, Ordering::Relaxed);
        self.landed.resumed.store(0, Ordering::Relaxed);
    }

    pub(crate) fn landed(&self, bytes: u64) {
        self.landed.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.landed.parts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn resumed(&self, parts: usize) {
        self.landed.resumed.fetch_add(u32::try_from(parts).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Bytes and parts that were sent into the upload that is open, and parts of it that were there before.
    pub(crate) fn in_upload(&self) -> (u64, u32, u32) {
        let Landed { bytes, parts, resumed } = &self.landed;
        (bytes.load(Ordering::Relaxed), parts.load(Ordering::Relaxed), resumed.load(Ordering::Relaxed))
    }

    /// Nothing is pinned any more: what was noted of the state that is gone is not of its being gone.
    pub(crate) fn unpinned(&self) {
        self.with(|kept| *kept = Kept { history: std::mem::take(&mut kept.history), ..Kept::default() });
    }

    pub(crate) fn count(&self, attempts: &Attempts) {
        self.count_retries(attempts.retries());
    }

    pub(crate) fn count_retries(&self, retries: u32) {
        self.retries.fetch_add(retries, Ordering::Relaxed);
    }
}

/// A fault at one end, with its advice.
pub fn fault_at(end: End, error: &Error) -> Fault {
    let mut fault = match error {
        Error::Refused { refusal, attempts } => Fault::refused(refusal, *attempts),
        // A certificate that is not trusted as well: names are answered wrongly at this border for a while, and then are not.
        Error::Unconnected { operation, attempts, .. } | Error::Lost { operation, attempts, .. } => {
            Fault { operation: Some(operation), attempts: *attempts, ..Fault::new("network", error.to_string()) }
        }
        Error::Keys(keys) => Fault::new(keys.class, error.to_string()),
        Error::Unsendable { operation, .. } => {
            Fault { operation: Some(operation), ..Fault::new("configuration", error.to_string()) }
        }
    };
    fault.message = format!("{}: {}", end.name(), fault.message);
    fault.hint = hint(end, error);
    fault
}

/// The fault of work that had to stop.
pub(crate) fn stopped(why: Stopped) -> Fault {
    match why {
        Stopped::Deadline => Fault::new("deadline", "the time ran out before the object was copied")
            .with_hint("Give the function more time or more memory; the next event or retry begins anew."),
        Stopped::Asked => Fault::new("interrupted", "interrupted before the object was copied"),
    }
}

impl Job {
    pub(crate) fn control(&self) -> Attempts {
        Attempts::new(Persistence::Control, &self.deadline)
    }

    pub(crate) fn part(&self) -> Attempts {
        Attempts::new(Persistence::Part, &self.deadline)
    }
}

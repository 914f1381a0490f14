//! What is noted down while an object is copied: progress for whoever watches, and remarks for the report.

use crate::engine::decide::checksum::not_carried;
use crate::engine::decide::plan::Cut;
use crate::engine::report::{BufferKind, NotCarried, ObjectRef};
use crate::s3::integrity::sums::Checksum;
use crate::s3::object::head::ObjectHead;
use crate::wire::client::attempt::Attempts;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How far it is.
#[derive(Debug, Default)]
pub struct Progress {
    total: AtomicU64,
    sent: AtomicU64,
    in_flight: AtomicU32,
}

impl Progress {
    /// Bytes of the object, 0 until known.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Bytes that arrived at the target.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Parts under way.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(crate) fn begin(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
        self.sent.store(0, Ordering::Relaxed);
    }

    pub(crate) fn add_sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn part_started(self: &Arc<Self>) -> InFlightGuard {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlightGuard(Arc::clone(self))
    }
}

/// A part under way, until it is dropped.
pub(crate) struct InFlightGuard(Arc<Progress>);

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) retries: AtomicU32,
    pub(crate) hedges: AtomicU32,
    pub(crate) streamed: AtomicU32,
    landed: UploadCounts,
    remarks: Mutex<Remarks>,
}

/// Parts that came to be in the upload that is open.
#[derive(Debug, Default)]
pub(crate) struct UploadCounts {
    bytes: AtomicU64,
    parts: AtomicU32,
    resumed: AtomicU32,
}

/// The part of the notes that goes into the report as it is.
#[derive(Debug, Default, Clone)]
pub(crate) struct Remarks {
    pub(crate) source: Option<ObjectRef>,
    pub(crate) buffer: Option<BufferKind>,
    pub(crate) not_carried: Vec<NotCarried>,
    /// What is true of the state that is worked on.
    pub(crate) reasons: Vec<String>,
    pub(crate) history: Vec<String>,
}

impl Notes {
    pub(crate) fn with<T>(&self, write: impl FnOnce(&mut Remarks) -> T) -> T {
        write(&mut self.remarks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Remarks something once.
    pub(crate) fn note(&self, reason: impl Into<String>) {
        let reason = reason.into();
        self.with(|kept| {
            if !kept.reasons.contains(&reason) {
                kept.reasons.push(reason);
            }
        });
    }

    /// Remarks something once that happened at the target, and is not undone by starting again.
    pub(crate) fn note_permanent(&self, reason: impl Into<String>) {
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

    /// Begins another attempt over this state of the source: what was noted of another is not of this one.
    pub(crate) fn pinned(&self, place: ObjectRef, head: &ObjectHead) {
        let place = ObjectRef {
            version_id: head.version.as_ref().map(|version| version.as_str().to_owned()),
            etag: Some(head.etag.as_str().to_owned()),
            size: Some(head.size),
            ..place
        };
        self.with(|kept| {
            let history = std::mem::take(&mut kept.history);
            *kept = Remarks { source: Some(place), buffer: kept.buffer, history, ..Remarks::default() };
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
        let UploadCounts { bytes, parts, resumed } = &self.landed;
        (bytes.load(Ordering::Relaxed), parts.load(Ordering::Relaxed), resumed.load(Ordering::Relaxed))
    }

    /// Nothing is pinned any more: what was noted of the state that is gone is not of its being gone.
    pub(crate) fn unpinned(&self) {
        self.with(|kept| *kept = Remarks { history: std::mem::take(&mut kept.history), ..Remarks::default() });
    }

    pub(crate) fn count(&self, attempts: &Attempts) {
        self.count_retries(attempts.retries());
    }

    pub(crate) fn count_retries(&self, retries: u32) {
        self.retries.fetch_add(retries, Ordering::Relaxed);
    }
}

/// Notes the checksum of the source's that the target was not given.
pub(crate) fn note(notes: &Notes, source: &ObjectHead, plan: &Cut, given: Option<Checksum>) {
    if let Some((attribute, reason)) = not_carried(source, plan, given) {
        notes.not_carried(attribute, reason);
    }
}

//! A part in flight: the task that carries it, and the bytes from which it could be sent again.

use crate::engine::buffer::slot::Sealed;
use crate::engine::notes::InFlightGuard;
use crate::engine::pace::progress::PartProgress;
use crate::engine::parts::md5s::Md5;
use crate::engine::stop::Stop;
use crate::s3::ByteRange;
use crate::s3::integrity::checksum::Digests;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// The parts in flight of all objects of a session, by the order in which the objects were begun.
#[derive(Default)]
pub(crate) struct PartsOfAll(Mutex<BTreeMap<u64, usize>>);

/// A part of an object in flight, until it is dropped.
pub(crate) struct OrderGuard(Arc<PartsOfAll>, u64);

impl PartsOfAll {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<u64, usize>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many there are of this object and those that were begun before it.
    pub(crate) fn of_older(&self, order: u64) -> usize {
        self.with(|parts| parts.range(..=order).map(|(_, count)| count).sum())
    }

    pub(crate) fn enter(self: &Arc<Self>, order: u64) -> OrderGuard {
        self.with(|parts| *parts.entry(order).or_default() += 1);
        OrderGuard(Arc::clone(self), order)
    }
}

impl Drop for OrderGuard {
    fn drop(&mut self) {
        self.0.with(|parts| {
            if let Some(count) = parts.get_mut(&self.1).filter(|count| **count > 1) {
                *count -= 1;
            } else {
                parts.remove(&self.1);
            }
        });
    }
}

/// A part that is being read or sent.
pub(crate) struct PartInFlight {
    pub(crate) range: ByteRange,
    bytes: PartBytes,
    task: AbortHandle,
    // Bytes of the attempt under way that its connection has taken.
    taken: Arc<AtomicU64>,
    pub(crate) progress: PartProgress,
    is_cancelled: bool,
    _counted: (InFlightGuard, OrderGuard),
}

impl PartInFlight {
    pub(crate) fn new(
        range: ByteRange,
        bytes: PartBytes,
        task: AbortHandle,
        taken: Arc<AtomicU64>,
        counted: (InFlightGuard, OrderGuard),
    ) -> Self {
        let progress = PartProgress::new(range.bytes(), Instant::now());
        Self { range, bytes, task, taken, progress, is_cancelled: false, _counted: counted }
    }

    /// How many bytes moved since the last look.
    pub(crate) fn look(&mut self, now: Instant) -> u64 {
        self.progress.look(self.taken.load(Ordering::Relaxed), now)
    }

    /// Closes its connection. Until its task has ended, it is in flight.
    pub(crate) fn cancel(&mut self) {
        self.is_cancelled = true;
        self.task.abort();
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.is_cancelled
    }

    /// Its bytes, once they are read, if they are kept.
    pub(crate) fn read(&self) -> Option<Arc<ReadPart>> {
        match &self.bytes {
            PartBytes::Slot(read) => read.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            PartBytes::Streamed => None,
        }
    }

    pub(crate) fn is_streamed(&self) -> bool {
        matches!(self.bytes, PartBytes::Streamed)
    }
}

pub(crate) struct ReadPart {
    pub(crate) sealed: Sealed,
    // Where it is asked for.
    pub(crate) md5: Option<Md5>,
}

impl ReadPart {
    /// Its digests, with an MD5 that could wait.
    pub(crate) async fn digests(&self) -> Result<Digests, Stop> {
        let digests = *self.sealed.digests();
        match &self.md5 {
            Some(md5) => Ok(Digests { md5: Some(md5.get().await?), ..digests }),
            None => Ok(digests),
        }
    }
}

/// Where another attempt at a part has its bytes from.
pub(crate) enum PartBytes {
    /// Its slot, once it is filled.
    Slot(Arc<Mutex<Option<Arc<ReadPart>>>>),
    /// The source.
    Streamed,
}

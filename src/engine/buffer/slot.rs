//! A slot of memory for one part, and the digests that run along while it is filled.

use crate::s3::integrity::checksum::{Digests, Kinds, Running};
use bytes::Bytes;
use memmap2::MmapMut;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The grain in which memory is counted: a page.
pub(crate) const PAGE: u64 = 4 << 10;

/// Below this a slot comes from the allocator, which is better at small things.
pub(crate) const MAPPED_FROM: usize = 128 << 10;

pub(crate) fn pages(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE)
}

pub(crate) struct Heap {
    pub(crate) budget: Arc<Semaphore>,
    // Mapped, not in use; counted against the budget together with what is in use.
    pub(crate) kept: Mutex<Vec<MmapMut>>,
    // Bytes of all regions there are, kept ones included, and the most there ever were.
    pub(crate) held: AtomicU64,
    pub(crate) peak: AtomicU64,
}

impl Heap {
    fn allocated(&self, bytes: u64) {
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(held, Ordering::Relaxed);
    }

    fn freed(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Memory for a slot whose pages are reserved: a kept mapping, or a new one in place of kept ones.
    pub(crate) fn region(&self, size: usize) -> io::Result<SlotMemory> {
        if size < MAPPED_FROM {
            self.allocated(size as u64);
            return Ok(SlotMemory::Small(vec![0; size]));
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // The last is the one that caches still hold.
        if let Some(index) = kept.iter().rposition(|map| map.len() == size) {
            return Ok(SlotMemory::Mapped(kept.swap_remove(index)));
        }
        // What is reserved includes this slot, so what is not is all that may be kept.
        let mut spare = self.budget.available_permits() as u64;
        kept.retain(|map| match spare.checked_sub(pages(map.len() as u64)) {
            Some(rest) => {
                spare = rest;
                true
            }
            None => {
                self.freed(map.len() as u64);
                false
            }
        });
        let map = MmapMut::map_anon(size)?;
        self.allocated(size as u64);
        Ok(SlotMemory::Mapped(map))
    }
}

pub(crate) struct TmpRing {
    pub(crate) free: Mutex<Vec<MmapMut>>,
    pub(crate) ready: Arc<Semaphore>,
    pub(crate) _reserved: OwnedSemaphorePermit,
}

pub(crate) enum SlotMemory {
    Small(Vec<u8>),
    Mapped(MmapMut),
}

pub(crate) enum SlotLease {
    Heap(Arc<Heap>, OwnedSemaphorePermit),
    Tmp(Arc<TmpRing>, OwnedSemaphorePermit),
}

pub(crate) struct Memory {
    region: Option<SlotMemory>,
    lease: Option<SlotLease>,
}

impl Memory {
    fn bytes(&self) -> &[u8] {
        match &self.region {
            Some(SlotMemory::Small(bytes)) => bytes,
            Some(SlotMemory::Mapped(map)) => map,
            None => &[],
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.region {
            Some(SlotMemory::Small(bytes)) => bytes,
            Some(SlotMemory::Mapped(map)) => map,
            None => &mut [],
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let (Some(region), Some(lease)) = (self.region.take(), self.lease.take()) else { return };
        // The memory goes back before its permit does, so that whoever takes the permit finds it counted.
        match (region, lease) {
            (SlotMemory::Small(bytes), lease) => {
                if let SlotLease::Heap(heap, _) = &lease {
                    heap.freed(bytes.len() as u64);
                }
                drop(bytes);
                drop(lease);
            }
            (SlotMemory::Mapped(map), SlotLease::Heap(heap, permit)) => {
                heap.kept.lock().unwrap_or_else(PoisonError::into_inner).push(map);
                drop(permit);
            }
            (SlotMemory::Mapped(map), SlotLease::Tmp(ring, permit)) => {
                ring.free.lock().unwrap_or_else(PoisonError::into_inner).push(map);
                drop(permit);
            }
        }
    }
}

/// A slot that is being filled; its digests run along.
pub(crate) struct Slot {
    memory: Memory,
    length: usize,
    running: Running,
}

/// More bytes than the slot was taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("more bytes than were asked for")]
pub(crate) struct Overfull;

impl Slot {
    pub(crate) fn new(region: SlotMemory, lease: SlotLease, length: usize) -> Self {
        let memory = Memory { region: Some(region), lease: Some(lease) };
        Self { memory, length, running: Running::default() }
    }

    /// The same, still empty, of whose bytes this is computed.
    #[must_use]
    pub(crate) fn with(self, kinds: Kinds) -> Self {
        Self { running: Running::of(kinds), ..self }
    }

    /// How many bytes are in it.
    pub(crate) fn filled(&self) -> usize {
        usize::try_from(self.running.length()).unwrap_or(usize::MAX)
    }

    /// How many bytes it waits for.
    pub(crate) fn missing(&self) -> usize {
        self.length - self.filled()
    }

    /// Takes the next bytes. On /tmp it may block on the disk.
    ///
    /// # Errors
    /// [`Overfull`].
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), Overfull> {
        let start = self.filled();
        let end = start.checked_add(bytes.len()).filter(|end| *end <= self.length).ok_or(Overfull)?;
        self.memory.bytes_mut()[start..end].copy_from_slice(bytes);
        // What was just written is in the cache; what arrived may already have left it.
        self.running.update(&self.memory.bytes()[start..end]);
        Ok(())
    }

    pub(crate) fn seal(self) -> Sealed {
        let length = self.filled();
        Sealed { digests: self.running.finish(), bytes: Bytes::from_owner(View { memory: self.memory, length }) }
    }
}

/// Keeps the slot until the last clone of the bytes drops.
pub(crate) struct View {
    memory: Memory,
    length: usize,
}

impl AsRef<[u8]> for View {
    fn as_ref(&self) -> &[u8] {
        &self.memory.bytes()[..self.length]
    }
}

/// Bytes with the digests that were taken as they arrived.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    bytes: Bytes,
    digests: Digests,
}

impl Sealed {
    /// The bytes.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub(crate) fn digests(&self) -> &Digests {
        &self.digests
    }
}

//! Memory as a budget: the slots in which parts wait between the two sides.
//!
//! A slot is reserved before the GET that fills it is sent, and given back when the last view of its bytes drops, not
//! when its part is done: a retry may still be reading. Slots on the heap are anonymous mappings, so that memory given
//! back is given back to the system and kept ones are counted; slots in /tmp are mappings of one unlinked file whose
//! blocks were reserved beforehand, so that a full /tmp means fewer slots and never SIGBUS. Invariant: slots in use and
//! slots kept for reuse together never exceed the budget. This is the only file with `unsafe`.

pub(crate) mod slot;

use crate::engine::buffer::slot::{Heap, PAGE, Slot, SlotLease, SlotMemory, TmpRing, pages};
use crate::engine::report::BufferKind;
use memmap2::{MmapMut, MmapOptions};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;
use tokio::sync::Semaphore;

/// What slots may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BufferLimits {
    /// Bytes of slots on the heap.
    pub memory: u64,
    /// Where the mapped files are made.
    pub tmp_dir: PathBuf,
    /// Bytes of slots in mapped files.
    pub tmp: TmpLimit,
}

/// How much of /tmp may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TmpLimit {
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of what is free when an object begins.
    ShareOfFree(u64),
}

/// A budget into which not one slot fits.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum TooSmall {
    #[error("a part of {slot} bytes does not fit into the {budget} bytes of memory for part buffers")]
    Memory {
        /// The bytes of a part.
        slot: u64,
        /// The bytes of the budget.
        budget: u64,
    },
    #[error("a part of {slot} bytes does not fit into the buffer file in {dir}: {why}")]
    Tmp {
        /// The bytes of a part.
        slot: u64,
        dir: String,
        why: String,
    },
}

/// The budgets of a process, shared by all its objects.
pub struct Buffers {
    limits: BufferLimits,
    heap: Arc<Heap>,
    tmp: Arc<Semaphore>,
    tmp_pages: u64,
}

impl Buffers {
    /// Budgets of which nothing is taken.
    pub fn new(limits: BufferLimits) -> Self {
        let budget = Arc::new(Semaphore::new(pages_of_budget(limits.memory)));
        let heap = Arc::new(Heap { budget, kept: Mutex::default(), held: AtomicU64::new(0), peak: AtomicU64::new(0) });
        let tmp_pages = match limits.tmp {
            TmpLimit::Bytes(bytes) => pages_of_budget(bytes),
            TmpLimit::ShareOfFree(_) => Semaphore::MAX_PERMITS,
        };
        Self { limits, heap, tmp: Arc::new(Semaphore::new(tmp_pages)), tmp_pages: tmp_pages as u64 }
    }

    /// The most memory that slots on the heap had at any time, in bytes: counted where it is allocated, not where it is
    /// reserved, so that it can be held against the budget.
    pub fn peak(&self) -> u64 {
        self.heap.peak.load(Ordering::Relaxed)
    }

    /// Whether the heap's budget is large enough for so many slots.
    pub(crate) fn has_memory(&self, slot: u64, wanted: usize) -> bool {
        (pages(slot) * PAGE).saturating_mul(wanted as u64) <= self.limits.memory
    }

    /// A ring of slots on the heap.
    ///
    /// # Errors
    /// [`TooSmall::Memory`].
    pub(crate) fn memory(&self, slot: u64) -> Result<Ring, TooSmall> {
        let budget = self.limits.memory;
        if pages(slot) * PAGE > budget.next_multiple_of(PAGE) {
            return Err(TooSmall::Memory { slot, budget });
        }
        let size = usize::try_from(slot).map_err(|_| TooSmall::Memory { slot, budget })?;
        Ok(Ring { size, source: SlotSource::Heap(Arc::clone(&self.heap)) })
    }

    /// A ring of up to `wanted` slots in a file of its own; fewer if there is less room. May block on the disk.
    ///
    /// # Errors
    /// [`TooSmall::Tmp`] if there is not room for one.
    pub(crate) fn tmp(&self, slot: u64, wanted: usize) -> Result<Ring, TooSmall> {
        let dir = &self.limits.tmp_dir;
        let too_small = |why: String| TooSmall::Tmp { slot, dir: dir.display().to_string(), why };
        let size =
            usize::try_from(slot).map_err(|_| too_small("it is larger than this machine can address".to_owned()))?;
        let room = match self.limits.tmp {
            TmpLimit::Bytes(bytes) => bytes,
            TmpLimit::ShareOfFree(percent) => free_bytes(dir).map_err(|e| too_small(e.to_string()))? / 100 * percent,
        };
        let per_slot = pages(slot).max(1);
        let mut slots = (wanted.max(1) as u64).min(room / (per_slot * PAGE)).min(self.tmp_pages / per_slot);
        let reserved = loop {
            if slots == 0 {
                return Err(too_small(format!("only {room} bytes may be used there")));
            }
            let count = u32::try_from(slots * per_slot).unwrap_or(u32::MAX);
            match Arc::clone(&self.tmp).try_acquire_many_owned(count) {
                Ok(permit) => break permit,
                Err(_) => slots /= 2,
            }
        };
        let mut slots = usize::try_from(slots).unwrap_or(usize::MAX);
        let file = unlinked_file(dir).map_err(|error| too_small(error.to_string()))?;
        let stride = per_slot * PAGE;
        loop {
            match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, slots as u64 * stride) {
                Ok(()) => break,
                Err(_) if slots > 1 => slots /= 2,
                Err(error) => return Err(too_small(io::Error::from(error).to_string())),
            }
        }
        let mut maps = Vec::with_capacity(slots);
        for index in 0..slots as u64 {
            maps.push(map_of_private_file(&file, index * stride, size).map_err(|error| too_small(error.to_string()))?);
        }
        let free = Mutex::new(maps);
        let ready = Arc::new(Semaphore::new(slots));
        Ok(Ring { size, source: SlotSource::Tmp(Arc::new(TmpRing { free, ready, _reserved: reserved })) })
    }
}

/// The bytes that may still be written below a folder.
fn free_bytes(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// What a budget of /tmp is when nobody set one: the smaller of 4 GiB and half of what is free there.
pub fn default_tmp_limit(dir: &Path) -> u64 {
    free_bytes(dir).map_or(0, |free| (free / 2).min(4 << 30))
}

fn unlinked_file(dir: &Path) -> io::Result<File> {
    let path = dir.join(format!("xpsync-{}-{:016x}", std::process::id(), fastrand::u64(..)));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[expect(unsafe_code, reason = "mapping a file is unsafe because others could change it")]
fn map_of_private_file(file: &File, offset: u64, length: usize) -> io::Result<MmapMut> {
    // SAFETY: the file was made by this process under a random name with O_EXCL and unlinked at once, so nobody else
    // can open, change or truncate it, and nothing here does: each mapping is of its own range, and the file's
    // blocks were reserved before, so a store cannot fail for want of space.
    unsafe { MmapOptions::new().offset(offset).len(length).map_mut(file) }
}

fn pages_of_budget(bytes: u64) -> usize {
    usize::try_from(pages(bytes)).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}

pub(crate) struct Ring {
    size: usize,
    source: SlotSource,
}

enum SlotSource {
    Heap(Arc<Heap>),
    Tmp(Arc<TmpRing>),
    None,
}

impl Ring {
    /// A ring without slots: who waits for one waits for ever.
    pub(crate) fn none() -> Self {
        Self { size: usize::MAX, source: SlotSource::None }
    }

    /// Where its slots are.
    pub(crate) fn kind(&self) -> BufferKind {
        match self.source {
            SlotSource::Heap(_) => BufferKind::Memory,
            SlotSource::Tmp(_) => BufferKind::Tmp,
            SlotSource::None => BufferKind::Streamed,
        }
    }

    /// Waits for a slot and takes it for `length` bytes, at most the ring's size.
    ///
    /// # Errors
    /// If the system has no memory to map.
    ///
    /// # Cancel safety
    /// Holds nothing before it has given the slot.
    pub(crate) async fn slot(&self, length: usize) -> io::Result<Slot> {
        if length > self.size {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a slot larger than its ring's"));
        }
        let closed = |_| io::Error::other("the budget was closed");
        let (region, lease) = match &self.source {
            SlotSource::Heap(heap) => {
                let count = u32::try_from(pages(length as u64)).unwrap_or(u32::MAX);
                let permit = Arc::clone(&heap.budget).acquire_many_owned(count).await.map_err(closed)?;
                (heap.region(length)?, SlotLease::Heap(Arc::clone(heap), permit))
            }
            SlotSource::Tmp(ring) => {
                let permit = Arc::clone(&ring.ready).acquire_owned().await.map_err(closed)?;
                let map = ring.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let map = map.ok_or_else(|| io::Error::other("a ring with fewer slots than permits"))?;
                (SlotMemory::Mapped(map), SlotLease::Tmp(Arc::clone(ring), permit))
            }
            SlotSource::None => std::future::pending().await,
        };
        Ok(Slot::new(region, lease, length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::buffer::slot::Overfull;
    use crate::engine::buffer::slot::Sealed;
    use crate::s3::integrity::checksum::Digests;
    use std::time::Duration;
    use tokio::time::timeout;

    /// How many slots of a file are free; `None` on the heap, where it depends on what others take.
    fn slots(ring: &Ring) -> Option<usize> {
        match &ring.source {
            SlotSource::Tmp(ring) => Some(ring.ready.available_permits()),
            SlotSource::Heap(_) | SlotSource::None => None,
        }
    }

    const MIB: u64 = 1 << 20;

    fn buffers(memory: u64, tmp: TmpLimit) -> Buffers {
        Buffers::new(BufferLimits { memory, tmp_dir: std::env::temp_dir(), tmp })
    }

    async fn filled(ring: &Ring, bytes: &[u8]) -> Sealed {
        let mut slot = ring.slot(bytes.len()).await.unwrap();
        for piece in bytes.chunks(1000) {
            slot.push(piece).unwrap();
        }
        assert_eq!(slot.missing(), 0);
        slot.seal()
    }

    #[tokio::test]
    async fn what_went_in_comes_out_with_its_digests() {
        let buffers = buffers(4 * MIB, TmpLimit::Bytes(4 * MIB));
        for ring in [buffers.memory(MIB).unwrap(), buffers.tmp(MIB, 2).unwrap()] {
            for length in [0, 1, 5_000, 1 << 20] {
                let bytes: Vec<u8> = (0..length).map(|n: u32| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
                let sealed = filled(&ring, &bytes).await;
                assert_eq!(&sealed.bytes()[..], &bytes[..]);
                assert_eq!(*sealed.digests(), Digests::of(&bytes));
            }
        }
    }

    #[tokio::test]
    async fn a_slot_takes_no_more_than_it_was_taken_for() {
        let ring = buffers(MIB, TmpLimit::Bytes(0)).memory(10).unwrap();
        let mut slot = ring.slot(10).await.unwrap();
        slot.push(b"123456789").unwrap();
        assert_eq!(slot.push(b"ab"), Err(Overfull));
        assert_eq!((slot.filled(), slot.missing()), (9, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_returns_when_the_last_view_drops() {
        let buffers = buffers(2 * MIB, TmpLimit::Bytes(2 * MIB));
        for ring in [buffers.memory(MIB).unwrap(), buffers.tmp(MIB, 2).unwrap()] {
            let first = filled(&ring, &[1; 1 << 20]).await;
            let _second = ring.slot(1 << 20).await.unwrap();
            let view = first.bytes().slice(5..10);
            drop(first);
            assert!(timeout(Duration::from_secs(1), ring.slot(1 << 20)).await.is_err());
            drop(view);
            assert!(timeout(Duration::from_secs(1), ring.slot(1 << 20)).await.is_ok());
        }
    }

    #[tokio::test]
    async fn kept_memory_gives_way_to_slots_of_another_size() {
        let buffers = buffers(8 * MIB, TmpLimit::Bytes(0));
        let (small, large) = (buffers.memory(MIB).unwrap(), buffers.memory(6 * MIB).unwrap());
        let all: Vec<Slot> = futures(&small, 8).await;
        drop(all);
        assert_eq!(buffers.heap.kept.lock().unwrap().len(), 8);
        let held = large.slot(6 << 20).await.unwrap();
        assert_eq!(buffers.heap.kept.lock().unwrap().len(), 2);
        assert_eq!(buffers.peak(), 8 * MIB);
        drop(held);
    }

    #[tokio::test]
    async fn the_peak_is_what_was_allocated_at_once() {
        let buffers = buffers(8 * MIB, TmpLimit::Bytes(0));
        let (small, large) = (buffers.memory(1_000).unwrap(), buffers.memory(MIB).unwrap());
        for _ in 0..3 {
            let _both = (small.slot(1_000).await.unwrap(), small.slot(500).await.unwrap());
        }
        assert_eq!(buffers.peak(), 1_500);
        let _large = large.slot(1 << 20).await.unwrap();
        assert_eq!(buffers.peak(), MIB);
    }

    async fn futures(ring: &Ring, count: usize) -> Vec<Slot> {
        let mut slots = Vec::new();
        for _ in 0..count {
            slots.push(ring.slot(1 << 20).await.unwrap());
        }
        slots
    }

    #[test]
    fn a_budget_below_one_slot_is_refused_by_name() {
        let buffers = buffers(5 * MIB, TmpLimit::Bytes(5 * MIB));
        assert!(buffers.memory(5 * MIB).is_ok());
        let refusal = buffers.memory(5 * MIB + 1).err().unwrap();
        assert_eq!(refusal, TooSmall::Memory { slot: 5 * MIB + 1, budget: 5 * MIB });
        assert!(matches!(buffers.tmp(5 * MIB + 1, 1), Err(TooSmall::Tmp { .. })));
    }

    #[test]
    fn less_room_in_tmp_means_fewer_slots() {
        let buffers = buffers(0, TmpLimit::Bytes(10 * MIB));
        let first = buffers.tmp(2 * MIB, 3).unwrap();
        assert_eq!(slots(&first), Some(3));
        let second = buffers.tmp(2 * MIB, 100).unwrap();
        assert_eq!(slots(&second), Some(2));
        assert!(buffers.tmp(2 * MIB, 1).is_err());
        drop(first);
        assert_eq!(slots(&buffers.tmp(2 * MIB, 100).unwrap()), Some(2));
    }

    #[test]
    fn a_disk_without_the_room_is_refused_before_it_is_mapped() {
        let refusal = buffers(0, TmpLimit::Bytes(u64::MAX / 2)).tmp(1 << 52, 1).err();
        assert!(matches!(refusal, Some(TooSmall::Tmp { slot, .. }) if slot == 1 << 52), "{refusal:?}");
    }

    #[test]
    fn a_folder_that_is_not_there_is_refused() {
        let limits = BufferLimits { memory: 0, tmp_dir: "/nowhere/at/all".into(), tmp: TmpLimit::Bytes(MIB) };
        assert!(matches!(Buffers::new(limits).tmp(10, 1), Err(TooSmall::Tmp { .. })));
    }
}

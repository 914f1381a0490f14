//! What became of one object: the facts that every face of the product shows.
//!
//! The JSON of it is made at the edge (`report::json`), so nothing here knows a format.

use crate::engine::decide::ticket::Ticket;
use crate::engine::fault::Fault;

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The target now has what the source has.
    Copied,
    /// The target had it already, or both have nothing.
    Unchanged,
    /// The source is gone, and what the target had was removed.
    Deleted,
    /// The source is gone, or newer work took over; for events only.
    Superseded,
    /// An event that asks for nothing.
    Ignored,
    /// It was sent to the queue, to be continued by another invocation, which will report it.
    HandedOver,
    /// It was stopped, and what was sent is kept: `ticket` says how to resume it, `fault` why it was stopped. A step
    /// that is done has no fault.
    Resumable,
    /// It was not done; `fault` says why.
    Failed,
}

impl Outcome {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Copied => "copied",
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
            Self::Superseded => "superseded",
            Self::Ignored => "ignored",
            Self::HandedOver => "handed_over",
            Self::Resumable => "resumable",
            Self::Failed => "failed",
        }
    }
}

/// What was shown about the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proof {
    /// The target's ETag is the one that our arithmetic gives: of the MD5s of what was sent, or of those that make the
    /// source's.
    ETag,
    /// The target stored the CRC64NVME that we computed.
    Crc64Nvme,
    /// Each part's ETag was the MD5 of what we sent. Not computed where the ETags of both sides show the parts.
    PartMd5,
    /// The bytes read make the source's ETag, by MD5s computed here or by the target of what it took.
    SourceETag,
    /// The bytes read make the source's stored checksum.
    SourceChecksum,
}

impl Proof {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ETag => "etag",
            Self::Crc64Nvme => "crc64nvme",
            Self::PartMd5 => "part_md5",
            Self::SourceETag => "source_etag",
            Self::SourceChecksum => "source_checksum",
        }
    }
}

/// Where the bytes waited between the two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BufferKind {
    /// On the heap.
    Memory,
    /// In slots of a mapped file.
    Tmp,
    /// Nowhere: there was no room for a single part.
    Streamed,
}

impl BufferKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Tmp => "tmp",
            Self::Streamed => "streamed",
        }
    }
}

/// An attribute of the source that the target does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotCarried {
    /// Its name.
    pub attribute: String,
    /// Why.
    pub reason: String,
}

/// One side of the copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectRef {
    /// The bucket.
    pub(crate) bucket: String,
    /// The key.
    pub(crate) key: String,
    /// The version that was read, in a versioned source.
    pub version_id: Option<String>,
    /// The ETag, once known.
    pub etag: Option<String>,
    /// The size in bytes, once known.
    pub size: Option<u64>,
}

/// All of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// The source.
    pub source: ObjectRef,
    /// The target; its version and size are not reported.
    pub target: ObjectRef,
    /// Bytes that were sent and count at the target.
    pub bytes: u64,
    /// Parts that were sent; 1 for a single PUT.
    pub parts: u32,
    /// Parts that an earlier invocation had sent.
    pub resumed_parts: u32,
    /// Requests that were sent again.
    pub retries: u32,
    /// Parts that were taken off their connection and sent again on another.
    pub hedges: u32,
    /// Seconds from the job's start to its end.
    pub seconds: f64,
    /// Where the bytes waited; `None` if none were moved.
    pub buffer: Option<BufferKind>,
    /// Whether the target's ETag equals the source's.
    pub etag_preserved: bool,
    /// What was shown, each once, in order.
    pub verified_by: Vec<Proof>,
    /// Attributes left behind.
    pub not_carried: Vec<NotCarried>,
    /// What is worth saying though nothing failed.
    pub reason: Option<String>,
    /// Why it failed, or was stopped.
    pub fault: Option<Box<Fault>>,
    /// How to resume it; whoever reports it decides where that is kept.
    pub ticket: Option<Box<Ticket>>,
}

impl Report {
    /// A report of work that has not begun: nothing sent, nothing proven.
    pub(crate) fn new(outcome: Outcome, source: ObjectRef, target: ObjectRef) -> Self {
        Self {
            outcome,
            source,
            target,
            bytes: 0,
            parts: 0,
            resumed_parts: 0,
            retries: 0,
            hedges: 0,
            seconds: 0.0,
            buffer: None,
            etag_preserved: false,
            verified_by: Vec::new(),
            not_carried: Vec::new(),
            reason: None,
            fault: None,
            ticket: None,
        }
    }

    pub(crate) fn failed(source: ObjectRef, target: ObjectRef, fault: Fault) -> Self {
        Self { fault: Some(Box::new(fault)), ..Self::new(Outcome::Failed, source, target) }
    }

    /// Whether the target's content was shown to be what was read: its ETag or its CRC64NVME held.
    pub fn is_proven(&self) -> bool {
        self.verified_by.iter().any(|proof| matches!(proof, Proof::ETag | Proof::Crc64Nvme))
    }
}

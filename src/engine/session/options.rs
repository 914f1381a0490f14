//! How objects are copied: what somebody asked for.

use crate::engine::decide::plan::{EtagMode, PartSizeTable};
use crate::engine::decide::staging::StagingLimits;

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
    /// `x-amz-storage-class` at the target.
    pub(crate) storage_class: Option<String>,
    /// The KMS key at the target.
    pub kms_key: Option<String>,
    /// What becomes of the target once the source is gone.
    pub deletes: Deletes,
}

impl Default for Options {
    /// What a copy does when nobody asks for anything.
    fn default() -> Self {
        Self {
            etag: EtagMode::Auto,
            staging: StagingLimits::default(),
            table: PartSizeTable::V1,
            part_size: None,
            buffering: Buffering::Fitting,
            storage_class: None,
            kms_key: None,
            deletes: Deletes::Keep,
        }
    }
}

//! What happens in a case: a value that is generated, shrunk, printed, and pasted into `found.rs` when it has shown a
//! defect.

use std::fmt::{self, Display};
use xpsync::engine::decide::plan::PartSizeTable;

/// The largest part of a source that is sent as it is, where units are small.
const KEPT_PART: u64 = 16 << 10;

/// A case from its beginning to the moment at which everything is well again and what is left is judged.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) unit: Unit,
    pub(crate) source: Bucket,
    pub(crate) target: Bucket,
    pub(crate) etag: Etag,
    pub(crate) slots: Slots,
    pub(crate) deletes: Deletes,
    pub(crate) steps: Vec<Step>,
}

/// What S3's MiB is in this case. Nearly all have the table and S3's smallest part a thousand times smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    KiB,
    MiB,
}

impl Unit {
    pub(crate) fn bytes(self) -> u64 {
        match self {
            Self::KiB => 1 << 10,
            Self::MiB => 1 << 20,
        }
    }

    pub(crate) fn table(self) -> PartSizeTable {
        let scaled = |bytes: u64| (bytes * self.bytes()) >> 20;
        // With fewer, no object that is worth its time would have parts that are staged.
        let kept_part = if self == Self::MiB { PartSizeTable::V1.kept_part } else { KEPT_PART };
        PartSizeTable {
            put_first: scaled(PartSizeTable::V1.put_first),
            single_put: scaled(PartSizeTable::V1.single_put),
            part_min: scaled(PartSizeTable::V1.part_min),
            kept_part,
            step: scaled(PartSizeTable::V1.step),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    pub(crate) versions: Versions,
    pub(crate) crypt: Crypt,
    pub(crate) sums: Sums,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Versions {
    OnlyOne,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crypt {
    Plain,
    SseS3,
    Kms,
}

/// Whether a CRC64NVME is kept with every object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sums {
    Stored,
    NotStored,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Etag {
    Auto,
    Any,
    Preserve,
}

/// Where parts wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slots {
    OnHeap,
    InTmp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deletes {
    Kept,
    Synced,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Something happens at the source.
    Source(Change),
    /// Somebody else does something at the target.
    Stranger(Meddling),
    /// The nth matching requests from here on go wrong.
    Fault(Fault),
    /// All keys of the target are replaced, and the secret at once, or only when all is well again.
    Rotate(Secret),
    /// A server's clock goes wrong by so many minutes.
    Clock(End, i8),
    /// Invocations, all at once.
    Deliver(Vec<Event>, Time, By),
}

#[derive(Clone, Debug)]
pub(crate) enum Change {
    Put {
        key: u8,
        size: Size,
        content: u8,
        dress: Dress,
        cut: Cut,
    },
    Delete {
        key: u8,
    },
    /// The newest version, or delete marker, is deleted for good.
    Rollback {
        key: u8,
    },
    /// A bit of the object at rest flips, which raises no event.
    Rot {
        key: u8,
        at: u32,
    },
}

#[derive(Clone, Debug)]
pub(crate) enum Meddling {
    Overwrites { key: u8, content: u8 },
    Removes { key: u8 },
    AbortsUploads,
}

/// Sizes by the table's boundaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Empty,
    OneByte,
    /// Up to here the PUT goes first.
    PutFirst(i8),
    /// The smallest part.
    PartMin(i8),
    /// Up to here one PUT.
    SinglePut(i8),
    /// So many units, and some bytes.
    Units(u8, u16),
    /// As long as what is there.
    Same,
}

impl Size {
    pub(crate) fn bytes(self, unit: Unit, same: u64) -> u64 {
        let table = unit.table();
        let near = |bytes: u64, by: i8| bytes.saturating_add_signed(by.into());
        match self {
            Self::Empty => 0,
            Self::OneByte => 1,
            Self::PutFirst(by) => near(table.put_first, by),
            Self::PartMin(by) => near(table.part_min, by),
            Self::SinglePut(by) => near(table.single_put, by),
            Self::Units(units, more) => u64::from(units) * unit.bytes() + u64::from(more),
            Self::Same => same,
        }
    }
}

/// How the source is put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Whole,
    /// Parts of so many units.
    Even(u8),
    /// A first part of so many units, and the rest in parts of others.
    Uneven(u8, u8),
}

/// What an object carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dress {
    Bare,
    Typed,
    Tagged,
    Full,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    AtSource,
    AtTarget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secret {
    WithSecret,
    BeforeSecret,
}

/// One of the events that wait, by its place among them, oldest first.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Once(u8),
    /// It will come again.
    Twice(u8),
}

/// How events come to the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// Each by itself, without a queue.
    Bus,
    /// Each in a batch of its own, from the queue.
    Queue,
    /// All in one batch.
    OneBatch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    Ample,
    Milliseconds(u16),
}

#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) at: End,
    pub(crate) on: On,
    pub(crate) nth: u8,
    pub(crate) times: u8,
    pub(crate) what: What,
}

/// Which requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    Get,
    Head,
    Tagging,
    PutObject,
    Create,
    UploadPart,
    Complete,
    Abort,
    ListParts,
    Delete,
    Copy,
    CopyPart,
    Anything,
}

impl On {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "GetObject",
            Self::Head => "HeadObject",
            Self::Tagging => "GetObjectTagging",
            Self::PutObject => "PutObject",
            Self::Create => "CreateMultipartUpload",
            Self::UploadPart => "UploadPart",
            Self::Complete => "CompleteMultipartUpload",
            Self::Abort => "AbortMultipartUpload",
            Self::ListParts => "ListParts",
            Self::Delete => "DeleteObject",
            Self::Copy => "CopyObject",
            Self::CopyPart => "UploadPartCopy",
            Self::Anything => "*",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    InternalError,
    Unavailable,
    SlowDown,
    Conflict,
    /// A 200 whose body is an error; nothing was done.
    ErrorIn200,
    /// The same, but it was done.
    ErrorThoughDone,
    ResetBeforeBody,
    ResetBeforeDoing,
    /// Nobody knows whether it was done; it was.
    ResetThoughDone,
    ResetInReply(u32),
    Truncate(u32),
    FlipReply(u32),
    FlipRequest(u32),
    /// The head of the reply comes after this long, in milliseconds; the operation is done at once.
    StallHead(u16),
    StallBody(u32, u16),
    /// It is carried out when everybody has gone home.
    Park,
    Before(Meanwhile),
    After(Meanwhile),
}

/// What happens beside a request.
#[derive(Clone, Debug)]
pub(crate) enum Meanwhile {
    /// The source changes, and its event waits.
    Changes(Change),
    /// The source changes, and another sandbox has handled the event before the request goes on.
    ChangesAndIsHandled(Change),
    Meddles(Meddling),
    RotatesKeys,
    /// The sandboxes are killed.
    Kills,
}

impl What {
    /// The kind under which it is counted.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::InternalError => "500 InternalError",
            Self::Unavailable => "503 ServiceUnavailable",
            Self::SlowDown => "503 SlowDown",
            Self::Conflict => "409 conflict",
            Self::ErrorIn200 => "<Error> in a 200",
            Self::ErrorThoughDone => "<Error> in a 200, though done",
            Self::ResetBeforeBody | Self::ResetBeforeDoing => "reset before it was done",
            Self::ResetThoughDone => "reset though it was done",
            Self::ResetInReply(_) => "reset in the reply",
            Self::Truncate(_) => "reply truncated",
            Self::FlipReply(_) => "bit flipped in a reply",
            Self::FlipRequest(_) => "bit flipped in a request",
            Self::StallHead(_) => "reply stalled before its head",
            Self::StallBody(..) => "reply stalled in its body",
            Self::Park => "write carried out late",
            Self::Before(meanwhile) | Self::After(meanwhile) => meanwhile.kind(),
        }
    }
}

impl Meanwhile {
    fn kind(&self) -> &'static str {
        match self {
            Self::Changes(_) => "source changed beside a request",
            Self::ChangesAndIsHandled(_) => "source changed and handled beside a request",
            Self::Meddles(Meddling::AbortsUploads) => "upload aborted by a stranger",
            Self::Meddles(_) => "target changed by a stranger beside a request",
            Self::RotatesKeys => "keys rotated beside a request",
            Self::Kills => "killed",
        }
    }
}

impl Display for Script {
    /// As Rust, to be pasted: a step a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { unit, source, target, etag, slots, deletes, steps } = self;
        writeln!(f, "Script {{")?;
        writeln!(f, "    unit: {unit:?},\n    source: {source:?},\n    target: {target:?},")?;
        writeln!(f, "    etag: {etag:?},\n    slots: {slots:?},\n    deletes: {deletes:?},\n    steps: vec![")?;
        for step in steps {
            writeln!(f, "        {},", format!("{step:?}").replace('[', "vec!["))?;
        }
        write!(f, "    ],\n}}")
    }
}

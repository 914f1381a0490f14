//! Scripts that have shown a defect, each as it was shrunk, with what it showed. They are played before all others.

use super::script::{
    Bucket, By::*, Change::*, Crypt::*, Cut::*, Deletes::*, Dress::*, End::*, Etag::*, Event::*, Fault, Meanwhile::*,
    On::*, Script, Size::*, Slots::*, Step::*, Sums::*, Time::*, Unit::*, Versions::*, What::*,
};

pub(crate) fn scripts() -> Vec<Script> {
    vec![
        // An upload was left open: two handlers of one event, and the one whose Complete was not carried out took the
        // other's object for its own.
        Script {
            unit: KiB,
            source: Bucket { versions: OnlyOne, crypt: Plain, sums: Stored },
            target: Bucket { versions: OnlyOne, crypt: Plain, sums: Stored },
            etag: Auto,
            slots: OnHeap,
            deletes: Kept,
            steps: vec![
                Source(Put { key: 0, size: Units(28, 195), content: 0, dress: Bare, cut: Whole }),
                Fault(Fault { at: AtTarget, on: Complete, nth: 1, times: 1, what: InternalError }),
                Deliver(vec![Once(0), Once(0)], Ample, Bus),
            ],
        },
        // An upload was left open: its continuation could not be sent in the time that was left, and what the journal
        // said of it was written over by the next one, which found the entry still held when it looked.
        Script {
            unit: KiB,
            source: Bucket { versions: OnlyOne, crypt: Kms, sums: Stored },
            target: Bucket { versions: OnlyOne, crypt: Plain, sums: Stored },
            etag: Auto,
            slots: OnHeap,
            deletes: Synced,
            steps: vec![
                Source(Put { key: 1, size: Units(39, 583), content: 1, dress: Typed, cut: Even(20) }),
                Fault(Fault { at: AtTarget, on: UploadPart, nth: 2, times: 1, what: StallHead(1400) }),
                Deliver(vec![Once(0)], Milliseconds(698), OneBatch),
                Deliver(vec![Once(0)], Ample, Queue),
            ],
        },
        // Uploads were left open: of two who were stopped, one had no entry in the journal, and the queue was not
        // told.
        Script {
            unit: KiB,
            source: Bucket { versions: OnlyOne, crypt: SseS3, sums: Stored },
            target: Bucket { versions: OnlyOne, crypt: SseS3, sums: NotStored },
            etag: Auto,
            slots: InTmp,
            deletes: Kept,
            steps: vec![
                Source(Put { key: 0, size: Units(19, 208), content: 0, dress: Bare, cut: Whole }),
                Fault(Fault { at: AtTarget, on: Complete, nth: 1, times: 2, what: StallHead(1400) }),
                Deliver(vec![Once(0), Once(0), Once(0)], Milliseconds(450), Queue),
                Deliver(vec![Once(0), Once(0)], Ample, Queue),
            ],
        },
        // Bytes that the source's ETag convicts were copied: it has no checksum, and the target's copies showed no
        // ETag.
        Script {
            unit: KiB,
            source: Bucket { versions: OnlyOne, crypt: Plain, sums: NotStored },
            target: Bucket { versions: OnlyOne, crypt: Kms, sums: Stored },
            etag: Preserve,
            slots: OnHeap,
            deletes: Kept,
            steps: vec![
                Source(Put { key: 1, size: Units(17, 0), content: 0, dress: Bare, cut: Even(17) }),
                Source(Rot { key: 1, at: 0 }),
                Deliver(vec![Once(0)], Ample, Bus),
            ],
        },
        // An upload was left open that a killed process had written down: a continuation of another one took its
        // entry.
        Script {
            unit: KiB,
            source: Bucket { versions: All, crypt: Kms, sums: NotStored },
            target: Bucket { versions: OnlyOne, crypt: Plain, sums: NotStored },
            etag: Auto,
            slots: InTmp,
            deletes: Kept,
            steps: vec![
                Source(Put { key: 0, size: Units(27, 882), content: 1, dress: Typed, cut: Whole }),
                Fault(Fault { at: AtTarget, on: UploadPart, nth: 2, times: 3, what: StallHead(2500) }),
                Deliver(vec![Once(0)], Milliseconds(374), Bus),
                Source(Put { key: 0, size: Units(24, 926), content: 0, dress: Bare, cut: Whole }),
                Fault(Fault { at: AtTarget, on: Create, nth: 1, times: 1, what: After(Kills) }),
                Deliver(vec![Once(2), Once(0), Once(0), Once(0)], Ample, Bus),
            ],
        },
    ]
}

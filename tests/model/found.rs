//! Scripts that have shown a defect, each as it was shrunk, with what it showed. They are played before all others.

use super::script::{
    Bucket, Change::*, Crypt::*, Cut::*, Deletes::*, Dress::*, End::*, Etag::*, Event::*, Fault, On::*, Script,
    Size::*, Slots::*, Step::*, Sums::*, Time::*, Unit::*, Versions::*, What::*,
};

pub(crate) fn scripts() -> Vec<Script> {
    vec![
        // An upload was left open: two handlers of one event, and the one whose Complete was not carried out took the other's
        // object for its own.
        Script {
            unit: KiB,
            source: Bucket { versions: OnlyOne, crypt: Plain, sums: Stored },
            target: Bucket { versions: OnlyOne, crypt: Plain, sums: Stored },
            etag: AutoEtag,
            slots: OnHeap,
            deletes: Kept,
            steps: vec![
                Source(Put { key: 0, size: Units(28, 195), content: 0, dress: Bare, cut: Whole }),
                Fault(Fault { at: AtTarget, on: Complete, nth: 1, times: 1, what: InternalError }),
                Deliver(vec![Once(0), Once(0)], Ample),
            ],
        },
    ]
}

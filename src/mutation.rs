//! Defects on purpose, one at a time, so that the reference model can be shown to find them (`tests/suite/model`).
//!
//! Without the feature `mutations` every question is `false` at compile time, and nothing of this is left. It knows no
//! floor, so that every floor may ask.

#[cfg(feature = "mutations")]
use std::sync::atomic::{AtomicU8, Ordering};

/// What is left undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutation {
    /// Reads do not ask for the pinned state, nor hold the answer against it.
    UnpinnedReads = 1,
    /// Writes carry no precondition.
    UnconditionalWrites,
    /// The source is not looked at again after a commit.
    NoLookAfterCommit,
    /// No CRC64NVME is sent, and none is compared.
    NoCrc,
    /// An upload is resumed whatever state of the source its ticket is of.
    UncheckedTickets,
}

#[cfg(feature = "mutations")]
static ON: AtomicU8 = AtomicU8::new(0);

/// Switches the process to one mutation, or to none.
#[cfg(feature = "mutations")]
pub fn switch(to: Option<Mutation>) {
    ON.store(to.map_or(0, |mutation| mutation as u8), Ordering::SeqCst);
}

#[cfg(feature = "mutations")]
pub(crate) fn is_on(mutation: Mutation) -> bool {
    ON.load(Ordering::SeqCst) == mutation as u8
}

/// Whether this mutation is on: never.
#[cfg(not(feature = "mutations"))]
pub(crate) const fn is_on(_: Mutation) -> bool {
    false
}

//! Why an attempt ended, and what each error of a side becomes in a report.

use crate::engine::decide::verify::Mismatch;
use crate::engine::fault::{Fault, FaultClass, Side};
use crate::engine::hint::hint;
use crate::wire::deadline::Stopped;
use crate::wire::error::Error;

/// Why an attempt at the object ended without having made the target equal.
#[derive(Debug)]
pub(crate) enum Stop {
    Failed(Box<Fault>),
    /// The step that was asked for is done, and the upload is left open.
    StepDone,
    /// What was pinned is not there any more, or something was not what it should be: start again on what is there now.
    /// The fault is reported if that happens too often.
    Restart(Box<Fault>),
    /// Parts of the upload are not as they were sent, because they were sent once more: start again on what it has now.
    Contended(Box<Fault>),
}

impl Stop {
    /// Another state has taken the place of the one that was worked on.
    pub(crate) fn replaced(what: impl Into<String>) -> Self {
        Self::Restart(Box::new(Fault::new(FaultClass::Precondition, what)))
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Failed(Box::new(fault))
    }
}

/// A fault at one end, with its advice.
pub(crate) fn fault_at(end: Side, error: &Error) -> Fault {
    let mut fault = match error {
        Error::Refused { refusal, attempts } => Fault::refused(refusal, *attempts),
        // A certificate that is not trusted as well: names are answered wrongly at this border for a while, and then
        // are not.
        Error::Unconnected { operation, attempts, .. } | Error::Lost { operation, attempts, .. } => Fault {
            operation: Some(operation),
            attempts: *attempts,
            ..Fault::new(FaultClass::Network, error.to_string())
        },
        Error::Keys(keys) => Fault::new(keys.fault.into(), error.to_string()),
        Error::Unsendable { operation, .. } => {
            Fault { operation: Some(operation), ..Fault::new(FaultClass::Configuration, error.to_string()) }
        }
    };
    fault.side = Some(end);
    fault.hint = hint(end, error);
    fault
}

/// The fault of work that had to stop.
pub(crate) fn stopped(why: Stopped) -> Fault {
    match why {
        Stopped::Deadline => Fault::new(FaultClass::Deadline, "the time ran out before the object was copied")
            .with_hint(
                "Raise Timeout or MemorySize (more memory brings more CPU and network). The next event or retry \
                 starts again.",
            ),
        Stopped::Asked => Fault::new(FaultClass::Interrupted, "interrupted before the object was copied"),
    }
}

/// Bytes that are not what they should be: the copy starts again, because reading or writing them once more can mend
/// it.
pub(crate) fn integrity_stop(mismatch: &Mismatch) -> Stop {
    let hint = match mismatch {
        Mismatch::Source { .. } => {
            "Nothing was written at the target. The source's bytes do not match its own checksum: read the source \
             object with another tool and compare."
        }
        Mismatch::Target { .. } => "The target may hold wrong bytes; compare it with the source before using it.",
    };
    Stop::Restart(Box::new(Fault::new(FaultClass::Integrity, mismatch.to_string()).with_hint(hint)))
}

//! Where the parts of an object wait.
//!
//! A part for which the border has room does not wait: it is streamed. Slots are for parts that are read ahead of the
//! window, so that no connection stands idle while the source answers, and for objects whose own ETag has to be
//! computed from bytes in order. In the function objects below the threshold and the pieces of a stage have them on the
//! heap, others in /tmp; the command line has them on the heap where its limit has room for all that are wanted.
//!
//! What slots are worth is measured in docs/performance.md, "Part buffers".

use crate::engine::buffer::{Ring, TooSmall};
use crate::engine::decide::plan::Cut;
use crate::engine::fault::{Fault, FaultClass};
use crate::engine::job::Job;
use crate::engine::notes::Notes;
use crate::engine::session::options::Buffering;
use crate::engine::stop::Stop;
use std::sync::Arc;

/// Slots of an object in /tmp that could as well be streamed: what is read ahead of a window of 256, so that several
/// objects of an invocation have some.
const SLOTS: usize = 32;

/// Slots for a plan, where the options and the room allow; none where there is no room for one and the parts may be
/// streamed.
pub(crate) async fn ring(job: &Job, notes: &Notes, size: u64, plan: &Cut, may_stream: bool) -> Result<Ring, Stop> {
    let most = if may_stream { SLOTS } else { job.session.parts_in_flight };
    let (slot, wanted) = (plan.slot(), plan.pieces().min(most));
    let ring = match job.session.options.buffering {
        Buffering::Memory => job.session.buffers.memory(slot).map_err(|error| budget(&error)),
        Buffering::Tmp => tmp(job, slot, wanted).await?.map_err(|error| budget(&error)),
        Buffering::Auto(threshold) if size < threshold => {
            job.session.buffers.memory(slot).map_err(|error| budget(&error))
        }
        Buffering::Fitting if job.session.buffers.has_memory(slot, wanted) => {
            job.session.buffers.memory(slot).map_err(|error| budget(&error))
        }
        Buffering::Auto(_) | Buffering::Fitting => match tmp(job, slot, wanted).await? {
            Ok(ring) => Ok(ring),
            Err(full) => match job.session.buffers.memory(slot) {
                Ok(ring) => {
                    notes.note(format!("part buffers are in memory instead of /tmp: {full}"));
                    Ok(ring)
                }
                Err(small) => Err(budget_both(&full, &small)),
            },
        },
    };
    match (ring, plan) {
        (Err(fault), Cut::Parts(_)) if may_stream => {
            notes.note(format!("all parts were streamed, because there was no room to buffer one: {}", fault.message));
            Ok(Ring::none())
        }
        (ring, Cut::Parts(_) | Cut::Put { .. }) => Ok(ring?),
    }
}

/// Slots in /tmp. Reserving blocks of a file may block on the disk.
async fn tmp(job: &Job, slot: u64, wanted: usize) -> Result<Result<Ring, TooSmall>, Stop> {
    let buffers = Arc::clone(&job.session.buffers);
    let ring = tokio::task::spawn_blocking(move || buffers.tmp(slot, wanted)).await;
    ring.map_err(|_| Fault::new(FaultClass::Internal, "the thread that reserves /tmp panicked").into())
}

pub(crate) fn budget(error: &TooSmall) -> Fault {
    let hint = match error {
        TooSmall::Memory { slot, .. } => format!(
            "Raise --memory-limit to at least {slot} bytes. For the function: MemorySize of at least twice that plus \
             96 MiB."
        ),
        TooSmall::Tmp { slot, .. } => {
            format!(
                "At least {slot} bytes are needed: raise --tmp-limit, choose a --tmp-dir with more room, or raise the \
                 template's TmpDirectorySize."
            )
        }
    };
    Fault::new(FaultClass::Budget, error.to_string()).with_hint(hint)
}

fn budget_both(tmp: &TooSmall, memory: &TooSmall) -> Fault {
    let advice = budget(memory);
    let hint = advice.hint.clone().unwrap_or_default();
    Fault::new(FaultClass::Budget, format!("{tmp}; and also {memory}"))
        .with_hint(format!("Give more room in /tmp, or more memory. {hint}"))
}

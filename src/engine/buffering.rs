//! Where the parts of an object wait.

use super::buffer::{Ring, TooSmall};
use super::job::{Buffering, Halt, Job, Notes};
use super::plan::Plan;
use super::report::Fault;
use std::sync::Arc;

/// Slots of an object in /tmp that could as well be streamed: what is read ahead of a window of 256, so that several objects
/// of an invocation have some.
const SLOTS: usize = 32;

/// Slots for a plan, where the options and the room allow; none where there is no room for one and the parts may be
/// streamed.
pub(super) async fn ring(job: &Job, notes: &Notes, size: u64, plan: &Plan, may_stream: bool) -> Result<Ring, Halt> {
    let most = if may_stream { SLOTS } else { job.options.parts_under_way };
    let (slot, wanted) = (plan.slot(), plan.pieces().min(most));
    let ring = match job.options.buffering {
        Buffering::Memory => job.buffers.memory(slot).map_err(|error| budget(&error)),
        Buffering::Tmp => tmp(job, slot, wanted).await?.map_err(|error| budget(&error)),
        Buffering::Auto(threshold) if size < threshold => job.buffers.memory(slot).map_err(|error| budget(&error)),
        Buffering::Auto(_) => match tmp(job, slot, wanted).await? {
            Ok(ring) => Ok(ring),
            Err(full) => match job.buffers.memory(slot) {
                Ok(ring) => {
                    notes.remark(format!("memory was used: {full}"));
                    Ok(ring)
                }
                Err(small) => Err(budget_both(&full, &small)),
            },
        },
    };
    match (ring, plan) {
        (Err(fault), Plan::Parts(_)) if may_stream => {
            notes.remark(format!("no part was kept while it was sent: {}", fault.message));
            Ok(Ring::none())
        }
        (ring, Plan::Parts(_) | Plan::Put { .. }) => Ok(ring?),
    }
}

/// Slots in /tmp. Reserving blocks of a file may block on the disk.
async fn tmp(job: &Job, slot: u64, wanted: usize) -> Result<Result<Ring, TooSmall>, Halt> {
    let buffers = Arc::clone(&job.buffers);
    let ring = tokio::task::spawn_blocking(move || buffers.tmp(slot, wanted)).await;
    ring.map_err(|_| Fault::new("internal", "the thread that reserves /tmp panicked").into())
}

pub(super) fn budget(error: &TooSmall) -> Fault {
    let hint = match error {
        TooSmall::Memory { slot, .. } => format!(
            "Give at least {slot} bytes: --memory-limit, or a function with that much memory and as much again besides 96 MiB."
        ),
        TooSmall::Tmp { slot, .. } => {
            format!("Give at least {slot} bytes: --tmp-limit or --tmp-dir, or the template's TmpDirectorySize.")
        }
    };
    Fault::new("budget", error.to_string()).with_hint(hint)
}

fn budget_both(tmp: &TooSmall, memory: &TooSmall) -> Fault {
    let advice = budget(memory);
    let hint = advice.hint.clone().unwrap_or_default();
    Fault::new("budget", format!("{tmp}; and {memory}")).with_hint(format!("More room in /tmp, or more memory. {hint}"))
}

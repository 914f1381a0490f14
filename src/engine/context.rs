//! What the parts of an attempt share, without behaviour.

use crate::engine::commit::TargetState;
use crate::engine::commit::stages::Stages;
use crate::engine::job::Job;
use crate::engine::notes::Notes;
use crate::engine::report::{Outcome, Proof};
use crate::engine::upload::Uploads;
use crate::s3::http::operation::Precondition;
use crate::s3::object::head::ObjectHead;
use std::sync::Arc;

pub(crate) struct Applied {
    pub(crate) source: Box<ObjectHead>,
    pub(crate) outcome: Outcome,
    pub(crate) at_target: TargetState,
    pub(crate) source_proofs: Vec<Proof>,
    pub(crate) bytes: u64,
    pub(crate) parts: u32,
    pub(crate) resumed_parts: u32,
}

pub(crate) enum AttemptResult {
    Applied(Applied),
    Gone,
}

/// What is to be written, and under which condition.
pub(crate) struct PendingWrite<'a> {
    pub(crate) head: &'a ObjectHead,
    pub(crate) seen: Option<&'a ObjectHead>,
    pub(crate) condition: Precondition,
}

pub(crate) struct Context<'a> {
    pub(crate) job: &'a Job,
    pub(crate) notes: Arc<Notes>,
    pub(crate) uploads: Uploads,
    pub(crate) stages: Stages,
}

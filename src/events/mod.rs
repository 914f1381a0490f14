//! What an invocation's payload asks for, and what its caller is told: bytes in, tasks out; reports in, an answer out.
//!
//! Owns the shapes of AWS's events and nothing of what is done about them. Of the engine it knows reports, faults and
//! tickets only; no socket, clock, environment or log.
//!
//! Every accepted event means "reconcile this key with the source's state now": the version id, ETag and type in it
//! never choose what is read, so they are not even taken out of it. What is optional in an event and malformed is
//! treated as absent; only the bucket's name and the key have to be right.

pub mod answer;
pub mod continuation;
pub(crate) mod disposition;
mod envelope;
mod eventbridge;
mod notification;
pub mod refusal;

use crate::events::fields::{fields_of, kind, parse};
use crate::events::refusal::NotAccepted;
use crate::events::task::{Invocation, Task};
use crate::s3::{Bucket, Key};
use serde_json::Value;
use std::time::Duration;

/// Reads an invocation's payload. `source` is the one bucket that this function reads; events about others are refused.
///
/// # Errors
/// [`NotAccepted`], if the payload as a whole cannot be used. A refused record among several is an `Item` of its own.
pub fn read(payload: &[u8], source: &Bucket) -> Result<Invocation, NotAccepted> {
    recognise(&parse(payload)?, source, 0)
}

fn recognise(value: &Value, source: &Bucket, depth: usize) -> Result<Invocation, NotAccepted> {
    let Some(fields) = value.as_object() else { return Err(NotAccepted::unknown(kind(value))) };
    let has = |name: &str| fields.contains_key(name);
    if let Some(key) = fields.get("test_key") {
        test_key(key).map(Invocation::One)
    } else if let Some(records) = fields.get("Records") {
        envelope::records(records, source, depth, recognise)
    } else if let Some(inside) = envelope::inside(value) {
        envelope::open(inside, source, depth, recognise)
    } else if has("detail-type") || has("detail") {
        eventbridge::read(value, source).map(Invocation::One)
    } else if fields.get("Event").and_then(Value::as_str) == Some(notification::TEST_EVENT) {
        Ok(Invocation::One(Task::Ignored { what: notification::TEST_EVENT.to_owned(), key: None }))
    } else if has("invocationSchemaVersion") {
        Err(NotAccepted::NotOffered("an invocation by S3 Batch Operations"))
    } else if let Some(op) = fields.get("op") {
        task(op, value, source)
    } else if has("BatchInput") || has("Items") {
        Err(NotAccepted::NotOffered("a task of a Step Functions state machine"))
    } else {
        Err(NotAccepted::unknown(fields_of(fields.keys())))
    }
}

/// A task of ours, by the name of its operation.
fn task(op: &Value, value: &Value, source: &Bucket) -> Result<Invocation, NotAccepted> {
    match op.as_str() {
        Some(continuation::OP) => continuation::read(value, source).map(Invocation::One),
        Some("sweep") => sweep(value),
        Some(_) | None => Err(NotAccepted::NotOffered("a task of a Step Functions state machine")),
    }
}

/// `{"op": "sweep"}`, as the template's schedule sends it.
fn sweep(value: &Value) -> Result<Invocation, NotAccepted> {
    let Some(hours) = value.get("older_than_hours").filter(|hours| !hours.is_null()) else {
        return Ok(Invocation::Sweep(None));
    };
    // An hour is more than an invocation, whose own uploads must not be swept.
    let seconds = hours.as_u64().filter(|hours| *hours > 0).and_then(|hours| hours.checked_mul(3_600));
    let age = seconds
        .ok_or_else(|| NotAccepted::unknown("a sweep whose `older_than_hours` is not a whole number of 1 or more"))?;
    Ok(Invocation::Sweep(Some(Duration::from_secs(age))))
}

/// `{"test_key": "path/to/file"}`: somebody tries the function by hand; the key is literal.
pub(crate) fn test_key(key: &Value) -> Result<Task, NotAccepted> {
    let key = key.as_str().ok_or(NotAccepted::Missing { field: "test_key", event: "the test payload".to_owned() })?;
    let key = Key::new(key)?;
    Ok(Task::Reconcile { key, size_hint: None, event_time_ms: None, event: "test_key".to_owned(), continued: None })
}

pub(crate) mod fields;
pub mod task;
#[cfg(test)]
mod tests;

//! What an invocation's payload asks for, and what its caller is told: bytes in, tasks out; reports in, an answer out.
//!
//! Owns the shapes of AWS's events and nothing of what is done about them. Knows `s3`, `engine::report` and
//! `engine::ticket` only; no
//! socket, clock, environment or log.
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
pub mod ticket;

use crate::engine::decide::ticket::Ticket;
use crate::events::refusal::NotAccepted;
use crate::s3::{Bucket, Key};
use aws_smithy_types::date_time::{DateTime, Format};
use serde_json::Value;
use std::time::Duration;

/// What one payload asks for; the caller's answer depends on which of these it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// A single EventBridge event, a `test_key` or a test event of S3's: answered with one report.
    One(Task),
    /// S3 notification records: answered with an array of reports.
    Notifications(Vec<Item>),
    /// An SQS batch: answered with the ids of the messages that failed.
    Messages(Vec<Message>),
    /// Remove what died work has left at the target and is older than this, or than the default: answered with a
    /// summary.
    Sweep(Option<Duration>),
}

/// What one record asks for, or why it was refused; a refused record fails alone.
pub type Item = Result<Task, NotAccepted>;

/// One message of an SQS batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The id that the answer calls it by.
    pub(crate) id: String,
    /// What its body asks for, whatever it was wrapped in. The message failed if one of these did.
    pub items: Vec<Item>,
    /// What SQS knows it by, if SQS delivered it itself.
    pub(crate) delivery: Option<Delivery>,
}

/// What SQS says of a message that it delivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) queue: String,
    /// By which its visibility can be changed.
    pub(crate) receipt: String,
    /// How often it was received, this time included.
    pub(crate) receives: u32,
    pub(crate) body: String,
}

/// Where an earlier invocation left an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Continuation {
    /// The upload to go on with; without one the object was only sent back to the queue, to get an invocation of its
    /// own.
    pub ticket: Option<Ticket>,
    /// How many invocations in a row came no further.
    pub fruitless: u32,
}

/// What one event asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Make the target's object equal to the source's, as the source is now.
    Reconcile {
        /// The key, decoded where its format encodes keys.
        key: Key,
        /// The size that the event told. It may be outdated: good for ordering work, not for planning it.
        size_hint: Option<u64>,
        /// When it happened at the source, in milliseconds since 1970.
        event_time_ms: Option<i64>,
        /// The event's own name, such as `Object Created` or `ObjectCreated:Put`.
        event: String,
        /// Where an earlier invocation left it, if one did.
        continued: Option<Box<Continuation>>,
    },
    /// Nothing: an event that says nothing about content.
    Ignored {
        /// The event's own name.
        what: String,
        /// The key, if it named one.
        key: Option<Key>,
    },
}

/// How many envelopes may lie around an event. A redrive of a redrive through SNS has six; beyond this somebody is
/// building a bomb.
const MAX_WRAPPING: usize = 8;

/// Reads an invocation's payload. `source` is the one bucket that this function reads; events about others are refused.
///
/// # Errors
/// [`NotAccepted`], if the payload as a whole cannot be used. A refused record among several is an [`Item`] of its own.
pub fn read(payload: &[u8], source: &Bucket) -> Result<Invocation, NotAccepted> {
    recognise(&parse(payload)?, source, 0)
}

fn parse(text: &[u8]) -> Result<Value, NotAccepted> {
    serde_json::from_slice(text).map_err(|error| NotAccepted::NotJson(error.to_string()))
}

fn recognise(value: &Value, source: &Bucket, depth: usize) -> Result<Invocation, NotAccepted> {
    let Some(fields) = value.as_object() else { return Err(NotAccepted::unknown(kind(value))) };
    let has = |name: &str| fields.contains_key(name);
    if let Some(key) = fields.get("test_key") {
        test_key(key).map(Invocation::One)
    } else if let Some(records) = fields.get("Records") {
        envelope::records(records, source, depth)
    } else if let Some(inside) = envelope::inside(value) {
        envelope::open(inside, source, depth)
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
fn test_key(key: &Value) -> Result<Task, NotAccepted> {
    let key = key.as_str().ok_or(NotAccepted::Missing { field: "test_key", event: "the test payload".to_owned() })?;
    let key = Key::new(key)?;
    Ok(Task::Reconcile { key, size_hint: None, event_time_ms: None, event: "test_key".to_owned(), continued: None })
}

/// A string somewhere below `value`.
fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

/// RFC 3339, as both kinds of events tell their time.
fn time_ms(text: &str) -> Option<i64> {
    DateTime::from_str(text, Format::DateTimeWithOffset).ok()?.to_millis().ok()
}

fn expect_bucket(found: &str, source: &Bucket) -> Result<(), NotAccepted> {
    if found == source.as_str() {
        Ok(())
    } else {
        Err(NotAccepted::ForeignBucket { found: refusal::quoted(found), configured: source.to_string() })
    }
}

fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
    .to_owned()
}

/// Names a few fields of an object that was not recognised; its values stay out of messages and logs.
fn fields_of<'a>(names: impl ExactSizeIterator<Item = &'a String>) -> String {
    const SHOWN: usize = 5;
    let more = names.len().saturating_sub(SHOWN);
    let shown: Vec<_> = names.take(SHOWN).map(|name| refusal::quoted(name)).collect();
    match (shown.is_empty(), more) {
        (true, _) => "an object without fields".to_owned(),
        (false, 0) => format!("an object with {}", shown.join(", ")),
        (false, more) => format!("an object with {} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests;

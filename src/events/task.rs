//! A payload of the function as a task: objects to reconcile, a sweep, or nothing.

use crate::engine::decide::ticket::Ticket;
use crate::events::refusal::NotAccepted;
use crate::s3::Key;
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
    /// Remove what dead work has left at the target and is older than this, or than the default: answered with a
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
    /// The upload to resume; without one the object was only sent back to the queue, to get an invocation of its
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

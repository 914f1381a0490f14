//! What lies around an event: record lists, SQS messages, SNS notifications, on-failure records of Lambda's.
//!
//! A dead letter is the message that it was, so that a redrive needs nothing but these. Envelopes are opened to a fixed
//! depth: each may hold any other.

use crate::events::fields::{kind, parse, text};
use crate::events::notification;
use crate::events::refusal::{MAX_WRAPPING, NotAccepted, quoted};
use crate::events::task::{Delivery, Invocation, Item, Message};
use crate::s3::Bucket;
use serde_json::Value;

/// What recognises a payload that was found inside; it is given, since it opens envelopes itself.
pub(crate) type Recognise = fn(&Value, &Bucket, usize) -> Result<Invocation, NotAccepted>;

/// What an envelope around a single payload holds; `None` if it is not one.
pub(crate) fn inside(value: &Value) -> Option<&Value> {
    // "Lambda asynchronous invocation records": to a queue or topic as such, to a bus as the detail of its own event.
    if let Some(payload) = value.get("requestPayload") {
        return Some(payload);
    }
    if text(value, "/source") == Some("lambda") {
        return value.pointer("/detail/requestPayload");
    }
    // "Amazon SNS message formats": what a queue gets without raw message delivery.
    if text(value, "/Type") == Some("Notification") { value.get("Message") } else { None }
}

/// Opens one: the payload is JSON, or a string that holds JSON.
pub(crate) fn open(
    inside: &Value,
    source: &Bucket,
    depth: usize,
    recognise: Recognise,
) -> Result<Invocation, NotAccepted> {
    if depth >= MAX_WRAPPING {
        return Err(NotAccepted::TooDeep);
    }
    match inside.as_str() {
        Some(text) => recognise(&parse(text.as_bytes())?, source, depth + 1),
        None => recognise(inside, source, depth + 1),
    }
}

/// `Records`: those of S3's notifications, or messages of a queue.
pub(crate) fn records(
    records: &Value,
    source: &Bucket,
    depth: usize,
    recognise: Recognise,
) -> Result<Invocation, NotAccepted> {
    let Some(records) = records.as_array() else {
        return Err(NotAccepted::unknown(format!("an object whose `Records` is {}", kind(records))));
    };
    match records.first().map(RecordSource::of) {
        None => Err(NotAccepted::unknown("an empty list of records")),
        Some(RecordSource::S3) => {
            Ok(Invocation::Notifications(records.iter().map(|record| notification(record, source)).collect()))
        }
        Some(RecordSource::Sqs) => {
            let messages: Result<_, _> =
                records.iter().map(|record| message(record, source, depth, recognise)).collect();
            Ok(Invocation::Messages(messages?))
        }
        Some(RecordSource::Other(name)) => Err(NotAccepted::unknown(name)),
    }
}

enum RecordSource {
    S3,
    Sqs,
    Other(String),
}

impl RecordSource {
    fn of(record: &Value) -> Self {
        // SNS alone writes the name with a capital.
        match text(record, "/eventSource").or_else(|| text(record, "/EventSource")) {
            Some("aws:s3") => Self::S3,
            Some("aws:sqs") => Self::Sqs,
            Some(other) => Self::Other(format!("records of {}", quoted(other))),
            None if record.get("s3").is_some() => Self::S3,
            None if record.get("body").is_some() => Self::Sqs,
            None => Self::Other("records without an `eventSource`".to_owned()),
        }
    }
}

fn notification(record: &Value, source: &Bucket) -> Item {
    match RecordSource::of(record) {
        RecordSource::S3 => notification::read(record, source),
        RecordSource::Sqs => Err(NotAccepted::unknown("an SQS message among S3's records")),
        RecordSource::Other(name) => Err(NotAccepted::unknown(name)),
    }
}

/// A message fails alone, but only by its id: without one the whole batch has to be refused, or SQS would take the
/// message for done.
fn message(record: &Value, source: &Bucket, depth: usize, recognise: Recognise) -> Result<Message, NotAccepted> {
    let missing = |field| NotAccepted::Missing { field, event: "an SQS message".to_owned() };
    let id = text(record, "/messageId").filter(|id| !id.is_empty()).ok_or_else(|| missing("messageId"))?;
    let items = match record.get("body") {
        Some(body @ Value::String(_)) => items(open(body, source, depth, recognise)),
        _ => vec![Err(missing("body"))],
    };
    Ok(Message { id: id.to_owned(), items, delivery: delivery(record) })
}

/// A message that was put together by hand has no receipt, and is answered all the same.
fn delivery(record: &Value) -> Option<Delivery> {
    let receives = text(record, "/attributes/ApproximateReceiveCount").and_then(|count| count.parse().ok());
    Some(Delivery {
        queue: text(record, "/eventSourceARN")?.to_owned(),
        receipt: text(record, "/receiptHandle")?.to_owned(),
        receives: receives.unwrap_or(1),
        body: text(record, "/body")?.to_owned(),
    })
}

/// A batch inside a message has nobody to answer to: its messages count as the outer one's items.
fn items(body: Result<Invocation, NotAccepted>) -> Vec<Item> {
    match body {
        Ok(Invocation::One(task)) => vec![Ok(task)],
        Ok(Invocation::Notifications(items)) => items,
        Ok(Invocation::Messages(messages)) => messages.into_iter().flat_map(|message| message.items).collect(),
        Ok(Invocation::Sweep(_)) => vec![Err(NotAccepted::NotOffered("a sweep sent as a queue message"))],
        Err(refused) => vec![Err(refused)],
    }
}

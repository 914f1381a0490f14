//! The message by which one invocation leaves an object to another: ours, in the queue that events come from.
//!
//! It says where the work stands and nothing about what is right: whoever gets it reconciles the key as for any event.

use crate::events::fields::{expect_bucket, text};
use crate::events::refusal::NotAccepted;
use crate::events::task::{Continuation, Task};
use crate::report::ticket::{read_ticket, ticket_json};
use crate::s3::{Bucket, Key};
use serde_json::{Value, json};

/// The operation's name.
pub(crate) const OP: &str = "continue";

/// The message that leaves a task to another invocation.
pub fn continuation(source: &Bucket, key: &Key, size: Option<u64>, time_ms: Option<i64>, at: &Continuation) -> Value {
    json!({
        "op": OP,
        "bucket": source.as_str(),
        "key": key.as_str(),
        "size": size,
        "event_time_ms": time_ms,
        "fruitless": at.fruitless,
        "ticket": at.ticket.as_ref().map(ticket_json),
    })
}

pub(crate) fn read(value: &Value, source: &Bucket) -> Result<Task, NotAccepted> {
    let missing = |field| NotAccepted::Missing { field, event: "a continuation".to_owned() };
    expect_bucket(text(value, "/bucket").ok_or_else(|| missing("bucket"))?, source)?;
    let key = Key::new(text(value, "/key").ok_or_else(|| missing("key"))?)?;
    let fruitless = value.get("fruitless").and_then(Value::as_u64).unwrap_or(0);
    Ok(Task::Reconcile {
        key,
        size_hint: value.get("size").and_then(Value::as_u64),
        event_time_ms: value.get("event_time_ms").and_then(Value::as_i64),
        event: OP.to_owned(),
        continued: Some(Box::new(Continuation {
            // One that cannot be read, of another version of this program, is none: the object is copied from the
            // start.
            ticket: value.get("ticket").and_then(read_ticket),
            fruitless: u32::try_from(fruitless).unwrap_or(u32::MAX),
        })),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::read as read_payload;
    use crate::events::task::Invocation;

    fn bucket() -> Bucket {
        Bucket::new("a-bucket").unwrap()
    }

    #[test]
    fn what_is_left_is_found() {
        let key = Key::new("a+b %20/é//").unwrap();
        let at = Continuation { ticket: None, fruitless: 2 };
        let payload = continuation(&bucket(), &key, Some(7), Some(9), &at).to_string();
        let expected = Task::Reconcile {
            key,
            size_hint: Some(7),
            event_time_ms: Some(9),
            event: "continue".into(),
            continued: Some(Box::new(at)),
        };
        assert_eq!(read_payload(payload.as_bytes(), &bucket()), Ok(Invocation::One(expected)));
    }

    #[test]
    fn one_about_another_bucket_or_about_nothing_is_refused() {
        let key = Key::new("k").unwrap();
        let foreign = continuation(&Bucket::new("other").unwrap(), &key, None, None, &Continuation::default());
        assert!(matches!(read(&foreign, &bucket()), Err(NotAccepted::ForeignBucket { .. })));
        for bad in [json!({ "op": OP }), json!({ "op": OP, "bucket": "a-bucket" })] {
            assert!(matches!(read(&bad, &bucket()), Err(NotAccepted::Missing { .. })), "{bad}");
        }
    }
}

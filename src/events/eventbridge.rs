//! S3's events as EventBridge delivers them ("EventBridge event message structure").
//!
//! The key is literal here and never decoded: `a+b` is `a+b` and `%20` is three characters.

use crate::events::fields::{expect_bucket, text, time_ms};
use crate::events::refusal::{NotAccepted, quoted};
use crate::events::task::Task;
use crate::s3::{Bucket, Key};
use serde_json::Value;

/// The types that can mean that the source's current object is another one, or can be read at last.
const RECONCILED: [&str; 3] = ["Object Created", "Object Deleted", "Object Restore Completed"];

pub(crate) fn read(event: &Value, source: &Bucket) -> Result<Task, NotAccepted> {
    match text(event, "/source") {
        Some("aws.s3") => {}
        Some(other) => return Err(NotAccepted::unknown(format!("an EventBridge event of {}", quoted(other)))),
        None => return Err(NotAccepted::unknown("an EventBridge event without a `source`")),
    }
    let Some(name) = text(event, "/detail-type") else {
        return Err(NotAccepted::Missing { field: "detail-type", event: "an EventBridge event".to_owned() });
    };
    let missing = |field| NotAccepted::Missing { field, event: format!("the EventBridge event {}", quoted(name)) };
    let (bucket, key) = (text(event, "/detail/bucket/name"), text(event, "/detail/object/key"));
    if !RECONCILED.contains(&name) {
        // Other types have other shapes, CloudTrail's among them; a bucket is compared where there is one.
        bucket.map_or(Ok(()), |bucket| expect_bucket(bucket, source))?;
        return Ok(Task::Ignored { what: name.to_owned(), key: key.and_then(|key| Key::new(key).ok()) });
    }
    expect_bucket(bucket.ok_or_else(|| missing("detail.bucket.name"))?, source)?;
    Ok(Task::Reconcile {
        key: Key::new(key.ok_or_else(|| missing("detail.object.key"))?)?,
        size_hint: event.pointer("/detail/object/size").and_then(Value::as_u64),
        event_time_ms: text(event, "/time").and_then(time_ms),
        event: name.to_owned(),
        continued: None,
    })
}

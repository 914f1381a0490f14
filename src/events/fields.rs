//! Reading strings and numbers out of JSON payloads.

use crate::events::refusal::{self, NotAccepted};
use crate::s3::Bucket;
use aws_smithy_types::date_time::{DateTime, Format};
use serde_json::Value;

pub(crate) fn parse(text: &[u8]) -> Result<Value, NotAccepted> {
    serde_json::from_slice(text).map_err(|error| NotAccepted::NotJson(error.to_string()))
}

/// A string somewhere below `value`.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

/// RFC 3339, as both kinds of events tell their time.
pub(crate) fn time_ms(text: &str) -> Option<i64> {
    DateTime::from_str(text, Format::DateTimeWithOffset).ok()?.to_millis().ok()
}

pub(crate) fn expect_bucket(found: &str, source: &Bucket) -> Result<(), NotAccepted> {
    if found == source.as_str() {
        Ok(())
    } else {
        Err(NotAccepted::ForeignBucket { found: refusal::quoted(found), configured: source.to_string() })
    }
}

pub(crate) fn kind(value: &Value) -> String {
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
pub(crate) fn fields_of<'a>(names: impl ExactSizeIterator<Item = &'a String>) -> String {
    const SHOWN: usize = 5;
    let more = names.len().saturating_sub(SHOWN);
    let shown: Vec<_> = names.take(SHOWN).map(|name| refusal::quoted(name)).collect();
    match (shown.is_empty(), more) {
        (true, _) => "an object without fields".to_owned(),
        (false, 0) => format!("an object with {}", shown.join(", ")),
        (false, more) => format!("an object with {} and {more} more", shown.join(", ")),
    }
}

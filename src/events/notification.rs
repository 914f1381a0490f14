//! Records of S3's event notifications ("Event message structure").
//!
//! The key is form-encoded here and decoded exactly once: `+` is a blank, `%2B` a plus.

use crate::events::fields::{expect_bucket, text, time_ms};
use crate::events::refusal::{NotAccepted, quoted};
use crate::events::task::Task;
use crate::s3::{Bucket, Key};
use serde_json::Value;

/// What S3 sends when a notification is configured; it has no records.
pub(crate) const TEST_EVENT: &str = "s3:TestEvent";

/// "Supported event types": those that can mean that the source's current object is another one, or can be read at
/// last.
const RECONCILED: [&str; 4] = ["ObjectCreated:", "ObjectRemoved:", "ObjectRestore:Completed", "LifecycleExpiration:"];

pub(crate) fn read(record: &Value, source: &Bucket) -> Result<Task, NotAccepted> {
    // "Event message structure": a new major version is an incompatible one.
    if let Some(version) = text(record, "/eventVersion").filter(|version| version.split('.').next() != Some("2")) {
        let found = format!("an S3 notification record of version {} (only 2.x is known)", quoted(version));
        return Err(NotAccepted::unknown(found));
    }
    // S3 writes the names without the prefix that their configuration has; servers like it write it.
    let name = text(record, "/eventName").map(|name| name.strip_prefix("s3:").unwrap_or(name));
    let missing = |field| NotAccepted::Missing { field, event: "an S3 notification record".to_owned() };
    let (bucket, key) = (text(record, "/s3/bucket/name"), text(record, "/s3/object/key"));
    if let Some(other) = name.filter(|name| !RECONCILED.iter().any(|known| name.starts_with(known))) {
        bucket.map_or(Ok(()), |bucket| expect_bucket(bucket, source))?;
        return Ok(Task::Ignored { what: other.to_owned(), key: key.and_then(|key| decoded(key).ok()) });
    }
    expect_bucket(bucket.ok_or_else(|| missing("s3.bucket.name"))?, source)?;
    Ok(Task::Reconcile {
        key: decoded(key.ok_or_else(|| missing("s3.object.key"))?)?,
        size_hint: record.pointer("/s3/object/size").and_then(Value::as_u64),
        event_time_ms: text(record, "/eventTime").and_then(time_ms),
        // A record that does not say what happened still says where; looking there is always right.
        event: name.unwrap_or("S3 notification").to_owned(),
        continued: None,
    })
}

/// Undoes S3's form encoding. A `%` that starts no escape is refused: S3 never sends one, so whatever the key went
/// through on its way, it is not known what it was.
fn decoded(encoded: &str) -> Result<Key, NotAccepted> {
    let refused = || NotAccepted::Encoding { found: quoted(encoded) };
    let hex = |digit: Option<u8>| digit.and_then(|digit| char::from(digit).to_digit(16));
    let mut plain = Vec::with_capacity(encoded.len());
    let mut bytes = encoded.bytes();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (high, low) = (hex(bytes.next()), hex(bytes.next()));
                let value = high.zip(low).map(|(high, low)| high * 16 + low);
                value.and_then(|value| u8::try_from(value).ok()).ok_or_else(refused)?
            }
            other => other,
        });
    }
    let plain = String::from_utf8(plain).map_err(|_| refused())?;
    Ok(Key::new(&plain)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As S3 does: letters, digits, `-_.*` and the slash stand for themselves.
    fn encoded(key: &str) -> String {
        key.bytes()
            .map(|byte| match byte {
                b' ' => "+".to_owned(),
                b'-' | b'_' | b'.' | b'*' | b'/' => char::from(byte).to_string(),
                _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
                _ => format!("%{byte:02X}"),
            })
            .collect()
    }

    #[test]
    fn keys_are_decoded_once() {
        let check = |text: &str, expected: &str| assert_eq!(decoded(text).unwrap().as_str(), expected);
        check("plain/key.txt", "plain/key.txt");
        check("a+b%2Bc", "a b+c");
        check("%252B", "%2B");
        check("%e6%97%A5", "日");
        check("日", "日");
        check("//./..//", "//./..//");
        check("%00%0A", "\0\n");
    }

    #[test]
    fn what_does_not_decode_is_refused() {
        for bad in ["%", "100%", "%4", "%zz", "%+1", "%C3", "%C3+", "%ff"] {
            assert_eq!(decoded(bad), Err(NotAccepted::Encoding { found: format!("`{bad}`") }));
        }
        assert!(matches!(decoded(""), Err(NotAccepted::Key(_))));
        assert!(decoded(&"%41".repeat(1024)).is_ok());
        assert!(matches!(decoded(&"a".repeat(1025)), Err(NotAccepted::Key(_))));
    }

    proptest! {
        #[test]
        fn a_key_that_s3_encoded_decodes_to_itself(key in "\\PC{1,200}|[ -~]{1,200}|[\u{0}-\u{1f}+%]{1,50}") {
            prop_assert_eq!(decoded(&encoded(&key)), Ok(Key::new(&key).unwrap()));
        }
    }
}

//! Event JSON: whatever comes, a key is a key; and every way in which a key is told, alone or in envelopes, tells that
//! very key.
#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use xpsync::events::read;
use xpsync::events::task::{Invocation, Item, Task};
use xpsync::s3::{Bucket, Key};
use xpsync_fuzz::{any_key, url};

fuzz_target!(|data: &[u8]| {
    // The bucket of tests/fixtures/events, which are seeds.
    let source = Bucket::new("cn-data").unwrap();
    if let Ok(invocation) = read(data, &source) {
        for key in keys(&invocation).into_iter().flatten() {
            assert!((1..=Key::MAX_BYTES).contains(&key.as_str().len()));
        }
    }
    let mut u = Unstructured::new(data);
    let Ok(key) = any_key(&mut u) else { return };
    let text = key.as_str();
    let literal = json!({
        "source": "aws.s3", "detail-type": "Object Created",
        "detail": { "bucket": { "name": "cn-data" }, "object": { "key": text } },
    });
    let record = json!({
        "eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
        "s3": { "bucket": { "name": "cn-data" }, "object": { "key": url(text) } },
    });
    let encoded = json!({ "Records": [record] });
    let by_hand = json!({ "test_key": text });
    for event in [literal, encoded, by_hand] {
        let mut event = event;
        // Envelopes as the fuzzer likes them, no deeper than is accepted.
        for _ in 0..u.int_in_range(0..=6).unwrap_or(0) {
            event = wrapped(&event, u.arbitrary().unwrap_or(0));
        }
        let invocation = read(event.to_string().as_bytes(), &source);
        assert_eq!(invocation.as_ref().map(|all| keys(all)), Ok(vec![Some(key.clone())]), "{event}");
    }
});

/// The event in one more envelope.
fn wrapped(event: &Value, kind: u8) -> Value {
    match kind % 4 {
        0 => json!({ "Records": [{ "messageId": "1", "eventSource": "aws:sqs", "body": event.to_string() }] }),
        1 => json!({ "Type": "Notification", "Message": event.to_string() }),
        2 => json!({ "version": "1.0", "requestPayload": event }),
        _ => json!({ "source": "lambda", "detail": { "requestPayload": event } }),
    }
}

/// The key of each record; none for one that was refused.
fn keys(invocation: &Invocation) -> Vec<Option<Key>> {
    let key = |item: &Item| match item {
        Ok(Task::Reconcile { key, .. }) => Some(key.clone()),
        Ok(Task::Ignored { key, .. }) => key.clone(),
        Err(_) => None,
    };
    match invocation {
        Invocation::One(task) => vec![key(&Ok(task.clone()))],
        Invocation::Notifications(items) => items.iter().map(key).collect(),
        Invocation::Messages(messages) => messages.iter().flat_map(|message| &message.items).map(key).collect(),
        Invocation::Sweep(_) => Vec::new(),
    }
}

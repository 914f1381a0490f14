//! Payloads of every kind, and the tasks that they become.

use super::*;
use crate::events::refusal::MAX_WRAPPING;
use crate::events::task::Item;
use proptest::prelude::*;
use serde_json::json;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../tests/fixtures/events/", $name, ".json"))
    };
}

/// 2021-11-12T00:00:00Z.
const EVENTBRIDGE_MS: i64 = 1_636_675_200_000;

fn source() -> Bucket {
    Bucket::new("cn-data").unwrap()
}

fn work(key: &str, event: &str, size_hint: Option<u64>, event_time_ms: Option<i64>) -> Task {
    Task::Reconcile { key: Key::new(key).unwrap(), size_hint, event_time_ms, event: event.to_owned(), continued: None }
}

fn ignored(what: &str, key: Option<&str>) -> Task {
    Task::Ignored { what: what.to_owned(), key: key.map(|key| Key::new(key).unwrap()) }
}

/// A recorded payload, and the one task that it asks for.
fn check_one(payload: &[u8], expected: Task) {
    assert_eq!(read(payload, &source()), Ok(Invocation::One(expected)));
}

fn created() -> Task {
    work("photos/a+b %20.png", "Object Created", Some(5), Some(EVENTBRIDGE_MS))
}

fn put() -> Task {
    work("dir/a+b c日.txt", "ObjectCreated:Put", Some(1024), Some(1_250))
}

fn several() -> Vec<Item> {
    vec![
        Ok(work("large", "ObjectCreated:CompleteMultipartUpload", Some(5_368_709_120), Some(1_250))),
        Ok(work("removed", "ObjectRemoved:DeleteMarkerCreated", None, Some(1_250))),
        Ok(work("restored", "ObjectRestore:Completed", Some(1024), Some(1_250))),
        Ok(work("expired", "LifecycleExpiration:Delete", None, Some(1_250))),
        Ok(ignored("ObjectTagging:Put", Some("tagged"))),
    ]
}

#[test]
fn eventbridge_events_about_content_are_reconciled() {
    let time = Some(EVENTBRIDGE_MS);
    check_one(fixture!("eventbridge-object-created"), created());
    check_one(fixture!("eventbridge-object-created-by-copy"), work("copy", "Object Created", Some(7), time));
    check_one(fixture!("eventbridge-object-deleted"), work("gone", "Object Deleted", None, time));
    check_one(fixture!("eventbridge-object-deleted-by-lifecycle"), work("expired", "Object Deleted", None, time));
    let restored = work("archived", "Object Restore Completed", Some(56), time);
    check_one(fixture!("eventbridge-object-restore-completed"), restored);
}

#[test]
fn other_events_of_s3_are_ignored_by_name() {
    check_one(fixture!("eventbridge-object-tags-added"), ignored("Object Tags Added", Some("tagged")));
    check_one(fixture!("eventbridge-cloudtrail"), ignored("AWS API Call via CloudTrail", None));
    check_one(fixture!("notification-test-event"), ignored("s3:TestEvent", None));
}

#[test]
fn a_test_key_is_literal() {
    check_one(br#"{"test_key":"a+b%20/c"}"#, work("a+b%20/c", "test_key", None, None));
}

#[test]
fn notification_records_are_a_list() {
    let list = |payload: &[u8]| read(payload, &source());
    assert_eq!(list(fixture!("notification-put")), Ok(Invocation::Notifications(vec![Ok(put())])));
    assert_eq!(list(fixture!("notification-several")), Ok(Invocation::Notifications(several())));
}

#[test]
fn only_the_bucket_and_the_key_are_needed() {
    let event = json!({"source": "aws.s3", "detail-type": "Object Created", "time": "yesterday",
        "detail": {"bucket": {"name": "cn-data"}, "object": {"key": "k", "size": "5", "etag": 7, "version-id": []}}});
    check_one(event.to_string().as_bytes(), work("k", "Object Created", None, None));
    let record = json!({"Records": [{"s3": {"bucket": {"name": "cn-data"}, "object": {"key": "k"}}}]});
    let expected = Invocation::Notifications(vec![Ok(work("k", "S3 notification", None, None))]);
    assert_eq!(read(record.to_string().as_bytes(), &source()), Ok(expected));
}

#[test]
fn a_queue_may_carry_every_kind_of_event() {
    let Ok(Invocation::Messages(messages)) = read(fixture!("sqs-batch"), &source()) else { panic!() };
    let ids: Vec<_> = messages.iter().map(|message| &message.id[32..]).collect();
    assert_eq!(ids, ["0001", "0002", "0003", "0004", "0005", "0006"]);
    let items: Vec<_> = messages.into_iter().map(|message| message.items).collect();
    assert_eq!(items[0], [Ok(created())]);
    assert_eq!(items[1], several());
    assert_eq!(items[2], [Ok(ignored("s3:TestEvent", None))]);
    assert_eq!(items[3], [Ok(work("by/hand", "test_key", None, None))]);
    assert_eq!(items[4], [Ok(put())]);
    assert!(matches!(items[5][..], [Err(NotAccepted::NotJson(_))]));
}

#[test]
fn a_redrive_is_just_another_invocation() {
    let Ok(Invocation::Messages(messages)) = read(fixture!("sqs-redriven"), &source()) else { panic!() };
    let items: Vec<_> = messages.into_iter().map(|message| message.items).collect();
    assert_eq!(items, [vec![Ok(created())], vec![Ok(put())]]);
    check_one(fixture!("lambda-on-failure-by-eventbridge"), created());
    let Ok(Invocation::Messages(messages)) = read(fixture!("lambda-on-failure"), &source()) else { panic!() };
    assert_eq!(messages[0].items, [Ok(created())]);
}

#[test]
fn envelopes_are_opened_to_a_fixed_depth() {
    let wrapped = |depth: usize| {
        let event = json!({"test_key": "k"});
        (0..depth).fold(event, |inside, _| json!({"requestPayload": inside})).to_string()
    };
    check_one(wrapped(MAX_WRAPPING).as_bytes(), work("k", "test_key", None, None));
    assert_eq!(read(wrapped(MAX_WRAPPING + 1).as_bytes(), &source()), Err(NotAccepted::TooDeep));
    let text = (0..=MAX_WRAPPING).fold(r#"{"test_key":"k"}"#.to_owned(), |inside, _| {
        json!({"Type": "Notification", "Message": inside}).to_string()
    });
    assert_eq!(read(text.as_bytes(), &source()), Err(NotAccepted::TooDeep));
}

/// A payload that is refused as a whole, and how its message begins.
fn check_refused(payload: &[u8], beginning: &str) {
    let message = read(payload, &source()).unwrap_err().to_string();
    assert!(message.starts_with(beginning), "{message}");
}

#[test]
fn what_is_not_an_event_is_refused_by_what_it_is() {
    check_refused(b"", "found what is not JSON (EOF while parsing");
    check_refused(b"\xff{}", "found what is not JSON (expected value");
    check_refused(br#"{"test_key":"\ud800"}"#, "found what is not JSON (");
    check_refused(
        b"[]",
        "found an array, which this function does not accept; expected an EventBridge event of aws.s3, {",
    );
    check_refused(b"null", "found null, which this function does not accept;");
    check_refused(b"{}", "found an object without fields, which this function does not accept;");
    check_refused(
        br#"{"key":"k","Bucket":"b"}"#,
        "found an object with `key`, `Bucket`, which this function does not accept;",
    );
    let many = br#"{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1}"#;
    check_refused(
        many,
        "found an object with `a`, `b`, `c`, `d`, `e` and 2 more, which this function does not accept;",
    );
    check_refused(
        br#"{"Records":{}}"#,
        "found an object whose `Records` is an object, which this function does not accept;",
    );
    check_refused(br#"{"Records":[]}"#, "found an empty list of records, which this function does not accept;");
    check_refused(
        br#"{"Records":[1]}"#,
        "found records without an `eventSource`, which this function does not accept;",
    );
    check_refused(
        br#"{"Records":[{"eventSource":"aws:kinesis"}]}"#,
        "found records of `aws:kinesis`, which this function does not accept;",
    );
    check_refused(fixture!("sns-direct"), "found records of `aws:sns`, which this function does not accept;");
    check_refused(
        br#"{"source":"aws.ec2","detail-type":"X"}"#,
        "found an EventBridge event of `aws.ec2`, which this function does not accept;",
    );
    check_refused(
        br#"{"detail":{}}"#,
        "found an EventBridge event without a `source`, which this function does not accept;",
    );
    check_refused(br#"{"requestPayload":"{"}"#, "found what is not JSON (EOF");
}

#[test]
fn what_other_versions_do_is_refused_by_name() {
    let batch = "an invocation by S3 Batch Operations is not supported by this version; expected an EventBridge event";
    check_refused(fixture!("batch-operations-1.0"), batch);
    check_refused(fixture!("batch-operations-2.0"), batch);
    let machine = "a task of a Step Functions state machine is not supported by this version;";
    check_refused(fixture!("step-functions-items"), machine);
    check_refused(br#"{"op":"plan","key":"k"}"#, machine);
}

#[test]
fn a_sweep_is_a_task_of_its_own() {
    let check = |payload: &str, expected: Option<u64>| {
        assert_eq!(read(payload.as_bytes(), &source()), Ok(Invocation::Sweep(expected.map(Duration::from_hours))));
    };
    check(r#"{"op":"sweep"}"#, None);
    check(r#"{"op":"sweep","older_than_hours":null,"more":1}"#, None);
    check(r#"{"op":"sweep","older_than_hours":36}"#, Some(36));
    let wrong = "found a sweep whose `older_than_hours` is not a whole number of 1 or more, which this function does \
                 not accept;";
    for hours in ["0", "-1", "1.5", "\"7\"", "18446744073709551615"] {
        check_refused(format!(r#"{{"op":"sweep","older_than_hours":{hours}}}"#).as_bytes(), wrong);
    }
    let body = json!({"op": "sweep"}).to_string();
    let message = json!({"Records": [{"messageId": "1", "eventSource": "aws:sqs", "body": body}]}).to_string();
    let Ok(Invocation::Messages(messages)) = read(message.as_bytes(), &source()) else { panic!() };
    assert!(matches!(messages[0].items[..], [Err(NotAccepted::NotOffered(_))]));
}

fn eventbridge(detail: &Value) -> Vec<u8> {
    json!({"source": "aws.s3", "detail-type": "Object Created", "detail": detail}).to_string().into_bytes()
}

#[test]
fn an_event_without_a_usable_bucket_or_key_is_refused() {
    let bucket = json!({"name": "cn-data"});
    let check = |detail: Value, beginning: &str| check_refused(&eventbridge(&detail), beginning);
    let missing =
        |field: &str| format!("the EventBridge event `Object Created` has no field `{field}`, or it is not a string");
    check(json!({"object": {"key": "k"}}), &missing("detail.bucket.name"));
    check(json!({"bucket": {"name": 1}, "object": {"key": "k"}}), &missing("detail.bucket.name"));
    check(json!({"bucket": bucket, "object": {}}), &missing("detail.object.key"));
    let wrong_key = "the event's key is not a valid S3 key: an object key has 1 to 1,024 bytes of UTF-8, this one has";
    check(json!({"bucket": bucket, "object": {"key": ""}}), &format!("{wrong_key} 0"));
    check(json!({"bucket": bucket, "object": {"key": "é".repeat(513)}}), &format!("{wrong_key} 1026"));
    check_refused(br#"{"test_key":""}"#, &format!("{wrong_key} 0"));
    check_refused(br#"{"test_key":["k"]}"#, "the test payload has no field `test_key`, or it is not a string");
    check_refused(br#"{"source":"aws.s3","detail":{}}"#, "an EventBridge event has no field `detail-type`");
}

#[test]
fn a_foreign_bucket_is_refused_with_both_names() {
    let message = "the event is about bucket `other`, but this function reads only `cn-data`";
    check_refused(&eventbridge(&json!({"bucket": {"name": "other"}, "object": {"key": "k"}})), message);
    let acl = br#"{"source":"aws.s3","detail-type":"Object ACL Updated","detail":{"bucket":{"name":"other"}}}"#;
    check_refused(acl, message);
}

#[test]
fn a_refused_record_fails_alone() {
    let record = |bucket: &str, version: &str| json!({"eventSource": "aws:s3", "eventVersion": version, "s3": {"bucket": {"name": bucket}, "object": {"key": "k"}}});
    let records = json!({"Records": [record("cn-data", "2.6"), record("other", "2.6"), record("cn-data", "3.0"),
        {"eventSource": "aws:s3"}, {"eventSource": "aws:sqs"}, {"eventSource": "aws:kinesis"}]});
    let Ok(Invocation::Notifications(items)) = read(records.to_string().as_bytes(), &source()) else { panic!() };
    let messages: Vec<_> = items.iter().map(|item| item.as_ref().err().map(ToString::to_string)).collect();
    let check = |index: usize, beginning: &str| {
        let message: &str = messages[index].as_ref().unwrap();
        assert!(message.starts_with(beginning), "{message}");
    };
    assert_eq!(messages[0], None);
    check(1, "the event is about bucket `other`");
    check(2, "found an S3 notification record of version `3.0` (only 2.x is known)");
    check(3, "an S3 notification record has no field `s3.bucket.name`");
    check(4, "found an SQS message among S3's records");
    check(5, "found records of `aws:kinesis`");
}

#[test]
fn a_message_without_an_id_refuses_the_batch() {
    let missing = "an SQS message has no field `messageId`";
    check_refused(br#"{"Records":[{"eventSource":"aws:sqs","body":"{}"}]}"#, missing);
    check_refused(br#"{"Records":[{"messageId":"","body":"{}"}]}"#, missing);
    let batch = br#"{"Records":[{"eventSource":"aws:sqs","messageId":"m"},{"messageId":"n","body":{}}]}"#;
    let Ok(Invocation::Messages(messages)) = read(batch, &source()) else { panic!() };
    for message in messages {
        let [Err(refused)] = &message.items[..] else { panic!() };
        assert!(refused.to_string().starts_with("an SQS message has no field `body`"));
    }
}

/// JSON made of the words that the readers look for, so that random values get past the first of them.
fn events() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "Records",
        "eventSource",
        "eventName",
        "eventVersion",
        "eventTime",
        "s3",
        "bucket",
        "object",
        "name",
        "key",
        "size",
        "messageId",
        "body",
        "source",
        "detail-type",
        "detail",
        "time",
        "requestPayload",
        "Type",
        "Message",
        "test_key",
        "Event",
        "op",
        "invocationSchemaVersion",
    ]);
    let text = prop::sample::select(vec![
        "aws:s3",
        "aws:sqs",
        "aws.s3",
        "lambda",
        "Notification",
        "Object Created",
        "Object Deleted",
        "cn-data",
        "2.1",
        "ObjectCreated:Put",
        "s3:TestEvent",
        "a%2Bb",
        "%",
        "",
        "{\"test_key\":\"k\"}",
        "1970-01-01T00:00:00Z",
    ]);
    let leaf = prop_oneof![
        4 => text.prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(8, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            inner.clone().prop_map(|inner| Value::from(inner.to_string())),
            prop::collection::vec((word.clone(), inner), 0..8)
                .prop_map(|fields| fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_can_make_reading_panic(payload: Vec<u8>) {
        let _answer = read(&payload, &source());
    }

    #[test]
    fn no_json_can_make_reading_panic(event in events()) {
        if let Err(refused) = read(event.to_string().as_bytes(), &source()) {
            prop_assert!(refused.to_string().len() < 2_000);
        }
    }

    #[test]
    fn a_literal_key_is_kept_as_it_is(key in "\\PC{1,250}|[ -~]{1,250}") {
        let payload = eventbridge(&json!({"bucket": {"name": "cn-data"}, "object": {"key": key}}));
        prop_assert_eq!(read(&payload, &source()), Ok(Invocation::One(work(&key, "Object Created", None, None))));
    }
}

//! The function as Lambda calls it: payload in, answer out.

use crate::rig::world::{World, batch, created, event, hint};
use crate::rig::{KIB, content, count, on, put};
use fakes::fault::faults::{Action, Fault};
use fakes::store::attributes::Attributes;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use xpsync::demo::pair::{Pair, SOURCE_BUCKET, TARGET_BUCKET};
use xpsync::events::answer::Answer;
use xpsync::wire::gate::Boxed;
use xpsync::wire::net::connect::{Connect, ConnectError, Connected, Origin};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_answered_with_the_report_of_its_object() {
    let world = World::new().await;
    put(&world.pair, "a b+c", content(KIB, 1));
    let report = world.report(&created("a b+c")).await;
    assert_eq!(
        (&report["outcome"], &report["bytes"], &report["source"]["key"]),
        (&json!("copied"), &json!(KIB), &json!("a b+c"))
    );
    assert!(world.has("a b+c"));
    assert_eq!(world.report(&created("a b+c")).await["outcome"], "unchanged");
    assert_eq!(world.report(&json!({ "test_key": "a b+c" })).await["outcome"], "unchanged");
    assert_eq!(world.vault.calls(), 1, "the secret is fetched once per sandbox");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_about_an_object_that_is_gone_is_superseded_and_removes_nothing() {
    let world = World::new().await;
    put(&world.pair, "k", content(KIB, 1));
    world.report(&created("k")).await;
    world.pair.source.store().delete(SOURCE_BUCKET, "k").unwrap();
    for kind in ["Object Deleted", "Object Created"] {
        let report = world.report(&event(kind, "k")).await;
        assert_eq!((&report["outcome"], &report["error"]), (&json!("superseded"), &Value::Null));
    }
    assert!(world.pair.target.store().get(TARGET_BUCKET, "k").is_some());
    assert_eq!(count(&world.pair.target.seen(), "DeleteObject"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_say_nothing_about_content_are_ignored() {
    let world = World::new().await;
    let report = world.report(&event("Object Tags Added", "k")).await;
    assert_eq!(report["outcome"], "ignored");
    assert!(world.pair.source.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_is_not_accepted_is_a_function_error_with_the_report() {
    let world = World::new().await;
    let foreign = json!({
        "source": "aws.s3", "detail-type": "Object Created",
        "detail": { "bucket": { "name": "another-bucket" }, "object": { "key": "k" } },
    });
    let no_key = json!({ "source": "aws.s3", "detail-type": "Object Created", "detail": { "bucket": { "name": SOURCE_BUCKET } } });
    for (payload, expected) in [
        (json!({ "what": "is this" }), "test_key"),
        (foreign, "another-bucket"),
        (no_key, "detail.object.key"),
        (json!([]), "array"),
    ] {
        let report = world.report(&payload).await;
        assert_eq!((&report["outcome"], &report["error"]["class"]), (&json!("failed"), &json!("event")), "{report}");
        assert!(report["error"].to_string().contains(expected), "{report}");
    }
    let deadline = Instant::now() + Duration::from_secs(9);
    let answer = world.function.handle(b"{not json", deadline).await;
    assert!(matches!(answer, Answer::FunctionError { error_type, .. } if error_type == "event"));
    assert!(world.pair.source.seen().is_empty() && world.pair.target.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn notification_records_are_answered_with_an_array_and_their_keys_are_decoded() {
    let world = World::new().await;
    put(&world.pair, "dir/a+b c", content(10, 1));
    let record = |key: &str| {
        json!({ "eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "eventVersion": "2.1",
        "s3": { "bucket": { "name": SOURCE_BUCKET }, "object": { "key": key } } })
    };
    let Answer::Success(reports) = world.handle(&json!({ "Records": [record("dir/a%2Bb+c")] })).await else { panic!() };
    assert_eq!((reports.as_array().unwrap().len(), &reports[0]["outcome"]), (1, &json!("copied")));
    assert!(world.has("dir/a+b c"));
    world.pair.source.faults().add(on("GetObject", Action::answer("AccessDenied")).key("bad").always());
    let records = json!({ "Records": [record("bad"), record("dir/a%2Bb+c")] });
    let Answer::FunctionError { error_type, error_message } = world.handle(&records).await else { panic!() };
    let reports: Value = serde_json::from_str(&error_message).unwrap();
    assert_eq!((error_type.as_str(), &reports[1]["outcome"]), ("refused", &json!("unchanged")));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_batch_only_the_message_that_failed_comes_back() {
    let world = World::new().await;
    put(&world.pair, "good", content(10, 1));
    put(&world.pair, "bad", content(10, 2));
    world.pair.target.faults().add(on("PutObject", Action::answer("AccessDenied")).key("bad").always());
    let messages = [
        ("1", created("good")),
        ("2", created("bad")),
        ("3", json!({ "not": "an event" })),
        ("4", event("Object Tags Added", "good")),
        ("5", created("never was")),
    ];
    let answer = world.handle(&batch(messages.map(|(id, body)| (id.to_owned(), body)))).await;
    let failed = json!({ "batchItemFailures": [{ "itemIdentifier": "2" }, { "itemIdentifier": "3" }] });
    assert_eq!(answer, Answer::Success(failed));
    assert!(world.has("good"));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_records_than_connections_do_not_wait_for_each_other() {
    let world = World::new().await;
    let messages: Vec<(String, Value)> = (0..40)
        .map(|number| {
            let key = format!("key-{number}");
            // Tags are one more request to the source while the first one's answer is still being read.
            let tagged = Attributes::default().tag("k", "v");
            world.pair.source.store().put(SOURCE_BUCKET, &key, content(80 * KIB, number), tagged).unwrap();
            (number.to_string(), created(&key))
        })
        .collect();
    let answer = world.handle(&batch(messages)).await;
    assert_eq!(answer, Answer::Success(json!({ "batchItemFailures": [] })));
    assert!((0..40).all(|number| world.has(&format!("key-{number}"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn include_and_exclude_decide_what_is_copied() {
    let globs = [("EXCLUDE", r#"["*.tmp","logs/*"]"#), ("INCLUDE", r#"["logs/kept.tmp"]"#)];
    let world = World::with(&globs, |network, _| network).await;
    for (key, outcome) in
        [("a.tmp", "ignored"), ("logs/a", "ignored"), ("logs/kept.tmp", "copied"), ("a.txt", "copied")]
    {
        put(&world.pair, key, content(10, 1));
        assert_eq!(world.report(&created(key)).await["outcome"], outcome, "{key}");
        assert_eq!(world.has(key), outcome == "copied", "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_border_that_is_stuck_is_reported_before_the_invocation_ends() {
    let world = World::new().await;
    put(&world.pair, "k", content(10, 1));
    world.pair.target.faults().add(Fault::on("PutObject", Action::StallHead(None)).always());
    let deadline = Instant::now() + Duration::from_secs(3);
    let answer = world.function.handle(created("k").to_string().as_bytes(), deadline).await;
    let Answer::FunctionError { error_type, error_message } = answer else { panic!() };
    assert_eq!(error_type, "deadline", "{error_message}");
}

/// A network that panics when a connection to the source's port is opened for the nth time: the work on a record opens
/// those, while connections to the target are opened ahead of it.
struct Panicking {
    network: Arc<dyn Connect>,
    port: u16,
    opened: AtomicUsize,
    nth: usize,
}

impl Connect for Panicking {
    fn connect<'a>(&'a self, origin: &'a Origin, avoid: Option<IpAddr>) -> Boxed<'a, Result<Connected, ConnectError>> {
        if origin.port == self.port {
            assert_ne!(self.opened.fetch_add(1, Ordering::SeqCst) + 1, self.nth, "a panic of the test's making");
        }
        self.network.connect(origin, avoid)
    }
}

async fn panicking(nth: usize) -> World {
    let around = |network, pair: &Pair| -> Arc<dyn Connect> {
        let port = pair.source.address().port();
        Arc::new(Panicking { network, port, opened: AtomicUsize::new(0), nth })
    };
    World::with(&[], around).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_the_work_on_a_record_fails_that_record_alone() {
    let world = panicking(2).await;
    let keys = ["a", "b", "c"];
    let messages = keys.map(|key| {
        put(&world.pair, key, content(10, 1));
        (key.to_owned(), created(key))
    });
    let Answer::Success(answer) = world.handle(&batch(messages)).await else { panic!() };
    let failed = answer["batchItemFailures"].as_array().unwrap();
    assert_eq!(failed.len(), 1, "{answer}");
    let copied = keys.iter().filter(|key| world.has(key)).count();
    assert_eq!(copied, 2);
    // The next invocation works as if nothing had been.
    let id = failed[0]["itemIdentifier"].as_str().unwrap();
    assert_eq!(world.report(&created(id)).await["outcome"], "copied");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_reported_as_internal_with_the_object_it_was_about() {
    let world = panicking(1).await;
    put(&world.pair, "k", content(10, 1));
    let report = world.report(&created("k")).await;
    assert_eq!((&report["error"]["class"], &report["source"]["key"]), (&json!("internal"), &json!("k")), "{report}");
    assert!(hint(&report).contains("report it"));
}

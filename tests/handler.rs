//! The function as Lambda calls it: payload in, answer out, the target's keys from a vault.

mod rig;

use rig::{At, KIB, MIB, content, count, on, pair, put};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use xpsync::demo::attributes::Attributes;
use xpsync::demo::faults::{Action, Fault};
use xpsync::demo::keys::KeyPair;
use xpsync::demo::pair::{Pair, SOURCE_BUCKET, SOURCE_REGION, TARGET_BUCKET, TARGET_REGION, source_keys, target_keys};
use xpsync::demo::store::{BucketConfig, Encryption};
use xpsync::demo::vault::Vault;
use xpsync::events::answer::Answer;
use xpsync::handler::Function;
use xpsync::settings::FunctionSettings;
use xpsync::wire::connect::{Connect, ConnectError, Network, Origin, Stream};
use xpsync::wire::gate::Boxed;
use xpsync::wire::tls::client_config;

const SECRET: &str = "target-keys";

/// Two sides, a vault, and a function between them.
struct World {
    pair: Pair,
    vault: Vault,
    function: Arc<Function>,
}

fn secret_of(keys: &KeyPair) -> String {
    json!({ "aws_access_key_id": keys.access_key, "aws_secret_access_key": keys.secret_key }).to_string()
}

impl World {
    async fn new() -> Self {
        Self::with(&[], |network| network).await
    }

    /// With more variables, and something around the network.
    async fn with(variables: &[(&str, &str)], around: impl FnOnce(Arc<dyn Connect>) -> Arc<dyn Connect>) -> Self {
        let pair = pair().await;
        let vault = Vault::start(Some(pair.authority().as_ref())).await.unwrap();
        vault.set(SECRET, &secret_of(&target_keys()));
        let (source, target, secrets) = (pair.source.endpoint(), pair.target_endpoint(), vault.endpoint());
        let (id, key) = (source_keys().access_key, source_keys().secret_key);
        let pairs = [
            ("SOURCE_REGION", SOURCE_REGION),
            ("SOURCE_BUCKET", SOURCE_BUCKET),
            ("TARGET_REGION", TARGET_REGION),
            ("TARGET_BUCKET", TARGET_BUCKET),
            ("SECRET_ID", SECRET),
            ("SOURCE_ENDPOINT_URL", &source),
            ("TARGET_ENDPOINT_URL", &target),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &secrets),
            ("AWS_ACCESS_KEY_ID", &id),
            ("AWS_SECRET_ACCESS_KEY", &key),
        ];
        let pairs = pairs.iter().chain(variables).map(|(name, value)| (String::from(*name), String::from(*value)));
        let settings = FunctionSettings::from_pairs(pairs).unwrap();
        let tls = client_config(Some(pair.authority().pem().as_bytes())).unwrap();
        let connector = around(Arc::new(Network::new(tls)));
        let function = Function::new(settings, &connector, Box::new(|_, _| {}));
        Self { pair, vault, function }
    }

    async fn handle(&self, payload: &Value) -> Answer {
        self.function.handle(payload.to_string().as_bytes(), Instant::now() + Duration::from_secs(60)).await
    }

    /// The report of a single object, whether it failed or not.
    async fn report(&self, payload: &Value) -> Value {
        match self.handle(payload).await {
            Answer::Success(report) => report,
            Answer::FunctionError { error_type, error_message } => {
                let report: Value = serde_json::from_str(&error_message).unwrap();
                assert_eq!((&report["outcome"], &report["error"]["class"]), (&json!("failed"), &json!(error_type)));
                report
            }
        }
    }

    fn has(&self, key: &str) -> bool {
        let bytes = |at: At, bucket| at.server(&self.pair).store().get(bucket, key).map(|object| object.bytes());
        bytes(At::Target, TARGET_BUCKET).is_some_and(|target| Some(target) == bytes(At::Source, SOURCE_BUCKET))
    }
}

fn event(kind: &str, key: &str) -> Value {
    json!({
        "version": "0", "source": "aws.s3", "detail-type": kind, "time": "2026-01-01T00:00:00Z",
        "detail": { "bucket": { "name": SOURCE_BUCKET }, "object": { "key": key, "size": 5 } },
    })
}

fn created(key: &str) -> Value {
    event("Object Created", key)
}

fn message(id: &str, body: &Value) -> Value {
    json!({ "messageId": id, "eventSource": "aws:sqs", "body": body.to_string() })
}

fn batch(messages: impl IntoIterator<Item = (String, Value)>) -> Value {
    let records: Vec<Value> = messages.into_iter().map(|(id, body)| message(&id, &body)).collect();
    json!({ "Records": records })
}

/// What went wrong, in one string to look into.
fn hint(report: &Value) -> &str {
    report["error"]["hint"].as_str().unwrap_or_default()
}

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
    let world = World::with(&globs, |network| network).await;
    for (key, outcome) in
        [("a.tmp", "ignored"), ("logs/a", "ignored"), ("logs/kept.tmp", "copied"), ("a.txt", "copied")]
    {
        put(&world.pair, key, content(10, 1));
        assert_eq!(world.report(&created(key)).await["outcome"], outcome, "{key}");
        assert_eq!(world.has(key), outcome == "copied", "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_secret_is_told_in_one_sentence_that_names_it_and_shows_nothing() {
    let hidden = "hidden-value-of-the-secret";
    let shapes = [
        (Some(hidden.to_owned()), "does not hold JSON"),
        (Some(json!([hidden]).to_string()), "not an object"),
        (Some(json!({ "aws_secret_access_key": hidden }).to_string()), "has no `aws_access_key_id`"),
        (Some(json!({ "aws_access_key_id": hidden }).to_string()), "has no `aws_secret_access_key`"),
        (Some(json!({ "aws_access_key_id": hidden, "aws_secret_access_key": 5 }).to_string()), "not a string"),
        (None, "ResourceNotFoundException"),
    ];
    for (text, expected) in shapes {
        let world = World::new().await;
        put(&world.pair, "k", content(10, 1));
        match text {
            Some(text) => world.vault.set(SECRET, &text),
            None => world.vault.remove(SECRET),
        }
        let report = world.report(&created("k")).await;
        let message = report["error"]["message"].as_str().unwrap();
        assert!(message.contains(SECRET) && message.contains(expected), "{message}");
        assert!(!message.contains('\n') && !hint(&report).is_empty());
        assert!(!report.to_string().contains(hidden), "{report}");
        assert!(world.pair.target.seen().is_empty());
    }
    let world = World::new().await;
    put(&world.pair, "k", content(10, 1));
    world.vault.refuse(SECRET, 400, "AccessDeniedException", "not authorized to perform secretsmanager:GetSecretValue");
    let report = world.report(&created("k")).await;
    assert!(hint(&report).contains("secretsmanager:GetSecretValue"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_the_other_partition_are_named_by_their_secret() {
    for size in [10, MIB] {
        let world = World::new().await;
        world.vault.set(SECRET, &secret_of(&source_keys()));
        put(&world.pair, "k", content(size, 1));
        let report = world.report(&created("k")).await;
        assert_eq!(report["error"]["class"], "refused", "{report}");
        assert!(hint(&report).contains(SECRET) && hint(&report).contains("aws-cn"), "{report}");
        assert!(!report.to_string().contains(&source_keys().secret_key));
        assert_eq!(world.vault.calls(), 2, "looked at once more, and no more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rotated_keys_are_fetched_once_and_need_no_restart() {
    for size in [10, MIB, 17 * MIB] {
        let world = World::new().await;
        put(&world.pair, "k", content(size, 1));
        world.report(&created("k")).await;
        let keys = KeyPair::new("AKIAROTATED000000001", "another-secret");
        world.vault.set(SECRET, &secret_of(&keys));
        world.pair.target.keys().set(vec![keys]);
        let messages = (0..8).map(|number| {
            let key = format!("k{number}");
            put(&world.pair, &key, content(size.min(MIB), number));
            (number.to_string(), created(&key))
        });
        put(&world.pair, "k", content(size, 2));
        assert_eq!(world.report(&created("k")).await["outcome"], "copied", "{size}");
        let answer = world.handle(&batch(messages.collect::<Vec<_>>())).await;
        assert_eq!(answer, Answer::Success(json!({ "batchItemFailures": [] })));
        assert_eq!(world.vault.calls(), 2, "{size}: fetched once more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_meet_expired_keys_fetch_once_for_all() {
    let world = World::new().await;
    let old = target_keys();
    world.pair.target.keys().set(vec![KeyPair::new(&old.access_key, &old.secret_key).with_token("t").expired()]);
    world.vault.set(
        SECRET,
        &json!({ "AccessKeyId": old.access_key, "SecretAccessKey": old.secret_key, "SessionToken": "t" }).to_string(),
    );
    put(&world.pair, "first", content(10, 1));
    let report = world.report(&created("first")).await;
    assert!(hint(&report).contains("expired"), "{report}");
    let calls = world.vault.calls();
    let new = KeyPair::new("AKIARENEWED000000001", "renewed-secret");
    world.pair.target.keys().set(vec![new.clone()]);
    world.vault.set(SECRET, &secret_of(&new));
    let messages = (0..12).map(|number| {
        let key = format!("k{number}");
        put(&world.pair, &key, content(10, number));
        (number.to_string(), created(&key))
    });
    let answer = world.handle(&batch(messages.collect::<Vec<_>>())).await;
    assert_eq!(answer, Answer::Success(json!({ "batchItemFailures": [] })));
    assert_eq!(world.vault.calls(), calls + 1);
}

/// What a side refuses, and what the report of it has to say.
async fn check_refused(size: usize, spoil: impl FnOnce(&World), code: &str, advice: &str) {
    let world = World::new().await;
    put(&world.pair, "k", content(size, 1));
    spoil(&world);
    let report = world.report(&created("k")).await;
    let error = &report["error"];
    assert_eq!((&report["outcome"], &error["code"]), (&json!("failed"), &json!(code)), "{report}");
    assert!(error["request_id"].is_string() && error["host_id"].is_string(), "{report}");
    assert!(hint(&report).contains(advice), "{advice}: {report}");
    assert!(world.pair.target.store().keys(TARGET_BUCKET).is_empty());
    assert!(world.pair.target.open_uploads().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_at_the_target_has_its_code_its_request_id_and_advice() {
    for size in [10, MIB, 17 * MIB] {
        let denied = |world: &World| world.pair.target.policy().deny("s3:PutObject", "*", "");
        check_refused(size, denied, "AccessDenied", "s3:PutObject").await;
        let no_bucket = |world: &World| {
            for operation in ["PutObject", "CreateMultipartUpload"] {
                world.pair.target.faults().add(on(operation, Action::answer("NoSuchBucket")).always());
            }
        };
        check_refused(size, no_bucket, "NoSuchBucket", TARGET_BUCKET).await;
        let kms = |world: &World| {
            let config = BucketConfig { encryption: Encryption::Kms("key".into()), ..BucketConfig::default() };
            world.pair.target.store().create_bucket(TARGET_BUCKET, config);
            world.pair.target.policy().deny("kms:GenerateDataKey", "*", "");
        };
        check_refused(size, kms, "AccessDenied", "kms:GenerateDataKey").await;
    }
    let region = |world: &World| {
        let fault = on("PutObject", Action::redirect("PermanentRedirect", "cn-north-1"));
        world.pair.target.faults().add(fault.always());
    };
    check_refused(10, region, "PermanentRedirect", "region").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_key_without_the_right_to_list_is_denied_and_never_read_as_absent() {
    // At the source nothing says whether it is gone.
    let world = World::new().await;
    world.pair.source.policy().deny("s3:ListBucket", "*", "");
    put(&world.pair, "old", content(10, 1));
    world.report(&created("old")).await;
    world.pair.source.store().delete(SOURCE_BUCKET, "old").unwrap();
    for kind in ["Object Created", "Object Deleted"] {
        let report = world.report(&event(kind, "old")).await;
        assert_eq!(
            (&report["outcome"], &report["error"]["code"]),
            (&json!("failed"), &json!("AccessDenied")),
            "{report}"
        );
        assert!(hint(&report).contains("s3:ListBucket"), "{report}");
    }
    assert!(world.pair.target.store().get(TARGET_BUCKET, "old").is_some());
    // At the target a HEAD cannot tell what is there.
    let no_list = |world: &World| world.pair.target.policy().deny("s3:ListBucket", "*", "");
    check_refused(MIB, no_list, "AccessDenied", "s3:ListBucket").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_source_bucket_is_an_error_and_supersedes_nothing() {
    let world = World::new().await;
    put(&world.pair, "k", content(10, 1));
    world.report(&created("k")).await;
    world.pair.source.faults().add(on("*", Action::answer("NoSuchBucket")).always());
    for kind in ["Object Created", "Object Deleted"] {
        let report = world.report(&event(kind, "k")).await;
        assert_eq!(
            (&report["outcome"], &report["error"]["code"]),
            (&json!("failed"), &json!("NoSuchBucket")),
            "{report}"
        );
        assert!(hint(&report).contains(SOURCE_BUCKET));
    }
    assert!(world.pair.target.store().get(TARGET_BUCKET, "k").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_object_fails_with_advice_and_is_copied_once_restored() {
    for size in [10, MIB, 17 * MIB] {
        let world = World::new().await;
        let archived = Attributes::default().storage_class("GLACIER");
        world.pair.source.store().put(SOURCE_BUCKET, "k", content(size, 1), archived).unwrap();
        let mut told = created("k");
        told["detail"]["object"]["size"] = json!(size);
        let report = world.report(&told).await;
        assert_eq!(report["error"]["code"], "InvalidObjectState", "{report}");
        assert!(hint(&report).contains("restore"), "{report}");
        assert!(world.pair.target.open_uploads().is_empty());
        world.pair.source.store().change(SOURCE_BUCKET, "k", |attributes| attributes.restored = true);
        assert_eq!(world.report(&event("Object Restore Completed", "k")).await["outcome"], "copied");
        assert!(world.has("k"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_border_is_reported_with_advice() {
    let world = World::new().await;
    put(&world.pair, "k", content(10, 1));
    world.pair.target.faults().add(Fault::on("PutObject", Action::StallHead(None)).always());
    let deadline = Instant::now() + Duration::from_secs(3);
    let answer = world.function.handle(created("k").to_string().as_bytes(), deadline).await;
    let Answer::FunctionError { error_type, error_message } = answer else { panic!() };
    assert_eq!(error_type, "deadline", "{error_message}");
    assert!(Instant::now() < deadline, "no time was left to answer");
}

/// A network that panics when a connection to a host's port is opened for the nth time.
struct Panicking {
    network: Arc<dyn Connect>,
    opened: AtomicUsize,
    nth: usize,
}

impl Connect for Panicking {
    fn connect<'a>(&'a self, origin: &'a Origin) -> Boxed<'a, Result<Box<dyn Stream>, ConnectError>> {
        assert_ne!(self.opened.fetch_add(1, Ordering::SeqCst) + 1, self.nth, "a panic of the test's making");
        self.network.connect(origin)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_the_work_on_a_record_fails_that_record_alone() {
    let world = World::with(&[], |network| Arc::new(Panicking { network, opened: AtomicUsize::new(0), nth: 2 })).await;
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
    let world = World::with(&[], |network| Arc::new(Panicking { network, opened: AtomicUsize::new(0), nth: 1 })).await;
    put(&world.pair, "k", content(10, 1));
    let report = world.report(&created("k")).await;
    assert_eq!((&report["error"]["class"], &report["source"]["key"]), (&json!("internal"), &json!("k")), "{report}");
    assert!(hint(&report).contains("report it"));
}

/// Keeps whatever our own code logs, at any level, and what others log from WARN on, as the product does.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

// One thread, so that this thread's subscriber hears everything.
#[tokio::test]
async fn no_secret_is_in_the_log_at_trace_in_reports_or_in_debug() {
    use tracing_subscriber::layer::SubscriberExt as _;
    let log = Log::default();
    let writer = log.clone();
    let ours = tracing_subscriber::filter::filter_fn(|event| {
        event.target().starts_with("xpsync") || *event.level() <= tracing::Level::WARN
    });
    let lines = tracing_subscriber::fmt::layer().json().with_writer(move || writer.clone());
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(ours).with(lines));
    let world = World::new().await;
    let token = "a-session-token-nobody-may-see";
    let keys = KeyPair::new("AKIATEMPORARY0000001", "a-temporary-secret").with_token(token);
    world.pair.target.keys().set(vec![keys.clone()]);
    let secret = json!({ "aws_access_key_id": keys.access_key, "aws_secret_access_key": keys.secret_key,
        "aws_session_token": token });
    world.vault.set(SECRET, &secret.to_string());
    let mut shown = String::new();
    for size in [10, MIB, 17 * MIB] {
        put(&world.pair, "k", content(size, 1));
        world.pair.target.faults().add(on("PutObject", Action::answer("InternalError")));
        shown += &world.report(&created("k")).await.to_string();
    }
    world.pair.target.keys().set(vec![keys.clone().expired()]);
    put(&world.pair, "k", content(10, 2));
    shown += &world.report(&created("k")).await.to_string();
    world.pair.target.keys().set(Vec::new());
    shown += &world.report(&created("k")).await.to_string();
    world.vault.set(SECRET, &json!({ "aws_access_key_id": "a-temporary-secret\n" }).to_string());
    shown += &world.report(&created("k")).await.to_string();
    shown += &String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(shown.contains("\"request_id\"") && shown.contains("told"), "the log was not heard at TRACE");
    for hidden in ["a-temporary-secret", token, &source_keys().secret_key, &target_keys().secret_key, "Signature="] {
        assert!(!shown.contains(hidden), "{hidden} is shown");
    }
}

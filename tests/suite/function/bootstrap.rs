//! The function's own binary as a process: a Runtime API written here gives it events with true deadlines and takes its
//! answers, and the two embedded servers and the vault are AWS to it, over TLS that only `AWS_CA_BUNDLE` makes it
//! trust.

use bytes::Bytes;
use fakes::aws::vault::Vault;
use fakes::fault::faults::{Action, Fault};
use fakes::store::attributes::Attributes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::AbortHandle;
use xpsync::demo::pair::{Pair, SOURCE_BUCKET, SOURCE_REGION, TARGET_BUCKET, TARGET_REGION, source_keys, target_keys};

const SECRET: &str = "s3-cross-partition-sync-credentials";
const ARN: &str = "arn:aws-cn:lambda:cn-northwest-1:111122223333:function:S3CrossPartitionSync";
/// More than any of these invocations needs, so that a deadline is met for other reasons than speed.
const AMPLE: Duration = Duration::from_secs(60);
/// How long the tests wait for what must come; nothing is asserted of it.
const PATIENCE: Duration = Duration::from_secs(120);

/// An invocation that the function may fetch.
struct Invocation {
    id: String,
    payload: Value,
    deadline_ms: u64,
}

/// What the function posted.
#[derive(Debug)]
struct Posted {
    path: String,
    headers: HeaderMap,
    body: Value,
    at_ms: u64,
}

/// The Runtime API ("Using the Lambda runtime API for custom runtimes").
struct RuntimeApi {
    address: String,
    give: mpsc::UnboundedSender<Invocation>,
    posted: mpsc::UnboundedReceiver<Posted>,
    given: usize,
    listening: AbortHandle,
}

/// Its two ends inside.
struct Desk {
    waiting: Mutex<mpsc::UnboundedReceiver<Invocation>>,
    posts: mpsc::UnboundedSender<Posted>,
}

impl Desk {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let mut response = Response::new(Full::default());
        if head.method == Method::GET && head.uri.path() == "/2018-06-01/runtime/invocation/next" {
            // For ever, if there is none: that is what the API does to an idle sandbox.
            let Some(next) = self.waiting.lock().await.recv().await else { return std::future::pending().await };
            let headers = response.headers_mut();
            headers.insert("lambda-runtime-aws-request-id", next.id.parse().unwrap());
            headers.insert("lambda-runtime-deadline-ms", next.deadline_ms.into());
            headers.insert("lambda-runtime-invoked-function-arn", ARN.parse().unwrap());
            headers.insert("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700".parse().unwrap());
            *response.body_mut() = next.payload.to_string().into();
            return response;
        }
        let at_ms = now_ms();
        let body = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or_else(|error| panic!("posted {body:?}: {error}"));
        *response.status_mut() = StatusCode::ACCEPTED;
        let _left = self.posts.send(Posted { path: head.uri.path().to_owned(), headers: head.headers, body, at_ms });
        response
    }
}

impl RuntimeApi {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (give, waiting) = mpsc::unbounded_channel();
        let (posts, posted) = mpsc::unbounded_channel();
        let desk = Arc::new(Desk { waiting: Mutex::new(waiting), posts });
        let listening = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let desk = Arc::clone(&desk);
                let service = service_fn(move |request| {
                    let desk = Arc::clone(&desk);
                    async move { Ok::<_, Infallible>(desk.answer(request).await) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { address, give, posted, given: 0, listening: listening.abort_handle() }
    }

    /// Gives an event and waits for what is posted about it; the deadline comes back with it.
    async fn invoke(&mut self, payload: Value, time: Duration) -> (Posted, u64) {
        self.given += 1;
        let id = format!("8476a536-e9f4-11e8-9739-{:012}", self.given);
        let deadline_ms = now_ms() + u64::try_from(time.as_millis()).unwrap();
        assert!(self.give.send(Invocation { id: id.clone(), payload, deadline_ms }).is_ok());
        let posted = self.posted().await;
        assert!(posted.path.contains(&id), "{posted:?}");
        (posted, deadline_ms)
    }

    async fn posted(&mut self) -> Posted {
        tokio::time::timeout(PATIENCE, self.posted.recv()).await.expect("nothing was posted").unwrap()
    }

    /// The value of an invocation that ends well.
    async fn value(&mut self, payload: Value) -> Value {
        let (posted, _) = self.invoke(payload, AMPLE).await;
        assert!(posted.path.ends_with("/response"), "{posted:?}");
        posted.body
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// The process. However a test ends, it ends too.
struct Bootstrap {
    child: Child,
    lines: Option<JoinHandle<Vec<String>>>,
}

impl Bootstrap {
    /// Starts it with this environment and no other.
    fn start(environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bootstrap"));
        command.env_clear().envs(environment.iter().copied()).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let lines = std::thread::spawn(move || stdout.lines().map_while(Result::ok).collect());
        Self { child, lines: Some(lines) }
    }

    /// Kills it and tells what it had written to stdout.
    fn killed(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.ended().1
    }

    /// Waits for its own end.
    fn ended(&mut self) -> (ExitStatus, Vec<String>) {
        let status = self.child.wait().unwrap();
        (status, self.lines.take().unwrap().join().unwrap())
    }
}

impl Drop for Bootstrap {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// AWS as the function sees it.
struct World {
    pair: Pair,
    vault: Vault,
    api: RuntimeApi,
    bundle: PathBuf,
}

impl World {
    async fn start() -> Self {
        static WORLDS: AtomicUsize = AtomicUsize::new(0);
        let pair = Pair::start(None).await.unwrap();
        let vault = Vault::start(Some(pair.authority())).await.unwrap();
        let keys = target_keys();
        let secret = json!({ "aws_access_key_id": keys.access_key, "aws_secret_access_key": keys.secret_key });
        vault.set(SECRET, &secret.to_string());
        let name = format!("bootstrap-{}-{}.pem", std::process::id(), WORLDS.fetch_add(1, Ordering::Relaxed));
        let bundle = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&bundle, pair.authority().pem()).unwrap();
        Self { pair, vault, api: RuntimeApi::start().await, bundle }
    }

    /// The function with the environment that Lambda and the template give it.
    fn bootstrap(&self, more: &[(&str, &str)]) -> Bootstrap {
        let keys = source_keys();
        let environment = [
            ("AWS_ACCESS_KEY_ID", keys.access_key.as_str()),
            ("AWS_SECRET_ACCESS_KEY", &keys.secret_key),
            ("AWS_LAMBDA_FUNCTION_NAME", "S3CrossPartitionSync"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
            ("AWS_LAMBDA_RUNTIME_API", &self.api.address),
            ("SOURCE_REGION", SOURCE_REGION),
            ("SOURCE_BUCKET", SOURCE_BUCKET),
            ("SOURCE_ENDPOINT_URL", &self.pair.source.endpoint()),
            ("TARGET_REGION", TARGET_REGION),
            ("TARGET_BUCKET", TARGET_BUCKET),
            ("TARGET_ENDPOINT_URL", &self.pair.target_endpoint()),
            ("SECRET_ID", SECRET),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &self.vault.endpoint()),
            ("AWS_CA_BUNDLE", self.bundle.to_str().unwrap()),
            ("TMPDIR", env!("CARGO_TARGET_TMPDIR")),
        ];
        Bootstrap::start(&[&environment, more].concat())
    }

    fn put(&self, key: &str, length: usize) -> Bytes {
        let mut bytes = vec![0; length];
        fastrand::Rng::with_seed(length as u64).fill(&mut bytes);
        let bytes = Bytes::from(bytes);
        self.pair.source.store().put(SOURCE_BUCKET, key, bytes.clone(), Attributes::default()).unwrap();
        bytes
    }

    fn at_target(&self, key: &str) -> Vec<u8> {
        self.pair.target.store().get(TARGET_BUCKET, key).unwrap().bytes()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.bundle);
    }
}

/// As EventBridge delivers it.
fn created(key: &str) -> Value {
    json!({
        "version": "0", "id": "17793124-05d4-b198-2fde-7ededc63b103", "detail-type": "Object Created", "source": "aws.s3",
        "account": "111122223333", "time": "2026-11-12T00:00:00Z", "region": SOURCE_REGION,
        "resources": [format!("arn:aws-cn:s3:::{SOURCE_BUCKET}")],
        "detail": {
            "version": "0", "bucket": {"name": SOURCE_BUCKET}, "object": {"key": key, "sequencer": "617f08299329d189"},
            "reason": "PutObject",
        },
    })
}

/// As SQS delivers such events.
fn batch(bodies: &[(&str, &Value)]) -> Value {
    let message = |(id, body): &(&str, &Value)| {
        json!({
            "messageId": id, "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a", "body": body.to_string(),
            "attributes": {"ApproximateReceiveCount": "1"}, "messageAttributes": {}, "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws-cn:sqs:cn-northwest-1:111122223333:S3CrossPartitionSync", "awsRegion": SOURCE_REGION,
        })
    };
    json!({ "Records": bodies.iter().map(message).collect::<Vec<_>>() })
}

/// A function error's class and the report in its message.
fn failure(posted: &Posted) -> (String, Value) {
    assert!(posted.path.ends_with("/error"), "{posted:?}");
    let text = |name: &str| posted.body[name].as_str().unwrap_or_else(|| panic!("{posted:?}")).to_owned();
    (text("errorType"), serde_json::from_str(&text("errorMessage")).unwrap())
}

/// Every line of the log, each of them JSON.
fn parsed(lines: &[String]) -> Vec<Value> {
    let read = |line: &String| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    lines.iter().map(read).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_copies_its_object_and_a_repeat_finds_it_unchanged() {
    let mut world = World::start().await;
    let bytes = world.put("path/a b+ü.bin", 20 << 20);
    let bootstrap = world.bootstrap(&[]);
    let report = world.api.value(created("path/a b+ü.bin")).await;
    assert_eq!(report["outcome"], "copied", "{report}");
    assert_eq!((&report["bytes"], &report["parts"]), (&json!(20 << 20), &json!(4)), "{report}");
    assert_eq!(report["verified_by"], json!(["etag", "crc64nvme", "part_md5", "source_checksum"]), "{report}");
    assert!(world.at_target("path/a b+ü.bin") == bytes);
    world.pair.target.forget();
    let repeat = world.api.value(created("path/a b+ü.bin")).await;
    assert_eq!((&repeat["outcome"], &repeat["bytes"]), (&json!("unchanged"), &json!(0)), "{repeat}");
    assert_eq!(world.pair.target.seen().iter().map(|seen| seen.received).sum::<u64>(), 0);
    assert_eq!(world.vault.calls(), 1, "the secret is fetched once a sandbox");
    drop(bootstrap);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_and_the_secret_are_on_their_way_before_there_is_an_event() {
    let mut world = World::start().await;
    world.put("k", 1 << 10);
    let bootstrap = world.bootstrap(&[]);
    let warm = async {
        while world.pair.target.open_connections() == 0 || world.vault.calls() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, warm).await.expect("nothing was opened");
    assert!(world.pair.target.seen().is_empty());
    assert_eq!(world.api.value(json!({ "test_key": "k" })).await["outcome"], "copied");
    assert_eq!(world.vault.calls(), 1, "the secret is fetched once a sandbox");
    drop(bootstrap);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_answered_with_the_messages_that_failed() {
    let mut world = World::start().await;
    for key in ["one", "two"] {
        world.put(key, 1 << 10);
    }
    let bootstrap = world.bootstrap(&[]);
    let foreign = json!({ "test_key": 5 });
    let answer = world.api.value(batch(&[("a", &created("one")), ("b", &foreign), ("c", &created("two"))])).await;
    assert_eq!(answer, json!({ "batchItemFailures": [{ "itemIdentifier": "b" }] }));
    assert_eq!((world.at_target("one").len(), world.at_target("two").len()), (1 << 10, 1 << 10));
    drop(bootstrap);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_event_is_an_error_that_holds_the_report_and_the_next_is_served() {
    let mut world = World::start().await;
    world.put("by/hand", 1);
    let bootstrap = world.bootstrap(&[]);
    let (posted, _) = world.api.invoke(json!({ "hello": "world" }), AMPLE).await;
    let (class, report) = failure(&posted);
    assert_eq!((report["outcome"].as_str(), report["error"]["class"].as_str()), (Some("failed"), Some(class.as_str())));
    assert!(report["error"]["message"].as_str().unwrap().contains("`hello`"), "{report}");
    assert_eq!(world.api.value(json!({ "test_key": "by/hand" })).await["outcome"], "copied");
    drop(bootstrap);
}

#[tokio::test(flavor = "multi_thread")]
async fn debug_shows_every_request_by_its_id_and_no_key() {
    let mut world = World::start().await;
    world.put("large", 17 << 20);
    let bootstrap = world.bootstrap(&[("LOG_LEVEL", "DEBUG")]);
    assert_eq!(world.api.value(created("large")).await["outcome"], "copied");
    let lines = bootstrap.killed();
    let log = parsed(&lines);
    for (side, server) in [("source", &world.pair.source), ("target", &world.pair.target)] {
        for seen in server.seen() {
            let is_shown = |line: &&Value| line["request_id"] == json!(seen.request_id) && line["message"] == "request";
            let line = log.iter().find(is_shown).unwrap_or_else(|| panic!("{seen:?} is not in the log"));
            assert_eq!((&line["side"], &line["operation"]), (&json!(side), &json!(seen.operation)), "{line}");
            assert_eq!((&line["level"], &line["status"]), (&json!("DEBUG"), &json!(seen.status)), "{line}");
        }
    }
    for hidden in [source_keys().secret_key, target_keys().secret_key] {
        assert!(!lines.iter().any(|line| line.contains(&hidden)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_the_sandbox_a_report_and_metrics_of_each_object() {
    let mut world = World::start().await;
    world.put("watched", 1 << 10);
    let bootstrap = world.bootstrap(&[]);
    world.api.value(created("watched")).await;
    let (absent, _) = world.api.invoke(json!({ "hello": "world" }), AMPLE).await;
    assert!(absent.path.ends_with("/error"));
    let log = parsed(&bootstrap.killed());
    assert_eq!(log[0]["message"], "start");
    assert!(log[0]["sandbox"].as_str().unwrap().contains("tmp_free="), "{}", log[0]);
    let reports: Vec<&Value> = log.iter().filter(|line| line["message"] == "report").collect();
    assert_eq!(reports.iter().map(|line| line["outcome"].as_str().unwrap()).collect::<Vec<_>>(), ["copied", "failed"]);
    let metrics: Vec<&Value> = log.iter().filter(|line| !line["_aws"].is_null()).collect();
    let (invocations, metrics): (Vec<&Value>, Vec<&Value>) =
        metrics.into_iter().partition(|line| !line["TargetWindow"].is_null());
    // The second one was about no object.
    assert_eq!((invocations.len(), metrics.len()), (1, 2));
    assert!(invocations[0]["InvocationGoodput"].as_f64().is_some_and(|rate| rate > 0.0), "{}", invocations[0]);
    assert_eq!((&metrics[0]["Outcome"], &metrics[0]["Bytes"]), (&json!("copied"), &json!(1024.0)));
    assert!(metrics[0]["Lag"].as_f64().is_some(), "{}", metrics[0]);
    assert_eq!(metrics[0]["_aws"]["CloudWatchMetrics"][0]["Namespace"], "S3CrossPartitionSync");
    assert_eq!((&metrics[1]["Outcome"], &metrics[1]["Failures"]), (&json!("failed"), &json!(1.0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_target_ends_as_an_error_before_the_deadline_with_no_upload_open() {
    let mut world = World::start().await;
    for (key, length, operation) in [("small", 1 << 20, "PutObject"), ("large", 17 << 20, "UploadPart")] {
        world.put(key, length);
        let bootstrap = world.bootstrap(&[]);
        // What a first invocation sets up is not what is asked about.
        world.api.value(json!({ "test_key": key, "hello": "world" })).await;
        world.pair.target.store().delete(TARGET_BUCKET, key).unwrap();
        let acted = world.pair.target.faults().add(Fault::on(operation, Action::StallHead(None)).always());
        let (posted, deadline_ms) = world.api.invoke(created(key), Duration::from_secs(4)).await;
        let (class, report) = failure(&posted);
        assert!(posted.at_ms < deadline_ms, "{} ms late: {report}", posted.at_ms - deadline_ms);
        assert_eq!((report["outcome"].as_str(), class.as_str()), (Some("failed"), "deadline"), "{report}");
        assert!(acted.count() > 0);
        assert!(world.pair.target.open_uploads().is_empty(), "{report}");
        world.pair.target.faults().clear();
        assert_eq!(world.api.value(created(key)).await["source"]["key"], key, "the next invocation is served");
        drop(bootstrap);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_environment_is_told_at_once_in_one_line_and_to_lambda() {
    let mut world = World::start().await;
    let wrong = [("TARGET_BUCKET", "a/b"), ("SECRET_ID", ""), ("LOG_LEVEL", "LOUD"), ("ETAG_MODE", "keep")];
    let mut bootstrap = world.bootstrap(&wrong);
    let (status, lines) = bootstrap.ended();
    assert_eq!(status.code(), Some(1));
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["level"], "ERROR");
    let message = line["message"].as_str().unwrap();
    for (name, _) in wrong {
        assert!(message.contains(name), "{message}");
    }
    assert!(!message.contains(&source_keys().secret_key));
    let posted = world.api.posted().await;
    assert_eq!(posted.path, "/2018-06-01/runtime/init/error");
    assert_eq!(posted.body["errorMessage"], message);
    assert_eq!(posted.headers["lambda-runtime-function-error-type"], "configuration");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_is_not_there_is_told_like_a_wrong_environment() {
    let mut world = World::start().await;
    let (status, lines) = world.bootstrap(&[("AWS_CA_BUNDLE", "/nowhere/roots.pem")]).ended();
    assert_eq!(status.code(), Some(1));
    let log = parsed(&lines);
    assert!(log.last().unwrap()["message"].as_str().unwrap().contains("AWS_CA_BUNDLE /nowhere/roots.pem"), "{lines:?}");
    assert_eq!(world.api.posted().await.path, "/2018-06-01/runtime/init/error");
}

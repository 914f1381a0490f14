//! Where keys and signatures must not be: what is logged at TRACE, reports, messages of the queue, the journal,
//! `Debug`.
//!
//! A test listens to the log of its own runtime's threads.

use crate::rig::shell::World as Shell;
use crate::rig::world::{SECRET, World, created, delivered, secret_of};
use crate::rig::{MIB, content, on, put};
use fakes::aws::queue::Asked;
use fakes::fault::faults::{Action, Fault};
use fakes::s3::auth::keys::KeyPair;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use tracing_subscriber::layer::SubscriberExt as _;
use xpsync::demo::pair::{TARGET_BUCKET, source_keys, target_keys};
use xpsync::s3::http::endpoint::Endpoint;
use xpsync::s3::http::sign::Scope;
use xpsync::secrets::TargetKeys;
use xpsync::settings::FunctionSettings;
use xpsync::wire::gate::Boxed;
use xpsync::wire::keys::Fixed;
use xpsync::wire::net::connect::{Connect, ConnectError, Connected, Origin};

const HIDDEN: &str = "a-temporary-secret";
const TOKEN: &str = "a-session-token-nobody-may-see";

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

/// Runs a test on a runtime all of whose threads log at TRACE, to where the test can read it.
fn listening(test: impl AsyncFnOnce(&Log)) {
    let log = Log::default();
    let writer = log.clone();
    let ours = tracing_subscriber::filter::filter_fn(|event| {
        event.target().starts_with("xpsync") || *event.level() <= tracing::Level::WARN
    });
    let lines = tracing_subscriber::fmt::layer().json().with_writer(move || writer.clone());
    let dispatch = tracing::Dispatch::new(tracing_subscriber::registry().with(ours).with(lines));
    let threads = dispatch.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Until the thread ends.
        .on_thread_start(move || std::mem::forget(tracing::dispatcher::set_default(&threads)))
        .build()
        .unwrap();
    tracing::dispatcher::with_default(&dispatch, || runtime.block_on(test(&log)));
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Neither keys nor a token nor what a request was signed with.
fn assert_hidden(shown: &str) {
    let (source, target) = (source_keys().secret_key, target_keys().secret_key);
    for hidden in [HIDDEN, TOKEN, &source, &target, "Signature=", "AWS4-HMAC-SHA256"] {
        assert!(!shown.contains(hidden), "{hidden} is shown: {shown}");
    }
}

/// A world whose target is reached by temporary keys.
async fn world() -> World {
    let world = World::new().await;
    let keys = KeyPair::new("AKIATEMPORARY0000001", HIDDEN).with_token(TOKEN);
    world.pair.target.keys().set(vec![keys.clone()]);
    let secret = json!({ "aws_access_key_id": keys.access_key, "aws_secret_access_key": keys.secret_key,
        "aws_session_token": TOKEN });
    world.vault.set(SECRET, &secret.to_string());
    world
}

/// All that files of a folder hold, and of folders in it.
fn files(folder: &Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        all += &if path.is_dir() { files(&path) } else { std::fs::read_to_string(&path).unwrap() };
    }
    all
}

#[test]
fn no_secret_is_in_the_log_at_trace_in_reports_or_in_debug() {
    listening(async |log| {
        let world = world().await;
        let keys = KeyPair::new("AKIATEMPORARY0000001", HIDDEN).with_token(TOKEN);
        let mut shown = String::new();
        for size in [10, MIB, 17 * MIB] {
            put(&world.pair, "k", content(size, 1));
            world.pair.target.faults().add(on("PutObject", Action::answer("InternalError")));
            shown += &world.report(&created("k")).await.to_string();
        }
        world.pair.target.keys().set(vec![keys.expired()]);
        put(&world.pair, "k", content(10, 2));
        shown += &world.report(&created("k")).await.to_string();
        world.pair.target.keys().set(Vec::new());
        shown += &world.report(&created("k")).await.to_string();
        world.vault.set(SECRET, &json!({ "aws_access_key_id": format!("{HIDDEN}\n") }).to_string());
        shown += &world.report(&created("k")).await.to_string();
        shown += &log.text();
        assert!(shown.contains("\"request_id\"") && shown.contains("told"), "the log was not heard at TRACE");
        assert_hidden(&shown);
    });
}

#[test]
fn no_secret_is_in_messages_of_the_queue_in_the_journal_or_in_sweeps() {
    listening(async |log| {
        let world = world().await;
        put(&world.pair, "k", content(17 * MIB, 1));
        put(&world.pair, "denied", content(10, 2));
        let faults = world.pair.target.faults();
        faults.add(Fault::on("UploadPart", Action::answer("SlowDown")).part(3).always());
        faults.add(Fault::on("PutObject", Action::answer("AccessDenied")).always());
        // While the third part is asked for again and again, its upload is in the journal.
        let messages = [delivered("m", &created("k"), 1), delivered("n", &created("denied"), 1)];
        let payload = json!({ "Records": messages }).to_string();
        let function = Arc::clone(&world.function);
        let deadline = Instant::now() + Duration::from_secs(6);
        let running = tokio::spawn(async move { function.handle(payload.as_bytes(), deadline).await });
        while world.pair.target.open_uploads().first().is_none_or(|upload| upload.parts().len() < 3) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let journal = files(&world.folder.join("xpsync-uploads"));
        assert!(journal.contains("\"upload_id\""), "{journal}");
        let mut shown = journal + &format!("{:?}", running.await.unwrap());
        let asked = world.queue.take();
        let is = |kind: fn(&Asked) -> bool| asked.iter().any(kind);
        assert!(
            is(|asked| matches!(asked, Asked::Sent(..))) && is(|asked| matches!(asked, Asked::Buried(..))),
            "{asked:?}"
        );
        shown += &format!("{asked:?}");
        crate::rig::age_uploads(&world.pair, Duration::from_hours(200));
        shown += &format!("{:?}", world.handle(&json!({ "op": "sweep" })).await);
        world.pair.target.policy().allow_only(["s3:PutObject"]);
        shown += &format!("{:?}", world.handle(&json!({ "op": "sweep" })).await);
        assert_hidden(&(shown + &log.text()));
    });
}

/// A network whose connections to the target panic.
struct Panics(Arc<dyn Connect>, u16);

impl Connect for Panics {
    fn connect<'a>(
        &'a self,
        origin: &'a Origin,
        avoid: Option<std::net::IpAddr>,
    ) -> Boxed<'a, Result<Connected, ConnectError>> {
        assert_ne!(origin.port, self.1, "a panic of the test's making");
        self.0.connect(origin, avoid)
    }
}

#[test]
fn a_panic_in_the_middle_of_a_record_shows_no_secret() {
    listening(async |log| {
        let world = World::with(&[], |network, pair| Arc::new(Panics(network, pair.target.address().port()))).await;
        world.vault.set(SECRET, &secret_of(&target_keys()));
        put(&world.pair, "k", content(10, 1));
        let report = world.report(&created("k")).await;
        assert_eq!((&report["outcome"], &report["error"]["class"]), (&json!("failed"), &json!("internal")), "{report}");
        assert_hidden(&(report.to_string() + &log.text()));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_at_trace_shows_no_secret_and_writes_none() {
    let world = Shell::new().await;
    world.put("k", 17 * MIB);
    world.put("denied", 10);
    let faults = world.pair.target.faults();
    faults.add(Fault::on("PutObject", Action::answer("SignatureDoesNotMatch")).always());
    let trace = ["--log-level", "TRACE", "--json"];
    let mut outputs = vec![world.cp("denied", &trace).await, world.cp("k", &trace).await];
    // A copy that is killed leaves its journal.
    let (reached, mut reaching) = tokio::sync::mpsc::unbounded_channel();
    let told = Action::Before(Box::new(move |_| reached.send(()).unwrap()));
    world.put("k", 18 * MIB);
    faults.add(Fault::on("UploadPart", told));
    faults.add(Fault::on("UploadPart", Action::StallHead(None)).always());
    let mut copy = world.start_cp("k", &trace);
    reaching.recv().await.unwrap();
    copy.kill().await.unwrap();
    outputs.push(copy.wait_with_output().await.unwrap());
    let journal = files(&world.state());
    assert!(journal.contains("\"upload_id\""), "{journal}");
    let target = format!("s3://{TARGET_BUCKET}/");
    let sweep = ["sweep", &target, "--target-profile", "global", "--older-than", "1h"];
    outputs.push(world.start(&[&sweep[..], &trace].concat()).wait_with_output().await.unwrap());
    let mut shown = journal;
    for output in outputs {
        shown += crate::rig::shell::text(&output.stdout);
        shown += crate::rig::shell::text(&output.stderr);
    }
    assert!(shown.contains("DEBUG") && shown.contains("request_id"), "the log was not heard");
    assert_hidden(&shown);
}

/// The function's variables, with secrets in those that have them and in some that should not.
fn settings(changes: &[(&str, &str)]) -> String {
    let required = [
        ("SOURCE_REGION", "cn-northwest-1"),
        ("SOURCE_BUCKET", "cn-data"),
        ("TARGET_REGION", "us-west-2"),
        ("TARGET_BUCKET", "gl-data"),
        ("SECRET_ID", "keys"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", HIDDEN),
        ("AWS_SESSION_TOKEN", TOKEN),
    ];
    let pairs = required.iter().chain(changes).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    match FunctionSettings::from_pairs(pairs) {
        Ok(settings) => format!("{settings:?}"),
        Err(problems) => format!("{problems} {problems:?}"),
    }
}

#[test]
fn settings_and_their_problems_show_no_secret() {
    assert!(settings(&[]).contains("AKIDEXAMPLE"), "there are settings");
    assert_hidden(&settings(&[]));
    let with_password = format!("https://user:{HIDDEN}@host");
    let changes: [&[(&str, &str)]; 5] = [
        &[("SOURCE_REGION", "nowhere")],
        &[("AWS_ACCESS_KEY_ID", "")],
        &[("TARGET_ENDPOINT_URL", &with_password)],
        &[("SOURCE_ENDPOINT_URL", &with_password)],
        &[("AWS_ENDPOINT_URL_SQS", &with_password), ("LOG_LEVEL", "LOUD")],
    ];
    for change in changes {
        assert!(settings(change).contains("problem"), "{change:?}: {}", settings(change));
        assert_hidden(&settings(change));
    }
    let refused = Endpoint::overridden(&with_password).unwrap_err();
    assert_hidden(&format!("{refused} {refused:?}"));
}

#[test]
fn whatever_holds_keys_has_a_debug_that_hides_them() {
    let secret: Value = json!({ "aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": HIDDEN,
        "aws_session_token": TOKEN });
    let keys = || TargetKeys::read("keys", secret.to_string().as_bytes()).unwrap();
    let credentials = aws_credential_types::Credentials::from(keys());
    let scope = Scope { credentials: &credentials, region: "us-west-2", now: std::time::UNIX_EPOCH };
    let fixed = Fixed(credentials.clone());
    let pair = KeyPair::new("AKIDEXAMPLE", HIDDEN).with_token(TOKEN);
    for shown in [format!("{:?}", keys()), format!("{scope:?}"), format!("{fixed:?} {pair:?}")] {
        assert_hidden(&shown);
    }
}

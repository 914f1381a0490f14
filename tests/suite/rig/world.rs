//! Two sides, a vault, and the function between them, as Lambda calls it.

use super::{At, pair};
use fakes::aws::queue::{QUEUE_ARN, Queue};
use fakes::aws::vault::Vault;
use fakes::s3::auth::keys::KeyPair;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use xpsync::demo::pair::{Pair, SOURCE_BUCKET, SOURCE_REGION, TARGET_BUCKET, TARGET_REGION, source_keys, target_keys};
use xpsync::events::answer::Answer;
use xpsync::handler::Function;
use xpsync::settings::FunctionSettings;
use xpsync::wire::net::connect::{Connect, Network};
use xpsync::wire::net::tls::client_config;

pub(crate) const SECRET: &str = "target-keys";

/// Two sides, a vault, and a function between them.
pub(crate) struct World {
    pub(crate) pair: Pair,
    pub(crate) vault: Vault,
    pub(crate) queue: Queue,
    pub(crate) function: Arc<Function>,
    pub(crate) folder: PathBuf,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub(crate) fn secret_of(keys: &KeyPair) -> String {
    json!({ "aws_access_key_id": keys.access_key, "aws_secret_access_key": keys.secret_key }).to_string()
}

/// A function's process.
fn start(
    pair: &Pair,
    vault: &Vault,
    queue: &Queue,
    folder: &Path,
    variables: &[(&str, &str)],
    around: impl FnOnce(Arc<dyn Connect>, &Pair) -> Arc<dyn Connect>,
) -> Arc<Function> {
    let (source, target) = (pair.source.endpoint(), pair.target_endpoint());
    let (secrets, queues) = (vault.endpoint(), queue.endpoint());
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
        ("AWS_ENDPOINT_URL_SQS", &queues),
        ("TMPDIR", folder.to_str().unwrap()),
        ("AWS_ACCESS_KEY_ID", &id),
        ("AWS_SECRET_ACCESS_KEY", &key),
    ];
    let pairs = pairs.iter().chain(variables).map(|(name, value)| (String::from(*name), String::from(*value)));
    let settings = FunctionSettings::from_pairs(pairs).unwrap();
    let tls = client_config(Some(pair.authority().pem().as_bytes())).unwrap();
    let connector = around(Arc::new(Network::new(tls)), pair);
    Function::new(settings, &connector, Box::new(|_| {}))
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(&[], |network, _| network).await
    }

    /// With more variables, and something around the network.
    pub(crate) async fn with(
        variables: &[(&str, &str)],
        around: impl FnOnce(Arc<dyn Connect>, &Pair) -> Arc<dyn Connect>,
    ) -> Self {
        let pair = pair().await;
        let vault = Vault::start(Some(pair.authority().as_ref())).await.unwrap();
        vault.set(SECRET, &secret_of(&target_keys()));
        let queue = Queue::start(Some(pair.authority().as_ref())).await.unwrap();
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("function-{:016x}", fastrand::u64(..)));
        std::fs::create_dir_all(&folder).unwrap();
        let function = start(&pair, &vault, &queue, &folder, variables, around);
        Self { pair, vault, queue, function, folder }
    }

    /// The same world after the function's process has died: /tmp is as it was, nothing else is.
    pub(crate) fn restart(&mut self) {
        self.function = start(&self.pair, &self.vault, &self.queue, &self.folder, &[], |network, _| network);
    }

    /// Another sandbox of the same function: nothing shared but the buckets.
    pub(crate) fn sandbox(&self, variables: &[(&str, &str)]) -> Arc<Function> {
        let folder = self.folder.join(format!("{:016x}", fastrand::u64(..)));
        std::fs::create_dir_all(&folder).unwrap();
        start(&self.pair, &self.vault, &self.queue, &folder, variables, |network, _| network)
    }

    pub(crate) async fn handle(&self, payload: &Value) -> Answer {
        self.function.handle(payload.to_string().as_bytes(), Instant::now() + Duration::from_secs(60)).await
    }

    /// The report of a single object, whether it failed or not.
    pub(crate) async fn report(&self, payload: &Value) -> Value {
        match self.handle(payload).await {
            Answer::Success(report) => report,
            Answer::FunctionError { error_type, error_message } => {
                let report: Value = serde_json::from_str(&error_message).unwrap();
                assert_eq!((&report["outcome"], &report["error"]["class"]), (&json!("failed"), &json!(error_type)));
                report
            }
        }
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        let bytes = |at: At, bucket| at.server(&self.pair).store().get(bucket, key).map(|object| object.bytes());
        bytes(At::Target, TARGET_BUCKET).is_some_and(|target| Some(target) == bytes(At::Source, SOURCE_BUCKET))
    }
}

pub(crate) fn event(kind: &str, key: &str) -> Value {
    json!({
        "version": "0", "source": "aws.s3", "detail-type": kind, "time": "2026-01-01T00:00:00Z",
        "detail": { "bucket": { "name": SOURCE_BUCKET }, "object": { "key": key, "size": 5 } },
    })
}

pub(crate) fn created(key: &str) -> Value {
    event("Object Created", key)
}

pub(crate) fn message(id: &str, body: &Value) -> Value {
    json!({ "messageId": id, "eventSource": "aws:sqs", "body": body.to_string() })
}

/// A message as Lambda hands it over: with its queue, its receipt and how often it came.
pub(crate) fn delivered(id: &str, body: &Value, receives: u32) -> Value {
    json!({
        "messageId": id, "eventSource": "aws:sqs", "eventSourceARN": QUEUE_ARN, "receiptHandle": format!("receipt of {id}"),
        "attributes": { "ApproximateReceiveCount": receives.to_string() }, "body": body.to_string(),
    })
}

pub(crate) fn batch(messages: impl IntoIterator<Item = (String, Value)>) -> Value {
    let records: Vec<Value> = messages.into_iter().map(|(id, body)| message(&id, &body)).collect();
    json!({ "Records": records })
}

/// What went wrong, in one string to look into.
pub(crate) fn hint(report: &Value) -> &str {
    report["error"]["hint"].as_str().unwrap_or_default()
}

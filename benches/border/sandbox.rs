//! Sandboxes of the function in a process of their own: its handler, with the environment that Lambda would give it.
//!
//! `sandbox flood SANDBOXES BATCH KEY…` gives the keys as SQS batches to so many sandboxes, each of which takes the
//! next batch when it has answered one, and prints the seconds from the first invocation to the last answer.
//! `sandbox single KEY[=MILLISECONDS]…` gives one event after the other to one sandbox, each so long after the answer
//! before it, and prints the milliseconds that each took.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use xpsync::engine::report::Outcome;
use xpsync::events::answer::Answer;
use xpsync::handler::{Function, Measurement};
use xpsync::settings::FunctionSettings;
use xpsync::telemetry::{self, LogFormat};
use xpsync::wire::net::connect::{Connect, Network};
use xpsync::wire::net::tls::client_config;

/// Lambda's longest.
const DEADLINE: Duration = Duration::from_secs(900);

/// A sandbox, and how many objects it has copied.
struct Sandbox {
    function: Arc<Function>,
    copied: Arc<AtomicUsize>,
}

impl Sandbox {
    /// As `bootstrap` starts, down to the first question for an invocation.
    fn start() -> Result<Self, Box<dyn Error>> {
        let settings = FunctionSettings::from_environment()?;
        let bundle = settings.ca_bundle.as_ref().map(std::fs::read).transpose()?;
        let connector: Arc<dyn Connect> = Arc::new(Network::new(client_config(bundle.as_deref())?));
        let copied = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&copied);
        let on_told = move |told: Measurement<'_>| match told {
            Measurement::Object(report, _) => {
                counted.fetch_add(usize::from(report.outcome == Outcome::Copied), Ordering::Relaxed);
            }
            Measurement::Invocation(_) => {}
        };
        let function = Function::new(settings, &connector, Box::new(on_told));
        function.warm_up();
        Ok(Self { function, copied })
    }

    async fn handle(&self, payload: &Value) -> Answer {
        self.function.handle(payload.to_string().as_bytes(), Instant::now() + DEADLINE).await
    }
}

/// Runs what the arguments say.
pub(crate) fn serve(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    telemetry::init(FunctionSettings::from_environment()?.log_level, LogFormat::Plain)?;
    let runtime = tokio::runtime::Runtime::new()?;
    match arguments {
        [what, sandboxes, batch, keys @ ..] if what == "flood" => {
            runtime.block_on(flood(sandboxes.parse()?, batch.parse()?, keys))
        }
        [what, keys @ ..] if what == "single" => runtime.block_on(single(keys)),
        _ => Err("a sandbox is for a flood, or for single events".into()),
    }
}

async fn flood(sandboxes: usize, batch: usize, keys: &[String]) -> Result<(), Box<dyn Error>> {
    let batches: Arc<Vec<Value>> = Arc::new(keys.chunks(batch).map(messages).collect());
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let mut working = Vec::new();
    for _ in 0..sandboxes {
        let (sandbox, batches, next) = (Sandbox::start()?, Arc::clone(&batches), Arc::clone(&next));
        working.push(tokio::spawn(async move {
            while let Some(payload) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                let answer = sandbox.handle(payload).await;
                assert_eq!(answer, Answer::Success(json!({ "batchItemFailures": [] })));
            }
            sandbox.copied.load(Ordering::Relaxed)
        }));
    }
    let mut copied = 0;
    for sandbox in working {
        copied += sandbox.await?;
    }
    let seconds = began.elapsed().as_secs_f64();
    if copied != keys.len() {
        return Err(format!("{copied} of {} were copied", keys.len()).into());
    }
    println!("{seconds:.3}");
    Ok(())
}

async fn single(keys: &[String]) -> Result<(), Box<dyn Error>> {
    let sandbox = Sandbox::start()?;
    for key in keys {
        let (key, pause) = key.split_once('=').unwrap_or((key, "0"));
        sleep(Duration::from_millis(pause.parse()?)).await;
        let payload = created(key);
        let began = Instant::now();
        let answer = sandbox.handle(&payload).await;
        let milliseconds = began.elapsed().as_secs_f64() * 1e3;
        match answer {
            Answer::Success(report) if report["outcome"] == "copied" => println!("{milliseconds:.1}"),
            answer @ (Answer::Success(_) | Answer::FunctionError { .. }) => return Err(format!("{answer:?}").into()),
        }
    }
    Ok(())
}

/// "EventBridge event message structure".
fn created(key: &str) -> Value {
    json!({
        "version": "0", "id": "17793124-05d4-b198-2fde-7ededc63b103", "detail-type": "Object Created", "source": "aws.s3",
        "account": "111122223333", "time": "2026-11-12T00:00:00Z", "region": "cn-north-1",
        "resources": ["arn:aws-cn:s3:::source"],
        "detail": {
            "version": "0", "bucket": { "name": "source" },
            "object": { "key": key, "size": super::small::SIZE, "etag": "b1946ac92492d2347c6235b4d2611184",
                "sequencer": "617f08299329d189" },
            "request-id": "N4N7GDK58NMKJ12R", "requester": "111122223333", "source-ip-address": "192.0.2.1",
            "reason": "PutObject"
        }
    })
}

/// "Using Lambda with Amazon SQS".
fn messages(keys: &[String]) -> Value {
    let message = |key: &String| {
        json!({
            "messageId": key, "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a", "body": created(key).to_string(),
            "attributes": { "ApproximateReceiveCount": "1" }, "messageAttributes": {}, "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws-cn:sqs:cn-north-1:111122223333:queue", "awsRegion": "cn-north-1",
        })
    };
    json!({ "Records": keys.iter().map(message).collect::<Vec<_>>() })
}

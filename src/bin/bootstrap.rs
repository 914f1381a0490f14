//! The Lambda custom runtime (provided.al2023): asks the Runtime API for invocations and hands them to the handler.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::Value;
use serde_json::value::RawValue;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tracing::{error, info};
use xpsync::events::answer::Answer;
use xpsync::handler::{Function, Measurement};
use xpsync::settings::FunctionSettings;
use xpsync::telemetry::{self, LogFormat, emf, emf_of_invocation, write_line};
use xpsync::wire::net::connect::{Connect, Network};
use xpsync::wire::net::tls::client_config;

/// A deadline before this is no time: `cargo lambda watch` sends the constant 600000.
const FIRST_PLAUSIBLE_DEADLINE: Duration = Duration::from_secs(86_400 * 365);

/// How long Lambda may take to hear why there is no function; the log has it in any case.
const LAST_WORDS: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let (runtime, function) = match start() {
        Ok(started) => started,
        Err(message) => return refuse(&message),
    };
    match runtime.block_on(serve(&function)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            error!(message);
            ExitCode::FAILURE
        }
    }
}

/// Everything that can be wrong before the first invocation.
fn start() -> Result<(Runtime, Arc<Function>), String> {
    let settings = FunctionSettings::from_environment().map_err(|problems| problems.to_string())?;
    telemetry::init(settings.log_level, LogFormat::Json)
        .map_err(|error| format!("logging cannot be started: {error}"))?;
    let path = settings.ca_bundle.clone().unwrap_or_default();
    let wrong = |error: &dyn std::fmt::Display| format!("AWS_CA_BUNDLE {}: {error}", path.display());
    let bundle = settings.ca_bundle.as_ref().map(std::fs::read).transpose().map_err(|error| wrong(&error))?;
    let tls = client_config(bundle.as_deref()).map_err(|error| wrong(&error))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start worker threads: {error}"))?;
    let connector: Arc<dyn Connect> = Arc::new(Network::new(tls));
    let function = Function::new(
        settings,
        &connector,
        Box::new(|told| {
            let now = millis_since_1970();
            write_line(&match told {
                Measurement::Object(report, event_time_ms) => {
                    let since = |then: i64| (i64::try_from(now).unwrap_or(i64::MAX) - then).max(0);
                    #[expect(clippy::cast_precision_loss, reason = "a lag is far below 2^52 milliseconds")]
                    let lag = event_time_ms.map(|then| since(then) as f64 / 1e3);
                    emf(report, now, lag)
                }
                Measurement::Invocation(ended) => emf_of_invocation(ended, now),
            });
        }),
    );
    Ok((runtime, function))
}

/// Says in one line of the log why there is no function, and tells Lambda, whose callers see nothing but an exit
/// otherwise.
fn refuse(message: &str) -> ExitCode {
    write_line(&serde_json::json!({ "level": "ERROR", "message": message }).to_string());
    if let Ok(api) = std::env::var("AWS_LAMBDA_RUNTIME_API") {
        // The exit follows whatever becomes of this.
        let _untold = tell_lambda(&api, message);
    }
    ExitCode::FAILURE
}

/// "Initialization error" of the Runtime API: loopback, plain, and at a time when there may be no runtime to send it
/// with.
fn tell_lambda(api: &str, message: &str) -> std::io::Result<()> {
    let body =
        serde_json::json!({ "errorType": "configuration", "errorMessage": message, "stackTrace": [] }).to_string();
    let mut socket = TcpStream::connect(api)?;
    socket.set_read_timeout(Some(LAST_WORDS))?;
    socket.set_write_timeout(Some(LAST_WORDS))?;
    let (length, path) = (body.len(), "/2018-06-01/runtime/init/error");
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {api}\r\nConnection: close\r\nContent-Type: \
         application/json\r\nContent-Length: {length}\r\nLambda-Runtime-Function-Error-Type: configuration\r\n\r\n"
    );
    socket.write_all(&[head.as_bytes(), body.as_bytes()].concat())?;
    socket.read(&mut [0; 64]).map(drop)
}

async fn serve(function: &Arc<Function>) -> Result<(), String> {
    // The runtime's threads do it while this one asks for the first invocation.
    function.warm_up();
    let sandbox = telemetry::sandbox();
    info!(sandbox, "start");
    let service = service_fn(|event: LambdaEvent<Box<RawValue>>| {
        let function = Arc::clone(function);
        async move {
            let deadline = deadline(event.context.deadline);
            match function.handle(event.payload.get().as_bytes(), deadline).await {
                Answer::Success(value) => Ok::<Value, Diagnostic>(value),
                Answer::FunctionError { error_type, error_message } => Err(Diagnostic { error_type, error_message }),
            }
        }
    });
    lambda_runtime::run(service).await.map_err(|error| error.to_string())
}

fn millis_since_1970() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// `Lambda-Runtime-Deadline-Ms` on our own clock.
fn deadline(at_ms: u64) -> Instant {
    let at = Duration::from_millis(at_ms);
    let left =
        if at < FIRST_PLAUSIBLE_DEADLINE { at } else { at.saturating_sub(Duration::from_millis(millis_since_1970())) };
    Instant::now() + left
}

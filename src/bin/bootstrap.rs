//! The Lambda custom runtime (provided.al2023): asks the Runtime API for invocations and hands them to the handler.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::Value;
use serde_json::value::RawValue;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;
use tracing::{error, info};
use xpsync::events::answer::Answer;
use xpsync::handler::Function;
use xpsync::settings::FunctionSettings;
use xpsync::telemetry::{self, LogFormat, emf, write_line};
use xpsync::wire::connect::{Connect, Network};
use xpsync::wire::tls::client_config;

/// A deadline before this is no time: `cargo lambda watch` sends the constant 600000.
const FIRST_PLAUSIBLE_DEADLINE: Duration = Duration::from_secs(86_400 * 365);

fn main() -> ExitCode {
    let settings = match FunctionSettings::from_environment() {
        Ok(settings) => settings,
        Err(problems) => return refuse(&problems.to_string()),
    };
    if telemetry::init(settings.log_level, LogFormat::Json).is_err() {
        return refuse("the log could not be started");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&format!("the runtime could not be started: {error}")),
    };
    match runtime.block_on(serve(settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            error!(message);
            ExitCode::FAILURE
        }
    }
}

/// Says in one line of the log why there is no function; Lambda reports the exit.
fn refuse(message: &str) -> ExitCode {
    write_line(&serde_json::json!({ "level": "ERROR", "message": message }).to_string());
    ExitCode::FAILURE
}

async fn serve(settings: FunctionSettings) -> Result<(), String> {
    let bundle = match &settings.ca_bundle {
        Some(path) => Some(std::fs::read(path).map_err(|error| format!("AWS_CA_BUNDLE {}: {error}", path.display()))?),
        None => None,
    };
    let tls = client_config(bundle.as_deref()).map_err(|error| format!("AWS_CA_BUNDLE: {error}"))?;
    let connector: Arc<dyn Connect> = Arc::new(Network::new(tls));
    let function = Function::new(
        settings,
        &connector,
        Box::new(|report, event_time_ms| {
            let now = millis_since_1970();
            #[expect(clippy::cast_precision_loss, reason = "a lag is far below 2^52 milliseconds")]
            let lag = event_time_ms.map(|then| (i64::try_from(now).unwrap_or(i64::MAX) - then).max(0) as f64 / 1e3);
            write_line(&emf(report, now, lag));
        }),
    );
    let sandbox = telemetry::sandbox();
    info!(sandbox, "start");
    let service = service_fn(|event: LambdaEvent<Box<RawValue>>| {
        let function = Arc::clone(&function);
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

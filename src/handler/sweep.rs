//! The sweep that the template's schedule asks for: `{"op": "sweep"}`.

use crate::engine::fault::{Fault, FaultClass};
use crate::events::answer::{Answer, fault_json};
use crate::handler::{Function, margin};
use crate::sync::sweep::{Counts, Finding, Mode, Sweep, Swept, sweep};
use crate::wire::deadline::Deadline;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;
use tracing::info;

impl Function {
    /// Removes what died work has left at the target. Of journals, only this sandbox's is known here.
    pub(crate) async fn sweep(&self, older_than: Duration, deadline: Instant) -> Answer {
        let margin = margin(deadline);
        let kept = match self.journal.uploads() {
            Ok(uploads) => uploads,
            Err(error) => {
                let fault = Fault::new(FaultClass::Internal, format!("the journal in /tmp could not be read: {error}"));
                return Answer::FunctionError {
                    error_type: fault.class.name().to_owned(),
                    error_message: fault.to_string(),
                };
            }
        };
        let work = Sweep {
            target: self.session.target.clone(),
            prefix: String::new(),
            older_than,
            kept,
            mode: Mode::Act,
            deadline: Deadline::at(deadline).earlier(margin),
            grace: margin / 4 * 3,
        };
        let told = |found: Finding<'_>| match found {
            Finding::Upload(open) => {
                info!(key = open.key.as_str(), upload = open.upload.as_str(), "sweep: aborting an upload")
            }
            Finding::Stage(stage) => {
                info!(key = stage.key.as_str(), version = stage.version.as_str(), "sweep: deleting a temporary object")
            }
        };
        let swept = sweep(&work, &told).await;
        let json = swept_json(&work, &swept);
        info!(summary = json.to_string(), "swept");
        match &swept.fault {
            Some(fault) => {
                Answer::FunctionError { error_type: fault.class.name().to_owned(), error_message: json.to_string() }
            }
            None => Answer::Success(json),
        }
    }
}

/// What a sweep came to, as its callers are told. Stable, like a report.
pub(crate) fn swept_json(sweep: &Sweep, swept: &Swept) -> Value {
    let counts = |of: &Counts| {
        json!({
            "found": of.found, "swept": of.swept, "foreign": of.foreign, "young": of.young, "kept": of.kept,
            "failed": of.failed,
        })
    };
    json!({
        "op": "sweep",
        "bucket": sweep.target.bucket.as_str(),
        "dry_run": sweep.mode == Mode::Dry,
        "older_than_hours": sweep.older_than.as_secs() / 3_600,
        "uploads": counts(&swept.uploads),
        "stages": counts(&swept.stages),
        "reason": swept.reason,
        "error": swept.fault.as_deref().map(fault_json),
    })
}

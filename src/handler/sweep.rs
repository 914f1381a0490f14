//! The sweep that the template's schedule asks for: `{"op": "sweep"}`.

use crate::engine::fault::{Fault, FaultClass};
use crate::events::answer::Answer;
use crate::handler::{Function, margin};
use crate::report::json::swept_json;
use crate::sync::sweep::{Finding, Mode, Sweep, sweep};
use crate::wire::deadline::Deadline;
use std::time::Duration;
use tokio::time::Instant;
use tracing::info;

impl Function {
    /// Removes what dead work has left at the target. Of journals, only this sandbox's is known here.
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

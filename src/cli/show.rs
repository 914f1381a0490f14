//! What a person or a script sees: results on stdout, everything else on stderr.

use crate::engine::fault::Fault;
use crate::engine::notes::Progress;
use crate::engine::report::{Outcome, Report};
use crate::report::json::{report_json, summary_json};
use crate::telemetry::write_line;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use std::convert::Infallible;
use std::io::{IsTerminal as _, Write as _, stderr};
use std::sync::Arc;
use std::time::Duration;

/// Ten times a second is smooth enough.
const TICK: Duration = Duration::from_millis(100);

pub(crate) fn problem(text: &str) {
    // A message that cannot be written is no reason to end otherwise.
    let _ = writeln!(stderr().lock(), "xpsync: {text}");
}

pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// None at all.
    pub(crate) fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// On stderr, if that is a terminal.
    pub(crate) fn on_terminal() -> Self {
        if !stderr().is_terminal() {
            return Self::hidden();
        }
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let template = "{bar:30} {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  ETA {eta}  {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// Shows a meter until it is dropped.
    pub(crate) async fn follow(&self, meter: Arc<Progress>) -> Infallible {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tick.tick().await;
            self.0.set_length(meter.total());
            self.0.set_position(meter.sent());
            self.0.set_message(format!("{} in flight", meter.in_flight()));
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

pub(crate) fn json(report: &Report) {
    write_line(&report_json(report).to_string());
    write_line(&json!({ "summary": summary_json(report) }).to_string());
}

/// The outcome in a line; on failure the reason and the advice on stderr.
pub(crate) fn text(report: &Report) {
    let names = format!(
        "s3://{}/{} -> s3://{}/{}",
        report.source.bucket, report.source.key, report.target.bucket, report.target.key
    );
    for left in &report.not_carried {
        problem(&format!("warning: not copied to the target: {}: {}", left.attribute, left.reason));
    }
    match report.outcome {
        Outcome::Copied => {
            let proofs: Vec<&str> = report.verified_by.iter().map(|proof| proof.name()).collect();
            let parts = match (report.parts, report.resumed_parts) {
                (1, 0) => String::new(),
                (parts, 0) => format!(", {parts} parts"),
                (parts, resumed) => format!(", {parts} parts sent, {resumed} resumed"),
            };
            write_line(&format!(
                "copied {names}  {} in {:.1} s ({}/s){parts}, {}",
                bytes(report.bytes),
                report.seconds,
                bytes(rate(report)),
                if report.is_proven() {
                    format!("proven by {}", proofs.join(", "))
                } else {
                    "NOT PROVEN (exit status 1)".to_owned()
                },
            ));
        }
        Outcome::Failed => {
            if let Some(fault) = &report.fault {
                explain(&names, fault);
            }
            write_line(&format!("failed {names}"));
        }
        Outcome::Resumable => {
            if let Some(fault) = &report.fault {
                explain(&names, fault);
            }
            let parts = report.parts.saturating_add(report.resumed_parts);
            problem(&format!("{parts} parts are kept at the target; run the same command again to resume"));
            write_line(&format!("resumable {names}"));
        }
        Outcome::Unchanged | Outcome::Deleted | Outcome::HandedOver | Outcome::Superseded | Outcome::Ignored => {
            write_line(&format!("{} {names}", report.outcome.name()));
        }
    }
    if let Some(reason) = &report.reason {
        problem(reason);
    }
}

/// Why something was not done, and what to do about it.
fn explain(names: &str, fault: &Fault) {
    let ids = match (&fault.request_id, &fault.host_id) {
        (Some(id), Some(host)) => format!(" (request id {id}, host id {host})"),
        (Some(id), None) => format!(" (request id {id})"),
        (None, _) => String::new(),
    };
    problem(&format!("{names}: {fault}{ids}"));
    if let Some(hint) = &fault.hint {
        problem(hint);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a rate that is shown"
)]
fn rate(report: &Report) -> u64 {
    if report.seconds > 0.0 { (report.bytes as f64 / report.seconds) as u64 } else { 0 }
}

fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

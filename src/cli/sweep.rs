//! `xpsync sweep`: what dead work has left at a target.

use crate::cli::args::{self, Ends};
use crate::cli::exit::{Exit, interrupted};
use crate::cli::profile::{connector, resolve_target};
use crate::cli::show;
use crate::engine::fault::FaultClass;
use crate::engine::pace::admission::Admission;
use crate::engine::pace::governor::FixedWindow;
use crate::journal::Journal;
use crate::report::json::{finding_json, swept_json};
use crate::s3::UploadId;
use crate::settings::state_folder;
use crate::sync::sweep::{Finding, Mode, Sweep, Swept, sweep};
use crate::telemetry::write_line;
use crate::wire::client::config::Config;
use crate::wire::deadline::Deadline;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// Requests under way: what is swept at a time.
const WINDOW: u32 = 16;
/// How long aborting our own upload may take after an interrupt.
const GRACE: Duration = Duration::from_secs(30);

pub(crate) async fn run(args: &args::SweepArgs) -> Exit {
    let work = match work(args).await {
        Ok(work) => work,
        Err(problem) => {
            show::problem(&problem);
            return Exit::Usage;
        }
    };
    let bucket = work.target.bucket.clone();
    let told = |found: Finding<'_>| {
        let line = if args.json { finding_json(found).to_string() } else { line(found, bucket.as_str(), work.mode) };
        write_line(&line);
    };
    let swept = sweep(&work, &told).await;
    if args.json {
        write_line(&json!({ "summary": swept_json(&work, &swept) }).to_string());
    } else {
        summary(&work, &swept);
    }
    exit(&swept)
}

fn exit(swept: &Swept) -> Exit {
    match swept.fault.as_ref().map(|fault| fault.class) {
        None => Exit::Done,
        Some(FaultClass::Interrupted) => Exit::Interrupted,
        Some(FaultClass::Configuration) => Exit::Usage,
        Some(_) => Exit::Failed,
    }
}

async fn work(args: &args::SweepArgs) -> Result<Sweep, String> {
    let Ends { source_profile, source_region, source_endpoint_url, target_secret_id, .. } = &args.ends;
    if source_endpoint_url.is_some() {
        return Err("--source-endpoint-url has no effect: a sweep does not use the source bucket".to_owned());
    }
    if target_secret_id.is_none() && (source_profile.is_some() || source_region.is_some()) {
        return Err("--source-profile and --source-region are only used together with --target-secret-id".to_owned());
    }
    let connector = connector()?;
    let access = resolve_target(&args.ends, &args.target.bucket, &connector).await?;
    let admission = Admission::new("target", FixedWindow::new(WINDOW));
    let asked = interrupted().map_err(|error| format!("cannot listen for Ctrl-C: {error}"))?;
    Ok(Sweep {
        target: access.client(Config::new("target", WINDOW), admission, &connector),
        prefix: args.target.key.as_ref().map(|key| key.as_str().to_owned()).unwrap_or_default(),
        older_than: args.older_than,
        kept: kept()?,
        mode: if args.abort { Mode::Act } else { Mode::Dry },
        deadline: Deadline::never().or_asked(asked),
        grace: GRACE,
    })
}

/// What copies of this machine resume, or could: a journal that cannot be read would let their work be swept.
fn kept() -> Result<BTreeSet<UploadId>, String> {
    let Some(folder) = state_folder() else { return Ok(BTreeSet::new()) };
    let named = Journal::new(folder.join("uploads")).uploads();
    named.map_err(|error| {
        format!(
            "cannot read the journal in {}: {error}; nothing was swept, because it may list uploads that must be kept",
            folder.display()
        )
    })
}

fn line(found: Finding<'_>, bucket: &str, mode: Mode) -> String {
    let verb = match (mode, found) {
        (Mode::Dry, Finding::Upload(_)) => "would abort",
        (Mode::Act, Finding::Upload(_)) => "abort",
        (Mode::Dry, Finding::Stage(_)) => "would delete",
        (Mode::Act, Finding::Stage(_)) => "delete",
    };
    match found {
        Finding::Upload(open) => format!("{verb} s3://{bucket}/{}  upload {}", open.key, open.upload.as_str()),
        Finding::Stage(stage) => format!("{verb} s3://{bucket}/{}  version {}", stage.key, stage.version.as_str()),
    }
}

/// The counts in a line; what went wrong on stderr.
fn summary(work: &Sweep, swept: &Swept) {
    let done = match work.mode {
        Mode::Dry => "would be removed",
        Mode::Act => "swept",
    };
    let (uploads, stages) = (&swept.uploads, &swept.stages);
    write_line(&format!(
        "{} open uploads: {} {done}, {} of other users, {} too recent, {} in the journal, {} failed; {} temporary \
         objects: {} {done}, {} too recent, {} failed",
        uploads.found,
        uploads.swept,
        uploads.foreign,
        uploads.young,
        uploads.kept,
        uploads.failed,
        stages.found,
        stages.swept,
        stages.young,
        stages.failed,
    ));
    if let Some(reason) = &swept.reason {
        show::problem(reason);
    }
    if let Some(fault) = &swept.fault {
        show::problem(&fault.to_string());
        if let Some(hint) = &fault.hint {
            show::problem(hint);
        }
    }
}

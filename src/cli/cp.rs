//! `xpsync cp`: one object, now.

use crate::cli::args::{AutoOr, Buffer, Count, CpArgs, Size};
use crate::cli::exit::{Exit, interrupted};
use crate::cli::profile::{connector, resolve};
use crate::cli::show;
use crate::engine::buffer::{BufferLimits, TmpLimit, default_tmp_limit};
use crate::engine::copy::copy;
use crate::engine::decide::reserved;
use crate::engine::decide::ticket::{UploadJournal, WhenStopped};
use crate::engine::fault::FaultClass;
use crate::engine::job::{Job, Ongoing, Trigger};
use crate::engine::report::{Outcome, Report};
use crate::engine::session::options::{Buffering, Options};
use crate::engine::session::{Access, Session, SessionConfig, Window};
use crate::journal::{CopyName, Journal, ObjectName, PriorRun};
use crate::s3::Key;
use crate::settings::state_folder;
use crate::wire::deadline::Deadline;
use std::sync::Arc;

/// Copies the object and shows what became of it.
pub(crate) async fn run(cp: &CpArgs) -> Exit {
    let job = match job(cp).await {
        Ok(job) => job,
        Err(problem) => {
            show::problem(&problem);
            return Exit::Usage;
        }
    };
    let report = {
        let bar = if cp.json { show::Bar::hidden() } else { show::Bar::on_terminal() };
        let showing = bar.follow(Arc::clone(&job.progress));
        tokio::select! {
            report = copy(&job) => report,
            never = showing => match never {},
        }
    };
    if cp.json {
        show::json(&report)
    } else {
        show::text(&report)
    }
    exit(&report)
}

fn exit(report: &Report) -> Exit {
    match report.outcome {
        Outcome::Unchanged => Exit::Done,
        Outcome::Copied if report.is_proven() => Exit::Done,
        Outcome::Copied | Outcome::Deleted | Outcome::HandedOver | Outcome::Superseded | Outcome::Ignored => {
            Exit::Failed
        }
        Outcome::Failed | Outcome::Resumable => match report.fault.as_ref().map(|fault| fault.class) {
            Some(FaultClass::Interrupted) => Exit::Interrupted,
            Some(FaultClass::Configuration) => Exit::Usage,
            _ => Exit::Failed,
        },
    }
}

async fn job(cp: &CpArgs) -> Result<Job, String> {
    let key =
        cp.source.key.clone().ok_or("the source has no key: give s3://BUCKET/KEY (xpsync cp copies one object)")?;
    let target_key = cp.target.key.clone().unwrap_or_else(|| key.clone());
    if target_key.as_str().starts_with(reserved::PREFIX) {
        return Err(format!(
            "target keys under {} are reserved for xpsync's temporary objects: choose another target key",
            reserved::PREFIX
        ));
    }
    let connector = connector()?;
    let (source, target) = resolve(&cp.ends, &cp.source.bucket, &cp.target.bucket, &connector).await?;
    let tmp_dir = cp.tmp_dir.clone().unwrap_or_else(std::env::temp_dir);
    let tmp = cp.tmp_limit.unwrap_or_else(|| default_tmp_limit(&tmp_dir));
    let asked = interrupted().map_err(|error| format!("cannot listen for Ctrl-C: {error}"))?;
    let ongoing = ongoing(CopyName { source: named(&source, &key), target: named(&target, &target_key) }).await;
    let config = SessionConfig {
        source_window: Window::Adaptive,
        target_window: match cp.concurrency {
            AutoOr::Auto => Window::Adaptive,
            AutoOr::Own(Count(count)) => Window::Fixed(count),
        },
        buffers: BufferLimits { memory: cp.memory_limit, tmp_dir, tmp: TmpLimit::Bytes(tmp) },
        options: Options {
            etag: cp.etag,
            part_size: match cp.part_size {
                AutoOr::Auto => None,
                AutoOr::Own(Size(bytes)) => Some(bytes),
            },
            buffering: match cp.buffer {
                Buffer::Auto => Buffering::Fitting,
                Buffer::Memory => Buffering::Memory,
                Buffer::Tmp => Buffering::Tmp,
            },
            ..Options::default()
        },
        patience: std::convert::identity,
    };
    let mut job = Job::new(Session::new(source, target, &connector, config), key, target_key, Trigger::Command);
    job.deadline = Deadline::never().or_asked(asked);
    job.ongoing = ongoing;
    Ok(job)
}

fn named(access: &Access, key: &Key) -> ObjectName {
    let endpoint = access.endpoint.locate(&access.bucket, None).authority();
    ObjectName { endpoint, bucket: access.bucket.as_str().to_owned(), key: key.as_str().to_owned() }
}

/// What an earlier run of the same command has left. Where it cannot be written down what this one leaves, nothing is
/// left.
async fn ongoing(names: CopyName) -> Ongoing {
    let Some(folder) = state_folder() else {
        show::problem(
            "warning: neither XDG_STATE_HOME nor HOME is set, so this copy cannot be resumed if it is interrupted",
        );
        return Ongoing::default();
    };
    let journal = Journal::new(folder.join("uploads"));
    let opened = tokio::task::spawn_blocking(move || journal.open(names)).await;
    match opened.unwrap_or_else(|_| Err(std::io::Error::other("internal error: the thread of the journal panicked"))) {
        Ok(Some((entry, PriorRun { ticket, intended }))) => {
            let journal: Option<Arc<dyn UploadJournal>> = Some(Arc::new(entry));
            Ongoing { ticket, intended, when_stopped: WhenStopped::Keep, journal, ..Ongoing::default() }
        }
        Ok(None) => {
            show::problem(
                "warning: another xpsync is copying the same object, so this copy cannot be resumed if it is \
                 interrupted",
            );
            Ongoing::default()
        }
        Err(error) => {
            let folder = folder.display();
            show::problem(&format!(
                "warning: cannot use the journal in {folder}: {error}; this copy cannot be resumed if it is \
                 interrupted"
            ));
            Ongoing::default()
        }
    }
}

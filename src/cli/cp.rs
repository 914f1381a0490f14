//! `xpsync cp`: one object, now.

use crate::cli::args::{AutoOr, Buffer, Count, CpArgs, Size};
use crate::cli::profile::{ResolvedSide, connector, resolve};
use crate::cli::show;
use crate::cli::{Exit, interrupted};
use crate::engine::buffer::{BufferLimits, Buffers, TmpLimit, default_tmp_limit};
use crate::engine::copy::copy;
use crate::engine::decide::plan::PartSizeTable;
use crate::engine::decide::reserved;
use crate::engine::decide::staging;
use crate::engine::decide::ticket::WhenStopped;
use crate::engine::fault::FaultClass;
use crate::engine::job::{Buffering, Deletes, Job, ObjectClient, Ongoing, Options, Trigger};
use crate::engine::notes::Progress;
use crate::engine::pace::adaptive::Adaptive;
use crate::engine::pace::admission::Admission;
use crate::engine::pace::governor::{Bounds, FixedWindow};
use crate::engine::report::{Outcome, Report};
use crate::journal::{CopyName, Journal, ObjectName, PriorRun};
use crate::s3::{Bucket, Key};
use crate::settings::state_folder;
use crate::wire::client::call::{Client, Config};
use crate::wire::deadline::Deadline;
use crate::wire::net::host_limits::HostLimits;
use std::sync::Arc;
use std::time::Duration;

/// How long aborting may take after an interrupt, where nothing can be kept.
const GRACE: Duration = Duration::from_secs(30);

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
    let (source, target) = resolve(&cp.ends, &cp.target.bucket, &connector).await?;
    let room = HostLimits::of_this_machine();
    let (at_source, at_target) = (Bounds::at_source(room), Bounds::at_target(room));
    let source_gate = Admission::new("source", Adaptive::new(at_source));
    let (target_gate, most) = match cp.concurrency {
        AutoOr::Auto => (Admission::new("target", Adaptive::new(at_target)), at_target.most),
        AutoOr::Own(Count(count)) => (Admission::new("target", FixedWindow::new(count)), count),
    };
    let client = |side, gate: Admission, window, reached: ResolvedSide| {
        let gate = Arc::new(gate);
        let config = Config::new(side, window);
        Client::new(config, reached.endpoint, reached.region, reached.keys, gate, Arc::clone(&connector))
    };
    let tmp_dir = cp.tmp_dir.clone().unwrap_or_else(std::env::temp_dir);
    let tmp = cp.tmp_limit.unwrap_or_else(|| default_tmp_limit(&tmp_dir));
    let limits = BufferLimits { memory: cp.memory_limit, tmp_dir, tmp: TmpLimit::Bytes(tmp) };
    let asked = interrupted().map_err(|error| format!("cannot listen for Ctrl-C: {error}"))?;
    let names = CopyName {
        source: named(&source, &cp.source.bucket, &key),
        target: named(&target, &cp.target.bucket, &target_key),
    };
    let ongoing = ongoing(names).await;
    Ok(Job {
        source: ObjectClient {
            client: client("source", source_gate, at_source.most, source),
            bucket: cp.source.bucket.clone(),
            key,
        },
        target: ObjectClient {
            client: client("target", target_gate, most, target),
            bucket: cp.target.bucket.clone(),
            key: target_key,
        },
        options: Options {
            etag: cp.etag,
            staging: staging::StagingLimits::default(),
            table: PartSizeTable::V1,
            part_size: match cp.part_size {
                AutoOr::Auto => None,
                AutoOr::Own(Size(bytes)) => Some(bytes),
            },
            buffering: match cp.buffer {
                Buffer::Auto => Buffering::Fitting,
                Buffer::Memory => Buffering::Memory,
                Buffer::Tmp => Buffering::Tmp,
            },
            parts_in_flight: most as usize,
            storage_class: None,
            kms_key: None,
            deletes: Deletes::Keep,
        },
        size_hint: None,
        trigger: Trigger::Command,
        deadline: Deadline::never().or_asked(asked),
        grace: GRACE,
        buffers: Arc::new(Buffers::new(limits)),
        progress: Arc::new(Progress::default()),
        ongoing,
    })
}

fn named(end: &ResolvedSide, bucket: &Bucket, key: &Key) -> ObjectName {
    let endpoint = end.endpoint.locate(bucket, None).authority();
    ObjectName { endpoint, bucket: bucket.as_str().to_owned(), key: key.as_str().to_owned() }
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
            Ongoing { ticket, intended, when_stopped: WhenStopped::Keep, journal: Some(Arc::new(entry)) }
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

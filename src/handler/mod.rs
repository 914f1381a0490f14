//! The function: payload bytes and a deadline in, an answer out. The same in Lambda, in the demonstration and in tests.
//!
//! Owns what outlives an invocation: clients, budgets, the keys of the target. Must not know the Runtime API. What is
//! done about messages of the queue is in `batch`, what a killed sandbox left in `leftovers`, what all sandboxes left
//! in `sweep`.

mod batch;
mod leftovers;
pub(crate) mod sweep;

use crate::engine::buffer::{BufferLimits, Buffers, TmpLimit};
use crate::engine::copy::copy;
use crate::engine::decide::plan::PartSizeTable;
use crate::engine::decide::reserved;
use crate::engine::decide::staging::StagingLimits;
use crate::engine::fault::{Fault, FaultClass, Side};
use crate::engine::job::{Job, Ongoing, Trigger};
use crate::engine::report::{ObjectRef, Outcome, Report};
use crate::engine::session::options::{Buffering, Options};
use crate::engine::session::{Access, Session, SessionConfig, Window};
use crate::events::answer::Answer;
use crate::events::read;
use crate::events::task::{Invocation, Item, Task};
use crate::journal::{Journal, Leftovers};
use crate::queue::Queues;
use crate::report::json::report_json;
use crate::s3::Key;
use crate::secrets::{self, Secret};
use crate::settings::FunctionSettings;
use crate::sync::sweep::DEFAULT_AGE;
use crate::telemetry;
use crate::wire::client::config::Config;
use crate::wire::deadline::Deadline;
use crate::wire::keys::{CachedKeys, Fixed};
use crate::wire::net::connect::Connect;
use crate::wire::sdk;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{error, info};

/// Records that are worked on at a time: more than the windows let out, few enough that what each remembers is nothing
/// beside the part buffers.
const RECORDS_AT_ONCE: usize = 512;
/// What is kept of an invocation's time to abort what is open, see it aborted, and answer: some twenty round trips of
/// the border.
const MARGIN: Duration = Duration::from_secs(8);
/// Connections that begin to open on each side before it is known what an invocation wants: one for each message of the
/// template's batches. More would be for nothing where one object comes; what a larger batch needs is opened with it.
const AHEAD: u32 = 10;
/// What of /tmp slots may take, in hundredths of what is free.
const TMP_SHARE: u64 = 90;

/// What is worth telling whoever keeps metrics.
#[derive(Debug, Clone, Copy)]
pub enum Measurement<'a> {
    /// What became of an object, with the milliseconds since 1970 at which its event happened.
    Object(&'a Report, Option<i64>),
    /// What an invocation came to.
    Invocation(&'a telemetry::InvocationMetrics),
}

pub(crate) type MetricsSink = Box<dyn Fn(Measurement<'_>) + Send + Sync>;

/// What the function is given besides its settings. Lambda's has the default; a test that breaks the world cannot wait
/// for minutes, nor move gigabytes.
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// By which table objects are cut.
    pub table: PartSizeTable,
    /// What becomes of each client's patience.
    pub patience: fn(Config) -> Config,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { table: PartSizeTable::V1, patience: std::convert::identity }
    }
}

/// The function's state between invocations.
pub struct Function {
    settings: FunctionSettings,
    session: Session,
    records: Arc<Semaphore>,
    queues: Queues,
    journal: Journal,
    metrics: MetricsSink,
}

impl Function {
    /// A function that has not connected to anything yet.
    pub fn new(settings: FunctionSettings, connector: &Arc<dyn Connect>, metrics: MetricsSink) -> Arc<Self> {
        Self::tuned(settings, connector, metrics, Tuning::default())
    }

    /// The same with another table, or other patience.
    pub fn tuned(
        settings: FunctionSettings,
        connector: &Arc<dyn Connect>,
        metrics: MetricsSink,
        tuning: Tuning,
    ) -> Arc<Self> {
        let Tuning { table, patience } = tuning;
        let credentials = || settings.source_credentials.clone();
        let source = Access {
            bucket: settings.source.bucket.clone(),
            endpoint: settings.source.endpoint.clone(),
            region: settings.source.region.clone(),
            credentials: Arc::new(Fixed(credentials())),
        };
        let http = sdk::http_client(Arc::clone(connector));
        let secrets = secrets::client(&source.region, credentials(), settings.secrets_endpoint.as_deref(), http);
        let target = Access {
            bucket: settings.target.bucket.clone(),
            endpoint: settings.target.endpoint.clone(),
            region: settings.target.region.clone(),
            credentials: Arc::new(CachedKeys::new(Secret::new(secrets, &settings.secret_id))),
        };
        let queues = Queues::new(
            source.region.clone(),
            credentials(),
            settings.queue_endpoint.as_deref(),
            sdk::Transport::new(Arc::clone(connector)),
        );
        let config = SessionConfig {
            source_window: Window::Adaptive,
            target_window: Window::Adaptive,
            buffers: BufferLimits {
                memory: settings.heap_budget,
                tmp_dir: settings.tmp_dir.clone(),
                tmp: TmpLimit::ShareOfFree(TMP_SHARE),
            },
            options: Options {
                etag: settings.etag_mode,
                staging: StagingLimits::of(&table),
                table,
                part_size: None,
                buffering: Buffering::Auto(settings.memory_threshold),
                storage_class: settings.storage_class.clone(),
                kms_key: settings.kms_key.clone(),
                deletes: settings.deletes,
            },
            patience,
        };
        let session = Session::new(source, target, connector, config);
        let records = Arc::new(Semaphore::new(RECORDS_AT_ONCE));
        let journal = Journal::new(settings.tmp_dir.join("xpsync-uploads"));
        Arc::new(Self { settings, session, records, queues, journal, metrics })
    }

    /// Begins what the first invocation would wait for otherwise: fetching the target's keys, and opening connections.
    /// It waits for nothing, and nothing fails here: what cannot be had is found out by the request that needs it.
    /// What the sandbox froze meanwhile is dropped when the invocation begins.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn warm_up(&self) {
        self.session.target.client.fetch_keys();
        self.session.target.client.warm(&self.settings.target.bucket, AHEAD);
        self.session.source.client.warm(&self.settings.source.bucket, AHEAD);
    }

    /// Where parts wait.
    pub fn buffers(&self) -> &Buffers {
        &self.session.buffers
    }

    /// Handles one invocation. Every failure is in the answer; every record has a report in the log.
    ///
    /// # Cancel safety
    /// Uploads may be left open; it ends by itself before the deadline.
    pub async fn handle(self: &Arc<Self>, payload: &[u8], deadline: Instant) -> Answer {
        let until = deadline.checked_sub(margin(deadline)).unwrap_or(deadline);
        self.session.source.client.begin_invocation(until);
        self.session.target.client.begin_invocation(until);
        let invocation = match read(payload, &self.settings.source.bucket) {
            Ok(invocation) => invocation,
            Err(refused) => {
                let report = refused.report(&self.settings.source.bucket, &self.settings.target.bucket);
                self.record_report(&report, None);
                return Answer::of_one(&report);
            }
        };
        match invocation {
            Invocation::One(task) => {
                let reports = Box::pin(self.in_turn(vec![Ok(task)], None, deadline)).await;
                match reports.first() {
                    Some(report) => Answer::of_one(report),
                    None => Answer::of_notifications(&reports),
                }
            }
            Invocation::Notifications(items) => {
                Answer::of_notifications(&Box::pin(self.in_turn(items, None, deadline)).await)
            }
            // Boxed, because what it waits for is deep in an SDK.
            Invocation::Messages(messages) => Box::pin(self.messages(messages, deadline)).await,
            Invocation::Sweep(older_than) => self.sweep(older_than.unwrap_or(DEFAULT_AGE), deadline).await,
        }
    }

    /// Begins to open a connection to the target for each record that may want one, and to fetch its keys, while the
    /// source is still to be asked. How many those are.
    fn expect(&self, items: &[Item]) -> u32 {
        let wanted = items.iter().filter(|item| match item {
            Ok(Task::Reconcile { key, .. }) => self.settings.filter.includes(key.as_str()),
            Ok(Task::Ignored { .. }) | Err(_) => false,
        });
        let wanted = u32::try_from(wanted.count()).unwrap_or(u32::MAX);
        if wanted > 0 {
            self.session.target.client.fetch_keys();
            self.session
                .target
                .client
                .warm(&self.settings.target.bucket, wanted.min(self.session.target.client.window()));
        }
        wanted
    }

    /// Works on records, each in a task of its own, and reports in their order.
    async fn records(self: &Arc<Self>, items: Vec<Item>, left: &Arc<Leftovers>, deadline: Instant) -> Vec<Report> {
        let tasks: Vec<(ObjectRef, Option<i64>, JoinHandle<Report>)> = items
            .into_iter()
            .map(|item| {
                let (place, time) = match &item {
                    Ok(Task::Reconcile { key, event_time_ms, .. }) => (self.source_ref(Some(key)), *event_time_ms),
                    Ok(Task::Ignored { key, .. }) => (self.source_ref(key.as_ref()), None),
                    Err(_) => (self.source_ref(None), None),
                };
                let (function, left) = (Arc::clone(self), Arc::clone(left));
                (place, time, tokio::spawn(async move { function.record(item, &left, deadline).await }))
            })
            .collect();
        let mut reports = Vec::with_capacity(tasks.len());
        for (place, time, task) in tasks {
            let report = task.await.unwrap_or_else(|panic| {
                let fault =
                    Fault::new(FaultClass::Internal, format!("internal error while handling this record: {panic}"))
                        .with_hint("This is a bug in xpsync. Please report it with the log of this invocation.");
                Report::failed(place, self.target_ref(None), fault)
            });
            self.record_report(&report, time);
            reports.push(report);
        }
        reports
    }

    async fn record(&self, item: Item, left: &Leftovers, deadline: Instant) -> Report {
        let (key, size_hint, continued) = match item {
            Err(refused) => return refused.report(&self.settings.source.bucket, &self.settings.target.bucket),
            Ok(Task::Ignored { what, key }) => {
                return self.ignored(
                    key.as_ref(),
                    format!("events of type {what} are ignored: they do not change an object's content"),
                );
            }
            Ok(Task::Reconcile { key, size_hint, continued, .. }) => (key, size_hint, continued),
        };
        if !self.settings.filter.includes(key.as_str()) {
            return self.ignored(Some(&key), "excluded by the filter (ExcludeGlobs, IncludeGlobs)".to_owned());
        }
        let target_key = match self.settings.target_key(&key) {
            Ok(target_key) => target_key,
            Err(invalid) => {
                let fault = Fault::new(
                    FaultClass::Configuration,
                    format!("the key is too long with TARGET_PREFIX before it: {invalid}"),
                );
                return Report::failed(self.source_ref(Some(&key)), self.target_ref(None), fault);
            }
        };
        if target_key.as_str().starts_with(reserved::PREFIX) {
            return self.ignored(
                Some(&key),
                format!("target keys under {} are reserved for xpsync's temporary objects", reserved::PREFIX),
            );
        }
        // Closed never: the semaphore lives as long as the function.
        let _turn = self.records.acquire().await;
        let ongoing = self.ongoing(&key, &target_key, left, continued.as_deref());
        self.with_secret(copy(&self.job(key, target_key, size_hint, deadline, ongoing)).await)
    }

    /// Names the secret where its keys were refused, or may have been: keys of another user, account or partition.
    fn with_secret(&self, mut report: Report) -> Report {
        if let Some(fault) = &mut report.fault
            && matches!(fault.status, Some(400 | 403))
            && fault.side == Some(Side::Target)
            && let Some(hint) = &mut fault.hint
        {
            hint.push_str(&format!(" The target's keys come from the secret `{}`.", self.settings.secret_id));
        }
        report
    }

    fn job(&self, key: Key, target_key: Key, size_hint: Option<u64>, deadline: Instant, ongoing: Ongoing) -> Job {
        let margin = margin(deadline);
        let mut job = Job::new(self.session.clone(), key, target_key, Trigger::Event);
        job.size_hint = size_hint;
        job.deadline = Deadline::at(deadline).earlier(margin);
        job.grace = margin / 4 * 3;
        job.ongoing = ongoing;
        job
    }

    fn ignored(&self, key: Option<&Key>, reason: String) -> Report {
        let report = Report::new(Outcome::Ignored, self.source_ref(key), self.target_ref(None));
        Report { reason: Some(reason), ..report }
    }

    fn source_ref(&self, key: Option<&Key>) -> ObjectRef {
        let key = key.map(|key| key.as_str().to_owned()).unwrap_or_default();
        ObjectRef { bucket: self.settings.source.bucket.to_string(), key, ..ObjectRef::default() }
    }

    fn target_ref(&self, key: Option<&Key>) -> ObjectRef {
        let key = key.map(|key| key.as_str().to_owned()).unwrap_or_default();
        ObjectRef { bucket: self.settings.target.bucket.to_string(), key, ..ObjectRef::default() }
    }

    fn record_report(&self, report: &Report, event_time_ms: Option<i64>) {
        let json = report_json(report).to_string();
        match report.outcome {
            Outcome::Failed | Outcome::Resumable => {
                error!(outcome = report.outcome.name(), key = report.source.key, report = json, "report")
            }
            Outcome::Copied
            | Outcome::Unchanged
            | Outcome::Deleted
            | Outcome::HandedOver
            | Outcome::Superseded
            | Outcome::Ignored => {
                info!(outcome = report.outcome.name(), key = report.source.key, report = json, "report");
            }
        }
        (self.metrics)(Measurement::Object(report, event_time_ms));
    }
}

/// What is kept of the time until an invocation's deadline.
pub(crate) fn margin(deadline: Instant) -> Duration {
    MARGIN.min(deadline.saturating_duration_since(Instant::now()) / 4)
}

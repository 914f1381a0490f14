//! Where cases are played: two servers and a vault for many of them, and for each its buckets and sandboxes.
//!
//! A sandbox is a runtime of its own with the function in it, so that killing it ends every task of it wherever it is,
//! as the end of a process does; its sockets close, and nothing of it runs on.

use super::play::Case;
use super::script::{Crypt, Deletes, End, Etag, Script, Slots, Sums, Unit, Versions};
use crate::rig::world::{SECRET, secret_of};
use fakes::aws::queue::Queue;
use fakes::aws::vault::Vault;
use fakes::s3::auth::keys::KeyPair;
use fakes::server::Server;
use fakes::store::object::{BucketConfig, Encryption};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;
use xpsync::demo::pair::{Pair, SOURCE_REGION, TARGET_REGION, source_keys, target_keys};
use xpsync::engine::decide::plan::EtagMode;
use xpsync::events::answer::Answer;
use xpsync::handler::{Function, Measurement, Tuning};
use xpsync::journal::Journal;
use xpsync::report::json::report_json;
use xpsync::settings::FunctionSettings;
use xpsync::wire::client::config::Config;
use xpsync::wire::net::connect::{Connect, Network};
use xpsync::wire::net::tls::client_config;

/// How long a client waits for a server that stands still: what a stall costs a case, and longer than a busy machine
/// takes for an answer.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Slots on the heap, in units: a few parts, or one object that goes in one PUT and a little more.
const HEAP_UNITS: u64 = 40;

/// Two servers and a vault.
pub(crate) struct Stage {
    pub(crate) pair: Arc<Pair>,
    pub(crate) vault: Vault,
    pub(crate) queue: Queue,
    connector: Arc<dyn Connect>,
    cases: AtomicU64,
}

/// The buckets of a case: its own, so that a request that a server is still at when the case is over harms no other.
#[derive(Debug)]
pub(crate) struct Buckets {
    pub(crate) source: String,
    pub(crate) target: String,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let pair = crate::rig::pair().await;
        let vault = Vault::start(Some(pair.authority().as_ref())).await.unwrap();
        let queue = Queue::start(Some(pair.authority().as_ref())).await.unwrap();
        let tls = client_config(Some(pair.authority().pem().as_bytes())).unwrap();
        Self { pair: Arc::new(pair), vault, queue, connector: Arc::new(Network::new(tls)), cases: AtomicU64::new(0) }
    }

    pub(crate) fn server(&self, end: End) -> &Server {
        match end {
            End::AtSource => &self.pair.source,
            End::AtTarget => &self.pair.target,
        }
    }

    /// Everything as it is before a case: empty buckets of its kind, the keys of the first day, right clocks, no
    /// faults.
    pub(crate) fn set(&self, script: &Script) -> Buckets {
        let case = self.cases.fetch_add(1, Ordering::Relaxed);
        let buckets = Buckets { source: format!("china-source-{case}"), target: format!("global-target-{case}") };
        self.calm();
        self.give_keys(&target_keys());
        self.vault.set(SECRET, &secret_of(&target_keys()));
        let _of_another_case = self.queue.take();
        for (end, bucket, of) in
            [(End::AtSource, &buckets.source, script.source), (End::AtTarget, &buckets.target, script.target)]
        {
            let store = self.server(end).store();
            store.create_bucket(
                bucket,
                BucketConfig {
                    versioned: of.versions == Versions::All,
                    encryption: match of.crypt {
                        Crypt::Plain => Encryption::Plain,
                        Crypt::SseS3 => Encryption::Aes256,
                        Crypt::Kms => Encryption::Kms("arn:aws:kms:key".to_owned()),
                    },
                    stores_checksums: of.sums == Sums::Stored,
                },
            );
            store.set_smallest_part(script.unit.table().part_min);
            store.record();
            self.server(end).forget();
        }
        buckets
    }

    /// Nothing is left of a case.
    pub(crate) fn clear(&self, buckets: &Buckets) {
        self.calm();
        self.pair.source.store().delete_bucket(&buckets.source);
        self.pair.target.store().delete_bucket(&buckets.target);
    }

    /// Nothing goes wrong any more.
    pub(crate) fn calm(&self) {
        for end in [End::AtSource, End::AtTarget] {
            self.server(end).faults().clear();
            self.server(end).set_clock_ahead(0);
        }
    }

    /// The target takes no other keys than these.
    pub(crate) fn give_keys(&self, keys: &KeyPair) {
        self.pair.target.keys().set(vec![keys.clone()]);
    }
}

/// One process with the function in it.
pub(crate) struct Sandbox {
    runtime: Runtime,
    function: Arc<Function>,
    /// Whether it is being killed: what it says then, nobody hears.
    is_dying: Arc<AtomicBool>,
}

impl Sandbox {
    fn new(case: &Weak<Case>, folder: &Path) -> Self {
        let told = Weak::clone(case);
        let case = case.upgrade().unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let tuning = Tuning {
            table: case.script.unit.table(),
            patience: |config| Config { first_byte: PATIENCE, slow_first_byte: PATIENCE, stall: PATIENCE, ..config },
        };
        std::fs::create_dir_all(folder).unwrap();
        let settings = settings(&case, folder);
        let is_dying = Arc::new(AtomicBool::new(false));
        let dying = Arc::clone(&is_dying);
        let on_told = move |what: Measurement<'_>| {
            if let (Measurement::Object(report, _), Some(case), false) =
                (what, told.upgrade(), dying.load(Ordering::SeqCst))
            {
                case.heard(report_json(report));
            }
        };
        let function = {
            let _inside = runtime.enter();
            Function::tuned(settings, &case.stage.connector, Box::new(on_told), tuning)
        };
        Self { runtime, function, is_dying }
    }
}

fn settings(case: &Case, folder: &Path) -> FunctionSettings {
    let Case { stage, script, buckets, .. } = case;
    let (source, target) = (stage.pair.source.endpoint(), stage.pair.target_endpoint());
    let (secrets, queues, keys) = (stage.vault.endpoint(), stage.queue.endpoint(), source_keys());
    let pairs = [
        ("SOURCE_REGION", SOURCE_REGION),
        ("SOURCE_BUCKET", &buckets.source),
        ("TARGET_REGION", TARGET_REGION),
        ("TARGET_BUCKET", &buckets.target),
        ("SECRET_ID", SECRET),
        ("SOURCE_ENDPOINT_URL", &source),
        ("TARGET_ENDPOINT_URL", &target),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &secrets),
        ("AWS_ENDPOINT_URL_SQS", &queues),
        ("TMPDIR", folder.to_str().unwrap()),
        ("AWS_ACCESS_KEY_ID", &keys.access_key),
        ("AWS_SECRET_ACCESS_KEY", &keys.secret_key),
        ("SYNC_DELETES", if script.deletes == Deletes::Synced { "true" } else { "false" }),
    ];
    let pairs = pairs.iter().map(|(name, value)| (String::from(*name), String::from(*value)));
    let mut settings = FunctionSettings::from_pairs(pairs).unwrap();
    settings.heap_budget = budget(script.unit);
    settings.memory_threshold = match script.slots {
        Slots::OnHeap => u64::MAX,
        Slots::InTmp => 0,
    };
    settings.etag_mode = match script.etag {
        Etag::Auto => EtagMode::Auto,
        Etag::Any => EtagMode::Any,
        Etag::Preserve => EtagMode::Preserve,
    };
    settings
}

fn budget(unit: Unit) -> u64 {
    HEAP_UNITS * unit.bytes()
}

/// Who handles an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    First,
    Second,
    /// The one that handles what happens beside a request of the others; it is never killed.
    Beside,
}

/// The sandboxes of a case, each started when it is first wanted, with a /tmp that outlives its process.
pub(crate) struct Sandboxes {
    case: Weak<Case>,
    running: Mutex<[Option<Sandbox>; 3]>,
    peak: Mutex<u64>,
    folder: PathBuf,
}

impl Drop for Sandboxes {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Sandboxes {
    pub(crate) fn new(case: Weak<Case>) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("model-{:016x}", fastrand::u64(..)));
        Self { case, running: Mutex::default(), peak: Mutex::default(), folder }
    }

    fn folder(&self, who: Who) -> PathBuf {
        self.folder.join(format!("{who:?}"))
    }

    /// Whether there ever was one.
    pub(crate) fn has_been(&self, who: Who) -> bool {
        self.folder(who).exists()
    }

    fn running(&self) -> MutexGuard<'_, [Option<Sandbox>; 3]> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One invocation; `None` if it was killed.
    pub(crate) async fn invoke(&self, who: Who, payload: String, time: Duration) -> Option<Answer> {
        let (runtime, function, is_dying) = {
            let mut running = self.running();
            let Sandbox { runtime, function, is_dying } =
                running[who as usize].get_or_insert_with(|| Sandbox::new(&self.case, &self.folder(who)));
            (runtime.handle().clone(), Arc::clone(function), Arc::clone(is_dying))
        };
        let deadline = Instant::now() + time;
        let answer = runtime.spawn(async move { function.handle(payload.as_bytes(), deadline).await }).await;
        answer.ok().filter(|_| !is_dying.load(Ordering::SeqCst))
    }

    /// Kills the two sandboxes that may be killed, and waits until nothing of them runs. The uploads that they had
    /// written down.
    pub(crate) async fn kill(&self) -> BTreeSet<String> {
        let killed = self.end(&[Who::First, Who::Second]).await;
        let journals = killed.into_iter().map(|who| Journal::new(self.folder(who).join("xpsync-uploads")));
        let uploads = journals.flat_map(|journal| journal.uploads().unwrap());
        uploads.map(|upload| upload.as_str().to_owned()).collect()
    }

    /// Ends all; the most memory that slots had in one of them, in hundredths of its budget.
    pub(crate) async fn stop(&self, unit: Unit) -> u64 {
        self.end(&[Who::First, Who::Second, Who::Beside]).await;
        *self.peak.lock().unwrap_or_else(PoisonError::into_inner) * 100 / budget(unit)
    }

    /// Ends these; those that were there.
    async fn end(&self, whom: &[Who]) -> Vec<Who> {
        let ended: Vec<(Who, Sandbox)> = {
            let mut running = self.running();
            whom.iter().filter_map(|who| Some((*who, running[*who as usize].take()?))).collect()
        };
        for (_, sandbox) in &ended {
            sandbox.is_dying.store(true, Ordering::SeqCst);
        }
        let mut whom = Vec::new();
        for (who, Sandbox { runtime, function, .. }) in ended {
            let peak = function.buffers().peak();
            {
                let mut known = self.peak.lock().unwrap_or_else(PoisonError::into_inner);
                *known = peak.max(*known);
            }
            drop(function);
            // Waits for its threads, which no asynchronous task may.
            tokio::task::spawn_blocking(move || runtime.shutdown_timeout(Duration::from_secs(5))).await.unwrap();
            whom.push(who);
        }
        whom
    }
}

//! Many cases: made from a seed each, played several at a time, shrunk when one does not hold.

use super::judge::{Verdict, judged};
use super::play::Case;
use super::script::Script;
use super::stage::Stage;
use super::{found, generate};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Cases that are played at a time, each on a stage of its own: most of a case is waiting for what stalls or is tried
/// again.
const STAGES: usize = 8;
/// What a case may take; one that takes longer hangs.
const LONGEST: Duration = Duration::from_secs(120);
/// Scripts that are played to make one that fails smaller.
const SHRINKS: u32 = 150;

/// What many cases came to.
pub(crate) struct Outcome {
    /// How many were played.
    pub(crate) cases: u64,
    /// In how many each kind of trouble came about.
    pub(crate) kinds: BTreeMap<&'static str, u64>,
    /// The first that did not hold.
    pub(crate) failure: Option<Failure>,
}

/// A case that did not hold.
pub(crate) struct Failure {
    /// Which; none if it is one of `found.rs`.
    pub(crate) case: Option<u64>,
    pub(crate) script: Script,
    pub(crate) broken: Vec<String>,
}

impl Outcome {
    pub(crate) fn table(&self) -> String {
        let mut table = format!("{} cases, of which so many with\n", self.cases);
        for (kind, count) in &self.kinds {
            let _ = writeln!(table, "{count:>8}  {kind}");
        }
        table
    }
}

impl Failure {
    pub(crate) fn text(&self) -> String {
        let case = self.case.map_or("a script of found.rs".to_owned(), |case| format!("case {case}"));
        format!("{case} does not hold:\n- {}\n{}", self.broken.join("\n- "), self.script)
    }
}

/// What becomes of a case that does not hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Shrink,
    #[cfg_attr(not(feature = "mutations"), expect(dead_code, reason = "what mutations show is not worth shrinking"))]
    Stop,
}

/// Which cases are played.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cases {
    /// What they are made from.
    pub(crate) seed: u64,
    /// How many.
    pub(crate) count: u64,
    /// This one, as often.
    pub(crate) only: Option<u64>,
}

/// Plays the scripts that were found, and then these.
pub(crate) async fn run(cases: Cases, then: Then) -> Outcome {
    let shared = Arc::new(Shared {
        next: AtomicU64::new(0),
        over: AtomicBool::new(false),
        cases,
        then,
        result: Mutex::default(),
    });
    // On threads of their own: what proptest shrinks does not move between threads.
    let stages = (0..STAGES).map(|_| {
        let (shared, runtime) = (Arc::clone(&shared), Handle::current());
        spawn_blocking(move || runtime.block_on(shared.work()))
    });
    let stages: Vec<_> = stages.collect();
    for stage in stages {
        stage.await.unwrap();
    }
    let mut result = shared.result.lock().unwrap_or_else(PoisonError::into_inner);
    let Counted { played, kinds, failure } = std::mem::take(&mut *result);
    Outcome { cases: played, kinds, failure }
}

struct Shared {
    next: AtomicU64,
    over: AtomicBool,
    cases: Cases,
    then: Then,
    result: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    played: u64,
    kinds: BTreeMap<&'static str, u64>,
    failure: Option<Failure>,
}

impl Shared {
    #[expect(
        clippy::future_not_send,
        reason = "it stays on its thread: what proptest shrinks does not move between threads"
    )]
    async fn work(self: Arc<Self>) {
        let stage = Arc::new(Stage::new().await);
        let found = found::scripts();
        while !self.over.load(Ordering::SeqCst) {
            let index = self.next.fetch_add(1, Ordering::SeqCst);
            let known = usize::try_from(index).ok().and_then(|index| found.get(index));
            if let Some(script) = known {
                let verdict = play(&stage, script.clone()).await;
                self.count(None, script, verdict);
                continue;
            }
            let case = index - found.len() as u64;
            if case >= self.cases.count {
                return;
            }
            let case = self.cases.only.unwrap_or(case);
            let mut tree = tree_of(self.cases.seed, case);
            let verdict = play(&stage, tree.current()).await;
            let fails = !verdict.broken.is_empty();
            if fails && self.then == Then::Shrink && !self.over.swap(true, Ordering::SeqCst) {
                let (script, verdict) = shrunk(&stage, &mut *tree, verdict).await;
                self.count(Some(case), &script, verdict);
                return;
            }
            self.count(Some(case), &tree.current(), verdict);
        }
    }

    fn count(&self, case: Option<u64>, script: &Script, verdict: Verdict) {
        let mut result = self.result.lock().unwrap_or_else(PoisonError::into_inner);
        result.played += 1;
        for kind in verdict.kinds {
            *result.kinds.entry(kind).or_default() += 1;
        }
        if !verdict.broken.is_empty() {
            self.over.store(true, Ordering::SeqCst);
            result.failure.get_or_insert(Failure { case, script: script.clone(), broken: verdict.broken });
        }
    }
}

type Tree = Box<dyn ValueTree<Value = Script>>;

/// The script of a case: the same for the same seed on every machine.
fn tree_of(seed: u64, case: u64) -> Tree {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&case.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config { failure_persistence: None, ..Config::default() };
    Box::new(generate::scripts().new_tree(&mut TestRunner::new_with_rng(config, random)).unwrap())
}

async fn play(stage: &Arc<Stage>, script: Script) -> Verdict {
    let case = Case::new(stage, script);
    let began = Instant::now();
    match timeout(LONGEST, judged(&case)).await {
        Ok(verdict) => verdict,
        Err(_) => {
            let hanging = format!("it hangs for {:?}", began.elapsed());
            Verdict { broken: vec![hanging], kinds: Default::default() }
        }
    }
}

/// The smallest script found that does not hold either. What depends on time may hold by chance, so the last that did
/// not is kept.
#[expect(
    clippy::future_not_send,
    reason = "it stays on its thread: what proptest shrinks does not move between threads"
)]
async fn shrunk(stage: &Arc<Stage>, tree: &mut dyn ValueTree<Value = Script>, first: Verdict) -> (Script, Verdict) {
    let (mut script, mut verdict) = (tree.current(), first);
    let mut may_shrink = tree.simplify();
    for _ in 0..SHRINKS {
        if !may_shrink {
            break;
        }
        let smaller = play(stage, tree.current()).await;
        may_shrink = if smaller.broken.is_empty() {
            tree.complicate()
        } else {
            (script, verdict) = (tree.current(), smaller);
            tree.simplify()
        };
    }
    (script, verdict)
}

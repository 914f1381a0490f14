//! Order: whatever happens in whatever order, the target ends as the source is, by way of states that the source had.
//!
//! In the fixed schedules a second handler runs from its beginning to its end inside of one request of the first.

use crate::rig::world::{World, batch, event};
use crate::rig::{KIB, MIB, content, count, on, pair};
use bytes::Bytes;
use fakes::fault::faults::{Action, Fault, Moment};
use fakes::store::attributes::Attributes;
use fakes::store::object::BucketConfig;
use fakes::store::objects::Store;
use fastrand::Rng;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use xpsync::demo::pair::{Pair, SOURCE_BUCKET, TARGET_BUCKET};
use xpsync::engine::copy::copy;
use xpsync::engine::job::Job;
use xpsync::engine::report::{Outcome, Report};
use xpsync::engine::session::options::Deletes;
use xpsync::events::answer::Answer;
use xpsync::wire::deadline::Deadline;

const KEY: &str = "k";
/// In one PUT, and in parts.
const BOTH: [usize; 2] = [KIB, 17 * MIB];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Versions {
    None,
    Kept,
}

const EACH: [(usize, Versions); 3] = [(KIB, Versions::None), (KIB, Versions::Kept), (17 * MIB, Versions::None)];

fn commit_of(size: usize) -> &'static str {
    if size > 16 * MIB { "CompleteMultipartUpload" } else { "PutObject" }
}

fn job(pair: &Pair) -> Job {
    let mut job = crate::rig::job(pair, KEY);
    job.session.options.deletes = Deletes::Follow;
    job
}

/// Puts an object in parts that are kept, so that a state has one ETag at both sides.
fn put(pair: &Pair, bytes: &Bytes) {
    let store = pair.source.store();
    if bytes.len() > 16 * MIB {
        let half = bytes.len() / 2;
        let parts = [bytes.slice(..half), bytes.slice(half..)];
        store.put_parts(SOURCE_BUCKET, KEY, parts, Attributes::default()).unwrap();
    } else {
        store.put(SOURCE_BUCKET, KEY, bytes.clone(), Attributes::default()).unwrap();
    }
}

fn delete(pair: &Pair) {
    pair.source.store().delete(SOURCE_BUCKET, KEY).unwrap();
}

async fn begun(versions: Versions) -> Arc<Pair> {
    let pair = Arc::new(pair().await);
    if versions == Versions::Kept {
        let config = BucketConfig { versioned: true, ..BucketConfig::default() };
        pair.source.store().create_bucket(SOURCE_BUCKET, config.clone());
        pair.target.store().create_bucket(TARGET_BUCKET, config);
    }
    pair
}

/// Runs a whole handler of another invocation where a request is; by then the script has acted.
fn handled(pair: &Arc<Pair>) -> Report {
    let job = job(pair);
    tokio::task::block_in_place(|| Handle::current().block_on(copy(&job)))
}

fn before(pair: &Arc<Pair>, hook: impl Fn(&Arc<Pair>) + Send + Sync + 'static) -> Action {
    let pair = Arc::clone(pair);
    Action::Before(Box::new(move |_: &Store| hook(&pair)))
}

fn after(pair: &Arc<Pair>, hook: impl Fn(&Arc<Pair>) + Send + Sync + 'static) -> Action {
    let pair = Arc::clone(pair);
    Action::After(Box::new(move |_: &Store| hook(&pair)))
}

/// What the target is at the end, and how it came there.
#[track_caller]
fn assert_followed(pair: &Pair, what: &str) {
    let bytes = |store: &Store, bucket| store.get(bucket, KEY).map(|object| object.bytes());
    let (source, target) = (bytes(pair.source.store(), SOURCE_BUCKET), bytes(pair.target.store(), TARGET_BUCKET));
    assert!(source == target, "{what}: the target is not what the source is");
    assert_states(pair, KEY, what);
    assert!(pair.target.open_uploads().is_empty(), "{what}: an upload is open");
}

/// No state at the target that the source never had, and the last is the source's last.
#[track_caller]
fn assert_states(pair: &Pair, key: &str, what: &str) {
    let source = pair.source.store().changes(SOURCE_BUCKET, key);
    let target = pair.target.store().changes(TARGET_BUCKET, key);
    let had: BTreeSet<_> = source.iter().flatten().collect();
    let foreign: Vec<_> = target.iter().flatten().filter(|etag| !had.contains(etag)).collect();
    assert!(foreign.is_empty(), "{what}: {key} had states that the source never had: {foreign:?}");
    let last = |changes: &[Option<String>]| changes.last().cloned().flatten();
    assert_eq!(last(&source), last(&target), "{what}: {key} ended as {target:?} after {source:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn put_then_delete_ends_as_nothing_wherever_the_delete_falls() {
    for (size, versions) in EACH {
        for late in [false, true] {
            for other_handler in [false, true] {
                let pair = begun(versions).await;
                put(&pair, &content(size, 1));
                let gone = move |pair: &Arc<Pair>| {
                    delete(pair);
                    if other_handler {
                        handled(pair);
                    }
                };
                let action = if late { after(&pair, gone) } else { before(&pair, gone) };
                pair.target.faults().add(on(commit_of(size), action));
                let report = copy(&job(&pair)).await;
                let what = format!("{size} {versions:?} late {late} other {other_handler}: {report:?}");
                // Where the other handler came after the commit, it has removed what we wrote.
                let expected = if late && other_handler { Outcome::Unchanged } else { Outcome::Deleted };
                assert_eq!(report.outcome, expected, "{what}");
                assert_eq!(report.bytes, 0, "{what}");
                assert_followed(&pair, &what);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overwrite_then_delete_removes_the_older_object_too() {
    for size in BOTH {
        let pair = begun(Versions::None).await;
        put(&pair, &content(100, 9));
        copy(&job(&pair)).await;
        put(&pair, &content(size, 1));
        let gone = before(&pair, |pair| {
            delete(pair);
            assert_eq!(handled(pair).outcome, Outcome::Deleted);
        });
        // The small object's first PUT asks for nothing to be there; the second one would replace the older.
        pair.target.faults().add(on(commit_of(size), gone).nth(if size == KIB { 2 } else { 1 }));
        let report = copy(&job(&pair)).await;
        assert_eq!(report.outcome, Outcome::Unchanged, "{report:?}");
        assert_followed(&pair, "an older one");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_goes_from_a_to_b_to_a_ends_as_a_with_deletes_between() {
    for (size, versions) in EACH {
        for late in [false, true] {
            let pair = begun(versions).await;
            let (a, b) = (content(size, 1), content(200, 2));
            put(&pair, &a);
            let back = move |pair: &Arc<Pair>| {
                put(pair, &b);
                assert_eq!(handled(pair).outcome, Outcome::Copied);
                delete(pair);
                assert_eq!(handled(pair).outcome, Outcome::Deleted);
                put(pair, &a);
            };
            let action = if late { after(&pair, back) } else { before(&pair, back) };
            pair.target.faults().add(on(commit_of(size), action));
            let report = copy(&job(&pair)).await;
            assert_eq!((report.outcome, report.bytes), (Outcome::Copied, size as u64), "{report:?}");
            // Without versions, nothing tells the second A from the first within one second; the event of its own does.
            let last = copy(&job(&pair)).await.outcome;
            assert!(versions == Versions::None || last == Outcome::Unchanged, "{last:?}");
            assert_followed(&pair, &format!("A, B, nothing, A: {size} {versions:?} {late}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_is_late_for_a_recreation_with_the_same_bytes_is_made_good() {
    for (size, versions) in EACH {
        for late in [false, true] {
            let pair = begun(versions).await;
            let bytes = content(size, 1);
            put(&pair, &bytes);
            copy(&job(&pair)).await;
            delete(&pair);
            let expected = if late { Outcome::Copied } else { Outcome::Unchanged };
            let again = move |pair: &Arc<Pair>| {
                put(pair, &bytes);
                // The ETag is the one that our delete is bound to: it will hold.
                assert_eq!(handled(pair).outcome, expected);
            };
            let action = if late { after(&pair, again) } else { before(&pair, again) };
            pair.target.faults().add(on("DeleteObject", action));
            let report = copy(&job(&pair)).await;
            let expected = if late { Outcome::Unchanged } else { Outcome::Copied };
            assert_eq!(report.outcome, expected, "{size} {versions:?} {late}: {report:?}");
            assert_followed(&pair, "recreated with the same bytes");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recreation_before_the_last_look_keeps_the_target() {
    for size in BOTH {
        let pair = begun(Versions::None).await;
        let bytes = content(size, 1);
        put(&pair, &bytes);
        copy(&job(&pair)).await;
        delete(&pair);
        let again = before(&pair, move |pair| put(pair, &bytes));
        pair.source.faults().add(Fault::on("GetObject", again).nth(2));
        let report = copy(&job(&pair)).await;
        assert_eq!(report.outcome, Outcome::Unchanged, "{report:?}");
        assert_eq!(count(&pair.target.seen(), "DeleteObject"), 0);
        assert_followed(&pair, "recreated before the last look");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_object_that_another_handler_copied_is_not_removed() {
    for size in BOTH {
        let pair = begun(Versions::None).await;
        put(&pair, &content(size, 1));
        copy(&job(&pair)).await;
        delete(&pair);
        let newer = before(&pair, move |pair| {
            put(pair, &content(size, 2));
            assert_eq!(handled(pair).outcome, Outcome::Copied);
        });
        pair.target.faults().add(on("DeleteObject", newer));
        let report = copy(&job(&pair)).await;
        assert_eq!(report.outcome, Outcome::Unchanged, "{report:?}");
        let deletes: Vec<_> = pair.target.seen().into_iter().filter(|seen| seen.operation == "DeleteObject").collect();
        assert!(deletes.iter().all(|seen| seen.status == 412), "{deletes:?}");
        assert_followed(&pair, "newer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_complete_that_lands_before_the_delete_is_removed_with_it() {
    for size in BOTH {
        let pair = begun(Versions::None).await;
        put(&pair, &content(100, 9));
        copy(&job(&pair)).await;
        put(&pair, &content(size, 1));
        let (older, late) = (Mutex::new(Vec::new()), content(size, 1));
        // While the writer's commit is under way, the source goes; the remover's delete waits for that commit to land.
        let gone = before(&pair, move |pair| {
            delete(pair);
            let lands = {
                let late = late.clone();
                move |store: &Store| {
                    store.put(TARGET_BUCKET, KEY, late.clone(), Attributes::default()).unwrap();
                }
            };
            if size == KIB {
                pair.target.faults().add(on("DeleteObject", Action::Before(Box::new(lands))));
            }
            older.lock().unwrap().push(handled(pair).outcome);
            assert_eq!(older.lock().unwrap().as_slice(), [Outcome::Deleted]);
        });
        pair.target.faults().add(on(commit_of(size), gone).nth(if size == KIB { 2 } else { 1 }));
        let report = copy(&job(&pair)).await;
        assert!(matches!(report.outcome, Outcome::Unchanged | Outcome::Deleted), "{report:?}");
        assert_followed(&pair, "a late commit");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_complete_of_a_handler_that_died_is_removed_when_its_event_comes_again() {
    for size in BOTH {
        let pair = begun(Versions::None).await;
        put(&pair, &content(size, 1));
        let gone = before(&pair, |pair| {
            delete(pair);
            assert_eq!(handled(pair).outcome, Outcome::Unchanged);
        });
        pair.target.faults().add(on(commit_of(size), gone));
        pair.target.faults().add(on(commit_of(size), Action::StallHead(None)));
        // Patient, so that it is the deadline that ends it: after the commit, before the answer.
        let mut dying = pair.job(KEY).unwrap();
        dying.session.options.deletes = Deletes::Follow;
        dying.deadline = Deadline::after(Duration::from_secs(2));
        dying.grace = Duration::from_secs(5);
        let report = copy(&dying).await;
        assert_eq!(report.outcome, Outcome::Failed, "{report:?}");
        assert!(pair.target.store().get(TARGET_BUCKET, KEY).is_some(), "it landed");
        assert_eq!(copy(&job(&pair)).await.outcome, Outcome::Deleted);
        assert_followed(&pair, "after a death");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ambiguous_commit_that_is_refused_when_it_is_repeated_is_followed_by_the_delete() {
    for size in BOTH {
        for other_handler in [false, true] {
            let pair = begun(Versions::None).await;
            put(&pair, &content(size, 1));
            pair.target.faults().add(on(commit_of(size), Action::Reset(Moment::AfterDoing)));
            let gone = before(&pair, move |pair| {
                delete(pair);
                if other_handler {
                    assert_eq!(handled(pair).outcome, Outcome::Deleted);
                }
            });
            pair.target.faults().add(on(commit_of(size), gone).nth(2));
            let report = copy(&job(&pair)).await;
            assert!(matches!(report.outcome, Outcome::Deleted | Outcome::Unchanged), "{report:?}");
            assert_followed(&pair, &format!("ambiguous, {size}, other {other_handler}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ambiguous_commit_after_which_another_handler_wrote_newer_bytes_leaves_these() {
    for size in BOTH {
        let pair = begun(Versions::None).await;
        put(&pair, &content(size, 1));
        pair.target.faults().add(on(commit_of(size), Action::Reset(Moment::AfterDoing)));
        let newer = before(&pair, |pair| {
            put(pair, &content(300, 2));
            assert_eq!(handled(pair).outcome, Outcome::Copied);
        });
        pair.target.faults().add(on(commit_of(size), newer).nth(2));
        let report = copy(&job(&pair)).await;
        assert!(matches!(report.outcome, Outcome::Unchanged), "{report:?}");
        assert_followed(&pair, "ambiguous and newer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_rolled_back_or_undeleted_while_it_is_handled_ends_as_the_one_below() {
    for size in BOTH {
        let pair = begun(Versions::Kept).await;
        let newest = |pair: &Pair| pair.source.store().versions(SOURCE_BUCKET, KEY).last().cloned().unwrap();
        let roll_back = move |pair: &Arc<Pair>| {
            let newest = newest(pair);
            pair.source.store().delete_version(SOURCE_BUCKET, KEY, &newest).unwrap();
        };
        put(&pair, &content(size, 1));
        put(&pair, &content(size, 2));
        pair.target.faults().add(on(commit_of(size), after(&pair, roll_back)));
        assert_eq!(copy(&job(&pair)).await.outcome, Outcome::Copied);
        assert_followed(&pair, "rolled back");
        delete(&pair);
        pair.target.faults().add(on("DeleteObject", after(&pair, roll_back)));
        assert_eq!(copy(&job(&pair)).await.outcome, Outcome::Copied);
        assert_followed(&pair, "undeleted");
    }
}

/// Keys of the bar.
const KEYS: usize = 50;
/// Events of the bar, duplicates included.
const EVENTS: usize = 1_000;
/// Handlers at a time.
const HANDLERS: usize = 16;

/// A queue that delivers at least once and in no order.
struct Queue {
    messages: Mutex<Vec<Value>>,
    random: Mutex<Rng>,
    filled: Notify,
}

impl Queue {
    fn send(&self, message: Value) {
        self.messages.lock().unwrap().push(message);
        self.filled.notify_waiters();
    }

    fn take(&self, most: usize) -> Vec<Value> {
        let mut messages = self.messages.lock().unwrap();
        let mut random = self.random.lock().unwrap();
        let count = most.min(messages.len());
        let mut any = |_| {
            let which = random.usize(..messages.len());
            messages.swap_remove(which)
        };
        (0..count).map(&mut any).collect()
    }
}

/// One change of the source, and the event that tells it.
fn change(pair: &Pair, random: &mut Rng) -> Value {
    let key = format!("dir/{}", random.usize(..KEYS));
    let store = pair.source.store();
    let versions = store.versions(SOURCE_BUCKET, &key);
    let kind = match random.u8(..10) {
        // A delete, also of what is not there; then a version taken away: an undelete, a rollback, or an old version
        // gone.
        0..=2 => {
            store.delete(SOURCE_BUCKET, &key).unwrap();
            "Object Deleted"
        }
        3..=4 if !versions.is_empty() => {
            let which = if random.bool() { versions.len() - 1 } else { random.usize(..versions.len()) };
            store.delete_version(SOURCE_BUCKET, &key, &versions[which]).unwrap();
            "Object Deleted"
        }
        _ => {
            // Few contents, so that states come back; some are too large for the PUT without a look.
            let size = if random.u8(..8) == 0 { 70 * KIB } else { 100 };
            let bytes = content(size, random.u64(..4));
            store.put(SOURCE_BUCKET, &key, bytes, Attributes::default()).unwrap();
            "Object Created"
        }
    };
    event(kind, &key)
}

async fn check_bar(at_source: Versions, at_target: Versions, seed: u64) {
    let follow = [("SYNC_DELETES", "true")];
    let world = World::with(&follow, |network, _| network).await;
    let (pair, sandboxes) = (&world.pair, (0..HANDLERS).map(|_| world.sandbox(&follow)).collect::<Vec<_>>());
    let config = |versions| BucketConfig { versioned: versions == Versions::Kept, ..BucketConfig::default() };
    pair.source.store().create_bucket(SOURCE_BUCKET, config(at_source));
    pair.target.store().create_bucket(TARGET_BUCKET, config(at_target));
    let queue = Queue { messages: Mutex::default(), random: Mutex::new(Rng::with_seed(seed)), filled: Notify::new() };
    // Each message is a permit's worth of work outstanding: sent, and not yet acknowledged.
    let (outstanding, over) = (Mutex::new(0_usize), Notify::new());
    let changing = async {
        let mut random = Rng::with_seed(seed);
        let mut sent = 0;
        while sent < EVENTS {
            let event = change(pair, &mut random);
            let copies = (1 + usize::from(random.u8(..3) == 0)).min(EVENTS - sent);
            sent += copies;
            *outstanding.lock().unwrap() += copies;
            for _ in 0..copies {
                queue.send(event.clone());
            }
            // A burst, and then the handlers' turn.
            if random.u8(..20) == 0 {
                let busy = || *outstanding.lock().unwrap() > HANDLERS;
                while busy() {
                    tokio::task::yield_now().await;
                }
            }
        }
    };
    let done = Semaphore::new(0);
    let handling = sandboxes.iter().map(|sandbox| {
        let (queue, outstanding, over, done) = (&queue, &outstanding, &over, &done);
        async move {
            loop {
                let filled = queue.filled.notified();
                let messages = queue.take(5);
                if messages.is_empty() {
                    tokio::select! {
                        () = filled => continue,
                        _ = done.acquire() => return,
                    }
                }
                let named = messages.iter().enumerate().map(|(id, body)| (id.to_string(), body.clone()));
                let (payload, deadline) = (batch(named).to_string(), Instant::now() + Duration::from_secs(60));
                let answer = sandbox.handle(payload.as_bytes(), deadline).await;
                let Answer::Success(answer) = answer else { panic!("a batch is answered: {answer:?}") };
                let failed: Vec<usize> = answer["batchItemFailures"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|failed| failed["itemIdentifier"].as_str().unwrap().parse().unwrap())
                    .collect();
                for id in &failed {
                    queue.send(messages[*id].clone());
                }
                *outstanding.lock().unwrap() -= messages.len() - failed.len();
                over.notify_one();
            }
        }
    });
    let draining = async {
        changing.await;
        while *outstanding.lock().unwrap() > 0 {
            over.notified().await;
        }
        done.close();
    };
    tokio::join!(draining, futures_util::future::join_all(handling));
    let (source, target) = (pair.source.store(), pair.target.store());
    assert_eq!(source.keys(SOURCE_BUCKET), target.keys(TARGET_BUCKET));
    let mut states = 0;
    for key in (0..KEYS).map(|n| format!("dir/{n}")) {
        let bytes = |store: &Store, bucket| store.get(bucket, &key).map(|object| object.bytes());
        assert!(bytes(source, SOURCE_BUCKET) == bytes(target, TARGET_BUCKET), "{key} differs (seed {seed})");
        assert_states(pair, &key, &format!("seed {seed}"));
        states += target.changes(TARGET_BUCKET, &key).len();
    }
    assert!(pair.target.open_uploads().is_empty());
    assert!(states > 2 * KEYS, "only {states} states: the changes were not followed while they came");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_shuffled_events_over_fifty_keys_through_sixteen_handlers_end_as_the_source() {
    check_bar(Versions::Kept, Versions::None, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_versioned_target_ends_as_the_source_too() {
    check_bar(Versions::Kept, Versions::Kept, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_without_versions_is_followed_too() {
    check_bar(Versions::None, Versions::None, 3).await;
}

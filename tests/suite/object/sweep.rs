//! What a sweep removes, and above all what it does not.

use crate::rig::world::World;
use crate::rig::{MIB, begin_upload as begin, content, count, on, pair};
use fakes::fault::faults::{Action, Fault};
use fakes::store::attributes::Attributes;
use fakes::store::object::BucketConfig;
use fakes::store::objects::Store;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::watch;
use xpsync::demo::pair::{Pair, TARGET_BUCKET};
use xpsync::engine::fault::FaultClass;
use xpsync::engine::session::BucketClient;
use xpsync::events::answer::Answer;
use xpsync::s3::{Bucket, UploadId};
use xpsync::sync::sweep::{Counts, Finding, Mode, Sweep, Swept, sweep};
use xpsync::wire::client::config::Config;
use xpsync::wire::deadline::Deadline;

const DAY: Duration = Duration::from_hours(24);
const OTHER: &str = "arn:aws:iam::111122223333:user/somebody-else";

fn work(pair: &Pair, mode: Mode) -> Sweep {
    let client = pair.target_client(Config::new("target", 16)).unwrap();
    Sweep {
        target: BucketClient { client, bucket: Bucket::new(TARGET_BUCKET).unwrap() },
        prefix: String::new(),
        older_than: 7 * DAY,
        kept: BTreeSet::new(),
        mode,
        deadline: Deadline::never(),
        grace: Duration::from_secs(10),
    }
}

/// Sweeps, and what was told.
async fn swept(work: &Sweep) -> (Swept, Vec<String>) {
    let told = Mutex::new(Vec::new());
    let tell = |found: Finding<'_>| {
        told.lock().unwrap().push(match found {
            Finding::Upload(open) => open.upload.as_str().to_owned(),
            Finding::Stage(stage) => format!("{} {}", stage.key, stage.version.as_str()),
        });
    };
    let swept = sweep(work, &tell).await;
    (swept, told.into_inner().unwrap())
}

fn open(pair: &Pair) -> BTreeSet<String> {
    pair.target.open_uploads().into_iter().map(|upload| upload.id).collect()
}

fn put(pair: &Pair, key: &str, age: Duration) {
    pair.target.store().put(TARGET_BUCKET, key, content(10, 1), Attributes::default()).unwrap();
    pair.target.store().age(TARGET_BUCKET, key, age);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_old_uploads_of_our_own_are_aborted() {
    let pair = pair().await;
    let (old, young) = (begin(&pair, "dir//a b+c%", 8 * DAY).await, begin(&pair, "young", 6 * DAY).await);
    let (foreign, hidden) = (begin(&pair, "foreign", 90 * DAY).await, begin(&pair, "hidden", 90 * DAY).await);
    pair.target.store().set_initiator(&foreign, Some(OTHER));
    pair.target.store().set_initiator(&hidden, None);
    let (done, told) = swept(&work(&pair, Mode::Act)).await;
    let expected = Counts { found: 4, swept: 1, foreign: 2, young: 1, ..Counts::default() };
    assert_eq!((done.uploads, &done.fault, told), (expected, &None, vec![old]));
    assert_eq!(open(&pair), BTreeSet::from([young, foreign, hidden]));
    let seen = pair.target.seen();
    let aborted = seen.iter().filter(|seen| seen.operation == "AbortMultipartUpload");
    assert_eq!(aborted.map(|seen| seen.key.as_str()).collect::<Vec<_>>(), [".xpsync/probe", "dir//a b+c%"]);
    assert_eq!(count(&seen, "ListParts"), 2, "seen aborted, both of them");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_the_same_and_removes_nothing_but_its_own_probe() {
    let pair = pair().await;
    let old = begin(&pair, "old", 8 * DAY).await;
    put(&pair, ".xpsync/stage", 8 * DAY);
    let (done, told) = swept(&work(&pair, Mode::Dry)).await;
    assert_eq!((done.uploads.swept, done.stages.swept, done.fault), (1, 1, None));
    assert_eq!(told, [old.clone(), ".xpsync/stage null".to_owned()]);
    assert_eq!(open(&pair), BTreeSet::from([old]));
    assert_eq!(pair.target.store().keys(TARGET_BUCKET), [".xpsync/stage"]);
    assert_eq!(count(&pair.target.seen(), "DeleteObject"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_initiator_is_shown_or_no_time_nothing_is_touched() {
    let hide = |store: &Store| {
        for upload in store.open_uploads() {
            store.set_initiator(&upload.id, None);
        }
    };
    let pair = pair().await;
    let old = begin(&pair, "old", 90 * DAY).await;
    put(&pair, ".xpsync/stage", 90 * DAY);
    pair.target.faults().add(on("CreateMultipartUpload", Action::After(Box::new(hide))));
    let (done, told) = swept(&work(&pair, Mode::Act)).await;
    assert_eq!((done.uploads, done.stages, told), (Counts::default(), Counts::default(), Vec::new()));
    assert!(done.fault.is_none() && done.reason.as_deref().unwrap().contains("nothing was removed"), "{done:?}");
    assert_eq!(open(&pair), BTreeSet::from([old]));
    assert_eq!(pair.target.store().keys(TARGET_BUCKET), [".xpsync/stage"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_journal_names_and_what_is_beside_the_prefix_stay() {
    let pair = pair().await;
    let (kept, beside, due) =
        (begin(&pair, "p/kept", 8 * DAY).await, begin(&pair, "q", 8 * DAY).await, begin(&pair, "p/due", 8 * DAY).await);
    put(&pair, ".xpsync/stage", 8 * DAY);
    let mut work = work(&pair, Mode::Act);
    work.prefix = "p/".into();
    work.kept.insert(UploadId::new(&kept).unwrap());
    let (done, told) = swept(&work).await;
    assert_eq!(done.uploads, Counts { found: 2, swept: 1, kept: 1, ..Counts::default() });
    assert_eq!((done.stages, told), (Counts::default(), vec![due]));
    assert_eq!(open(&pair), BTreeSet::from([kept, beside]));
    assert_eq!(pair.target.store().keys(TARGET_BUCKET), [".xpsync/stage"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_swept() {
    let pair = pair().await;
    pair.target.store().set_page(3);
    let versioned = BucketConfig { versioned: true, ..BucketConfig::default() };
    pair.target.store().create_bucket(TARGET_BUCKET, versioned);
    for n in 0..10 {
        begin(&pair, "the same key", 8 * DAY).await;
        put(&pair, ".xpsync/the same key", 8 * DAY);
        let young = begin(&pair, &format!("key {n}"), DAY).await;
        assert!(!young.is_empty());
    }
    let (done, _) = swept(&work(&pair, Mode::Act)).await;
    assert_eq!(done.uploads, Counts { found: 20, swept: 10, young: 10, ..Counts::default() });
    assert_eq!(done.stages, Counts { found: 10, swept: 10, ..Counts::default() });
    assert_eq!(open(&pair).len(), 10);
    assert!(pair.target.store().versions(TARGET_BUCKET, ".xpsync/the same key").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn stages_of_a_versioned_target_are_removed_for_good_with_their_markers() {
    let pair = pair().await;
    let store = pair.target.store();
    put(&pair, ".xpsync/null", 9 * DAY);
    store.create_bucket(TARGET_BUCKET, BucketConfig { versioned: true, ..BucketConfig::default() });
    put(&pair, ".xpsync/stage", Duration::ZERO);
    put(&pair, ".xpsync/stage", Duration::ZERO);
    store.delete(TARGET_BUCKET, ".xpsync/stage").unwrap();
    store.age(TARGET_BUCKET, ".xpsync/stage", 8 * DAY);
    put(&pair, ".xpsync/young", DAY);
    put(&pair, ".xpsync-not-ours", 90 * DAY);
    put(&pair, "an object", 90 * DAY);
    let (done, _) = swept(&work(&pair, Mode::Act)).await;
    assert_eq!(done.stages, Counts { found: 5, swept: 4, young: 1, ..Counts::default() }, "{done:?}");
    let left: Vec<usize> = [".xpsync/null", ".xpsync/stage", ".xpsync/young", ".xpsync-not-ours", "an object"]
        .map(|key| store.versions(TARGET_BUCKET, key).len())
        .into();
    assert_eq!(left, [0, 0, 1, 1, 1]);
    assert!(
        pair.target.seen().iter().all(|seen| seen.operation != "DeleteObject" || seen.query.contains("versionId="))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ages_are_told_by_the_targets_own_clock() {
    let pair = pair().await;
    begin(&pair, "k", 8 * DAY).await;
    // At the target it is three days ago: what we would call eight days old is five days old there.
    let three_days_ago = |store: &Store| {
        let probe = store.open_uploads().into_iter().find(|upload| upload.key.starts_with(".xpsync/")).unwrap();
        store.age_upload(&probe.id, 3 * DAY);
    };
    pair.target.faults().add(on("CreateMultipartUpload", Action::After(Box::new(three_days_ago))));
    let (done, _) = swept(&work(&pair, Mode::Act)).await;
    assert_eq!((done.uploads.young, done.uploads.swept), (1, 0), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_removed_is_counted_and_the_rest_is_removed() {
    let pair = pair().await;
    for n in 0..5 {
        begin(&pair, &format!("k{n}"), 8 * DAY).await;
        put(&pair, &format!(".xpsync/{n}"), 8 * DAY);
    }
    pair.target.policy().deny("s3:AbortMultipartUpload", TARGET_BUCKET, "k3");
    pair.target.policy().deny("s3:DeleteObjectVersion", TARGET_BUCKET, ".xpsync/3");
    let (done, _) = swept(&work(&pair, Mode::Act)).await;
    assert_eq!(done.uploads, Counts { found: 5, swept: 4, failed: 1, ..Counts::default() });
    assert_eq!(done.stages, Counts { found: 5, swept: 4, failed: 1, ..Counts::default() });
    let fault = done.fault.unwrap();
    assert_eq!((fault.operation, fault.key.as_deref()), (Some("AbortMultipartUpload"), Some("k3")));
    assert!(fault.hint.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_is_refused_anything_leaves_no_probe() {
    for action in ["s3:PutObject", "s3:ListBucketMultipartUploads", "s3:ListBucketVersions"] {
        let pair = pair().await;
        let old = begin(&pair, "old", 8 * DAY).await;
        pair.target.policy().deny(action, "*", "");
        let (done, _) = swept(&work(&pair, Mode::Dry)).await;
        let fault = done.fault.unwrap();
        assert_eq!((fault.class, fault.status), (FaultClass::Refused, Some(403)), "{action}: {fault:?}");
        assert_eq!(open(&pair), BTreeSet::from([old]), "{action}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_is_stopped_says_so_and_leaves_no_probe() {
    // While the probe is looked at, and while something is removed.
    for (operation, nth) in [("ListMultipartUploads", 1), ("AbortMultipartUpload", 2)] {
        let pair = pair().await;
        let old = begin(&pair, "old", 8 * DAY).await;
        let (ask, asked) = watch::channel(false);
        let stop = Action::Before(Box::new(move |_: &Store| ask.send(true).unwrap()));
        pair.target.faults().add(Fault::on(operation, stop).nth(nth));
        pair.target.faults().add(Fault::on(operation, Action::StallHead(None)).nth(nth));
        let work = Sweep { deadline: Deadline::never().or_asked(asked), ..work(&pair, Mode::Act) };
        let (done, _) = swept(&work).await;
        assert_eq!(
            done.fault.as_ref().map(|fault| fault.class),
            Some(FaultClass::Interrupted),
            "{operation}: {done:?}"
        );
        assert_eq!(done.uploads.swept, 0);
        assert!(open(&pair).is_subset(&BTreeSet::from([old])), "{operation}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_function_sweeps_when_its_schedule_says_so() {
    let world = World::new().await;
    let old = begin(&world.pair, "old", 8 * DAY).await;
    let younger = begin(&world.pair, "younger", 2 * DAY).await;
    put(&world.pair, ".xpsync/stage", 8 * DAY);
    let Answer::Success(answer) = world.handle(&json!({ "op": "sweep" })).await else { panic!() };
    let none = json!({ "found": 0, "swept": 0, "foreign": 0, "young": 0, "kept": 0, "failed": 0 });
    let with = |changes: Value| {
        let mut counts = none.clone();
        counts.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        counts
    };
    let expected = json!({
        "op": "sweep", "bucket": TARGET_BUCKET, "dry_run": false, "older_than_hours": 168,
        "uploads": with(json!({ "found": 2, "swept": 1, "young": 1 })), "stages": with(json!({ "found": 1, "swept": 1 })),
        "reason": null, "error": null,
    });
    assert_eq!(answer, expected);
    assert_eq!(open(&world.pair), BTreeSet::from([younger]), "{old}");
    let answer = world.handle(&json!({ "op": "sweep", "older_than_hours": 48 })).await;
    let Answer::Success(answer) = answer else { panic!("{answer:?}") };
    assert_eq!((&answer["uploads"]["swept"], &answer["older_than_hours"]), (&json!(1), &json!(48)));
    assert!(open(&world.pair).is_empty() && world.pair.source.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_of_the_functions_that_fails_is_a_function_error_with_its_summary() {
    let world = World::new().await;
    world.pair.target.policy().deny("s3:ListBucketMultipartUploads", "*", "");
    let answer = world.handle(&json!({ "op": "sweep" })).await;
    let Answer::FunctionError { error_type, error_message } = answer else { panic!("{answer:?}") };
    let summary: Value = serde_json::from_str(&error_message).unwrap();
    assert_eq!((error_type.as_str(), &summary["error"]["operation"]), ("refused", &json!("ListMultipartUploads")));
    assert!(open(&world.pair).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_being_written_is_not_swept_by_the_default_age() {
    let world = World::new().await;
    crate::rig::put(&world.pair, "k", content(17 * MIB, 1));
    let function = std::sync::Arc::clone(&world.function);
    let sweeps = Action::Before(Box::new(move |_: &Store| {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        let handled = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(function.handle(br#"{"op":"sweep"}"#, deadline))
        });
        assert!(matches!(handled, Answer::Success(summary) if summary["uploads"]["young"] == 1));
    }));
    let acted = world.pair.target.faults().add(on("UploadPart", sweeps));
    let report = world.report(&crate::rig::world::created("k")).await;
    assert_eq!((&report["outcome"], acted.count()), (&json!("copied"), 1), "{report}");
}

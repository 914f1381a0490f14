//! Fixed schedules: what others do to source and target at the worst moment, and when time or patience ends.

use crate::rig::{KIB, MIB, SIZES, assert_settled, content, copy_with, count, fault_of, job, on, overwrite, pair, put};
use bytes::Bytes;
use fakes::fault::faults::{Action, Fault, Moment};
use fakes::store::attributes::Attributes;
use fakes::store::object::BucketConfig;
use fakes::store::objects::Store;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use xpsync::demo::pair::{Pair, SOURCE_BUCKET, TARGET_BUCKET};
use xpsync::engine::buffer::{BufferLimits, Buffers, TmpLimit};
use xpsync::engine::copy::copy;
use xpsync::engine::fault::FaultClass;
use xpsync::engine::job::{Job, Trigger};
use xpsync::engine::report::Outcome;
use xpsync::s3::Key;
use xpsync::wire::client::config::Config;
use xpsync::wire::deadline::Deadline;

const KEY: &str = "k";

fn commit_of(size: usize) -> &'static str {
    if size > 16 * MIB { "CompleteMultipartUpload" } else { "PutObject" }
}

fn before(hook: impl Fn(&Store) + Send + Sync + 'static) -> Action {
    Action::Before(Box::new(hook))
}

fn after(hook: impl Fn(&Store) + Send + Sync + 'static) -> Action {
    Action::After(Box::new(hook))
}

/// Does something to the source's store while the target has a request: servers see only their own stores.
fn to_source(
    pair: &Arc<Pair>,
    hook: impl Fn(&Store) + Send + Sync + 'static,
) -> impl Fn(&Store) + Send + Sync + 'static {
    let pair = Arc::clone(pair);
    move |_: &Store| hook(pair.source.store())
}

/// An object of this size over an older one, and over nothing.
async fn begun(size: usize, older: bool) -> Arc<Pair> {
    let pair = Arc::new(pair().await);
    if older {
        put(&pair, KEY, content(100, 9));
        copy(&job(&pair, KEY)).await;
    }
    put(&pair, KEY, content(size, 1));
    pair.target.forget();
    pair
}

fn target(pair: &Pair) -> Option<Vec<u8>> {
    pair.target.store().get(TARGET_BUCKET, KEY).map(|object| object.bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_deleted_before_the_commit_or_after_it_is_superseded_for_an_event() {
    for size in SIZES {
        for late in [false, true] {
            let pair = begun(size, false).await;
            let delete = to_source(&pair, |store: &Store| store.delete(SOURCE_BUCKET, KEY).unwrap());
            let action = if late { after(delete) } else { before(delete) };
            pair.target.faults().add(on(commit_of(size), action));
            let report = copy(&job(&pair, KEY)).await;
            pair.target.faults().clear();
            assert_eq!(report.outcome, Outcome::Superseded, "{report:?}");
            assert!(report.reason.as_deref().unwrap().contains("the target keeps the copy"), "{report:?}");
            assert_settled(&pair, KEY, None, &report, "put then delete");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_deleted_while_it_is_read_leaves_the_target_as_it_was() {
    for older in [false, true] {
        let pair = begun(17 * MIB, older).await;
        let was = target(&pair);
        let delete = before(|store: &Store| store.delete(SOURCE_BUCKET, KEY).unwrap());
        pair.source.faults().add(Fault::on("GetObject", delete).nth(3));
        let report = copy(&job(&pair, KEY)).await;
        assert_eq!((report.outcome, target(&pair)), (Outcome::Superseded, was), "{report:?}");
        assert!(pair.target.open_uploads().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_goes_from_a_to_b_to_a_ends_as_a() {
    for size in SIZES {
        for late in [false, true] {
            let pair = begun(size, false).await;
            let (b, a) = (content(size, 2), content(size, 1));
            let twice = to_source(&pair, move |store: &Store| {
                overwrite(KEY, b.clone())(store);
                overwrite(KEY, a.clone())(store);
            });
            let action = if late { after(twice) } else { before(twice) };
            pair.target.faults().add(on(commit_of(size), action));
            let report = copy(&job(&pair, KEY)).await;
            pair.target.faults().clear();
            assert_eq!((report.outcome, report.bytes), (Outcome::Copied, size as u64), "{report:?}");
            assert_settled(&pair, KEY, None, &report, "A, B, A");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_overwritten_between_its_parts_is_begun_again_and_never_mixed() {
    for older in [false, true] {
        let pair = begun(17 * MIB, older).await;
        let fault = Fault::on("GetObject", before(overwrite(KEY, content(17 * MIB, 2)))).nth(3);
        let report = copy_with(&pair, &job(&pair, KEY), crate::rig::At::Source, fault).await;
        assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
        assert_settled(&pair, KEY, None, &report, "overwritten between parts");
        assert_eq!(count(&pair.target.seen(), "CompleteMultipartUpload"), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_overwritten_while_its_body_comes_is_begun_again() {
    for size in [MIB, 15 * MIB] {
        let pair = begun(size, false).await;
        // The body is cut, and what would go on from there belongs to another object.
        pair.source.faults().add(Fault::on("GetObject", Action::Truncate(size as u64 / 2)));
        let fault = Fault::on("GetObject", before(overwrite(KEY, content(size + 1, 2)))).nth(2);
        let report = copy_with(&pair, &job(&pair, KEY), crate::rig::At::Source, fault).await;
        assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
        assert_settled(&pair, KEY, None, &report, "overwritten in the body");
        assert_eq!(count(&pair.target.seen(), "PutObject"), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_overwritten_between_pin_and_commit_or_after_it_is_copied_again() {
    for size in SIZES {
        for (older, late) in [(false, false), (false, true), (true, false), (true, true)] {
            let pair = begun(size, older).await;
            let change = to_source(&pair, overwrite(KEY, content(size / 2, 2)));
            let action = if late { after(change) } else { before(change) };
            pair.target.faults().add(on(commit_of(size), action));
            let report = copy(&job(&pair, KEY)).await;
            pair.target.faults().clear();
            assert_eq!((report.outcome, report.bytes), (Outcome::Copied, size as u64 / 2), "{report:?}");
            assert_eq!(report.source.size, Some(size as u64 / 2));
            assert_settled(&pair, KEY, None, &report, "overwritten around the commit");
        }
    }
}

fn others(bytes: Bytes) -> impl Fn(&Store) + Send + Sync {
    move |store: &Store| {
        store.put(TARGET_BUCKET, KEY, bytes.clone(), Attributes::default()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_gets_other_headers_in_the_same_second_is_copied_with_them() {
    for size in SIZES {
        for late in [false, true] {
            let pair = begun(size, false).await;
            // The same bytes, so the same ETag, and no later by a clock of seconds.
            let change = to_source(&pair, |store: &Store| {
                store.change(SOURCE_BUCKET, KEY, |attributes| {
                    *attributes = Attributes::default().meta("a", "b").tag("c", "d")
                });
            });
            let action = if late { after(change) } else { before(change) };
            pair.target.faults().add(on(commit_of(size), action));
            let report = copy(&job(&pair, KEY)).await;
            pair.target.faults().clear();
            assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
            let copied = pair.target.store().get(TARGET_BUCKET, KEY).unwrap();
            assert_eq!(copied.attributes.get("x-amz-meta-a"), Some("b"), "{report:?}");
            assert_settled(&pair, KEY, None, &report, "other headers");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_written_by_somebody_else_is_replaced_under_the_condition_as_it_is_now() {
    for size in SIZES {
        for older in [false, true] {
            let pair = begun(size, older).await;
            pair.target.faults().add(on(commit_of(size), before(others(content(50, 7)))));
            let report = copy(&job(&pair, KEY)).await;
            pair.target.faults().clear();
            assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
            assert_settled(&pair, KEY, None, &report, "written by somebody else");
            let seen = pair.target.seen();
            assert!(seen.iter().any(|seen| seen.operation == commit_of(size) && seen.status == 412));
            assert!(count(&seen, "UploadPart") <= 4, "parts were sent twice");
            assert!(count(&seen, "CreateMultipartUpload") <= 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_removed_by_somebody_else_is_written_under_the_condition_as_it_is_now() {
    for size in SIZES {
        let pair = begun(size, true).await;
        let gone = before(|store: &Store| store.delete(TARGET_BUCKET, KEY).unwrap());
        // A small object's first PUT asks for nothing to be there.
        let nth = if size == KIB { 2 } else { 1 };
        pair.target.faults().add(on(commit_of(size), gone).nth(nth));
        let report = copy(&job(&pair, KEY)).await;
        assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
        assert_settled(&pair, KEY, None, &report, "removed by somebody else");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_somebody_else_made_equal_is_unchanged() {
    for (size, older) in [(KIB, false), (KIB, true), (MIB, false), (MIB, true), (17 * MIB, false), (17 * MIB, true)] {
        let pair = begun(size, older).await;
        let nth = if older && size == KIB { 2 } else { 1 };
        pair.target.faults().add(on(commit_of(size), before(others(content(size, 1)))).nth(nth));
        let report = copy(&job(&pair, KEY)).await;
        assert_eq!((report.outcome, report.bytes), (Outcome::Unchanged, 0), "{report:?}");
        assert_settled(&pair, KEY, None, &report, "made equal by somebody else");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_replaced_while_the_target_was_fought_over_is_not_written_any_more() {
    for size in SIZES {
        let pair = begun(size, false).await;
        // A newer handler: the source changes, and its new content is at the target before our commit.
        let newer = content(size, 2);
        let (source, bytes) = (Arc::clone(&pair), newer.clone());
        let take_over = before(move |store: &Store| {
            overwrite(KEY, bytes.clone())(source.source.store());
            others(bytes.clone())(store);
        });
        pair.target.faults().add(on(commit_of(size), take_over));
        let report = copy(&job(&pair, KEY)).await;
        pair.target.faults().clear();
        assert_eq!(report.outcome, Outcome::Unchanged, "{report:?}");
        assert_settled(&pair, KEY, None, &report, "taken over");
        let commits = pair.target.seen().into_iter().filter(|seen| seen.operation == commit_of(size));
        assert!(
            commits.into_iter().all(|seen| seen.status == 412),
            "the outdated object was written over the newer one"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_on_put_is_tried_again() {
    for size in [KIB, MIB] {
        let pair = begun(size, false).await;
        let fault = on("PutObject", Action::answer("ConditionalRequestConflict")).times(2);
        let report = copy_with(&pair, &job(&pair, KEY), crate::rig::At::Target, fault).await;
        assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
        assert_settled(&pair, KEY, None, &report, "conflict");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_on_complete_is_tried_once_more_while_the_upload_lives() {
    let pair = begun(17 * MIB, false).await;
    let fault = on("CompleteMultipartUpload", Action::answer("ConditionalRequestConflict"));
    let report = copy_with(&pair, &job(&pair, KEY), crate::rig::At::Target, fault).await;
    assert_eq!((report.outcome, report.reason.as_deref()), (Outcome::Copied, None), "{report:?}");
    assert_settled(&pair, KEY, None, &report, "conflict");
    let seen = pair.target.seen();
    assert_eq!((count(&seen, "ListParts"), count(&seen, "UploadPart")), (1, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_that_ended_the_upload_sends_all_again_and_says_so() {
    let pair = begun(17 * MIB, false).await;
    let target = Arc::clone(&pair);
    let abort = before(move |_: &Store| {
        let open = target.target.open_uploads();
        target.target.store().end_upload(&open[0].id);
    });
    pair.target.faults().add(on("CompleteMultipartUpload", abort));
    let fault = on("CompleteMultipartUpload", Action::answer("ConditionalRequestConflict"));
    pair.target.faults().add(fault);
    let report = copy(&job(&pair, KEY)).await;
    pair.target.faults().clear();
    assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
    assert!(report.reason.as_deref().unwrap_or_default().contains("all parts were sent again"), "{report:?}");
    assert_settled(&pair, KEY, None, &report, "conflict");
    assert_eq!(count(&pair.target.seen(), "UploadPart"), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unanswered_complete_leaves_no_upload_where_somebody_else_made_the_same_object() {
    let pair = begun(17 * MIB, false).await;
    // Another handler of the same event was first, in the same parts.
    let same = before(|store: &Store| {
        let bytes = content(17 * MIB, 1);
        let parts = (0..17 * MIB).step_by(5 * MIB).map(|start| bytes.slice(start..(start + 5 * MIB).min(17 * MIB)));
        store.put_parts(TARGET_BUCKET, KEY, parts, Attributes::default()).unwrap();
    });
    pair.target.faults().add(on("CompleteMultipartUpload", same));
    let fault = on("CompleteMultipartUpload", Action::Reset(Moment::BeforeDoing));
    let report = copy_with(&pair, &job(&pair, KEY), crate::rig::At::Target, fault).await;
    assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
    assert_settled(&pair, KEY, None, &report, "made by somebody else");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_somebody_aborted_is_begun_again() {
    for operation in ["UploadPart", "CompleteMultipartUpload"] {
        let pair = begun(17 * MIB, false).await;
        let target = Arc::clone(&pair);
        let abort = before(move |_: &Store| {
            let open = target.target.open_uploads();
            target.target.store().end_upload(&open[0].id);
        });
        let report = copy_with(&pair, &job(&pair, KEY), crate::rig::At::Target, on(operation, abort)).await;
        assert_eq!(report.outcome, Outcome::Copied, "{operation}: {report:?}");
        assert_settled(&pair, KEY, None, &report, operation);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_event_brings_what_is_there_now() {
    let pair = begun(KIB, true).await;
    let mut job = job(&pair, KEY);
    for hint in [Some(5), Some(1 << 40), None] {
        job.size_hint = hint;
        assert!(matches!(copy(&job).await.outcome, Outcome::Copied | Outcome::Unchanged));
        assert_eq!(target(&pair).unwrap(), content(KIB, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versioned_buckets_are_copied_and_a_delete_marker_is_gone() {
    for size in SIZES {
        let pair = Arc::new(pair().await);
        let versioned = BucketConfig { versioned: true, ..BucketConfig::default() };
        pair.source.store().create_bucket(SOURCE_BUCKET, versioned.clone());
        pair.target.store().create_bucket(TARGET_BUCKET, versioned);
        put(&pair, KEY, content(size, 1));
        pair.target.faults().add(on(commit_of(size), before(to_source(&pair, overwrite(KEY, content(size, 2))))));
        let report = copy(&job(&pair, KEY)).await;
        assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
        let versions = pair.source.store().versions(SOURCE_BUCKET, KEY);
        assert_eq!(report.source.version_id.as_ref(), versions.last());
        assert_eq!(target(&pair).unwrap(), content(size, 2));
        pair.source.store().delete(SOURCE_BUCKET, KEY).unwrap();
        let report = copy(&job(&pair, KEY)).await;
        assert_eq!(report.outcome, Outcome::Superseded, "{report:?}");
        let report = copy(&Job { trigger: Trigger::Command, ..job(&pair, KEY) }).await;
        assert_eq!(fault_of(&report, "a delete marker").class, FaultClass::Missing);
        assert_eq!(target(&pair).unwrap(), content(size, 2));
        assert!(pair.target.open_uploads().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_changes_for_ever_is_given_up_in_the_end() {
    let pair = begun(MIB, false).await;
    let change = {
        let counter = std::sync::atomic::AtomicU64::new(10);
        to_source(&pair, move |store: &Store| {
            overwrite(KEY, content(MIB, counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst)))(store);
        })
    };
    pair.target.faults().add(on("PutObject", after(change)).always());
    let report = copy(&job(&pair, KEY)).await;
    let fault = fault_of(&report, "for ever");
    assert!(fault.message.contains("gave up after several attempts"), "{report:?}");
    assert!(pair.target.open_uploads().is_empty());
}

/// A deadline that a stalled answer runs into.
async fn check_deadline(operation: &str, fault: Fault) {
    let pair = begun(17 * MIB, true).await;
    let was = target(&pair);
    // Patient, so that it is the deadline that ends it.
    let job = Job { deadline: Deadline::after(Duration::from_secs(2)), ..pair.job(KEY).unwrap() };
    let report = copy_with(&pair, &job, crate::rig::At::Target, fault).await;
    let fault = fault_of(&report, operation);
    assert_eq!(fault.class, FaultClass::Deadline, "{operation}: {report:?}");
    assert!(fault.hint.is_some());
    assert_eq!(target(&pair), was, "{operation}");
    assert!(pair.target.open_uploads().is_empty(), "{operation}: {report:?}");
    assert_eq!(report.reason, None, "{operation}");
    let seen = pair.target.seen();
    let tail: Vec<_> = seen.iter().rev().take(2).map(|seen| seen.operation.as_str()).collect();
    assert_eq!(tail, ["ListParts", "AbortMultipartUpload"], "{operation}: not seen aborted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_in_the_middle_of_parts_aborts_the_upload_and_sees_it_aborted() {
    let slow = Duration::from_secs(3);
    let part = || Fault::on("UploadPart", Action::StallHead(None)).part(2).always();
    tokio::join!(
        check_deadline("UploadPart", part()),
        check_deadline("Create", on("CreateMultipartUpload", Action::StallHead(Some(slow)))),
    );
}

/// An asked stop once the target has begun with an operation that does something else besides.
async fn check_asked(operation: &str, action: Action) {
    let pair = begun(17 * MIB, true).await;
    let was = target(&pair);
    let (ask, asked) = watch::channel(false);
    let (reached, mut reaching) = mpsc::unbounded_channel();
    pair.target.faults().add(on(operation, action));
    let told = before(move |_: &Store| reached.send(()).unwrap());
    pair.target.faults().add(on(operation, told));
    let job = Job { deadline: Deadline::never().or_asked(asked), ..pair.job(KEY).unwrap() };
    let stopping = async {
        reaching.recv().await.unwrap();
        ask.send(true).unwrap();
    };
    let (report, ()) = tokio::join!(copy(&job), stopping);
    assert_eq!(fault_of(&report, operation).class, FaultClass::Interrupted, "{report:?}");
    assert_eq!(target(&pair), was, "{operation}");
    assert!(pair.target.open_uploads().is_empty(), "{operation}: {report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asked_stop_in_the_middle_of_anything_leaves_no_upload() {
    for operation in ["HeadObject", "CreateMultipartUpload", "UploadPart"] {
        check_asked(operation, Action::StallHead(Some(Duration::from_millis(400)))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_in_the_middle_of_a_commit_leaves_all_or_nothing() {
    for (size, action) in [(KIB, Action::StallHead(None)), (17 * MIB, Action::StallHead(None))] {
        let pair = begun(size, false).await;
        let job = Job { deadline: Deadline::after(Duration::from_secs(2)), ..pair.job(KEY).unwrap() };
        let report = copy_with(&pair, &job, crate::rig::At::Target, on(commit_of(size), action)).await;
        assert_eq!(fault_of(&report, "a commit").class, FaultClass::Deadline, "{report:?}");
        assert_settled(&pair, KEY, None, &report, "a commit");
        assert!(matches!(copy(&pair.job(KEY).unwrap()).await.outcome, Outcome::Copied | Outcome::Unchanged));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asked_stop_after_an_unanswered_create_leaves_no_upload_of_any_attempt() {
    check_asked("CreateMultipartUpload", Action::Reset(Moment::AfterDoing)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_that_is_never_answered_is_said_to_have_left_something() {
    let pair = begun(17 * MIB, false).await;
    let job = Job { deadline: Deadline::after(Duration::from_secs(2)), ..job(&pair, KEY) };
    let fault = on("CreateMultipartUpload", Action::Reset(Moment::AfterDoing)).always();
    let report = copy_with(&pair, &job, crate::rig::At::Target, fault).await;
    assert!([FaultClass::Network, FaultClass::Deadline].contains(&fault_of(&report, "Create").class), "{report:?}");
    assert!(report.reason.as_deref().unwrap_or_default().contains("its upload may still be open"), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_share_little_memory_and_few_connections_do_not_wait_for_each_other() {
    let pair = pair().await;
    let first = pair.job("first").unwrap();
    let source = pair.source_client(Config::new("source", 2)).unwrap();
    let limits = BufferLimits { memory: 16 << 20, tmp_dir: std::env::temp_dir(), tmp: TmpLimit::Bytes(0) };
    let buffers = Arc::new(Buffers::new(limits));
    let copies = (0..16_u64).map(|n| {
        // One PUT that takes all the memory, or parts that take it by and by.
        let key = format!("k{n}");
        put(&pair, &key, content(if n % 2 == 0 { 16 * MIB } else { 17 * MIB }, n));
        let mut job = first.clone();
        job.session.buffers = Arc::clone(&buffers);
        (job.source_key, job.target_key) = (Key::new(&key).unwrap(), Key::new(&key).unwrap());
        job.session.source.client = source.clone();
        job.deadline = Deadline::after(Duration::from_secs(60));
        async move { copy(&job).await }
    });
    for report in futures_util::future::join_all(copies).await {
        assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_whose_answer_is_late_is_sent_again_on_another_connection() {
    let pair = begun(25 * MIB, false).await;
    pair.target.faults().add(Fault::on("UploadPart", Action::StallHead(Some(Duration::from_secs(60)))).part(3));
    let report = copy(&pair.job(KEY).unwrap()).await;
    assert_eq!((report.outcome, report.hedges, report.retries), (Outcome::Copied, 1, 0), "{report:?}");
    assert!(report.seconds < 30.0, "{report:?}");
    assert_eq!(count(&pair.target.seen(), "UploadPart"), 6, "{report:?}");
    pair.target.faults().clear();
    assert_settled(&pair, KEY, None, &report, "a late answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_attempt_that_lands_after_the_second_is_seen_before_the_parts_are_completed() {
    let pair = begun(25 * MIB, false).await;
    pair.target.faults().add(Fault::on("UploadPart", Action::StallHead(Some(Duration::from_secs(60)))).part(3));
    // What a server got of another body takes the place of part 2, once part 3 is sent again.
    let torn = |store: &Store| store.replace_part(&store.open_uploads()[0].id, 2, content(4 * MIB, 9));
    pair.target.faults().add(Fault::on("UploadPart", Action::After(Box::new(torn))).part(3).nth(2));
    let report = copy(&pair.job(KEY).unwrap()).await;
    assert_eq!((report.outcome, report.hedges), (Outcome::Copied, 1), "{report:?}");
    let seen = pair.target.seen();
    let counted = ["UploadPart", "CompleteMultipartUpload"].map(|operation| count(&seen, operation));
    assert_eq!(counted, [7, 1], "part 3 and part 2 once more, and no Complete that is refused");
    pair.target.faults().clear();
    assert_settled(&pair, KEY, None, &report, "a late landing");
}

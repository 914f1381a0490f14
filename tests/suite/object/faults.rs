//! Every fault at every operation of a copy: retried within the budget and copied, or reported; never half-written.

use crate::rig::{At, KIB, MIB, SIZES, assert_settled, content, copy_with, count, fault_of, job, on, pair, put};
use fakes::fault::faults::{Action, Fault, Moment};
use fakes::s3::refusal::Refusal;
use fakes::store::object::BucketConfig;
use std::time::Duration;
use xpsync::demo::pair::{SOURCE_BUCKET, TARGET_BUCKET};
use xpsync::engine::copy::copy;
use xpsync::engine::fault::FaultClass;
use xpsync::engine::job::Job;
use xpsync::engine::report::Outcome;
use xpsync::wire::deadline::Deadline;

const KEY: &str = "k";

/// The operations of a copy of each size at each side, without those that only a fault brings about.
const OPERATIONS: [(At, usize, &[&str]); 6] = [
    (At::Source, KIB, &["GetObject", "HeadObject"]),
    (At::Source, MIB, &["GetObject", "HeadObject"]),
    (At::Source, 17 * MIB, &["GetObject", "HeadObject"]),
    (At::Target, KIB, &["PutObject"]),
    (At::Target, MIB, &["HeadObject", "PutObject"]),
    (At::Target, 17 * MIB, &["HeadObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"]),
];

/// One fault at one operation: it must be copied all the same, parts both ways.
async fn check(at: At, size: usize, operation: &str, action: impl Fn() -> Action + Sync) {
    check_one(at, size, operation, action(), true).await;
    if size > 16 * MIB {
        check_one(at, size, operation, action(), false).await;
    }
}

/// Parts of an object whose checksum the source has are streamed; others wait in memory, since their order matters.
async fn check_one(at: At, size: usize, operation: &str, action: Action, streams: bool) {
    let what = format!("{action:?} at {operation} of the {at:?}, {size} bytes, {streams}");
    let pair = pair().await;
    let config = BucketConfig { stores_checksums: streams, ..BucketConfig::default() };
    pair.source.store().create_bucket(SOURCE_BUCKET, config);
    put(&pair, KEY, content(size, 1));
    let report = copy_with(&pair, &job(&pair, KEY), at, on(operation, action)).await;
    // A wrong answer to a write that was carried out is found to be right by looking, which may read as unchanged.
    assert!(matches!(report.outcome, Outcome::Copied | Outcome::Unchanged), "{what}: {report:?}");
    assert_settled(&pair, KEY, None, &report, &what);
    assert_eq!(count(&pair.target.seen(), "DeleteObject"), 0, "{what}");
}

/// The fault at every operation of every size, side by side: each has servers of its own, and most of the time is
/// waiting.
async fn check_everywhere(action: impl Fn() -> Action + Sync) {
    let action = &action;
    let cases = OPERATIONS.iter().flat_map(|(at, size, operations)| {
        operations.iter().map(move |operation| check(*at, *size, operation, action))
    });
    futures_util::future::join_all(cases).await;
}

/// The fault at the nth ranged GET of an object in parts.
fn ranged(action: Action) -> Fault {
    Fault::on("GetObject", action).nth(3)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_before_the_body_is_read_is_retried_at_every_operation() {
    check_everywhere(|| Action::Reset(Moment::BeforeBody)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_before_anything_is_done_is_retried_at_every_operation() {
    check_everywhere(|| Action::Reset(Moment::BeforeDoing)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_after_it_was_done_is_settled_at_every_operation() {
    check_everywhere(|| Action::Reset(Moment::AfterDoing)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_or_an_end_in_the_middle_of_an_answer_is_settled_at_every_operation() {
    let actions: [fn() -> Action; 3] =
        [|| Action::Reset(Moment::InReply(100)), || Action::Truncate(100), || Action::StallBody(100, None)];
    let mut cases = Vec::new();
    for (at, size, operations) in OPERATIONS {
        // The others are answered without a body.
        let bodies = ["GetObject", "CreateMultipartUpload", "CompleteMultipartUpload"];
        for operation in operations.iter().filter(|operation| bodies.contains(operation)) {
            cases.extend(actions.iter().map(|action| check(at, size, operation, action)));
        }
    }
    futures_util::future::join_all(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_never_begins_is_settled_at_every_operation() {
    check_everywhere(|| Action::StallHead(None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_for_less_gets_it_at_every_operation() {
    check_everywhere(|| Action::slow_down(20)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_internal_error_is_retried_at_every_operation() {
    check_everywhere(|| Action::answer("InternalError")).await;
    check_everywhere(|| Action::answer("ServiceUnavailable")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_inside_a_200_is_an_error_whether_it_was_done_or_not() {
    let refusal = || Refusal::of("InternalError");
    for operation in ["CreateMultipartUpload", "CompleteMultipartUpload"] {
        check(At::Target, 17 * MIB, operation, || Action::ErrorInside { refusal: refusal(), blanks: 5 }).await;
        check(At::Target, 17 * MIB, operation, || Action::ErrorInside { refusal: refusal(), blanks: 0 }).await;
        check(At::Target, 17 * MIB, operation, || Action::ErrorAfterDoing(refusal())).await;
        check(At::Target, 17 * MIB, operation, || Action::Blanks(20, Duration::from_millis(2))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_arrived_damaged_is_sent_again() {
    for code in ["BadDigest", "IncompleteBody", "RequestTimeout"] {
        check(At::Target, 17 * MIB, "UploadPart", || Action::answer(code)).await;
        check(At::Target, KIB, "PutObject", || Action::answer(code)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_goes_on_from_the_next_byte() {
    for action in [
        || Action::Truncate(700 << 10),
        || Action::Reset(Moment::InReply(700 << 10)),
        || Action::StallBody(700 << 10, None),
    ] {
        let pair = pair().await;
        put(&pair, KEY, content(MIB, 1));
        let report = copy_with(&pair, &job(&pair, KEY), At::Source, on("GetObject", action())).await;
        assert_eq!((report.outcome, report.retries), (Outcome::Copied, 1), "{report:?}");
        assert_settled(&pair, KEY, None, &report, "a broken body");
        let gets: Vec<_> = pair.source.seen().into_iter().filter(|seen| seen.operation == "GetObject").collect();
        assert_eq!(gets.len(), 2);
        let from: u64 =
            gets[1].range().unwrap().trim_start_matches("bytes=").split('-').next().unwrap().parse().unwrap();
        assert!(from > 0 && from <= 700 << 10, "{from}");
        assert!(gets[1].if_match().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_whose_body_breaks_is_read_on() {
    for action in [Action::Truncate(MIB as u64), Action::Reset(Moment::InReply(10)), Action::StallBody(0, None)] {
        let pair = pair().await;
        put(&pair, KEY, content(17 * MIB, 1));
        let report = copy_with(&pair, &job(&pair, KEY), At::Source, ranged(action)).await;
        assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
        assert_settled(&pair, KEY, None, &report, "a broken part");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_found_before_anything_is_committed() {
    for size in SIZES {
        let pair = pair().await;
        put(&pair, KEY, content(size, 1));
        let fault = if size > 16 * MIB { ranged(Action::Flip(77)) } else { on("GetObject", Action::Flip(77)) };
        let report = copy_with(&pair, &job(&pair, KEY), At::Source, fault).await;
        assert_eq!(report.outcome, Outcome::Copied, "{size}: {report:?}");
        assert_settled(&pair, KEY, None, &report, "a flipped bit");
        let commits = count(&pair.target.seen(), "PutObject") + count(&pair.target.seen(), "CompleteMultipartUpload");
        assert_eq!(commits, 1, "{size}: the wrong bytes were committed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bits_that_are_always_flipped_are_reported_and_nothing_is_written() {
    for size in SIZES {
        let pair = pair().await;
        put(&pair, KEY, content(size, 1));
        let report = copy_with(&pair, &job(&pair, KEY), At::Source, on("GetObject", Action::Flip(5)).always()).await;
        let fault = fault_of(&report, "flipped");
        assert_eq!(fault.class, FaultClass::Integrity, "{report:?}");
        assert!(fault.hint.as_deref().unwrap().contains("Nothing was written"), "{report:?}");
        assert_settled(&pair, KEY, None, &report, "always flipped");
        assert!(pair.target.store().keys(TARGET_BUCKET).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_range_than_the_one_asked_for_is_not_taken() {
    for range in ["bytes 0-5242879/17825792", "bytes 5242880-10485758/17825792", "bytes 1-2/3", "nonsense", ""] {
        let pair = pair().await;
        put(&pair, KEY, content(17 * MIB, 1));
        // The second GET is the first with a range; whichever part it is for, the first of these suits only one.
        let fault = Fault::on("GetObject", Action::set_header("content-range", range)).nth(2).times(4);
        let report = copy_with(&pair, &job(&pair, KEY), At::Source, fault).await;
        assert_eq!(report.outcome, Outcome::Copied, "{range}: {report:?}");
        assert_settled(&pair, KEY, None, &report, range);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_or_missing_etag_at_the_source_is_not_believed() {
    for size in SIZES {
        for value in ["\"00000000000000000000000000000000\"", "\"\"", ""] {
            for operation in ["GetObject", "HeadObject"] {
                check(At::Source, size, operation, || Action::set_header("etag", value)).await;
            }
        }
        check(At::Source, size, "GetObject", || Action::drop_header("etag")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_or_missing_etag_at_the_target_is_held_against_the_bytes() {
    for value in ["\"00000000000000000000000000000000\"", "\"\"", ""] {
        for (size, operation) in [(KIB, "PutObject"), (MIB, "PutObject"), (17 * MIB, "UploadPart")] {
            check(At::Target, size, operation, || Action::set_header("etag", value)).await;
        }
    }
    for (size, operation) in [(KIB, "PutObject"), (17 * MIB, "UploadPart")] {
        check(At::Target, size, operation, || Action::drop_header("etag")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_that_was_not_answered_leaves_no_orphan() {
    for action in [Action::Reset(Moment::AfterDoing), Action::StallHead(None), Action::Truncate(50)] {
        let pair = pair().await;
        put(&pair, KEY, content(17 * MIB, 1));
        let report = copy_with(&pair, &job(&pair, KEY), At::Target, on("CreateMultipartUpload", action)).await;
        assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
        assert_settled(&pair, KEY, None, &report, "an unanswered Create");
        let seen = pair.target.seen();
        assert_eq!((count(&seen, "CreateMultipartUpload"), count(&seen, "AbortMultipartUpload")), (2, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_was_not_answered_is_recognised_as_ours() {
    for (size, operation) in [(KIB, "PutObject"), (MIB, "PutObject"), (17 * MIB, "CompleteMultipartUpload")] {
        for older in [false, true] {
            let pair = pair().await;
            put(&pair, KEY, content(size, 1));
            if older {
                copy(&job(&pair, KEY)).await;
                put(&pair, KEY, content(size, 2));
            }
            pair.target.forget();
            // Over an older object the first PUT of a small one is refused, and the second is the one that counts.
            let nth = if older && size == KIB { 2 } else { 1 };
            let fault = on(operation, Action::Reset(Moment::AfterDoing)).nth(nth);
            let report = copy_with(&pair, &job(&pair, KEY), At::Target, fault).await;
            assert_eq!((report.outcome, report.bytes), (Outcome::Copied, size as u64), "{report:?}");
            assert_settled(&pair, KEY, None, &report, operation);
            let seen = pair.target.seen();
            let last: Vec<u16> =
                seen.iter().filter(|seen| seen.operation == operation).map(|seen| seen.status).collect();
            let refused = if size > 16 * MIB { 404 } else { 412 };
            assert!(last.ends_with(&[0, refused]), "{last:?}");
            // Whose object was recognised, an upload cannot know: it is aborted, and seen to be gone.
            let looks: &[&str] = match operation {
                "PutObject" => &["HeadObject"],
                _ => &["HeadObject", "AbortMultipartUpload", "ListParts"],
            };
            let operations: Vec<&str> = seen.iter().map(|seen| seen.operation.as_str()).collect();
            assert!(operations.ends_with(looks), "{operations:?}");
        }
    }
}

/// A fault without an end: reported with all that is known, the target as it was.
struct Endless {
    at: At,
    size: usize,
    operation: &'static str,
    action: fn() -> Action,
    class: FaultClass,
    attempts: u32,
}

async fn check_endless(case: &Endless) {
    let what = format!("endless {:?} at {} of the {:?}", (case.action)(), case.operation, case.at);
    let pair = pair().await;
    let before = content(100, 9);
    put(&pair, KEY, before.clone());
    copy(&job(&pair, KEY)).await;
    put(&pair, KEY, content(case.size, 1));
    let report = copy_with(&pair, &job(&pair, KEY), case.at, on(case.operation, (case.action)()).always()).await;
    let fault = fault_of(&report, &what);
    assert_eq!((fault.class, fault.operation), (case.class, Some(case.operation)), "{what}: {report:?}");
    // A reset on a connection that was kept counts for nothing and may come on top.
    assert!((case.attempts..=case.attempts + 1).contains(&fault.attempts), "{what}: {report:?}");
    assert!(fault.class == FaultClass::Network || fault.request_id.is_some(), "{what}: {report:?}");
    assert!(!fault.message.is_empty());
    assert!(fault.class != FaultClass::Network || fault.hint.is_some(), "{what}: no hint: {report:?}");
    assert_settled(&pair, KEY, Some(&before), &report, &what);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_never_ends_is_reported_with_all_that_is_known() {
    let reset: fn() -> Action = || Action::Reset(Moment::BeforeDoing);
    let broken: fn() -> Action = || Action::answer("InternalError");
    let denied: fn() -> Action = || Action::answer("AccessDenied");
    let case = |at, size, operation, action, class, attempts| Endless { at, size, operation, action, class, attempts };
    let cases = [
        case(At::Source, KIB, "GetObject", reset, FaultClass::Network, 10),
        case(At::Source, KIB, "GetObject", broken, FaultClass::Transient, 10),
        case(At::Target, KIB, "PutObject", reset, FaultClass::Network, 10),
        case(At::Target, KIB, "PutObject", broken, FaultClass::Ambiguous, 10),
        case(At::Target, MIB, "HeadObject", broken, FaultClass::Transient, 10),
        case(At::Target, 17 * MIB, "CreateMultipartUpload", reset, FaultClass::Network, 10),
        case(At::Target, 17 * MIB, "UploadPart", reset, FaultClass::Network, 10),
        case(At::Target, 17 * MIB, "CompleteMultipartUpload", broken, FaultClass::Ambiguous, 10),
        case(At::Source, KIB, "GetObject", denied, FaultClass::Refused, 1),
        case(At::Target, KIB, "PutObject", denied, FaultClass::Refused, 1),
        case(At::Target, 17 * MIB, "CreateMultipartUpload", denied, FaultClass::Refused, 1),
        case(At::Target, 17 * MIB, "UploadPart", denied, FaultClass::Refused, 1),
        case(At::Target, 17 * MIB, "CompleteMultipartUpload", denied, FaultClass::Refused, 1),
    ];
    // Side by side: most of the time is backoff.
    futures_util::future::join_all(cases.iter().map(check_endless)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_always_asks_for_less_is_reported_as_such() {
    let pair = pair().await;
    put(&pair, KEY, content(KIB, 1));
    let job = Job { deadline: Deadline::after(Duration::from_secs(3)), ..job(&pair, KEY) };
    let report = copy_with(&pair, &job, At::Target, on("PutObject", Action::slow_down(20)).always()).await;
    let fault = fault_of(&report, "SlowDown");
    // The time may also end in the middle of an attempt.
    assert!([FaultClass::Throttled, FaultClass::Deadline].contains(&fault.class), "{report:?}");
    assert!(fault.hint.is_some());
    assert_settled(&pair, KEY, None, &report, "SlowDown");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_refusal_is_told_by_its_code_and_not_as_a_broken_pipe() {
    for (size, operation) in [(15 * MIB, "PutObject"), (17 * MIB, "UploadPart")] {
        let pair = pair().await;
        put(&pair, KEY, content(size, 1));
        let refusal = Refusal::of("AccessDenied");
        let fault = on(operation, Action::RefuseEarly(refusal)).always();
        let report = copy_with(&pair, &job(&pair, KEY), At::Target, fault).await;
        let fault = fault_of(&report, operation);
        assert_eq!((fault.class, fault.code.as_deref()), (FaultClass::Refused, Some("AccessDenied")), "{report:?}");
        assert!(fault.request_id.is_some() && fault.hint.is_some());
        assert_settled(&pair, KEY, None, &report, operation);
    }
}

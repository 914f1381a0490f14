//! Parts that go straight from the source to the target: held to the same as those that wait in memory.

use crate::rig::{At, MIB, assert_settled, content, copy_with, count, fault_of, job, overwrite, pair, put};
use fakes::fault::faults::{Action, Fault, Moment};
use fakes::s3::refusal::Refusal;
use fakes::seen::Seen;
use fakes::store::object::{BucketConfig, Encryption};
use std::sync::Arc;
use std::time::Duration;
use xpsync::demo::pair::{Pair, TARGET_BUCKET};
use xpsync::engine::buffer::{BufferLimits, Buffers, TmpLimit};
use xpsync::engine::copy::copy;
use xpsync::engine::job::Job;
use xpsync::engine::report::{BufferKind, Outcome, Report};
use xpsync::engine::session::options::Buffering;
use xpsync::s3::multipart::streamed::Form;

const KEY: &str = "k";
/// Five parts.
const SIZE: usize = 21 * MIB;

/// A job without memory for a part.
fn without_memory(pair: &Pair) -> Job {
    let limits = BufferLimits { memory: 1 << 20, tmp_dir: "/tmp".into(), tmp: TmpLimit::Bytes(1 << 20) };
    let mut job = job(pair, KEY);
    job.session.buffers = Arc::new(Buffers::new(limits));
    job
}

async fn begun() -> Pair {
    let pair = pair().await;
    put(&pair, KEY, content(SIZE, 1));
    pair
}

fn parts(seen: &[Seen]) -> usize {
    count(seen, "UploadPart")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_memory_is_there_for_is_streamed_and_proven() {
    for buffering in [Buffering::Memory, Buffering::Tmp, Buffering::Auto(0), Buffering::Auto(u64::MAX)] {
        let pair = begun().await;
        let mut job = without_memory(&pair);
        job.session.options.buffering = buffering;
        let report = copy(&job).await;
        assert_eq!((report.outcome, report.buffer), (Outcome::Copied, Some(BufferKind::Streamed)), "{report:?}");
        assert!(report.reason.as_deref().unwrap().contains("5242880"), "{report:?}");
        assert_settled(&pair, KEY, None, &report, "streamed");
        assert_eq!(parts(&pair.target.seen()), 5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_breaks_off_is_read_on_from_the_next_byte_while_the_part_waits() {
    for action in [Action::Reset(Moment::InReply(500_000)), Action::Truncate(500_000)] {
        let pair = begun().await;
        let fault = Fault::on("GetObject", action).nth(3);
        let report = copy_with(&pair, &without_memory(&pair), At::Source, fault).await;
        assert_eq!((report.outcome, report.retries), (Outcome::Copied, 1), "{report:?}");
        assert_settled(&pair, KEY, None, &report, "a source that broke off");
        assert_eq!(parts(&pair.target.seen()), 5, "no part was sent twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_the_target_lost_is_read_and_sent_once_more() {
    for moment in [Moment::BeforeBody, Moment::BeforeDoing, Moment::AfterDoing] {
        let pair = begun().await;
        let fault = Fault::on("UploadPart", Action::Reset(moment)).part(2);
        let report = copy_with(&pair, &without_memory(&pair), At::Target, fault).await;
        assert_eq!((report.outcome, report.retries), (Outcome::Copied, 1), "{moment:?}: {report:?}");
        assert_settled(&pair, KEY, None, &report, "a part that was lost");
        // The first look, five parts, one of them twice if it had been read.
        let read = count(&pair.source.seen(), "GetObject");
        assert!(read == 7 || read == 6 && moment == Moment::BeforeBody, "{moment:?}: {read}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_of_the_source_does_not_arrive() {
    let pair = begun().await;
    let fault = Fault::on("GetObject", Action::Flip(1000)).nth(4);
    let report = copy_with(&pair, &without_memory(&pair), At::Source, fault).await;
    assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
    assert_settled(&pair, KEY, None, &report, "a flipped bit");
    assert_eq!(count(&pair.target.seen(), "CompleteMultipartUpload"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_replaced_in_the_middle_is_begun_anew_and_never_mixed() {
    let pair = begun().await;
    let replace = Action::Before(Box::new(overwrite(KEY, content(SIZE, 2))));
    let report = copy_with(&pair, &without_memory(&pair), At::Source, Fault::on("GetObject", replace).nth(4)).await;
    assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
    assert_settled(&pair, KEY, None, &report, "a source that was replaced");
    assert_eq!(count(&pair.target.seen(), "CompleteMultipartUpload"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_knows_no_trailers_gets_plain_parts_from_then_on() {
    let pair = begun().await;
    let job = without_memory(&pair);
    let unknown = || Action::Answer(Refusal::of("XAmzContentSHA256Mismatch"));
    // One part finds out.
    pair.target.faults().add(Fault::on("UploadPart", unknown()).times(1));
    let report = copy(&job).await;
    assert_eq!(
        (report.outcome, job.session.target.client.quirks().form()),
        (Outcome::Copied, Form::Plain),
        "{report:?}"
    );
    assert_settled(&pair, KEY, None, &report, "no trailers");
    pair.target.store().delete(TARGET_BUCKET, KEY).unwrap();
    pair.target.forget();
    let again = copy(&job).await;
    assert_eq!((again.outcome, parts(&pair.target.seen())), (Outcome::Copied, 5), "{again:?}");
}

/// Copies 17 parts over a fault of the last one's number; the report, and how many UploadParts and ListParts it took.
async fn many(fault: Option<Fault>) -> (Report, Form, usize, usize) {
    let pair = pair().await;
    put(&pair, KEY, content(81 * MIB, 1));
    if let Some(fault) = fault {
        pair.target.faults().add(fault.part(17));
    }
    let job = without_memory(&pair);
    let report = copy(&job).await;
    assert_eq!((report.outcome, report.parts), (Outcome::Copied, 17), "{report:?}");
    assert_settled(&pair, KEY, None, &report, "many parts");
    let seen = pair.target.seen();
    (report, job.session.target.client.quirks().form(), parts(&seen), count(&seen, "ListParts"))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_small_request_finds_out_whether_a_target_takes_trailers() {
    let (report, form, sent, listed) = many(None).await;
    assert_eq!((report.hedges, form, sent, listed), (0, Form::Trailer, 18, 0), "{report:?}");
    let unknown = Fault::on("UploadPart", Action::Answer(Refusal::of("XAmzContentSHA256Mismatch"))).times(1);
    let (report, form, sent, listed) = many(Some(unknown)).await;
    assert_eq!((report.hedges, form, sent, listed), (0, Form::Plain, 19, 0), "{report:?}");
    // It may yet take the place of its part: what the upload has is looked at.
    for action in [Action::answer("AccessDenied"), Action::Reset(Moment::AfterDoing)] {
        let (report, form, sent, listed) = many(Some(Fault::on("UploadPart", action).times(1))).await;
        assert_eq!((report.hedges, form, sent, listed), (1, Form::Trailer, 18, 1), "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_both_ways_is_reported_as_it_was_refused_first() {
    let pair = begun().await;
    let job = without_memory(&pair);
    pair.target.faults().add(Fault::on("UploadPart", Action::answer("InvalidRequest")).part(2));
    pair.target.faults().add(Fault::on("UploadPart", Action::answer("InvalidArgument")).part(2).nth(2));
    let report = copy(&job).await;
    assert_eq!(fault_of(&report, "refused").code.as_deref(), Some("InvalidRequest"), "{report:?}");
    assert_eq!(job.session.target.client.quirks().form(), Form::Trailer);
    assert_settled(&pair, KEY, None, &report, "refused both ways");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_trailer_an_opaque_etag_proves_nothing() {
    let pair = begun().await;
    let kms = Encryption::Kms("key".into());
    pair.target.store().create_bucket(TARGET_BUCKET, BucketConfig { encryption: kms, ..BucketConfig::default() });
    let unknown = Action::Answer(Refusal::of("XAmzContentSHA256Mismatch"));
    pair.target.faults().add(Fault::on("UploadPart", unknown).times(5));
    let report = copy(&without_memory(&pair)).await;
    assert_eq!(fault_of(&report, "no proof").code.as_deref(), Some("XAmzContentSHA256Mismatch"), "{report:?}");
    assert_settled(&pair, KEY, None, &report, "no proof");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_part_whose_answer_is_late_is_read_and_sent_again() {
    let pair = begun().await;
    pair.target.faults().add(Fault::on("UploadPart", Action::StallHead(Some(Duration::from_secs(60)))).part(3));
    let mut job = without_memory(&pair);
    job.session.target = pair.job(KEY).unwrap().session.target;
    let report = copy(&job).await;
    assert_eq!((report.outcome, report.hedges > 0), (Outcome::Copied, true), "{report:?}");
    assert!(report.seconds < 30.0, "{report:?}");
    pair.target.faults().clear();
    assert_settled(&pair, KEY, None, &report, "a late answer");
}

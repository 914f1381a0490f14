//! The steps of an upload, each by a job of its own: begin, send of some part numbers, complete.

use crate::rig::{MIB, assert_settled, content, count, job, pair, put};
use fakes::fault::faults::{Action, Fault};
use fakes::store::object::BucketConfig;
use std::ops::RangeInclusive;
use xpsync::demo::pair::{Pair, SOURCE_BUCKET};
use xpsync::engine::copy::copy;
use xpsync::engine::decide::ticket::{Ticket, WhenStopped};
use xpsync::engine::fault::FaultClass;
use xpsync::engine::job::{Job, Ongoing, Step};
use xpsync::engine::report::{Outcome, Report};
use xpsync::s3::PartNumber;

const KEY: &str = "k";
/// Eight parts of the table.
const SIZE: usize = 40 * MIB;

fn step(pair: &Pair, step: Step, ticket: Option<Ticket>) -> Job {
    let ongoing = Ongoing { step, ticket, when_stopped: WhenStopped::Keep, ..Ongoing::default() };
    Job { ongoing, ..job(pair, KEY) }
}

fn numbers(range: RangeInclusive<u64>) -> Step {
    let [first, last] = [*range.start(), *range.end()].map(|number| PartNumber::new(number).unwrap());
    Step::Send(first..=last)
}

async fn begun(pair: &Pair) -> Ticket {
    let report = copy(&step(pair, Step::Begin, None)).await;
    assert_eq!((report.outcome, report.parts, &report.fault), (Outcome::Resumable, 0, &None), "{report:?}");
    *report.ticket.unwrap()
}

fn is_sent(report: &Report, sent: u32, kept: u32) {
    assert_eq!((report.outcome, &report.fault), (Outcome::Resumable, &None), "{report:?}");
    assert_eq!((report.parts, report.resumed_parts), (sent, kept), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_send_some_parts_each_make_the_object_that_one_job_makes() {
    for stores_checksums in [true, false] {
        let pair = pair().await;
        let config = BucketConfig { stores_checksums, ..BucketConfig::default() };
        pair.source.store().create_bucket(SOURCE_BUCKET, config);
        put(&pair, KEY, content(SIZE, 1));
        let ticket = begun(&pair).await;
        assert_eq!((pair.target.open_uploads().len(), count(&pair.target.seen(), "UploadPart")), (1, 0));
        let jobs = [numbers(3..=5), numbers(6..=8)].map(|parts| step(&pair, parts, Some(ticket.clone())));
        let (middle, last) = tokio::join!(copy(&jobs[0]), copy(&jobs[1]));
        is_sent(&middle, 3, 0);
        is_sent(&last, 3, 0);
        // What came twice is not sent twice.
        is_sent(&copy(&step(&pair, numbers(2..=4), Some(ticket.clone()))).await, 1, 2);
        assert_eq!(count(&pair.target.seen(), "CompleteMultipartUpload"), 0);
        let report = copy(&step(&pair, Step::Complete, Some(ticket))).await;
        assert_eq!((report.outcome, report.parts, report.resumed_parts), (Outcome::Copied, 1, 7), "{report:?}");
        assert_settled(&pair, KEY, None, &report, "in steps");
        let seen = pair.target.seen();
        assert_eq!((count(&seen, "CreateMultipartUpload"), count(&seen, "UploadPart")), (1, 8));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_sends_parts_neither_aborts_nor_begins_an_upload() {
    let pair = pair().await;
    put(&pair, KEY, content(SIZE, 1));
    let report = copy(&step(&pair, numbers(1..=2), None)).await;
    assert_eq!(report.fault.unwrap().class, FaultClass::Configuration);
    let ticket = begun(&pair).await;
    pair.target.faults().add(Fault::on("UploadPart", Action::answer("AccessDenied")).part(2).always());
    let report = copy(&step(&pair, numbers(1..=2), Some(ticket.clone()))).await;
    assert_eq!((report.outcome, report.fault.unwrap().class), (Outcome::Failed, FaultClass::Refused));
    assert_eq!(pair.target.open_uploads().len(), 1);
    pair.target.faults().clear();
    put(&pair, KEY, content(SIZE, 2));
    let report = copy(&step(&pair, numbers(1..=2), Some(ticket.clone()))).await;
    let fault = report.fault.as_ref().unwrap();
    assert_eq!((report.outcome, fault.class), (Outcome::Failed, FaultClass::Precondition), "{report:?}");
    assert!(fault.message.contains("another version of the source"), "{fault:?}");
    let seen = pair.target.seen();
    assert_eq!((count(&seen, "CreateMultipartUpload"), count(&seen, "AbortMultipartUpload")), (1, 0));
    // Whoever completes it finds the same, and may start again.
    let report = copy(&step(&pair, Step::Complete, Some(ticket))).await;
    assert_eq!((report.outcome, report.parts), (Outcome::Copied, 8), "{report:?}");
    assert_settled(&pair, KEY, None, &report, "another version");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_sent_in_parts_is_copied_by_the_step_that_begins() {
    let pair = pair().await;
    put(&pair, KEY, content(MIB, 1));
    let report = copy(&step(&pair, Step::Begin, None)).await;
    assert_eq!((report.outcome, report.parts), (Outcome::Copied, 1), "{report:?}");
    let report = copy(&step(&pair, Step::Begin, None)).await;
    assert_eq!(report.outcome, Outcome::Unchanged, "{report:?}");
}

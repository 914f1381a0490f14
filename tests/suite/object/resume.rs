//! An upload that was stopped is resumed by its ticket: what is kept, what is read again, and what is started again.

use crate::rig::{MIB, assert_settled, content, count, job, on, overwrite, pair, put};
use bytes::Bytes;
use fakes::fault::faults::{Action, Fault};
use fakes::store::attributes::Attributes;
use fakes::store::object::{BucketConfig, Encryption};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use xpsync::demo::pair::{Pair, SOURCE_BUCKET, TARGET_BUCKET};
use xpsync::engine::copy::copy;
use xpsync::engine::decide::ticket::{Ticket, UploadJournal, WhenStopped};
use xpsync::engine::fault::FaultClass;
use xpsync::engine::job::{Job, Ongoing};
use xpsync::engine::report::{Outcome, Proof, Report};
use xpsync::s3::UploadId;
use xpsync::wire::deadline::Deadline;

const KEY: &str = "k";
/// Four parts of the table: three of 5 MiB and one of 2.
const SIZE: usize = 17 * MIB;

fn keeping(job: Job) -> Job {
    Job { ongoing: Ongoing { when_stopped: WhenStopped::Keep, ..job.ongoing.clone() }, ..job }
}

fn with_ticket(job: Job, ticket: Ticket) -> Job {
    let ongoing = Ongoing { ticket: Some(ticket), when_stopped: WhenStopped::Keep, ..Ongoing::default() };
    Job { ongoing, ..job }
}

/// Copies while one part is never taken, and asks for a stop once so many MiB are known to be in the upload.
async fn stopped(pair: &Pair, job: Job, stalled: u16, mib: usize) -> Report {
    let (ask, asked) = watch::channel(false);
    pair.target.faults().add(Fault::on("UploadPart", Action::answer("SlowDown")).part(stalled).always());
    let job = Job { deadline: Deadline::never().or_asked(asked), ..job };
    let stopping = async {
        while job.progress.sent() < (mib * MIB) as u64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        ask.send(true).unwrap();
    };
    let (report, ()) = tokio::join!(copy(&job), stopping);
    pair.target.faults().clear();
    report
}

fn ticket(report: &Report) -> Ticket {
    assert_eq!(report.outcome, Outcome::Resumable, "{report:?}");
    *report.ticket.clone().unwrap()
}

fn forget(pair: &Pair) {
    pair.source.forget();
    pair.target.forget();
}

/// Ranges of the source that were read.
fn reads(pair: &Pair) -> usize {
    count(&pair.source.seen(), "GetObject")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_is_kept_unread_where_the_source_has_a_checksum() {
    let pair = pair().await;
    put(&pair, KEY, content(SIZE, 1));
    let report = stopped(&pair, keeping(job(&pair, KEY)), 3, 12).await;
    assert_eq!((report.parts, report.resumed_parts, report.bytes), (3, 0, 12 * MIB as u64), "{report:?}");
    assert_eq!(report.fault.as_ref().unwrap().class, FaultClass::Interrupted);
    assert!(report.reason.as_deref().unwrap().contains("is left open, to be resumed"), "{report:?}");
    assert_eq!(pair.target.open_uploads().len(), 1);
    forget(&pair);
    let report = copy(&with_ticket(job(&pair, KEY), ticket(&report))).await;
    assert_eq!((report.outcome, report.parts, report.resumed_parts), (Outcome::Copied, 1, 3), "{report:?}");
    assert_eq!(report.bytes, 5 * MIB as u64);
    assert_settled(&pair, KEY, None, &report, "resumed");
    assert!(report.verified_by.contains(&Proof::SourceChecksum) && !report.verified_by.contains(&Proof::PartMd5));
    let seen = pair.target.seen();
    assert_eq!((count(&seen, "UploadPart"), count(&seen, "CreateMultipartUpload")), (1, 0));
    // The pin, and the one range that was missing.
    assert_eq!(reads(&pair), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_stopped_again_and_again_gets_there() {
    let pair = pair().await;
    put(&pair, KEY, content(40 * MIB, 1));
    // One part at a time, and the one after the next is never taken: each round gets one part further.
    let one_at_a_time = |mut job: Job| {
        job.session.parts_in_flight = 1;
        job
    };
    let mut report = stopped(&pair, one_at_a_time(keeping(job(&pair, KEY))), 2, 5).await;
    for kept in 1..6_u16 {
        let job = one_at_a_time(with_ticket(job(&pair, KEY), ticket(&report)));
        report = stopped(&pair, job, kept + 2, 5 * usize::from(kept + 1)).await;
        assert_eq!((report.parts, report.resumed_parts), (1, u32::from(kept)), "{report:?}");
    }
    forget(&pair);
    let report = copy(&with_ticket(job(&pair, KEY), ticket(&report))).await;
    assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
    assert_eq!((report.parts, report.resumed_parts), (2, 6));
    assert_settled(&pair, KEY, None, &report, "resumed six times");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_stored_checksum_ranges_are_read_again_and_wrong_parts_sent_again() {
    for encryption in [Encryption::Aes256, Encryption::Kms("key".into())] {
        let pair = pair().await;
        let config =
            BucketConfig { stores_checksums: false, encryption: encryption.clone(), ..BucketConfig::default() };
        pair.source.store().create_bucket(SOURCE_BUCKET, config);
        put(&pair, KEY, content(SIZE, 1));
        let report = stopped(&pair, keeping(job(&pair, KEY)), 3, 12).await;
        // Somebody damages a part that is kept: its own checksum and ETag are right, and it is not what the source has.
        let upload = pair.target.open_uploads()[0].id.clone();
        pair.target.store().replace_part(&upload, 2, content(5 * MIB, 7));
        forget(&pair);
        let report = copy(&with_ticket(job(&pair, KEY), ticket(&report))).await;
        assert_eq!((report.outcome, report.parts, report.resumed_parts), (Outcome::Copied, 2, 2), "{report:?}");
        assert_settled(&pair, KEY, None, &report, "read again");
        assert_eq!(count(&pair.target.seen(), "UploadPart"), 2, "{encryption:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_parts_that_do_not_make_the_source_are_found_out_before_the_commit() {
    for encryption in [Encryption::Aes256, Encryption::Kms("key".into())] {
        let pair = pair().await;
        let config = BucketConfig { encryption, ..BucketConfig::default() };
        pair.target.store().create_bucket(TARGET_BUCKET, config);
        put(&pair, KEY, content(SIZE, 1));
        let report = stopped(&pair, keeping(job(&pair, KEY)), 3, 12).await;
        let upload = pair.target.open_uploads()[0].id.clone();
        pair.target.store().replace_part(&upload, 2, content(5 * MIB, 7));
        forget(&pair);
        let report = copy(&with_ticket(job(&pair, KEY), ticket(&report))).await;
        assert_eq!((report.outcome, report.parts, report.resumed_parts), (Outcome::Copied, 2, 2), "{report:?}");
        assert_settled(&pair, KEY, None, &report, "found out");
        let seen = pair.target.seen();
        assert_eq!((count(&seen, "UploadPart"), count(&seen, "CompleteMultipartUpload")), (2, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source_s_own_parts_are_kept_unread_by_its_etag() {
    let pair = pair().await;
    let config = BucketConfig { stores_checksums: false, ..BucketConfig::default() };
    pair.source.store().create_bucket(SOURCE_BUCKET, config);
    let parts: Vec<Bytes> = (1..=4).map(|seed| content(6 * MIB, seed)).collect();
    pair.source.store().put_parts(SOURCE_BUCKET, KEY, parts, Attributes::default()).unwrap();
    let report = stopped(&pair, keeping(job(&pair, KEY)), 3, 18).await;
    forget(&pair);
    let report = copy(&with_ticket(job(&pair, KEY), ticket(&report))).await;
    assert_eq!((report.outcome, report.parts, report.resumed_parts), (Outcome::Copied, 1, 3), "{report:?}");
    assert!(report.etag_preserved && report.verified_by.contains(&Proof::SourceETag), "{report:?}");
    assert_settled(&pair, KEY, None, &report, "by its ETag");
    assert_eq!(reads(&pair), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_changed_meanwhile_costs_an_abort_and_a_copy() {
    let pair = pair().await;
    put(&pair, KEY, content(SIZE, 1));
    let report = stopped(&pair, keeping(job(&pair, KEY)), 3, 12).await;
    overwrite(KEY, content(SIZE, 2))(pair.source.store());
    forget(&pair);
    let report = copy(&with_ticket(job(&pair, KEY), ticket(&report))).await;
    assert_eq!((report.outcome, report.parts, report.resumed_parts), (Outcome::Copied, 4, 0), "{report:?}");
    assert!(report.reason.as_deref().unwrap().contains("of an older version of the source"), "{report:?}");
    assert_settled(&pair, KEY, None, &report, "changed");
    assert_eq!(count(&pair.target.seen(), "AbortMultipartUpload"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_small_gone_or_there_already_leaves_no_upload_of_the_ticket() {
    let pair = pair().await;
    let stop = async || {
        put(&pair, KEY, content(SIZE, 1));
        pair.target.store().delete(TARGET_BUCKET, KEY).unwrap();
        ticket(&stopped(&pair, keeping(job(&pair, KEY)), 3, 12).await)
    };
    let resume = async |ticket: Ticket, expected| {
        let report = copy(&with_ticket(job(&pair, KEY), ticket)).await;
        assert_eq!(report.outcome, expected, "{report:?}");
        assert!(pair.target.open_uploads().is_empty(), "{report:?}");
    };
    let ticket = stop().await;
    put(&pair, KEY, content(100, 2));
    resume(ticket, Outcome::Copied).await;
    let ticket = stop().await;
    pair.target.store().put(TARGET_BUCKET, KEY, content(SIZE, 1), Attributes::default()).unwrap();
    resume(ticket, Outcome::Unchanged).await;
    let ticket = stop().await;
    pair.source.store().delete(SOURCE_BUCKET, KEY).unwrap();
    resume(ticket, Outcome::Superseded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_not_there_any_more_is_decided_anew() {
    let pair = pair().await;
    put(&pair, KEY, content(SIZE, 1));
    let first = ticket(&stopped(&pair, keeping(job(&pair, KEY)), 3, 12).await);
    pair.target.store().end_upload(first.upload.as_str());
    let report = copy(&with_ticket(job(&pair, KEY), first.clone())).await;
    assert_eq!((report.outcome, report.parts, report.resumed_parts), (Outcome::Copied, 4, 0), "{report:?}");
    assert_settled(&pair, KEY, None, &report, "gone");
    // And once it was completed: nothing is sent.
    forget(&pair);
    let report = copy(&with_ticket(job(&pair, KEY), first)).await;
    assert_eq!((report.outcome, count(&pair.target.seen(), "UploadPart")), (Outcome::Unchanged, 0), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_go_on_with_one_upload_end_with_one_right_object() {
    for encryption in [Encryption::Aes256, Encryption::Kms("key".into())] {
        let pair = pair().await;
        let config = BucketConfig { encryption: encryption.clone(), ..BucketConfig::default() };
        pair.target.store().create_bucket(TARGET_BUCKET, config);
        put(&pair, KEY, content(SIZE, 1));
        let ticket = ticket(&stopped(&pair, keeping(job(&pair, KEY)), 3, 12).await);
        let resume = || copy_owned(with_ticket(job(&pair, KEY), ticket.clone()));
        let (one, two) = tokio::join!(resume(), resume());
        for report in [&one, &two] {
            assert!(matches!(report.outcome, Outcome::Copied | Outcome::Unchanged), "{encryption:?}: {report:?}");
            assert_settled(&pair, KEY, None, report, "two at a time");
        }
    }
}

async fn copy_owned(job: Job) -> Report {
    copy(&job).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_somebody_else_under_the_key_is_not_touched() {
    let pair = pair().await;
    put(&pair, KEY, content(SIZE, 1));
    // Begun by other means: nobody gave its ticket away.
    let stranger = ticket(&stopped(&pair, keeping(job(&pair, KEY)), 1, 5).await);
    let report = copy(&job(&pair, KEY)).await;
    assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
    let open = pair.target.open_uploads();
    assert_eq!((open.len(), open[0].id.as_str()), (1, stranger.upload.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_beyond_the_layout_cost_a_copy_and_never_a_wrong_complete() {
    let pair = pair().await;
    put(&pair, KEY, content(SIZE, 1));
    let ticket = ticket(&stopped(&pair, keeping(job(&pair, KEY)), 3, 12).await);
    pair.target.store().replace_part(ticket.upload.as_str(), 9, content(100, 7));
    let report = copy(&with_ticket(job(&pair, KEY), ticket)).await;
    assert_eq!((report.outcome, report.parts, report.resumed_parts), (Outcome::Copied, 4, 0), "{report:?}");
    assert_settled(&pair, KEY, None, &report, "parts beyond");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_another_length_are_sent_again() {
    let pair = pair().await;
    put(&pair, KEY, content(SIZE, 1));
    let ticket = ticket(&stopped(&pair, keeping(job(&pair, KEY)), 3, 12).await);
    pair.target.store().replace_part(ticket.upload.as_str(), 2, content(100, 7));
    let report = copy(&with_ticket(job(&pair, KEY), ticket)).await;
    assert_eq!((report.outcome, report.parts, report.resumed_parts), (Outcome::Copied, 2, 2), "{report:?}");
    assert_settled(&pair, KEY, None, &report, "another length");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_border_that_closes_leaves_a_ticket_rather_than_an_abort_that_cannot_arrive() {
    let pair = pair().await;
    put(&pair, KEY, content(SIZE, 1));
    let cut = || Action::Reset(fakes::fault::faults::Moment::BeforeBody);
    pair.target.faults().add(Fault::on("UploadPart", cut()).part(2).always());
    pair.target.faults().add(on("AbortMultipartUpload", cut()).always());
    let mut job = keeping(job(&pair, KEY));
    job.deadline = Deadline::after(Duration::from_secs(3));
    let report = copy(&job).await;
    pair.target.faults().clear();
    let ticket = ticket(&report);
    assert!([FaultClass::Network, FaultClass::Deadline].contains(&report.fault.as_ref().unwrap().class), "{report:?}");
    let report = copy(&with_ticket(crate::rig::job(&pair, KEY), ticket)).await;
    assert_eq!((report.outcome, report.resumed_parts), (Outcome::Copied, 3), "{report:?}");
    assert_settled(&pair, KEY, None, &report, "closed border");
}

/// A ledger that is looked into.
#[derive(Debug, Default)]
struct Lines(Mutex<Vec<String>>);

impl Lines {
    fn add(&self, line: String) -> std::io::Result<()> {
        self.0.lock().unwrap().push(line);
        Ok(())
    }
}

impl UploadJournal for Lines {
    fn intends(&self) -> std::io::Result<()> {
        self.add("intends".into())
    }

    fn begun(&self, ticket: &Ticket) -> std::io::Result<()> {
        self.add(format!("begun {}", ticket.upload.as_str()))
    }

    fn ended(&self) -> std::io::Result<()> {
        self.add("ended".into())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_is_written_down_before_a_part_is_sent_and_until_nothing_is() {
    let pair = Arc::new(pair().await);
    put(&pair, KEY, content(SIZE, 1));
    let lines = Arc::new(Lines::default());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let look = {
        let (lines, seen) = (Arc::clone(&lines), Arc::clone(&seen));
        move |_: &_| *seen.lock().unwrap() = lines.0.lock().unwrap().clone()
    };
    pair.target.faults().add(on("UploadPart", Action::Before(Box::new(look))));
    let mut job = keeping(job(&pair, KEY));
    job.ongoing.journal = Some(Arc::clone(&lines) as Arc<dyn UploadJournal>);
    let report = copy(&job).await;
    assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
    let at_first_part = seen.lock().unwrap().clone();
    assert!(matches!(&at_first_part[..], [intends, begun] if intends == "intends" && begun.starts_with("begun ")));
    assert_eq!(lines.0.lock().unwrap().last().map(String::as_str), Some("ended"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_a_killed_process_began_and_never_knew_is_aborted_and_others_are_left() {
    let pair = pair().await;
    put(&pair, KEY, content(SIZE, 1));
    let unknown = ticket(&stopped(&pair, keeping(job(&pair, KEY)), 1, 5).await);
    let begun = pair.target.open_uploads()[0].initiated.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let begun = i64::try_from(begun).unwrap();
    // Meant to be begun an hour later: it is somebody else's.
    for (intended, left) in [(begun + 3600, 1), (begun, 0)] {
        pair.target.store().delete(TARGET_BUCKET, KEY).unwrap();
        let mut job = keeping(job(&pair, KEY));
        job.ongoing.intended = vec![intended];
        let report = copy(&job).await;
        assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
        let open = pair.target.open_uploads();
        assert_eq!(open.len(), left, "{report:?}");
        assert!(open.iter().all(|upload| upload.id == unknown.upload.as_str()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_began_is_aborted_though_there_is_nothing_to_send() {
    for size in [100, SIZE] {
        let pair = pair().await;
        put(&pair, KEY, content(SIZE, 1));
        stopped(&pair, keeping(job(&pair, KEY)), 1, 5).await;
        let begun = pair.target.open_uploads()[0].initiated.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        // Somebody else has made the target equal meanwhile, to an object that goes in parts or in one PUT.
        put(&pair, KEY, content(size, 2));
        pair.target.store().put(TARGET_BUCKET, KEY, content(size, 2), Attributes::default()).unwrap();
        let lines = Arc::new(Lines::default());
        let mut job = keeping(job(&pair, KEY));
        job.ongoing.intended = vec![i64::try_from(begun).unwrap()];
        job.ongoing.journal = Some(Arc::clone(&lines) as Arc<dyn UploadJournal>);
        let report = copy(&job).await;
        assert_eq!(report.outcome, Outcome::Unchanged, "{report:?}");
        assert!(pair.target.open_uploads().is_empty(), "{report:?}");
        assert_eq!(lines.0.lock().unwrap().last().map(String::as_str), Some("ended"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_may_be_open_stays_written_down() {
    let pair = pair().await;
    put(&pair, KEY, content(SIZE, 1));
    let unanswered = Action::Reset(fakes::fault::faults::Moment::AfterDoing);
    pair.target.faults().add(on("CreateMultipartUpload", unanswered).always());
    let lines = Arc::new(Lines::default());
    let mut job = keeping(job(&pair, KEY));
    job.deadline = Deadline::after(Duration::from_secs(2));
    job.ongoing.journal = Some(Arc::clone(&lines) as Arc<dyn UploadJournal>);
    let report = copy(&job).await;
    pair.target.faults().clear();
    assert_eq!(report.outcome, Outcome::Failed, "{report:?}");
    assert!(lines.0.lock().unwrap().iter().all(|line| line == "intends"), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_which_nothing_is_begun_is_not_written_about() {
    let pair = pair().await;
    put(&pair, KEY, content(100, 1));
    let lines = Arc::new(Lines::default());
    let mut job = keeping(job(&pair, KEY));
    job.ongoing.journal = Some(Arc::clone(&lines) as Arc<dyn UploadJournal>);
    assert_eq!(copy(&job).await.outcome, Outcome::Copied);
    assert!(lines.0.lock().unwrap().is_empty(), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_part_is_begun_that_cannot_end_in_time() {
    let pair = pair().await;
    put(&pair, KEY, content(60 * MIB, 1));
    let slow = Duration::from_millis(1_500);
    pair.target.faults().add(Fault::on("UploadPart", Action::StallHead(Some(slow))).always());
    let mut job = keeping(job(&pair, KEY));
    job.session.parts_in_flight = 2;
    job.deadline = Deadline::after(Duration::from_secs(4));
    let report = copy(&job).await;
    pair.target.faults().clear();
    let kept = ticket(&report);
    // All that were begun have ended: nothing was cut off half-sent.
    let begun = count(&pair.target.seen(), "UploadPart");
    assert_eq!((report.parts as usize, report.fault.unwrap().class), (begun, FaultClass::Deadline));
    assert!((2..12).contains(&begun), "{begun}");
    let report = copy(&with_ticket(crate::rig::job(&pair, KEY), kept)).await;
    assert_eq!((report.outcome, report.resumed_parts as usize), (Outcome::Copied, begun), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_with_a_made_up_upload_is_no_harm() {
    let pair = pair().await;
    put(&pair, KEY, content(SIZE, 1));
    let mut made_up = ticket(&stopped(&pair, keeping(job(&pair, KEY)), 3, 12).await);
    pair.target.store().end_upload(made_up.upload.as_str());
    made_up.upload = UploadId::new("never-begun").unwrap();
    let report = copy(&with_ticket(job(&pair, KEY), made_up)).await;
    assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
    assert_settled(&pair, KEY, None, &report, "made up");
}

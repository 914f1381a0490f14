//! What the tests of a broken world share: two servers, patience in milliseconds, and what must hold after every copy.

pub(crate) mod shell;
pub(crate) mod world;

use bytes::Bytes;
use fakes::fault::faults::{Action, Fault};
use fakes::seen::Seen;
use fakes::server::Server;
use fakes::store::attributes::Attributes;
use std::time::Duration;
use xpsync::demo::pair::{Pair, SOURCE_BUCKET, TARGET_BUCKET};
use xpsync::engine::copy::copy;
use xpsync::engine::fault::Fault as Reported;
use xpsync::engine::job::Job;
use xpsync::engine::report::{Outcome, Report};
use xpsync::s3::multipart::upload::CreateMultipartUpload;
use xpsync::s3::object::put::ObjectOptions;
use xpsync::s3::{Bucket, Key};
use xpsync::wire::client::attempt::Attempts;
use xpsync::wire::client::config::Config;
use xpsync::wire::client::retry::Persistence;
use xpsync::wire::deadline::Deadline;

pub(crate) const KIB: usize = 1 << 10;
pub(crate) const MIB: usize = 1 << 20;
/// One size for each way: the PUT without a look, the PUT after a look, parts.
pub(crate) const SIZES: [usize; 3] = [KIB, MIB, 17 * MIB];

/// Which of the two servers something happens at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Source,
    Target,
}

impl At {
    pub(crate) fn server(self, pair: &Pair) -> &Server {
        match self {
            Self::Source => &pair.source,
            Self::Target => &pair.target,
        }
    }
}

pub(crate) async fn pair() -> Pair {
    Pair::start(None).await.unwrap()
}

/// Bytes without a period that could hide a shift.
pub(crate) fn content(length: usize, seed: u64) -> Bytes {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    bytes.into()
}

pub(crate) fn put(pair: &Pair, key: &str, bytes: Bytes) {
    pair.source.store().put(SOURCE_BUCKET, key, bytes, Attributes::default()).unwrap();
}

/// Patience that a stall of a test can exhaust; long enough that a busy machine does not.
pub(crate) fn impatient(side: &'static str) -> Config {
    let patience = Duration::from_secs(2);
    Config { first_byte: patience, slow_first_byte: patience, stall: patience, ..Config::new(side, 32) }
}

/// A job whose clients lose patience soon.
pub(crate) fn job(pair: &Pair, key: &str) -> Job {
    let mut job = pair.job(key).unwrap();
    job.session.source.client = pair.source_client(impatient("source")).unwrap();
    job.session.target.client = pair.target_client(impatient("target")).unwrap();
    job
}

/// Adds a fault to a server's script and copies.
pub(crate) async fn copy_with(pair: &Pair, job: &Job, at: At, fault: Fault) -> Report {
    let acted = at.server(pair).faults().add(fault);
    let report = copy(job).await;
    at.server(pair).faults().clear();
    assert!(acted.count() > 0, "the fault never came about: {report:?}");
    report
}

/// What must hold whatever happened: the target has the source's bytes or the report says failed and the target is as
/// it was; no upload is open; everything that was asked is answered or its connection gone.
pub(crate) fn assert_settled(pair: &Pair, key: &str, before: Option<&Bytes>, report: &Report, what: &str) {
    let source = pair.source.store().get(SOURCE_BUCKET, key).map(|object| object.bytes());
    let target = pair.target.store().get(TARGET_BUCKET, key).map(|object| object.bytes());
    match report.outcome {
        Outcome::Copied | Outcome::Unchanged => {
            assert!(source == target, "{what}: the bytes differ: {report:?}");
            assert!(report.is_proven(), "{what}: not proven: {report:?}");
        }
        Outcome::Failed => {
            let before = before.map(|bytes| bytes.to_vec());
            assert!(target == source || target == before, "{what}: half-written: {report:?}");
            assert!(report.fault.is_some(), "{what}: {report:?}");
        }
        Outcome::Deleted => assert!(source.is_none() && target.is_none(), "{what}: not gone: {report:?}"),
        Outcome::HandedOver | Outcome::Superseded | Outcome::Ignored => {}
        // Here one upload is open on purpose; who stops a copy looks at that itself.
        Outcome::Resumable => panic!("{what}: {report:?}"),
    }
    assert!(pair.target.open_uploads().is_empty(), "{what}: an upload is open: {report:?}");
    let versions = pair.target.store().versions(TARGET_BUCKET, key).len();
    assert!(versions <= 1, "{what}: {versions} versions");
}

/// The fault of a failed report, with what every failure of an S3 operation must say.
pub(crate) fn fault_of<'a>(report: &'a Report, what: &str) -> &'a Reported {
    assert_eq!(report.outcome, Outcome::Failed, "{what}: {report:?}");
    report.fault.as_deref().unwrap()
}

pub(crate) fn count(seen: &[Seen], operation: &str) -> usize {
    seen.iter().filter(|seen| seen.operation == operation).count()
}

/// Copies, and asks for the end of it as soon as the target has done the nth request of an operation, whose answer
/// never comes.
pub(crate) async fn copy_until(pair: &Pair, job: &mut Job, operation: &str, nth: usize) -> Report {
    let (ask, asked) = tokio::sync::watch::channel(false);
    job.deadline = Deadline::never().or_asked(asked);
    let hook = move |_: &fakes::store::objects::Store| ask.send(true).unwrap();
    pair.target.faults().add(Fault::on(operation, Action::After(Box::new(hook))).nth(nth));
    copy_with(pair, job, At::Target, Fault::on(operation, Action::StallHead(None)).nth(nth)).await
}

/// A hook that replaces the source's object.
pub(crate) fn overwrite(key: &'static str, bytes: Bytes) -> impl Fn(&fakes::store::objects::Store) + Send + Sync {
    move |store| {
        store.put(SOURCE_BUCKET, key, bytes.clone(), Attributes::default()).unwrap();
    }
}

/// A fault at the first request of an operation.
pub(crate) fn on(operation: &str, action: Action) -> Fault {
    Fault::on(operation, action)
}

/// Begins an upload at the target as the engine would, and makes it so old.
pub(crate) async fn begin_upload(pair: &Pair, key: &str, age: Duration) -> String {
    let client = pair.target_client(Config::new("target", 16)).unwrap();
    let (bucket, key) = (Bucket::new(TARGET_BUCKET).unwrap(), Key::new(key).unwrap());
    let create = CreateMultipartUpload { bucket, key, style: ObjectOptions::default() };
    let mut attempts = Attempts::new(Persistence::Control, &Deadline::never());
    let upload = client.call(&create, &mut attempts).await.unwrap();
    pair.target.store().age_upload(upload.as_str(), age);
    upload.as_str().to_owned()
}

/// Makes every open upload of the target so old.
pub(crate) fn age_uploads(pair: &Pair, age: Duration) {
    for upload in pair.target.open_uploads() {
        pair.target.store().age_upload(&upload.id, age);
    }
}

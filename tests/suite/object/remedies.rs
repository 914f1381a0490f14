//! What one other attempt can mend: region, clock, connection; and what it cannot.

use crate::rig::{At, KIB, MIB, SIZES, assert_settled, content, copy_with, count, fault_of, job, on, pair, put};
use aws_credential_types::Credentials;
use fakes::fault::faults::{Action, Moment};
use fakes::net::authority::Authority;
use fakes::server::{Server, ServerConfig};
use fakes::store::object::BucketConfig;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use xpsync::demo::pair::{Pair, TARGET_BUCKET, TARGET_REGION, target_keys};
use xpsync::engine::copy::copy;
use xpsync::engine::fault::FaultClass;
use xpsync::engine::job::Job;
use xpsync::engine::report::Outcome;
use xpsync::s3::http::endpoint::{Endpoint, Region};
use xpsync::s3::object::put::PutObject;
use xpsync::s3::{Bucket, Key};
use xpsync::wire::client::attempt::Attempts;
use xpsync::wire::client::call::Client;
use xpsync::wire::client::config::Config;
use xpsync::wire::client::retry::Persistence;
use xpsync::wire::deadline::Deadline;
use xpsync::wire::gate::{AlwaysOpen, Boxed, Gate, Permit, Unit};
use xpsync::wire::keys::Fixed;
use xpsync::wire::net::connect::Network;
use xpsync::wire::net::tls::client_config;

const KEY: &str = "k";

/// A job whose target client believes in another region, and signs with other keys if told so.
fn elsewhere(pair: &Pair, region: &str) -> Job {
    let mut job = job(pair, KEY);
    job.session.target.client =
        pair.client(crate::rig::impatient("target"), &pair.target_endpoint(), region, &target_keys()).unwrap();
    job
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_region_is_learnt_from_one_refusal() {
    for size in SIZES {
        let pair = pair().await;
        put(&pair, KEY, content(size, 1));
        let job = elsewhere(&pair, "eu-west-1");
        let report = copy(&job).await;
        assert_eq!((report.outcome, report.retries), (Outcome::Copied, 1), "{report:?}");
        assert_settled(&pair, KEY, None, &report, "another region");
        assert_eq!(job.session.target.client.region().as_str(), TARGET_REGION);
        assert_eq!(pair.target.seen().iter().filter(|seen| seen.status == 400).count(), 1, "one refusal is enough");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_followed_once() {
    for (size, operation) in [(KIB, "PutObject"), (MIB, "HeadObject"), (17 * MIB, "HeadObject")] {
        for code in ["PermanentRedirect", "TemporaryRedirect"] {
            let pair = pair().await;
            put(&pair, KEY, content(size, 1));
            let fault = on(operation, Action::redirect(code, TARGET_REGION));
            let report = copy_with(&pair, &elsewhere(&pair, "eu-west-1"), At::Target, fault).await;
            assert_eq!((report.outcome, report.retries), (Outcome::Copied, 1), "{report:?}");
            assert_settled(&pair, KEY, None, &report, code);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_without_a_region_is_followed_by_asking_for_the_bucket() {
    let pair = pair().await;
    put(&pair, KEY, content(KIB, 1));
    let fault = on("PutObject", Action::answer("PermanentRedirect"));
    let report = copy_with(&pair, &elsewhere(&pair, "eu-west-1"), At::Target, fault).await;
    assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
    assert_eq!(count(&pair.target.seen(), "HeadBucket"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_redirected_together_all_follow() {
    let pair = pair().await;
    let job = elsewhere(&pair, "eu-west-1");
    let keys: Vec<String> = (0..12).map(|number| format!("key-{number}")).collect();
    let jobs: Vec<Job> = keys
        .iter()
        .map(|key| {
            put(&pair, key, content(KIB, 1));
            let key = Key::new(key).unwrap();
            Job { source_key: key.clone(), target_key: key, ..job.clone() }
        })
        .collect();
    // Nobody is answered before all have signed.
    pair.target.faults().add(on("PutObject", Action::StallHead(Some(Duration::from_millis(300)))).times(jobs.len()));
    for report in futures_util::future::join_all(jobs.iter().map(copy)).await {
        assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_partition_is_not_followed_and_named() {
    let pair = pair().await;
    put(&pair, KEY, content(KIB, 1));
    let fault = on("PutObject", Action::redirect("PermanentRedirect", "cn-north-1")).always();
    let report = copy_with(&pair, &job(&pair, KEY), At::Target, fault).await;
    let fault = fault_of(&report, "another partition");
    assert_eq!(fault.code.as_deref(), Some("PermanentRedirect"));
    assert!(fault.hint.as_deref().unwrap().contains("global-target is in another region"), "{report:?}");
    assert!(fault.request_id.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_hours_off_is_corrected_once_on_each_side() {
    for size in SIZES {
        for at in [At::Source, At::Target] {
            for ahead in [5, -5] {
                let pair = pair().await;
                put(&pair, KEY, content(size, 1));
                at.server(&pair).set_clock_ahead(ahead * 3_600_000);
                let report = copy(&job(&pair, KEY)).await;
                assert_eq!((report.outcome, report.retries), (Outcome::Copied, 1), "{at:?} {size}: {report:?}");
                assert_settled(&pair, KEY, None, &report, "a wrong clock");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_for_ever_is_reported() {
    let pair = pair().await;
    put(&pair, KEY, content(KIB, 1));
    let fault = on("PutObject", Action::answer("RequestTimeTooSkewed")).always();
    let report = copy_with(&pair, &job(&pair, KEY), At::Target, fault).await;
    assert!(fault_of(&report, "skew").hint.as_deref().unwrap().contains("clock"), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_closed_behind_our_back_counts_for_nothing() {
    // What a control call may fail, and one more that is no failure.
    let pair = pair().await;
    put(&pair, KEY, content(KIB, 1));
    let job = pair.job(KEY).unwrap();
    assert_eq!(copy(&job).await.outcome, Outcome::Copied);
    put(&pair, KEY, content(KIB, 2));
    pair.target.forget();
    let report = copy_with(&pair, &job, At::Target, on("PutObject", Action::Reset(Moment::BeforeBody))).await;
    assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
    let connections: Vec<u64> = pair.target.seen().iter().map(|seen| seen.connection).collect();
    assert!(connections[0] == 1 && connections[1] == 2, "{connections:?}");
}

/// A client of a target with a gate of the test's own.
fn client(authority: &Authority, server: &Server, gate: impl Gate + 'static) -> Client {
    let tls = client_config(Some(authority.pem().as_bytes())).unwrap();
    let keys = target_keys();
    Client::new(
        Config::new("target", 4),
        Endpoint::overridden(&server.endpoint()).unwrap(),
        Region::new(TARGET_REGION).unwrap(),
        Arc::new(Fixed(Credentials::from_keys(&keys.access_key, &keys.secret_key, None))),
        Arc::new(gate),
        Arc::new(Network::new(tls)),
    )
}

/// A gate that panics at the nth request.
struct Panicking {
    entered: AtomicU32,
    nth: u32,
}

impl Panicking {
    fn count(&self) {
        assert_ne!(self.entered.fetch_add(1, Ordering::SeqCst) + 1, self.nth, "a panic of the test's making");
    }
}

impl Gate for Panicking {
    fn enter(&self, unit: Unit) -> Boxed<'_, Box<dyn Permit>> {
        self.count();
        AlwaysOpen.enter(unit)
    }

    fn admit(&self) -> Box<dyn Permit> {
        AlwaysOpen.admit()
    }

    fn moved(&self, _: u64) {}

    fn window(&self) -> u32 {
        AlwaysOpen.window()
    }

    fn surplus(&self) -> u32 {
        0
    }

    fn starved(&self, _: u32) {}

    fn resumed(&self, _: Instant) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_anywhere_leaves_no_upload_open() {
    // HeadObject, CreateMultipartUpload, four UploadPart, CompleteMultipartUpload.
    for nth in 1..=7 {
        let pair = pair().await;
        put(&pair, KEY, content(17 * MIB, 1));
        let mut job = pair.job(KEY).unwrap();
        job.session.target.client =
            client(pair.authority(), &pair.target, Panicking { entered: AtomicU32::new(0), nth });
        match tokio::spawn(async move { copy(&job).await }).await {
            Ok(report) => assert_eq!(fault_of(&report, "a panic").class, FaultClass::Internal, "{nth}: {report:?}"),
            Err(error) => assert!(error.is_panic()),
        }
        assert!(pair.target.open_uploads().is_empty(), "{nth}");
        assert!(pair.target.store().get(TARGET_BUCKET, KEY).is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_that_the_server_closed_are_not_missed() {
    let authority = Arc::new(Authority::new().unwrap());
    let config = ServerConfig::new(TARGET_REGION, target_keys()).tls(&authority);
    let server = Server::start(ServerConfig { idle: Some(Duration::from_millis(50)), ..config }).await.unwrap();
    server.store().create_bucket(TARGET_BUCKET, BucketConfig::default());
    let client = client(&authority, &server, AlwaysOpen);
    for round in 1..=5 {
        let mut attempts = Attempts::new(Persistence::Control, &Deadline::never());
        let bucket = Bucket::new(TARGET_BUCKET).unwrap();
        let put = PutObject::new(bucket, Key::new(KEY).unwrap(), content(KIB, round));
        client.call(&put, &mut attempts).await.unwrap();
        while server.open_connections() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

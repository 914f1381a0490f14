//! Whom the engine talks to: nobody but the server of that name, in TLS 1.2 or later, and nowhere that a reply sends
//! it.

use crate::rig::{At, KIB, content, copy_with, count, fault_of, job, on, pair, put};
use fakes::aws::vault::Vault;
use fakes::fault::faults::Action;
use fakes::net::authority::Authority;
use fakes::s3::refusal::Refusal;
use fakes::server::{Server, ServerConfig};
use fakes::store::object::BucketConfig;
use http::header::{HeaderName, HeaderValue, LOCATION};
use serde_json::json;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use xpsync::demo::pair::{Pair, SOURCE_BUCKET, TARGET_BUCKET, TARGET_REGION, target_keys};
use xpsync::engine::copy::copy;
use xpsync::engine::fault::FaultClass;
use xpsync::engine::report::{Outcome, Report};
use xpsync::wire::client::call::Client;
use xpsync::wire::gate::AlwaysOpen;
use xpsync::wire::keys::Fixed;
use xpsync::wire::net::connect::Network;
use xpsync::wire::net::tls::client_config;

const KEY: &str = "k";

/// A client of whatever is at an endpoint that trusts this authority, and the usual ones.
fn client(endpoint: &str, trusted: &Authority) -> Client {
    let keys = target_keys();
    let credentials = aws_credential_types::Credentials::from_keys(&keys.access_key, &keys.secret_key, None);
    Client::new(
        crate::rig::impatient("target"),
        xpsync::s3::http::endpoint::Endpoint::overridden(endpoint).unwrap(),
        xpsync::s3::http::endpoint::Region::new(TARGET_REGION).unwrap(),
        Arc::new(Fixed(credentials)),
        Arc::new(AlwaysOpen),
        Arc::new(Network::new(client_config(Some(trusted.pem().as_bytes())).unwrap())),
    )
}

/// A target under this authority, with its bucket.
async fn target(authority: Authority) -> (Server, Arc<Authority>) {
    let authority = Arc::new(authority);
    let server = Server::start(ServerConfig::new(TARGET_REGION, target_keys()).tls(&authority)).await.unwrap();
    server.store().create_bucket(TARGET_BUCKET, BucketConfig::default());
    (server, authority)
}

/// Copies to a target at this endpoint.
async fn copy_to(endpoint: &str, trusted: &Authority) -> Report {
    let pair = pair().await;
    put(&pair, KEY, content(KIB, 1));
    let mut job = job(&pair, KEY);
    job.session.target.client = client(endpoint, trusted);
    copy(&job).await
}

/// It was tried once, nothing was sent, and the report says what and what to do.
fn assert_refused(report: &Report, message: &str, hint: &str) {
    let fault = fault_of(report, message);
    assert_eq!((fault.class, report.retries), (FaultClass::Network, 0), "{report:?}");
    assert!(fault.message.contains(message), "{report:?}");
    assert!(fault.hint.as_deref().unwrap().contains(hint), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_right_is_taken() {
    let (server, authority) = target(Authority::new().unwrap()).await;
    let report = copy_to(&server.endpoint(), &authority).await;
    assert_eq!(report.outcome, Outcome::Copied, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_name_is_refused() {
    let (server, authority) = target(Authority::with_names(&["elsewhere.example"]).unwrap()).await;
    let report = copy_to(&server.endpoint(), &authority).await;
    assert_refused(&report, "not valid for name", "not trusted for this host name");
    assert!(server.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_has_ended_is_refused() {
    let (server, authority) = target(Authority::expired().unwrap()).await;
    let report = copy_to(&server.endpoint(), &authority).await;
    assert_refused(&report, "expired", "clock");
    assert!(server.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_nobody_trusted_has_signed_is_refused() {
    let (itself, authority) = target(Authority::self_signed().unwrap()).await;
    assert_refused(&copy_to(&itself.endpoint(), &authority).await, "UnknownIssuer", "AWS_CA_BUNDLE");
    let (stranger, _) = target(Authority::new().unwrap()).await;
    let another = Authority::new().unwrap();
    assert_refused(&copy_to(&stranger.endpoint(), &another).await, "invalid peer certificate", "AWS_CA_BUNDLE");
    assert!(itself.seen().is_empty() && stranger.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_https_in_plain_http_is_refused() {
    let server = Server::start(ServerConfig::new(TARGET_REGION, target_keys())).await.unwrap();
    let endpoint = server.endpoint().replace("http://", "https://");
    let report = copy_to(&endpoint, &Authority::new().unwrap()).await;
    assert_refused(&report, "TLS handshake with localhost failed", "http://");
    assert!(server.seen().is_empty());
}

/// A server that answers a ClientHello with these bytes, and then nothing.
async fn answering(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut hello = [0; 4096];
            let _ = stream.read(&mut hello).await;
            let _ = stream.write_all(bytes).await;
            let _ = stream.read(&mut hello).await;
        }
    });
    endpoint
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_knows_no_more_than_tls_1_1_is_refused() {
    // RFC 4346: a ServerHello of version 3.2, a random of zeros, no session, TLS_RSA_WITH_AES_128_CBC_SHA.
    const HELLO: &[u8] = b"\x16\x03\x02\x00\x2a\x02\x00\x00\x26\x03\x02\
        \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x00\x00\x2f\x00";
    // What such a server says where it does not try: a fatal alert, protocol_version.
    const ALERT: &[u8] = b"\x15\x03\x02\x00\x02\x02\x46";
    for bytes in [HELLO, ALERT] {
        let report = copy_to(&answering(bytes).await, &Authority::new().unwrap()).await;
        assert_refused(&report, "TLS handshake with localhost failed", "TLS 1.2");
    }
}

/// Somebody to be sent to, who takes anything; over TLS under the authority of the pair, or plain.
async fn elsewhere(pair: &Pair, tls: Option<()>) -> Server {
    let config = ServerConfig::new(TARGET_REGION, target_keys());
    let config = if tls.is_some() { config.tls(pair.authority()) } else { config };
    let server = Server::start(config).await.unwrap();
    server.store().create_bucket(TARGET_BUCKET, BucketConfig::default());
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_another_host_or_to_plain_http_is_not_followed() {
    const REGION: HeaderName = HeaderName::from_static("x-amz-bucket-region");
    for code in ["PermanentRedirect", "TemporaryRedirect"] {
        for tls in [None, Some(())] {
            for region in [None, Some(TARGET_REGION), Some("eu-west-1")] {
                let pair = pair().await;
                put(&pair, KEY, content(KIB, 1));
                let away = elsewhere(&pair, tls).await;
                let there = format!("{}/{TARGET_BUCKET}/{KEY}", away.endpoint());
                let mut refusal = Refusal::of(code).header(LOCATION, HeaderValue::from_str(&there).unwrap());
                if let Some(region) = region {
                    refusal = refusal.header(REGION, HeaderValue::from_static(region));
                }
                let fault = on("PutObject", Action::Answer(refusal)).always();
                let report = copy_with(&pair, &job(&pair, KEY), At::Target, fault).await;
                let what = format!("{code} {tls:?} {region:?}");
                // In eu-west-1 our own server does not know the signature any more, and says so.
                let said = fault_of(&report, &what).code.as_deref();
                assert!(said == Some(code) || region == Some("eu-west-1"), "{what}: {report:?}");
                assert!(fault_of(&report, &what).hint.is_some(), "{what}: {report:?}");
                assert_eq!(away.connections(), 0, "{what}: it went there");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_redirects_is_not_followed_either() {
    let pair = pair().await;
    put(&pair, KEY, content(KIB, 1));
    let away = elsewhere(&pair, None).await;
    away.store().create_bucket(SOURCE_BUCKET, BucketConfig::default());
    let there = HeaderValue::from_str(&format!("{}/{SOURCE_BUCKET}/{KEY}", away.endpoint())).unwrap();
    let refusal = Refusal::of("TemporaryRedirect").header(LOCATION, there);
    let fault = on("GetObject", Action::Answer(refusal)).always();
    let report = copy_with(&pair, &job(&pair, KEY), At::Source, fault).await;
    assert_eq!(report.outcome, Outcome::Failed, "{report:?}");
    assert_eq!((away.connections(), count(&pair.target.seen(), "PutObject")), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_is_asked_for_from_nobody_who_is_not_trusted() {
    let world = crate::rig::world::World::new().await;
    put(&world.pair, KEY, content(KIB, 1));
    for authority in [Authority::self_signed().unwrap(), Authority::expired().unwrap(), Authority::new().unwrap()] {
        let stranger = Vault::start(Some(&authority)).await.unwrap();
        stranger.set(crate::rig::world::SECRET, &crate::rig::world::secret_of(&target_keys()));
        let endpoint = stranger.endpoint();
        let function = world.sandbox(&[("AWS_ENDPOINT_URL_SECRETS_MANAGER", &endpoint)]);
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        let answer = function.handle(crate::rig::world::created(KEY).to_string().as_bytes(), deadline).await;
        let xpsync::events::answer::Answer::FunctionError { error_type, error_message } = answer else { panic!() };
        assert_eq!(error_type, "network", "{error_message}");
        let report: serde_json::Value = serde_json::from_str(&error_message).unwrap();
        assert_eq!(report["outcome"], json!("failed"), "{report}");
        assert!(error_message.contains("certificate"), "{report}");
        assert_eq!(stranger.calls(), 0);
    }
}

//! The one test that listens to the log of the whole process, and so has a process of its own.

mod rig;

use rig::world::{SECRET, World, created};
use rig::{MIB, content, on, put};
use serde_json::json;
use std::sync::{Arc, Mutex};
use xpsync::demo::faults::Action;
use xpsync::demo::keys::KeyPair;
use xpsync::demo::pair::{source_keys, target_keys};

/// Keeps whatever our own code logs, at any level, and what others log from WARN on, as the product does.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_the_log_at_trace_in_reports_or_in_debug() {
    use tracing_subscriber::layer::SubscriberExt as _;
    let log = Log::default();
    let writer = log.clone();
    let ours = tracing_subscriber::filter::filter_fn(|event| {
        event.target().starts_with("xpsync") || *event.level() <= tracing::Level::WARN
    });
    let lines = tracing_subscriber::fmt::layer().json().with_writer(move || writer.clone());
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(ours).with(lines)).unwrap();
    let world = World::new().await;
    let token = "a-session-token-nobody-may-see";
    let keys = KeyPair::new("AKIATEMPORARY0000001", "a-temporary-secret").with_token(token);
    world.pair.target.keys().set(vec![keys.clone()]);
    let secret = json!({ "aws_access_key_id": keys.access_key, "aws_secret_access_key": keys.secret_key,
        "aws_session_token": token });
    world.vault.set(SECRET, &secret.to_string());
    let mut shown = String::new();
    for size in [10, MIB, 17 * MIB] {
        put(&world.pair, "k", content(size, 1));
        world.pair.target.faults().add(on("PutObject", Action::answer("InternalError")));
        shown += &world.report(&created("k")).await.to_string();
    }
    world.pair.target.keys().set(vec![keys.clone().expired()]);
    put(&world.pair, "k", content(10, 2));
    shown += &world.report(&created("k")).await.to_string();
    world.pair.target.keys().set(Vec::new());
    shown += &world.report(&created("k")).await.to_string();
    world.vault.set(SECRET, &json!({ "aws_access_key_id": "a-temporary-secret\n" }).to_string());
    shown += &world.report(&created("k")).await.to_string();
    shown += &String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(shown.contains("\"request_id\"") && shown.contains("told"), "the log was not heard at TRACE");
    for hidden in ["a-temporary-secret", token, &source_keys().secret_key, &target_keys().secret_key, "Signature="] {
        assert!(!shown.contains(hidden), "{hidden} is shown");
    }
}

//! What the function has ready before a request needs it: connections over the border, and the target's keys.

use crate::rig::world::{SECRET, World, batch, created, secret_of};
use crate::rig::{KIB, content, count, on, put};
use fakes::fault::faults::Action;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use xpsync::demo::pair::target_keys;
use xpsync::events::answer::Answer;

/// How long the tests wait for what must come; nothing is asserted of it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections that each side has after the sandbox's start: the messages of the template's batches.
const AHEAD: u64 = 10;

/// Waits until something that goes on elsewhere has come about.
async fn until(what: &str, holds: impl Fn() -> bool + Send + Sync) {
    let waiting = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn some(world: &World, keys: &[&str]) -> Value {
    let messages = keys.iter().map(|key| {
        put(&world.pair, key, content(KIB, 1));
        ((*key).to_owned(), created(key))
    });
    batch(messages)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_opens_connections_and_fetches_the_keys_before_there_is_an_event() {
    let world = World::new().await;
    world.function.warm_up();
    until("connections to both sides", || {
        (world.pair.source.open_connections(), world.pair.target.open_connections()) == (AHEAD, AHEAD)
    })
    .await;
    until("the secret", || world.vault.calls() == 1).await;
    assert!(world.pair.source.seen().is_empty() && world.pair.target.seen().is_empty());
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let answer = world.handle(&some(&world, &keys)).await;
    assert_eq!(answer, Answer::Success(json!({ "batchItemFailures": [] })));
    assert!(keys.iter().all(|key| world.has(key)));
    assert_eq!((world.pair.target.connections(), world.vault.calls()), (AHEAD, 1), "opened or fetched once more");
    assert_eq!(world.pair.target.seen().len(), keys.len(), "more than one request over the border for an object");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_had_ahead_is_no_failure() {
    let world = World::new().await;
    world.vault.refuse(SECRET, 400, "AccessDeniedException", "not yet");
    world.function.warm_up();
    until("the first try", || world.vault.calls() > 0).await;
    world.vault.set(SECRET, &secret_of(&target_keys()));
    put(&world.pair, "k", content(KIB, 1));
    assert_eq!(world.report(&created("k")).await["outcome"], "copied");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_and_keys_do_not_wait_for_the_source() {
    let world = World::new().await;
    let payload = some(&world, &["a", "b", "c"]).to_string();
    world.pair.source.faults().add(on("GetObject", Action::StallHead(None)).always());
    let function = Arc::clone(&world.function);
    let handling =
        tokio::spawn(
            async move { function.handle(payload.as_bytes(), Instant::now() + Duration::from_secs(600)).await },
        );
    until("a connection for each record", || world.pair.target.open_connections() == 3).await;
    until("the secret", || world.vault.calls() == 1).await;
    until("all three at the source", || count(&world.pair.source.seen(), "GetObject") == 3).await;
    assert!(world.pair.target.seen().is_empty() && !handling.is_finished());
    handling.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_opened_for_what_is_not_copied() {
    let world = World::with(&[("EXCLUDE", r#"["*.tmp"]"#)], |network, _| network).await;
    assert_eq!(world.report(&created("a.tmp")).await["outcome"], "ignored");
    assert_eq!((world.pair.target.connections(), world.vault.calls()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn later_connections_resume_the_session_of_earlier_ones() {
    let world = World::new().await;
    world.handle(&some(&world, &["first"])).await;
    // The servers have one name and one authority, so that this one may have resumed a session of the source's already.
    let before = world.pair.target.resumed_connections();
    assert_eq!(world.pair.target.connections(), 1);
    world.handle(&some(&world, &["a", "b", "c"])).await;
    until("connections beside the first", || world.pair.target.connections() == 3).await;
    until("a session that is resumed", || world.pair.target.resumed_connections() > before).await;
}

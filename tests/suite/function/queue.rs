//! What becomes of messages: continuations, backoff, dead letters, and what a killed sandbox left.

use crate::rig::world::{World, created, delivered, event};
use crate::rig::{MIB, content, count, put};
use fakes::aws::queue::Asked;
use fakes::fault::faults::{Action, Fault};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;
use xpsync::demo::pair::{Pair, SOURCE_BUCKET};
use xpsync::events::answer::Answer;

/// Four parts of the table: three of 5 MiB and one of 2.
const SIZE: usize = 17 * MIB;

async fn world() -> World {
    World::with(&[("MEMORY_THRESHOLD_MB", "1000")], |network, _| network).await
}

/// One part that the target never takes.
fn stall(pair: &Pair, part: u16) {
    pair.target.faults().add(Fault::on("UploadPart", Action::answer("SlowDown")).part(part).always());
}

/// Hands messages over, with so many seconds of time; the ids that are to be kept.
async fn deliver(world: &World, messages: &[Value], seconds: u64) -> Vec<String> {
    let payload = json!({ "Records": messages }).to_string();
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let Answer::Success(answer) = world.function.handle(payload.as_bytes(), deadline).await else { panic!() };
    let kept = answer["batchItemFailures"].as_array().unwrap().iter();
    kept.map(|item| item["itemIdentifier"].as_str().unwrap().to_owned()).collect()
}

fn the_only_continuation(world: &World) -> Value {
    match &world.queue.take()[..] {
        [Asked::Sent(body, _)] => body.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_does_not_fit_an_invocation_is_gone_on_with_by_the_next() {
    let world = world().await;
    put(&world.pair, "k", content(SIZE, 1));
    stall(&world.pair, 3);
    let kept = deliver(&world, &[delivered("m", &created("k"), 1)], 4).await;
    assert_eq!(kept, Vec::<String>::new(), "it is left to the queue and acknowledged");
    let body = the_only_continuation(&world);
    assert_eq!((&body["op"], &body["key"], &body["fruitless"]), (&json!("continue"), &json!("k"), &json!(0)));
    assert_eq!(world.pair.target.open_uploads().len(), 1);
    assert!(is_empty(&world), "the queue has it, and only the queue");
    world.pair.target.faults().clear();
    world.pair.target.forget();
    assert_eq!(deliver(&world, &[delivered("n", &body, 1)], 30).await, Vec::<String>::new());
    assert!(world.has("k") && world.pair.target.open_uploads().is_empty());
    assert_eq!(count(&world.pair.target.seen(), "UploadPart"), 1);
    assert_eq!(world.queue.take(), []);
}

fn is_empty(world: &World) -> bool {
    !world.folder.join("xpsync-uploads").exists()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_continuation_delivered_twice_does_no_harm() {
    let world = world().await;
    put(&world.pair, "k", content(SIZE, 1));
    stall(&world.pair, 3);
    deliver(&world, &[delivered("m", &created("k"), 1)], 4).await;
    let body = the_only_continuation(&world);
    world.pair.target.faults().clear();
    let one = [delivered("n", &body, 1)];
    let two = [delivered("o", &body, 2), delivered("p", &created("k"), 1)];
    let (one, two) = tokio::join!(deliver(&world, &one, 30), deliver(&world, &two, 30));
    assert_eq!((one, two), (Vec::new(), Vec::new()));
    assert!(world.has("k") && world.pair.target.open_uploads().is_empty());
    assert_eq!(deliver(&world, &[delivered("q", &body, 1)], 30).await, Vec::<String>::new());
    assert!(world.pair.target.open_uploads().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_comes_no_further_is_given_up_with_its_upload() {
    let world = world().await;
    put(&world.pair, "k", content(SIZE, 1));
    stall(&world.pair, 3);
    let mut body = created("k");
    for fruitless in [0, 1, 2, 3] {
        assert_eq!(deliver(&world, &[delivered("m", &body, 1)], 3).await, Vec::<String>::new(), "{fruitless}");
        body = the_only_continuation(&world);
        assert_eq!(body["fruitless"], fruitless);
    }
    assert_eq!(deliver(&world, &[delivered("m", &body, 1)], 3).await, ["m"]);
    assert!(matches!(&world.queue.take()[..], [Asked::Hidden(receipt, 30)] if receipt == "receipt of m"));
    assert!(world.pair.target.open_uploads().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_takes_nothing_keeps_the_message_and_the_journal() {
    let mut world = world().await;
    put(&world.pair, "k", content(SIZE, 1));
    stall(&world.pair, 3);
    world.queue.refuse("AccessDenied");
    assert_eq!(deliver(&world, &[delivered("m", &created("k"), 1)], 6).await, ["m"]);
    assert_eq!((world.pair.target.open_uploads().len(), is_empty(&world)), (1, false));
    // The message comes again, to this sandbox or, after a crash, to its successor.
    world.restart();
    world.pair.target.faults().clear();
    world.pair.target.forget();
    assert_eq!(deliver(&world, &[delivered("m", &created("k"), 2)], 30).await, Vec::<String>::new());
    assert!(world.has("k") && world.pair.target.open_uploads().is_empty());
    assert_eq!((count(&world.pair.target.seen(), "UploadPart"), is_empty(&world)), (1, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_uploads_of_one_key_that_the_queue_is_not_told_of_the_one_in_the_journal_is_kept() {
    let world = world().await;
    put(&world.pair, "k", content(SIZE, 1));
    stall(&world.pair, 3);
    world.queue.refuse("AccessDenied");
    let messages = [delivered("m", &created("k"), 1), delivered("n", &created("k"), 1)];
    assert_eq!(deliver(&world, &messages, 6).await, ["m", "n"]);
    assert_eq!((world.pair.target.open_uploads().len(), is_empty(&world)), (1, false));
    world.pair.target.faults().clear();
    assert_eq!(deliver(&world, &messages, 30).await, Vec::<String>::new());
    assert!(world.has("k") && world.pair.target.open_uploads().is_empty() && is_empty(&world));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_continuation_does_not_write_over_what_the_journal_has_of_another_upload() {
    let world = world().await;
    put(&world.pair, "k", content(SIZE, 1));
    put(&world.pair, "other", content(10, 2));
    stall(&world.pair, 3);
    deliver(&world, &[delivered("m", &created("k"), 1)], 4).await;
    let first = the_only_continuation(&world);
    // An invocation without a queue: only the journal has its upload.
    let payload = created("k").to_string();
    let deadline = Instant::now() + Duration::from_secs(4);
    let Answer::FunctionError { .. } = world.function.handle(payload.as_bytes(), deadline).await else { panic!() };
    assert_eq!((world.pair.target.open_uploads().len(), is_empty(&world)), (2, false));
    world.pair.target.faults().clear();
    assert_eq!(deliver(&world, &[delivered("n", &first, 1)], 30).await, Vec::<String>::new());
    assert!(world.has("k"));
    assert_eq!(deliver(&world, &[delivered("o", &created("other"), 1)], 30).await, Vec::<String>::new());
    let second = the_only_continuation(&world);
    assert_ne!(first["ticket"]["upload_id"], second["ticket"]["upload_id"]);
    assert_eq!(deliver(&world, &[delivered("p", &second, 1)], 30).await, Vec::<String>::new());
    assert!(world.pair.target.open_uploads().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_that_may_pass_come_again_and_others_are_put_aside_at_once() {
    let world = world().await;
    put(&world.pair, "slow", content(10, 1));
    put(&world.pair, "fine", content(10, 2));
    put(&world.pair, "denied", content(10, 3));
    let faults = world.pair.target.faults();
    faults.add(Fault::on("PutObject", Action::answer("SlowDown")).key("slow").always());
    faults.add(Fault::on("PutObject", Action::answer("AccessDenied")).key("denied").always());
    let foreign = json!({ "what": "is this" });
    let messages = [
        delivered("slow", &created("slow"), 3),
        delivered("fine", &created("fine"), 1),
        delivered("denied", &created("denied"), 1),
        delivered("foreign", &foreign, 1),
    ];
    assert_eq!(deliver(&world, &messages, 8).await, ["slow"]);
    assert!(world.has("fine"));
    let (mut hidden, mut buried) = (Vec::new(), Vec::new());
    for asked in world.queue.take() {
        match asked {
            Asked::Hidden(receipt, seconds) => hidden.push((receipt, seconds)),
            Asked::Buried(body, attributes) => {
                let class = attributes["ErrorClass"]["StringValue"].as_str().unwrap().to_owned();
                assert!(!attributes["ErrorMessage"]["StringValue"].as_str().unwrap().is_empty());
                buried.push((serde_json::from_str::<Value>(&body).unwrap(), class));
            }
            Asked::Sent(body, _) => panic!("{body}"),
        }
    }
    assert_eq!(hidden, [("receipt of slow".to_owned(), 120)]);
    buried.sort_by_key(|(_, class)| class.clone());
    assert_eq!(buried, [(foreign, "event".to_owned()), (created("denied"), "refused".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_dead_letters_a_message_that_cannot_be_mended_stays_in_its_queue() {
    let world = world().await;
    world.queue.refuse("AccessDenied");
    assert_eq!(deliver(&world, &[delivered("m", &json!({ "what": "is this" }), 1)], 8).await, ["m"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_object_among_others_is_sent_on_once_to_have_an_invocation_of_its_own() {
    let world = world().await;
    put(&world.pair, "small", content(10, 1));
    put(&world.pair, "said-to-be-large", content(10, 2));
    let mut large = created("said-to-be-large");
    large["detail"]["object"]["size"] = json!(3_u64 << 30);
    let messages = [delivered("l", &large, 1), delivered("s", &created("small"), 1)];
    assert_eq!(deliver(&world, &messages, 30).await, Vec::<String>::new());
    assert!(world.has("small") && !world.has("said-to-be-large"));
    let body = the_only_continuation(&world);
    assert_eq!((&body["ticket"], &body["size"]), (&Value::Null, &json!(3_u64 << 30)));
    // Beside others once more, it is not sent on again.
    let messages = [delivered("l", &body, 1), delivered("s", &created("small"), 1)];
    assert_eq!(deliver(&world, &messages, 30).await, Vec::<String>::new());
    assert!(world.has("said-to-be-large"));
    assert_eq!(world.queue.take(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_a_sandbox_that_crashed_is_left_to_the_queue_by_the_next_invocation() {
    let mut world = world().await;
    put(&world.pair, "k", content(SIZE, 1));
    put(&world.pair, "other", content(10, 2));
    stall(&world.pair, 3);
    // The process dies in the middle: its invocation is dropped, and its memory with it.
    let payload = json!({ "Records": [delivered("m", &created("k"), 1)] }).to_string();
    let function = std::sync::Arc::clone(&world.function);
    let running =
        tokio::spawn(
            async move { function.handle(payload.as_bytes(), Instant::now() + Duration::from_secs(600)).await },
        );
    while world.pair.target.open_uploads().first().is_none_or(|upload| upload.parts().len() < 3) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let copy = world.folder.join("copy");
    copy_folder(&world.folder.join("xpsync-uploads"), &copy);
    running.abort();
    let _ = running.await;
    // What runs on in this process holds the lock of the file; what a dead one left is a file that nobody holds.
    world.folder = copy_of(&world, &copy);
    world.restart();
    world.pair.target.faults().clear();
    assert_eq!(deliver(&world, &[delivered("o", &created("other"), 1)], 30).await, Vec::<String>::new());
    let body = the_only_continuation(&world);
    assert_eq!((&body["key"], &body["op"]), (&json!("k"), &json!("continue")));
    assert!(is_empty(&world));
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// Another /tmp with the copied journal in it.
fn copy_of(world: &World, copy: &std::path::Path) -> std::path::PathBuf {
    let folder = world.folder.with_extension("after");
    copy_folder(copy, &folder.join("xpsync-uploads"));
    std::fs::remove_dir_all(&world.folder).unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_event_that_is_stopped_is_an_error_with_its_ticket_and_can_be_gone_on_with() {
    let world = world().await;
    put(&world.pair, "k", content(SIZE, 1));
    stall(&world.pair, 3);
    let payload = event("Object Created", "k").to_string();
    let answer = world.function.handle(payload.as_bytes(), Instant::now() + Duration::from_secs(4)).await;
    let Answer::FunctionError { error_type, error_message } = answer else { panic!("{answer:?}") };
    let report: Value = serde_json::from_str(&error_message).unwrap();
    assert_eq!((&json!(error_type), &report["outcome"]), (&report["error"]["class"], &json!("resumable")), "{report}");
    world.pair.target.faults().clear();
    let go_on = json!({ "op": "continue", "bucket": SOURCE_BUCKET, "key": "k", "ticket": report["ticket"] });
    let report = world.report(&go_on).await;
    assert_eq!((&report["outcome"], &report["resumed_parts"]), (&json!("copied"), &json!(3)), "{report}");
    assert!(world.has("k") && world.pair.target.open_uploads().is_empty());
}

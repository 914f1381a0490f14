//! `xpsync cp` that is interrupted or killed, and the same command again.

use crate::rig::MIB;
use crate::rig::shell::{World, text};
use fakes::fault::faults::{Action, Fault};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use tokio::process::Child;
use xpsync::demo::pair::{SOURCE_BUCKET, TARGET_BUCKET};

/// Four parts of the table: three of 5 MiB and one of 2.
const SIZE: usize = 17 * MIB;

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap(), signal).unwrap();
}

/// Entries of the journal.
fn entries(world: &World) -> Vec<PathBuf> {
    match std::fs::read_dir(world.state().join("xpsync/uploads")) {
        Ok(files) => files.map(|file| file.unwrap().path()).collect(),
        Err(_) => Vec::new(),
    }
}

/// A copy of `k` of which part 3 never gets there and all others are, seen from the target.
async fn halfway(world: &World, flags: &[&str]) -> Child {
    world.put("k", SIZE);
    world.pair.target.faults().add(Fault::on("UploadPart", Action::answer("SlowDown")).part(3).always());
    let child = world.start_cp("k", flags);
    while world.pair.target.open_uploads().first().is_none_or(|upload| upload.parts().len() < 3) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    child
}

fn has(world: &World, key: &str) -> bool {
    let at = |store: &fakes::store::objects::Store, bucket| store.get(bucket, key).map(|object| object.bytes());
    let source = at(world.pair.source.store(), SOURCE_BUCKET);
    source.is_some() && source == at(world.pair.target.store(), TARGET_BUCKET)
}

/// The report of the same command once more, with all going well, and what must hold after it.
async fn again(world: &World) -> Value {
    world.pair.target.faults().clear();
    let done = world.cp("k", &["--json"]).await;
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert!(has(world, "k"));
    assert!(world.pair.target.open_uploads().is_empty(), "{}", text(&done.stderr));
    assert_eq!(entries(world), Vec::<PathBuf>::new());
    serde_json::from_str(text(&done.stdout).lines().next().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_keeps_what_was_sent_and_the_same_command_goes_on_from_there() {
    let world = World::new().await;
    let child = halfway(&world, &[]).await;
    send(&child, Signal::INT);
    let done = child.wait_with_output().await.unwrap();
    assert_eq!(done.status.code(), Some(130), "{}", text(&done.stderr));
    assert!(text(&done.stdout).starts_with("resumable s3://"), "{}", text(&done.stdout));
    let open = world.pair.target.open_uploads();
    assert!(open.len() == 1 && text(&done.stderr).contains(&open[0].id), "{}", text(&done.stderr));
    let report = again(&world).await;
    assert_eq!((&report["outcome"], &report["resumed_parts"]), (&"copied".into(), &3.into()), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_killed_is_gone_on_from() {
    let world = World::new().await;
    let mut child = halfway(&world, &[]).await;
    child.kill().await.unwrap();
    assert_eq!((world.pair.target.open_uploads().len(), entries(&world).len()), (1, 1));
    let report = again(&world).await;
    assert_eq!((&report["outcome"], &report["resumed_parts"]), (&"copied".into(), &3.into()), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_journal_still_knows_when_an_upload_was_begun() {
    let world = World::new().await;
    let mut child = halfway(&world, &[]).await;
    child.kill().await.unwrap();
    let entry = entries(&world).remove(0);
    let whole = std::fs::read(&entry).unwrap();
    // In the middle of the ticket: that an upload was meant to be begun is still known, and when.
    std::fs::write(&entry, &whole[..whole.len() - 20]).unwrap();
    let report = again(&world).await;
    assert_eq!((&report["outcome"], &report["resumed_parts"]), (&"copied".into(), &0.into()), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_runs_that_were_killed_while_they_began_an_upload_none_is_left_open() {
    let world = World::new().await;
    let mut child = halfway(&world, &[]).await;
    child.kill().await.unwrap();
    let entry = entries(&world).remove(0);
    let whole = String::from_utf8(std::fs::read(&entry).unwrap()).unwrap();
    let intends = whole.lines().find(|line| line.contains("intended")).unwrap();
    let mut later: Value = serde_json::from_str(intends).unwrap();
    later["intended"] = (later["intended"].as_i64().unwrap() + 3_600).into();
    // The first was killed before it knew its upload, on a disk that tore what it wrote last, and another one an hour
    // later.
    std::fs::write(&entry, format!("{intends}\n{later}\n{}", &intends[..20])).unwrap();
    let report = again(&world).await;
    assert_eq!((&report["outcome"], &report["resumed_parts"]), (&"copied".into(), &0.into()), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_is_stale_or_names_an_upload_that_is_gone_costs_a_copy() {
    let world = World::new().await;
    let mut child = halfway(&world, &[]).await;
    child.kill().await.unwrap();
    world.put("k", SIZE + 1);
    let report = again(&world).await;
    assert_eq!((&report["outcome"], &report["resumed_parts"]), (&"copied".into(), &0.into()), "{report}");
    world.pair.target.store().delete(TARGET_BUCKET, "k").unwrap();
    let mut child = halfway(&world, &[]).await;
    child.kill().await.unwrap();
    world.pair.target.store().end_upload(&world.pair.target.open_uploads()[0].id);
    let report = again(&world).await;
    assert_eq!((&report["outcome"], &report["resumed_parts"]), (&"copied".into(), &0.into()), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_never_go_on_with_one_upload() {
    let world = World::new().await;
    let mut first = halfway(&world, &[]).await;
    let other = world.start_cp("k", &[]);
    while world.pair.target.open_uploads().len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    send(&other, Signal::TERM);
    let done = other.wait_with_output().await.unwrap();
    assert_eq!(done.status.code(), Some(130), "{}", text(&done.stderr));
    assert!(text(&done.stderr).contains("another xpsync is copying the same object"), "{}", text(&done.stderr));
    // Its own upload is aborted; that of the first is as it was.
    assert_eq!((world.pair.target.open_uploads().len(), entries(&world).len()), (1, 1));
    first.kill().await.unwrap();
    let report = again(&world).await;
    assert_eq!(report["resumed_parts"], 3, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_place_for_a_journal_an_interrupt_leaves_nothing_open() {
    let world = World::new().await;
    std::fs::write(world.state(), "in the way").unwrap();
    let child = halfway(&world, &[]).await;
    send(&child, Signal::INT);
    let done = child.wait_with_output().await.unwrap();
    assert_eq!(done.status.code(), Some(130), "{}", text(&done.stderr));
    assert!(text(&done.stderr).contains("this copy cannot be resumed"), "{}", text(&done.stderr));
    assert!(text(&done.stdout).starts_with("failed s3://"), "{}", text(&done.stdout));
    assert!(world.pair.target.open_uploads().is_empty());
}

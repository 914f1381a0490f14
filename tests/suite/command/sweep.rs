//! `xpsync sweep` as a process: dry until it is told, and never at what a copy of this machine can resume.

use crate::rig::shell::{World, text};
use fakes::fault::faults::{Action, Fault};
use std::time::Duration;
use xpsync::demo::pair::TARGET_BUCKET;

/// An upload that nobody ended: the copy was killed while its first part was under way.
async fn killed() -> (World, String) {
    let world = World::new().await;
    world.put("k", 17 << 20);
    let (reached, mut reaching) = tokio::sync::mpsc::unbounded_channel();
    let told = Action::Before(Box::new(move |_| reached.send(()).unwrap()));
    world.pair.target.faults().add(Fault::on("UploadPart", told));
    world.pair.target.faults().add(Fault::on("UploadPart", Action::StallHead(None)).always());
    let mut copy = world.start_cp("k", &[]);
    reaching.recv().await.unwrap();
    copy.kill().await.unwrap();
    let open = world.pair.target.open_uploads();
    assert_eq!(open.len(), 1);
    world.pair.target.store().age_upload(&open[0].id, Duration::from_hours(37));
    (world, open[0].id.clone())
}

async fn sweep(world: &World, flags: &[&str]) -> std::process::Output {
    let target = format!("s3://{TARGET_BUCKET}/");
    let all = [&["sweep", &target, "--target-profile", "global", "--older-than", "36h"], flags].concat();
    world.start(&all).wait_with_output().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_is_dry_until_it_is_told_to_abort() {
    let (world, upload) = killed().await;
    std::fs::remove_dir_all(world.state()).unwrap();
    let dry = sweep(&world, &[]).await;
    assert_eq!((dry.status.code(), text(&dry.stderr)), (Some(0), ""));
    let line = format!("would abort s3://{TARGET_BUCKET}/k  upload {upload}\n1 open uploads: 1 would be removed");
    assert!(text(&dry.stdout).starts_with(&line), "{}", text(&dry.stdout));
    assert_eq!(world.pair.target.open_uploads().len(), 1);
    let done = sweep(&world, &["--abort", "--json"]).await;
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let lines: Vec<serde_json::Value> =
        text(&done.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["upload"], &lines[0]["key"]), (&upload.into(), &"k".into()));
    let summary = &lines[1]["summary"];
    assert_eq!((&summary["uploads"]["swept"], &summary["dry_run"]), (&1.into(), &false.into()));
    assert!(world.pair.target.open_uploads().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_copy_can_be_gone_on_from_is_kept() {
    let (world, upload) = killed().await;
    let kept = sweep(&world, &["--abort"]).await;
    assert_eq!((kept.status.code(), text(&kept.stderr)), (Some(0), ""));
    assert!(
        text(&kept.stdout).starts_with("1 open uploads: 0 swept, 0 of other users, 0 too recent, 1 in the journal"),
        "{kept:?}"
    );
    assert_eq!(world.pair.target.open_uploads()[0].id, upload);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_cannot_be_read_stops_the_sweep() {
    let world = World::new().await;
    std::fs::create_dir_all(world.state().join("xpsync")).unwrap();
    std::fs::write(world.state().join("xpsync/uploads"), "not a folder").unwrap();
    let refused = sweep(&world, &["--abort"]).await;
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("the journal in"), "{}", text(&refused.stderr));
    assert!(world.pair.target.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_option_that_would_do_nothing_is_refused() {
    let world = World::new().await;
    for flags in [&["--source-profile", "china"][..], &["--source-endpoint-url", "http://localhost"]] {
        assert_eq!(sweep(&world, flags).await.status.code(), Some(2), "{flags:?}");
    }
    assert!(world.pair.target.seen().is_empty());
}

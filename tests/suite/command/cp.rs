//! The `xpsync` binary as a process: flags, exit statuses, and what goes to stdout.

use crate::rig::shell::{World, text};
use fakes::net::border::BorderConfig;
use std::time::Duration;
use tokio::process::Child;
use xpsync::demo::pair::{SOURCE_BUCKET, TARGET_BUCKET, source_keys, target_keys};

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_says_what_it_proved_and_ends_with_zero() {
    let world = World::new().await;
    world.put("dir//a b+c.txt", 20 << 20);
    let done = world.cp("dir//a b+c.txt", &[]).await;
    assert_eq!((done.status.code(), text(&done.stderr)), (Some(0), ""));
    let line = text(&done.stdout);
    assert!(line.starts_with("copied s3://china-source/dir//a b+c.txt -> s3://global-target/dir//a b+c.txt"), "{line}");
    assert!(line.contains("20.00 MiB") && line.contains("4 parts") && line.contains("proven by etag"), "{line}");
    let again = world.cp("dir//a b+c.txt", &[]).await;
    assert_eq!(again.status.code(), Some(0));
    assert!(text(&again.stdout).starts_with("unchanged "), "{}", text(&again.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_a_report_and_a_summary() {
    let world = World::new().await;
    world.put("k", 1000);
    let done = world.cp("k", &["--json"]).await;
    let lines: Vec<serde_json::Value> =
        text(&done.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (&lines[0]["outcome"], &lines[0]["bytes"], &lines[0]["error"]),
        (&"copied".into(), &1000.into(), &().into())
    );
    assert_eq!((&lines[1]["summary"]["copied"], &lines[1]["summary"]["bytes"]), (&1.into(), &1000.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_buffer_and_layout_flag_is_heeded() {
    let world = World::new().await;
    world.put("k", 20 << 20);
    let check = async |flags: &[&str], buffer: &str, parts: u32| {
        world.pair.target.store().delete(TARGET_BUCKET, "k").unwrap();
        let done = world.cp("k", &[flags, &["--json"]].concat()).await;
        let line = text(&done.stdout).lines().next().unwrap_or_default();
        let report: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        assert_eq!((&report["buffer"], &report["parts"]), (&buffer.into(), &parts.into()), "{flags:?}: {line}");
    };
    check(&["--buffer", "tmp", "--tmp-limit", "10MiB"], "tmp", 4).await;
    check(&["--buffer", "memory", "--memory-limit", "5MiB", "--concurrency", "1"], "memory", 4).await;
    check(&["--buffer", "memory", "--memory-limit", "1MiB"], "streamed", 4).await;
    check(&["--memory-limit", "19MiB"], "tmp", 4).await;
    check(&["--memory-limit", "20MiB"], "memory", 4).await;
    check(&["--part-size", "7MiB"], "memory", 3).await;
    let etag = |bucket, server: &fakes::server::Server| server.store().get(bucket, "k").unwrap().etag.clone();
    assert_ne!(etag(TARGET_BUCKET, &world.pair.target), etag(SOURCE_BUCKET, &world.pair.source));
    check(&["--etag", "preserve"], "memory", 4).await;
    assert_eq!(etag(TARGET_BUCKET, &world.pair.target), etag(SOURCE_BUCKET, &world.pair.source));
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_name_the_cause_and_end_with_one() {
    let world = World::new().await;
    world.put("k", 20 << 20);
    let absent = world.cp("nothing", &[]).await;
    assert_eq!(absent.status.code(), Some(1));
    assert!(text(&absent.stderr).contains("source: the object does not exist"), "{}", text(&absent.stderr));
    world.put("one put", 10 << 20);
    let small = world.cp("one put", &["--buffer", "memory", "--memory-limit", "1MiB"]).await;
    assert_eq!(small.status.code(), Some(1));
    assert!(text(&small.stderr).contains("10485760"), "{}", text(&small.stderr));
    world.pair.target.policy().deny("s3:PutObject", TARGET_BUCKET, "");
    let denied = world.cp("k", &[]).await;
    assert_eq!(denied.status.code(), Some(1));
    let said = text(&denied.stderr);
    assert!(said.contains("AccessDenied") && said.contains("request id") && said.contains("s3:PutObject"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_and_configuration_end_with_two() {
    let world = World::new().await;
    let code = async |flags: &[&str]| {
        let done = world.start(flags).wait_with_output().await.unwrap();
        (done.status.code(), text(&done.stderr).to_owned())
    };
    let check = |(status, said): (Option<i32>, String), expected: &str| {
        assert_eq!(status, Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    };
    check(code(&["cp", "bucket/key", "s3://bbb/"]).await, "s3://BUCKET/KEY");
    check(
        code(&["cp", "s3://aaa/", "s3://bbb/", "--source-region", "cn-north-1", "--target-region", "us-east-1"]).await,
        "the source has no key",
    );
    check(code(&["cp", "s3://aaa/k", "s3://bbb/"]).await, "--source-region");
    check(
        code(&["cp", "s3://aaa/k", "s3://bbb/", "--source-region", "mars-north-1", "--target-region", "us-east-1"])
            .await,
        "mars-north-1",
    );
    check(code(&["cp", "s3://aaa/k", "s3://bbb/", "--memory-limit", "much"]).await, "much");
    let help = world.start(&["cp", "--help"]).wait_with_output().await.unwrap();
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help.stdout).contains("--memory-limit"));
}

#[tokio::test(flavor = "multi_thread")]
async fn debug_shows_each_request_with_its_id_and_no_key() {
    let world = World::new().await;
    world.put("k", 10);
    let done = world.cp("k", &["--log-level", "DEBUG"]).await;
    let said = text(&done.stderr);
    let ids: Vec<String> = world.pair.target.seen().into_iter().map(|seen| seen.request_id).collect();
    assert!(!ids.is_empty() && ids.iter().all(|id| said.contains(id)), "{said}");
    assert!(!said.contains(&target_keys().secret_key) && !said.contains(&source_keys().secret_key));
}

/// Bytes of its own that a process has in memory (`proc_pid_status`, RssAnon).
fn resident(process: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id()?)).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok().map(|kib: u64| kib << 10)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_part_takes_no_more_memory_than_its_two_connections_may() {
    // So slow that every buffer of every connection is full.
    let border = BorderConfig { rate: Some(32_000_000), ..BorderConfig::default() };
    let world = World::over(Some(border)).await;
    world.put("k", 80 * (5 << 20));
    let peak = async |connections: &str| {
        let (source, target) = (format!("s3://{SOURCE_BUCKET}/k"), format!("s3://{TARGET_BUCKET}/k-{connections}"));
        let mut flags = vec!["cp", &source, &target, "--source-profile", "china", "--target-profile", "global"];
        flags.extend(["--buffer", "memory", "--memory-limit", "1MiB", "--concurrency", connections]);
        let process = world.start(&flags);
        let mut peak = 0;
        for _ in 0..40 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            peak = peak.max(resident(&process).unwrap());
        }
        peak
    };
    let (few, many) = (peak("8").await, peak("72").await);
    let each = many.saturating_sub(few) / 64;
    assert!((64 << 10..=420 << 10).contains(&each), "{each} bytes; {few} for 8 connections, {many} for 72");
}

//! The `xpsync` binary as a process: flags, exit statuses, what goes to stdout, and a clean end after Ctrl-C.

use bytes::Bytes;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};
use xpsync::demo::attributes::Attributes;
use xpsync::demo::border::BorderConfig;
use xpsync::demo::faults::{Action, Fault};
use xpsync::demo::pair::{Pair, SOURCE_BUCKET, SOURCE_REGION, TARGET_BUCKET, TARGET_REGION, source_keys, target_keys};

/// Two servers and the configuration of a user who has a profile for each.
struct World {
    pair: Pair,
    folder: PathBuf,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl World {
    async fn new() -> Self {
        Self::over(None).await
    }

    async fn over(border: Option<BorderConfig>) -> Self {
        let pair = Pair::start(border).await.unwrap();
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("cp-{:016x}", fastrand::u64(..)));
        std::fs::create_dir_all(&folder).unwrap();
        let (source, target) = (source_keys(), target_keys());
        let config = format!(
            "[profile china]\nregion = {SOURCE_REGION}\nendpoint_url = {}\n[profile global]\nregion = {TARGET_REGION}\n\
             endpoint_url = {}\n",
            pair.source.endpoint(),
            pair.target_endpoint()
        );
        let profile = |name: &str, id: &str, secret: &str| {
            format!("[{name}]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n")
        };
        let credentials = profile("china", &source.access_key, &source.secret_key)
            + &profile("global", &target.access_key, &target.secret_key);
        std::fs::write(folder.join("config"), config).unwrap();
        std::fs::write(folder.join("credentials"), credentials).unwrap();
        std::fs::write(folder.join("ca.pem"), pair.authority().pem()).unwrap();
        Self { pair, folder }
    }

    fn put(&self, key: &str, length: usize) {
        let mut bytes = vec![0; length];
        fastrand::Rng::with_seed(length as u64).fill(&mut bytes);
        self.pair.source.store().put(SOURCE_BUCKET, key, Bytes::from(bytes), Attributes::default()).unwrap();
    }

    fn start(&self, flags: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_xpsync"))
            .args(flags)
            .env_clear()
            .env("AWS_CONFIG_FILE", self.folder.join("config"))
            .env("AWS_SHARED_CREDENTIALS_FILE", self.folder.join("credentials"))
            .env("AWS_CA_BUNDLE", self.folder.join("ca.pem"))
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    /// `xpsync cp` of a key with both profiles.
    async fn cp(&self, key: &str, flags: &[&str]) -> Output {
        let (source, target) = (format!("s3://{SOURCE_BUCKET}/{key}"), format!("s3://{TARGET_BUCKET}/"));
        let profiles = ["--source-profile", "china", "--target-profile", "global"];
        let all = [&["cp", &source, &target], &profiles[..], flags].concat();
        self.start(&all).wait_with_output().await.unwrap()
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

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
    check(&["--part-size", "7MiB"], "memory", 3).await;
    check(&["--etag", "preserve"], "memory", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_name_the_cause_and_end_with_one() {
    let world = World::new().await;
    world.put("k", 20 << 20);
    let absent = world.cp("nothing", &[]).await;
    assert_eq!(absent.status.code(), Some(1));
    assert!(text(&absent.stderr).contains("there is no such object"), "{}", text(&absent.stderr));
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
        "needs a key",
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
async fn ctrl_c_aborts_what_is_open_and_ends_with_130() {
    let world = World::new().await;
    world.put("k", 20 << 20);
    world.pair.target.faults().add(Fault::on("UploadPart", Action::StallHead(None)).always());
    let (source, target) = (format!("s3://{SOURCE_BUCKET}/k"), format!("s3://{TARGET_BUCKET}/"));
    let child = world.start(&["cp", &source, &target, "--source-profile", "china", "--target-profile", "global"]);
    while !world.pair.target.seen().iter().any(|seen| seen.operation == "UploadPart") {
        tokio::task::yield_now().await;
    }
    let pid = rustix::process::Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let done = child.wait_with_output().await.unwrap();
    assert_eq!(done.status.code(), Some(130), "{}", text(&done.stderr));
    assert!(world.pair.target.open_uploads().is_empty());
    assert!(world.pair.target.store().get(TARGET_BUCKET, "k").is_none());
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

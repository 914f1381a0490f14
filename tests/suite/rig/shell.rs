//! The `xpsync` binary as a process of a user who has a profile for each side.

use bytes::Bytes;
use fakes::net::border::BorderConfig;
use fakes::store::attributes::Attributes;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use tokio::process::{Child, Command};
use xpsync::demo::pair::{Pair, SOURCE_BUCKET, SOURCE_REGION, TARGET_BUCKET, TARGET_REGION, source_keys, target_keys};

/// Two servers and the configuration of a user who has a profile for each.
pub(crate) struct World {
    pub(crate) pair: Pair,
    pub(crate) folder: PathBuf,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::over(None).await
    }

    pub(crate) async fn over(border: Option<BorderConfig>) -> Self {
        let pair = Pair::start(border).await.unwrap();
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("cp-{:016x}", fastrand::u64(..)));
        std::fs::create_dir_all(&folder).unwrap();
        let (source, target) = (source_keys(), target_keys());
        let config = format!(
            "[profile china]\nregion = {SOURCE_REGION}\nendpoint_url = {}\n[profile global]\nregion = \
             {TARGET_REGION}\nendpoint_url = {}\n",
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

    /// Where the process keeps what it wants to find again.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    pub(crate) fn put(&self, key: &str, length: usize) {
        let mut bytes = vec![0; length];
        fastrand::Rng::with_seed(length as u64).fill(&mut bytes);
        self.pair.source.store().put(SOURCE_BUCKET, key, Bytes::from(bytes), Attributes::default()).unwrap();
    }

    pub(crate) fn start(&self, flags: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_xpsync"))
            .args(flags)
            .env_clear()
            .env("AWS_CONFIG_FILE", self.folder.join("config"))
            .env("AWS_SHARED_CREDENTIALS_FILE", self.folder.join("credentials"))
            .env("AWS_CA_BUNDLE", self.folder.join("ca.pem"))
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("XDG_STATE_HOME", self.state())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    /// Starts `xpsync cp` of a key with both profiles.
    pub(crate) fn start_cp(&self, key: &str, flags: &[&str]) -> Child {
        let (source, target) = (format!("s3://{SOURCE_BUCKET}/{key}"), format!("s3://{TARGET_BUCKET}/"));
        let profiles = ["--source-profile", "china", "--target-profile", "global"];
        self.start(&[&["cp", &source, &target], &profiles[..], flags].concat())
    }

    /// `xpsync cp` of a key with both profiles.
    pub(crate) async fn cp(&self, key: &str, flags: &[&str]) -> Output {
        self.start_cp(key, flags).wait_with_output().await.unwrap()
    }
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

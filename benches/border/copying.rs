//! How long does `xpsync cp` take for one object over the border, from the start of the process to its end?
//!
//! It runs in the near namespace. The source is a server beside it, the target one at the far end; each copy has a
//! target key of its own.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode, Throughput};

use super::world::{World, as_nobody};

/// Key, size, and the seconds that criterion fills, with ten copies at least. Both together stay below three minutes at
/// the usual border.
const OBJECTS: [(&str, u64, u64); 2] = [("10KiB", 10 << 10, 8), ("64MiB", 64 << 20, 80)];

/// Both servers, and a user who has a profile for each.
struct User {
    world: World,
    bundle: PathBuf,
}

impl User {
    fn new(far: &str, host: &str) -> io::Result<Self> {
        let seeds: Vec<String> = OBJECTS.iter().map(|(key, size, _)| format!("{key}={size}")).collect();
        let world = World::new(far, host, &seeds)?;
        let profile = |name: &str, region: &str, url: &str| {
            format!("[profile {name}]\nregion = {region}\nendpoint_url = {url}\n")
        };
        let config =
            profile("source", "cn-north-1", &world.source_url()) + &profile("target", "us-west-2", &world.target_url());
        fs::write(world.path("config"), config)?;
        let keys =
            |name: &str| format!("[{name}]\naws_access_key_id = {name}\naws_secret_access_key = {name}-secret\n");
        fs::write(world.path("credentials"), keys("source") + &keys("target"))?;
        let bundle = world.bundle("")?;
        Ok(Self { world, bundle })
    }

    /// One copy by a process of its own.
    fn copy(&self, key: &str, to: &str) -> Duration {
        let start = Instant::now();
        let done = as_nobody(env!("CARGO_BIN_EXE_xpsync"))
            .args(["cp", &format!("s3://source/{key}"), &format!("s3://target/{to}")])
            .args(["--source-profile", "source", "--target-profile", "target"])
            .env_clear()
            .env("AWS_CONFIG_FILE", self.world.path("config"))
            .env("AWS_SHARED_CREDENTIALS_FILE", self.world.path("credentials"))
            .env("AWS_CA_BUNDLE", &self.bundle)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .output()
            .expect("the binary runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        start.elapsed()
    }
}

/// Measures in the border whose far end has these names.
pub(crate) fn measure(far: &str, host: &str, profile: &str) -> io::Result<()> {
    let user = User::new(far, host)?;
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group(format!("border {profile}"));
    group.sample_size(10).sampling_mode(SamplingMode::Flat).warm_up_time(Duration::from_secs(1));
    let mut copies = 0;
    for (key, size, seconds) in OBJECTS {
        group.throughput(Throughput::Bytes(size)).measurement_time(Duration::from_secs(seconds));
        group.bench_function(key, |bencher| {
            bencher.iter_custom(|iterations| {
                let next = || {
                    copies += 1;
                    user.copy(key, &format!("{key}-{copies}"))
                };
                std::iter::repeat_with(next).take(usize::try_from(iterations).expect("few")).sum()
            });
        });
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}

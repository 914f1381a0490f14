//! How long does `xpsync cp` take for one object over the border, from the start of the process to its end?
//!
//! It runs in the near namespace. The source is a server beside it, the target one at the far end; each copy has a
//! target key of its own.

use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode, Throughput};

/// Key, size, and the seconds that criterion fills, with ten copies at least. Both together stay below three minutes at
/// the usual border.
const OBJECTS: [(&str, u64, u64); 2] = [("10KiB", 10 << 10, 8), ("64MiB", 64 << 20, 80)];

const SOURCE_PORT: u16 = 4443;
const TARGET_PORT: u16 = 4444;

/// Both servers, and the files of a user who has a profile for each.
struct World {
    servers: Vec<Child>,
    folder: PathBuf,
}

impl World {
    fn new(far: &str, host: &str) -> io::Result<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("border-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let mut world = Self { servers: Vec::new(), folder };
        let seeds: Vec<String> = OBJECTS.iter().map(|(key, size, _)| format!("{key}={size}")).collect();
        let itself = std::env::current_exe()?;
        let source = Command::new(&itself);
        let mut target = Command::new("ip");
        target.args(["netns", "exec", far]).arg(&itself);
        world.serve(source, "source", SOURCE_PORT, &["--seed", &seeds.join(",")])?;
        world.serve(target, "target", TARGET_PORT, &["--address", "0.0.0.0", "--name", host])?;
        let path = |name: &str| world.folder.join(name);
        let trusted = [std::fs::read(path("source.pem"))?, std::fs::read(path("target.pem"))?].concat();
        std::fs::write(path("ca.pem"), trusted)?;
        let profile = |name: &str, host: &str, port: u16| {
            format!("[profile {name}]\nregion = {name}-1\nendpoint_url = https://{host}:{port}\n")
        };
        let config = profile("source", "localhost", SOURCE_PORT) + &profile("target", host, TARGET_PORT);
        std::fs::write(path("config"), config.replace("source-1", "cn-north-1").replace("target-1", "us-west-2"))?;
        let keys =
            |name: &str| format!("[{name}]\naws_access_key_id = {name}\naws_secret_access_key = {name}-secret\n");
        std::fs::write(path("credentials"), keys("source") + &keys("target"))?;
        Ok(world)
    }

    /// Starts a server and waits until it is ready.
    fn serve(&mut self, mut command: Command, name: &str, port: u16, more: &[&str]) -> io::Result<()> {
        let region = if name == "source" { "cn-north-1" } else { "us-west-2" };
        let server = command
            .args(["embedded", "--bucket", name, "--access-key", name, "--secret-key", &format!("{name}-secret")])
            .args(["--region", region, "--port", &port.to_string()])
            .arg("--ca")
            .arg(self.folder.join(format!("{name}.pem")))
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        self.servers.push(server);
        let said = self.servers.last_mut().and_then(|server| server.stdout.take());
        match said.and_then(|said| BufReader::new(said).lines().next()).transpose()? {
            Some(line) if line.starts_with("ready ") => Ok(()),
            _ => Err(io::Error::other(format!("the {name} does not start"))),
        }
    }

    /// One copy by a process of its own.
    fn copy(&self, key: &str, to: &str) -> Duration {
        let start = Instant::now();
        let done = Command::new(env!("CARGO_BIN_EXE_xpsync"))
            .args(["cp", &format!("s3://source/{key}"), &format!("s3://target/{to}")])
            .args(["--source-profile", "source", "--target-profile", "target"])
            .env_clear()
            .env("AWS_CONFIG_FILE", self.folder.join("config"))
            .env("AWS_SHARED_CREDENTIALS_FILE", self.folder.join("credentials"))
            .env("AWS_CA_BUNDLE", self.folder.join("ca.pem"))
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .output()
            .expect("the binary runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        start.elapsed()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _ = server.kill();
            let _ = server.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Measures in the border whose far end has these names.
pub(crate) fn measure(far: &str, host: &str, profile: &str) -> io::Result<()> {
    let world = World::new(far, host)?;
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
                    world.copy(key, &format!("{key}-{copies}"))
                };
                std::iter::repeat_with(next).take(usize::try_from(iterations).expect("few")).sum()
            });
        });
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}

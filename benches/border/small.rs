//! What do small objects take through the function's handler, over the border?
//!
//! The source, Secrets Manager and the sandboxes are at the near end, the target at the far one, which counts requests.
//! Every object is new at the target. Sandboxes run as a user who may not choose a congestion control that the border
//! does not allow.

use std::error::Error;
use std::io;
use std::process::Stdio;

use fakes::aws::vault::Vault;
use fakes::net::authority::Authority;
use serde_json::json;
use tokio::runtime::Runtime;

use super::world::{World, as_nobody};

/// Bytes of each object.
pub(crate) const SIZE: u64 = 10 << 10;

/// Objects of a flood.
const OBJECTS: usize = 2_000;

/// Sandboxes, and messages of an invocation: what the template's queue has by default (`MaximumConcurrency`,
/// `BatchSize`), and one sandbox with large batches.
const FLOODS: [(usize, usize); 2] = [(20, 10), (1, 1_000)];

/// How often each flood is measured.
const ROUNDS: usize = 5;

/// Processes whose first event is the cold one.
const STARTS: usize = 9;

/// Milliseconds between an answer and the next event in such a process, all within the time that S3 leaves an idle
/// connection open and we use one.
const PAUSES: [u64; 4] = [100, 500, 1_500, 2_500];

const SECRET: &str = "s3-cross-partition-sync-credentials";

/// Everything at the near end, and the way to the far one.
struct Stage {
    world: World,
    environment: Vec<(&'static str, String)>,
    // Both serve until the stage goes.
    _vault: Vault,
    _runtime: Runtime,
}

impl Stage {
    fn set(far: &str, host: &str) -> io::Result<Self> {
        let seeds: Vec<String> = keys().map(|key| format!("{key}={SIZE}")).collect();
        let world = World::new(far, host, &seeds)?;
        let runtime = Runtime::new()?;
        let authority = Authority::new()?;
        let vault = runtime.block_on(Vault::start(Some(&authority)))?;
        let secret = json!({ "aws_access_key_id": "target", "aws_secret_access_key": "target-secret" });
        vault.set(SECRET, &secret.to_string());
        let bundle = world.bundle(authority.pem())?;
        let environment = vec![
            ("AWS_ACCESS_KEY_ID", "source".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "source-secret".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512".to_owned()),
            ("SOURCE_REGION", "cn-north-1".to_owned()),
            ("SOURCE_BUCKET", "source".to_owned()),
            ("SOURCE_ENDPOINT_URL", world.source_url()),
            ("TARGET_REGION", "us-west-2".to_owned()),
            ("TARGET_BUCKET", "target".to_owned()),
            ("TARGET_ENDPOINT_URL", world.target_url()),
            ("SECRET_ID", SECRET.to_owned()),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", vault.endpoint()),
            ("TMPDIR", env!("CARGO_TARGET_TMPDIR").to_owned()),
            ("AWS_CA_BUNDLE", bundle.to_string_lossy().into_owned()),
            ("LOG_LEVEL", std::env::var("LOG_LEVEL").unwrap_or_else(|_| "ERROR".to_owned())),
        ];
        Ok(Self { world, environment, _vault: vault, _runtime: runtime })
    }

    /// The numbers that a process of sandboxes prints; its objects are new at the target below this prefix.
    fn sandbox(&self, prefix: &str, arguments: &[String]) -> Result<Vec<f64>, Box<dyn Error>> {
        let output = as_nobody(std::env::current_exe()?)
            .arg("sandbox")
            .args(arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("TARGET_PREFIX", prefix)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            return Err(format!("the sandbox ended with {}", output.status).into());
        }
        let lines = String::from_utf8(output.stdout)?;
        Ok(lines.lines().map(str::parse).collect::<Result<_, _>>()?)
    }
}

/// Measures in the border whose far end has these names.
pub(crate) fn measure(far: &str, host: &str, profile: &str) -> io::Result<()> {
    print(far, host, profile).map_err(|error| io::Error::other(error.to_string()))
}

fn print(far: &str, host: &str, profile: &str) -> Result<(), Box<dyn Error>> {
    let round_trip: f64 = std::env::var("BORDER_RTT_MS")?.parse()?;
    let mut stage = Stage::set(far, host)?;
    let mut objects = 0;
    for (sandboxes, batch) in FLOODS {
        let mut rates = Vec::new();
        for round in 0..ROUNDS {
            let mut arguments = vec!["flood".to_owned(), sandboxes.to_string(), batch.to_string()];
            arguments.extend(keys());
            let seconds = stage.sandbox(&format!("flood-{sandboxes}-{round}/"), &arguments)?;
            rates.extend(seconds.into_iter().map(|seconds| OBJECTS as f64 / seconds));
            objects += OBJECTS;
        }
        let each: Vec<String> = rates.iter().map(|rate| format!("{rate:.0}")).collect();
        println!(
            "{profile}: {OBJECTS} objects of {SIZE} bytes, {sandboxes} cold sandboxes, {batch} messages an \
             invocation: {:.0} objects/s, median of {}",
            median(&mut rates),
            each.join(" ")
        );
    }
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for start in 0..STARTS {
        let mut keys = keys();
        let mut arguments = vec!["single".to_owned()];
        arguments.extend(keys.next());
        arguments.extend(keys.zip(PAUSES).map(|(key, pause)| format!("{key}={pause}")));
        let times = stage.sandbox(&format!("single-{start}/"), &arguments)?;
        objects += times.len();
        cold.extend(times.first());
        warm.extend(times.iter().skip(1));
    }
    for (name, times) in [("cold", &mut cold), ("warm", &mut warm)] {
        let median = median(times);
        let (least, most) = (times[0], times[times.len() - 1]);
        println!(
            "{profile}: one object of {SIZE} bytes, {name}: {median:.0} ms, {:.2} round trips, median of {} \
             ({least:.0} to {most:.0} ms)",
            median / round_trip,
            times.len()
        );
    }
    let mut counts = stage.world.count()?;
    let connections = counts.remove("connections").unwrap_or_default();
    let requests: u64 = counts.values().sum();
    println!(
        "{profile}: {requests} requests at the target for {objects} objects, {:.4} an object, over {connections} \
         connections: {counts:?}",
        requests as f64 / objects as f64
    );
    Ok(())
}

fn keys() -> impl Iterator<Item = String> {
    (0..OBJECTS).map(|number| format!("small/{number:04}"))
}

/// Puts the numbers into their order as well.
fn median(numbers: &mut [f64]) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    if numbers.len().is_multiple_of(2) { numbers[middle - 1].midpoint(numbers[middle]) } else { numbers[middle] }
}

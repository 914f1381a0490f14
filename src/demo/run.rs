//! The demonstration: objects in China, events to the function's handler, and a table of what was proven.

use crate::demo::pair::{Pair, SOURCE_BUCKET, SOURCE_REGION, TARGET_BUCKET, TARGET_REGION, source_keys, target_keys};
use crate::engine::decide::plan::PartSizeTable;
use crate::events::answer::Answer;
use crate::handler::Function;
use crate::settings::FunctionSettings;
use crate::wire::net::connect::{Connect, Network};
use crate::wire::net::tls::client_config;
use bytes::Bytes;
use fakes::aws::vault::Vault;
use fakes::net::border::BorderConfig;
use fakes::store::attributes::Attributes;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The objects, by size; the last is above the default threshold of /tmp.
const SIZES: [(&str, usize); 4] = [("empty", 0), ("1 KiB", 1 << 10), ("20 MiB", 20 << 20), ("300 MiB", 300 << 20)];
const SECRET: &str = "s3-cross-partition-sync-credentials";
/// Lambda's longest.
const DEADLINE: Duration = Duration::from_secs(900);

/// Runs it, writing as it goes. True if everything asked for was done and proven.
///
/// # Errors
/// If no sockets or certificates can be had, or `out` cannot be written.
pub(crate) async fn run(border: Option<BorderConfig>, out: &mut (dyn Write + Send)) -> io::Result<bool> {
    let stage = DemoWorld::set(border).await?;
    writeln!(out, "China side   {SOURCE_REGION}  {}  bucket {SOURCE_BUCKET}", stage.pair.source.endpoint())?;
    writeln!(out, "Global side  {TARGET_REGION}       {}  bucket {TARGET_BUCKET}", stage.pair.target_endpoint())?;
    writeln!(
        out,
        "Border       {}",
        border.map_or_else(
            || "none (loopback; use --border to simulate a slow path)".to_owned(),
            |border| border.to_string()
        )
    )?;
    writeln!(
        out,
        "\nEach row is one event, handled by the same code that runs in Lambda. Both sides check TLS and signatures.\n"
    )?;
    writeln!(out, "{}", Row::head())?;
    let mut proven = true;
    for (index, (name, size)) in SIZES.into_iter().enumerate() {
        let key = format!("demo/{}", name.replace(' ', "-"));
        stage.put(&key, content(size, index as u64))?;
        proven &= stage.event(out, &key, name, "copied").await?;
        proven &= stage.event(out, &key, &format!("{name}, repeated"), "unchanged").await?;
    }
    stage.put("demo/20-MiB", content(20 << 20, 77))?;
    proven &= stage.event(out, "demo/20-MiB", "20 MiB, overwritten", "copied").await?;
    // The event tells of the first version; what is read is what is there when it arrives.
    stage.put("demo/late", content(1 << 20, 78))?;
    let early = stage.describe("demo/late")?;
    stage.put("demo/late", content(2 << 20, 79))?;
    proven &= stage.tell(out, "demo/late", "replaced before its event", "copied", early).await?;
    let open = stage.pair.target.open_uploads().len();
    writeln!(out, "\nUploads left open: {open}")?;
    proven &= open == 0;
    writeln!(
        out,
        "{}",
        if proven {
            "Everything was copied and proven."
        } else {
            "SOME OBJECTS ARE NOT AS EXPECTED: see the marked rows."
        }
    )?;
    Ok(proven)
}

struct DemoWorld {
    pair: Pair,
    // Ends with the stage.
    _vault: Vault,
    function: Arc<Function>,
}

struct Described {
    size: u64,
    etag: String,
}

impl DemoWorld {
    async fn set(border: Option<BorderConfig>) -> io::Result<Self> {
        let pair = Pair::start(border).await?;
        let vault = Vault::start(Some(pair.authority())).await?;
        let keys = target_keys();
        let secret = json!({ "aws_access_key_id": keys.access_key, "aws_secret_access_key": keys.secret_key });
        vault.set(SECRET, &secret.to_string());
        let function = function(&pair, &vault)?;
        Ok(Self { pair, _vault: vault, function })
    }

    fn put(&self, key: &str, bytes: Bytes) -> io::Result<()> {
        let attributes =
            Attributes::default().header("content-type", "application/octet-stream").meta("origin", "demo");
        self.pair.source.store().put(SOURCE_BUCKET, key, bytes, attributes).map(drop).map_err(io::Error::other)
    }

    fn describe(&self, key: &str) -> io::Result<Described> {
        let object = self.pair.source.store().get(SOURCE_BUCKET, key);
        let object = object.ok_or_else(|| io::Error::other("the object is gone"))?;
        Ok(Described { size: object.content.len(), etag: object.etag.clone() })
    }

    async fn event(&self, out: &mut (dyn Write + Send), key: &str, name: &str, expected: &str) -> io::Result<bool> {
        let described = self.describe(key)?;
        self.tell(out, key, name, expected, described).await
    }

    /// Tells the function of an object, shows the row, and says whether all of it is as expected.
    async fn tell(
        &self,
        out: &mut (dyn Write + Send),
        key: &str,
        name: &str,
        expected: &str,
        described: Described,
    ) -> io::Result<bool> {
        self.pair.target.forget();
        let payload = eventbridge(key, &described).to_string();
        let answer = self.function.handle(payload.as_bytes(), Instant::now() + DEADLINE).await;
        let report = match answer {
            Answer::Success(report) => report,
            Answer::FunctionError { error_message, .. } => serde_json::from_str(&error_message).unwrap_or(Value::Null),
        };
        let crossed: u64 = self.pair.target.seen().iter().map(|seen| seen.received).sum();
        let (source, target) =
            (self.pair.source.store().get(SOURCE_BUCKET, key), self.pair.target.store().get(TARGET_BUCKET, key));
        let same_bytes = match (&source, &target) {
            (Some(source), Some(target)) => {
                source.checksum == target.checksum && source.content.len() == target.content.len()
            }
            (None, _) | (_, None) => false,
        };
        let is_proven = report["verified_by"].as_array().is_some_and(|proofs| !proofs.is_empty());
        let stays = expected != "unchanged" || crossed <= PartSizeTable::V1.put_first;
        let good = report["outcome"] == expected && is_proven && same_bytes && stays;
        let etag = |object: Option<&str>| object.unwrap_or("-").to_owned();
        let row = Row {
            object: name.to_owned(),
            outcome: report["outcome"].as_str().unwrap_or("-").to_owned(),
            bytes: report["bytes"].as_u64().unwrap_or(0),
            seconds: report["seconds"].as_f64().unwrap_or(0.0),
            buffer: report["buffer"].as_str().unwrap_or("-").to_owned(),
            source: etag(source.as_deref().map(|object| object.etag.as_str())),
            target: etag(target.as_deref().map(|object| object.etag.as_str())),
            proofs: join(&report["verified_by"]),
            good,
        };
        writeln!(out, "{row}")?;
        if !good {
            writeln!(out, "  expected {expected}; {crossed} bytes were sent to the target; report: {report}")?;
        }
        Ok(good)
    }
}

/// The function as the template would set it up, its endpoints led to the stage.
fn function(pair: &Pair, vault: &Vault) -> io::Result<Arc<Function>> {
    let keys = source_keys();
    let environment = [
        ("SOURCE_REGION", SOURCE_REGION.to_owned()),
        ("SOURCE_BUCKET", SOURCE_BUCKET.to_owned()),
        ("SOURCE_ENDPOINT_URL", pair.source.endpoint()),
        ("TARGET_REGION", TARGET_REGION.to_owned()),
        ("TARGET_BUCKET", TARGET_BUCKET.to_owned()),
        ("TARGET_ENDPOINT_URL", pair.target_endpoint()),
        ("SECRET_ID", SECRET.to_owned()),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", vault.endpoint()),
        ("AWS_ACCESS_KEY_ID", keys.access_key),
        ("AWS_SECRET_ACCESS_KEY", keys.secret_key),
    ];
    let pairs = environment.into_iter().map(|(name, value)| (name.to_owned(), value));
    let settings = FunctionSettings::from_pairs(pairs).map_err(io::Error::other)?;
    let tls = client_config(Some(pair.authority().pem().as_bytes())).map_err(io::Error::other)?;
    let connector: Arc<dyn Connect> = Arc::new(Network::new(tls));
    Ok(Function::new(settings, &connector, Box::new(|_| {})))
}

/// Bytes without a period that could hide a shift.
fn content(length: usize, seed: u64) -> Bytes {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes.into()
}

/// "Amazon S3 event message structure for EventBridge".
fn eventbridge(key: &str, described: &Described) -> Value {
    json!({
        "version": "0", "id": "17793124-05d4-b198-2fde-7ededc63b103", "detail-type": "Object Created", "source": "aws.s3",
        "account": "111122223333", "time": "2026-11-12T00:00:00Z", "region": SOURCE_REGION,
        "resources": [format!("arn:aws-cn:s3:::{SOURCE_BUCKET}")],
        "detail": {
            "version": "0", "bucket": { "name": SOURCE_BUCKET },
            "object": { "key": key, "size": described.size, "etag": described.etag, "sequencer": "617f08299329d189" },
            "request-id": "N4N7GDK58NMKJ12R", "requester": "111122223333", "source-ip-address": "192.0.2.1",
            "reason": "PutObject"
        }
    })
}

fn join(names: &Value) -> String {
    let names = names.as_array().map(Vec::as_slice).unwrap_or_default();
    names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
}

struct Row {
    object: String,
    outcome: String,
    bytes: u64,
    seconds: f64,
    buffer: String,
    source: String,
    target: String,
    proofs: String,
    good: bool,
}

impl Row {
    fn head() -> String {
        format!(
            "{:<26} {:<10} {:>10} {:>8} {:>7} {:<7} {:<35} {:<35} proofs",
            "object", "outcome", "bytes", "seconds", "MB/s", "buffer", "ETag in China", "ETag outside"
        )
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "a rate that is shown")]
        let rate = if self.bytes == 0 || self.seconds <= 0.0 {
            "-".to_owned()
        } else {
            format!("{:.1}", self.bytes as f64 / 1e6 / self.seconds)
        };
        write!(
            f,
            "{:<26} {:<10} {:>10} {:>8.3} {:>7} {:<7} {:<35} {:<35} {}{}",
            self.object,
            self.outcome,
            self.bytes,
            self.seconds,
            rate,
            self.buffer,
            self.source,
            self.target,
            self.proofs,
            if self.good { "" } else { "  <- NOT AS EXPECTED" }
        )
    }
}

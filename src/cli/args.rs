//! The flags, read here and nowhere else.

use crate::engine::decide::plan::EtagMode;
use crate::s3::{Bucket, Key};
use crate::settings::parse_size;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tracing::Level;

/// Copies S3 objects from AWS China to AWS Global (or any other partition) and proves each copy
#[derive(Debug, Parser)]
#[command(name = "xpsync", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// Log level on stderr; DEBUG shows each request with its request id
    #[arg(long, global = true, value_name = "LEVEL", default_value = "WARN")]
    pub(crate) log_level: Level,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Copy one object
    Cp(Box<CpArgs>),
    /// Clean up a target: abort old uploads that were never finished, and delete old temporary objects under .xpsync/
    Sweep(Box<SweepArgs>),
    /// Run the Lambda handler between two embedded S3 servers, without AWS
    #[cfg(feature = "demo")]
    Demo(Demo),
}

/// Copy one object.
#[derive(Debug, Args)]
pub(crate) struct CpArgs {
    /// s3://BUCKET/KEY; the key is everything after the slash, taken literally
    #[arg(value_name = "s3://SRC/KEY")]
    pub(crate) source: ObjectUrl,
    /// s3://BUCKET/KEY; leave the key empty to use the source's key
    #[arg(value_name = "s3://DST/[KEY]")]
    pub(crate) target: ObjectUrl,
    #[command(flatten)]
    pub(crate) ends: Ends,
    /// Where parts are buffered; auto: in memory if they fit --memory-limit, else in a file below --tmp-dir
    #[arg(long, value_enum, default_value_t = Buffer::Auto)]
    pub(crate) buffer: Buffer,
    /// Most memory for part buffers
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = size)]
    pub(crate) memory_limit: u64,
    /// Folder of the buffer file [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) tmp_dir: Option<PathBuf>,
    /// Most bytes of the buffer file [default: the smaller of 4GiB and half of the free space]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) tmp_limit: Option<u64>,
    /// Part size, 5MiB to 5GiB; auto: the source's own part sizes up to 64 MiB, else 5 MiB and more
    #[arg(long, value_name = "auto|SIZE", default_value = "auto")]
    pub(crate) part_size: AutoOr<Size>,
    /// Parallel requests to the target, 1 to 1000; auto adapts to the path
    #[arg(long, value_name = "auto|N", default_value = "auto")]
    pub(crate) concurrency: AutoOr<Count>,
    /// The target's ETag; auto: the source's where that costs nothing extra; preserve: the source's, or fail; any: no
    /// matter
    #[arg(long, value_name = "auto|preserve|any", default_value = "auto")]
    pub(crate) etag: EtagMode,
    /// Print one JSON report per object on stdout, then a JSON summary
    #[arg(long)]
    pub(crate) json: bool,
}

/// Aborts uploads that this user began at the target and that are older than an age, and removes stages of ours.
///
/// Whose an upload is, is told by the target: an upload is begun under `.xpsync/`, looked at in the listing and aborted
/// at once, in a dry run too. Uploads of others are never touched, and none is where the target does not show who began
/// it.
#[derive(Debug, Args)]
pub(crate) struct SweepArgs {
    /// s3://BUCKET[/PREFIX]; with a prefix only keys that begin with it
    #[arg(value_name = "s3://DST/[PREFIX]")]
    pub(crate) target: ObjectUrl,
    #[command(flatten)]
    pub(crate) ends: Ends,
    /// Only what is older than this: whole hours or days, such as 36h or 7d
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = age)]
    pub older_than: Duration,
    /// Really abort and delete; without it, only list what would be removed
    #[arg(long)]
    pub(crate) abort: bool,
    /// Print one JSON line on stdout for each upload or object, then a JSON summary
    #[arg(long)]
    pub(crate) json: bool,
}

/// How the two ends are reached.
#[derive(Debug, Args)]
pub(crate) struct Ends {
    /// AWS profile of the source
    #[arg(long, value_name = "NAME")]
    pub(crate) source_profile: Option<String>,
    /// Region of the source [default: from the profile or the environment]
    #[arg(long, value_name = "REGION")]
    pub(crate) source_region: Option<String>,
    /// Endpoint URL of the source, used with path-style addresses [default: from the profile, else AWS]
    #[arg(long, value_name = "URL")]
    pub(crate) source_endpoint_url: Option<String>,
    /// AWS profile of the target
    #[arg(long, value_name = "NAME", conflicts_with = "target_secret_id")]
    pub(crate) target_profile: Option<String>,
    /// The target's region [default: the profile's]
    #[arg(long, value_name = "REGION")]
    pub(crate) target_region: Option<String>,
    /// The target's endpoint, addressed path-style [default: the profile's, or AWS]
    #[arg(long, value_name = "URL", conflicts_with = "target_accelerate")]
    pub(crate) target_endpoint_url: Option<String>,
    /// Read the target's keys from this Secrets Manager secret (name or ARN), in the source's account and region;
    /// needs --target-region
    #[arg(long, value_name = "ID", requires = "target_region")]
    pub(crate) target_secret_id: Option<String>,
    /// Use S3 Transfer Acceleration at the target
    #[arg(long)]
    pub(crate) target_accelerate: bool,
}

/// Where parts wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Buffer {
    Auto,
    Memory,
    Tmp,
}

#[cfg(feature = "demo")]
/// Two embedded S3 servers and the function's handler.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Simulate a slow path between the two: round-trip time, rate of the link, rate of one connection
    #[arg(long, value_name = "rtt=200ms,rate=300mbit,per=8mbit")]
    pub(crate) border: Option<fakes::net::border::BorderConfig>,
}

/// `s3://bucket/key`; the key may be left out of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObjectUrl {
    pub(crate) bucket: Bucket,
    pub(crate) key: Option<Key>,
}

impl FromStr for ObjectUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("s3://").ok_or("expected s3://BUCKET/KEY")?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let bucket = Bucket::new(bucket).map_err(|error| error.to_string())?;
        let key = match key {
            "" => None,
            key => Some(Key::new(key).map_err(|error| error.to_string())?),
        };
        Ok(Self { bucket, key })
    }
}

/// `auto`, or a value of one's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AutoOr<T> {
    Auto,
    Own(T),
}

impl<T: FromStr<Err = String>> FromStr for AutoOr<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" { Ok(Self::Auto) } else { text.parse().map(Self::Own) }
    }
}

/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        size(text).map(Self)
    }
}

/// Requests, 1 to 1,000: each takes a file descriptor of usually 1,024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) u32);

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(count @ 1..=1000) => Ok(Self(count)),
            _ => Err(format!("`{text}` is neither auto nor a number from 1 to 1000")),
        }
    }
}

/// Whole hours or days. None is shorter than an hour: younger uploads are somebody's work.
fn age(text: &str) -> Result<Duration, String> {
    let invalid = || format!("`{text}` is not an age: give whole hours or days, such as 36h or 7d");
    let (number, hours) = match text.strip_suffix('d') {
        Some(days) => (days, 24),
        None => (text.strip_suffix('h').ok_or_else(invalid)?, 1),
    };
    let digits = Some(number).filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    let number: u64 = digits.and_then(|number| number.parse().ok()).filter(|number| *number > 0).ok_or_else(invalid)?;
    number.checked_mul(hours * 3_600).map(Duration::from_secs).ok_or_else(invalid)
}

fn size(text: &str) -> Result<u64, String> {
    parse_size(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<(String, Option<String>), String> {
        text.parse().map(|url: ObjectUrl| (url.bucket.to_string(), url.key.map(|key| key.to_string())))
    }

    #[test]
    fn keys_are_everything_after_the_buckets_slash() {
        let check = |text: &str, key: Option<&str>| {
            assert_eq!(url(text), Ok(("bucket".to_owned(), key.map(str::to_owned))), "{text}");
        };
        check("s3://bucket/k", Some("k"));
        check("s3://bucket//lead", Some("/lead"));
        check("s3://bucket/a/../b?c#d%20e", Some("a/../b?c#d%20e"));
        check("s3://bucket/", None);
        check("s3://bucket", None);
        for bad in ["bucket/k", "s3:/bucket/k", "s3://", "s3:///k", "S3://bucket/k"] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_age_is_whole_hours_or_days() {
        let check = |text: &str, hours: Option<u64>| {
            assert_eq!(age(text).ok(), hours.map(Duration::from_hours), "{text}");
        };
        check("36h", Some(36));
        check("7d", Some(168));
        for bad in ["", "7", "d", "0d", "0h", "1.5d", "-1d", "+1d", "1m", "1dd", "99999999999999999999d"] {
            check(bad, None);
        }
    }

    #[test]
    fn the_flags_agree_with_each_other() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
        let parse = |flags: &[&str]| {
            let all = [&["xpsync", "cp", "s3://aaa/k", "s3://bbb/"], flags].concat();
            Cli::try_parse_from(all).map(|_| ())
        };
        assert!(parse(&[]).is_ok());
        assert!(
            parse(&["--part-size", "8MiB", "--concurrency", "12", "--etag", "preserve", "--buffer", "tmp"]).is_ok()
        );
        assert!(parse(&["--concurrency", "0"]).is_err());
        assert!(parse(&["--memory-limit", "many"]).is_err());
        assert!(parse(&["--target-secret-id", "s"]).is_err(), "the secret does not say its region");
        assert!(parse(&["--target-secret-id", "s", "--target-profile", "p", "--target-region", "r"]).is_err());
        assert!(parse(&["--no-such-flag"]).is_err());
    }
}

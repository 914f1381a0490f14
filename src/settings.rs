//! The function's environment, read once and completely: settings, or everything that is wrong with them at once.
//!
//! Reads the function's variables; the command line's are read in `cli`. An option that this version does not offer is
//! a problem, not a silence: one that does nothing would be believed to work. An empty variable is an unset one, as
//! templates write them.

use crate::engine::decide::plan::EtagMode;
use crate::engine::session::options::Deletes;
use crate::s3::http::endpoint::{Endpoint, Region};
use crate::s3::{Bucket, Invalid, Key};
use crate::sync::filter::Filter;
use aws_credential_types::Credentials;
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::path::PathBuf;
use std::str::FromStr;
use thiserror::Error;
use tracing::Level;

const MIB: u64 = 1 << 20;

/// What runtime, TLS, listings and the sockets' own buffers need beside part buffers (DESIGN 2.2). More leaves fewer
/// parts in flight, less risks the sandbox.
const RESERVED_MIB: u64 = 96;

/// What a sandbox has when it does not say, in MiB: the template's default.
const DEFAULT_MEMORY_MIB: u64 = 512;

/// From this size in MiB on, parts wait in /tmp instead of on the heap, unless `MEMORY_THRESHOLD_MB` says otherwise.
const DEFAULT_THRESHOLD_MIB: u64 = 100;

/// One side of every copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SideSettings {
    pub(crate) region: Region,
    /// Its bucket.
    pub bucket: Bucket,
    /// Where its requests go.
    pub(crate) endpoint: Endpoint,
}

/// Everything that the function is told by its environment.
#[derive(Debug)]
pub struct FunctionSettings {
    /// `SOURCE_REGION`, `SOURCE_BUCKET`, `SOURCE_ENDPOINT_URL`.
    pub(crate) source: SideSettings,
    /// The role's keys, which the runtime puts into the environment for the life of the sandbox.
    pub(crate) source_credentials: Credentials,
    /// `TARGET_REGION`, `TARGET_BUCKET`, `TARGET_ENDPOINT_URL`, `TARGET_ACCELERATE`.
    pub(crate) target: SideSettings,
    /// `TARGET_PREFIX`, put before every key as it is.
    pub(crate) target_prefix: String,
    /// `SECRET_ID`: name or ARN of the secret with the target's keys.
    pub(crate) secret_id: String,
    /// `AWS_ENDPOINT_URL_SECRETS_MANAGER`.
    pub(crate) secrets_endpoint: Option<String>,
    /// `TARGET_STORAGE_CLASS`; the bucket's default without it.
    pub(crate) storage_class: Option<String>,
    /// `TARGET_KMS_KEY_ID`; the bucket's own encryption without it.
    pub(crate) kms_key: Option<String>,
    /// `ETAG_MODE`.
    pub etag_mode: EtagMode,
    /// `SYNC_DELETES`.
    pub(crate) deletes: Deletes,
    /// `EXCLUDE`, then `INCLUDE`.
    pub(crate) filter: Filter,
    /// `LOG_LEVEL`.
    pub log_level: Level,
    /// `MEMORY_THRESHOLD_MB`, in bytes: objects of this size and larger wait in /tmp.
    pub memory_threshold: u64,
    /// Bytes of part buffers that may be on the heap at once.
    pub heap_budget: u64,
    /// `AWS_CA_BUNDLE`: roots to trust beside the compiled-in ones.
    pub ca_bundle: Option<PathBuf>,
    /// `AWS_LAMBDA_FUNCTION_NAME`.
    pub function_name: Option<String>,
    /// `AWS_ENDPOINT_URL_SQS`.
    pub(crate) queue_endpoint: Option<String>,
    /// `TMPDIR`, which Lambda does not set: where part buffers and the journal of open uploads are.
    pub(crate) tmp_dir: PathBuf,
}

/// All that is wrong with the environment; never a secret value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct SettingsProblems(Vec<String>);

impl SettingsProblems {
    /// The problems, each naming its variable first.
    pub fn all(&self) -> &[String] {
        &self.0
    }
}

impl Display for SettingsProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = match self.0.len() {
            1 => "a problem".to_owned(),
            many => format!("{many} problems"),
        };
        write!(f, "the function's environment variables have {count}: {}", self.0.join("; "))
    }
}

impl FunctionSettings {
    /// Reads the process's environment. A variable that is not UTF-8 counts as unset.
    ///
    /// # Errors
    /// [`SettingsProblems`], with all of them.
    pub fn from_environment() -> Result<Self, SettingsProblems> {
        Self::from_pairs(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    /// Reads variables from wherever they come.
    ///
    /// # Errors
    /// [`SettingsProblems`], with all of them.
    pub fn from_pairs(pairs: impl Iterator<Item = (String, String)>) -> Result<Self, SettingsProblems> {
        let mut values: BTreeMap<_, _> = pairs.collect();
        values.retain(|_, value| !value.is_empty());
        let mut variables = Variables { values, problems: Vec::new() };
        let read = variables.settings();
        match (read, variables.problems) {
            (Some(settings), problems) if problems.is_empty() => Ok(settings),
            (_, problems) => Err(SettingsProblems(problems)),
        }
    }

    /// The key that an object of the source has at the target.
    ///
    /// # Errors
    /// [`Invalid::Key`], if the prefix makes it too long.
    pub(crate) fn target_key(&self, key: &Key) -> Result<Key, Invalid> {
        Key::new(&format!("{}{key}", self.target_prefix))
    }
}

/// The variables that are set, and what was found wrong so far. Every reader notes its problem and returns `None`.
struct Variables {
    values: BTreeMap<String, String>,
    problems: Vec<String>,
}

impl Variables {
    /// Reads everything before it gives up, so that one start shows all that is wrong.
    fn settings(&mut self) -> Option<FunctionSettings> {
        self.not_offered();
        let source = self.side("SOURCE_REGION", "SOURCE_BUCKET", "SOURCE_ENDPOINT_URL");
        let target = self.side("TARGET_REGION", "TARGET_BUCKET", "TARGET_ENDPOINT_URL");
        let target = self.accelerated(target);
        let same = |(source, target): (&SideSettings, &SideSettings)| {
            source.bucket == target.bucket && source.endpoint == target.endpoint
        };
        if source.as_ref().zip(target.as_ref()).is_some_and(same) {
            self.problem("TARGET_BUCKET", "is the source bucket: every copy would start another one, without end");
        }
        let source_credentials = self.source_credentials();
        let secret_id = self.required("SECRET_ID");
        let url = |url: &str| Endpoint::overridden(url).map(|_| url.to_owned());
        let secrets_endpoint = self.optional("AWS_ENDPOINT_URL_SECRETS_MANAGER", url);
        let queue_endpoint = self.optional("AWS_ENDPOINT_URL_SQS", url);
        let target_prefix = self.optional("TARGET_PREFIX", |prefix| match prefix.len() {
            ..Key::MAX_BYTES => Ok(prefix.to_owned()),
            long => Err(format!("is {long} bytes long; prefix and key together may have at most {}", Key::MAX_BYTES)),
        });
        let storage_class = self.optional("TARGET_STORAGE_CLASS", storage_class);
        let kms_key = self.optional("TARGET_KMS_KEY_ID", |id| match id.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(id.to_owned()),
            false => Err("is not the id, alias or ARN of a KMS key"),
        });
        let etag_mode = self.optional("ETAG_MODE", EtagMode::from_str);
        let deletes = self.optional("SYNC_DELETES", |text| {
            boolean(text).map(|follow| if follow { Deletes::Follow } else { Deletes::Keep })
        });
        let exclude = self.optional("EXCLUDE", globs);
        let include = self.optional("INCLUDE", globs);
        let log_level = self.optional("LOG_LEVEL", |level| {
            Level::from_str(level).map_err(|_| format!("`{level}` is none of ERROR, WARN, INFO, DEBUG, TRACE"))
        });
        let threshold = self.optional("MEMORY_THRESHOLD_MB", mib);
        let memory = self.optional("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", |text| match mib(text)? {
            0..=RESERVED_MIB => Err(format!(
                "`{text}` MB is too little: {RESERVED_MIB} MB are reserved, which leaves no room for part buffers"
            )),
            memory => Ok(memory),
        });
        Some(FunctionSettings {
            source: source?,
            source_credentials: source_credentials?,
            target: target?,
            target_prefix: target_prefix.unwrap_or_default(),
            secret_id: secret_id?,
            secrets_endpoint,
            storage_class,
            kms_key,
            etag_mode: etag_mode.unwrap_or_default(),
            deletes: deletes.unwrap_or_default(),
            filter: Filter::excluding_then_including(&exclude.unwrap_or_default(), &include.unwrap_or_default()),
            log_level: log_level.unwrap_or(Level::INFO),
            memory_threshold: threshold.unwrap_or(DEFAULT_THRESHOLD_MIB) * MIB,
            heap_budget: (memory.unwrap_or(DEFAULT_MEMORY_MIB) - RESERVED_MIB) * MIB / 2,
            ca_bundle: self.text("AWS_CA_BUNDLE").map(PathBuf::from),
            function_name: self.text("AWS_LAMBDA_FUNCTION_NAME").map(str::to_owned),
            queue_endpoint,
            tmp_dir: self.text("TMPDIR").unwrap_or("/tmp").into(),
        })
    }

    fn not_offered(&mut self) {
        if self.text("LARGE_OBJECT_STATE_MACHINE_ARN").is_some() {
            self.problem("LARGE_OBJECT_STATE_MACHINE_ARN", "is not supported by this version: remove the variable");
        }
    }

    fn side(&mut self, region: &'static str, bucket: &'static str, endpoint: &'static str) -> Option<SideSettings> {
        let (region_is_set, bucket_is_set) = (self.required(region), self.required(bucket));
        let region = region_is_set.and_then(|_| self.optional(region, Region::new));
        let bucket = bucket_is_set.and_then(|_| self.optional(bucket, Bucket::new));
        let overridden = self.optional(endpoint, Endpoint::overridden);
        let region = region?;
        let endpoint = overridden.unwrap_or_else(|| Endpoint::regional(region.clone()));
        Some(SideSettings { endpoint, region, bucket: bucket? })
    }

    fn accelerated(&mut self, target: Option<SideSettings>) -> Option<SideSettings> {
        if self.optional("TARGET_ACCELERATE", boolean) != Some(true) {
            return target;
        }
        if self.text("TARGET_ENDPOINT_URL").is_some() {
            self.problem("TARGET_ACCELERATE", "and TARGET_ENDPOINT_URL cannot be used together: remove one");
        }
        let SideSettings { region, bucket, .. } = target?;
        match Endpoint::accelerated(&region, &bucket) {
            Ok(endpoint) => Some(SideSettings { region, bucket, endpoint }),
            Err(refused) => {
                self.problem("TARGET_ACCELERATE", &refused.to_string());
                None
            }
        }
    }

    fn source_credentials(&mut self) -> Option<Credentials> {
        let (id, key) = (self.required("AWS_ACCESS_KEY_ID"), self.required("AWS_SECRET_ACCESS_KEY"));
        let token = self.text("AWS_SESSION_TOKEN").map(str::to_owned);
        Some(Credentials::new(id?, key?, token, None, "environment"))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    fn required(&mut self, name: &'static str) -> Option<String> {
        let value = self.text(name).map(str::to_owned);
        if value.is_none() {
            self.problem(name, "is not set");
        }
        value
    }

    fn optional<T, E: Display>(&mut self, name: &'static str, read: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        match read(self.text(name)?) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.problem(name, &problem.to_string());
                None
            }
        }
    }

    fn problem(&mut self, name: &'static str, what: &str) {
        // A sentence that starts with what it quotes needs a colon, one that goes on from the name does not.
        let colon = if what.starts_with(|c: char| c.is_lowercase()) { "" } else { ":" };
        self.problems.push(format!("{name}{colon} {what}"));
    }
}

fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

/// Whole MiB, few enough that their bytes can be counted.
fn mib(text: &str) -> Result<u64, String> {
    let number =
        Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit())).and_then(|text| text.parse().ok());
    number
        .filter(|number: &u64| number.checked_mul(MIB).is_some())
        .ok_or_else(|| format!("`{text}` is not a whole number of MB, such as 100"))
}

fn globs(text: &str) -> Result<Vec<String>, String> {
    serde_json::from_str(text)
        .map_err(|error| format!("`{text}` is not a JSON array of patterns, such as [\"*.jpg\"]: {error}"))
}

/// New classes come, so only the form is checked; S3 knows which there are.
fn storage_class(text: &str) -> Result<String, String> {
    if text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_') {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` does not look like a storage class such as STANDARD_IA"))
    }
}

/// Where a program of the user's keeps what it wants to find again ("XDG Base Directory Specification"); `None` if the
/// environment does not say.
pub fn state_folder() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let own = variable("XDG_STATE_HOME").filter(|folder| folder.is_absolute());
    Some(own.or_else(|| Some(variable("HOME")?.join(".local/state")))?.join("xpsync"))
}

/// A size that is not one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not a size: bytes, or a whole number with K, M, G or T (powers of 1,024), such as 64MiB")]
pub struct InvalidSize(String);

/// Reads `64MiB`, `64mb`, `64M` or `67108864`: units are powers of 1,024, however they are spelled.
///
/// # Errors
/// [`InvalidSize`], for a fraction, another unit, or more than 64 bits.
pub fn parse_size(text: &str) -> Result<u64, InvalidSize> {
    let invalid = || InvalidSize(text.to_owned());
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(invalid)?;
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" => 0,
        "k" | "kb" | "ki" | "kib" => 10,
        "m" | "mb" | "mi" | "mib" => 20,
        "g" | "gb" | "gi" | "gib" => 30,
        "t" | "tb" | "ti" | "tib" => 40,
        _ => return Err(invalid()),
    };
    let number: u64 = number.parse().map_err(|_| invalid())?;
    number.checked_mul(1 << shift).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::filter::{Glob, Rule};

    const REQUIRED: [(&str, &str); 7] = [
        ("SOURCE_REGION", "cn-northwest-1"),
        ("SOURCE_BUCKET", "cn-data"),
        ("TARGET_REGION", "us-west-2"),
        ("TARGET_BUCKET", "gl-data"),
        ("SECRET_ID", "s3-cross-partition-sync-credentials"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "hidden"),
    ];

    fn with(changes: &[(&str, &str)]) -> Result<FunctionSettings, SettingsProblems> {
        let pairs = REQUIRED.iter().chain(changes).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        FunctionSettings::from_pairs(pairs)
    }

    #[test]
    fn the_required_variables_suffice() {
        let settings = with(&[]).unwrap();
        assert_eq!(settings.source.region.as_str(), "cn-northwest-1");
        assert_eq!(settings.source.bucket.as_str(), "cn-data");
        assert_eq!(settings.target.endpoint, Endpoint::regional(Region::new("us-west-2").unwrap()));
        assert_eq!(settings.secret_id, "s3-cross-partition-sync-credentials");
        assert_eq!(settings.source_credentials.access_key_id(), "AKIDEXAMPLE");
        assert_eq!(settings.source_credentials.session_token(), None);
        assert_eq!(settings.log_level, Level::INFO);
        assert_eq!(settings.memory_threshold, 100 * MIB);
        assert_eq!(settings.heap_budget, 208 * MIB);
        assert_eq!(settings.etag_mode, EtagMode::Auto);
        assert_eq!((settings.deletes, &settings.filter), (Deletes::Keep, &Filter::default()));
        assert_eq!(settings.target_key(&Key::new("k").unwrap()).unwrap().as_str(), "k");
    }

    #[test]
    fn every_option_is_read() {
        let settings = with(&[
            ("TARGET_PREFIX", "from china/"),
            ("LOG_LEVEL", "DEBUG"),
            ("MEMORY_THRESHOLD_MB", "0"),
            ("INCLUDE", r#"["*.log"]"#),
            ("EXCLUDE", r#"["*", "x"]"#),
            ("SYNC_DELETES", "true"),
            ("TARGET_STORAGE_CLASS", "STANDARD_IA"),
            ("TARGET_KMS_KEY_ID", "arn:aws:kms:us-west-2:111122223333:alias/data"),
            ("ETAG_MODE", "preserve"),
            ("SOURCE_ENDPOINT_URL", "http://127.0.0.1:9000"),
            ("TARGET_ENDPOINT_URL", "https://127.0.0.1:9001"),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "https://127.0.0.1:9002"),
            ("AWS_CA_BUNDLE", "/opt/roots.pem"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("AWS_SESSION_TOKEN", "token"),
            ("AWS_LAMBDA_FUNCTION_NAME", "S3CrossPartitionSync"),
        ])
        .unwrap();
        assert_eq!(settings.target_key(&Key::new("k").unwrap()).unwrap().as_str(), "from china/k");
        assert_eq!(settings.log_level, Level::DEBUG);
        assert_eq!(settings.memory_threshold, 0);
        let rules =
            vec![Rule::Exclude(Glob::new("*")), Rule::Exclude(Glob::new("x")), Rule::Include(Glob::new("*.log"))];
        assert_eq!(settings.filter, Filter::new(rules));
        assert_eq!(settings.deletes, Deletes::Follow);
        assert_eq!(with(&[("SYNC_DELETES", "false")]).unwrap().deletes, Deletes::Keep);
        assert_eq!(settings.storage_class.as_deref(), Some("STANDARD_IA"));
        assert_eq!(settings.kms_key.as_deref(), Some("arn:aws:kms:us-west-2:111122223333:alias/data"));
        assert_eq!(settings.etag_mode, EtagMode::Preserve);
        assert_eq!(settings.source.endpoint, Endpoint::overridden("http://127.0.0.1:9000").unwrap());
        assert_eq!(settings.target.endpoint, Endpoint::overridden("https://127.0.0.1:9001").unwrap());
        assert_eq!(settings.secrets_endpoint.as_deref(), Some("https://127.0.0.1:9002"));
        assert_eq!(settings.ca_bundle, Some(PathBuf::from("/opt/roots.pem")));
        assert_eq!(settings.heap_budget, 16 * MIB);
        assert_eq!(settings.source_credentials.session_token(), Some("token"));
        assert_eq!(settings.function_name.as_deref(), Some("S3CrossPartitionSync"));
    }

    #[test]
    fn an_empty_environment_names_everything_that_is_required() {
        let problems = FunctionSettings::from_pairs(std::iter::empty()).unwrap_err();
        let expected: Vec<_> = REQUIRED.iter().map(|(name, _)| format!("{name} is not set")).collect();
        let mut found = problems.all().to_vec();
        found.sort_by_key(|problem| expected.iter().position(|known| known == problem));
        assert_eq!(found, expected);
        assert!(
            problems
                .to_string()
                .starts_with("the function's environment variables have 7 problems: SOURCE_REGION is not set; ")
        );
    }

    #[test]
    fn an_empty_variable_is_unset() {
        assert_eq!(
            with(&[("LOG_LEVEL", ""), ("INCLUDE", ""), ("LARGE_OBJECT_STATE_MACHINE_ARN", "")]).unwrap().log_level,
            Level::INFO
        );
        let problems = with(&[("SECRET_ID", "")]).unwrap_err();
        assert_eq!(problems.to_string(), "the function's environment variables have a problem: SECRET_ID is not set");
    }

    #[test]
    fn each_wrong_value_is_named_with_what_is_wrong() {
        let check = |name: &str, value: &str, expected: &str| {
            let problems = with(&[(name, value)]).unwrap_err();
            assert_eq!(problems.all().len(), 1, "{problems}");
            assert!(problems.all()[0].starts_with(expected), "{problems}");
        };
        check("SOURCE_REGION", "mars", "SOURCE_REGION: `mars` is not a region");
        check("TARGET_BUCKET", "a/b", "TARGET_BUCKET: `a/b` is not a bucket name");
        check(
            "TARGET_PREFIX",
            &"p".repeat(1024),
            "TARGET_PREFIX is 1024 bytes long; prefix and key together may have at most 1024",
        );
        check("LOG_LEVEL", "LOUD", "LOG_LEVEL: `LOUD` is none of ERROR");
        check("MEMORY_THRESHOLD_MB", "100MB", "MEMORY_THRESHOLD_MB: `100MB` is not a whole number of MB");
        check("MEMORY_THRESHOLD_MB", "+1", "MEMORY_THRESHOLD_MB: `+1` is not");
        check("MEMORY_THRESHOLD_MB", "17592186044416", "MEMORY_THRESHOLD_MB: `17592186044416` is not");
        check(
            "INCLUDE",
            "*.txt",
            "INCLUDE: `*.txt` is not a JSON array of patterns, such as [\"*.jpg\"]: expected value",
        );
        check("EXCLUDE", "[1]", "EXCLUDE: `[1]` is not a JSON array of patterns, such as [\"*.jpg\"]: invalid type");
        check("SYNC_DELETES", "yes", "SYNC_DELETES: `yes` is neither true nor false");
        check(
            "LARGE_OBJECT_STATE_MACHINE_ARN",
            "arn",
            "LARGE_OBJECT_STATE_MACHINE_ARN is not supported by this version",
        );
        check(
            "TARGET_STORAGE_CLASS",
            "Standard",
            "TARGET_STORAGE_CLASS: `Standard` does not look like a storage class",
        );
        check("TARGET_KMS_KEY_ID", "a key", "TARGET_KMS_KEY_ID is not the id");
        check("TARGET_ACCELERATE", "1", "TARGET_ACCELERATE: `1` is neither true nor false");
        check("ETAG_MODE", "keep", "ETAG_MODE: `keep` is none of auto, preserve, any");
        check("SOURCE_ENDPOINT_URL", "localhost", "SOURCE_ENDPOINT_URL: `localhost` is not an endpoint URL");
        check("AWS_ENDPOINT_URL_SECRETS_MANAGER", "ftp://x", "AWS_ENDPOINT_URL_SECRETS_MANAGER: `ftp://x` is not");
        check(
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
            "96",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE: `96` MB is too little: 96 MB are reserved",
        );
    }

    #[test]
    fn acceleration_is_refused_where_it_cannot_be() {
        let accelerate = ("TARGET_ACCELERATE", "true");
        let region = Region::new("us-west-2").unwrap();
        let expected = Endpoint::accelerated(&region, &Bucket::new("gl-data").unwrap()).unwrap();
        assert_eq!(with(&[accelerate]).unwrap().target.endpoint, expected);
        let check = |change, expected: &str| {
            assert_eq!(with(&[accelerate, change]).unwrap_err().all(), [expected]);
        };
        let china = "TARGET_ACCELERATE: S3 Transfer Acceleration does not exist in cn-north-1";
        check(("TARGET_REGION", "cn-north-1"), china);
        let dotted =
            "TARGET_ACCELERATE: S3 Transfer Acceleration cannot serve bucket `a.b`: its name has dots or capitals";
        check(("TARGET_BUCKET", "a.b"), dotted);
        check(
            ("TARGET_ENDPOINT_URL", "https://h"),
            "TARGET_ACCELERATE and TARGET_ENDPOINT_URL cannot be used together: remove one",
        );
    }

    #[test]
    fn a_bucket_is_not_copied_into_itself() {
        let same = [("TARGET_REGION", "cn-northwest-1"), ("TARGET_BUCKET", "cn-data")];
        assert!(with(&same).unwrap_err().all()[0].starts_with("TARGET_BUCKET is the source bucket: every copy"));
        assert!(with(&same[1..]).is_ok());
    }

    #[test]
    fn all_problems_are_told_at_once_and_no_secret() {
        let problems = with(&[("SOURCE_REGION", "x"), ("ETAG_MODE", "x"), ("AWS_ACCESS_KEY_ID", "")]).unwrap_err();
        assert_eq!(problems.all().len(), 3);
        assert!(!problems.to_string().contains("hidden"));
        assert!(!format!("{:?}", with(&[("AWS_SESSION_TOKEN", "veiled")]).unwrap()).contains("hidden"));
        assert!(!format!("{:?}", with(&[("AWS_SESSION_TOKEN", "veiled")]).unwrap()).contains("veiled"));
    }

    #[test]
    fn a_prefix_can_make_a_key_too_long() {
        let settings = with(&[("TARGET_PREFIX", "p/")]).unwrap();
        assert!(settings.target_key(&Key::new(&"k".repeat(1022)).unwrap()).is_ok());
        assert_eq!(settings.target_key(&Key::new(&"k".repeat(1023)).unwrap()), Err(Invalid::Key(1025)));
    }

    #[test]
    fn sizes_are_powers_of_1024_however_they_are_spelled() {
        let check = |text: &str, expected: u64| assert_eq!(parse_size(text), Ok(expected));
        check("0", 0);
        check("67108864", 64 * MIB);
        for text in ["64M", "64MB", "64Mi", "64MiB", "64mib", "64mb"] {
            check(text, 64 * MIB);
        }
        check("1k", 1 << 10);
        check("3G", 3 << 30);
        check("48TiB", 48 << 40);
        check("16777215T", 16_777_215 << 40);
        for bad in ["", "M", "1.5G", "-1", "+1", "1 M", "1P", "1Bi", "10B", "16777216T", "18446744073709551616", "１M"]
        {
            assert_eq!(parse_size(bad), Err(InvalidSize(bad.to_owned())));
        }
    }
}

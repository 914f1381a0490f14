//! Who may sign, and everything about a signature that s3s does not check.
//!
//! s3s compares the signature itself. It does not know the server's region, takes signed headers that are absent for
//! present ones, lets headers of S3's own go unsigned, and has its own clock; S3 is strict about all of these, so they
//! are decided here first.

use crate::s3::refusal::Refusal;
use http::HeaderMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How far a request's time may be from the server's
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>, RequestTimeTooSkewed).
const SKEW: Duration = Duration::from_mins(15);

/// A caller's credentials as the server knows them.
#[derive(Clone, Eq, PartialEq)]
pub struct KeyPair {
    /// The access key id.
    pub access_key: String,
    /// The secret.
    pub secret_key: String,
    /// Temporary credentials have one, and requests must bring it.
    pub session_token: Option<String>,
    /// Whether the token has expired.
    pub expired: bool,
}

impl KeyPair {
    /// Long-lived credentials.
    #[must_use]
    pub fn new(access_key: &str, secret_key: &str) -> Self {
        Self {
            access_key: access_key.to_owned(),
            secret_key: secret_key.to_owned(),
            session_token: None,
            expired: false,
        }
    }

    /// The same with a session token.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.session_token = Some(token.to_owned());
        self
    }

    /// The same, expired: every request gets `ExpiredToken`.
    #[must_use]
    pub fn expired(mut self) -> Self {
        self.expired = true;
        self
    }
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPair").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// The key pairs that a server accepts, changeable while it runs.
#[derive(Debug, Default)]
pub struct Keys {
    pairs: Mutex<Vec<KeyPair>>,
}

impl Keys {
    fn pairs(&self) -> MutexGuard<'_, Vec<KeyPair>> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on exactly these are accepted.
    pub fn set(&self, pairs: Vec<KeyPair>) {
        *self.pairs() = pairs;
    }

    /// Accepts one more.
    pub fn add(&self, pair: KeyPair) {
        self.pairs().push(pair);
    }

    /// Accepts this access key no longer.
    pub fn remove(&self, access_key: &str) {
        self.pairs().retain(|pair| pair.access_key != access_key);
    }

    pub(crate) fn find(&self, access_key: &str) -> Option<KeyPair> {
        self.pairs().iter().find(|pair| pair.access_key == access_key).cloned()
    }
}

/// Decides everything about a request's authorization but the signature itself.
///
/// # Errors
/// The refusals that S3 documents for each.
pub(crate) fn check(headers: &HeaderMap, keys: &Keys, region: &str, now: SystemTime) -> Result<(), Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let authorization = text("authorization").ok_or_else(|| Refusal::of("AccessDenied"))?;
    let malformed = || Refusal::of("AuthorizationHeaderMalformed");
    let fields = authorization.strip_prefix("AWS4-HMAC-SHA256").ok_or_else(malformed)?;
    let field = |name: &str| {
        let mut fields = fields.split(',').map(str::trim);
        fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
    };
    let scope: Vec<&str> = field("Credential").ok_or_else(malformed)?.split('/').collect();
    let [access_key, _, signed_region, _, _] = scope[..] else { return Err(malformed()) };
    let pair =
        keys.find(access_key).ok_or_else(|| Refusal::of("InvalidAccessKeyId").detail("AWSAccessKeyId", access_key))?;
    if signed_region != region {
        let message = format!(
            "The authorization header is malformed; the region '{signed_region}' is wrong; expecting '{region}'"
        );
        let refusal = malformed().because(message).detail("Region", region);
        return Err(match region.parse() {
            Ok(region) => refusal.header(http::HeaderName::from_static("x-amz-bucket-region"), region),
            Err(_) => refusal,
        });
    }
    check_time(text("x-amz-date"), now)?;
    check_signed(headers, field("SignedHeaders").ok_or_else(malformed)?)?;
    if pair.expired {
        return Err(Refusal::of("ExpiredToken").detail("Token-0", pair.session_token.unwrap_or_default()));
    }
    match (&pair.session_token, text("x-amz-security-token")) {
        (None, None) => Ok(()),
        (Some(token), Some(given)) if token == given => Ok(()),
        // Without its token a temporary key does not exist for S3.
        (Some(_), None) => Err(Refusal::of("InvalidAccessKeyId").detail("AWSAccessKeyId", access_key)),
        (_, Some(given)) => Err(Refusal::of("InvalidToken").detail("Token-0", given)),
    }
}

fn check_time(text: Option<&str>, now: SystemTime) -> Result<(), Refusal> {
    let denied =
        || Refusal::of("AccessDenied").because("AWS authentication requires a valid Date or x-amz-date header");
    let text = text.ok_or_else(denied)?;
    let time = parse_date(text).ok_or_else(denied)?;
    let skew = now.duration_since(time).unwrap_or_else(|early| early.duration());
    if skew <= SKEW {
        return Ok(());
    }
    Err(Refusal::of("RequestTimeTooSkewed")
        .detail("RequestTime", text)
        .detail("ServerTime", iso(now))
        .detail("MaxAllowedSkewMilliseconds", SKEW.as_millis().to_string()))
}

/// S3 wants the host and all headers of its own signed, and every signed header there.
fn check_signed(headers: &HeaderMap, signed: &str) -> Result<(), Refusal> {
    let signed: Vec<&str> = signed.split(';').collect();
    if let Some(missing) = signed.iter().find(|name| !headers.contains_key(**name)) {
        return Err(Refusal::of("SignatureDoesNotMatch").detail("MissingHeader", *missing));
    }
    let must = headers.keys().filter(|name| {
        let name = name.as_str();
        name == "host" || name == "content-md5" || name.starts_with("x-amz-")
    });
    let unsigned: Vec<&str> = must.map(http::HeaderName::as_str).filter(|name| !signed.contains(name)).collect();
    if unsigned.is_empty() {
        return Ok(());
    }
    Err(Refusal::of("AccessDenied")
        .because("There were headers present in the request which were not signed")
        .detail("HeadersNotSigned", unsigned.join(", ")))
}

/// Reads `20130524T000000Z`.
fn parse_date(text: &str) -> Option<SystemTime> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u64>().ok();
    if text.len() != 16 || &text[8..9] != "T" || !text.ends_with('Z') {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    let (hour, minute, second) = (number(9..11)?, number(11..13)?, number(13..15)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days since 1970 by counting years from March, so that the leap day is the last of one.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(UNIX_EPOCH + Duration::from_secs(days * 86_400 + hour * 3_600 + minute * 60 + second))
}

fn iso(time: SystemTime) -> String {
    let mut text = Vec::new();
    let written = s3s::dto::Timestamp::from(time).format(s3s::dto::TimestampFormat::DateTime, &mut text);
    written.map_or_else(|_| String::new(), |()| String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_seconds_since_1970() {
        for (text, seconds) in [
            ("19700101T000000Z", Some(0)),
            ("20130524T000000Z", Some(1_369_353_600)),
            ("20240229T235959Z", Some(1_709_251_199)),
            ("20240301T000000Z", Some(1_709_251_200)),
            ("2024-03-01T00:00Z", None),
        ] {
            let time = parse_date(text).and_then(|time| Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs()));
            assert_eq!(time, seconds, "{text}");
        }
    }
}

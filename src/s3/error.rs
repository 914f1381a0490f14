//! What S3 says when it says no, and which class of refusal it is.
//!
//! The class is decided here, once; policy reads the class and never a string. Codes are from "Error responses" of the
//! S3 API reference and from the retry tables of AWS's SDKs.

use crate::s3::http::message::{Head, Unreadable};
use crate::s3::http::operation::{Idempotence, Operation, ReplyIn};
use crate::s3::xml;
use serde::Deserialize;
use std::time::Duration;

/// What can be done about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// S3 asks for less.
    Throttled,
    /// The same request may succeed in a moment.
    Transient,
    /// It may have happened; look before trying again.
    Ambiguous,
    /// The condition that the request carried did not hold.
    Precondition,
    /// The key, version or upload is not there.
    Missing,
    /// Nothing but a person will help.
    Refused,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// The bucket is in another region, named if S3 named it.
    Region(Option<String>),
    /// Our clock is off; the reply's `Date` says by how much.
    Clock,
    Credentials,
}

/// A request that S3 refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The operation's name.
    pub(crate) operation: &'static str,
    /// The bucket.
    pub(crate) bucket: String,
    /// The key, for operations on one.
    pub(crate) key: Option<String>,
    /// The HTTP status.
    pub status: u16,
    /// S3's code, or one made of the status where no document came with it (HEAD), or none that could be read.
    pub code: String,
    /// S3's sentence; empty where no document came with it.
    pub(crate) message: String,
    /// `x-amz-request-id`.
    pub(crate) request_id: Option<String>,
    /// `x-amz-id-2`.
    pub(crate) host_id: Option<String>,
    /// Its class.
    pub(crate) class: Class,
    /// What a single other attempt could mend.
    pub(crate) remedy: Option<Remedy>,
    /// Whether the answer came from a delete marker.
    pub(crate) delete_marker: bool,
    /// `x-amz-retry-after`: at least so long to wait.
    pub(crate) retry_after: Option<Duration>,
    /// The server's time of the reply, in seconds since 1970.
    pub(crate) server_time: Option<i64>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} refused with {} {}", self.operation, self.status, self.code)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

/// The `Error` document. Every field can be missing: it is read for whatever it says.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ErrorDocument {
    /// The code.
    pub code: String,
    /// The sentence.
    pub message: String,
    /// The request id, where the header is missing.
    pub request_id: Option<String>,
    /// The host id, where the header is missing.
    pub host_id: Option<String>,
    /// The right region, in `AuthorizationHeaderMalformed`.
    pub region: Option<String>,
}

impl ErrorDocument {
    /// Reads it; `None` if the body is not an `Error` document.
    pub fn read(body: &[u8]) -> Option<Self> {
        xml::read(body, "Error").ok()
    }
}

impl Refusal {
    /// Reads a refusal from status, headers and whatever body there is.
    pub fn read<O: Operation>(operation: &O, head: &Head, body: &[u8]) -> Self {
        let document = ErrorDocument::read(body).unwrap_or_default();
        let status = head.status.as_u16();
        let region = head.text("x-amz-bucket-region").map(str::to_owned).or(document.region);
        let remedy = match document.code.as_str() {
            "" => remedy_without_code(status, region),
            code => remedy(code, region),
        };
        let code = if document.code.is_empty() { code_of(status) } else { document.code };
        let delete_marker = head.text("x-amz-delete-marker") == Some("true");
        let repeat = O::IDEMPOTENCE;
        Self {
            operation: O::NAME,
            bucket: operation.bucket().as_str().to_owned(),
            key: operation.key().map(|key| key.as_str().to_owned()),
            status,
            class: if delete_marker { Class::Missing } else { classify(status, &code, repeat) },
            remedy,
            code,
            message: document.message,
            request_id: head.text("x-amz-request-id").map(str::to_owned).or(document.request_id),
            host_id: head.text("x-amz-id-2").map(str::to_owned).or(document.host_id),
            delete_marker,
            retry_after: head.number("x-amz-retry-after").map(Duration::from_millis),
            server_time: head.text("date").and_then(http_date),
        }
    }

    /// Whether it says no more than that it refuses: the answer to a HEAD, which has no document to name a code in.
    pub(crate) fn has_no_code(&self) -> bool {
        matches!(self.status, 400 | 403) && self.message.is_empty()
    }

    /// Whether it says that the object is *gone*: a GET that names NoSuchKey or was answered by a delete marker. A HEAD
    /// cannot say it: its 404 may be a missing bucket.
    pub fn says_gone(&self) -> bool {
        self.operation == "GetObject" && self.status == 404 && (self.code == "NoSuchKey" || self.delete_marker)
    }
}

/// Reads the date of a header.
pub fn http_date(text: &str) -> Option<i64> {
    use aws_smithy_types::date_time::{DateTime, Format};
    DateTime::from_str(text, Format::HttpDate).ok().map(|time| time.secs())
}

/// A code for a refusal without a document.
fn code_of(status: u16) -> String {
    match status {
        // An error in a 200 that breaks off before its code, or a success that was not promised: SDKs count both as
        // 500.
        200..=299 => "InternalError",
        301 => "PermanentRedirect",
        307 => "TemporaryRedirect",
        400 => "BadRequest",
        403 => "AccessDenied",
        404 => "NotFound",
        405 => "MethodNotAllowed",
        409 => "Conflict",
        412 => "PreconditionFailed",
        416 => "InvalidRange",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        other => return format!("Status{other}"),
    }
    .to_owned()
}

fn classify(status: u16, code: &str, repeat: Idempotence) -> Class {
    match code {
        "SlowDown"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "TooManyRequests"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "BandwidthLimitExceeded"
        | "LimitExceededException"
        | "PriorRequestNotComplete"
        | "ProvisionedThroughputExceededException" => Class::Throttled,
        // A body that was damaged or cut on its way is sent again: the bytes here are right.
        // ServiceUnavailable is named here for the 200 that hides it: its own status would say as much.
        "RequestTimeout"
        | "RequestTimeoutException"
        | "IncompleteBody"
        | "BadDigest"
        | "OperationAborted"
        | "ServiceUnavailable" => Class::Transient,
        // "Amazon S3 error best practices": an InternalError may or may not have been carried out.
        "InternalError" | "InternalErrors" => match repeat {
            Idempotence::Idempotent => Class::Transient,
            Idempotence::NotIdempotent => Class::Ambiguous,
        },
        "PreconditionFailed" | "ConditionalRequestConflict" => Class::Precondition,
        "NoSuchKey" | "NoSuchVersion" | "NoSuchUpload" => Class::Missing,
        "NoSuchBucket" => Class::Refused,
        _ => match (status, repeat) {
            (429, _) => Class::Throttled,
            (503, _) => Class::Transient,
            (500 | 502 | 504, Idempotence::Idempotent) => Class::Transient,
            (500 | 502 | 504, Idempotence::NotIdempotent) => Class::Ambiguous,
            (412, _) => Class::Precondition,
            (404, _) => Class::Missing,
            _ => Class::Refused,
        },
    }
}

fn remedy(code: &str, region: Option<String>) -> Option<Remedy> {
    match code {
        "PermanentRedirect"
        | "TemporaryRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException" => Some(Remedy::Region(region)),
        "RequestTimeTooSkewed" => Some(Remedy::Clock),
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidToken"
        | "TokenRefreshRequired" => Some(Remedy::Credentials),
        _ => None,
    }
}

/// A HEAD is refused without a document, so what could be mended has to be guessed from the status.
fn remedy_without_code(status: u16, region: Option<String>) -> Option<Remedy> {
    match (status, region) {
        (301 | 307, region) => Some(Remedy::Region(region)),
        // A region in the header says that another one is meant.
        (400, Some(region)) => Some(Remedy::Region(Some(region))),
        // Expired tokens are a bare 400, unknown keys and wrong signatures a bare 403, as is a missing right.
        (400 | 403, _) => Some(Remedy::Credentials),
        _ => None,
    }
}

/// Reads a whole reply: what was asked for, or why not. The one place where a reply's root element decides.
///
/// # Errors
/// [`Failure::Refused`] if the status or the root element says so, [`Failure::Unreadable`] if neither an answer nor
/// an error can be read.
pub fn read<O: Operation>(operation: &O, head: &Head, body: &[u8]) -> Result<O::Reply, Failure> {
    let refused = || Failure::Refused(Box::new(Refusal::read(operation, head, body)));
    if !O::ACCEPTS.contains(&head.status) {
        return Err(refused());
    }
    match O::REPLY_IN {
        ReplyIn::Stream => {}
        ReplyIn::Head | ReplyIn::Document => {
            if xml::root(body).as_deref() == Some("Error") {
                return Err(refused());
            }
        }
    }
    operation.reply(head, body).map_err(Failure::Unreadable)
}

/// Why a reply is not what was asked for.
#[derive(Debug)]
pub enum Failure {
    /// S3 said no.
    Refused(Box<Refusal>),
    /// Nobody can say what S3 said.
    Unreadable(Unreadable),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::bucket::HeadBucket;
    use crate::s3::object::get::GetObject;
    use crate::s3::object::put::PutObject;
    use crate::s3::{Bucket, Key};
    use http::StatusCode;

    fn head(status: u16, headers: &[(&'static str, &str)]) -> Head {
        Head {
            status: StatusCode::from_u16(status).unwrap(),
            headers: headers.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect(),
        }
    }

    fn get() -> GetObject {
        GetObject::whole(Bucket::new("bucket").unwrap(), Key::new("key").unwrap())
    }

    #[test]
    fn a_document_and_its_ids_are_carried() {
        let body = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code><Message>The specified key does not \
            exist.</Message><Key>key</Key><RequestId>body-id</RequestId><HostId>host</HostId></Error>";
        let refusal = Refusal::read(&get(), &head(404, &[("x-amz-request-id", "id")]), body);
        assert_eq!((refusal.status, refusal.code.as_str(), refusal.class), (404, "NoSuchKey", Class::Missing));
        assert_eq!((refusal.request_id.as_deref(), refusal.host_id.as_deref()), (Some("id"), Some("host")));
        assert_eq!((refusal.bucket.as_str(), refusal.key.as_deref()), ("bucket", Some("key")));
        assert!(refusal.says_gone());
        assert_eq!(refusal.to_string(), "GetObject refused with 404 NoSuchKey: The specified key does not exist.");
    }

    #[test]
    fn only_a_get_that_names_the_key_says_gone() {
        let gone = |status, code: &str, marker: &'static str| {
            let body = format!("<Error><Code>{code}</Code></Error>");
            Refusal::read(&get(), &head(status, &[("x-amz-delete-marker", marker)]), body.as_bytes()).says_gone()
        };
        assert!(gone(404, "NoSuchKey", "false"));
        assert!(gone(404, "Whatever", "true"));
        assert!(!gone(404, "NoSuchBucket", "false"));
        assert!(!gone(403, "AccessDenied", "false"));
        assert!(!gone(404, "", "false"));
        let bucket = HeadBucket { bucket: Bucket::new("bucket").unwrap() };
        assert!(!Refusal::read(&bucket, &head(404, &[("x-amz-delete-marker", "true")]), b"").says_gone());
    }

    #[test]
    fn each_code_has_its_class() {
        let check = |status, code: &str, expected| {
            let body = if code.is_empty() { String::new() } else { format!("<Error><Code>{code}</Code></Error>") };
            assert_eq!(Refusal::read(&get(), &head(status, &[]), body.as_bytes()).class, expected, "{status} {code}");
        };
        check(503, "SlowDown", Class::Throttled);
        check(503, "ServiceUnavailable", Class::Transient);
        check(503, "", Class::Transient);
        check(500, "InternalError", Class::Transient);
        check(400, "RequestTimeout", Class::Transient);
        check(400, "BadDigest", Class::Transient);
        check(409, "OperationAborted", Class::Transient);
        check(409, "ConditionalRequestConflict", Class::Precondition);
        check(412, "", Class::Precondition);
        check(404, "", Class::Missing);
        check(404, "NoSuchBucket", Class::Refused);
        check(404, "NoSuchUpload", Class::Missing);
        check(403, "AccessDenied", Class::Refused);
        check(429, "", Class::Throttled);
        check(403, "InvalidObjectState", Class::Refused);
        check(418, "", Class::Refused);
    }

    #[test]
    fn an_internal_error_on_a_write_may_have_happened() {
        let put = PutObject::new(Bucket::new("bucket").unwrap(), Key::new("key").unwrap(), bytes::Bytes::new());
        let refusal = Refusal::read(&put, &head(500, &[]), b"");
        assert_eq!((refusal.class, refusal.code.as_str()), (Class::Ambiguous, "InternalError"));
    }

    #[test]
    fn what_one_other_attempt_can_mend_is_named() {
        let check = |status, code: &str, headers: &[(&'static str, &str)], expected| {
            let body = format!("<Error><Code>{code}</Code><Region>eu-west-1</Region></Error>");
            assert_eq!(Refusal::read(&get(), &head(status, headers), body.as_bytes()).remedy, expected, "{code}");
        };
        let region = |name: &str| Some(Remedy::Region(Some(name.to_owned())));
        check(400, "AuthorizationHeaderMalformed", &[], region("eu-west-1"));
        check(301, "PermanentRedirect", &[("x-amz-bucket-region", "us-west-2")], region("us-west-2"));
        check(403, "RequestTimeTooSkewed", &[], Some(Remedy::Clock));
        check(403, "InvalidAccessKeyId", &[], Some(Remedy::Credentials));
        check(400, "ExpiredToken", &[], Some(Remedy::Credentials));
        check(403, "AccessDenied", &[], None);
    }

    #[test]
    fn a_refusal_without_a_document_could_be_about_region_or_keys() {
        let check = |status, headers: &[(&'static str, &str)], expected| {
            let refusal = Refusal::read(&get(), &head(status, headers), b"");
            assert_eq!(refusal.remedy, expected, "{status}");
        };
        let region = [("x-amz-bucket-region", "us-west-2")];
        check(301, &region, Some(Remedy::Region(Some("us-west-2".into()))));
        check(307, &[], Some(Remedy::Region(None)));
        check(400, &region, Some(Remedy::Region(Some("us-west-2".into()))));
        check(400, &[], Some(Remedy::Credentials));
        check(403, &region, Some(Remedy::Credentials));
        check(404, &region, None);
        check(503, &[], None);
    }

    #[test]
    fn dates_and_waits_are_read() {
        let headers = [("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-retry-after", "1500")];
        let refusal = Refusal::read(&get(), &head(503, &headers), b"");
        assert_eq!(refusal.server_time, Some(1_369_353_600));
        assert_eq!(refusal.retry_after, Some(Duration::from_millis(1500)));
    }
}

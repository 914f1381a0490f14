//! Why a payload, or one record of it, was not accepted: what was found and what was expected.
//!
//! Foreign text is shown quoted and cut short: it ends up in logs and in callers' error messages.

use crate::engine::fault::{Fault, FaultClass};
use crate::engine::report::{ObjectRef, Report};
use crate::s3::{Bucket, Invalid};
use thiserror::Error;

/// What is accepted, for every message about something that is not.
const EXPECTED: &str = "expected an EventBridge event of aws.s3, {\"test_key\": \"path/to/file\"}, S3 notification \
                        records, an SQS batch of these (SNS-wrapped, dead letters and on-failure records included), \
                        {\"op\": \"continue\"}, or {\"op\": \"sweep\"}";

/// A payload or record that asks for nothing this function does.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotAccepted {
    /// It cannot be parsed.
    #[error("found what is not JSON ({0}); {EXPECTED}")]
    NotJson(String),
    /// A shape that was not recognised.
    #[error("found {found}, which this function does not accept; {EXPECTED}")]
    Unknown {
        /// What it looks like.
        found: String,
    },
    /// A shape that was recognised, for work that this version does not do.
    #[error("{0} is not supported by this version; {EXPECTED}")]
    NotOffered(&'static str),
    /// An event without a field that it must have.
    #[error("{event} has no field `{field}`, or it is not a string")]
    Missing {
        /// The field.
        field: &'static str,
        /// The event it is missing from.
        event: String,
    },
    /// An event about a bucket that this function does not read.
    #[error("the event is about bucket {found}, but this function reads only `{configured}`")]
    ForeignBucket {
        /// The bucket in the event, quoted.
        found: String,
        /// The bucket that is read.
        configured: String,
    },
    /// A key that S3 could not hold.
    #[error("the event's key is not a valid S3 key: {0}")]
    Key(#[from] Invalid),
    /// A notification's key that does not decode.
    #[error("key {found} is not URL-encoded, as keys in S3 notifications must be")]
    Encoding {
        /// The key as it came, quoted.
        found: String,
    },
    /// Envelopes around envelopes.
    #[error(
        "the event is wrapped in more than {} envelopes (SQS, SNS, on-failure records)",
        crate::events::refusal::MAX_WRAPPING
    )]
    TooDeep,
}

impl NotAccepted {
    pub(crate) fn unknown(found: impl Into<String>) -> Self {
        Self::Unknown { found: found.into() }
    }

    /// The same as an object's fault, of class `event`.
    pub(crate) fn fault(&self) -> Fault {
        Fault { hint: Some(self.hint()), ..Fault::new(FaultClass::Event, self.to_string()) }
    }

    /// The report of a record that was refused. It has no key, whose place stays empty.
    pub(crate) fn report(&self, source: &Bucket, target: &Bucket) -> Report {
        let place = |bucket: &Bucket| ObjectRef { bucket: bucket.to_string(), ..ObjectRef::default() };
        Report::failed(place(source), place(target), self.fault())
    }

    fn hint(&self) -> String {
        match self {
            Self::ForeignBucket { configured, .. } => {
                format!("Send this function events of `{configured}` only, or change SOURCE_BUCKET.")
            }
            Self::NotOffered(what) if what.contains("sweep") => {
                "Invoke the function directly with {\"op\":\"sweep\"}.".to_owned()
            }
            Self::NotOffered(_) => {
                "Send S3 events through EventBridge, an S3 notification or a queue instead.".to_owned()
            }
            Self::Key(_) => "Find out what sent this event: no S3 object can have this key.".to_owned(),
            Self::Encoding { .. } => "Find out what sent this event: keys in S3 notifications are URL-encoded, so `%` \
                                      must be sent as %25."
                .to_owned(),
            Self::NotJson(_) | Self::Unknown { .. } | Self::Missing { .. } | Self::TooDeep => {
                "Check what invokes this function, and any EventBridge input transformer between S3 and the function."
                    .to_owned()
            }
        }
    }
}

/// Foreign text for a message: without control characters, and not longer than a line.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 100;
    let shown: String = text
        .chars()
        .take(SHOWN)
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect();
    let rest = if text.chars().nth(SHOWN).is_some() { "…" } else { "" };
    format!("`{shown}{rest}`")
}

/// How many envelopes may lie around an event. A redrive of a redrive through SNS has six; beyond this somebody is
/// building a bomb.
pub(crate) const MAX_WRAPPING: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_shown_in_one_short_line() {
        let check = |text: &str, expected: &str| assert_eq!(quoted(text), expected);
        check("plain", "`plain`");
        check("日\n本", "`日\\n本`");
        check(&"é".repeat(100), &format!("`{}`", "é".repeat(100)));
        check(&"é".repeat(101), &format!("`{}…`", "é".repeat(100)));
    }

    #[test]
    fn a_refused_record_is_a_failed_report_without_a_key() {
        let (a, b) = (Bucket::new("cn-data").unwrap(), Bucket::new("gl-data").unwrap());
        let report = NotAccepted::TooDeep.report(&a, &b);
        assert_eq!((report.source.bucket.as_str(), report.source.key.as_str()), ("cn-data", ""));
        let fault = report.fault.unwrap();
        assert_eq!(fault.class, FaultClass::Event);
        assert_eq!(fault.message, "the event is wrapped in more than 8 envelopes (SQS, SNS, on-failure records)");
        assert!(fault.hint.is_some());
    }
}

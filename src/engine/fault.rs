//! Why something was not done: the class of a fault, and what follows from it.

use crate::s3::error::{Class, Refusal, Remedy};
use crate::wire::keys::KeysFault;
use std::fmt;

/// One end of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Where objects are read.
    Source,
    /// Where they are written.
    Target,
}

impl Side {
    /// Its name in messages and logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Target => "target",
        }
    }
}

/// What kind of fault it is: the classes of S3's refusals, and those of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultClass {
    /// S3 asks for less.
    Throttled,
    /// S3 failed; the same request may succeed in a moment.
    Transient,
    /// A write was not answered; it may have been carried out.
    Ambiguous,
    /// Somebody else changed the source or the target meanwhile.
    Precondition,
    /// The source object, a version or an upload is not there.
    Missing,
    /// S3, KMS or Secrets Manager said no.
    Refused,
    /// A connection could not be made or was lost.
    Network,
    /// The time ran out.
    Deadline,
    /// Somebody asked for the end.
    Interrupted,
    /// Memory or /tmp has no room for one part.
    Budget,
    /// Bytes are not what a checksum says.
    Integrity,
    /// Settings, flags or the secret are wrong.
    Configuration,
    /// The event cannot be read.
    Event,
    /// A defect of this program.
    Internal,
}

impl FaultClass {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Transient => "transient",
            Self::Ambiguous => "ambiguous",
            Self::Precondition => "precondition",
            Self::Missing => "missing",
            Self::Refused => "refused",
            Self::Network => "network",
            Self::Deadline => "deadline",
            Self::Interrupted => "interrupted",
            Self::Budget => "budget",
            Self::Integrity => "integrity",
            Self::Configuration => "configuration",
            Self::Event => "event",
            Self::Internal => "internal",
        }
    }

    /// What mends it.
    pub(crate) fn mended_by(self) -> Mender {
        match self {
            Self::Throttled | Self::Transient | Self::Ambiguous | Self::Network | Self::Deadline | Self::Integrity => {
                Mender::Time
            }
            // Somebody writes faster than it can be copied, or the next deployment mends it.
            Self::Precondition | Self::Internal => Mender::AnotherRun,
            Self::Missing | Self::Refused | Self::Interrupted | Self::Budget | Self::Configuration | Self::Event => {
                Mender::Person
            }
        }
    }

    /// Whether parts that arrived are worth keeping: nothing was wrong with them.
    pub(crate) fn keeps_parts(self) -> bool {
        self == Self::Interrupted || (self.mended_by() == Mender::Time && self != Self::Integrity)
    }

    /// Whether the copy starts again from what the source has now, and how often is bounded: bytes were wrong.
    pub(crate) fn is_mismatch(self) -> bool {
        self == Self::Integrity
    }
}

/// Who or what mends a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mender {
    /// The same job may succeed later by itself.
    Time,
    /// Another run of the same job, which begins with what is there then.
    AnotherRun,
    /// A person.
    Person,
}

impl From<Class> for FaultClass {
    fn from(class: Class) -> Self {
        match class {
            Class::Throttled => Self::Throttled,
            Class::Transient => Self::Transient,
            Class::Ambiguous => Self::Ambiguous,
            Class::Precondition => Self::Precondition,
            Class::Missing => Self::Missing,
            Class::Refused => Self::Refused,
        }
    }
}

impl From<KeysFault> for FaultClass {
    fn from(fault: KeysFault) -> Self {
        match fault {
            KeysFault::Refused(class) => class.into(),
            KeysFault::Unreachable => Self::Network,
            KeysFault::Misconfigured => Self::Configuration,
        }
    }
}

/// Why an object failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its kind.
    pub class: FaultClass,
    /// The side that it happened at, if at one.
    pub side: Option<Side>,
    /// The operation of S3 that failed, if one did.
    pub operation: Option<&'static str>,
    /// S3's code.
    pub code: Option<String>,
    /// The HTTP status.
    pub status: Option<u16>,
    /// What happened, in a sentence; [`fmt::Display`] names the side before it.
    pub message: String,
    /// `x-amz-request-id`.
    pub request_id: Option<String>,
    /// `x-amz-id-2`.
    pub(crate) host_id: Option<String>,
    /// The bucket it was about.
    pub(crate) bucket: Option<String>,
    /// The key it was about.
    pub key: Option<String>,
    /// How often the request was sent.
    pub attempts: u32,
    /// What to do about it, in a sentence.
    pub hint: Option<String>,
    /// What another attempt could have mended, of what S3 refused; not reported.
    pub(crate) remedy: Option<Remedy>,
}

impl Fault {
    /// A fault that is not a refusal of S3's.
    pub fn new(class: FaultClass, message: impl Into<String>) -> Self {
        Self {
            class,
            side: None,
            operation: None,
            code: None,
            status: None,
            message: message.into(),
            request_id: None,
            host_id: None,
            bucket: None,
            key: None,
            attempts: 0,
            hint: None,
            remedy: None,
        }
    }

    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A refusal of S3's, after so many attempts.
    pub(crate) fn refused(refusal: &Refusal, attempts: u32) -> Self {
        Self {
            class: refusal.class.into(),
            side: None,
            operation: Some(refusal.operation),
            code: Some(refusal.code.clone()),
            status: Some(refusal.status),
            message: refusal.to_string(),
            request_id: refusal.request_id.clone(),
            host_id: refusal.host_id.clone(),
            bucket: Some(refusal.bucket.clone()),
            key: refusal.key.clone(),
            attempts,
            hint: None,
            remedy: refusal.remedy.clone(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.side {
            Some(side) => write!(f, "{}: {}", side.name(), self.message),
            None => f.write_str(&self.message),
        }
    }
}

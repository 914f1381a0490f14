//! What a call can come to besides a reply.

use crate::s3::error::{Class, Refusal};
use crate::s3::http::operation::Idempotence;
use crate::wire::keys::KeysError;
use crate::wire::net::connect::ConnectError;
use std::io;
use thiserror::Error;

/// A call that gave no reply.
#[derive(Debug, Error)]
pub enum Error {
    /// S3 said no.
    #[error("{refusal}")]
    Refused {
        /// What it said.
        refusal: Box<Refusal>,
        /// How often the request was sent.
        attempts: u32,
    },
    /// No connection could be opened.
    #[error("{source}")]
    Unconnected {
        /// How far it came.
        #[source]
        source: ConnectError,
        /// What was to be sent.
        operation: &'static str,
        /// How often it was tried.
        attempts: u32,
    },
    /// A connection broke, stood still, or said what is no answer.
    #[error("{operation} failed while {}: {source}", stage.doing())]
    Lost {
        /// What was sent.
        operation: &'static str,
        /// How far it came.
        stage: LostAt,
        /// Why.
        #[source]
        source: io::Error,
        /// What sending it again can find.
        repeat: Idempotence,
        /// How often the request was sent.
        attempts: u32,
    },
    /// There are no credentials to sign with.
    #[error("{0}")]
    Keys(KeysError),
    /// The request cannot be put into HTTP.
    #[error("the {operation} request cannot be built: {why}")]
    Unsendable {
        /// What was to be sent.
        operation: &'static str,
        /// What stands in the way.
        why: String,
    },
}

/// How far a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostAt {
    /// Waiting on a connection that had been used before, without a byte of an answer.
    Reused,
    /// Sending it, or waiting for the first byte of the answer.
    Head,
    /// Reading the answer.
    Body,
    /// Understanding the answer, which came whole.
    Reading,
}

impl LostAt {
    fn doing(self) -> &'static str {
        match self {
            Self::Reused => "waiting for the answer on a reused connection",
            Self::Head => "sending the request or waiting for the answer",
            Self::Body => "reading the answer",
            Self::Reading => "interpreting the answer",
        }
    }
}

impl Error {
    /// A read that broke; whoever made the call says of what.
    pub(crate) fn lost(stage: LostAt, source: io::Error) -> Self {
        Self::Lost { operation: "GetObject", stage, source, repeat: Idempotence::Idempotent, attempts: 1 }
    }

    /// A body that was not what its head announced.
    pub(crate) fn body(source: io::Error) -> Self {
        Self::lost(LostAt::Body, source)
    }

    /// The same, said to be of this operation.
    pub(crate) fn for_operation(self, name: &'static str, repeats: Idempotence, sent: u32) -> Self {
        match self {
            Self::Refused { refusal, .. } => Self::Refused { refusal, attempts: sent },
            Self::Unconnected { source, .. } => Self::Unconnected { source, operation: name, attempts: sent },
            Self::Lost { stage, source, .. } => {
                Self::Lost { operation: name, stage, source, repeat: repeats, attempts: sent }
            }
            kept @ (Self::Keys(_) | Self::Unsendable { .. }) => kept,
        }
    }

    /// Its class.
    pub fn class(&self) -> Class {
        match self {
            Self::Refused { refusal, .. } => refusal.class,
            Self::Unconnected { source, .. } if source.may_pass() => Class::Transient,
            Self::Lost { repeat: Idempotence::NotIdempotent, .. } => Class::Ambiguous,
            Self::Lost { repeat: Idempotence::Idempotent, .. } => Class::Transient,
            Self::Unconnected { .. } | Self::Keys(_) | Self::Unsendable { .. } => Class::Refused,
        }
    }

    /// Whether the server answered, again and again, with what is no answer to the question: it does not know it.
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Self::Lost { stage: LostAt::Reading, .. })
    }

    /// What S3 said, if it said something.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal),
            Self::Unconnected { .. } | Self::Lost { .. } | Self::Keys(_) | Self::Unsendable { .. } => None,
        }
    }

    /// S3's code, if it said one.
    pub fn code(&self) -> Option<&str> {
        self.refusal().map(|refusal| refusal.code.as_str())
    }
}

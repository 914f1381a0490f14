//! What is asked, without the type of the answer: the part of an operation that a transport needs to send it.
//!
//! [`Operation`] knows its reply, so whatever takes one is compiled once for each; what takes an [`Ask`] is compiled once.

use crate::s3::operation::{Answer, Headers, Operation, Pace, Query, Repeat};
use crate::s3::{Bucket, Key};
use bytes::Bytes;
use http::Method;

/// The constants of an operation.
#[derive(Debug, Clone)]
pub struct Facts {
    /// [`Operation::NAME`].
    pub name: &'static str,
    /// [`Operation::METHOD`].
    pub method: Method,
    /// [`Operation::REPEAT`].
    pub repeat: Repeat,
    /// [`Operation::ANSWER`].
    pub answer: Answer,
    /// [`Operation::PACE`].
    pub pace: Pace,
}

/// An operation as it is sent. Every [`Operation`] is one.
pub trait Ask: Send + Sync {
    /// Its constants.
    fn facts(&self) -> Facts;
    /// [`Operation::bucket`].
    fn bucket(&self) -> &Bucket;
    /// [`Operation::key`].
    fn key(&self) -> Option<&Key>;
    /// [`Operation::query`].
    fn query(&self, query: &mut Query);
    /// [`Operation::headers`].
    fn headers(&self, headers: &mut Headers);
    /// [`Operation::body`].
    fn body(&self) -> Bytes;
}

impl<O: Operation> Ask for O {
    fn facts(&self) -> Facts {
        Facts { name: O::NAME, method: O::METHOD, repeat: O::REPEAT, answer: O::ANSWER, pace: O::PACE }
    }

    fn bucket(&self) -> &Bucket {
        Operation::bucket(self)
    }

    fn key(&self) -> Option<&Key> {
        Operation::key(self)
    }

    fn query(&self, query: &mut Query) {
        Operation::query(self, query);
    }

    fn headers(&self, headers: &mut Headers) {
        Operation::headers(self, headers);
    }

    fn body(&self) -> Bytes {
        Operation::body(self)
    }
}

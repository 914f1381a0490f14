//! What a server saw of each request.

use http::header::HeaderMap;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// One request as the server saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// S3's name of the operation, or `Unknown`.
    pub operation: String,
    /// The HTTP method.
    pub method: String,
    /// The bucket, if the address has one.
    pub bucket: String,
    /// The key, decoded.
    pub key: String,
    /// The query as it was sent.
    pub query: String,
    /// The request's headers without its authorization.
    pub headers: HeaderMap,
    /// The status answered; 0 if none was.
    pub status: u16,
    /// The request id answered; empty if none was.
    pub request_id: String,
    /// Body bytes that came in.
    pub received: u64,
    /// Body bytes that went out.
    pub sent: u64,
    /// The number of the connection, from 1.
    pub connection: u64,
}

impl Seen {
    /// A header of the request, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Its If-Match.
    #[must_use]
    pub fn if_match(&self) -> Option<&str> {
        self.header("if-match")
    }

    /// Its If-None-Match.
    #[must_use]
    pub fn if_none_match(&self) -> Option<&str> {
        self.header("if-none-match")
    }

    /// Its Range.
    #[must_use]
    pub fn range(&self) -> Option<&str> {
        self.header("range")
    }

    /// Its User-Agent.
    #[must_use]
    pub fn user_agent(&self) -> Option<&str> {
        self.header("user-agent")
    }
}

/// A record that is still being filled in.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) seen: Seen,
    pub(crate) status: AtomicU16,
    pub(crate) request_id: Mutex<String>,
    pub(crate) received: Arc<AtomicU64>,
    pub(crate) sent: Arc<AtomicU64>,
}

impl Entry {
    pub(crate) fn snapshot(&self) -> Seen {
        let mut seen = self.seen.clone();
        seen.status = self.status.load(Ordering::SeqCst);
        seen.request_id.clone_from(&self.request_id.lock().unwrap_or_else(PoisonError::into_inner));
        seen.received = self.received.load(Ordering::SeqCst);
        seen.sent = self.sent.load(Ordering::SeqCst);
        seen
    }
}

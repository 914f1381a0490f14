//! How patient a client is, and how it names itself.

use std::time::Duration;

/// How patient a client is, and how it names itself.
#[derive(Debug, Clone)]
pub struct Config {
    /// `source` or `target`, in logs.
    pub side: &'static str,
    /// Connections that will be under way at most; the retry budget scales with it.
    pub window: u32,
    /// How long the first byte of an answer may take. S3 answers in 0.2 s, one in a thousand takes 5 s (aws-c-s3);
    /// what the kernel still holds of a body on a slow connection comes on top.
    pub first_byte: Duration,
    /// The same for Complete, which "could take several minutes" ("CompleteMultipartUpload").
    pub slow_first_byte: Duration,
    /// How long a body may stand still, either way.
    pub stall: Duration,
}

impl Config {
    /// Patience for a long, lossy path.
    pub fn new(side: &'static str, window: u32) -> Self {
        Self {
            side,
            window,
            first_byte: Duration::from_secs(30),
            slow_first_byte: Duration::from_secs(300),
            stall: Duration::from_secs(20),
        }
    }
}

//! Bodies of answers.

use crate::wire::body::lease::LeasedConnection;
use crate::wire::error::{Error, LostAt};
use crate::wire::gate::Gate;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming as HyperBody;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The body of a reply, read piece by piece. Dropped before its end, it closes the connection.
pub struct Incoming {
    body: HyperBody,
    stall: Duration,
    received: u64,
    gate: Arc<dyn Gate>,
    finished: Option<LeasedConnection>,
}

impl Incoming {
    pub(crate) fn new(body: HyperBody, stall: Duration, gate: Arc<dyn Gate>, finished: LeasedConnection) -> Self {
        Self { body, stall, received: 0, gate, finished: Some(finished) }
    }

    /// The next bytes; `None` at the end, which is reported only if all that was announced has come.
    ///
    /// # Errors
    /// [`Error::Lost`] at `LostAt::Body` if the connection breaks or nothing comes for too long.
    ///
    /// # Cancel safety
    /// No bytes are lost.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let lost = |source| Error::lost(LostAt::Body, source);
            match timeout(self.stall, self.body.frame()).await {
                Err(_) => {
                    let message = format!("no data for {:?}, after {} bytes", self.stall, self.received);
                    return Err(lost(io::Error::new(io::ErrorKind::TimedOut, message)));
                }
                Ok(Some(Err(error))) => return Err(lost(io::Error::other(error))),
                Ok(Some(Ok(frame))) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.received += bytes.len() as u64;
                        self.gate.moved(bytes.len() as u64);
                        return Ok(Some(bytes));
                    }
                }
                Ok(None) => {
                    if let Some(finished) = self.finished.take() {
                        finished.at_the_end();
                    }
                    return Ok(None);
                }
            }
        }
    }

    /// All that is left, up to `limit` bytes.
    ///
    /// # Errors
    /// As [`Self::next`], and for a body above the limit.
    ///
    /// # Cancel safety
    /// The reply is lost.
    pub(crate) async fn collect(mut self, limit: usize) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        while let Some(bytes) = self.next().await? {
            if all.len() + bytes.len() > limit {
                let message = format!("the reply is larger than the limit of {limit} bytes");
                return Err(Error::lost(LostAt::Reading, io::Error::new(io::ErrorKind::InvalidData, message)));
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all)
    }
}

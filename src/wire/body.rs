//! Bodies on their way: ours, which show how far they got, and S3's, which may not stand still.

use super::call::Finished;
use super::error::{Error, Stage};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming as HyperBody;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::timeout;

/// How much of a body is handed to the connection at once: the grain in which progress is seen.
const PIECE: usize = 64 << 10;

/// The body of a request.
pub(super) struct Outgoing {
    bytes: Bytes,
    sent: Arc<AtomicU64>,
}

impl Outgoing {
    /// A body, and the counter of what the connection has taken of it.
    pub(super) fn new(bytes: Bytes) -> (Self, Arc<AtomicU64>) {
        let sent = Arc::new(AtomicU64::new(0));
        (Self { bytes, sent: Arc::clone(&sent) }, sent)
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.bytes.len().min(PIECE);
        let piece = self.bytes.split_to(length);
        self.sent.fetch_add(length as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

/// The body of a reply, read piece by piece. Dropped before its end, it closes the connection.
pub struct Incoming {
    body: HyperBody,
    stall: Duration,
    received: u64,
    finished: Option<Finished>,
}

impl Incoming {
    pub(super) fn new(body: HyperBody, stall: Duration, finished: Finished) -> Self {
        Self { body, stall, received: 0, finished: Some(finished) }
    }

    /// The next bytes; `None` at the end, which is reported only if all that was announced has come.
    ///
    /// # Errors
    /// [`Error::Lost`] at [`Stage::Body`] if the connection breaks or nothing comes for too long.
    ///
    /// # Cancel safety
    /// No bytes are lost.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let lost = |source| Error::lost(Stage::Body, source);
            match timeout(self.stall, self.body.frame()).await {
                Err(_) => {
                    let message = format!("no byte for {:?} after {} bytes", self.stall, self.received);
                    return Err(lost(io::Error::new(io::ErrorKind::TimedOut, message)));
                }
                Ok(Some(Err(error))) => return Err(lost(io::Error::other(error))),
                Ok(Some(Ok(frame))) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.received += bytes.len() as u64;
                        return Ok(Some(bytes));
                    }
                }
                Ok(None) => {
                    if let Some(finished) = self.finished.take() {
                        finished.at_the_end(self.received);
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
    pub(super) async fn collect(mut self, limit: usize) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        while let Some(bytes) = self.next().await? {
            if all.len() + bytes.len() > limit {
                let message = format!("a reply of more than {limit} bytes");
                return Err(Error::lost(Stage::Sense, io::Error::new(io::ErrorKind::InvalidData, message)));
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all)
    }
}

//! Bodies on their way: ours, which show how far they got, and S3's, which may not stand still.

use crate::s3::aws_chunked::Piece;
use crate::wire::error::{Error, Stage};
use crate::wire::gate::Gate;
use crate::wire::level::{Kept, Level};
use crate::wire::passage::Finished;
use crate::wire::stream::{Fed, Line};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming as HyperBody;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::timeout;

/// How much of a body is handed to the connection at once: the grain in which progress is seen.
const PIECE: u32 = 16 << 10;

/// How much of what a connection has taken is still on this machine: 32 KiB each in hyper, in rustls, and unsent in the
/// kernel. The gate hears of bytes this much later, so that filling these is not taken for goodput.
const ON_THE_WAY: u64 = 96 << 10;

/// Of so many bytes that a connection has taken, those that have left this machine.
pub fn arrived(taken: u64) -> u64 {
    taken.saturating_sub(ON_THE_WAY)
}

/// What the body of a request is made of.
pub(crate) enum Load {
    /// Bytes that are there.
    Whole(Bytes),
    /// Bytes that arrive while they are sent.
    Streamed(Fed),
}

impl Load {
    /// What is left of it, as `Content-Length` counts.
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Streamed(fed) => fed.left(),
        }
    }

    /// Whether its checksum comes behind it.
    pub(crate) fn has_trailer(&self) -> bool {
        match self {
            Self::Whole(_) => false,
            Self::Streamed(fed) => fed.has_trailer(),
        }
    }

    /// A view of how far it gets, by the count of what is taken of its payload.
    pub(crate) fn course(&self, taken: Arc<AtomicU64>) -> Course {
        match self {
            Self::Whole(bytes) => Course { taken, length: bytes.len() as u64, line: None },
            Self::Streamed(fed) => Course { taken, length: fed.line().length(), line: Some(fed.line()) },
        }
    }
}

/// How far a body got, seen from outside.
pub(crate) struct Course {
    taken: Arc<AtomicU64>,
    /// The length of the payload.
    pub(crate) length: u64,
    line: Option<Arc<Line>>,
}

impl Course {
    /// How much of the payload the connection has taken.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Whether it has taken everything.
    pub(crate) fn is_over(&self) -> bool {
        self.line.as_ref().map_or_else(|| self.taken() == self.length, |line| line.is_over())
    }

    /// Whether it would take more, if there were more.
    pub(crate) fn is_hungry(&self) -> bool {
        self.line.as_ref().is_some_and(|line| line.is_hungry())
    }

    /// Whether the body failed by itself: nobody else is to blame for what became of the request.
    pub(crate) fn is_cut(&self) -> bool {
        self.line.as_ref().is_some_and(|line| line.is_cut())
    }
}

/// The body of a request.
pub(crate) struct Outgoing {
    load: Load,
    gate: Arc<dyn Gate>,
    taken: Arc<AtomicU64>,
    kept: Option<Kept>,
}

impl Outgoing {
    /// A body that counts what the connection has taken of it, tells the gate, and keeps to a level.
    pub(crate) fn new(load: Load, gate: Arc<dyn Gate>, taken: Arc<AtomicU64>, level: Option<Arc<Level>>) -> Self {
        Self { load, gate, taken, kept: level.map(|level| Kept::to(level, PIECE)) }
    }
}

/// Bytes of a body of which the gate has not heard when the answer comes.
pub(crate) fn untold(length: u64) -> u64 {
    length.min(ON_THE_WAY)
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let (taken, left) = (self.taken.load(Ordering::Relaxed), self.load.length());
        // What is all but sent is not kept from being answered.
        if let Some(kept) = self.kept.as_mut().filter(|_| left > u64::from(PIECE)) {
            ready!(kept.poll_reached(taken, cx));
        }
        let piece = match &mut self.load {
            Load::Whole(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Load::Whole(bytes) => bytes.split_to(bytes.len().min(PIECE as usize)),
            Load::Streamed(fed) => match ready!(fed.poll_next(PIECE as usize, cx)) {
                Some(Ok(Piece::Data(piece))) => piece,
                Some(Ok(Piece::Frame(frame))) => return Poll::Ready(Some(Ok(Frame::data(frame)))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            },
        };
        let length = piece.len();
        let before = self.taken.fetch_add(length as u64, Ordering::Relaxed);
        let moved = arrived(before + length as u64) - arrived(before);
        if moved > 0 {
            self.gate.moved(moved);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.load.length() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.load.length())
    }
}

/// The body of a reply, read piece by piece. Dropped before its end, it closes the connection.
pub struct Incoming {
    body: HyperBody,
    stall: Duration,
    received: u64,
    gate: Arc<dyn Gate>,
    finished: Option<Finished>,
}

impl Incoming {
    pub(crate) fn new(body: HyperBody, stall: Duration, gate: Arc<dyn Gate>, finished: Finished) -> Self {
        Self { body, stall, received: 0, gate, finished: Some(finished) }
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
                let message = format!("a reply of more than {limit} bytes");
                return Err(Error::lost(Stage::Sense, io::Error::new(io::ErrorKind::InvalidData, message)));
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all)
    }
}

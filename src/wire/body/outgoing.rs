//! Bodies of requests: bytes that are there, or that arrive while they are sent.

use crate::s3::http::aws_chunked::Piece;
use crate::wire::body::pipe::{Pipe, PipeReader};
use crate::wire::body::progress::arrived;
use crate::wire::gate::Gate;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

/// How much of a body is handed to the connection at once: the grain in which progress is seen.
pub(crate) const PIECE: u32 = 16 << 10;

/// What the body of a request is made of.
pub(crate) enum Load {
    /// Bytes that are there.
    Whole(Bytes),
    /// Bytes that arrive while they are sent.
    Streamed(PipeReader),
}

impl Load {
    /// What is left of it, as `Content-Length` counts.
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Streamed(reader) => reader.left(),
        }
    }

    /// Whether its checksum comes behind it.
    pub(crate) fn has_trailer(&self) -> bool {
        match self {
            Self::Whole(_) => false,
            Self::Streamed(reader) => reader.has_trailer(),
        }
    }

    /// A view of how far it gets, by the count of what is taken of its payload.
    pub(crate) fn progress(&self, taken: Arc<AtomicU64>) -> SendProgress {
        match self {
            Self::Whole(bytes) => SendProgress { taken, length: bytes.len() as u64, line: None },
            Self::Streamed(reader) => SendProgress { taken, length: reader.pipe().length(), line: Some(reader.pipe()) },
        }
    }
}

/// How far a body got, seen from outside.
pub(crate) struct SendProgress {
    taken: Arc<AtomicU64>,
    pub(crate) length: u64,
    line: Option<Arc<Pipe>>,
}

impl SendProgress {
    /// How much of the payload the connection has taken.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

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

pub(crate) struct Outgoing {
    load: Load,
    gate: Arc<dyn Gate>,
    taken: Arc<AtomicU64>,
}

impl Outgoing {
    /// A body that counts what the connection has taken of it and tells the gate.
    pub(crate) fn new(load: Load, gate: Arc<dyn Gate>, taken: Arc<AtomicU64>) -> Self {
        Self { load, gate, taken }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = match &mut self.load {
            Load::Whole(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Load::Whole(bytes) => bytes.split_to(bytes.len().min(PIECE as usize)),
            Load::Streamed(reader) => match ready!(reader.poll_next(PIECE as usize, cx)) {
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

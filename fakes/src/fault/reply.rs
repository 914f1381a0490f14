//! The body of a reply on its way out: counted, and cut, flipped, slowed or stalled where a fault says so.
//!
//! Offsets are bytes of the body. Without faults frames pass untouched.

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use s3s::{Body, StdError};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// How long a cut waits, so that what came before it has left. hyper drops what it has buffered when a body fails.
const GRACE: Duration = Duration::from_millis(20);

/// What happens to a body at a place in it.
#[derive(Clone, Debug)]
pub(crate) enum Turn {
    /// The connection ends.
    Cut,
    /// The connection ends with a TCP reset.
    Reset,
    /// One bit of the next byte changes.
    Flip,
    /// Nothing more comes for this long, or for ever.
    Stall(Option<Duration>),
}

/// A body with its faults.
pub(crate) struct Reply {
    body: Body,
    /// Frames that precede the body, and the pause before each.
    lead: Option<(usize, Duration)>,
    /// Pieces of this size with a pause after each.
    pace: Option<(usize, Duration)>,
    /// Turns by offset, the first last.
    turns: Vec<(u64, Turn)>,
    failing: bool,
    offset: u64,
    rest: Bytes,
    pause: Option<Pin<Box<Sleep>>>,
    sent: Arc<AtomicU64>,
    reset: Arc<AtomicBool>,
}

impl Reply {
    pub(crate) fn new(body: Body, sent: Arc<AtomicU64>, reset: Arc<AtomicBool>) -> Self {
        Self {
            body,
            lead: None,
            pace: None,
            turns: Vec::new(),
            failing: false,
            offset: 0,
            rest: Bytes::new(),
            pause: None,
            sent,
            reset,
        }
    }

    /// Adds a turn at an offset.
    pub(crate) fn turn(&mut self, offset: u64, turn: Turn) {
        self.turns.push((offset, turn));
        self.turns.sort_by_key(|(offset, _)| std::cmp::Reverse(*offset));
    }

    /// Sends pieces of at most `bytes`, with a pause after each.
    pub(crate) fn pace(&mut self, bytes: usize, pause: Duration) {
        self.pace = Some((bytes.max(1), pause));
    }

    /// Sends blanks first, one after each pause.
    pub(crate) fn lead(&mut self, blanks: usize, pause: Duration) {
        self.lead = Some((blanks, pause));
    }

    fn sleep(&mut self, time: Duration) {
        self.pause = Some(Box::pin(sleep(time)));
    }

    fn send(&mut self, piece: Bytes) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        self.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl http_body::Body for Reply {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = self.get_mut();
        loop {
            if let Some(pause) = &mut this.pause {
                ready!(pause.as_mut().poll(cx));
                this.pause = None;
                if let Some((blanks, _)) = this.lead {
                    this.lead = (blanks > 1).then_some((blanks - 1, this.lead.map_or(GRACE, |(_, pause)| pause)));
                    return this.send(Bytes::from_static(b" "));
                }
            }
            if this.failing {
                return Poll::Ready(Some(Err("the script ends the connection here".into())));
            }
            if let Some((_, pause)) = this.lead {
                this.sleep(pause);
                continue;
            }
            if let Some((offset, turn)) = this.turns.last()
                && *offset <= this.offset
                && !matches!(turn, Turn::Flip)
            {
                match turn {
                    Turn::Stall(Some(time)) => {
                        let time = *time;
                        this.sleep(time);
                    }
                    // For ever ends with the connection, or when the server stops.
                    Turn::Stall(None) => return Poll::Pending,
                    Turn::Cut | Turn::Reset | Turn::Flip => {
                        this.reset.fetch_or(matches!(turn, Turn::Reset), Ordering::Relaxed);
                        this.failing = true;
                        this.sleep(GRACE);
                    }
                }
                this.turns.pop();
                continue;
            }
            if this.rest.is_empty() {
                match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                    None => return Poll::Ready(None),
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(piece) => this.rest = piece,
                        Err(frame) => return Poll::Ready(Some(Ok(frame))),
                    },
                }
                if this.rest.is_empty() {
                    continue;
                }
            }
            let mut take = this.rest.len();
            if let Some((bytes, pause)) = this.pace {
                take = take.min(bytes);
                this.sleep(pause);
            }
            let mut flips = false;
            if let Some((offset, turn)) = this.turns.last() {
                let before = usize::try_from(offset.saturating_sub(this.offset)).unwrap_or(usize::MAX);
                flips = before == 0 && matches!(turn, Turn::Flip);
                take = if flips { 1 } else { take.min(before) };
            }
            let mut piece = this.rest.split_to(take);
            this.offset += take as u64;
            if flips {
                this.turns.pop();
                let mut changed = BytesMut::from(&piece[..]);
                changed[0] ^= 1;
                piece = changed.freeze();
            }
            return this.send(piece);
        }
    }

    fn size_hint(&self) -> SizeHint {
        // Blanks come on top of the body, whose length is then nobody's to promise.
        if self.lead.is_some() { SizeHint::default() } else { self.body.size_hint() }
    }
}

//! Parts whose bytes arrive while they are sent: a pipe between who has them and the connection that takes them.
//!
//! It holds 64 KiB and no more, so the slower side sets the pace. Which side that is can be seen: a connection
//! that found it empty waits for the source, and its own patience does not run out meanwhile; who waits in
//! `PipeWriter::push` reads nothing from the source. Bytes are digested as they pass, and what is sent behind them is
//! the checksum of just these bytes. Nothing is ever made up for bytes that do not come: the body fails, and with it
//! the connection.

use crate::s3::http::aws_chunked::{Framing, Piece};
use crate::s3::integrity::checksum::{Digests, Kinds, Running};
use crate::s3::multipart::streamed::{Form, StreamedPart};
use crate::wire::error::Error;
use bytes::Bytes;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::{fmt, io};
use thiserror::Error;

/// Bytes that wait in a line: enough for a connection to find some whenever it has room, as much again as hyper holds.
/// A piece that is larger goes in alone.
pub(crate) const QUEUE: usize = 64 << 10;

/// Why bytes were not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PushError {
    /// The part was refused or its connection broke: nobody will read them.
    #[error("the upload that these bytes are for has ended")]
    Unread,
    /// There are more than the part has.
    #[error("the source sent more bytes than the part has")]
    Overfull,
}

/// Why a part that was streamed is not at the target.
#[derive(Debug, Error)]
pub enum StreamError<E> {
    /// The source failed; the target was not asked to take less.
    #[error("reading from the source failed")]
    Source(E),
    /// The source ended too early, and said nothing about it.
    #[error("the source ended the part after {pushed} of {length} bytes")]
    Short {
        /// How many bytes came.
        pushed: u64,
        /// How many were to come.
        length: u64,
    },
    /// The target refused the part or was lost; `Client::again` says whether another attempt is worth it.
    #[error("sending to the target failed")]
    Target(#[source] Error),
}

/// The end of a line into which the bytes of a part go. Dropped before all of them went in, it makes the part fail.
pub struct PipeWriter {
    line: Arc<Pipe>,
    running: Running,
}

impl PipeWriter {
    /// Says what is to be computed of the part, before its first byte.
    pub(crate) fn begin(&mut self, kinds: Kinds) {
        self.running = Running::of(kinds);
    }

    /// Hands over the next bytes, as soon as there is room.
    ///
    /// # Errors
    /// `PushError`; no later bytes will be taken either.
    ///
    /// # Cancel safety
    /// These bytes were not handed over.
    pub async fn push(&mut self, bytes: Bytes) -> Result<(), PushError> {
        let length = bytes.len() as u64;
        if self.running.length() + length > self.line.length {
            self.line.cut();
            return Err(PushError::Overfull);
        }
        poll_fn(|cx| self.line.poll_room(bytes.len(), cx)).await?;
        self.running.update(&bytes);
        let is_all = self.running.length() == self.line.length;
        self.line.put(bytes, is_all.then(|| self.running.clone().finish()));
        Ok(())
    }

    /// How many bytes were handed over.
    pub fn pushed(&self) -> u64 {
        self.running.length()
    }
}

impl fmt::Debug for PipeWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Feed({} of {} bytes)", self.pushed(), self.line.length)
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        if self.running.length() < self.line.length {
            self.line.cut();
        }
    }
}

/// The end of a line from which a connection takes the body of a request.
pub(crate) struct PipeReader {
    pub(crate) line: Arc<Pipe>,
    // None: the bytes as they are.
    framing: Option<Framing>,
    // Bytes of the body that are still to go out.
    left: u64,
}

impl PipeReader {
    pub(crate) fn pipe(&self) -> Arc<Pipe> {
        Arc::clone(&self.line)
    }

    /// How long what is left of the body is.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Whether the checksum comes behind the bytes.
    pub(crate) fn has_trailer(&self) -> bool {
        self.framing.is_some()
    }

    /// What goes out next, payload in pieces of at most `most`; nothing after the last of it.
    pub(crate) fn poll_next(&mut self, most: usize, cx: &mut Context<'_>) -> Poll<Option<io::Result<Piece>>> {
        let next = self.line.poll_next(&mut self.framing, most, cx);
        if let Poll::Ready(Some(Ok(Piece::Data(bytes) | Piece::Frame(bytes)))) = &next {
            self.left = self.left.saturating_sub(bytes.len() as u64);
        }
        next
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        let mut state = self.line.state();
        state.is_unread = true;
        wake(&mut state.feeder);
    }
}

pub(crate) struct Pipe {
    length: u64,
    state: Mutex<PipeState>,
}

#[derive(Default)]
pub(crate) struct PipeState {
    queue: VecDeque<Bytes>,
    queued: usize,
    pushed: u64,
    // Of all bytes, once all went in.
    digests: Option<Digests>,
    end: PipeEnd,
    // The connection has gone.
    is_unread: bool,
    // The connection found nothing when it last looked.
    is_hungry: bool,
    reader: Option<Waker>,
    feeder: Option<Waker>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PipeEnd {
    /// It has not.
    #[default]
    Open,
    /// All of it was handed to the connection.
    Over,
    /// By failing: not all of it will come.
    Cut,
}

pub(crate) fn line(part: &StreamedPart) -> (PipeWriter, PipeReader) {
    let running = Running::default();
    let mut state = PipeState::default();
    if part.length == 0 {
        state.digests = Some(running.clone().finish());
    }
    let framing = match part.form {
        Form::Trailer => Some(Framing::new(part.length)),
        Form::Plain => None,
    };
    if part.body_length() == 0 {
        state.end = PipeEnd::Over;
    }
    let line = Arc::new(Pipe { length: part.length, state: Mutex::new(state) });
    (PipeWriter { line: Arc::clone(&line), running }, PipeReader { line, framing, left: part.body_length() })
}

impl Pipe {
    fn state(&self) -> MutexGuard<'_, PipeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes the payload has.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Whether the connection has taken the whole body.
    pub(crate) fn is_over(&self) -> bool {
        self.state().end == PipeEnd::Over
    }

    /// Whether it is the source that the connection waits for.
    pub(crate) fn is_hungry(&self) -> bool {
        self.state().is_hungry
    }

    /// Whether the body failed because its bytes did not come.
    pub(crate) fn is_cut(&self) -> bool {
        self.state().end == PipeEnd::Cut
    }

    /// Whether the connection has gone before it could have all bytes.
    pub(crate) fn is_abandoned(&self) -> bool {
        let state = self.state();
        state.is_unread && state.end == PipeEnd::Open && state.digests.is_none()
    }

    /// The digests of all bytes, once all went in.
    pub(crate) fn digests(&self) -> Option<Digests> {
        self.state().digests
    }

    pub(crate) fn short<E>(&self) -> StreamError<E> {
        StreamError::Short { pushed: self.state().pushed, length: self.length }
    }

    fn cut(&self) {
        let mut state = self.state();
        // What nobody reads cannot fail any more: it has.
        if state.end == PipeEnd::Open && !state.is_unread {
            state.end = PipeEnd::Cut;
        }
        wake(&mut state.reader);
    }

    fn poll_room(&self, length: usize, cx: &mut Context<'_>) -> Poll<Result<(), PushError>> {
        let mut state = self.state();
        if state.is_unread || state.end == PipeEnd::Cut {
            return Poll::Ready(Err(PushError::Unread));
        }
        if state.queued > 0 && state.queued + length > QUEUE {
            state.feeder = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn put(&self, bytes: Bytes, digests: Option<Digests>) {
        let mut state = self.state();
        if !bytes.is_empty() {
            state.queued += bytes.len();
            state.pushed += bytes.len() as u64;
            state.queue.push_back(bytes);
        }
        if digests.is_some() {
            state.digests = digests;
        }
        wake(&mut state.reader);
    }

    fn poll_next(
        &self,
        framing: &mut Option<Framing>,
        most: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Piece>>> {
        let state = &mut *self.state();
        state.is_hungry = false;
        match state.end {
            PipeEnd::Open => {}
            PipeEnd::Over => return Poll::Ready(None),
            PipeEnd::Cut => return Poll::Ready(Some(Err(cut_off()))),
        }
        let piece = match (state.queue.front_mut(), state.digests, framing.as_mut()) {
            (Some(bytes), _, Some(framing)) => framing.next(bytes, most),
            (Some(bytes), _, None) => Some(Piece::Data(bytes.split_to(bytes.len().min(most)))),
            (None, Some(digests), Some(framing)) => framing.end(digests.crc).map(Piece::Frame),
            (None, Some(_), None) => return Poll::Ready(None),
            (None, None, _) => {
                state.is_hungry = true;
                state.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
        };
        if let Some(Piece::Data(data)) = &piece {
            state.queued -= data.len();
            state.queue.pop_front_if(|front| front.is_empty());
            wake(&mut state.feeder);
        }
        let is_last = match framing {
            Some(_) => matches!(piece, Some(Piece::Frame(_))) && state.queue.is_empty(),
            None => state.queue.is_empty(),
        };
        if is_last && state.digests.is_some() {
            state.end = PipeEnd::Over;
        }
        // Only what was counted when it went in is here, so there is always a next piece.
        Poll::Ready(Some(piece.ok_or_else(cut_off)))
    }
}

pub(crate) fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

pub(crate) fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the source ended before the part was complete")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::{Bucket, Key, PartNumber, UploadId};
    use std::pin::pin;

    fn part(length: u64, form: Form) -> StreamedPart {
        StreamedPart {
            bucket: Bucket::new("bucket").unwrap(),
            key: Key::new("key").unwrap(),
            upload: UploadId::new("id").unwrap(),
            number: PartNumber::FIRST,
            length,
            form,
        }
    }

    fn poll<T>(future: impl Future<Output = T>) -> Poll<T> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    fn push(writer: &mut PipeWriter, bytes: &[u8]) -> Poll<Result<(), PushError>> {
        poll(writer.push(Bytes::copy_from_slice(bytes)))
    }

    fn next(reader: &mut PipeReader) -> Poll<Option<io::Result<Piece>>> {
        reader.poll_next(usize::MAX, &mut Context::from_waker(Waker::noop()))
    }

    /// All that a body gives until it waits or ends.
    fn taken(reader: &mut PipeReader) -> Vec<u8> {
        let mut all = Vec::new();
        while let Poll::Ready(Some(Ok(Piece::Data(bytes) | Piece::Frame(bytes)))) = next(reader) {
            all.extend_from_slice(&bytes);
        }
        all
    }

    const PUSHED: Poll<Result<(), PushError>> = Poll::Ready(Ok(()));

    #[test]
    fn a_source_waits_when_the_queue_is_full_and_goes_on_when_a_piece_is_taken() {
        let (mut writer, mut reader) = line(&part(1 << 20, Form::Plain));
        let pushed = (0..100).take_while(|_| push(&mut writer, &[7; 16 << 10]).is_ready()).count();
        assert_eq!(pushed * (16 << 10), QUEUE);
        assert!(matches!(next(&mut reader), Poll::Ready(Some(Ok(Piece::Data(_))))));
        assert_eq!(push(&mut writer, &[7; 16 << 10]), PUSHED);
        assert!(push(&mut writer, &[7; 16 << 10]).is_pending());
    }

    #[test]
    fn a_piece_larger_than_the_queue_goes_in_alone() {
        let (mut writer, mut reader) = line(&part(1 << 20, Form::Plain));
        assert_eq!(push(&mut writer, &[7; QUEUE + 1]), PUSHED);
        assert!(push(&mut writer, b"a").is_pending());
        assert_eq!(taken(&mut reader).len(), QUEUE + 1);
        assert_eq!(push(&mut writer, b"a"), PUSHED);
    }

    #[test]
    fn bytes_whose_push_was_given_up_are_neither_sent_nor_digested() {
        let (mut writer, mut reader) = line(&part(QUEUE as u64 + 1, Form::Plain));
        assert_eq!(push(&mut writer, &[7; QUEUE]), PUSHED);
        assert!(push(&mut writer, b"b").is_pending());
        assert_eq!(taken(&mut reader).len(), QUEUE);
        assert_eq!(push(&mut writer, b"a"), PUSHED);
        assert_eq!(taken(&mut reader), b"a");
        let all = [&[7; QUEUE][..], b"a"].concat();
        assert_eq!(reader.line.digests(), Some(Digests::of(&all)));
    }

    #[test]
    fn the_trailer_is_of_the_bytes_that_passed() {
        let (mut writer, mut reader) = line(&part(9, Form::Trailer));
        assert_eq!(reader.left(), 58);
        assert_eq!(push(&mut writer, b"12345"), PUSHED);
        let mut body = taken(&mut reader);
        assert!(reader.line.is_hungry() && !reader.line.is_over());
        assert_eq!(push(&mut writer, b"6789"), PUSHED);
        body.extend(taken(&mut reader));
        assert_eq!(body, b"9\r\n123456789\r\n0\r\nx-amz-checksum-crc64nvme:rosUhgp5mIg=\r\n\r\n");
        assert!(reader.line.is_over() && !reader.line.is_hungry());
        assert_eq!(reader.left(), 0);
    }

    #[test]
    fn a_source_that_ends_early_fails_the_body_whatever_was_queued() {
        for form in [Form::Trailer, Form::Plain] {
            let (mut writer, mut reader) = line(&part(9, form));
            assert_eq!(push(&mut writer, b"12345678"), PUSHED);
            drop(writer);
            assert!(matches!(next(&mut reader), Poll::Ready(Some(Err(_)))));
            assert!(reader.line.is_cut() && !reader.line.is_over());
        }
    }

    #[test]
    fn a_source_that_has_more_than_it_said_fails_the_body() {
        let (mut writer, mut reader) = line(&part(4, Form::Plain));
        assert_eq!(push(&mut writer, b"1234"), PUSHED);
        assert_eq!(push(&mut writer, b"5"), Poll::Ready(Err(PushError::Overfull)));
        assert!(matches!(next(&mut reader), Poll::Ready(Some(Err(_)))));
    }

    #[test]
    fn a_source_learns_that_nobody_reads_and_is_not_to_blame() {
        let (mut writer, reader) = line(&part(9, Form::Trailer));
        let line = reader.pipe();
        assert_eq!(push(&mut writer, b"1234"), PUSHED);
        drop(reader);
        assert_eq!(push(&mut writer, b"5"), Poll::Ready(Err(PushError::Unread)));
        drop(writer);
        assert!(line.is_abandoned() && !line.is_cut());
    }

    #[test]
    fn nothing_is_a_part_too() {
        let (writer, mut reader) = line(&part(0, Form::Trailer));
        drop(writer);
        assert_eq!(taken(&mut reader), b"0\r\nx-amz-checksum-crc64nvme:AAAAAAAAAAA=\r\n\r\n");
        let (writer, mut reader) = line(&part(0, Form::Plain));
        drop(writer);
        assert!(reader.line.is_over() && taken(&mut reader).is_empty());
        assert_eq!(reader.line.digests(), Some(Digests::of(b"")));
    }
}

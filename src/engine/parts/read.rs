//! From the source into a slot, or into a part on its way: a GET that goes on from the next byte when it breaks.

use crate::engine::buffer::slot::{Overfull, Sealed, Slot};
use crate::engine::fault::{Fault, FaultClass, Side};
use crate::engine::job::Job;
use crate::engine::notes::Notes;
use crate::engine::report::BufferKind;
use crate::engine::stop::{Stop, fault_at};
use crate::mutation::{self, Mutation};
use crate::s3::ByteRange;
use crate::s3::error::Class;
use crate::s3::http::operation::Operation;
use crate::s3::integrity::checksum::{Digests, Kinds, Running};
use crate::s3::object::get::GetObject;
use crate::s3::object::head::ObjectHead;
use crate::wire::body::incoming::Incoming;
use crate::wire::body::pipe::{PipeWriter, PushError};
use crate::wire::client::attempt::Attempts;
use crate::wire::error::Error;
use crate::wire::gate::UnitKind;
use bytes::Bytes;
use std::io;

/// Bytes that are handed to the disk's thread at once: enough that the hand-over costs little beside the copying.
const BATCH: usize = 1 << 20;

/// Where the bytes of a body go.
trait Sink: Send {
    fn filled(&self) -> u64;

    fn missing(&self) -> u64;

    fn consume(&mut self, body: Incoming) -> impl Future<Output = Result<(), SinkError>> + Send;
}

/// Why a body was not taken to its end.
enum SinkError {
    /// It broke; another GET may go on from there.
    Broken(Error),
    /// Nothing more can be taken.
    Full(Fault),
}

/// Fills a slot with a range of the pinned object. `begun` is the body of an answer that has already come.
///
/// # Cancel safety
/// The slot is given back and the connection closed.
pub(crate) async fn read_into_slot(
    job: &Job,
    notes: &Notes,
    pinned: &ObjectHead,
    range: Option<ByteRange>,
    begun: Option<Box<Incoming>>,
    slot: Slot,
    kind: BufferKind,
) -> Result<Sealed, Stop> {
    let mut filling = SlotSink { slot: Some(slot), kind };
    let is_whole = range.is_none_or(|range| range.bytes() == pinned.size);
    let attempts = job.part().carrying(if is_whole { UnitKind::Object } else { UnitKind::Part });
    read(job, notes, pinned, range, begun, attempts, &mut filling).await?;
    Ok(filling.slot.ok_or_else(lost_slot)?.seal())
}

/// Feeds a part that is being sent with its range of the pinned object. The source is read no faster than the part is
/// sent, which has the permit: at the source none is asked for.
///
/// # Cancel safety
/// The connection is closed; the part is cut.
pub(crate) async fn read_into_pipe(
    job: &Job,
    notes: &Notes,
    pinned: &ObjectHead,
    range: ByteRange,
    writer: PipeWriter,
) -> Result<(), Stop> {
    let mut feeding = UploadSink { writer, length: range.bytes() };
    read(job, notes, pinned, Some(range), None, job.part().exempt(), &mut feeding).await
}

/// Reads a range of the pinned object for its digests alone.
///
/// # Cancel safety
/// The connection is closed.
pub(crate) async fn read_digests(
    job: &Job,
    notes: &Notes,
    pinned: &ObjectHead,
    range: ByteRange,
    kinds: Kinds,
) -> Result<Digests, Stop> {
    let mut tasting = DigestSink { running: Running::of(kinds), length: range.bytes() };
    read(job, notes, pinned, Some(range), None, job.part().carrying(UnitKind::Part), &mut tasting).await?;
    Ok(tasting.running.finish())
}

async fn read(
    job: &Job,
    notes: &Notes,
    pinned: &ObjectHead,
    range: Option<ByteRange>,
    mut begun: Option<Box<Incoming>>,
    mut attempts: Attempts,
    sink: &mut impl Sink,
) -> Result<(), Stop> {
    let is_begun = begun.is_some();
    let client = &job.session.source.client;
    let result = loop {
        let rest = range.and_then(|range| range.after(sink.filled()));
        let is_pinned = !mutation::is_on(Mutation::UnpinnedReads);
        let get = GetObject {
            bucket: job.session.source.bucket.clone(),
            key: job.source_key.clone(),
            version: pinned.version.clone().filter(|_| is_pinned),
            range: rest,
            if_match: is_pinned.then(|| pinned.etag.clone()),
        };
        let body = match begun.take() {
            Some(body) => *body,
            // Nothing is missing, and there is no range that holds nothing.
            None if sink.missing() == 0 => break Ok(()),
            None => match client.open(&get, &mut attempts).await {
                Ok((head, _))
                    if is_pinned
                        && (!head.etag.is_same_state(&pinned.etag)
                            || head.size != pinned.size && rest.is_some() && head.range.is_some()) =>
                {
                    break Err(Stop::replaced(
                        "the source object changed while it was read (its ETag is no longer the first one)",
                    ));
                }
                Ok((_, body)) => body,
                Err(error) => break Err(replaced_or_failed(&error)),
            },
        };
        let before = sink.filled();
        let poured = sink.consume(body).await;
        if sink.filled() > before {
            attempts.progressed();
        }
        let broken = match poured {
            Ok(()) if sink.missing() == 0 => break Ok(()),
            Ok(()) => Error::body(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the source closed the connection before the whole part was read",
            )),
            Err(SinkError::Broken(error)) => error,
            Err(SinkError::Full(fault)) => break Err(fault.into()),
        };
        if let Err(error) = client.again(&GetObject::INFO, broken, &mut attempts).await {
            break Err(fault_at(Side::Source, &error).into());
        }
    };
    // After a body that was begun elsewhere, every GET from here is one that was sent again.
    notes.count_retries(if is_begun { attempts.sent() } else { attempts.retries() });
    result
}

fn replaced_or_failed(error: &Error) -> Stop {
    match error.class() {
        // Gone and replaced look alike here; the next attempt finds out which it was.
        Class::Precondition | Class::Missing => Stop::replaced("the source object was replaced while it was read"),
        Class::Throttled | Class::Transient | Class::Ambiguous | Class::Refused => fault_at(Side::Source, error).into(),
    }
}

/// A slot that is being filled. On the heap each piece is taken where it arrives; slots in /tmp may block on the disk
/// and are filled on a thread for that.
struct SlotSink {
    slot: Option<Slot>,
    kind: BufferKind,
}

impl Sink for SlotSink {
    fn filled(&self) -> u64 {
        self.slot.as_ref().map_or(0, |slot| slot.filled() as u64)
    }

    fn missing(&self) -> u64 {
        self.slot.as_ref().map_or(0, |slot| slot.missing() as u64)
    }

    async fn consume(&mut self, mut body: Incoming) -> Result<(), SinkError> {
        let limit = match self.kind {
            BufferKind::Tmp => BATCH,
            BufferKind::Memory | BufferKind::Streamed => 0,
        };
        loop {
            let mut batch: Vec<Bytes> = Vec::new();
            let mut length = 0;
            let ended = loop {
                match body.next().await {
                    Ok(Some(bytes)) => {
                        length += bytes.len();
                        batch.push(bytes);
                        if length > limit {
                            break None;
                        }
                    }
                    Ok(None) => break Some(Ok(())),
                    Err(error) => break Some(Err(SinkError::Broken(error))),
                }
            };
            let mut slot = self.slot.take().ok_or_else(|| SinkError::Full(lost_slot()))?;
            let pushed = match self.kind {
                BufferKind::Tmp => {
                    let on_thread = tokio::task::spawn_blocking(move || {
                        let pushed = push_all(&mut slot, &batch);
                        (slot, pushed)
                    });
                    let (back, pushed) = on_thread.await.map_err(|_| SinkError::Full(lost_slot()))?;
                    slot = back;
                    pushed
                }
                BufferKind::Memory | BufferKind::Streamed => push_all(&mut slot, &batch),
            };
            self.slot = Some(slot);
            pushed.map_err(too_much)?;
            if let Some(end) = ended {
                return end;
            }
        }
    }
}

fn push_all(slot: &mut Slot, batch: &[Bytes]) -> Result<(), Overfull> {
    batch.iter().try_for_each(|bytes| slot.push(bytes))
}

fn lost_slot() -> Fault {
    Fault::new(FaultClass::Internal, "the thread that fills slots panicked")
}

fn too_much(why: impl std::error::Error) -> SinkError {
    SinkError::Broken(Error::body(io::Error::new(io::ErrorKind::InvalidData, why.to_string())))
}

/// Bytes of which only the digests are wanted.
struct DigestSink {
    running: Running,
    length: u64,
}

impl Sink for DigestSink {
    fn filled(&self) -> u64 {
        self.running.length()
    }

    fn missing(&self) -> u64 {
        self.length - self.running.length()
    }

    async fn consume(&mut self, mut body: Incoming) -> Result<(), SinkError> {
        loop {
            match body.next().await {
                Ok(Some(bytes)) if bytes.len() as u64 > self.missing() => return Err(too_much(PushError::Overfull)),
                Ok(Some(bytes)) => self.running.update(&bytes),
                Ok(None) => return Ok(()),
                Err(error) => return Err(SinkError::Broken(error)),
            }
        }
    }
}

struct UploadSink {
    writer: PipeWriter,
    length: u64,
}

impl Sink for UploadSink {
    fn filled(&self) -> u64 {
        self.writer.pushed()
    }

    fn missing(&self) -> u64 {
        self.length - self.writer.pushed()
    }

    async fn consume(&mut self, mut body: Incoming) -> Result<(), SinkError> {
        loop {
            let bytes = match body.next().await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => return Ok(()),
                Err(error) => return Err(SinkError::Broken(error)),
            };
            match self.writer.push(bytes).await {
                Ok(()) => {}
                Err(overfull @ PushError::Overfull) => return Err(too_much(overfull)),
                Err(unread @ PushError::Unread) => {
                    return Err(SinkError::Full(Fault::new(FaultClass::Internal, unread.to_string())));
                }
            }
        }
    }
}

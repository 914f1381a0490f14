//! From the source into a slot: a GET that goes on from the next byte when it breaks.

use super::buffer::{Sealed, Slot};
use super::hint::End;
use super::job::{Halt, Job, Notes, fault_at};
use super::report::{BufferKind, Fault};
use crate::s3::ByteRange;
use crate::s3::error::Class;
use crate::s3::object::{GetObject, ObjectHead};
use crate::wire::body::Incoming;
use crate::wire::error::Error;
use bytes::Bytes;

/// Bytes that are handed to the disk's thread at once: enough that the hand-over costs little beside the copying.
const BATCH: usize = 1 << 20;

/// Fills a slot with a range of the pinned object. `begun` is the body of an answer that has already come.
///
/// # Cancel safety
/// The slot is given back and the connection closed.
pub(super) async fn fill(
    job: &Job,
    notes: &Notes,
    pinned: &ObjectHead,
    range: Option<ByteRange>,
    mut begun: Option<Box<Incoming>>,
    slot: Slot,
    kind: BufferKind,
) -> Result<Sealed, Halt> {
    let mut attempts = job.part();
    let is_begun = begun.is_some();
    let mut slot = Some(slot);
    let client = &job.source.client;
    let result = loop {
        let Some(mut filling) = slot.take() else { break Err(Fault::new("internal", "a slot was lost").into()) };
        let rest = range.and_then(|range| range.after(filling.filled() as u64));
        let get = GetObject {
            bucket: job.source.bucket.clone(),
            key: job.source.key.clone(),
            version: pinned.version.clone(),
            range: rest,
            if_match: Some(pinned.etag.clone()),
        };
        let body = match begun.take() {
            Some(body) => *body,
            // Nothing is missing, and there is no range that holds nothing.
            None if filling.missing() == 0 => break Ok(filling.seal()),
            None => match client.open(&get, &mut attempts).await {
                Ok((head, _))
                    if !head.etag.is_same_state(&pinned.etag)
                        || head.size != pinned.size && rest.is_some() && head.range.is_some() =>
                {
                    break Err(Halt::replaced("the source answered with another state than the pinned one"));
                }
                Ok((_, body)) => body,
                Err(error) => break Err(replaced_or_failed(&error)),
            },
        };
        let before = filling.filled();
        let (back, poured) = pour(body, filling, kind).await;
        filling = match back {
            Some(back) => back,
            None => break Err(Fault::new("internal", "the thread that fills slots panicked").into()),
        };
        if filling.filled() > before {
            attempts.progressed();
        }
        match poured {
            Ok(()) if filling.missing() == 0 => break Ok(filling.seal()),
            Ok(()) => {
                let short = std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the body ended early");
                if let Err(error) = client.again(&get, Error::body(short), &mut attempts).await {
                    break Err(fault_at(End::Source, &error).into());
                }
            }
            Err(error) => {
                if let Err(error) = client.again(&get, error, &mut attempts).await {
                    break Err(fault_at(End::Source, &error).into());
                }
            }
        }
        slot = Some(filling);
    };
    // After a body that was begun elsewhere, every GET from here is one that was sent again.
    notes.count_retries(if is_begun { attempts.sent() } else { attempts.retries() });
    result
}

fn replaced_or_failed(error: &Error) -> Halt {
    match error.class() {
        // Gone and replaced look alike here; the next pass finds out which it was.
        Class::Precondition | Class::Missing => Halt::replaced("the source was replaced while it was read"),
        Class::Throttled | Class::Transient | Class::Ambiguous | Class::Refused => fault_at(End::Source, error).into(),
    }
}

/// Pours a body into a slot until it ends. On the heap each piece is taken where it arrives; slots in /tmp may block on the
/// disk and are filled on a thread for that.
async fn pour(mut body: Incoming, mut slot: Slot, kind: BufferKind) -> (Option<Slot>, Result<(), Error>) {
    loop {
        let mut batch: Vec<Bytes> = Vec::new();
        let mut length = 0;
        let limit = match kind {
            BufferKind::Memory => 0,
            BufferKind::Tmp => BATCH,
        };
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
                Err(error) => break Some(Err(error)),
            }
        };
        let pushed = match kind {
            BufferKind::Memory => push_all(&mut slot, &batch),
            BufferKind::Tmp => {
                let on_thread = tokio::task::spawn_blocking(move || {
                    let pushed = push_all(&mut slot, &batch);
                    (slot, pushed)
                });
                match on_thread.await {
                    Ok((back, pushed)) => {
                        slot = back;
                        pushed
                    }
                    Err(_) => return (None, Ok(())),
                }
            }
        };
        match (pushed, ended) {
            (Err(error), _) => return (Some(slot), Err(error)),
            (Ok(()), Some(end)) => return (Some(slot), end),
            (Ok(()), None) => {}
        }
    }
}

fn push_all(slot: &mut Slot, batch: &[Bytes]) -> Result<(), Error> {
    for bytes in batch {
        slot.push(bytes).map_err(|overfull| {
            Error::body(std::io::Error::new(std::io::ErrorKind::InvalidData, overfull.to_string()))
        })?;
    }
    Ok(())
}

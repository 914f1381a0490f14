//! What the source says of its bytes in order, over parts that arrive in any: its ETag or its stored checksum, over its
//! own boundaries, on a thread of its own.
//!
//! Needed only where the source stores no checksum to which those of parts can be combined, and was put together
//! otherwise than it is sent. A part's slot is held until its turn has come; since slots are taken in the order of the
//! parts, the part whose turn it is always has one.

use crate::engine::decide::verify::ChecksumRuns as Asked;
use crate::s3::PartNumber;
use crate::s3::integrity::sums::{Algorithm, RunningSum, Stored, Sum};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

pub(crate) struct OrderedChecksum {
    parts: Sender<(PartNumber, Bytes)>,
    result: tokio::sync::Mutex<Option<JoinHandle<Option<Stored>>>>,
}

impl OrderedChecksum {
    pub(crate) fn begin(algorithm: Algorithm, asked: Asked) -> Self {
        let (parts, arriving) = channel();
        let task = tokio::task::spawn_blocking(move || digest(algorithm, &asked, &arriving));
        Self { parts, result: tokio::sync::Mutex::new(Some(task)) }
    }

    /// Takes a part. Each comes once.
    pub(crate) fn take(&self, number: PartNumber, bytes: Bytes) {
        // The thread is gone only if it has all it wants.
        let _ = self.parts.send((number, bytes));
    }

    /// The checksum, once all parts have come; `None` if they do not fill the lengths.
    pub(crate) async fn finish(&self) -> Option<Stored> {
        let task = self.result.lock().await.take()?;
        task.await.ok().flatten()
    }
}

fn digest(algorithm: Algorithm, asked: &Asked, arriving: &Receiver<(PartNumber, Bytes)>) -> Option<Stored> {
    let mut early = BTreeMap::new();
    let mut turns = PartNumber::all().peekable();
    let mut runs = match asked {
        Asked::Whole(length) => RunningRuns::new(algorithm, std::slice::from_ref(length)),
        Asked::Parts(lengths) => RunningRuns::new(algorithm, lengths),
    };
    while !runs.are_full() {
        // Ends when the copy was given up and the sender dropped.
        let (number, bytes) = arriving.recv().ok()?;
        early.insert(number, bytes);
        while let Some(bytes) = turns.peek().and_then(|turn| early.remove(turn)) {
            runs.update(&bytes);
            turns.next();
        }
    }
    match asked {
        Asked::Whole(_) => runs.done.first().copied().map(Stored::full),
        Asked::Parts(_) => Stored::composite(&runs.done),
    }
}

struct RunningRuns<'a> {
    algorithm: Algorithm,
    lengths: &'a [u64],
    done: Vec<Sum>,
    left: u64,
    running: RunningSum,
}

impl<'a> RunningRuns<'a> {
    fn new(algorithm: Algorithm, lengths: &'a [u64]) -> Self {
        let left = lengths.first().copied().unwrap_or(0);
        let mut runs = Self { algorithm, lengths, done: Vec::new(), left, running: RunningSum::new(algorithm) };
        runs.close();
        runs
    }

    /// Ends the run that is full, and those after it that hold nothing: a last part may be empty.
    fn close(&mut self) {
        while self.left == 0 && !self.are_full() {
            let running = std::mem::replace(&mut self.running, RunningSum::new(self.algorithm));
            self.done.push(running.finish());
            self.left = self.lengths.get(self.done.len()).copied().unwrap_or(0);
        }
    }

    fn are_full(&self) -> bool {
        self.done.len() == self.lengths.len()
    }

    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.are_full() {
            let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            let (now, rest) = bytes.split_at(taken);
            self.running.update(now);
            self.left -= now.len() as u64;
            bytes = rest;
            self.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::integrity::checksum::{Digests, combine};
    use crate::s3::integrity::etag::ETag;

    const PARTS: [(u64, &[u8]); 3] = [(3, b"world"), (1, b"hel"), (2, b"lo ")];

    async fn of(algorithm: Algorithm, asked: Asked, parts: &[(u64, &'static [u8])]) -> Option<Stored> {
        let ordered = OrderedChecksum::begin(algorithm, asked);
        for (number, bytes) in parts {
            ordered.take(PartNumber::new(*number).unwrap(), Bytes::from_static(bytes));
        }
        let OrderedChecksum { parts, result } = ordered;
        drop(parts);
        result.into_inner()?.await.unwrap()
    }

    #[tokio::test]
    async fn parts_in_any_order_make_the_etag_of_the_source() {
        let md5 = async |asked| of(Algorithm::Md5, asked, &PARTS).await.and_then(|stored| stored.etag());
        let whole = ETag::of_content(Digests::of(b"hello world").md5.unwrap());
        assert_eq!(md5(Asked::Whole(11)).await, Some(whole));
        let two = combine(&[Digests::of(b"hello "), Digests::of(b"world")]).etag;
        assert_eq!(md5(Asked::Parts(vec![6, 5])).await, two);
    }

    #[tokio::test]
    async fn parts_in_any_order_make_the_stored_checksum_of_the_source() {
        for algorithm in Algorithm::ALL {
            let sum = |bytes| Sum::of(algorithm, bytes);
            assert_eq!(of(algorithm, Asked::Whole(11), &PARTS).await, Some(Stored::full(sum(b"hello world"))));
            assert_eq!(
                of(algorithm, Asked::Parts(vec![6, 5]), &PARTS).await,
                Stored::composite(&[sum(b"hello "), sum(b"world")])
            );
        }
    }

    #[tokio::test]
    async fn a_whole_of_one_part_is_not_that_part() {
        let sum = Sum::of(Algorithm::Md5, b"hello world");
        assert_eq!(of(Algorithm::Md5, Asked::Parts(vec![11]), &PARTS).await, Stored::composite(&[sum]));
    }

    #[tokio::test]
    async fn parts_that_hold_nothing_count() {
        let two = Stored::composite(&[Sum::of(Algorithm::Md5, b"hello world"), Sum::of(Algorithm::Md5, b"")]);
        assert_eq!(of(Algorithm::Md5, Asked::Parts(vec![11, 0]), &PARTS).await, two);
        assert_eq!(of(Algorithm::Md5, Asked::Whole(0), &[]).await, Some(Stored::full(Sum::of(Algorithm::Md5, b""))));
    }

    #[tokio::test]
    async fn a_missing_part_makes_no_etag() {
        assert_eq!(of(Algorithm::Md5, Asked::Whole(11), &[(2, b"lo "), (3, b"world")]).await, None);
    }
}

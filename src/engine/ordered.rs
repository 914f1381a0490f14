//! The source's own ETag over parts that arrive in any order: MD5 over its boundaries, on a thread of its own.
//!
//! Needed only where the source has no stored checksum and was put together otherwise than it is sent. A part's slot is
//! held until its turn has come; since slots are taken in the order of the parts, the part whose turn it is always has one.

use crate::s3::etag::ETag;
use bytes::Bytes;
use md5::{Digest as _, Md5};
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

/// The running digest.
pub(super) struct OrderedMd5 {
    parts: Sender<(usize, Bytes)>,
    result: tokio::sync::Mutex<Option<JoinHandle<Option<ETag>>>>,
}

impl OrderedMd5 {
    /// Begins a digest over consecutive runs of these lengths.
    pub(super) fn begin(lengths: Vec<u64>) -> Self {
        let (parts, arriving) = channel();
        let task = tokio::task::spawn_blocking(move || digest(&lengths, &arriving));
        Self { parts, result: tokio::sync::Mutex::new(Some(task)) }
    }

    /// Takes the part at `index`. Each comes once.
    pub(super) fn take(&self, index: usize, bytes: Bytes) {
        // The thread is gone only if it has all it wants.
        let _ = self.parts.send((index, bytes));
    }

    /// The ETag, once all parts have come; `None` if they do not fill the lengths.
    pub(super) async fn finish(&self) -> Option<ETag> {
        let task = self.result.lock().await.take()?;
        task.await.ok().flatten()
    }
}

fn digest(lengths: &[u64], arriving: &Receiver<(usize, Bytes)>) -> Option<ETag> {
    let mut early = BTreeMap::new();
    let mut turn = 0;
    let mut runs = Runs::new(lengths);
    while !runs.are_full() {
        // Ends when the copy was given up and the sender dropped.
        let (index, bytes) = arriving.recv().ok()?;
        early.insert(index, bytes);
        while let Some(bytes) = early.remove(&turn) {
            runs.update(&bytes);
            turn += 1;
        }
    }
    runs.finish()
}

struct Runs<'a> {
    lengths: &'a [u64],
    done: Vec<[u8; 16]>,
    left: u64,
    md5: Md5,
}

impl<'a> Runs<'a> {
    fn new(lengths: &'a [u64]) -> Self {
        Self { lengths, done: Vec::new(), left: lengths.first().copied().unwrap_or(0), md5: Md5::new() }
    }

    fn are_full(&self) -> bool {
        self.done.len() == self.lengths.len()
    }

    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.are_full() {
            let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            let (now, rest) = bytes.split_at(taken);
            self.md5.update(now);
            self.left -= now.len() as u64;
            bytes = rest;
            if self.left == 0 {
                self.done.push(std::mem::take(&mut self.md5).finalize().into());
                self.left = self.lengths.get(self.done.len()).copied().unwrap_or(0);
            }
        }
    }

    fn finish(self) -> Option<ETag> {
        match self.done.as_slice() {
            [] => None,
            [whole] => Some(ETag::of_content(*whole)),
            several => {
                let count = u16::try_from(several.len()).ok()?;
                Some(ETag::of_parts(Md5::digest(several.concat()).into(), count))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::checksum::{Digests, combine};

    async fn of(lengths: &[u64], parts: &[(usize, &'static [u8])]) -> Option<ETag> {
        let ordered = OrderedMd5::begin(lengths.to_vec());
        for (index, bytes) in parts {
            ordered.take(*index, Bytes::from_static(bytes));
        }
        let OrderedMd5 { parts, result } = ordered;
        drop(parts);
        result.into_inner()?.await.unwrap()
    }

    #[tokio::test]
    async fn parts_in_any_order_make_the_etag_of_the_source() {
        let parts: [(usize, &[u8]); 3] = [(2, b"world"), (0, b"hel"), (1, b"lo ")];
        let whole = ETag::of_content(Digests::of(b"hello world").md5);
        assert_eq!(of(&[11], &parts).await, Some(whole));
        let two = combine(&[Digests::of(b"hello "), Digests::of(b"world")]).etag;
        assert_eq!(of(&[6, 5], &parts).await, Some(two));
    }

    #[tokio::test]
    async fn a_missing_part_makes_no_etag() {
        assert_eq!(of(&[11], &[(1, b"lo "), (2, b"world")]).await, None);
    }
}

//! A part on its way: the connections that carry it, and the bytes from which another could.

use super::abreast::Standing;
use super::buffer::Sealed;
use super::job::{Halt, UnderWay};
use super::md5s::Md5;
use super::straggler::Pace;
use crate::s3::ByteRange;
use crate::s3::checksum::Digests;
use crate::wire::attempt::Peer;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::AbortHandle;

/// A part that is being read or sent.
pub(super) struct Flight {
    pub(super) range: ByteRange,
    pub(super) begun: usize,
    bytes: Held,
    pub(super) copies: Vec<Copy>,
    _shown: UnderWay,
}

impl Flight {
    /// A part that has begun on its first connection.
    pub(super) fn new(range: ByteRange, bytes: Held, copy: Copy, shown: UnderWay) -> Self {
        Self { range, begun: 1, bytes, copies: vec![copy], _shown: shown }
    }

    /// How each of its connections gets on.
    pub(super) fn paces(&self) -> Vec<Pace> {
        self.copies.iter().map(|copy| copy.pace.clone()).collect()
    }

    /// Where it stands on the connection that is furthest.
    pub(super) fn furthest(&self) -> Option<Standing> {
        let standings = self.copies.iter().map(|copy| copy.pace.standing());
        standings.max_by(|one, other| one.gone.total_cmp(&other.gone))
    }

    /// Its bytes, once they are read, if they are kept.
    pub(super) fn read(&self) -> Option<Arc<Read>> {
        match &self.bytes {
            Held::Slot(read) => read.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            Held::Nowhere => None,
        }
    }

    /// Whether another copy of it can be sent.
    pub(super) fn is_at_hand(&self) -> bool {
        matches!(self.bytes, Held::Nowhere) || self.read().is_some()
    }
}

/// A part that is at hand.
pub(super) struct Read {
    pub(super) sealed: Sealed,
    // Where it is asked for.
    pub(super) md5: Option<Md5>,
}

impl Read {
    /// Its digests, with an MD5 that could wait.
    pub(super) async fn digests(&self) -> Result<Digests, Halt> {
        let digests = *self.sealed.digests();
        match &self.md5 {
            Some(md5) => Ok(Digests { md5: Some(md5.get().await?), ..digests }),
            None => Ok(digests),
        }
    }
}

/// Where another copy of a part would come from.
pub(super) enum Held {
    /// Its slot, once it is filled.
    Slot(Arc<Mutex<Option<Arc<Read>>>>),
    /// The source.
    Nowhere,
}

/// One connection's share in sending a part.
pub(super) struct Copy {
    pub(super) task: AbortHandle,
    pub(super) taken: Arc<AtomicU64>,
    pub(super) peer: Peer,
    pub(super) pace: Pace,
}

//! A part on its way: the connections that carry it, and the bytes from which another could.

use crate::engine::buffer::Sealed;
use crate::engine::fault::Halt;
use crate::engine::notes::UnderWay;
use crate::engine::pace::goodput::Pace;
use crate::engine::pace::tail::Standing;
use crate::engine::parts::md5s::Md5;
use crate::s3::ByteRange;
use crate::s3::checksum::Digests;
use crate::wire::client::attempt::Peer;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::AbortHandle;

/// A part that is being read or sent.
pub(crate) struct Flight {
    pub(crate) range: ByteRange,
    pub(crate) begun: usize,
    bytes: Held,
    pub(crate) copies: Vec<Copy>,
    _shown: UnderWay,
}

impl Flight {
    /// A part that has begun on its first connection.
    pub(crate) fn new(range: ByteRange, bytes: Held, copy: Copy, shown: UnderWay) -> Self {
        Self { range, begun: 1, bytes, copies: vec![copy], _shown: shown }
    }

    /// How each of its connections gets on.
    pub(crate) fn paces(&self) -> Vec<Pace> {
        self.copies.iter().map(|copy| copy.pace.clone()).collect()
    }

    /// Where it stands on the connection that is furthest.
    pub(crate) fn furthest(&self) -> Option<Standing> {
        let standings = self.copies.iter().map(|copy| copy.pace.standing());
        standings.max_by(|one, other| one.gone.total_cmp(&other.gone))
    }

    /// Its bytes, once they are read, if they are kept.
    pub(crate) fn read(&self) -> Option<Arc<Read>> {
        match &self.bytes {
            Held::Slot(read) => read.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            Held::Nowhere => None,
        }
    }

    /// Whether another copy of it can be sent.
    pub(crate) fn is_at_hand(&self) -> bool {
        matches!(self.bytes, Held::Nowhere) || self.read().is_some()
    }
}

pub(crate) struct Read {
    pub(crate) sealed: Sealed,
    // Where it is asked for.
    pub(crate) md5: Option<Md5>,
}

impl Read {
    /// Its digests, with an MD5 that could wait.
    pub(crate) async fn digests(&self) -> Result<Digests, Halt> {
        let digests = *self.sealed.digests();
        match &self.md5 {
            Some(md5) => Ok(Digests { md5: Some(md5.get().await?), ..digests }),
            None => Ok(digests),
        }
    }
}

/// Where another copy of a part would come from.
pub(crate) enum Held {
    /// Its slot, once it is filled.
    Slot(Arc<Mutex<Option<Arc<Read>>>>),
    Nowhere,
}

pub(crate) struct Copy {
    pub(crate) task: AbortHandle,
    pub(crate) taken: Arc<AtomicU64>,
    pub(crate) peer: Peer,
    pub(crate) pace: Pace,
}

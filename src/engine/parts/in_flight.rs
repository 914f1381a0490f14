//! A part on its way: the connections that carry it, and the bytes from which another could.

use crate::engine::buffer::slot::Sealed;
use crate::engine::notes::InFlightGuard;
use crate::engine::pace::goodput::PartPace;
use crate::engine::pace::tail::PartProgress;
use crate::engine::parts::md5s::Md5;
use crate::engine::stop::Stop;
use crate::s3::ByteRange;
use crate::s3::integrity::checksum::Digests;
use crate::wire::client::attempt::Peer;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::AbortHandle;

/// A part that is being read or sent.
pub(crate) struct PartInFlight {
    pub(crate) range: ByteRange,
    pub(crate) begun: usize,
    bytes: PartBytes,
    pub(crate) copies: Vec<PartAttempt>,
    _shown: InFlightGuard,
}

impl PartInFlight {
    /// A part that has begun on its first connection.
    pub(crate) fn new(range: ByteRange, bytes: PartBytes, copy: PartAttempt, shown: InFlightGuard) -> Self {
        Self { range, begun: 1, bytes, copies: vec![copy], _shown: shown }
    }

    /// How each of its connections gets on.
    pub(crate) fn paces(&self) -> Vec<PartPace> {
        self.copies.iter().map(|copy| copy.pace.clone()).collect()
    }

    /// Where it stands on the connection that is furthest.
    pub(crate) fn furthest(&self) -> Option<PartProgress> {
        let standings = self.copies.iter().map(|copy| copy.pace.standing());
        standings.max_by(|one, other| one.gone.total_cmp(&other.gone))
    }

    /// Its bytes, once they are read, if they are kept.
    pub(crate) fn read(&self) -> Option<Arc<ReadPart>> {
        match &self.bytes {
            PartBytes::Slot(read) => read.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            PartBytes::Streamed => None,
        }
    }

    /// Whether another copy of it can be sent.
    pub(crate) fn is_at_hand(&self) -> bool {
        matches!(self.bytes, PartBytes::Streamed) || self.read().is_some()
    }
}

pub(crate) struct ReadPart {
    pub(crate) sealed: Sealed,
    // Where it is asked for.
    pub(crate) md5: Option<Md5>,
}

impl ReadPart {
    /// Its digests, with an MD5 that could wait.
    pub(crate) async fn digests(&self) -> Result<Digests, Stop> {
        let digests = *self.sealed.digests();
        match &self.md5 {
            Some(md5) => Ok(Digests { md5: Some(md5.get().await?), ..digests }),
            None => Ok(digests),
        }
    }
}

/// Where another copy of a part would come from.
pub(crate) enum PartBytes {
    /// Its slot, once it is filled.
    Slot(Arc<Mutex<Option<Arc<ReadPart>>>>),
    Streamed,
}

pub(crate) struct PartAttempt {
    pub(crate) task: AbortHandle,
    pub(crate) taken: Arc<AtomicU64>,
    pub(crate) peer: Peer,
    pub(crate) pace: PartPace,
}

//! What answers have taught about a server: its clock, and where it is not as S3 is.

use crate::s3::multipart::streamed::Form;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Of one server.
#[derive(Debug, Default)]
pub struct Quirks {
    // Seconds to add to our clock to have the server's.
    skew: AtomicI64,
    // Its conditions want ETags without quotes (radosgw).
    unquoted_if_match: AtomicBool,
    // It took a part with a trailer.
    trailers: AtomicBool,
    // It knows no trailers (radosgw).
    no_trailers: AtomicBool,
    // Its ETags are opaque though nobody asked for a KMS key: the bucket's default.
    opaque_etags: AtomicBool,
}

impl Quirks {
    /// Its clock shows `theirs`, in seconds since 1970, while ours shows `ours`.
    pub(crate) fn set_clock(&self, theirs: i64, ours: SystemTime) {
        self.skew.store(theirs.saturating_sub(seconds(ours)), Ordering::Relaxed);
    }

    /// What its clock shows while ours shows `ours`.
    pub(crate) fn clock(&self, ours: SystemTime) -> SystemTime {
        let skew = self.skew.load(Ordering::Relaxed);
        let by = Duration::from_secs(skew.unsigned_abs());
        let theirs = if skew >= 0 { ours.checked_add(by) } else { ours.checked_sub(by) };
        theirs.unwrap_or(ours)
    }

    /// From now on conditions carry ETags without quotes. For radosgw, whose
    /// writes take only these; switched on by a refusal of the very ETag that the server shows, never beforehand.
    pub(crate) fn use_unquoted_if_match(&self) {
        self.unquoted_if_match.store(true, Ordering::Relaxed);
    }

    /// Whether conditions carry ETags without quotes.
    pub(crate) fn unquoted_if_match(&self) -> bool {
        self.unquoted_if_match.load(Ordering::Relaxed)
    }

    /// From now on streamed parts have no trailer. For radosgw, which refuses them; switched on when it took a part
    /// that way after it had refused the same part with one, never beforehand.
    pub fn send_no_trailers(&self) {
        self.no_trailers.store(true, Ordering::Relaxed);
    }

    /// It took a streamed part with its trailer.
    pub(crate) fn note_trailer_taken(&self) {
        self.trailers.store(true, Ordering::Relaxed);
    }

    /// Whether it is known if it takes trailers, by a part that was sent.
    pub(crate) fn knows_trailers(&self) -> bool {
        self.trailers.load(Ordering::Relaxed) || self.no_trailers.load(Ordering::Relaxed)
    }

    /// From now on new objects are expected to have opaque ETags, as the last one has.
    pub(crate) fn expect_opaque_etags(&self) {
        self.opaque_etags.store(true, Ordering::Relaxed);
    }

    /// Whether an object that was written here had an opaque ETag.
    pub(crate) fn expects_opaque_etags(&self) -> bool {
        self.opaque_etags.load(Ordering::Relaxed)
    }

    /// How the checksum of a streamed part is told.
    pub fn form(&self) -> Form {
        if self.no_trailers.load(Ordering::Relaxed) { Form::Plain } else { Form::Trailer }
    }
}

/// Seconds since 1970.
pub(crate) fn seconds(time: SystemTime) -> i64 {
    i64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}

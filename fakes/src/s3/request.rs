//! A request as the server has it: who asks for what, and its body.

use crate::s3::auth::keys::Keys;
use crate::s3::auth::policy::Policy;
use crate::s3::call::Call;
use crate::s3::refusal::Refusal;
use crate::store::objects::Store;
use bytes::{Bytes, BytesMut};
use http::header::HeaderMap;
use http_body_util::BodyExt as _;
use s3s::{Body, StdError, TrailingHeaders};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

/// What all requests of a server share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) region: String,
    pub(crate) store: Store,
    pub(crate) policy: Policy,
    pub(crate) keys: Keys,
    /// By how many milliseconds the server's clock is ahead.
    pub(crate) clock: AtomicI64,
}

impl Shared {
    /// The server's time, right or wrong.
    pub(crate) fn now(&self) -> SystemTime {
        let ahead = self.clock.load(Ordering::Relaxed);
        let by = Duration::from_millis(ahead.unsigned_abs());
        if ahead < 0 { SystemTime::now() - by } else { SystemTime::now() + by }
    }
}

/// What an operation is given.
pub(crate) struct RequestContext<'a> {
    pub(crate) store: &'a Store,
    pub(crate) policy: &'a Policy,
    pub(crate) region: &'a str,
    pub(crate) call: &'a Call,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: Body,
    pub(crate) trailers: Option<TrailingHeaders>,
}

impl<'a> RequestContext<'a> {
    /// A header's value, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Hands every piece of a body to `take`.
pub(crate) async fn each_piece(mut body: Body, mut take: impl FnMut(Bytes)) -> Result<(), Refusal> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(&error))?;
        if let Ok(piece) = frame.into_data() {
            take(piece);
        }
    }
    Ok(())
}

/// A whole small body.
pub(crate) async fn whole_body(body: Body, limit: usize) -> Result<Bytes, Refusal> {
    let (mut whole, mut too_long) = (BytesMut::new(), false);
    each_piece(body, |piece| {
        too_long |= whole.len() + piece.len() > limit;
        if !too_long {
            whole.extend_from_slice(&piece);
        }
    })
    .await?;
    if too_long { Err(Refusal::of("MalformedXML")) } else { Ok(whole.freeze()) }
}

/// What a body that breaks off means. s3s keeps the types of its stream errors to itself, so their names in the
/// message are all there is to tell them by.
pub(crate) fn broken(error: &StdError) -> Refusal {
    let text = error.to_string();
    if text.contains("Sha256Mismatch") {
        Refusal::of("XAmzContentSHA256Mismatch")
    } else if text.contains("SignatureMismatch") {
        Refusal::of("SignatureDoesNotMatch")
    } else if let Some(code) =
        ["MalformedTrailerError", "InvalidChunkSizeError"].into_iter().find(|code| text.contains(code))
    {
        Refusal::of(code)
    } else if text.contains("AwsChunkedStreamError") && !text.contains("Incomplete") && !text.contains("Underlying") {
        Refusal::of("InvalidRequest").because(text)
    } else {
        Refusal::of("IncompleteBody")
    }
}

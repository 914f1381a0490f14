//! Requests that meet something on their way: kept back and carried out later than anybody waits, or changed by a bit.

use crate::s3::call::Call;
use crate::s3::request::whole_body;
use crate::s3::service::Service;
use bytes::{Bytes, BytesMut};
use http::Request;
use http::header::{IF_MATCH, IF_NONE_MATCH};
use http_body::{Frame, SizeHint};
use s3s::{Body, StdError};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

/// Requests that are kept back.
#[derive(Debug, Default)]
pub(crate) struct Parked(Mutex<Vec<(Call, Request<Body>)>>);

impl Parked {
    /// Keeps a request back once its body has come.
    pub(crate) async fn park(&self, call: &Call, mut request: Request<Body>) {
        if let Ok(whole) = whole_body(std::mem::take(request.body_mut()), usize::MAX).await {
            *request.body_mut() = Body::from(whole);
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push((call.clone(), request));
        }
    }

    /// Carries them out in the order in which they came.
    pub(crate) async fn land(&self, service: &Service) -> Vec<Landed> {
        let parked = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut landed = Vec::with_capacity(parked.len());
        for (call, request) in parked {
            let has = |name| request.headers().contains_key(name);
            let is_conditional = has(IF_MATCH) || has(IF_NONE_MATCH);
            let (operation, key) = (call.operation.name(), call.key.clone());
            let status = service.answer(&call, request).await.map_or(0, |reply| reply.status().as_u16());
            landed.push(Landed { operation, key, is_conditional, status });
        }
        landed
    }
}

/// A parked request that was carried out.
#[derive(Clone, Debug)]
pub struct Landed {
    /// S3's name of the operation.
    pub operation: &'static str,
    /// The key.
    pub key: String,
    /// Whether it asked for something to hold.
    pub is_conditional: bool,
    /// The status that would have been answered; 0 if none.
    pub status: u16,
}

/// A request body one bit of which changes on its way.
pub(crate) struct Flipped {
    body: Body,
    // Bytes before the one that changes.
    left: Option<u64>,
}

impl Flipped {
    /// The byte at this offset changes.
    pub(crate) fn at(at: u64, body: Body) -> Body {
        Body::http_body(Self { body, left: Some(at) })
    }
}

impl http_body::Body for Flipped {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            Ok(frame?.map_data(|piece| {
                let length = piece.len() as u64;
                match self.left {
                    Some(left) if left < length => {
                        self.left = None;
                        let mut changed = BytesMut::from(&piece[..]);
                        if let Some(byte) = usize::try_from(left).ok().and_then(|at| changed.get_mut(at)) {
                            *byte ^= 1;
                        }
                        changed.freeze()
                    }
                    left => {
                        self.left = left.map(|left| left - length);
                        piece
                    }
                }
            }))
        }))
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

//! The HTTP service of a server: faults, the protocol, and a record of each request.

use crate::fault::delayed::{Flipped, Parked};
use crate::fault::faults::{Action, Faults, Moment};
use crate::fault::reply::Reply;
use crate::net::listener::{Connection, Handler};
use crate::s3::call::Call;
use crate::s3::request::{Shared, each_piece};
use crate::s3::service::Service;
use crate::seen::{Entry, Seen};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use s3s::{Body, StdError};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::sleep;

/// The HTTP side: record, faults, service.
pub(crate) struct Front {
    pub(crate) shared: Arc<Shared>,
    pub(crate) service: Service,
    pub(crate) faults: Faults,
    pub(crate) entries: Mutex<Vec<Arc<Entry>>>,
    pub(crate) parked: Parked,
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front").field("region", &self.shared.region).finish_non_exhaustive()
    }
}

impl Front {
    pub(crate) fn entries(&self) -> MutexGuard<'_, Vec<Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, call: &Call, headers: &HeaderMap, connection: u64) -> Arc<Entry> {
        let mut headers = headers.clone();
        headers.remove(AUTHORIZATION);
        let entry = Arc::new(Entry {
            seen: Seen {
                operation: call.operation.name().to_owned(),
                method: call.method.to_string(),
                bucket: call.bucket.clone(),
                key: call.key.clone(),
                query: call.query.clone(),
                headers,
                status: 0,
                request_id: String::new(),
                received: 0,
                sent: 0,
                connection,
            },
            status: AtomicU16::default(),
            request_id: Mutex::default(),
            received: Arc::default(),
            sent: Arc::default(),
        });
        self.entries().push(Arc::clone(&entry));
        entry
    }

    /// What the actions and then the service make of a request.
    async fn answer(
        &self,
        call: &Call,
        request: Request<Body>,
        actions: &[Arc<Action>],
        connection: &Connection,
    ) -> Result<Response<Body>, StdError> {
        let ended = || {
            connection.reset_at_end();
            Err("the script resets the connection here".into())
        };
        let mut request = request;
        for action in actions {
            if let Action::RefuseEarly(refusal) = action.as_ref() {
                let mut reply = self.service.refuse(call, refusal);
                reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                return Ok(reply);
            } else if let Action::Answer(refusal) = action.as_ref() {
                drain(&mut request).await;
                return Ok(self.service.refuse(call, refusal));
            } else if let Action::ErrorInside { refusal, .. } = action.as_ref() {
                drain(&mut request).await;
                return Ok(self.inside(call, refusal));
            } else if let Action::Reset(Moment::BeforeBody) = action.as_ref() {
                return ended();
            } else if let Action::Reset(Moment::BeforeDoing) = action.as_ref() {
                drain(&mut request).await;
                return ended();
            } else if let Action::Park = action.as_ref() {
                self.parked.park(call, request).await;
                return ended();
            } else if let Action::FlipRequest(at) = action.as_ref() {
                request = request.map(|body| Flipped::at(*at, body));
            } else if let Action::Before(hook) = action.as_ref() {
                hook(&self.shared.store);
            }
        }
        let mut reply = self.service.answer(call, request).await?;
        for action in actions {
            if let Action::Reset(Moment::AfterDoing) = action.as_ref() {
                return ended();
            } else if let Action::ErrorAfterDoing(refusal) = action.as_ref() {
                reply = self.inside(call, refusal);
            } else if let Action::StallHead(time) = action.as_ref() {
                match time {
                    Some(time) => sleep(*time).await,
                    // For ever ends when the client leaves or the server stops.
                    None => std::future::pending().await,
                }
            } else if let Action::After(hook) = action.as_ref() {
                hook(&self.shared.store);
            }
        }
        Ok(reply)
    }

    /// A 200 with an error inside.
    fn inside(&self, call: &Call, refusal: &crate::s3::refusal::Refusal) -> Response<Body> {
        let mut reply = self.service.refuse(call, refusal);
        *reply.status_mut() = StatusCode::OK;
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        reply
    }
}

impl Handler for Front {
    async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        connection: Connection,
    ) -> Result<Response<Reply>, StdError> {
        let call = Call::of(request.method(), request.uri(), request.headers());
        let (call, unreadable) = match call {
            Ok(call) => (call, None),
            Err(refusal) => (Call::unreadable(request.method(), request.uri()), Some(refusal)),
        };
        let entry = self.record(&call, request.headers(), connection.number);
        let request = request.map(|body| Body::http_body(Counted { body, count: Arc::clone(&entry.received) }));
        let actions = self.faults.take(&call);
        let reply = match unreadable {
            Some(refusal) => self.service.refuse(&call, &refusal),
            None => self.answer(&call, request, &actions, &connection).await?,
        };
        let (mut head, body) = reply.into_parts();
        let mut body = Reply::new(body, Arc::clone(&entry.sent), connection.flag());
        for action in &actions {
            action.change_head(&mut head.headers);
            action.change_body(&mut body);
        }
        let request_id = head.headers.get("x-amz-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
        request_id.clone_into(&mut entry.request_id.lock().unwrap_or_else(PoisonError::into_inner));
        entry.status.store(head.status.as_u16(), Ordering::SeqCst);
        Ok(Response::from_parts(head, body))
    }
}

/// Reads a request's body to its end, or to its breaking off.
pub(crate) async fn drain(request: &mut Request<Body>) {
    let _ = each_piece(std::mem::take(request.body_mut()), drop).await;
}

/// A request body that counts what comes in.
pub(crate) struct Counted {
    body: Incoming,
    count: Arc<AtomicU64>,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = std::task::ready!(std::pin::Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(piece) = frame.data_ref()
        {
            self.count.fetch_add(piece.len() as u64, Ordering::SeqCst);
        }
        std::task::Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

//! The embedded S3 server: an endpoint on loopback, its store, its script of faults, and a record of what it saw.
//!
//! It records; whoever started it asserts. Path style only.

use crate::fault::delayed::{Flipped, Landed, Parked};
use crate::fault::faults::{Action, Faults, Moment};
use crate::fault::reply::Reply;
use crate::net::authority::Authority;
use crate::net::listener::{Connection, Handler, LOOPBACK, Listener};
use crate::s3::call::Call;
use crate::s3::keys::{KeyPair, Keys};
use crate::s3::policy::Policy;
use crate::s3::request::{Shared, each_piece};
use crate::s3::service::Service;
use crate::store::objects::Store;
use crate::store::upload::Upload;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use s3s::{Body, StdError};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::sleep;

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The region that signatures must name.
    pub region: String,
    /// The key pairs accepted at first.
    pub keys: Vec<KeyPair>,
    /// TLS under this authority, or plain HTTP.
    pub tls: Option<Arc<Authority>>,
    /// Where it listens; port 0 is a free one.
    pub listen: SocketAddr,
    /// Closes connections that bring no request for so long. S3 does after about five seconds; `None` is never.
    pub idle: Option<Duration>,
}

impl ServerConfig {
    /// Plain HTTP on a free port of loopback, one key pair.
    #[must_use]
    pub fn new(region: &str, keys: KeyPair) -> Self {
        Self { region: region.to_owned(), keys: vec![keys], tls: None, listen: LOOPBACK, idle: None }
    }

    /// The same over TLS.
    #[must_use]
    pub fn tls(mut self, authority: &Arc<Authority>) -> Self {
        self.tls = Some(Arc::clone(authority));
        self
    }
}

/// One request as the server saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// S3's name of the operation, or `Unknown`.
    pub operation: String,
    /// The HTTP method.
    pub method: String,
    /// The bucket, if the address has one.
    pub bucket: String,
    /// The key, decoded.
    pub key: String,
    /// The query as it was sent.
    pub query: String,
    /// The request's headers without its authorization.
    pub headers: HeaderMap,
    /// The status answered; 0 if none was.
    pub status: u16,
    /// The request id answered; empty if none was.
    pub request_id: String,
    /// Body bytes that came in.
    pub received: u64,
    /// Body bytes that went out.
    pub sent: u64,
    /// The number of the connection, from 1.
    pub connection: u64,
}

impl Seen {
    /// A header of the request, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Its If-Match.
    #[must_use]
    pub fn if_match(&self) -> Option<&str> {
        self.header("if-match")
    }

    /// Its If-None-Match.
    #[must_use]
    pub fn if_none_match(&self) -> Option<&str> {
        self.header("if-none-match")
    }

    /// Its Range.
    #[must_use]
    pub fn range(&self) -> Option<&str> {
        self.header("range")
    }

    /// Its User-Agent.
    #[must_use]
    pub fn user_agent(&self) -> Option<&str> {
        self.header("user-agent")
    }
}

/// A record that is still being filled in.
#[derive(Debug)]
struct Entry {
    seen: Seen,
    status: AtomicU16,
    request_id: Mutex<String>,
    received: Arc<AtomicU64>,
    sent: Arc<AtomicU64>,
}

impl Entry {
    fn snapshot(&self) -> Seen {
        let mut seen = self.seen.clone();
        seen.status = self.status.load(Ordering::SeqCst);
        seen.request_id.clone_from(&self.request_id.lock().unwrap_or_else(PoisonError::into_inner));
        seen.received = self.received.load(Ordering::SeqCst);
        seen.sent = self.sent.load(Ordering::SeqCst);
        seen
    }
}

/// A running server. Dropping it ends it; `stop` ends it and waits.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    tls: bool,
    front: Arc<Front>,
}

impl Server {
    /// Starts one on a free port of loopback.
    ///
    /// # Errors
    /// If no socket can be had.
    pub async fn start(config: ServerConfig) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            region: config.region,
            store: Store::default(),
            policy: Policy::default(),
            keys: Keys::default(),
            clock: 0.into(),
        });
        shared.keys.set(config.keys);
        let service = Service::new(&shared);
        let (faults, entries, parked) = (Faults::default(), Mutex::default(), Parked::default());
        let front = Arc::new(Front { shared, service, faults, entries, parked });
        let listener = Listener::start(config.listen, config.tls.as_deref(), config.idle, Arc::clone(&front)).await?;
        Ok(Self { listener, tls: config.tls.is_some(), front })
    }

    /// Its URL, such as `https://localhost:40001`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.endpoint_at(self.address())
    }

    /// Its URL when it is reached by way of another address, such as a border's.
    #[must_use]
    pub fn endpoint_at(&self, address: SocketAddr) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://localhost:{}", address.port())
    }

    /// Its socket address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Its region.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.front.shared.region
    }

    /// What it holds.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.front.shared.store
    }

    /// What goes wrong.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.front.faults
    }

    /// What its caller may do.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.front.shared.policy
    }

    /// Who may call.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.front.shared.keys
    }

    /// Sets its clock ahead of the true time, or behind it if negative: both the Date it sends and what it compares
    /// signatures with.
    pub fn set_clock_ahead(&self, milliseconds: i64) {
        self.front.shared.clock.store(milliseconds, Ordering::Relaxed);
    }

    /// What it has seen, in the order in which the heads of requests came.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.front.entries().iter().map(|entry| entry.snapshot()).collect()
    }

    /// Forgets what it has seen.
    pub fn forget(&self) {
        self.front.entries().clear();
    }

    /// Carries out what was parked, in the order in which it came. What each was, and the status that nobody waits for.
    pub async fn land(&self) -> Vec<Landed> {
        self.front.parked.land(&self.front.service).await
    }

    /// Uploads that are begun and not over.
    #[must_use]
    pub fn open_uploads(&self) -> Vec<Upload> {
        self.store().open_uploads()
    }

    /// How many connections it has accepted since its start.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.listener.accepted()
    }

    /// How many of them resumed a TLS session of an earlier one.
    #[must_use]
    pub fn resumed_connections(&self) -> u64 {
        self.listener.resumed()
    }

    /// How many connections are open now.
    #[must_use]
    pub fn open_connections(&self) -> u64 {
        self.listener.open()
    }

    /// Ends it: no more connections, open ones dropped, every task of it over.
    pub async fn stop(self) {
        self.listener.stop().await;
    }
}

/// The HTTP side: record, faults, service.
struct Front {
    shared: Arc<Shared>,
    service: Service,
    faults: Faults,
    entries: Mutex<Vec<Arc<Entry>>>,
    parked: Parked,
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front").field("region", &self.shared.region).finish_non_exhaustive()
    }
}

impl Front {
    fn entries(&self) -> MutexGuard<'_, Vec<Arc<Entry>>> {
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
async fn drain(request: &mut Request<Body>) {
    let _ = each_piece(std::mem::take(request.body_mut()), drop).await;
}

/// A request body that counts what comes in.
struct Counted {
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

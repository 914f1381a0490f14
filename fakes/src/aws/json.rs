//! What stand-ins for services that speak JSON share: a listener, the look at a signature's scope, and the frame of a
//! reply.
//!
//! Signatures are not checked; that one was made for the service is.

use crate::fault::reply::Reply;
use crate::net::authority::Authority;
use crate::net::listener::{Connection, Handler, LOOPBACK, Listener};
use crate::s3::request::whole_body;
use crate::store::object::random;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use s3s::{Body, StdError};
use serde_json::{Value, json};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// A service that speaks JSON.
pub(crate) trait Service: Send + Sync + 'static {
    /// The name that its requests are signed for.
    const NAME: &'static str;
    /// The type of its documents.
    const CONTENT_TYPE: &'static str;
    /// Bytes of a request at most.
    const LIMIT: usize;

    /// Answers a request, whose operation stands in `X-Amz-Target`.
    fn answer(&self, operation: &str, request: &Value) -> (StatusCode, Value);

    /// Sees every request, those included that are refused without being asked about.
    fn seen(&self) {}
}

/// A refusal as these services give it.
pub(crate) fn refused(code: &str, message: &str) -> (StatusCode, Value) {
    (StatusCode::BAD_REQUEST, json!({ "__type": code, "Message": message }))
}

/// A running stand-in.
#[derive(Debug)]
pub(crate) struct Running<S> {
    listener: Listener,
    tls: bool,
    pub(crate) service: Arc<S>,
}

struct Door<S>(Arc<S>);

impl<S: Service> Running<S> {
    /// Starts one on a free port of loopback.
    pub(crate) async fn start(tls: Option<&Authority>, service: S) -> io::Result<Self> {
        let service = Arc::new(service);
        let listener = Listener::start(LOOPBACK, tls, None, Arc::new(Door(Arc::clone(&service)))).await?;
        Ok(Self { listener, tls: tls.is_some(), service })
    }

    /// Its URL.
    pub(crate) fn endpoint(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://localhost:{}", self.address().port())
    }

    /// Its socket address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Ends it and waits for its tasks.
    pub(crate) async fn stop(self) {
        self.listener.stop().await;
    }
}

impl<S: Service> Door<S> {
    fn answer(&self, head: &http::request::Parts, body: &[u8]) -> (StatusCode, Value) {
        let text =
            |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
        let authorization = text(AUTHORIZATION.as_str());
        let scope = format!("/{}/aws4_request", S::NAME);
        if !authorization.starts_with("AWS4-HMAC-SHA256") || !authorization.contains(&scope) {
            return refused("MissingAuthenticationTokenException", "Missing Authentication Token");
        }
        match serde_json::from_slice::<Value>(body) {
            Ok(request) => self.0.answer(text("x-amz-target"), &request),
            Err(_) => refused("SerializationException", ""),
        }
    }
}

impl<S: Service> Handler for Door<S> {
    async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        connection: Connection,
    ) -> Result<Response<Reply>, StdError> {
        self.0.seen();
        let (head, body) = request.into_parts();
        let body = whole_body(Body::from(body), S::LIMIT).await?;
        let (status, value) = self.answer(&head, &body);
        let mut reply = Response::new(Reply::new(Body::from(value.to_string()), Arc::default(), connection.flag()));
        *reply.status_mut() = status;
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(S::CONTENT_TYPE));
        if let Ok(id) = HeaderValue::from_str(&random(36)) {
            headers.insert("x-amzn-requestid", id);
        }
        Ok(reply)
    }
}

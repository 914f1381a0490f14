//! A stand-in for Secrets Manager: GetSecretValue and nothing else.
//!
//! It does not check signatures; it does want to see one made for `secretsmanager`.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use s3s::{Body, StdError};
use serde_json::{Value, json};

use super::authority::Authority;
use super::listener::{Connection, Handler, LOOPBACK, Listener};
use super::reply::Reply;
use super::service::whole_body;
use super::store::random;

/// GetSecretValue's request is a few hundred bytes.
const REQUEST_LIMIT: usize = 64 << 10;

/// A running vault.
#[derive(Debug)]
pub struct Vault {
    listener: Listener,
    tls: bool,
    door: Arc<Door>,
}

#[derive(Debug, Default)]
struct Door {
    secrets: Mutex<BTreeMap<String, Entry>>,
    calls: AtomicU64,
}

#[derive(Debug)]
enum Entry {
    Text { text: String, version: String },
    Refused { status: StatusCode, code: String, message: String },
}

impl Vault {
    /// Starts one on a free port of loopback.
    ///
    /// # Errors
    /// If no socket can be had.
    pub async fn start(tls: Option<&Authority>) -> io::Result<Self> {
        let door = Arc::<Door>::default();
        let listener = Listener::start(LOOPBACK, tls, None, Arc::clone(&door)).await?;
        Ok(Self { listener, tls: tls.is_some(), door })
    }

    /// Its URL.
    #[must_use]
    pub fn endpoint(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://localhost:{}", self.address().port())
    }

    /// Its socket address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Sets a secret's text under a new version.
    pub fn set(&self, name: &str, text: &str) {
        let entry = Entry::Text { text: text.to_owned(), version: random(32) };
        self.door.secrets().insert(name.to_owned(), entry);
    }

    /// Refuses a secret from now on, such as with 400 `AccessDeniedException`.
    pub fn refuse(&self, name: &str, status: u16, code: &str, message: &str) {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        let entry = Entry::Refused { status, code: code.to_owned(), message: message.to_owned() };
        self.door.secrets().insert(name.to_owned(), entry);
    }

    /// Forgets a secret.
    pub fn remove(&self, name: &str) {
        self.door.secrets().remove(name);
    }

    /// How many requests it has had, refused ones included.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.door.calls.load(Ordering::SeqCst)
    }

    /// Ends it and waits for its tasks.
    pub async fn stop(self) {
        self.listener.stop().await;
    }
}

impl Door {
    fn secrets(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, headers: &HeaderMap, body: &[u8]) -> (StatusCode, Value) {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
        let refused =
            |code: &str, message: &str| (StatusCode::BAD_REQUEST, json!({ "__type": code, "Message": message }));
        if text("x-amz-target") != "secretsmanager.GetSecretValue" {
            return refused("UnknownOperationException", "");
        }
        let authorization = text(AUTHORIZATION.as_str());
        if !authorization.starts_with("AWS4-HMAC-SHA256") || !authorization.contains("/secretsmanager/aws4_request") {
            return refused("MissingAuthenticationTokenException", "Missing Authentication Token");
        }
        let Ok(request) = serde_json::from_slice::<Value>(body) else {
            return refused("SerializationException", "");
        };
        let Some(id) = request.get("SecretId").and_then(Value::as_str) else {
            return refused("InvalidParameterException", "You must provide a value for the SecretId parameter.");
        };
        // A secret may be named by its ARN, which ends in the name, a dash and six random characters.
        let name =
            id.rsplit_once(":secret:").map_or(id, |(_, tail)| tail.rsplit_once('-').map_or(tail, |(name, _)| name));
        match self.secrets().get(name) {
            None => refused("ResourceNotFoundException", "Secrets Manager can't find the specified secret."),
            Some(Entry::Refused { status, code, message }) => (*status, json!({ "__type": code, "Message": message })),
            Some(Entry::Text { text, version }) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
                let secret = json!({
                    "ARN": format!("arn:aws-cn:secretsmanager:cn-northwest-1:111122223333:secret:{name}-AbCdEf"),
                    "Name": name,
                    "VersionId": version,
                    "SecretString": text,
                    "VersionStages": ["AWSCURRENT"],
                    "CreatedDate": now,
                });
                (StatusCode::OK, secret)
            }
        }
    }
}

impl Handler for Door {
    async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        connection: Connection,
    ) -> Result<Response<Reply>, StdError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let (head, body) = request.into_parts();
        let body = whole_body(Body::from(body), REQUEST_LIMIT).await?;
        let (status, value) = self.answer(&head.headers, &body);
        let mut reply = Response::new(Reply::new(Body::from(value.to_string()), Arc::default(), connection.flag()));
        *reply.status_mut() = status;
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
        if let Ok(id) = HeaderValue::from_str(&random(36)) {
            headers.insert("x-amzn-requestid", id);
        }
        Ok(reply)
    }
}

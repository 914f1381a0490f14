//! A stand-in for SQS: what the function asks of its queue, and nothing of delivering.
//!
//! It does not check signatures; it does want to see one made for `sqs`. Tests read what was sent and deliver it themselves.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use md5::{Digest as _, Md5};
use s3s::{Body, StdError};
use serde_json::{Value, json};

use super::authority::Authority;
use super::content::hex;
use super::listener::{Connection, Handler, LOOPBACK, Listener};
use super::reply::Reply;
use super::service::whole_body;
use super::store::random;

/// "Amazon SQS message quotas": a message has at most 1 MiB.
const REQUEST_LIMIT: usize = 2 << 20;

/// The queue's ARN as events name it.
pub const QUEUE_ARN: &str = "arn:aws-cn:sqs:cn-northwest-1:111122223333:events";
const DEAD_LETTERS_ARN: &str = "arn:aws-cn:sqs:cn-northwest-1:111122223333:events-dead-letters";

/// What was asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// A message in the queue, and the seconds after which it comes.
    Sent(Value, u64),
    /// A body among the dead letters, and its attributes.
    Buried(String, Value),
    /// A receipt handle, and the seconds after which its message comes again.
    Hidden(String, u64),
}

/// A running queue.
#[derive(Debug)]
pub struct Queue {
    listener: Listener,
    tls: bool,
    door: Arc<Door>,
}

#[derive(Debug, Default)]
struct Door {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    asked: Vec<Asked>,
    refused: Option<String>,
}

impl Queue {
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

    /// Takes all that was asked for so far.
    #[must_use]
    pub fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut self.door.state().asked)
    }

    /// Refuses everything with this code from now on.
    pub fn refuse(&self, code: &str) {
        self.door.state().refused = Some(code.to_owned());
    }
}

impl Door {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, headers: &HeaderMap, body: &[u8]) -> (StatusCode, Value) {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
        let refused = |code: &str| (StatusCode::BAD_REQUEST, json!({ "__type": code, "message": "refused" }));
        let authorization = text(AUTHORIZATION.as_str());
        if !authorization.starts_with("AWS4-HMAC-SHA256") || !authorization.contains("/sqs/aws4_request") {
            return refused("MissingAuthenticationToken");
        }
        let mut state = self.state();
        if let Some(code) = &state.refused {
            return refused(code);
        }
        let Ok(request) = serde_json::from_slice::<Value>(body) else { return refused("SerializationException") };
        let field = |name: &str| request[name].as_str().unwrap_or_default().to_owned();
        let queue = field("QueueUrl").rsplit('/').next().unwrap_or_default().to_owned();
        match (text("x-amz-target"), queue.as_str()) {
            ("AmazonSQS.SendMessage", "events") => match serde_json::from_str(&field("MessageBody")) {
                Ok(body) => {
                    let delay = request["DelaySeconds"].as_u64().unwrap_or_default();
                    state.asked.push(Asked::Sent(body, delay));
                }
                Err(_) => return refused("InvalidMessageContents"),
            },
            ("AmazonSQS.SendMessage", "events-dead-letters") => {
                state.asked.push(Asked::Buried(field("MessageBody"), request["MessageAttributes"].clone()));
            }
            ("AmazonSQS.ChangeMessageVisibility", "events") => {
                let seconds = request["VisibilityTimeout"].as_u64().unwrap_or_default();
                state.asked.push(Asked::Hidden(field("ReceiptHandle"), seconds));
            }
            ("AmazonSQS.GetQueueAttributes", "events") => {
                let policy = json!({ "deadLetterTargetArn": DEAD_LETTERS_ARN, "maxReceiveCount": "5" }).to_string();
                return (StatusCode::OK, json!({ "Attributes": { "RedrivePolicy": policy } }));
            }
            (_, "events" | "events-dead-letters") => return refused("UnsupportedOperation"),
            _ => return refused("QueueDoesNotExist"),
        }
        let md5 = hex(&Md5::digest(field("MessageBody")));
        (StatusCode::OK, json!({ "MessageId": random(36), "MD5OfMessageBody": md5 }))
    }
}

impl Handler for Door {
    async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        connection: Connection,
    ) -> Result<Response<Reply>, StdError> {
        let (head, body) = request.into_parts();
        let body = whole_body(Body::from(body), REQUEST_LIMIT).await?;
        let (status, value) = self.answer(&head.headers, &body);
        let mut reply = Response::new(Reply::new(Body::from(value.to_string()), Arc::default(), connection.flag()));
        *reply.status_mut() = status;
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
        if let Ok(id) = HeaderValue::from_str(&random(36)) {
            headers.insert("x-amzn-requestid", id);
        }
        Ok(reply)
    }
}

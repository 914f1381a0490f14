//! The function's queue: handing work on to another invocation, asking for a message later, putting one aside for good.
//!
//! Three operations of SQS's JSON protocol, over our own transport: AWS's SDK for them takes 100 KB of the function's
//! zip, which has a limit. Which message gets what is decided in `events::disposition`; here
//! it is done. Must not know the environment.

use crate::s3::http::endpoint::Region;
use crate::s3::http::sign::{Scope, sign_document};
use crate::wire::sdk::{Transport, Uncarried};
use aws_credential_types::Credentials;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use thiserror::Error;
use tokio::time::{sleep, timeout};

/// The longest one try may take. It is in the same region and takes milliseconds; what waits for it is an answer that
/// has to be given before the invocation's end.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a request is sent that nobody refused ("Error retries and exponential backoff in AWS": the SDKs' three).
const ATTEMPTS: u32 = 3;
/// Before the second try; twice as long before the third.
const PAUSE: Duration = Duration::from_millis(100);
/// "Amazon SQS message quotas": what an attribute of a dead letter may be cut to, far below a message's limit.
const ATTRIBUTE_LIMIT: usize = 1_000;

/// What could not be done with a message.
#[derive(Debug, Error)]
pub enum QueueError {
    /// The name is not that of a queue.
    #[error("`{0}` is not the ARN of an SQS queue")]
    NotAQueue(String),
    /// The queue has no dead-letter queue, or none that can be written to.
    #[error("{0} has no dead-letter queue")]
    NoDeadLetters(QueueArn),
    /// SQS refused, or did not answer.
    #[error("{operation} on {queue}: {what}")]
    Failed {
        /// The operation's name.
        operation: &'static str,
        /// The queue.
        queue: QueueArn,
        /// What it said.
        what: String,
    },
}

/// A queue's name in an event: `arn:aws-cn:sqs:cn-northwest-1:111122223333:name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueArn(Box<str>);

impl QueueArn {
    /// Reads one.
    ///
    /// # Errors
    /// [`QueueError::NotAQueue`].
    pub fn parse(text: &str) -> Result<Self, QueueError> {
        let fields: Vec<&str> = text.split(':').collect();
        match fields[..] {
            ["arn", _, "sqs", _, account, name] if !account.is_empty() && !name.is_empty() => Ok(Self(text.into())),
            _ => Err(QueueError::NotAQueue(text.chars().take(200).collect())),
        }
    }

    /// `account/name`, the path of its URL ("Amazon SQS queue and message identifiers").
    fn path(&self) -> String {
        let mut fields = self.0.rsplit(':');
        let (name, account) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        format!("{account}/{name}")
    }
}

impl std::fmt::Display for QueueArn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) struct Queues {
    transport: Transport,
    credentials: Credentials,
    region: Region,
    base: String,
    /// The dead-letter queue of each queue that was asked for one.
    dead_letters: Mutex<BTreeMap<QueueArn, Option<QueueArn>>>,
}

impl Queues {
    /// Of a region; nothing is asked for yet. `endpoint_url` takes the place of SQS's own.
    pub(crate) fn new(
        region: Region,
        credentials: Credentials,
        endpoint_url: Option<&str>,
        transport: Transport,
    ) -> Self {
        let own = || format!("https://sqs.{region}.{}", region.partition().suffix());
        let base = endpoint_url.map_or_else(own, |url| url.trim_end_matches('/').to_owned());
        Self { transport, credentials, region, base, dead_letters: Mutex::default() }
    }

    fn url(&self, queue: &QueueArn) -> String {
        format!("{}/{}", self.base, queue.path())
    }

    /// Puts a message into a queue, to come after so long, of at most 15 minutes ("SendMessage", DelaySeconds).
    ///
    /// # Errors
    /// [`QueueError::Failed`]; it may have been sent all the same.
    pub(crate) async fn send(&self, queue: &QueueArn, body: &Value, delay: Duration) -> Result<(), QueueError> {
        let request = json!({
            "QueueUrl": self.url(queue), "MessageBody": body.to_string(), "DelaySeconds": delay.as_secs(),
        });
        self.call("SendMessage", queue, &request).await.map(drop)
    }

    /// Lets a message come again after so long, instead of after the queue's own time.
    ///
    /// # Errors
    /// [`QueueError::Failed`]; then the message comes after the queue's own time.
    pub(crate) async fn delay(&self, queue: &QueueArn, receipt: &str, time: Duration) -> Result<(), QueueError> {
        let request = json!({
            "QueueUrl": self.url(queue), "ReceiptHandle": receipt, "VisibilityTimeout": time.as_secs(),
        });
        self.call("ChangeMessageVisibility", queue, &request).await.map(drop)
    }

    /// Puts a message's body into the dead-letter queue of its queue, with why it is there.
    ///
    /// # Errors
    /// [`QueueError::NoDeadLetters`], [`QueueError::Failed`].
    pub(crate) async fn dead_letter(
        &self,
        queue: &QueueArn,
        body: &str,
        class: &str,
        why: &str,
    ) -> Result<(), QueueError> {
        let grave = self.dead_letters_of(queue).await?;
        let attributes: serde_json::Map<String, Value> = [("ErrorClass", class), ("ErrorMessage", why)]
            .into_iter()
            // An attribute without text is refused.
            .filter(|(_, text)| !text.is_empty())
            .map(|(name, text)| {
                let text: String = text.chars().take(ATTRIBUTE_LIMIT).collect();
                (name.to_owned(), json!({ "DataType": "String", "StringValue": text }))
            })
            .collect();
        let request = json!({ "QueueUrl": self.url(&grave), "MessageBody": body, "MessageAttributes": attributes });
        self.call("SendMessage", &grave, &request).await.map(drop)
    }

    /// The queue that SQS itself would put messages of this queue aside in.
    async fn dead_letters_of(&self, queue: &QueueArn) -> Result<QueueArn, QueueError> {
        let none = || QueueError::NoDeadLetters(queue.clone());
        let known = self.dead_letters.lock().unwrap_or_else(PoisonError::into_inner).get(queue).cloned();
        if let Some(known) = known {
            return known.ok_or_else(none);
        }
        let request = json!({ "QueueUrl": self.url(queue), "AttributeNames": ["RedrivePolicy"] });
        let answer = self.call("GetQueueAttributes", queue, &request).await?;
        let found = answer.pointer("/Attributes/RedrivePolicy").and_then(Value::as_str).and_then(dead_letters_in);
        self.dead_letters.lock().unwrap_or_else(PoisonError::into_inner).insert(queue.clone(), found.clone());
        found.ok_or_else(none)
    }

    /// One operation, sent again while it may succeed.
    async fn call(&self, operation: &'static str, queue: &QueueArn, request: &Value) -> Result<Value, QueueError> {
        let document = Bytes::from(request.to_string());
        let (mut attempts, mut pause) = (0, PAUSE);
        loop {
            attempts += 1;
            let answer = match timeout(ATTEMPT_TIMEOUT, self.ask(operation, document.clone())).await {
                Ok(answer) => answer,
                Err(_) => Err(Unanswered::Again(format!("no answer within {ATTEMPT_TIMEOUT:?}"))),
            };
            match answer {
                Ok(value) => return Ok(value),
                Err(Unanswered::Again(_)) if attempts < ATTEMPTS => sleep(pause).await,
                Err(Unanswered::Again(what) | Unanswered::Refused(what)) => {
                    return Err(QueueError::Failed { operation, queue: queue.clone(), what });
                }
            }
            pause *= 2;
        }
    }

    async fn ask(&self, operation: &str, document: Bytes) -> Result<Value, Unanswered> {
        let uri = format!("{}/", self.base);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
        let target = HeaderValue::from_str(&format!("AmazonSQS.{operation}"));
        headers.insert("x-amz-target", target.map_err(|error| Unanswered::Refused(error.to_string()))?);
        let scope = Scope { credentials: &self.credentials, region: self.region.as_str(), now: SystemTime::now() };
        sign_document("sqs", &uri, &mut headers, &document, scope)
            .map_err(|error| Unanswered::Refused(error.to_string()))?;
        let mut request = Request::post(uri).body(document).map_err(|error| Unanswered::Refused(error.to_string()))?;
        *request.headers_mut() = headers;
        match self.transport.carry(request).await {
            Ok(response) => read(&response),
            Err(lost @ Uncarried::Lost(_)) => Err(Unanswered::Again(lost.to_string())),
            Err(unfit @ Uncarried::Unfit(_)) => Err(Unanswered::Refused(unfit.to_string())),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The same may succeed in a moment.
    Again(String),
    /// It will not.
    Refused(String),
}

/// Reads a reply: a document, or `{"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": …}`.
///
/// # Errors
/// [`Unanswered`], for everything but a 200 with a document or nothing in it.
pub fn read(response: &Response<Bytes>) -> Result<Value, Unanswered> {
    let (status, body) = (response.status(), response.body());
    if status == StatusCode::OK {
        // ChangeMessageVisibility answers with nothing.
        let empty = body.is_empty().then_some(Value::Null);
        let value = empty.or_else(|| serde_json::from_slice(body).ok());
        return value.ok_or_else(|| Unanswered::Again("SQS sent a reply that is not JSON".to_owned()));
    }
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
    let code = text("__type").rsplit('#').next().unwrap_or_default();
    let message = if text("message").is_empty() { text("Message") } else { text("message") };
    let what = format!("{status} {code} {message}").trim_end().to_owned();
    let is_throttled = code.contains("Throttl") || code.contains("TooManyRequests") || code == "RequestLimitExceeded";
    let again = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS || is_throttled;
    Err(if again { Unanswered::Again(what) } else { Unanswered::Refused(what) })
}

/// The queue in `{"deadLetterTargetArn":"arn:…","maxReceiveCount":"5"}`.
pub fn dead_letters_in(policy: &str) -> Option<QueueArn> {
    let policy: Value = serde_json::from_str(policy).ok()?;
    QueueArn::parse(policy.get("deadLetterTargetArn")?.as_str()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_is_a_queue_s_or_none() {
        let arn = QueueArn::parse("arn:aws-cn:sqs:cn-northwest-1:111122223333:a-queue.fifo").unwrap();
        assert_eq!(arn.path(), "111122223333/a-queue.fifo");
        for bad in ["", "arn", "arn:aws:sns:r:1:n", "arn:aws:sqs:r::n", "arn:aws:sqs:r:1:", "arn:aws:sqs:r:1:n:x"] {
            assert!(QueueArn::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_redrive_policy_names_the_dead_letter_queue() {
        let policy = r#"{"deadLetterTargetArn":"arn:aws-cn:sqs:cn-north-1:1:dead","maxReceiveCount":"5"}"#;
        assert_eq!(dead_letters_in(policy).unwrap().path(), "1/dead");
        for bad in ["", "{}", r#"{"deadLetterTargetArn":5}"#] {
            assert_eq!(dead_letters_in(bad), None);
        }
    }

    #[test]
    fn replies_are_documents_refusals_or_worth_another_try() {
        let check = |status: u16, body: &'static str, expected| {
            let response = Response::builder().status(status).body(Bytes::from_static(body.as_bytes())).unwrap();
            assert_eq!(read(&response), expected, "{body}");
        };
        check(200, "", Ok(Value::Null));
        check(200, r#"{"MessageId":"m"}"#, Ok(json!({ "MessageId": "m" })));
        check(200, "<html>", Err(Unanswered::Again("SQS sent a reply that is not JSON".into())));
        let gone = r#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"It does not exist."}"#;
        check(400, gone, Err(Unanswered::Refused("400 Bad Request QueueDoesNotExist It does not exist.".into())));
        check(
            400,
            r#"{"__type":"RequestThrottled"}"#,
            Err(Unanswered::Again("400 Bad Request RequestThrottled".into())),
        );
        check(503, "", Err(Unanswered::Again("503 Service Unavailable".into())));
        check(403, "<html>", Err(Unanswered::Refused("403 Forbidden".into())));
    }
}

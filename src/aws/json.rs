//! A small client for services that speak JSON: signed POSTs of documents, sent again while that may help.
//!
//! AWS's SDK for one of them takes 100 KB of the function's zip, which has a limit. Must not know what is asked.

use crate::s3::http::endpoint::Region;
use crate::s3::http::sign::{Scope, sign_document};
use crate::wire::sdk::{Transport, Uncarried};
use aws_credential_types::Credentials;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use serde_json::Value;
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

/// How a service is spoken to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JsonProtocol {
    /// Its name in endpoints and signatures.
    pub(crate) name: &'static str,
    /// What comes before the operation's name in `X-Amz-Target`.
    pub(crate) target: &'static str,
    pub(crate) content_type: &'static str,
}

/// A service of a region.
pub(crate) struct JsonService {
    protocol: JsonProtocol,
    transport: Transport,
    credentials: Credentials,
    region: Region,
    endpoint: String,
}

impl JsonService {
    /// Nothing is asked for yet. `endpoint_url` takes the place of the service's own.
    pub(crate) fn new(
        protocol: JsonProtocol,
        region: Region,
        credentials: Credentials,
        endpoint_url: Option<&str>,
        transport: Transport,
    ) -> Self {
        let own = || format!("https://{}.{region}.{}", protocol.name, region.partition().suffix());
        let endpoint = endpoint_url.map_or_else(own, |url| url.trim_end_matches('/').to_owned());
        Self { protocol, transport, credentials, region, endpoint }
    }

    /// Its URL, without a slash at the end.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// One operation, sent again while it may succeed.
    pub(crate) async fn call(&self, operation: &str, request: &Value) -> Result<Value, Unanswered> {
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
                Err(unanswered) => return Err(unanswered),
            }
            pause *= 2;
        }
    }

    async fn ask(&self, operation: &str, document: Bytes) -> Result<Value, Unanswered> {
        let uri = format!("{}/", self.endpoint);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.protocol.content_type));
        let target = HeaderValue::from_str(&format!("{}.{operation}", self.protocol.target));
        headers.insert("x-amz-target", target.map_err(|error| Unanswered::Refused(error.to_string()))?);
        let scope = Scope { credentials: &self.credentials, region: self.region.as_str(), now: SystemTime::now() };
        sign_document(self.protocol.name, &uri, &mut headers, &document, scope)
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
#[derive(Debug, PartialEq, Eq, Error)]
pub enum Unanswered {
    /// The same may succeed in a moment.
    #[error("{0}")]
    Again(String),
    /// It will not.
    #[error("{0}")]
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
        return value.ok_or_else(|| Unanswered::Again("the reply is not JSON".to_owned()));
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn replies_are_documents_refusals_or_worth_another_try() {
        let check = |status: u16, body: &'static str, expected| {
            let response = Response::builder().status(status).body(Bytes::from_static(body.as_bytes())).unwrap();
            assert_eq!(read(&response), expected, "{body}");
        };
        check(200, "", Ok(Value::Null));
        check(200, r#"{"MessageId":"m"}"#, Ok(json!({ "MessageId": "m" })));
        check(200, "<html>", Err(Unanswered::Again("the reply is not JSON".into())));
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

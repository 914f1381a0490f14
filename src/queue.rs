//! The function's queue: handing work on to another invocation, asking for a message later, putting one aside for good.
//!
//! Three operations of SQS's JSON protocol, over our own transport: AWS's SDK for them takes 100 KB of the function's
//! zip, which has a limit. Which message gets what is decided in `events::disposition`; here
//! it is done. Must not know the environment.

use crate::aws::json::{JsonProtocol, JsonService};
use crate::s3::http::endpoint::Region;
use crate::wire::sdk::Transport;
use aws_credential_types::Credentials;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;

const SQS: JsonProtocol = JsonProtocol { name: "sqs", target: "AmazonSQS", content_type: "application/x-amz-json-1.0" };
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
    service: JsonService,
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
        let service = JsonService::new(SQS, region, credentials, endpoint_url, transport);
        Self { service, dead_letters: Mutex::default() }
    }

    fn url(&self, queue: &QueueArn) -> String {
        format!("{}/{}", self.service.endpoint(), queue.path())
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

    async fn call(&self, operation: &'static str, queue: &QueueArn, request: &Value) -> Result<Value, QueueError> {
        let answer = self.service.call(operation, request).await;
        answer.map_err(|unanswered| QueueError::Failed {
            operation,
            queue: queue.clone(),
            what: unanswered.to_string(),
        })
    }
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
}

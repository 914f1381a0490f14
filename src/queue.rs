//! The function's queue: handing work on to another invocation, asking for a message later, putting one aside for good.
//!
//! SQS is called through AWS's SDK over whatever [`SharedHttpClient`] it is given, as Secrets Manager is. Which message gets
//! what is decided in `events::disposition`; here it is done. Must not know the environment.

use crate::s3::endpoint::Region;
use aws_credential_types::provider::ProvideCredentials;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{self, BehaviorVersion, StalledStreamProtectionConfig};
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::{MessageAttributeValue, QueueAttributeName};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;

/// The longest one try may take. It is in the same region and takes milliseconds; what waits for it is an answer that has to
/// be given before the invocation's end.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
/// "Amazon SQS message quotas": what an attribute of a dead letter may be cut to, far below a message's limit.
const ATTRIBUTE_LIMIT: usize = 1_000;

/// What could not be done with a message.
#[derive(Debug, Error)]
pub enum QueueError {
    /// The name is not that of a queue.
    #[error("`{0}` is not the ARN of a queue")]
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

/// The queues of one region.
pub struct Queues {
    client: Client,
    base: String,
    /// The dead-letter queue of each queue that was asked for one.
    dead_letters: Mutex<BTreeMap<QueueArn, Option<QueueArn>>>,
}

impl Queues {
    /// A client that has not asked for anything yet. `endpoint_url` takes the place of SQS's own.
    pub fn new(
        region: &Region,
        credentials: impl ProvideCredentials + 'static,
        endpoint_url: Option<&str>,
        http: SharedHttpClient,
    ) -> Self {
        let mut config = config::Builder::new()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(config::Region::new(region.to_string()))
            .credentials_provider(credentials)
            .http_client(http)
            .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build())
            // A reply of a few hundred bytes does not stall by halves, and a sandbox is frozen between invocations.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        config.set_endpoint_url(endpoint_url.map(str::to_owned));
        let own = || format!("https://sqs.{region}.{}", region.partition().suffix());
        let base = endpoint_url.map_or_else(own, |url| url.trim_end_matches('/').to_owned());
        Self { client: Client::from_conf(config.build()), base, dead_letters: Mutex::default() }
    }

    fn url(&self, queue: &QueueArn) -> String {
        format!("{}/{}", self.base, queue.path())
    }

    /// Puts a message into a queue, to come after so long, of at most 15 minutes ("SendMessage", DelaySeconds).
    ///
    /// # Errors
    /// [`QueueError::Failed`]; it may have been sent all the same.
    pub async fn send(&self, queue: &QueueArn, body: &Value, delay: Duration) -> Result<(), QueueError> {
        let sending = self.client.send_message().queue_url(self.url(queue)).message_body(body.to_string());
        let sent = sending.delay_seconds(seconds(delay)).send().await;
        sent.map(drop).map_err(|error| failed("SendMessage", queue, &DisplayErrorContext(error)))
    }

    /// Lets a message come again after so long, instead of after the queue's own time.
    ///
    /// # Errors
    /// [`QueueError::Failed`]; then the message comes after the queue's own time.
    pub async fn hide(&self, queue: &QueueArn, receipt: &str, time: Duration) -> Result<(), QueueError> {
        let changing = self.client.change_message_visibility().queue_url(self.url(queue));
        let changed = changing.receipt_handle(receipt).visibility_timeout(seconds(time)).send().await;
        changed.map(drop).map_err(|error| failed("ChangeMessageVisibility", queue, &DisplayErrorContext(error)))
    }

    /// Puts a message's body into the dead-letter queue of its queue, with why it is there.
    ///
    /// # Errors
    /// [`QueueError::NoDeadLetters`], [`QueueError::Failed`].
    pub async fn bury(&self, queue: &QueueArn, body: &str, class: &str, why: &str) -> Result<(), QueueError> {
        let grave = self.dead_letters_of(queue).await?;
        let attribute = |text: &str| {
            let text: String = text.chars().take(ATTRIBUTE_LIMIT).collect();
            MessageAttributeValue::builder().data_type("String").string_value(text).build().ok()
        };
        let mut sending = self.client.send_message().queue_url(self.url(&grave)).message_body(body);
        for (name, text) in [("ErrorClass", class), ("ErrorMessage", why)] {
            // An attribute without text is refused.
            if let Some(value) = Some(text).filter(|text| !text.is_empty()).and_then(attribute) {
                sending = sending.message_attributes(name, value);
            }
        }
        let sent = sending.send().await;
        sent.map(drop).map_err(|error| failed("SendMessage", &grave, &DisplayErrorContext(error)))
    }

    /// The queue that SQS itself would put messages of this queue aside in.
    async fn dead_letters_of(&self, queue: &QueueArn) -> Result<QueueArn, QueueError> {
        let none = || QueueError::NoDeadLetters(queue.clone());
        let known = self.dead_letters.lock().unwrap_or_else(PoisonError::into_inner).get(queue).cloned();
        if let Some(known) = known {
            return known.ok_or_else(none);
        }
        let asking = self.client.get_queue_attributes().queue_url(self.url(queue));
        let answer = asking.attribute_names(QueueAttributeName::RedrivePolicy).send().await;
        let attributes = answer.map_err(|error| failed("GetQueueAttributes", queue, &DisplayErrorContext(error)))?;
        let policy = attributes.attributes().and_then(|all| all.get(&QueueAttributeName::RedrivePolicy));
        let found = policy.and_then(|policy| dead_letters_in(policy));
        self.dead_letters.lock().unwrap_or_else(PoisonError::into_inner).insert(queue.clone(), found.clone());
        found.ok_or_else(none)
    }
}

/// `{"deadLetterTargetArn":"arn:…","maxReceiveCount":"5"}`.
fn dead_letters_in(policy: &str) -> Option<QueueArn> {
    let policy: Value = serde_json::from_str(policy).ok()?;
    QueueArn::parse(policy.get("deadLetterTargetArn")?.as_str()?).ok()
}

fn seconds(time: Duration) -> i32 {
    i32::try_from(time.as_secs()).unwrap_or(i32::MAX)
}

fn failed(operation: &'static str, queue: &QueueArn, what: &dyn std::fmt::Display) -> QueueError {
    QueueError::Failed { operation, queue: queue.clone(), what: what.to_string() }
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

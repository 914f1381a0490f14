//! A stand-in for SQS: what the function asks of its queue, and nothing of delivering. Tests read what was sent and
//! deliver it themselves.

use crate::aws::json::{Running, Service, refused};
use crate::net::authority::Authority;
use crate::s3::auth::policy::Policy;
use crate::store::content::hex;
use crate::store::object::random;
use http::StatusCode;
use md5::{Digest as _, Md5};
use serde_json::{Value, json};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

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
pub struct Queue(Running<Sqs>);

#[derive(Debug, Default)]
struct Sqs {
    policy: Policy,
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
        Running::start(tls, Sqs::default()).await.map(Self)
    }

    /// Its URL.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.0.endpoint()
    }

    /// Takes all that was asked for so far.
    #[must_use]
    pub fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut self.0.service.state().asked)
    }

    /// What its caller may do, with `events` and `events-dead-letters` for resources.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.0.service.policy
    }

    /// Refuses everything with this code from now on.
    pub fn refuse(&self, code: &str) {
        self.0.service.state().refused = Some(code.to_owned());
    }
}

impl Sqs {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service for Sqs {
    const NAME: &'static str = "sqs";
    const CONTENT_TYPE: &'static str = "application/x-amz-json-1.0";
    /// "Amazon SQS message quotas": a message has at most 1 MiB.
    const LIMIT: usize = 2 << 20;

    fn answer(&self, operation: &str, request: &Value) -> (StatusCode, Value) {
        let mut state = self.state();
        if let Some(code) = &state.refused {
            return refused(code, "refused");
        }
        let field = |name: &str| request[name].as_str().unwrap_or_default().to_owned();
        let queue = field("QueueUrl").rsplit('/').next().unwrap_or_default().to_owned();
        let action = operation.replace("AmazonSQS.", "sqs:");
        if !self.policy.grants(&action, &queue, "") {
            return refused(
                "com.amazonaws.sqs#AccessDeniedException",
                &format!("no identity-based policy allows {action}"),
            );
        }
        match (operation, queue.as_str()) {
            ("AmazonSQS.SendMessage", "events") => match serde_json::from_str(&field("MessageBody")) {
                Ok(body) => {
                    let delay = request["DelaySeconds"].as_u64().unwrap_or_default();
                    state.asked.push(Asked::Sent(body, delay));
                }
                Err(_) => return refused("InvalidMessageContents", ""),
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
            (_, "events" | "events-dead-letters") => return refused("UnsupportedOperation", ""),
            _ => return refused("QueueDoesNotExist", ""),
        }
        let md5 = hex(&Md5::digest(field("MessageBody")));
        (StatusCode::OK, json!({ "MessageId": random(36), "MD5OfMessageBody": md5 }))
    }
}

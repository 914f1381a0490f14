//! A stand-in for Secrets Manager: GetSecretValue and nothing else.

use crate::aws::json::{Running, Service, refused};
use crate::net::authority::Authority;
use crate::s3::auth::policy::Policy;
use crate::store::object::random;
use http::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// What Secrets Manager appends to a name in an ARN, with a dash before it.
const SUFFIX: &str = "AbCdEf";

/// A running vault.
#[derive(Debug)]
pub struct Vault(Running<Secrets>);

#[derive(Debug, Default)]
struct Secrets {
    secrets: Mutex<BTreeMap<String, Entry>>,
    policy: Policy,
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
        Running::start(tls, Secrets::default()).await.map(Self)
    }

    /// Its URL.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.0.endpoint()
    }

    /// Its socket address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Sets a secret's text under a new version.
    pub fn set(&self, name: &str, text: &str) {
        let entry = Entry::Text { text: text.to_owned(), version: random(32) };
        self.0.service.secrets().insert(name.to_owned(), entry);
    }

    /// Refuses a secret from now on, such as with 400 `AccessDeniedException`.
    pub fn refuse(&self, name: &str, status: u16, code: &str, message: &str) {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        let entry = Entry::Refused { status, code: code.to_owned(), message: message.to_owned() };
        self.0.service.secrets().insert(name.to_owned(), entry);
    }

    /// Forgets a secret.
    pub fn remove(&self, name: &str) {
        self.0.service.secrets().remove(name);
    }

    /// What its caller may do; a secret is named as its ARN ends: its name, a dash, six characters.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.0.service.policy
    }

    /// How many requests it has had, refused ones included.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.0.service.calls.load(Ordering::SeqCst)
    }

    /// Ends it and waits for its tasks.
    pub async fn stop(self) {
        self.0.stop().await;
    }
}

impl Secrets {
    fn secrets(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service for Secrets {
    const NAME: &'static str = "secretsmanager";
    const CONTENT_TYPE: &'static str = "application/x-amz-json-1.1";
    /// GetSecretValue's request is a few hundred bytes.
    const LIMIT: usize = 64 << 10;

    fn seen(&self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
    }

    fn answer(&self, operation: &str, request: &Value) -> (StatusCode, Value) {
        if operation != "secretsmanager.GetSecretValue" {
            return refused("UnknownOperationException", "");
        }
        let Some(id) = request.get("SecretId").and_then(Value::as_str) else {
            return refused("InvalidParameterException", "You must provide a value for the SecretId parameter.");
        };
        // A secret may be named by its ARN, which ends in the name, a dash and six random characters.
        let name =
            id.rsplit_once(":secret:").map_or(id, |(_, tail)| tail.rsplit_once('-').map_or(tail, |(name, _)| name));
        if !self.policy.grants("secretsmanager:GetSecretValue", &format!("{name}-{SUFFIX}"), "") {
            let message = format!(
                "User: arn:aws-cn:sts::111122223333:assumed-role/xpsync is not authorized to perform: \
                 secretsmanager:GetSecretValue on resource: {name} because no identity-based policy allows the \
                 secretsmanager:GetSecretValue action"
            );
            return refused("AccessDeniedException", &message);
        }
        match self.secrets().get(name) {
            None => refused("ResourceNotFoundException", "Secrets Manager can't find the specified secret."),
            Some(Entry::Refused { status, code, message }) => (*status, json!({ "__type": code, "Message": message })),
            Some(Entry::Text { text, version }) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
                let secret = json!({
                    "ARN": format!("arn:aws-cn:secretsmanager:cn-northwest-1:111122223333:secret:{name}-{SUFFIX}"),
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

//! The target's keys: what the secret has to look like, and fetching it.
//!
//! Secrets Manager is called through AWS's SDK for its error model and endpoint rules, over whatever
//! [`SharedHttpClient`] it is given, so that a binary has one TLS stack and one HTTP client. Must not know the
//! environment.
//!
//! No message, report or `Debug` shows a secret's content: messages are made of its id, of names of fields that are
//! written here, and of what AWS says about a refusal. Our own copies are zeroed on drop.

use crate::s3::error::Class;
use crate::s3::http::endpoint::Region;
use crate::wire::gate::Boxed;
use crate::wire::keys::{Fetch, KeysError, KeysFault};
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::timeout::TimeoutConfig;
use aws_sdk_secretsmanager::config::{self, BehaviorVersion, StalledStreamProtectionConfig};
use aws_sdk_secretsmanager::error::SdkError;
use aws_sdk_secretsmanager::operation::RequestId;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use serde_json::{Map, Value};
use std::fmt;
use std::time::Duration;
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

/// The longest one try may take. GetSecretValue takes milliseconds; a sandbox in a VPC without a route to it waits for
/// ever, and should say so while there is time to answer. With the SDK's three tries the answer comes within half a
/// minute.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// The names that each key may have in the secret; the first is the one that messages ask for.
const ACCESS_KEY_ID: [&str; 3] = ["aws_access_key_id", "AccessKeyId", "access_key_id"];
const SECRET_ACCESS_KEY: [&str; 3] = ["aws_secret_access_key", "SecretAccessKey", "secret_access_key"];
const SESSION_TOKEN: [&str; 3] = ["aws_session_token", "SessionToken", "session_token"];

/// Why there are no keys, in one sentence that names the secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("secret `{secret}` {what}")]
pub struct SecretProblem {
    /// Its name or ARN, as it was asked for.
    pub(crate) secret: String,
    /// What is wrong with it.
    pub(crate) what: String,
    /// Why its keys cannot be had.
    pub fault: KeysFault,
    /// AWS's code, if it was AWS that refused.
    pub(crate) code: Option<String>,
    /// The HTTP status of a refusal.
    pub(crate) status: Option<u16>,
    /// The request's id.
    pub(crate) request_id: Option<String>,
    /// What to do about it, in a sentence.
    pub(crate) hint: String,
}

impl SecretProblem {
    fn new(secret: &str, fault: KeysFault, what: impl Into<String>, hint: impl Into<String>) -> Box<Self> {
        let (secret, what, hint) = (secret.to_owned(), what.into(), hint.into());
        Box::new(Self { secret, what, fault, code: None, status: None, request_id: None, hint })
    }

    /// The secret was read and is not what it has to be.
    fn shape(secret: &str, what: impl Into<String>) -> Box<Self> {
        let hint = format!(
            "Store {{\"{}\": \"…\", \"{}\": \"…\"}} in the secret, with the access key of the target's user.",
            ACCESS_KEY_ID[0], SECRET_ACCESS_KEY[0]
        );
        Self::new(secret, KeysFault::Misconfigured, what, hint)
    }
}

/// Keys as they stand in a secret.
pub struct TargetKeys {
    access_key_id: Zeroizing<String>,
    secret_access_key: Zeroizing<String>,
    session_token: Option<Zeroizing<String>>,
}

impl TargetKeys {
    /// Reads a secret's content.
    ///
    /// # Errors
    /// [`SecretProblem`] of class `configuration`: not a JSON object, a key missing, empty, not a string, or with a
    /// character in it that no key has, such as the line break of a file that was pasted.
    pub fn read(secret: &str, content: &[u8]) -> Result<Self, Box<SecretProblem>> {
        let problem = |what: String| SecretProblem::shape(secret, what);
        // The parser's own message is left out: it may quote what it read.
        let mut parsed = Wiped(serde_json::from_slice(content).map_err(|_| problem("does not hold JSON".to_owned()))?);
        let Value::Object(fields) = &mut parsed.0 else {
            return Err(problem("holds JSON that is not an object".to_owned()));
        };
        let mut required = |names: [&'static str; 3]| match take(fields, names).map_err(problem)? {
            Some((name, key)) if key.is_empty() => Err(problem(format!("has an empty `{name}`"))),
            Some((_, key)) => Ok(key),
            None => Err(problem(format!("has no `{}`", names[0]))),
        };
        let access_key_id = required(ACCESS_KEY_ID)?;
        let secret_access_key = required(SECRET_ACCESS_KEY)?;
        // A template that has no token writes an empty one.
        let session_token = take(fields, SESSION_TOKEN).map_err(problem)?.map(|(_, token)| token);
        let session_token = session_token.filter(|token| !token.is_empty());
        Ok(Self { access_key_id, secret_access_key, session_token })
    }
}

impl From<TargetKeys> for Credentials {
    /// The strings move: the credentials own them from here on, and zero them.
    fn from(mut keys: TargetKeys) -> Self {
        let token = keys.session_token.as_mut().map(|token| std::mem::take(&mut **token));
        let (id, secret) = (&mut *keys.access_key_id, &mut *keys.secret_access_key);
        Self::new(std::mem::take(id), std::mem::take(secret), token, None, "secret")
    }
}

impl fmt::Debug for TargetKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TargetKeys").finish_non_exhaustive()
    }
}

/// Takes out the first of the names that has a value.
fn take(
    fields: &mut Map<String, Value>,
    names: [&'static str; 3],
) -> Result<Option<(&'static str, Zeroizing<String>)>, String> {
    for name in names {
        match fields.get_mut(name) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => {
                let key = Zeroizing::new(std::mem::take(text));
                if key.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Ok(Some((name, key)));
                }
                return Err(format!("has a space, a line break or another invalid character in `{name}`"));
            }
            Some(_) => return Err(format!("has a `{name}` that is not a string")),
        }
    }
    Ok(None)
}

/// A parsed secret, whose strings are zeroed whatever was taken from it.
struct Wiped(Value);

impl Drop for Wiped {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A client of Secrets Manager over the given transport. `endpoint_url` replaces the region's own endpoint.
pub(crate) fn client(
    region: &Region,
    credentials: impl ProvideCredentials + 'static,
    endpoint_url: Option<&str>,
    http: SharedHttpClient,
) -> Client {
    let mut config = config::Builder::new()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(config::Region::new(region.to_string()))
        .credentials_provider(credentials)
        .http_client(http)
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build())
        // A reply of a few hundred bytes does not stall by halves, and a sandbox is frozen between invocations.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    config.set_endpoint_url(endpoint_url.map(str::to_owned));
    Client::from_conf(config.build())
}

/// Fetches the secret's current value and reads the keys in it.
///
/// # Errors
/// [`SecretProblem`]: `configuration` for a secret of the wrong shape, `missing`, `refused`, `throttled` and
/// `transient` for what AWS refused, `network` for no answer.
pub(crate) async fn fetch(client: &Client, secret: &str) -> Result<Credentials, Box<SecretProblem>> {
    let reply = client.get_secret_value().secret_id(secret).send().await;
    let value = reply.map_err(|error| not_fetched(secret, &error))?;
    let content = match (value.secret_string, value.secret_binary) {
        (Some(text), _) => Zeroizing::new(text.into_bytes()),
        (None, Some(blob)) => Zeroizing::new(blob.into_inner()),
        (None, None) => return Err(SecretProblem::shape(secret, "has no value")),
    };
    TargetKeys::read(secret, &content).map(Credentials::from)
}

fn not_fetched(secret: &str, error: &SdkError<GetSecretValueError, HttpResponse>) -> Box<SecretProblem> {
    match error {
        SdkError::ServiceError(refused) if !refused.raw().status().is_success() => {
            let (status, meta) = (refused.raw().status().as_u16(), refused.err().meta());
            let code = meta.code().unwrap_or("an error without a code");
            let (fault, hint) = advice(code, status);
            let what = match meta.message() {
                Some(message) => format!("cannot be read: {code}: {message}"),
                None => format!("cannot be read: {code}, status {status}"),
            };
            Box::new(SecretProblem {
                code: meta.code().map(str::to_owned),
                status: Some(status),
                request_id: error.request_id().map(str::to_owned),
                ..*SecretProblem::new(secret, fault, what, hint)
            })
        }
        SdkError::ConstructionFailure(_) => {
            let hint = "Check the source's region, the Secrets Manager endpoint URL and the source's credentials.";
            let what = format!("cannot be requested: {}", chain(error));
            SecretProblem::new(secret, KeysFault::Misconfigured, what, hint)
        }
        // The causes are left out: a parser may quote what it read, and that may be the value.
        SdkError::ServiceError(_) | SdkError::ResponseError(_) => {
            let hint = "Check what answers at the Secrets Manager endpoint: it is not Secrets Manager, or a proxy \
                        changes its replies.";
            SecretProblem::new(
                secret,
                KeysFault::Refused(Class::Transient),
                "cannot be read: the reply from Secrets Manager is not understood",
                hint,
            )
        }
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | _ => {
            let hint = "Check the network route to Secrets Manager in the source's region. A function in a VPC needs \
                        a NAT gateway or an interface endpoint.";
            SecretProblem::new(secret, KeysFault::Unreachable, format!("cannot be reached: {}", chain(error)), hint)
        }
    }
}

/// "GetSecretValue", errors, and the common errors of AWS's APIs.
fn advice(code: &str, status: u16) -> (KeysFault, &'static str) {
    match code {
        "ResourceNotFoundException" => (
            KeysFault::Refused(Class::Missing),
            "The secret does not exist in the source's account and region. Create it with a value, or correct its \
             name.",
        ),
        // A missing kms:Decrypt comes as this code too.
        "AccessDeniedException" => (
            KeysFault::Refused(Class::Refused),
            "Allow secretsmanager:GetSecretValue on the secret, and kms:Decrypt on its KMS key unless that is \
             aws/secretsmanager.",
        ),
        "DecryptionFailure" => (
            KeysFault::Refused(Class::Refused),
            "Allow kms:Decrypt on the secret's KMS key, and check that the key is enabled.",
        ),
        "InvalidRequestException" => (
            KeysFault::Refused(Class::Refused),
            "Check that the secret is not scheduled for deletion, and that it has a value labelled AWSCURRENT.",
        ),
        "InvalidParameterException" | "ValidationException" => {
            (KeysFault::Misconfigured, "Correct the secret's name or ARN.")
        }
        "ExpiredTokenException" | "InvalidSignatureException" | "UnrecognizedClientException" => {
            (KeysFault::Refused(Class::Refused), "Check the source's credentials and this machine's clock.")
        }
        "ThrottlingException" | "TooManyRequestsException" => {
            (KeysFault::Refused(Class::Throttled), "Try again later.")
        }
        _ if status >= 500 => (KeysFault::Refused(Class::Transient), "Try again later."),
        _ => (KeysFault::Refused(Class::Refused), "Look up this error code in AWS's documentation of GetSecretValue."),
    }
}

/// An error and its sources in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The secret as a place to fetch keys from.
pub(crate) struct Secret {
    client: Client,
    id: String,
}

impl Secret {
    /// A secret by its name or ARN.
    pub(crate) fn new(client: Client, id: &str) -> Self {
        Self { client, id: id.to_owned() }
    }
}

impl Fetch for Secret {
    fn fetch(&self) -> Boxed<'_, Result<Credentials, KeysError>> {
        Box::pin(async { fetch(&self.client, &self.id).await.map_err(KeysError::from) })
    }
}

impl From<Box<SecretProblem>> for KeysError {
    fn from(problem: Box<SecretProblem>) -> Self {
        Self { message: problem.to_string(), hint: Some(problem.hint), fault: problem.fault }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::keys::KeysFault;
    use aws_smithy_runtime_api::client::http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
    };
    use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
    use aws_smithy_types::body::SdkBody;
    use serde_json::json;
    use std::sync::{Arc, Mutex};

    const KEYS: &str = r#"{"aws_access_key_id":"AKIDTARGET","aws_secret_access_key":"hidden/+="}"#;

    fn read(content: &str) -> Result<Credentials, Box<SecretProblem>> {
        TargetKeys::read("keys", content.as_bytes()).map(Credentials::from)
    }

    #[test]
    fn keys_are_read_by_all_their_names() {
        let check = |content: &str, token: Option<&str>| {
            let credentials = read(content).unwrap();
            assert_eq!(credentials.access_key_id(), "AKIDTARGET", "{content}");
            assert_eq!(credentials.secret_access_key(), "hidden/+=");
            assert_eq!(credentials.session_token(), token);
        };
        check(KEYS, None);
        check(
            r#"{"AccessKeyId":"AKIDTARGET","SecretAccessKey":"hidden/+=","SessionToken":"token","Expiration":1}"#,
            Some("token"),
        );
        check(
            r#"{"access_key_id":"AKIDTARGET","secret_access_key":"hidden/+=","session_token":"token"}"#,
            Some("token"),
        );
        check(r#"{"aws_access_key_id":"AKIDTARGET","SecretAccessKey":"hidden/+=","aws_session_token":""}"#, None);
        check(
            r#"{"aws_access_key_id":null,"AccessKeyId":"AKIDTARGET","aws_secret_access_key":"hidden/+=","aws_session_token":null}"#,
            None,
        );
    }

    #[test]
    fn a_secret_of_the_wrong_shape_is_named_with_what_is_wrong() {
        let check = |content: &str, expected: &str| {
            let problem = read(content).unwrap_err();
            assert_eq!(problem.to_string(), format!("secret `keys` {expected}"));
            assert_eq!(problem.fault, KeysFault::Misconfigured);
            assert!(!format!("{problem:?}").contains("hidden"));
        };
        check("", "does not hold JSON");
        check("AKIDTARGET:hidden", "does not hold JSON");
        check(r#"["hidden"]"#, "holds JSON that is not an object");
        check(r#""hidden""#, "holds JSON that is not an object");
        check("{}", "has no `aws_access_key_id`");
        check(r#"{"aws_access_key_id":"AKIDTARGET"}"#, "has no `aws_secret_access_key`");
        check(r#"{"username":"AKIDTARGET","password":"hidden"}"#, "has no `aws_access_key_id`");
        check(r#"{"AccessKeyId":""}"#, "has an empty `AccessKeyId`");
        check(r#"{"aws_access_key_id":"AKID","secret_access_key":""}"#, "has an empty `secret_access_key`");
        check(r#"{"aws_access_key_id":{"hidden":"hidden"}}"#, "has a `aws_access_key_id` that is not a string");
        for odd in ["hidden\\n", " hidden", "hid den", "hidden\\u00e9", "hidden\\u0000"] {
            let content = format!(r#"{{"aws_access_key_id":"AKIDTARGET","aws_secret_access_key":"{odd}"}}"#);
            let what = "has a space, a line break or another invalid character in `aws_secret_access_key`";
            check(&content, what);
        }
        let token = r#"{"aws_access_key_id":"A","aws_secret_access_key":"hidden","aws_session_token":7}"#;
        check(token, "has a `aws_session_token` that is not a string");
    }

    #[test]
    fn debug_hides_the_keys() {
        let keys = TargetKeys::read("keys", KEYS.as_bytes()).unwrap();
        assert_eq!(format!("{keys:?}"), "TargetKeys { .. }");
        assert!(!format!("{:?}", Credentials::from(keys)).contains("hidden"));
    }

    #[test]
    fn every_string_of_a_parsed_secret_is_wiped() {
        let mut secret = json!({"a": "hidden", "b": ["hidden", {"c": "hidden"}], "d": 1});
        wipe(&mut secret);
        assert_eq!(secret, json!({"a": "", "b": ["", {"c": ""}], "d": 1}));
    }

    /// Answers with what it is told to, the last one again and again, and remembers what it was asked.
    #[derive(Debug, Clone)]
    struct Fake {
        replies: Arc<Mutex<Vec<Reply>>>,
        asked: Arc<Mutex<Vec<HttpRequest>>>,
    }

    #[derive(Debug, Clone)]
    enum Reply {
        Http(u16, Value),
        Cut,
        Never,
    }

    impl HttpConnector for Fake {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            self.asked.lock().unwrap().push(request);
            let mut replies = self.replies.lock().unwrap();
            let reply = if replies.len() > 1 { replies.remove(0) } else { replies[0].clone() };
            HttpConnectorFuture::new(async move {
                match reply {
                    Reply::Http(status, body) => {
                        let status = status.try_into().unwrap();
                        let mut response = HttpResponse::new(status, SdkBody::from(body.to_string()));
                        response.headers_mut().insert("x-amzn-requestid", "request-1");
                        Ok(response)
                    }
                    Reply::Cut => Err(ConnectorError::io("connection reset by peer".into())),
                    Reply::Never => std::future::pending().await,
                }
            })
        }
    }

    impl HttpClient for Fake {
        fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
            SharedHttpConnector::new(self.clone())
        }
    }

    async fn fetched(endpoint: Option<&str>, replies: &[Reply]) -> (Result<Credentials, Box<SecretProblem>>, Fake) {
        let fake = Fake { replies: Arc::new(Mutex::new(replies.to_vec())), asked: Arc::default() };
        let region = Region::new("cn-northwest-1").unwrap();
        let source = Credentials::new("AKIDSOURCE", "source", Some("session".to_owned()), None, "test");
        let client = client(&region, source, endpoint, SharedHttpClient::new(fake.clone()));
        (fetch(&client, "keys").await, fake)
    }

    fn value() -> Reply {
        Reply::Http(200, json!({"Name": "keys", "SecretString": KEYS}))
    }

    fn refused(status: u16, code: &str) -> Reply {
        Reply::Http(status, json!({"__type": code, "Message": "Because."}))
    }

    #[tokio::test(start_paused = true)]
    async fn the_secret_is_asked_for_in_the_sources_region_with_the_sources_keys() {
        let (keys, fake) = fetched(None, &[value()]).await;
        assert_eq!(keys.unwrap().access_key_id(), "AKIDTARGET");
        let asked = fake.asked.lock().unwrap();
        let [request] = &asked[..] else { panic!("{} requests", asked.len()) };
        assert_eq!(request.uri(), "https://secretsmanager.cn-northwest-1.amazonaws.com.cn/");
        let header = |name: &str| request.headers().get(name).unwrap();
        assert_eq!(header("x-amz-target"), "secretsmanager.GetSecretValue");
        assert_eq!(header("x-amz-security-token"), "session");
        let scope = "/cn-northwest-1/secretsmanager/aws4_request";
        assert!(header("authorization").starts_with("AWS4-HMAC-SHA256 Credential=AKIDSOURCE/"));
        assert!(header("authorization").contains(scope));
        assert_eq!(request.body().bytes(), Some(&br#"{"SecretId":"keys"}"#[..]));
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_url_replaces_the_regions_own() {
        let (keys, fake) = fetched(Some("http://127.0.0.1:4566"), &[value()]).await;
        assert!(keys.is_ok());
        assert_eq!(fake.asked.lock().unwrap()[0].uri(), "http://127.0.0.1:4566/");
    }

    #[tokio::test(start_paused = true)]
    async fn a_binary_secret_is_read_too() {
        // `{"access_key_id":"AKIDTARGET","secret_access_key":"s"}`
        let blob = "eyJhY2Nlc3Nfa2V5X2lkIjoiQUtJRFRBUkdFVCIsInNlY3JldF9hY2Nlc3Nfa2V5IjoicyJ9";
        let (keys, _) = fetched(None, &[Reply::Http(200, json!({"SecretBinary": blob}))]).await;
        assert_eq!(keys.unwrap().access_key_id(), "AKIDTARGET");
        let (nothing, _) = fetched(None, &[Reply::Http(200, json!({"Name": "keys"}))]).await;
        assert_eq!(nothing.unwrap_err().to_string(), "secret `keys` has no value");
    }

    #[tokio::test(start_paused = true)]
    async fn a_passing_trouble_is_tried_again() {
        let (keys, fake) = fetched(None, &[Reply::Cut, refused(500, "InternalServiceError"), value()]).await;
        assert!(keys.is_ok());
        assert_eq!(fake.asked.lock().unwrap().len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_told_with_its_cure() {
        let check = async |status, code: &str, fault: KeysFault, cure: &str| {
            let (keys, _) = fetched(None, &[refused(status, code)]).await;
            let problem = keys.unwrap_err();
            assert_eq!(problem.to_string(), format!("secret `keys` cannot be read: {code}: Because."));
            assert_eq!((problem.fault, problem.code.as_deref(), problem.status), (fault, Some(code), Some(status)));
            assert_eq!(problem.request_id.as_deref(), Some("request-1"));
            assert!(problem.hint.contains(cure), "{}", problem.hint);
        };
        check(400, "ResourceNotFoundException", KeysFault::Refused(Class::Missing), "Create it").await;
        check(400, "AccessDeniedException", KeysFault::Refused(Class::Refused), "secretsmanager:GetSecretValue").await;
        check(400, "DecryptionFailure", KeysFault::Refused(Class::Refused), "kms:Decrypt").await;
        check(400, "InvalidRequestException", KeysFault::Refused(Class::Refused), "scheduled for deletion").await;
        check(400, "ValidationException", KeysFault::Misconfigured, "name or ARN").await;
        check(400, "UnrecognizedClientException", KeysFault::Refused(Class::Refused), "credentials").await;
        check(400, "ThrottlingException", KeysFault::Refused(Class::Throttled), "later").await;
        check(500, "InternalServiceError", KeysFault::Refused(Class::Transient), "later").await;
        check(400, "SomethingNew", KeysFault::Refused(Class::Refused), "Look up this error code").await;
    }

    #[tokio::test(start_paused = true)]
    async fn no_answer_is_a_network_problem() {
        let check = async |reply: Reply, cause: &str| {
            let problem = fetched(None, &[reply]).await.0.unwrap_err();
            assert_eq!(problem.fault, KeysFault::Unreachable);
            assert!(problem.to_string().starts_with("secret `keys` cannot be reached: "), "{problem}");
            assert!(problem.to_string().contains(cause), "{problem}");
            assert!(problem.hint.contains("NAT gateway"));
        };
        check(Reply::Cut, "connection reset by peer").await;
        check(Reply::Never, "timeout").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_secret_that_aws_gave_and_that_is_no_key_shows_no_content() {
        let check = async |reply: Value, expected: &str| {
            let problem = fetched(None, &[Reply::Http(200, reply)]).await.0.unwrap_err();
            assert_eq!(problem.to_string(), expected);
            assert!(!format!("{problem:?}").contains("hidden"));
        };
        check(json!({"SecretString": "hidden"}), "secret `keys` does not hold JSON").await;
        check(
            json!({"SecretString": {"hidden": 1}}),
            "secret `keys` cannot be read: the reply from Secrets Manager is not understood",
        )
        .await;
    }
}

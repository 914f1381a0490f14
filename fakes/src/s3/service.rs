//! One request of S3's protocol to one reply: signature, policy, operation, error document.
//!
//! s3s does what is best not written twice: it compares signatures, decodes `aws-chunked` bodies with their
//! signatures and trailers, checks payload hashes, and reads and writes the XML documents of AWS's model. Its own
//! operations are not used: they refuse or rewrite what S3 takes as it is (unquoted ETags in conditions, Expires and
//! other headers that are not of the expected form, metadata it decodes and encodes again, unknown elements). So one
//! custom route takes every request after the signature check, and the operations here answer it.

use crate::s3::answer::{http_date, insert};
use crate::s3::auth::keys::check;
use crate::s3::call::{Call, Operation};
use crate::s3::chunked::strict;
use crate::s3::copies;
use crate::s3::listing;
use crate::s3::objects;
use crate::s3::refusal::Refusal;
use crate::s3::request::{RequestContext, Shared};
use crate::s3::uploads;
use crate::store::object::random;
use http::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, SERVER};
use http::{Extensions, Method, Request, Response, StatusCode, Uri};
use s3s::auth::{S3Auth, SecretKey};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::route::S3Route;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::validation::NameValidation;
use s3s::{Body, S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, StdError};
use serde::Deserialize;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const HOST_ID: HeaderName = HeaderName::from_static("x-amz-id-2");
const BUCKET_REGION: HeaderName = HeaderName::from_static("x-amz-bucket-region");

/// S3's limit on the headers of a request
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>).
const HEADER_LIMIT: usize = 8 << 10;

/// The protocol on one server.
#[derive(Clone)]
pub(crate) struct Service {
    shared: Arc<Shared>,
    s3s: S3Service,
}

impl Service {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        let mut builder = S3ServiceBuilder::new(Nothing);
        let mut config = S3Config::default();
        // The time is checked in keys.rs, against the server's own clock, which a test can set wrong.
        config.presigned_url_max_skew_time_secs = u32::MAX;
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        builder.set_auth(Auth(Arc::clone(shared)));
        builder.set_route(Route(Arc::clone(shared)));
        builder.set_validation(AnyName);
        Self { shared: Arc::clone(shared), s3s: builder.build() }
    }

    /// Answers a request. An error is the connection's end.
    pub(crate) async fn answer(&self, call: &Call, request: Request<Body>) -> Result<Response<Body>, StdError> {
        let now = self.shared.now();
        if let Err(refusal) = check(request.headers(), &self.shared.keys, &self.shared.region, now) {
            return Ok(self.refuse(call, &refusal));
        }
        let (head, body) = request.into_parts();
        let body = strict(&head.headers, body);
        let mut request = Request::from_parts(head, body);
        request.extensions_mut().insert(call.clone());
        if call.method == Method::POST {
            hide_form(request.headers_mut());
        }
        let mut reply = self.s3s.call(request).await?;
        if let Some(refusal) = reply.extensions_mut().remove::<Refusal>() {
            return Ok(self.refuse(call, &refusal));
        }
        if reply.status().is_client_error() || reply.status().is_server_error() {
            return Ok(self.refuse(call, &of_s3s(&reply)));
        }
        self.dress(&mut reply);
        Ok(reply)
    }

    /// A refusal as a reply; to HEAD without a body, as S3 answers it.
    pub(crate) fn refuse(&self, call: &Call, refusal: &Refusal) -> Response<Body> {
        let mut reply = Response::new(Body::empty());
        *reply.status_mut() = refusal.status;
        self.dress(&mut reply);
        let headers = reply.headers_mut();
        if call.operation == Operation::HeadBucket && refusal.code != "NoSuchBucket" {
            insert(headers, BUCKET_REGION, &self.shared.region);
        }
        for (name, value) in &refusal.headers {
            headers.insert(name.clone(), value.clone());
        }
        if call.method != Method::HEAD && refusal.status != StatusCode::NOT_MODIFIED {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
            let text = |name| headers.get(&name).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let document = refusal.document(&call.path, text(REQUEST_ID), text(HOST_ID));
            *reply.body_mut() = Body::from(document);
        }
        reply
    }

    /// The headers of every reply.
    fn dress(&self, reply: &mut Response<Body>) {
        let headers = reply.headers_mut();
        insert(headers, REQUEST_ID, &random(16).to_ascii_uppercase());
        insert(headers, HOST_ID, &format!("{}=", random(75)));
        insert(headers, DATE, &http_date(self.shared.now()));
        headers.insert(SERVER, HeaderValue::from_static("AmazonS3"));
    }
}

/// s3s's own refusals (signature, payload, chunks) as ours.
fn of_s3s(reply: &Response<Body>) -> Refusal {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Document {
        code: String,
        message: Option<String>,
    }
    let text = reply.body().bytes().unwrap_or_default();
    let document = std::str::from_utf8(&text).ok().and_then(|text| quick_xml::de::from_str::<Document>(text).ok());
    match document {
        Some(Document { code, message }) => {
            let refusal = Refusal::of(&code).status(reply.status());
            match message {
                Some(message) if code != "SignatureDoesNotMatch" => refusal.because(message),
                _ => refusal,
            }
        }
        None => Refusal::of("InternalError").status(reply.status()),
    }
}

/// Keeps s3s from taking a POST for a browser's form upload because the object to be made is of the type
/// `multipart/form-data`. A blank before the type leaves the signature what it is, which is made over trimmed values,
/// and the type unreadable for s3s; `show_form` takes it away again.
fn hide_form(headers: &mut HeaderMap) {
    if let Some(kind) = headers.get_mut(CONTENT_TYPE)
        && kind.as_bytes().to_ascii_lowercase().starts_with(b"multipart/form-data")
        && let Ok(hidden) = HeaderValue::from_bytes(&[b" ", kind.as_bytes()].concat())
    {
        *kind = hidden;
    }
}

fn show_form(headers: &mut HeaderMap) {
    if let Some(kind) = headers.get_mut(CONTENT_TYPE)
        && let Ok(shown) = HeaderValue::from_bytes(kind.as_bytes().trim_ascii_start())
    {
        *kind = shown;
    }
}

async fn perform(ask: RequestContext<'_>) -> Result<Response<Body>, Refusal> {
    let call = ask.call;
    if call.operation == Operation::Unknown {
        return Err(Refusal::of("NotImplemented"));
    }
    // A missing bucket is named as such to everyone.
    if call.operation != Operation::CreateBucket {
        ask.store.bucket(&call.bucket)?;
    }
    ask.policy.require(&call.actions(ask.headers), &call.bucket, &call.key)?;
    match call.operation {
        Operation::AbortMultipartUpload => uploads::abort(&ask),
        Operation::CompleteMultipartUpload => uploads::complete(ask).await,
        Operation::CopyObject => copies::object(ask).await,
        Operation::CreateMultipartUpload => uploads::create(&ask),
        Operation::DeleteObject => objects::delete(&ask),
        Operation::GetBucketLocation => uploads::location(&ask),
        Operation::GetBucketVersioning => listing::versioning(&ask),
        Operation::GetObject | Operation::HeadObject => objects::read(&ask),
        Operation::GetObjectTagging => objects::tags(&ask),
        Operation::CreateBucket => listing::create_bucket(&ask),
        Operation::HeadBucket => listing::head_bucket(&ask),
        Operation::ListMultipartUploads => uploads::uploads(&ask),
        Operation::ListObjectVersions => listing::versions(&ask),
        Operation::ListObjectsV2 => listing::objects(&ask),
        Operation::ListParts => uploads::parts(&ask),
        Operation::PutObject => objects::put(ask).await,
        Operation::PutObjectTagging => objects::put_tags(ask).await,
        Operation::UploadPart => uploads::put_part(ask).await,
        Operation::UploadPartCopy => copies::part(ask).await,
        Operation::Unknown => Err(Refusal::of("NotImplemented")),
    }
}

/// s3s's operations, none of which is reached.
struct Nothing;

impl S3 for Nothing {}

/// Buckets have whatever names tests give them.
struct AnyName;

impl NameValidation for AnyName {
    fn validate_bucket_name(&self, _: &str) -> bool {
        true
    }
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

struct Auth(Arc<Shared>);

// The two traits of s3s are written with async-trait; spelled out, they need no crate.
impl S3Auth for Auth {
    fn get_secret_key<'a, 'b, 'c>(&'a self, access_key: &'b str) -> BoxFuture<'c, S3Result<SecretKey>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        let pair = self.0.keys.find(access_key);
        let secret = pair.map(|pair| SecretKey::from(pair.secret_key));
        Box::pin(async move { secret.ok_or_else(|| S3Error::new(S3ErrorCode::InvalidAccessKeyId)) })
    }
}

struct Route(Arc<Shared>);

impl S3Route for Route {
    fn is_match(&self, _: &Method, _: &Uri, _: &HeaderMap, _: &mut Extensions) -> bool {
        true
    }

    fn call<'a, 'b>(&'a self, request: S3Request<Body>) -> BoxFuture<'b, S3Result<S3Response<Body>>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let mut request = request;
            show_form(&mut request.headers);
            let header_bytes: usize =
                request.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
            let Some(call) = request.extensions.get::<Call>() else {
                return Err(S3Error::new(S3ErrorCode::InternalError));
            };
            let ask = RequestContext {
                store: &self.0.store,
                policy: &self.0.policy,
                region: &self.0.region,
                call,
                headers: &request.headers,
                body: request.input,
                trailers: request.trailing_headers,
            };
            let mut answer = S3Response::new(Body::empty());
            let result = match header_bytes {
                ..=HEADER_LIMIT => perform(ask).await,
                _ => Err(Refusal::of("RequestHeaderSectionTooLarge")),
            };
            match result {
                Ok(reply) => {
                    let (parts, body) = reply.into_parts();
                    answer.status = Some(parts.status);
                    answer.headers = parts.headers;
                    answer.output = body;
                }
                // The reply is made outside, where s3s's own refusals are too.
                Err(refusal) => {
                    answer.extensions.insert(refusal);
                }
            }
            Ok(answer)
        })
    }
}

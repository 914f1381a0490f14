//! An operation as an HTTP request, signed.

use crate::s3::http::endpoint::{Endpoint, Region};
use crate::s3::http::message::Head;
use crate::s3::http::operation::{AnswerTime, OperationInfo, ReplyIn, Request};
use crate::s3::http::sign::{Scope, sign_unsigned_payload, sign_unsigned_trailer};
use crate::wire::body::incoming::Incoming;
use crate::wire::body::outgoing::Load;
use crate::wire::client::quirks::Quirks;
use crate::wire::error::Error;
use crate::wire::net::connect::Origin;
use aws_credential_types::Credentials;
use http::{HeaderMap, HeaderValue, Method};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

const USER_AGENT: &str = concat!("xpsync/", env!("CARGO_PKG_VERSION"));

/// Where the bucket is.
#[derive(Debug, Clone)]
pub(crate) struct RegionalEndpoint {
    pub(crate) endpoint: Endpoint,
    pub(crate) region: Region,
}

/// Puts the operation into HTTP and signs it.
pub(crate) fn signed(
    request: &Request<'_>,
    load: Load,
    site: &RegionalEndpoint,
    quirks: &Quirks,
    credentials: &Credentials,
) -> Result<(http::Request<Load>, Origin), Error> {
    let OperationInfo { name: operation, ref method, .. } = request.info;
    let unsendable = |why: String| Error::Unsendable { operation, why };
    let location = site.endpoint.locate(request.bucket, request.key);
    let target = match request.query.as_str() {
        "" => location.path.clone(),
        query => format!("{}?{query}", location.path),
    };
    let authority = location.authority();
    let mut headers = request
        .headers
        .clone()
        .finish()
        .map_err(|name| unsendable(format!("header {name} has a value that HTTP does not allow")))?;
    if quirks.unquoted_if_match() {
        unquote(&mut headers);
    }
    let host = HeaderValue::from_str(&authority).map_err(|error| unsendable(error.to_string()))?;
    headers.insert(http::header::HOST, host);
    headers.insert(http::header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    // hyper leaves it out for an empty body, and S3 wants it ("MissingContentLength").
    if *method == Method::PUT || *method == Method::POST {
        headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(load.length()));
    }
    let scope = Scope { credentials, region: site.region.as_str(), now: quirks.clock(SystemTime::now()) };
    // The scheme is no part of the signature.
    let uri = format!("https://{authority}{target}");
    let sign = if load.has_trailer() { sign_unsigned_trailer } else { sign_unsigned_payload };
    sign(method, &uri, &mut headers, scope).map_err(|error| unsendable(error.to_string()))?;
    let mut signed = http::Request::new(load);
    *signed.method_mut() = method.clone();
    *signed.uri_mut() = target.parse().map_err(|error: http::uri::InvalidUri| unsendable(error.to_string()))?;
    *signed.headers_mut() = headers;
    Ok((signed, Origin::from(&location)))
}

fn unquote(headers: &mut HeaderMap) {
    let Some(value) = headers.get(http::header::IF_MATCH) else { return };
    let bare = value.to_str().ok().map(|text| text.trim_matches('"').to_owned());
    if let Some(bare) = bare.and_then(|bare| HeaderValue::from_str(&bare).ok()) {
        headers.insert(http::header::IF_MATCH, bare);
    }
}

/// A request on its way to a connection.
pub(crate) struct OutgoingRequest {
    pub(crate) request: http::Request<Load>,
    pub(crate) taken: Arc<AtomicU64>,
    pub(crate) pace: AnswerTime,
    pub(crate) answer: ReplyIn,
}

/// What an answered attempt left: status, headers, and the body still to be read.
pub(crate) struct Answered {
    pub(crate) head: Head,
    pub(crate) body: Incoming,
}

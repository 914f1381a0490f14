//! Our transport as AWS's SDK wants it, so that Secrets Manager, STS and SSO go over the same sockets, TLS and trust.
//!
//! The SDK retries, signs and times out by itself; here is only what carries one request.

use super::body::{Load, Outgoing};
use super::connect::{Connect, Origin};
use super::gate::Open;
use super::pool::Pool;
use crate::s3::endpoint::Scheme;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http::{HeaderValue, Request};
use http_body_util::{BodyExt as _, Limited};
use std::fmt;
use std::io;
use std::sync::Arc;

/// No reply of these services is larger.
const REPLY_LIMIT: usize = 1 << 20;

/// An HTTP client for AWS's SDK over these connections.
pub fn http_client(connector: Arc<dyn Connect>) -> SharedHttpClient {
    SharedHttpClient::new(Transport(Arc::new(Pool::new(connector))))
}

#[derive(Clone)]
struct Transport(Arc<Pool>);

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

impl HttpClient for Transport {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Transport {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let pool = Arc::clone(&self.0);
        HttpConnectorFuture::new(async move { carry(&pool, request).await })
    }
}

async fn carry(pool: &Pool, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let request = request.try_into_http1x().map_err(|error| ConnectorError::user(Box::new(error)))?;
    let (mut parts, body) = request.into_parts();
    let unfit = |what: &str| ConnectorError::user(format!("{what} of the request cannot be sent").into());
    let bytes = body.bytes().map(bytes::Bytes::copy_from_slice).ok_or_else(|| unfit("the body"))?;
    let scheme = match parts.uri.scheme_str() {
        Some("http") => Scheme::Http,
        Some("https") => Scheme::Https,
        _ => return Err(unfit("the scheme")),
    };
    let authority = parts.uri.authority().ok_or_else(|| unfit("the host"))?.clone();
    let default_port = match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    };
    let port = authority.port_u16().unwrap_or(default_port);
    let origin = Origin { scheme, host: authority.host().to_owned(), port };
    let host = if port == default_port { authority.host() } else { authority.as_str() };
    parts.headers.insert(http::header::HOST, HeaderValue::from_str(host).map_err(|_| unfit("the host"))?);
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    parts.uri = target.parse().map_err(|_| unfit("the path"))?;
    // The SDK's requests are few and far between: a connection of its own cannot have gone stale.
    let mut connection = pool.fresh(&origin, None).await.map_err(|error| ConnectorError::io(Box::new(error)))?;
    let io = |error: hyper::Error| ConnectorError::io(io::Error::other(error).into());
    connection.sender.ready().await.map_err(io)?;
    let body = Outgoing::new(Load::Whole(bytes), Arc::new(Open), Arc::default());
    let response = connection.sender.send_request(Request::from_parts(parts, body)).await.map_err(io)?;
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, REPLY_LIMIT).collect().await.map_err(ConnectorError::io)?.to_bytes();
    let response = http::Response::from_parts(parts, SdkBody::from(body));
    HttpResponse::try_from(response).map_err(|error| ConnectorError::other(Box::new(error), None))
}

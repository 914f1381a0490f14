//! Our transport for services other than S3: one request, one reply, both small; and as AWS's SDK wants it, so that
//! Secrets Manager, STS and SSO go over the same sockets, TLS and trust.
//!
//! Who asks signs, retries and times out; here is only what carries one request.

use crate::s3::http::endpoint::Scheme;
use crate::wire::body::outgoing::{Load, Outgoing};
use crate::wire::gate::AlwaysOpen;
use crate::wire::net::connect::{Connect, Origin};
use crate::wire::net::pool::Pool;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Limited};
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// No reply of these services is larger.
const REPLY_LIMIT: usize = 1 << 20;

/// An HTTP client for AWS's SDK over these connections.
pub(crate) fn http_client(connector: Arc<dyn Connect>) -> SharedHttpClient {
    SharedHttpClient::new(Transport::new(connector))
}

/// What carries requests; cloning it shares the connections.
#[derive(Clone)]
pub(crate) struct Transport(Arc<Pool>);

/// A request that was not carried.
#[derive(Debug, Error)]
pub(crate) enum Uncarried {
    /// It cannot be sent by anybody.
    #[error("the request's {0} cannot be sent")]
    Unfit(&'static str),
    /// It was lost on its way, or its reply was.
    #[error("no answer: {0}")]
    Lost(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Uncarried {
    fn lost(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Lost(error.into())
    }
}

impl Transport {
    pub(crate) fn new(connector: Arc<dyn Connect>) -> Self {
        Self(Arc::new(Pool::new(connector)))
    }
}

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
        let transport = self.clone();
        HttpConnectorFuture::new(async move { transport.carry_for_sdk(request).await })
    }
}

impl Transport {
    async fn carry_for_sdk(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let request = request.try_into_http1x().map_err(|error| ConnectorError::user(Box::new(error)))?;
        let (parts, body) = request.into_parts();
        let bytes = body.bytes().map(Bytes::copy_from_slice).ok_or(Uncarried::Unfit("the body"));
        let carried = match bytes {
            Ok(bytes) => self.carry(Request::from_parts(parts, bytes)).await,
            Err(unfit) => Err(unfit),
        };
        let response = carried.map_err(|error| match error {
            Uncarried::Unfit(_) => ConnectorError::user(error.into()),
            Uncarried::Lost(source) => ConnectorError::io(source),
        })?;
        let response = response.map(SdkBody::from);
        HttpResponse::try_from(response).map_err(|error| ConnectorError::other(Box::new(error), None))
    }

    /// Carries a request, whose address is a whole URL.
    ///
    /// # Errors
    /// [`Uncarried`].
    ///
    /// # Cancel safety
    /// The connection is closed; whether the request was carried out is unknown.
    pub(crate) async fn carry(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Uncarried> {
        let (mut parts, body) = request.into_parts();
        let scheme = match parts.uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return Err(Uncarried::Unfit("the scheme")),
        };
        let authority = parts.uri.authority().ok_or(Uncarried::Unfit("the host"))?.clone();
        let default_port = match scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        };
        let port = authority.port_u16().unwrap_or(default_port);
        let origin = Origin { scheme, host: authority.host().to_owned(), port };
        let host = if port == default_port { authority.host() } else { authority.as_str() };
        let host = HeaderValue::from_str(host).map_err(|_| Uncarried::Unfit("the host"))?;
        parts.headers.insert(http::header::HOST, host);
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        parts.uri = target.parse().map_err(|_| Uncarried::Unfit("the path"))?;
        // These requests are few and far between: a connection of its own cannot have gone stale.
        let mut connection = self.0.fresh(&origin, None).await.map_err(Uncarried::lost)?;
        connection.sender.ready().await.map_err(Uncarried::lost)?;
        let body = Outgoing::new(Load::Whole(body), Arc::new(AlwaysOpen), Arc::default());
        let response =
            connection.sender.send_request(Request::from_parts(parts, body)).await.map_err(Uncarried::lost)?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, REPLY_LIMIT).collect().await.map_err(Uncarried::lost)?.to_bytes();
        Ok(Response::from_parts(parts, body))
    }
}

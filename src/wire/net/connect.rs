//! From a host to an open connection: names, TCP, TLS.

use crate::s3::http::endpoint::{Location, Scheme};
use crate::wire::gate::Boxed;
use crate::wire::net::host_limits::{BBR, HostLimits};
use crate::wire::net::resolve::Resolver;
use crate::wire::net::socket::Socket;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

/// Whatever bytes go over.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Where connections lead: what a pool keeps apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Whether TLS is spoken.
    pub(crate) scheme: Scheme,
    /// The host.
    pub(crate) host: String,
    /// The port.
    pub port: u16,
}

impl From<&Location> for Origin {
    fn from(location: &Location) -> Self {
        Self { scheme: location.scheme, host: location.host.clone(), port: location.port }
    }
}

/// How far a connection came before it failed.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The name has no address.
    #[error("cannot resolve {host}: {source}")]
    Resolve {
        /// The name.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// No address answered.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The last address tried.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The peer is not whom its name says, or does not speak TLS.
    #[error("TLS handshake with {host} failed: {source}")]
    Tls {
        /// The name.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// It took too long.
    #[error("could not connect to {host} within {limit:?}")]
    Slow {
        /// The name.
        host: String,
        /// How long it was given.
        limit: Duration,
    },
}

/// Why TLS did not come about, as far as somebody can do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Distrust {
    /// Its certificate is of another name, or of nobody who is trusted.
    Stranger,
    /// Its certificate is not valid at the time of our clock.
    Dates,
    /// It does not speak TLS, or none that is new enough.
    Language,
}

impl ConnectError {
    /// Why there is no TLS, if it is that and not the path that broke.
    pub(crate) fn distrust(&self) -> Option<Distrust> {
        use rustls::{CertificateError, Error};
        let Self::Tls { source, .. } = self else { return None };
        if source.kind() != io::ErrorKind::InvalidData {
            return None;
        }
        Some(match source.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(Error::InvalidCertificate(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            )) => Distrust::Dates,
            Some(Error::InvalidCertificate(_)) | None => Distrust::Stranger,
            Some(_) => Distrust::Language,
        })
    }

    /// Whether another attempt could end otherwise: a certificate that was refused will be refused again.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Tls { source, .. } => source.kind() != io::ErrorKind::InvalidData,
            Self::Resolve { .. } | Self::Connect { .. } | Self::Slow { .. } => true,
        }
    }
}

/// Opens connections. A trait, so that simulated time can run over in-memory pipes.
pub trait Connect: Send + Sync {
    /// Opens one, to another address than the one to avoid if the host has another.
    ///
    /// # Errors
    /// [`ConnectError`].
    ///
    /// # Cancel safety
    /// What was opened so far is closed.
    fn connect<'a>(&'a self, origin: &'a Origin, avoid: Option<IpAddr>) -> Boxed<'a, Result<Connected, ConnectError>>;
}

/// An open connection.
pub struct Connected {
    /// Its bytes.
    pub stream: Box<dyn Stream>,
    /// The address at its other end, where there is one.
    pub peer: Option<IpAddr>,
}

/// How long TCP and TLS together may take: three round trips of 260 ms and a SYN that is lost twice (1 s and 2 s).
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Bytes that the kernel may hold unsent: enough to keep the path busy between two wake-ups, few enough that progress
/// seen here is progress on the path.
const NOT_SENT_LOWAT: u32 = 32 << 10;

/// What TLS may hold of what is to be sent: two of its largest records.
const TLS_BUFFER: usize = 32 << 10;

/// The network.
pub struct Network {
    tls: TlsConnector,
    resolver: Resolver,
    // Bytes that the kernel may keep unread.
    unread: Option<usize>,
    // What became of the first try; later ones that end otherwise are not worth a line each.
    congestion_control: OnceLock<()>,
}

impl Network {
    /// Connections with this trust.
    pub fn new(tls: Arc<ClientConfig>) -> Self {
        Self {
            tls: TlsConnector::from(tls),
            resolver: Resolver::default(),
            unread: HostLimits::of_this_machine().unread().and_then(|bytes| usize::try_from(bytes).ok()),
            congestion_control: OnceLock::new(),
        }
    }

    /// The addresses of a host, beginning with the one whose turn it is.
    async fn addresses(&self, origin: &Origin) -> Result<Vec<SocketAddr>, ConnectError> {
        let host = origin.host.trim_start_matches('[').trim_end_matches(']');
        let look_up = || async move {
            let found = tokio::net::lookup_host((host, origin.port)).await?;
            Ok(found.map(|address| address.ip()).collect())
        };
        let found = self.resolver.addresses(&origin.host, look_up).await;
        let found = found.map_err(|source| ConnectError::Resolve { host: origin.host.clone(), source })?;
        Ok(found.into_iter().map(|ip| SocketAddr::new(ip, origin.port)).collect())
    }

    async fn open(&self, origin: &Origin, avoid: Option<IpAddr>) -> Result<Connected, ConnectError> {
        let began = Instant::now();
        let mut addresses = self.addresses(origin).await?;
        // Stable, so that the turns are kept; the avoided one is still better than none.
        addresses.sort_by_key(|address| Some(address.ip()) == avoid);
        let mut failed = None;
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    let (stream, resumed) = self.secure(origin, stream).await?;
                    let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                    tracing::debug!(host = origin.host, %address, resumed, milliseconds, "connection");
                    return Ok(Connected { stream, peer: Some(address.ip()) });
                }
                Err(source) => {
                    self.resolver.forget(&origin.host);
                    failed = Some(ConnectError::Connect { address, source });
                }
            }
        }
        let nowhere =
            || ConnectError::Resolve { host: origin.host.clone(), source: io::Error::from(io::ErrorKind::NotFound) };
        Err(failed.unwrap_or_else(nowhere))
    }

    /// Speaks TLS if the origin does; also, whether an earlier session was resumed.
    async fn secure(&self, origin: &Origin, stream: TcpStream) -> Result<(Box<dyn Stream>, bool), ConnectError> {
        // All of them are about speed and memory; a kernel that refuses one is no reason to fail.
        let _ = stream.set_nodelay(true);
        let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(NOT_SENT_LOWAT);
        if let Some(unread) = self.unread {
            let _ = socket2::SockRef::from(&stream).set_recv_buffer_size(unread);
        }
        self.prefer_congestion_control(&stream);
        let socket = Socket::new(stream);
        match origin.scheme {
            Scheme::Http => Ok((Box::new(socket), false)),
            Scheme::Https => {
                let tls = |source| ConnectError::Tls { host: origin.host.clone(), source };
                let name = ServerName::try_from(origin.host.clone())
                    .map_err(|error| tls(io::Error::new(io::ErrorKind::InvalidData, error)))?;
                let mut stream = self.tls.connect(name, socket).await.map_err(tls)?;
                stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER));
                let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
                Ok((Box::new(stream), resumed))
            }
        }
    }
}

impl Network {
    fn prefer_congestion_control(&self, stream: &TcpStream) {
        let set = socket2::SockRef::from(stream).set_tcp_congestion(BBR.as_bytes());
        self.congestion_control.get_or_init(|| match set {
            Ok(()) => tracing::debug!(congestion_control = BBR, "set"),
            Err(error) => tracing::debug!(congestion_control = BBR, %error, "not offered"),
        });
    }
}

impl Connect for Network {
    fn connect<'a>(&'a self, origin: &'a Origin, avoid: Option<IpAddr>) -> Boxed<'a, Result<Connected, ConnectError>> {
        Box::pin(async move {
            let slow = |_| {
                self.resolver.forget(&origin.host);
                ConnectError::Slow { host: origin.host.clone(), limit: CONNECT_LIMIT }
            };
            timeout(CONNECT_LIMIT, self.open(origin, avoid)).await.map_err(slow)?
        })
    }
}

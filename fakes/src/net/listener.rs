//! Sockets of the demo's servers: accept, TLS, HTTP/1.1, and a way for a handler to reset the connection it is on.
//!
//! It knows nothing of S3. Tasks are owned from top to bottom: the listener's set holds the accept loop, whose own
//! set holds the connections, and stopping ends all of them before it returns.

use crate::fault::reply::Reply;
use crate::net::authority::Authority;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::StdError;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::rustls::HandshakeKind;

/// A free port of loopback.
pub(crate) const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The connection that a request came on.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// Counted from 1 in the order of accepting.
    pub(crate) number: u64,
    reset: Arc<AtomicBool>,
}

impl Connection {
    /// From now on the connection ends with a TCP reset, whenever it ends.
    pub(crate) fn reset_at_end(&self) {
        self.reset.store(true, Ordering::Relaxed);
    }

    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.reset)
    }
}

/// Answers requests; an error ends the connection without an answer.
pub(crate) trait Handler: Send + Sync + 'static {
    fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        connection: Connection,
    ) -> impl Future<Output = Result<Response<Reply>, StdError>> + Send;
}

/// A listening server.
#[derive(Debug)]
pub(crate) struct Listener {
    address: SocketAddr,
    accepted: Arc<AtomicU64>,
    open: Arc<AtomicU64>,
    resumed: Arc<AtomicU64>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Listener {
    /// Listens; port 0 is a free one. `idle` closes connections that bring no request for that long.
    pub(crate) async fn start<H: Handler>(
        listen: SocketAddr,
        tls: Option<&Authority>,
        idle: Option<Duration>,
        handler: Arc<H>,
    ) -> io::Result<Self> {
        let socket = TcpListener::bind(listen).await?;
        let (stop, stopped) = watch::channel(false);
        let mut listener = Self {
            address: socket.local_addr()?,
            accepted: Arc::default(),
            open: Arc::default(),
            resumed: Arc::default(),
            stop,
            tasks: JoinSet::new(),
        };
        let accept = Accept {
            socket,
            tls: tls.map(Authority::acceptor),
            idle,
            handler,
            accepted: Arc::clone(&listener.accepted),
            open: Arc::clone(&listener.open),
            resumed: Arc::clone(&listener.resumed),
        };
        listener.tasks.spawn(accept.run(stopped));
        Ok(listener)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    pub(crate) fn resumed(&self) -> u64 {
        self.resumed.load(Ordering::Relaxed)
    }

    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

struct Accept<H> {
    socket: TcpListener,
    tls: Option<tokio_rustls::TlsAcceptor>,
    idle: Option<Duration>,
    handler: Arc<H>,
    accepted: Arc<AtomicU64>,
    open: Arc<AtomicU64>,
    resumed: Arc<AtomicU64>,
}

impl<H: Handler> Accept<H> {
    async fn run(self, mut stopped: watch::Receiver<bool>) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                // The channel closes when the listener is dropped without being stopped.
                _ = stopped.changed() => break,
                Some(_) = connections.join_next() => {}
                accepted = self.socket.accept() => {
                    // An error here is a peer that left or a lack of descriptors; both pass.
                    let Ok((tcp, _)) = accepted else { continue };
                    let _ = tcp.set_nodelay(true);
                    let number = self.accepted.fetch_add(1, Ordering::Relaxed) + 1;
                    let connection = Connection { number, reset: Arc::default() };
                    let socket = Socket { tcp, reset: connection.flag() };
                    let open = Open::new(&self.open);
                    let (tls, resumed) = (self.tls.clone(), Arc::clone(&self.resumed));
                    let (idle, handler) = (self.idle, Arc::clone(&self.handler));
                    connections.spawn(async move {
                        let _open = open;
                        match tls {
                            None => talk(socket, idle, handler, connection).await,
                            Some(tls) => if let Ok(stream) = tls.accept(socket).await {
                                if stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed) {
                                    resumed.fetch_add(1, Ordering::Relaxed);
                                }
                                talk(stream, idle, handler, connection).await;
                            },
                        }
                    });
                }
            }
        }
        connections.shutdown().await;
    }
}

/// Serves one connection. Errors are the peer's or a fault's: there is nobody to tell.
async fn talk<H: Handler, S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    idle: Option<Duration>,
    handler: Arc<H>,
    connection: Connection,
) {
    let service = service_fn(move |request| Arc::clone(&handler).handle(request, connection.clone()));
    let mut builder = http1::Builder::new();
    // As many as S3's 8 KB hold; hyper's own limit is 100.
    builder.max_headers(1_024).auto_date_header(false).timer(TokioTimer::new()).header_read_timeout(idle);
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

/// Counts a connection for as long as it lives.
struct Open(Arc<AtomicU64>);

impl Open {
    fn new(count: &Arc<AtomicU64>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A TCP socket that can be told to end with a reset.
struct Socket {
    tcp: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
            // Closing with a linger of zero drops what is unsent and sends RST instead of FIN.
            let _ = socket2::SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

//! A border between a client and a server: a TCP relay below TLS that delays, limits and cuts.
//!
//! Each direction of a connection is a queue of pieces with the time at which they are due at the other side. The
//! delay alone does not limit throughput, since a queue holds as many bytes as a link of its rate has in flight; the
//! rate of the link is shared by all connections of a direction, as each connection's own is by nobody.

use bytes::BytesMut;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// How many bytes are read at once. A piece leaves as a whole, so that this is also the grain of a rate.
const PIECE: usize = 16 << 10;

/// The most pieces in flight in one direction of a connection: 64 MiB, as much as 2.5 Gbit/s at 200 ms. It bounds
/// memory; a connection that would have more in flight is held back by TCP.
const QUEUE: usize = 4096;

/// What a border does to what passes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct BorderConfig {
    /// The round trip that it adds, half of it each way. A connection's first byte waits for one more, as a
    /// handshake's does.
    pub rtt: Duration,
    /// Bits per second of the whole link, each way.
    pub rate: Option<u64>,
    /// Bits per second of one connection, each way.
    pub per: Option<u64>,
}

/// Why a border's description cannot be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BorderError {
    /// A part without `=`.
    #[error("`{0}` is not NAME=VALUE; a border is written like rtt=200ms,rate=300mbit,per=8mbit")]
    NotAPair(String),
    /// An unknown name.
    #[error("`{0}` is not a property of a border; there are rtt, rate and per")]
    UnknownName(String),
    /// A name given twice.
    #[error("`{0}` is given twice")]
    Twice(String),
    /// A round trip that is no time.
    #[error("`{0}` is not a round trip; write it like 200ms or 0.2s")]
    NotATime(String),
    /// A rate that is none.
    #[error("`{0}` is not a rate; write it like 300mbit, 1.5gbit or 64kbit, and above zero")]
    NotARate(String),
}

impl FromStr for BorderConfig {
    type Err = BorderError;

    fn from_str(text: &str) -> Result<Self, BorderError> {
        let mut config = Self::default();
        let mut names = Vec::new();
        for pair in text.split(',').map(str::trim) {
            let (name, value) = pair.split_once('=').ok_or_else(|| BorderError::NotAPair(pair.to_owned()))?;
            if names.contains(&name) {
                return Err(BorderError::Twice(name.to_owned()));
            }
            names.push(name);
            match name {
                "rtt" => config.rtt = time(value).ok_or_else(|| BorderError::NotATime(value.to_owned()))?,
                "rate" => config.rate = Some(rate(value).ok_or_else(|| BorderError::NotARate(value.to_owned()))?),
                "per" => config.per = Some(rate(value).ok_or_else(|| BorderError::NotARate(value.to_owned()))?),
                _ => return Err(BorderError::UnknownName(name.to_owned())),
            }
        }
        Ok(config)
    }
}

impl std::fmt::Display for BorderConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rtt={}ms", self.rtt.as_millis())?;
        for (name, rate) in [("rate", self.rate), ("per", self.per)] {
            if let Some(rate) = rate {
                match rate % 1_000_000 {
                    0 => write!(f, ",{name}={}mbit", rate / 1_000_000)?,
                    _ => write!(f, ",{name}={}kbit", rate / 1_000)?,
                }
            }
        }
        Ok(())
    }
}

fn time(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s')?, 1.0),
    };
    let seconds = number.parse::<f64>().ok()? * unit;
    Duration::try_from_secs_f64(seconds).ok().filter(|time| *time <= Duration::from_mins(1))
}

fn rate(text: &str) -> Option<u64> {
    let units = [("gbit", 1e9), ("mbit", 1e6), ("kbit", 1e3), ("bit", 1.0)];
    let (number, unit) = units.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
    let bits = number.parse::<f64>().ok()? * unit;
    #[expect(clippy::cast_possible_truncation, reason = "the value is checked to fit")]
    (1.0..=1e15).contains(&bits).then_some(bits as u64)
}

/// When the next byte may leave at a rate.
#[derive(Debug)]
struct Meter {
    rate: Option<u64>,
    free: Mutex<Instant>,
}

impl Meter {
    fn new(rate: Option<u64>) -> Self {
        Self { rate, free: Mutex::new(Instant::now()) }
    }

    /// Takes its time for so many bytes, after whoever came before; the answer is when the last of them has left.
    fn pass(&self, bytes: usize, now: Instant) -> Instant {
        let Some(rate) = self.rate else { return now };
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        // A rate is at most 1e15 bits and a piece 16 KiB, so that neither side loses anything that matters.
        let time = Duration::from_nanos(u64::try_from(bytes as u128 * 8_000_000_000 / u128::from(rate)).unwrap_or(0));
        *free = (*free).max(now) + time;
        *free
    }
}

/// What all connections of a border share.
#[derive(Debug)]
struct Link {
    config: BorderConfig,
    out: Meter,
    back: Meter,
    sent: AtomicU64,
    received: AtomicU64,
    connections: AtomicU64,
    /// Counts cuts; a connection ends when it changes.
    cuts: watch::Sender<u64>,
}

/// A running border. Dropping it ends it; `stop` ends it and waits.
#[derive(Debug)]
pub struct Border {
    address: SocketAddr,
    link: Arc<Link>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Border {
    /// Starts one before a server.
    ///
    /// # Errors
    /// If no socket can be had.
    pub async fn start(config: BorderConfig, target: SocketAddr) -> io::Result<Self> {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = socket.local_addr()?;
        let link = Arc::new(Link {
            config,
            out: Meter::new(config.rate),
            back: Meter::new(config.rate),
            sent: AtomicU64::default(),
            received: AtomicU64::default(),
            connections: AtomicU64::default(),
            cuts: watch::Sender::new(0),
        });
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(socket, target, Arc::clone(&link), stopped));
        Ok(Self { address, link, stop, tasks })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes from clients to the server so far, TLS included.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.link.sent.load(Ordering::Relaxed)
    }

    /// Bytes from the server to clients so far, TLS included.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.link.received.load(Ordering::Relaxed)
    }

    /// How many connections have come so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.link.connections.load(Ordering::Relaxed)
    }

    /// Resets every connection that is open now.
    pub fn cut(&self) {
        self.link.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Ends it and waits for its tasks.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn accept(socket: TcpListener, target: SocketAddr, link: Arc<Link>, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stopped.changed() => break,
            Some(_) = connections.join_next() => {}
            accepted = socket.accept() => {
                let Ok((client, _)) = accepted else { continue };
                link.connections.fetch_add(1, Ordering::Relaxed);
                connections.spawn(relay(client, target, Arc::clone(&link)));
            }
        }
    }
    connections.shutdown().await;
}

/// One connection, until both sides are done, one breaks off, or it is cut.
async fn relay(client: TcpStream, target: SocketAddr, link: Arc<Link>) {
    // The kernel has answered the client's SYN already; the time of a handshake is waited for here instead.
    let ready = Instant::now() + link.config.rtt;
    let mut cuts = link.cuts.subscribe();
    let Ok(server) = TcpStream::connect(target).await else { return };
    for socket in [&client, &server] {
        let _ = socket.set_nodelay(true);
        // Whatever ends this before both sides are done ends it with a reset.
        let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let out = Way { link: &link, shared: &link.out, own: Meter::new(link.config.per), count: &link.sent, ready };
    let back = Way { link: &link, shared: &link.back, own: Meter::new(link.config.per), count: &link.received, ready };
    let both = async { tokio::try_join!(out.carry(from_client, to_server), back.carry(from_server, to_client)) };
    let done = tokio::select! {
        done = both => done,
        _ = cuts.changed() => return,
    };
    if let Ok(halves) = done {
        // Both sides have said their last word: close without a reset.
        for half in [halves.0, halves.1] {
            let _ = socket2::SockRef::from(half.as_ref()).set_linger(None);
        }
    }
}

/// One direction of a connection.
struct Way<'a> {
    link: &'a Link,
    shared: &'a Meter,
    own: Meter,
    count: &'a AtomicU64,
    ready: Instant,
}

impl Way<'_> {
    /// Carries everything, and then the end.
    async fn carry(&self, from: OwnedReadHalf, to: OwnedWriteHalf) -> io::Result<OwnedWriteHalf> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let (_, to) = tokio::try_join!(self.take(from, sender), deliver(receiver, to))?;
        Ok(to)
    }

    async fn take(&self, mut from: OwnedReadHalf, queue: mpsc::Sender<(Instant, BytesMut)>) -> io::Result<()> {
        loop {
            let mut piece = BytesMut::with_capacity(PIECE);
            let bytes = from.read_buf(&mut piece).await?;
            self.count.fetch_add(bytes as u64, Ordering::Relaxed);
            let now = Instant::now().max(self.ready);
            let left = self.own.pass(bytes, self.shared.pass(bytes, now));
            if queue.send((left + self.link.config.rtt / 2, piece)).await.is_err() || bytes == 0 {
                return Ok(());
            }
            // Reading on before a rate has let this piece go would only move the sender's queue in here.
            if self.link.config.rate.is_some() || self.link.config.per.is_some() {
                sleep_until(left).await;
            }
        }
    }
}

async fn deliver(mut queue: mpsc::Receiver<(Instant, BytesMut)>, mut to: OwnedWriteHalf) -> io::Result<OwnedWriteHalf> {
    while let Some((due, piece)) = queue.recv().await {
        sleep_until(due).await;
        if piece.is_empty() {
            to.shutdown().await?;
        } else {
            to.write_all(&piece).await?;
        }
    }
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_border_is_read_from_its_description() {
        let check = |text: &str, expected: Result<BorderConfig, BorderError>| {
            assert_eq!(text.parse::<BorderConfig>(), expected, "{text}");
        };
        let config = |millis, rate, per| Ok(BorderConfig { rtt: Duration::from_millis(millis), rate, per });
        check("rtt=200ms,rate=300mbit,per=8mbit", config(200, Some(300_000_000), Some(8_000_000)));
        check("rtt=0.2s", config(200, None, None));
        check("per=64kbit, rate=1.5gbit", config(0, Some(1_500_000_000), Some(64_000)));
        check("rtt", Err(BorderError::NotAPair("rtt".into())));
        check("", Err(BorderError::NotAPair("".into())));
        check("loss=1", Err(BorderError::UnknownName("loss".into())));
        check("rtt=1s,rtt=2s", Err(BorderError::Twice("rtt".into())));
        check("rtt=200", Err(BorderError::NotATime("200".into())));
        check("rtt=-1ms", Err(BorderError::NotATime("-1ms".into())));
        check("rate=0mbit", Err(BorderError::NotARate("0mbit".into())));
        check("rate=fast", Err(BorderError::NotARate("fast".into())));
        check("per=1e30gbit", Err(BorderError::NotARate("1e30gbit".into())));
    }
}

//! Connections that are open and wait for a request, and those that are being opened for one.

use crate::wire::body::outgoing::Outgoing;
use crate::wire::net::connect::{Connect, ConnectError, Origin};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// S3 closes idle connections after about 5 s; one that has waited for 3 s is not worth the race.
const IDLE_FOR: Duration = Duration::from_secs(3);

/// What hyper may hold of a body between us and TLS, each way.
const BUFFER: usize = 32 << 10;
/// How many headers an answer may have. S3 takes 8 KB of them with an object ("Working with object metadata"), and an
/// entry of user metadata takes 14 bytes at least: 585 of them. hyper's own 100 would make such an object unreadable.
const HEADERS: usize = 640;

/// What a smaller body says of its connection is how long the answer took.
const TELLING: u64 = 1 << 20;

/// A connection that nobody else uses.
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<Outgoing>,
    pub(crate) origin: Origin,
    /// The address at its other end, where there is one.
    pub(crate) peer: Option<IpAddr>,
    /// Whether it has waited for a request: only then can it have been closed behind our back.
    pub(crate) reused: bool,
    // Bytes a second of the last large body.
    rate: u64,
    // Last, so that the sender is gone before the task that serves it.
    _driver: Driver,
}

impl Connection {
    /// A body of so many bytes was sent and answered in this time.
    pub(crate) fn carried(&mut self, bytes: u64, took: Duration) {
        if bytes >= TELLING {
            self.rate = bytes * 1_000 / u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        }
    }
}

/// The task that moves a connection's bytes; it ends with the connection, so the socket is closed with it.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Idle {
    connection: Connection,
    // By wall clock: a frozen sandbox's monotonic time may stand still while S3's does not.
    since: SystemTime,
}

/// A connection that is being opened for whoever comes. Dropped, it is given up.
struct Opening {
    since: SystemTime,
    task: JoinHandle<Result<Connection, ConnectError>>,
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Default)]
struct OriginConnections {
    idle: Vec<Idle>,
    opening: Vec<Opening>,
    // Told of each that becomes idle.
    returned: Arc<Notify>,
}

impl OriginConnections {
    /// The fastest that waits, or the warmest of those that are alike: after many parts the one that was done last is
    /// one that lost packets, and what completes an upload is as long as its parts are many.
    fn idle(&mut self) -> Option<Connection> {
        self.idle.retain(|idle| is_fresh(idle.since) && !idle.connection.sender.is_closed());
        let fastest = self.idle.iter().enumerate().max_by_key(|(_, idle)| idle.connection.rate)?.0;
        Some(self.idle.remove(fastest).connection)
    }

    /// One that is open by now, or the one that was begun first: a lost packet of a handshake holds up nobody else.
    fn opening(&mut self) -> Option<Opening> {
        self.opening.retain(|opening| is_fresh(opening.since));
        let open = self.opening.iter().position(|opening| opening.task.is_finished());
        (!self.opening.is_empty()).then(|| self.opening.remove(open.unwrap_or(0)))
    }
}

pub(crate) struct Pool {
    connector: Arc<dyn Connect>,
    waiting: Mutex<HashMap<Origin, OriginConnections>>,
}

impl Pool {
    pub(crate) fn new(connector: Arc<dyn Connect>) -> Self {
        Self { connector, waiting: Mutex::default() }
    }

    fn with<T>(&self, origin: &Origin, work: impl FnOnce(&mut OriginConnections) -> T) -> T {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = waiting.get_mut(origin) {
            return work(waiting);
        }
        work(waiting.entry(origin.clone()).or_default())
    }

    /// A connection: the best that waits, or one that is being opened for whoever comes, or one of its own. While it is
    /// being opened, one that others are done with is taken if that comes first: a handshake takes two round trips, and
    /// a second more if its first packet is lost. What was being opened then is for the next one.
    ///
    /// # Cancel safety
    /// What was opened so far is closed.
    pub(crate) async fn any(&self, origin: &Origin) -> Result<Connection, ConnectError> {
        let (idle, opening) = self.with(origin, |waiting| match waiting.idle() {
            Some(idle) => (Some(idle), None),
            None => (None, waiting.opening()),
        });
        if let Some(idle) = idle {
            return Ok(idle);
        }
        if let Some(mut opening) = opening {
            tokio::select! {
                biased;
                opened = &mut opening.task => {
                    if let Ok(Ok(mut connection)) = opened && !connection.sender.is_closed() {
                        connection.reused = true;
                        return Ok(connection);
                    }
                }
                idle = self.returned(origin) => {
                    self.with(origin, |waiting| waiting.opening.push(opening));
                    return Ok(idle);
                }
            }
        }
        // What kept it from being opened, if anything did, is found out and reported here.
        let mut own = Box::pin(open(Arc::clone(&self.connector), origin.clone(), None));
        tokio::select! {
            biased;
            opened = &mut own => opened,
            idle = self.returned(origin) => {
                let opening = Opening { since: SystemTime::now(), task: tokio::spawn(own) };
                self.with(origin, |waiting| waiting.opening.push(opening));
                Ok(idle)
            }
        }
    }

    /// Waits for a connection that others are done with.
    ///
    /// # Cancel safety
    /// None is lost.
    async fn returned(&self, origin: &Origin) -> Connection {
        let returned = self.with(origin, |waiting| Arc::clone(&waiting.returned));
        loop {
            // Asked for before the look, so that one that comes in between is not missed.
            let next = returned.notified();
            if let Some(connection) = self.with(origin, OriginConnections::idle) {
                return connection;
            }
            next.await;
        }
    }

    /// A connection of its own, to another address than the one to avoid if there is another.
    ///
    /// # Cancel safety
    /// What was opened so far is closed.
    pub(crate) async fn fresh(&self, origin: &Origin, avoid: Option<IpAddr>) -> Result<Connection, ConnectError> {
        open(Arc::clone(&self.connector), origin.clone(), avoid).await
    }

    /// Begins to open connections, so that so many wait or are being opened. Waits for none of them.
    pub(crate) fn warm(&self, origin: &Origin, count: usize) {
        self.with(origin, |waiting| {
            waiting.idle.retain(|idle| is_fresh(idle.since) && !idle.connection.sender.is_closed());
            waiting.opening.retain(|opening| is_fresh(opening.since));
            let there = waiting.idle.len() + waiting.opening.len();
            for _ in there..count {
                let task = tokio::spawn(open(Arc::clone(&self.connector), origin.clone(), None));
                waiting.opening.push(Opening { since: SystemTime::now(), task });
            }
        });
    }

    /// Takes a connection back whose last answer was read to its end.
    pub(crate) fn put_back(&self, mut connection: Connection) {
        if connection.sender.is_closed() {
            return;
        }
        connection.reused = true;
        let origin = connection.origin.clone();
        self.with(&origin, |waiting| {
            waiting.idle.push(Idle { connection, since: SystemTime::now() });
            waiting.returned.notify_one();
        });
    }

    /// Closes what has waited too long; called when an invocation begins, because timers sleep with a frozen sandbox.
    pub(crate) fn drop_stale(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for waiting in waiting.values_mut() {
            waiting.idle.retain(|idle| is_fresh(idle.since));
            waiting.opening.retain(|opening| is_fresh(opening.since));
        }
    }
}

async fn open(connector: Arc<dyn Connect>, origin: Origin, avoid: Option<IpAddr>) -> Result<Connection, ConnectError> {
    let connected = connector.connect(&origin, avoid).await?;
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(BUFFER)
        .max_headers(HEADERS)
        .handshake(TokioIo::new(connected.stream))
        .await
        .map_err(|error| ConnectError::Tls { host: origin.host.clone(), source: io::Error::other(error) })?;
    // Its error reaches whoever waits for the answer.
    let driver = Driver(tokio::spawn(async { drop(connection.await) }));
    Ok(Connection { sender, origin, peer: connected.peer, reused: false, rate: 0, _driver: driver })
}

/// A clock that was set back makes an age unknown, and unknown is stale.
fn is_fresh(since: SystemTime) -> bool {
    since.elapsed().is_ok_and(|age| age < IDLE_FOR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::http::endpoint::Scheme;
    use crate::wire::gate::Boxed;
    use crate::wire::net::connect::Connected;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use tokio::io::{DuplexStream, duplex};

    /// Pipes whose other ends stay open, behind a border that may lose what is begun.
    #[derive(Default)]
    struct Pipes {
        lossy: AtomicBool,
        opened: AtomicUsize,
        ends: Mutex<Vec<DuplexStream>>,
    }

    impl Connect for Pipes {
        fn connect<'a>(&'a self, _: &'a Origin, _: Option<IpAddr>) -> Boxed<'a, Result<Connected, ConnectError>> {
            Box::pin(async {
                if self.lossy.load(Ordering::SeqCst) {
                    std::future::pending::<()>().await;
                }
                let (near, far) = duplex(1 << 10);
                self.ends.lock().unwrap().push(far);
                self.opened.fetch_add(1, Ordering::SeqCst);
                Ok(Connected { stream: Box::new(near), peer: None })
            })
        }
    }

    fn origin() -> Origin {
        Origin { scheme: Scheme::Https, host: "bucket.s3.us-west-2.amazonaws.com".to_owned(), port: 443 }
    }

    /// A pool that has warmed so many connections, all of them open.
    async fn warmed(count: usize) -> (Arc<Pipes>, Pool) {
        let pipes = Arc::new(Pipes::default());
        let pool = Pool::new(Arc::<Pipes>::clone(&pipes));
        pool.warm(&origin(), count);
        while pipes.opened.load(Ordering::SeqCst) < count {
            tokio::task::yield_now().await;
        }
        (pipes, pool)
    }

    /// Lets time pass by wall clock alone, as a frozen sandbox does.
    fn freeze(pool: &Pool, time: Duration) {
        pool.with(&origin(), |waiting| {
            waiting.idle.iter_mut().for_each(|idle| idle.since -= time);
            waiting.opening.iter_mut().for_each(|opening| opening.since -= time);
        });
    }

    #[tokio::test]
    async fn a_warm_connection_is_used_and_counts_when_more_are_warmed() {
        let (pipes, pool) = warmed(2).await;
        let used = pool.any(&origin()).await.unwrap();
        assert!(used.reused, "it may have been closed while it waited");
        pool.put_back(used);
        pool.warm(&origin(), 3);
        let _used = (
            pool.any(&origin()).await.unwrap(),
            pool.any(&origin()).await.unwrap(),
            pool.any(&origin()).await.unwrap(),
        );
        assert_eq!(pipes.opened.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn what_a_freeze_made_stale_is_replaced_in_the_same_breath() {
        let (pipes, pool) = warmed(2).await;
        let idle = pool.any(&origin()).await.unwrap();
        pool.put_back(idle);
        freeze(&pool, IDLE_FOR);
        pool.drop_stale();
        pool.with(&origin(), |waiting| assert!(waiting.idle.is_empty() && waiting.opening.is_empty()));
        pool.warm(&origin(), 2);
        pool.with(&origin(), |waiting| assert_eq!(waiting.opening.len(), 2));
        let _fresh = (pool.any(&origin()).await.unwrap(), pool.any(&origin()).await.unwrap());
        assert_eq!(pipes.opened.load(Ordering::SeqCst), 4);
    }

    #[tokio::test]
    async fn one_that_others_are_done_with_is_taken_before_one_that_is_still_opened() {
        let (pipes, pool) = warmed(1).await;
        let busy = pool.any(&origin()).await.unwrap();
        pipes.lossy.store(true, Ordering::SeqCst);
        let origin = origin();
        let (connection, ()) = tokio::join!(pool.any(&origin), async {
            tokio::task::yield_now().await;
            pool.put_back(busy);
        });
        assert!(connection.unwrap().reused);
        assert_eq!(pipes.opened.load(Ordering::SeqCst), 1);
        pool.with(&origin, |waiting| assert_eq!(waiting.opening.len(), 1, "it is for the next one"));
    }

    #[tokio::test]
    async fn one_that_is_open_is_taken_before_one_that_was_begun_before_it() {
        let (pipes, pool) = warmed(0).await;
        pipes.lossy.store(true, Ordering::SeqCst);
        pool.warm(&origin(), 1);
        tokio::task::yield_now().await;
        pipes.lossy.store(false, Ordering::SeqCst);
        pool.warm(&origin(), 2);
        while pipes.opened.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let _open = pool.any(&origin()).await.unwrap();
        assert_eq!(pipes.opened.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn the_fastest_that_waits_is_taken_and_of_these_the_one_that_came_last() {
        let (_pipes, pool) = warmed(4).await;
        let mut all = Vec::new();
        for _ in 0..4 {
            all.push(pool.any(&origin()).await.unwrap());
        }
        let second = Duration::from_secs(1);
        // What was small says nothing of the path.
        for (connection, bytes) in all.iter_mut().zip([5 << 20, 9 << 20, 6 << 20, TELLING - 1]) {
            connection.carried(bytes, second);
        }
        all[2].carried(10, second);
        for connection in all {
            pool.put_back(connection);
        }
        let mut rates = Vec::new();
        for _ in 0..4 {
            rates.push(pool.any(&origin()).await.unwrap().rate >> 20);
        }
        assert_eq!(rates, [9, 6, 5, 0]);
        let (_pipes, pool) = warmed(2).await;
        let (mut first, mut last) = (pool.any(&origin()).await.unwrap(), pool.any(&origin()).await.unwrap());
        (first.peer, last.peer) = (Some([127, 0, 0, 1].into()), Some([127, 0, 0, 2].into()));
        let came_last = last.peer;
        pool.put_back(first);
        pool.put_back(last);
        assert_eq!(pool.any(&origin()).await.unwrap().peer, came_last);
    }

    #[tokio::test]
    async fn a_pause_that_s3_waits_out_keeps_connections() {
        let (pipes, pool) = warmed(1).await;
        freeze(&pool, IDLE_FOR - Duration::from_secs(1));
        pool.drop_stale();
        pool.warm(&origin(), 1);
        let _kept = pool.any(&origin()).await.unwrap();
        assert_eq!(pipes.opened.load(Ordering::SeqCst), 1);
    }
}

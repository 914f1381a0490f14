//! Connections that are open and wait for a request.

use super::body::Outgoing;
use super::connect::{Connect, ConnectError, Origin};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::task::JoinHandle;

/// S3 closes idle connections after about 5 s; one that has waited for 3 s is not worth the race.
const IDLE_FOR: Duration = Duration::from_secs(3);

/// What hyper may hold of a body between us and TLS, each way.
const BUFFER: usize = 128 << 10;

/// A connection that nobody else uses.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Outgoing>,
    pub(super) origin: Origin,
    /// Whether it has carried a request before: only then can it have been closed behind our back.
    pub(super) reused: bool,
    // Last, so that the sender is gone before the task that serves it.
    _driver: Driver,
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

/// The connections of one side.
pub(super) struct Pool {
    connector: Arc<dyn Connect>,
    idle: Mutex<HashMap<Origin, Vec<Idle>>>,
}

impl Pool {
    pub(super) fn new(connector: Arc<dyn Connect>) -> Self {
        Self { connector, idle: Mutex::default() }
    }

    /// The warmest connection that waits, if any is fresh enough.
    pub(super) fn warm(&self, origin: &Origin) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = idle.get_mut(origin)?;
        waiting.retain(|idle| is_fresh(idle.since) && !idle.connection.sender.is_closed());
        waiting.pop().map(|idle| idle.connection)
    }

    /// A connection of its own.
    ///
    /// # Cancel safety
    /// What was opened so far is closed.
    pub(super) async fn fresh(&self, origin: &Origin) -> Result<Connection, ConnectError> {
        let stream = self.connector.connect(origin).await?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| ConnectError::Tls { host: origin.host.clone(), source: io::Error::other(error) })?;
        // Its error reaches whoever waits for the answer.
        let driver = Driver(tokio::spawn(async { drop(connection.await) }));
        Ok(Connection { sender, origin: origin.clone(), reused: false, _driver: driver })
    }

    /// Takes a connection back whose last answer was read to its end.
    pub(super) fn put_back(&self, mut connection: Connection) {
        if connection.sender.is_closed() {
            return;
        }
        connection.reused = true;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let origin = connection.origin.clone();
        idle.entry(origin).or_default().push(Idle { connection, since: SystemTime::now() });
    }

    /// Closes what has waited too long; called when an invocation begins, because timers sleep with a frozen sandbox.
    pub(super) fn drop_stale(&self) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|_, waiting| {
            waiting.retain(|idle| is_fresh(idle.since));
            !waiting.is_empty()
        });
    }
}

/// A clock that was set back makes an age unknown, and unknown is stale.
fn is_fresh(since: SystemTime) -> bool {
    since.elapsed().is_ok_and(|age| age < IDLE_FOR)
}

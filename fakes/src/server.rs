//! The embedded S3 server: an endpoint on loopback, its store, its script of faults, and a record of what it saw.
//!
//! It records; whoever started it asserts. Path style only.

use crate::fault::delayed::{Landed, Parked};
use crate::fault::faults::Faults;
use crate::front::Front;
use crate::net::authority::Authority;
use crate::net::listener::{LOOPBACK, Listener};
use crate::s3::auth::keys::{KeyPair, Keys};
use crate::s3::auth::policy::Policy;
use crate::s3::request::Shared;
use crate::s3::service::Service;
use crate::seen::Seen;
use crate::store::objects::Store;
use crate::store::upload::Upload;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The region that signatures must name.
    pub region: String,
    /// The key pairs accepted at first.
    pub keys: Vec<KeyPair>,
    /// TLS under this authority, or plain HTTP.
    pub tls: Option<Arc<Authority>>,
    /// Where it listens; port 0 is a free one.
    pub listen: SocketAddr,
    /// Closes connections that bring no request for so long. S3 does after about five seconds; `None` is never.
    pub idle: Option<Duration>,
}

impl ServerConfig {
    /// Plain HTTP on a free port of loopback, one key pair.
    #[must_use]
    pub fn new(region: &str, keys: KeyPair) -> Self {
        Self { region: region.to_owned(), keys: vec![keys], tls: None, listen: LOOPBACK, idle: None }
    }

    /// The same over TLS.
    #[must_use]
    pub fn tls(mut self, authority: &Arc<Authority>) -> Self {
        self.tls = Some(Arc::clone(authority));
        self
    }
}

/// A running server. Dropping it ends it; `stop` ends it and waits.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    tls: bool,
    front: Arc<Front>,
}

impl Server {
    /// Starts one on a free port of loopback.
    ///
    /// # Errors
    /// If no socket can be had.
    pub async fn start(config: ServerConfig) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            region: config.region,
            store: Store::default(),
            policy: Policy::default(),
            keys: Keys::default(),
            clock: 0.into(),
        });
        shared.keys.set(config.keys);
        let service = Service::new(&shared);
        let (faults, entries, parked) = (Faults::default(), Mutex::default(), Parked::default());
        let front = Arc::new(Front { shared, service, faults, entries, parked });
        let listener = Listener::start(config.listen, config.tls.as_deref(), config.idle, Arc::clone(&front)).await?;
        Ok(Self { listener, tls: config.tls.is_some(), front })
    }

    /// Its URL, such as `https://localhost:40001`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.endpoint_at(self.address())
    }

    /// Its URL when it is reached by way of another address, such as a border's.
    #[must_use]
    pub fn endpoint_at(&self, address: SocketAddr) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://localhost:{}", address.port())
    }

    /// Its socket address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Its region.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.front.shared.region
    }

    /// What it holds.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.front.shared.store
    }

    /// What goes wrong.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.front.faults
    }

    /// What its caller may do.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.front.shared.policy
    }

    /// Who may call.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.front.shared.keys
    }

    /// Sets its clock ahead of the true time, or behind it if negative: both the Date it sends and what it compares
    /// signatures with.
    pub fn set_clock_ahead(&self, milliseconds: i64) {
        self.front.shared.clock.store(milliseconds, Ordering::Relaxed);
    }

    /// What it has seen, in the order in which the heads of requests came.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.front.entries().iter().map(|entry| entry.snapshot()).collect()
    }

    /// Forgets what it has seen.
    pub fn forget(&self) {
        self.front.entries().clear();
    }

    /// Carries out what was parked, in the order in which it came. What each was, and the status that nobody waits for.
    pub async fn land(&self) -> Vec<Landed> {
        self.front.parked.land(&self.front.service).await
    }

    /// Uploads that are begun and not over.
    #[must_use]
    pub fn open_uploads(&self) -> Vec<Upload> {
        self.store().open_uploads()
    }

    /// How many connections it has accepted since its start.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.listener.accepted()
    }

    /// How many of them resumed a TLS session of an earlier one.
    #[must_use]
    pub fn resumed_connections(&self) -> u64 {
        self.listener.resumed()
    }

    /// How many connections are open now.
    #[must_use]
    pub fn open_connections(&self) -> u64 {
        self.listener.open()
    }

    /// Ends it: no more connections, open ones dropped, every task of it over.
    pub async fn stop(self) {
        self.listener.stop().await;
    }
}

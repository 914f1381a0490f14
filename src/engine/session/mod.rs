//! What the copies of a process share, made once: how both buckets are reached, buffers, limits, options.
//!
//! Flags and profiles, or the function's environment, are resolved to two [`Access`]es and a [`SessionConfig`]; a job
//! is a session and keys.

pub mod options;

use crate::engine::buffer::{BufferLimits, Buffers};
use crate::engine::fault::Side;
use crate::engine::pace::admission::Admission;
use crate::engine::pace::governor::{Bounds, FixedWindow};
use crate::engine::pace::window::AdaptiveWindow;
use crate::engine::parts::in_flight::PartsOfAll;
use crate::engine::session::options::Options;
use crate::s3::Bucket;
use crate::s3::http::endpoint::{Endpoint, Region};
use crate::wire::client::call::Client;
use crate::wire::client::config::Config;
use crate::wire::keys::Keys;
use crate::wire::net::connect::Connect;
use crate::wire::net::host_limits::HostLimits;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// How a bucket is reached.
pub struct Access {
    /// The bucket.
    pub bucket: Bucket,
    /// Where its requests go.
    pub endpoint: Endpoint,
    /// The region that they are signed for.
    pub region: Region,
    /// What they are signed with.
    pub credentials: Arc<dyn Keys>,
}

/// How many requests to a side are in flight at most.
#[derive(Debug, Clone, Copy)]
pub enum Window {
    /// As many as the path takes.
    Adaptive,
    /// What somebody asked for.
    Fixed(u32),
}

/// What a session is made with, besides the two accesses.
pub struct SessionConfig {
    /// Of requests to the source.
    pub source_window: Window,
    /// Of requests to the target.
    pub target_window: Window,
    /// What part buffers may take.
    pub buffers: BufferLimits,
    /// How objects are copied.
    pub options: Options,
    /// What becomes of each client's patience: nothing, but in a test that cannot wait for minutes.
    pub patience: fn(Config) -> Config,
}

/// A bucket and the client that reaches it.
#[derive(Clone)]
pub struct BucketClient {
    /// The client.
    pub client: Client,
    /// The bucket.
    pub bucket: Bucket,
}

/// What copies share. Cloning it shares everything but the options.
#[derive(Clone)]
pub struct Session {
    /// The source.
    pub source: BucketClient,
    /// The target.
    pub target: BucketClient,
    /// Where parts wait.
    pub buffers: Arc<Buffers>,
    /// How objects are copied.
    pub options: Options,
    /// Parts in flight at most, being read or being sent: what the target's window lets out.
    pub parts_in_flight: usize,
    /// Objects that were begun.
    pub(crate) objects: Arc<AtomicU64>,
    /// Parts of all its objects.
    pub(crate) in_flight: Arc<PartsOfAll>,
}

impl Access {
    /// The client, which has not connected yet.
    pub(crate) fn client(self, config: Config, admission: Admission, connector: &Arc<dyn Connect>) -> BucketClient {
        let Self { bucket, endpoint, region, credentials } = self;
        let client = Client::new(config, endpoint, region, credentials, Arc::new(admission), Arc::clone(connector));
        BucketClient { client, bucket }
    }
}

impl Window {
    /// What lets requests to a side in, and how many at most.
    pub(crate) fn admission(self, side: Side, host: HostLimits) -> (Admission, u32) {
        let bounds = match side {
            Side::Source => Bounds::at_source(host),
            Side::Target => Bounds::at_target(host),
        };
        match self {
            Self::Adaptive => (Admission::new(side.name(), AdaptiveWindow::new(bounds)), bounds.most),
            Self::Fixed(count) => (Admission::new(side.name(), FixedWindow::new(count)), count),
        }
    }
}

impl Session {
    /// A session that has not connected to anything yet.
    pub fn new(source: Access, target: Access, connector: &Arc<dyn Connect>, config: SessionConfig) -> Self {
        let SessionConfig { source_window, target_window, buffers, options, patience } = config;
        let host = HostLimits::of_this_machine();
        let connect = |access: Access, side: Side, window: Window| {
            let (admission, most) = window.admission(side, host);
            (access.client(patience(Config::new(side.name(), most)), admission, connector), most)
        };
        let (source, _) = connect(source, Side::Source, source_window);
        let (target, most) = connect(target, Side::Target, target_window);
        let buffers = Arc::new(Buffers::new(buffers));
        Self {
            source,
            target,
            buffers,
            options,
            parts_in_flight: most as usize,
            objects: Arc::default(),
            in_flight: Arc::default(),
        }
    }
}

//! A China side and a Global side: two servers with other keys and other regions, and clients for both.

use crate::engine::buffer::{BufferLimits, TmpLimit};
use crate::engine::job::{Job, Trigger};
use crate::engine::pace::admission::Admission;
use crate::engine::pace::governor::FixedWindow;
use crate::engine::session::options::{Buffering, Options};
use crate::engine::session::{Access, Session, SessionConfig, Window};
use crate::s3::http::endpoint::{Endpoint, Region};
use crate::s3::{Bucket, Key};
use crate::wire::client::call::Client;
use crate::wire::client::config::Config;
use crate::wire::keys::Fixed;
use crate::wire::net::connect::{Connect, Network};
use crate::wire::net::tls::client_config;
use aws_credential_types::Credentials;
use fakes::net::authority::Authority;
use fakes::net::border::{Border, BorderConfig};
use fakes::s3::auth::keys::KeyPair;
use fakes::server::{Server, ServerConfig};
use fakes::store::object::BucketConfig;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// The bucket in China.
pub const SOURCE_BUCKET: &str = "china-source";
/// The bucket outside it.
pub const TARGET_BUCKET: &str = "global-target";
/// The region in China.
pub const SOURCE_REGION: &str = "cn-northwest-1";
/// The region outside it.
pub const TARGET_REGION: &str = "us-west-2";

/// The keys of the China side.
pub fn source_keys() -> KeyPair {
    KeyPair::new("AKIACHINAEXAMPLE0001", "source-secret-of-the-demonstration")
}

/// The keys of the Global side.
pub fn target_keys() -> KeyPair {
    KeyPair::new("AKIAGLOBALEXAMPLE001", "target-secret-of-the-demonstration")
}

/// Both sides, running.
#[derive(Debug)]
pub struct Pair {
    /// The China side.
    pub source: Server,
    /// The Global side.
    pub target: Server,
    /// The path between the engine and the Global side, if there is one.
    pub(crate) border: Option<Border>,
    authority: Arc<Authority>,
}

impl Pair {
    /// Starts both over TLS, each with its bucket.
    ///
    /// # Errors
    /// If no socket or certificate can be had.
    pub async fn start(border: Option<BorderConfig>) -> io::Result<Self> {
        let authority = Arc::new(Authority::new()?);
        let source = Server::start(ServerConfig::new(SOURCE_REGION, source_keys()).tls(&authority)).await?;
        let target = Server::start(ServerConfig::new(TARGET_REGION, target_keys()).tls(&authority)).await?;
        source.store().create_bucket(SOURCE_BUCKET, BucketConfig::default());
        target.store().create_bucket(TARGET_BUCKET, BucketConfig::default());
        let border = match border {
            Some(config) => Some(Border::start(config, target.address()).await?),
            None => None,
        };
        Ok(Self { source, target, border, authority })
    }

    /// The certificate that both sides' are signed with.
    pub fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// The URL of the Global side, as seen over the border.
    pub fn target_endpoint(&self) -> String {
        match &self.border {
            Some(border) => self.target.endpoint_at(border.address()),
            None => self.target.endpoint(),
        }
    }

    /// A client of the China side.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn source_client(&self, config: Config) -> io::Result<Client> {
        self.client(config, &self.source.endpoint(), SOURCE_REGION, &source_keys())
    }

    /// A client of the Global side.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn target_client(&self, config: Config) -> io::Result<Client> {
        self.client(config, &self.target_endpoint(), TARGET_REGION, &target_keys())
    }

    /// A client with any keys for any of the two.
    ///
    /// # Errors
    /// If TLS cannot be set up, or the endpoint or region is none.
    pub fn client(&self, config: Config, endpoint: &str, region: &str, keys: &KeyPair) -> io::Result<Client> {
        let admission = Admission::new(config.side, FixedWindow::new(config.window));
        let access = access(TARGET_BUCKET, endpoint, region, keys)?;
        Ok(access.client(config, admission, &self.connector()?).client)
    }

    fn connector(&self) -> io::Result<Arc<dyn Connect>> {
        let tls = client_config(Some(self.authority.pem().as_bytes())).map_err(io::Error::other)?;
        Ok(Arc::new(Network::new(tls)))
    }

    /// A job between the two for one key, with budgets of its own: 64 MiB of memory, 256 MiB of /tmp.
    ///
    /// # Errors
    /// If TLS cannot be set up, or the key is none.
    pub fn job(&self, key: &str) -> io::Result<Job> {
        let key = Key::new(key).map_err(io::Error::other)?;
        let config = SessionConfig {
            source_window: Window::Fixed(16),
            target_window: Window::Fixed(32),
            buffers: BufferLimits { memory: 64 << 20, tmp_dir: "/tmp".into(), tmp: TmpLimit::Bytes(256 << 20) },
            options: Options { buffering: Buffering::Memory, ..Options::default() },
            patience: std::convert::identity,
        };
        let source = access(SOURCE_BUCKET, &self.source.endpoint(), SOURCE_REGION, &source_keys())?;
        let target = access(TARGET_BUCKET, &self.target_endpoint(), TARGET_REGION, &target_keys())?;
        let session = Session::new(source, target, &self.connector()?, config);
        let mut job = Job::new(session, key.clone(), key, Trigger::Event);
        job.grace = Duration::from_secs(10);
        Ok(job)
    }
}

fn access(bucket: &str, endpoint: &str, region: &str, keys: &KeyPair) -> io::Result<Access> {
    let credentials =
        Credentials::new(&keys.access_key, &keys.secret_key, keys.session_token.clone(), None, "demonstration");
    Ok(Access {
        bucket: Bucket::new(bucket).map_err(io::Error::other)?,
        endpoint: Endpoint::overridden(endpoint).map_err(io::Error::other)?,
        region: Region::new(region).map_err(io::Error::other)?,
        credentials: Arc::new(Fixed(credentials)),
    })
}

//! The certificate authority of the demo's servers, made afresh at each start and trusted by nobody who is not told.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use std::io;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// The names that a server answers under unless told otherwise.
const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// What is wrong with the server's certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    Expired,
    SelfSigned,
}

/// An authority and one server certificate of it.
#[derive(Clone)]
pub struct Authority {
    pem: String,
    server: Arc<ServerConfig>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// A new one, with a certificate for `localhost` and `127.0.0.1`.
    ///
    /// # Errors
    /// If keys or certificates cannot be made.
    pub fn new() -> io::Result<Self> {
        Self::with_names(&NAMES)
    }

    /// A new one whose servers show these names, such as a wrong one.
    ///
    /// # Errors
    /// If keys or certificates cannot be made.
    pub fn with_names(names: &[&str]) -> io::Result<Self> {
        Self::make(names, Flaw::None)
    }

    /// A new one whose servers show a certificate that ended in 2021.
    ///
    /// # Errors
    /// If keys or certificates cannot be made.
    pub fn expired() -> io::Result<Self> {
        Self::make(&NAMES, Flaw::Expired)
    }

    /// A new one whose servers show a certificate that nobody vouches for but its own key.
    ///
    /// # Errors
    /// If keys or certificates cannot be made.
    pub fn self_signed() -> io::Result<Self> {
        Self::make(&NAMES, Flaw::SelfSigned)
    }

    fn make(names: &[&str], flaw: Flaw) -> io::Result<Self> {
        let mut authority = CertificateParams::new(Vec::new()).map_err(io::Error::other)?;
        authority.distinguished_name.push(DnType::CommonName, "xpsync demo");
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let authority = CertifiedIssuer::self_signed(authority, key).map_err(io::Error::other)?;

        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut server = CertificateParams::new(names).map_err(io::Error::other)?;
        server.distinguished_name.push(DnType::CommonName, "xpsync demo server");
        if flaw == Flaw::Expired {
            (server.not_before, server.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        }
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = match flaw {
            Flaw::None | Flaw::Expired => server.signed_by(&key, &authority),
            Flaw::SelfSigned => server.self_signed(&key),
        };
        let certificate = certificate.map_err(io::Error::other)?;

        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(io::Error::other)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .map_err(io::Error::other)?;
        // S3 offers nothing newer.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { pem: authority.pem(), server: Arc::new(config) })
    }

    /// The authority's certificate, for `AWS_CA_BUNDLE`.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Takes connections under the server certificate.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.server))
    }
}

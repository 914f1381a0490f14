//! Whom a TLS connection trusts: the roots compiled in, and those of `AWS_CA_BUNDLE`.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use thiserror::Error;

/// Trust roots that cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The bundle is not PEM.
    #[error("the CA bundle cannot be read: {0}")]
    Bundle(String),
    /// The bundle holds no certificate.
    #[error("the CA bundle holds no certificate")]
    Empty,
    /// The crypto provider refused its own protocol versions.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// TLS 1.2 and later with verified names, HTTP/1.1 only, one crypto provider.
///
/// # Errors
/// [`TlsError`] if `bundle` is given and holds no usable certificates.
pub fn client_config(bundle: Option<&[u8]>) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(bundle) = bundle {
        let mut found = false;
        for certificate in CertificateDer::pem_slice_iter(bundle) {
            let certificate = certificate.map_err(|error| TlsError::Bundle(error.to_string()))?;
            roots.add(certificate)?;
            found = true;
        }
        if !found {
            return Err(TlsError::Empty);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_without_certificates_is_refused() {
        assert!(client_config(None).is_ok());
        assert!(matches!(client_config(Some(b"")), Err(TlsError::Empty)));
        assert!(matches!(client_config(Some(b"not pem")), Err(TlsError::Empty)));
        let torn = b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n";
        assert!(client_config(Some(torn)).is_err());
    }
}

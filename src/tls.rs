//! TLS to servers that we call: whom we trust, and who we say we are.
//!
//! rustls over ring, TLS 1.2 and 1.3.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// TLS to one server, its files read already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// Certificates that are trusted; `None`: those of the system.
    pub ca: Option<Vec<CertificateDer<'static>>>,
    /// Who we are, for servers that ask.
    pub identity: Option<Identity>,
    /// The name that the server's certificate must have; `None`: the host of its address.
    pub server_name: Option<String>,
}

/// A certificate, those that vouch for it, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Our own first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Of the first of them.
    pub key: Arc<PrivateKeyDer<'static>>,
}

/// What a connection to a server is made with. Fails with what is wrong with the certificates.
pub fn client_config(
    ca: Option<&[CertificateDer<'static>]>,
    identity: Option<&Identity>,
) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be had: {error}"))?
        .with_root_certificates(roots(ca)?);
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some(Identity { chain, key }) => builder
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(|error| format!("the certificate and its key cannot be used: {error}")),
    }
}

/// Says what is missing where the system has no certificate to trust servers by.
pub fn check_system_roots() -> Result<(), String> {
    roots(None).map(drop)
}

/// The certificates that are trusted.
fn roots(ca: Option<&[CertificateDer<'static>]>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let certificates = match ca {
        Some(ca) => ca.to_vec(),
        None => rustls_native_certs::load_native_certs().certs,
    };
    // Of the system's, some may be of kinds that are not understood.
    roots.add_parsable_certificates(certificates);
    if ca.is_none() && roots.is_empty() {
        return Err("the system has no certificates to trust servers by; install \
                    ca-certificates, or name a file of them in SSL_CERT_FILE"
            .to_owned());
    }
    Ok(roots)
}

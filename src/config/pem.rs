//! Files that settings name: certificates, keys, credentials.

use std::fs;
use std::io;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Bytes of a file with certificates. All that a system trusts take some 250 KiB.
const CERTIFICATES_BYTES_MAX: u64 = 4 << 20;
/// Bytes of a file with one key, or credentials.
pub const KEY_BYTES_MAX: u64 = 64 * 1024;

/// Certificates to trust, all of which must be of use; or what is wrong with the file.
pub fn trusted(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut roots = RootCertStore::empty();
    let certificates = chain(file)?;
    for (place, certificate) in certificates.iter().enumerate() {
        let number = place + 1;
        roots.add(certificate.clone()).map_err(|error| {
            format!("has a certificate, number {number}, that cannot be used: {error}")
        })?;
    }
    Ok(certificates)
}

/// A certificate and those that vouch for it; or what is wrong with the file.
pub fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = contents(file, CERTIFICATES_BYTES_MAX)?;
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let number = certificates.len() + 1;
        certificates.push(certificate.map_err(|error| {
            format!("has a certificate, number {number}, that is no PEM: {error}")
        })?);
    }
    if certificates.is_empty() {
        return Err("holds no certificate in the form of PEM (-----BEGIN CERTIFICATE-----)".into());
    }
    Ok(certificates)
}

/// A private key; or what is wrong with the file.
pub fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let pem = contents(file, KEY_BYTES_MAX)?;
    let problem = "holds no private key in the form of PEM (-----BEGIN PRIVATE KEY-----), or one \
                   that is encrypted";
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| problem.to_owned())
}

/// What a file of such a size holds; or why that cannot be told.
pub fn contents(file: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let read = || {
        if fs::metadata(file)?.len() > bytes_max {
            return Err(io::Error::other(format!("it has more than {} KiB", bytes_max / 1024)));
        }
        fs::read(file)
    };
    read().map_err(|error| format!("cannot be read: {error}"))
}

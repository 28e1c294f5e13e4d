//! What settings of access name files for: a public key, and certificates that are trusted.

use std::fs;
use std::io;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::PUBLIC_KEY;
use crate::config::error::ConfigError;
use crate::config::reader::Reader;

/// Bytes of a file with a public key.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of a file with certificates. All that a system trusts take some 250 KiB.
const CA_FILE_BYTES_MAX: u64 = 4 << 20;

/// A key as PEM: the text itself, or what the file of that name holds.
pub fn public_key(read: &Reader<'_>, directory: &Path, text: String) -> String {
    if text.trim_start().starts_with("-----BEGIN") {
        return text;
    }
    let problem = match contents(&directory.join(&text), KEY_FILE_BYTES_MAX).map(String::from_utf8)
    {
        Ok(Ok(pem)) if pem.trim_start().starts_with("-----BEGIN") => return pem,
        Ok(_) => "holds no key in the form of PEM (-----BEGIN PUBLIC KEY-----)".to_owned(),
        Err(error) => format!("cannot be read: {error}"),
    };
    let problem = format!(
        "\"{text}\" is no PEM, so it names a file, which {problem}; names count from the directory of \
         the configuration"
    );
    read.refuse(ConfigError::value(&read.origin(PUBLIC_KEY), PUBLIC_KEY, problem));
    String::new()
}

/// The certificates that are trusted in place of the system's, if `key` names a file of them.
pub fn certificates(
    read: &Reader<'_>,
    directory: &Path,
    key: &'static str,
) -> Option<Vec<CertificateDer<'static>>> {
    let file = directory.join(read.text(key)?);
    Some(trusted(&file).unwrap_or_else(|problem| {
        let problem = format!(
            "the file {} {problem}; names count from the directory of the configuration",
            file.display()
        );
        read.refuse(ConfigError::value(&read.origin(key), key, problem));
        Vec::new()
    }))
}

/// Those of a file, all of which must be of use; or what is wrong with it.
fn trusted(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem =
        contents(file, CA_FILE_BYTES_MAX).map_err(|error| format!("cannot be read: {error}"))?;
    let mut certificates = Vec::new();
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let number = certificates.len() + 1;
        let of = |problem: String| format!("has a certificate, number {number}, that {problem}");
        let certificate = certificate.map_err(|error| of(format!("is no PEM: {error}")))?;
        let added = roots.add(certificate.clone());
        added.map_err(|error| of(format!("cannot be used: {error}")))?;
        certificates.push(certificate);
    }
    if certificates.is_empty() {
        return Err("holds no certificate in the form of PEM (-----BEGIN CERTIFICATE-----)".into());
    }
    Ok(certificates)
}

fn contents(file: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    if fs::metadata(file)?.len() > bytes_max {
        return Err(io::Error::other(format!("it has more than {} KiB", bytes_max / 1024)));
    }
    fs::read(file)
}

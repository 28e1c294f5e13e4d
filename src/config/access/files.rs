//! What settings of access name files for: a public key, and certificates that are trusted.

use std::path::Path;

use rustls::pki_types::CertificateDer;

use super::PUBLIC_KEY;
use crate::config::error::ConfigError;
use crate::config::pem;
use crate::config::reader::Reader;

/// A key as PEM: the text itself, or what the file of that name holds.
pub fn public_key(read: &Reader<'_>, directory: &Path, text: String) -> String {
    if text.trim_start().starts_with("-----BEGIN") {
        return text;
    }
    let found = pem::contents(&directory.join(&text), pem::KEY_BYTES_MAX);
    let problem = match found.map(String::from_utf8) {
        Ok(Ok(pem)) if pem.trim_start().starts_with("-----BEGIN") => return pem,
        Ok(_) => "holds no key in the form of PEM (-----BEGIN PUBLIC KEY-----)".to_owned(),
        Err(problem) => problem,
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
    Some(pem::trusted(&file).unwrap_or_else(|problem| {
        let problem = format!(
            "the file {} {problem}; names count from the directory of the configuration",
            file.display()
        );
        read.refuse(ConfigError::value(&read.origin(key), key, problem));
        Vec::new()
    }))
}

//! TLS to the servers of a broker: the files are read with the configuration, so that a mistake is
//! told before anything starts.

use std::path::Path;
use std::sync::Arc;

use super::options::Options;
use crate::config::pem;
use crate::tls::{self, Identity, TlsSettings};

/// The settings, if TLS is on. What is wrong is booked.
pub fn settings(options: &Options<'_>, directory: &Path) -> Option<TlsSettings> {
    let keys = ["tls.ca", "tls.cert", "tls.key", "tls.server_name"];
    // `tls: {}` says so as well.
    let section = options.has("tls") && options.value("tls").1 == crate::config::Origin::Default;
    let named = |key: &&str| !options.text(key).is_empty();
    if !options.flag("tls") && !section && !keys.iter().any(named) {
        return None;
    }
    let read = |key: &str| Some(options.text(key)).filter(|text| !text.is_empty());
    let ca = read("tls.ca").and_then(|name| {
        let file = directory.join(name);
        booked(options, "tls.ca", pem::trusted(&file).map_err(|problem| of_file(&file, &problem)))
    });
    Some(TlsSettings {
        ca,
        identity: identity(options, directory, read("tls.cert"), read("tls.key")),
        server_name: read("tls.server_name"),
    })
}

/// Who we say we are.
fn identity(
    options: &Options<'_>,
    directory: &Path,
    cert: Option<String>,
    key: Option<String>,
) -> Option<Identity> {
    let (cert, key) = match (cert, key) {
        (Some(cert), Some(key)) => (directory.join(cert), directory.join(key)),
        (None, None) => return None,
        (Some(_), None) => {
            options.refuse("tls.cert", "has no `key` beside it, the file of its private key");
            return None;
        }
        (None, Some(_)) => {
            options.refuse("tls.key", "has no `cert` beside it, the file of its certificate");
            return None;
        }
    };
    let chain = pem::chain(&cert).map_err(|problem| of_file(&cert, &problem));
    let chain = booked(options, "tls.cert", chain);
    let found = pem::private_key(&key).map_err(|problem| of_file(&key, &problem));
    let identity = Identity { chain: chain?, key: Arc::new(booked(options, "tls.key", found)?) };
    // Whether they belong together; whom we trust is another matter.
    match tls::client_config(Some(&[]), Some(&identity)) {
        Ok(_) => Some(identity),
        Err(problem) => {
            options.refuse("tls.cert", problem);
            None
        }
    }
}

fn booked<T>(options: &Options<'_>, key: &str, found: Result<T, String>) -> Option<T> {
    found.map_err(|problem| options.refuse(key, problem)).ok()
}

/// A problem with a file that a key names.
pub fn of_file(file: &Path, problem: &str) -> String {
    let file = file.display();
    format!("the file {file} {problem}; names count from the directory of the configuration")
}

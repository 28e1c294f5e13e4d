//! The keys that keep people out: a mistake there must not open what was closed.

use super::key::{Key, Kind};
use super::schema::{self};

/// Keys that keep people out: what is written for them must not be lost to a typo.
const KEYS: [&str; 2] = ["websockets.allowed_origin", "server.command"];
/// All below it say who gets in, and one more says who may answer for the workers.
const ACCESS: &str = "roadcast.access";
const RELAY: &str = "roadcast.workers.relay";
/// Edits between two names that are taken for the same one misspelt.
const NEAR_MISS: usize = 2;

/// Whether a key decides who gets in: what is written for it must not be lost to a variable without
/// a value, as `tcp://${HOST}:6001` would become an address of all interfaces.
pub fn keep_out(key: &Key) -> bool {
    matches!(key.kind, Kind::Address(_) | Kind::Rpc(_) | Kind::Mode)
        || KEYS.contains(&key.path)
        || key.path.starts_with(ACCESS)
        || key.path == RELAY
}

/// Whether a path that leads nowhere was meant for one of [`KEYS`].
pub fn misspelt(path: &[String]) -> bool {
    KEYS.iter().filter_map(|key| key.split_once('.')).any(|(section, leaf)| match path {
        [written, key] => {
            let distance = strsim::damerau_levenshtein(leaf, &key.to_ascii_lowercase());
            section.eq_ignore_ascii_case(written) && distance <= NEAR_MISS
        }
        _ => false,
    })
}

/// The section of [`KEYS`] that a section which is not read was meant to be.
pub fn section(written: &str) -> Option<&'static str> {
    let near = |section: &&str| strsim::damerau_levenshtein(section, written) <= NEAR_MISS;
    let mut sections = KEYS.iter().filter_map(|key| key.split('.').next());
    sections.find(near).filter(|_| !schema::is_other_plugin(written))
}

//! The keys that keep people out: a mistake there must not open what was closed.

use super::environment;
use super::key::{Key, Kind};
use super::schema::{self};

/// Keys that keep people out: what is written for them must not be lost to a typo.
const KEYS: [&str; 2] = ["websockets.allowed_origin", "server.command"];
/// All below it say who gets in, and one more says who may answer for the workers.
const ACCESS: &str = "roadcast.access";
const OWN: &str = "roadcast";
const ACCESS_NAME: &str = "access";
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

/// What says who gets in, where a path has it in a section that is not ours.
pub fn moved(path: &[String]) -> Option<&'static str> {
    let [_, key] = path else { return None };
    key.eq_ignore_ascii_case(ACCESS_NAME).then_some(ACCESS)
}

/// Whether a path that leads nowhere was meant for one of [`KEYS`], or for what says who gets in.
pub fn misspelt(path: &[String]) -> bool {
    let [written, key] = path else { return false };
    let key = key.to_ascii_lowercase();
    let near = |leaf: &str| strsim::damerau_levenshtein(leaf, &key) <= NEAR_MISS;
    let mut keys = KEYS.iter().filter_map(|key| key.split_once('.'));
    moved(path).is_some()
        || keys.any(|(section, leaf)| section.eq_ignore_ascii_case(written) && near(leaf))
}

/// What a section that is not read was meant to be, if it would have kept people out: one of
/// [`KEYS`], our own, or [`ACCESS`] that stands outside it.
pub fn section(written: &str) -> Option<&'static str> {
    if schema::is_other_plugin(written) {
        return None;
    }
    let distance = |name: &str| strsim::damerau_levenshtein(name, written);
    if distance(ACCESS_NAME) <= 1 {
        return Some(ACCESS);
    }
    let mut sections = KEYS.iter().filter_map(|key| key.split('.').next());
    // `broadcast` is as near.
    let ours = || distance(OWN) <= NEAR_MISS && distance(OWN) < distance("broadcast");
    sections.find(|section| distance(section) <= NEAR_MISS).or_else(|| ours().then_some(OWN))
}

/// Whether the name of a variable that is read for nothing, without its prefix, leaves off or
/// misspells our own section before what says who gets in.
pub fn misplaced(rest: &str) -> bool {
    let Some((section, key)) = rest.split_once('_') else { return false };
    let meant = match self::section(&section.to_ascii_lowercase()) {
        Some(OWN) => key.to_owned(),
        Some(ACCESS) => rest.to_owned(),
        _ => return false,
    };
    let meant = format!("{OWN}_{meant}").to_ascii_uppercase();
    let known = |key: &&Key| environment::spelled(key.path) == meant;
    schema::KEYS.iter().find(known).is_some_and(keep_out)
}

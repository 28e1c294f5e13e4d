//! The table of keys, looked up: by path, by what was perhaps meant, and for the documentation.

use super::key::{Key, Status};
pub use super::keys::KEYS;
use super::keys::OTHER_SECTIONS;

/// What a path leads to.
#[derive(Debug)]
pub enum Found {
    /// A key, with the path as the table spells it and names as the operator did.
    Key(&'static Key, Vec<String>),
    /// A section; `named` when its last segment is a name that the operator chose.
    Section {
        /// Whether the last segment stands for a `*`.
        named: bool,
    },
    /// Nothing in a section that is read.
    Unknown,
    /// A section that is not read.
    Elsewhere,
}

/// Looks a path up; case does not matter, as in RoadRunner.
pub fn find(path: &[String]) -> Found {
    let Some(section) = path.first() else { return Found::Section { named: false } };
    let mut found = Found::Elsewhere;
    for key in KEYS.iter() {
        let segments: Vec<&str> = key.path.split('.').collect();
        if segments[0].eq_ignore_ascii_case(section) && matches!(found, Found::Elsewhere) {
            found = Found::Unknown;
        }
        let common = segments.len().min(path.len());
        if !segments
            .iter()
            .zip(path)
            .all(|(known, given)| *known == "*" || known.eq_ignore_ascii_case(given))
        {
            continue;
        }
        if path.len() < segments.len() {
            found = Found::Section { named: segments[common - 1] == "*" };
        } else if path.len() == segments.len() || key.status != Status::Used {
            let spelled = segments
                .iter()
                .zip(path)
                .map(|(known, given)| if *known == "*" { given } else { *known });
            return Found::Key(key, spelled.map(str::to_owned).collect());
        }
    }
    found
}

/// Whether keys lie below the one of this path.
pub fn is_section(path: &str) -> bool {
    let below = |key: &Key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
    KEYS.iter().any(below)
}

/// The known key or section nearest to an unknown one: a sibling spelled alike, or one of the same
/// name in another place.
pub fn nearest(path: &[String]) -> Option<String> {
    let written = path.join(".").to_ascii_lowercase();
    let leaf = written.rsplit('.').next().unwrap_or_default().to_owned();
    let near = |known: &'static str, given: &str| {
        let distance = strsim::damerau_levenshtein(&known.to_ascii_lowercase(), given);
        (distance <= (given.len() / 3).clamp(1, 3)).then_some((distance, known))
    };
    let sections = KEYS.iter().flat_map(|key| {
        key.path
            .match_indices('.')
            .map(|(end, _)| &key.path[..end])
            .filter(|section| !section.contains('*'))
    });
    let paths = KEYS.iter().map(|key| key.path).chain(sections);
    let siblings =
        paths.filter_map(|path| near(path, &written).map(|(distance, _)| (distance, path)));
    let namesakes = KEYS.iter().filter_map(|key| {
        let known = key.path.rsplit('.').next().unwrap_or_default();
        near(known, &leaf).map(|(distance, _)| (distance, key.path))
    });
    let (_, known) = siblings.min().or_else(|| namesakes.min())?;
    // With the name that the operator chose.
    let same_section =
        known.split('.').next().is_some_and(|section| section.eq_ignore_ascii_case(&path[0]));
    let name = path.get(1).filter(|_| same_section && path.len() > 2);
    Some(name.map_or_else(|| known.to_owned(), |name| known.replace('*', name)))
}

/// The section that is read whose name is nearest to `written`, when `written` is a likely
/// misspelling.
pub fn nearest_section(written: &str) -> Option<&'static str> {
    if is_other_plugin(written) {
        return None;
    }
    let sections = KEYS.iter().filter_map(|key| key.path.split('.').next());
    let near = sections.map(|known| (strsim::damerau_levenshtein(known, written), known)).min()?;
    (near.0 <= (written.len() / 4).max(1)).then_some(near.1)
}

/// Whether a top-level section (in lower case) is another RoadRunner plugin's.
pub fn is_other_plugin(section: &str) -> bool {
    OTHER_SECTIONS.contains(&section)
}

/// The key of that path.
///
/// # Panics
/// When the table has none: callers name keys by literals.
pub fn known(path: &str) -> &'static Key {
    KEYS.iter().find(|key| key.path == path).unwrap_or_else(|| panic!("no key {path} in the table"))
}

/// The table of keys that are used, for `docs/configuration.md`.
pub fn markdown() -> String {
    let mut out = "| key | default | type and bounds | meaning |\n|---|---|---|---|\n".to_owned();
    for key in KEYS.iter().filter(|key| key.listed && key.status == Status::Used) {
        let default =
            if key.default.is_empty() { String::new() } else { format!("`{}`", key.default) };
        out += &format!("| `{}` | {default} | {} | {} |\n", key.path, key.bounds(), key.doc);
    }
    out
}

/// The keys that are known and not used, for `docs/configuration.md`.
pub fn markdown_unused() -> String {
    let foreign = KEYS.iter().filter(|key| key.listed && key.status == Status::Foreign);
    let foreign: Vec<_> = foreign.map(|key| format!("`{}`", key.path)).collect();
    format!("RoadRunner's own, without effect here: {}.\n", foreign.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::key::Kind;
    use super::*;

    fn path(text: &str) -> Vec<String> {
        text.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn every_default_is_a_value_of_its_key_and_every_path_is_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for key in KEYS.iter() {
            assert!(seen.insert(key.path), "{} twice", key.path);
            if !key.default.is_empty() {
                key.parse(key.default).unwrap_or_else(|problem| panic!("{}: {problem}", key.path));
            }
            assert_eq!(
                key.status != Status::Used,
                matches!(key.kind, Kind::Opaque),
                "{}",
                key.path
            );
        }
    }

    #[test]
    fn a_path_leads_to_its_key_in_any_case_and_below_unused_ones() {
        let spelled = |text: &str| match find(&path(text)) {
            Found::Key(key, spelled) => (key.path, spelled.join(".")),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(spelled("HTTP.Address"), ("http.address", "http.address".to_owned()));
        assert_eq!(
            spelled("broadcast.My-Bus.DRIVER"),
            ("broadcast.*.driver", "broadcast.My-Bus.driver".to_owned())
        );
        assert_eq!(spelled("http.pool.num_workers").0, "http.pool");
        assert_eq!(spelled("server.relay.x").0, "server.relay");
        assert!(matches!(find(&path("roadcast.limits")), Found::Section { named: false }));
        assert!(matches!(find(&path("broadcast.bus")), Found::Section { named: true }));
        assert!(matches!(find(&path("http.adress")), Found::Unknown));
        assert!(matches!(find(&path("http.address.x")), Found::Unknown));
        assert!(matches!(find(&path("kv.x")), Found::Elsewhere));
    }

    #[test]
    fn the_nearest_key_is_a_sibling_or_a_namesake_elsewhere() {
        for (written, expected) in [
            ("http.adress", Some("http.address")),
            ("websockets.alowed_origins", Some("websockets.allowed_origin")),
            ("roadcast.message_bytes", Some("roadcast.limits.message_bytes")),
            ("roadcast.shard", Some("roadcast.shards")),
            ("roadcast.limit", Some("roadcast.limits")),
            ("broadcast.other.drvier", Some("broadcast.other.driver")),
            ("http.zzzzzzzzzz", None),
        ] {
            assert_eq!(nearest(&path(written)).as_deref(), expected, "{written}");
        }
        assert_eq!(nearest_section("websocket"), Some("websockets"));
        assert_eq!(nearest_section("grpc"), None);
        assert_eq!(nearest_section("kv"), None);
    }

    #[test]
    fn bounds_are_kept_and_named() {
        let problem = known("roadcast.shards").parse("2000").unwrap_err();
        assert_eq!(problem, "\"2000\" is out of bounds; allowed: 0 to 1024");
        let problem = known("roadcast.limits.rpc_timeout").parse("0").unwrap_err();
        assert_eq!(problem, "\"0\" is out of bounds; allowed: 1ms to 24h");
        assert!(known("roadcast.ping_interval").parse("0").is_ok());
        assert!(
            known("logs.mode")
                .parse("loud")
                .unwrap_err()
                .contains("allowed: development, production")
        );
    }
}

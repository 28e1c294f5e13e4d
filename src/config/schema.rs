//! What the table of keys means: it drives reading, bounds, overrides, suggestions and the
//! documentation.

use std::time::Duration;

pub use super::keys::KEYS;
use super::keys::OTHER_SECTIONS;
use super::value::{self, RpcListen};
use crate::limits::units::{self, GiB, KiB, MiB};

/// One key, or with [`Status::Later`] and [`Status::Foreign`] all keys below one.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The path with dots; a `*` segment stands for a name that the operator chooses.
    pub path: &'static str,
    /// What its values look like.
    pub kind: Kind,
    /// The value in force when nobody wrote one; empty: none.
    pub default: &'static str,
    /// What Roadcast does with it.
    pub status: Status,
    /// One line for the documentation.
    pub doc: &'static str,
}

/// What Roadcast does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Reads it and acts on it.
    Used,
    /// Knows it and will act on it in a later release.
    Later,
    /// Knows it as RoadRunner's and has no use for it.
    Foreign,
}

/// What the values of a key look like. Bounds are inclusive.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Any text.
    Text,
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number.
    Count(u64, u64),
    /// A size; see [`value::bytes`].
    Bytes(u64, u64),
    /// A duration; bounds in milliseconds. See [`value::duration`].
    Duration(u64, u64),
    /// Where to listen; see [`value::address`].
    Address,
    /// Where to listen for RPC; see [`value::rpc_listen`].
    Rpc,
    /// The path of a URL; see [`value::url_path`].
    Path,
    /// Permissions of a file; see [`value::mode`].
    Mode,
    /// A list of words.
    Words,
    /// Rules of which an `Origin` must meet one; see [`crate::http::origin`].
    Origins,
    /// Not read.
    Opaque,
}

/// A value that fits its key.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of `Text`, `Choice` (in lower case) and `Path`.
    Text(String),
    /// Of `Flag`.
    Flag(bool),
    /// Of `Count`, `Bytes` and `Mode`.
    Number(u64),
    /// Of `Duration`.
    Duration(Duration),
    /// Of `Address`.
    Address(std::net::SocketAddr),
    /// Of `Rpc`.
    Rpc(RpcListen),
    /// Of `Words` and `Origins`; neither it nor a word of it is empty.
    Words(Vec<String>),
}

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

impl Key {
    /// Reads a value, or says what is wrong with it and what is allowed; an empty one is the
    /// default. A list is written with commas.
    pub fn parse(&self, text: &str) -> Result<Option<Value>, String> {
        self.parse_written(text, text)
    }

    /// The same of a value that was written as `written`, with variables in it: nothing of `text`
    /// goes into what to write.
    pub fn parse_written(&self, text: &str, written: &str) -> Result<Option<Value>, String> {
        let within =
            |number: Result<u64, String>, (min, max): (u64, u64), show: fn(u64) -> String| {
                let outside = || format!("\"{text}\" is out of bounds");
                let number =
                    number.and_then(|n| (min..=max).contains(&n).then_some(n).ok_or_else(outside));
                number
                    .map(Value::Number)
                    .map_err(|why| format!("{why}; allowed: {} to {}", show(min), show(max)))
            };
        let value = match self.kind {
            _ if text.is_empty() => return Ok(None),
            // No origin holds a comma.
            Kind::Words | Kind::Origins => {
                let words: Vec<_> = text.split(',').map(|word| word.trim().to_owned()).collect();
                return self.parse_list(&words);
            }
            Kind::Text | Kind::Opaque => Ok(Value::Text(text.to_owned())),
            Kind::Flag => value::bool(text).map(Value::Flag),
            Kind::Choice(words) => {
                let word = text.to_ascii_lowercase();
                let known = words.contains(&word.as_str());
                let problem = || format!("\"{text}\" is not known; allowed: {}", words.join(", "));
                if known { Ok(Value::Text(word)) } else { Err(problem()) }
            }
            Kind::Count(min, max) => within(value::count(text), (min, max), |n| n.to_string()),
            Kind::Bytes(min, max) => within(value::bytes(text), (min, max), show_bytes),
            Kind::Duration(min, max) => {
                let duration = value::duration(text);
                // Rounded up, so that 1 ns is not taken for "off".
                let millis = |of: &Duration| {
                    u64::try_from(of.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
                };
                within(
                    duration.as_ref().map(millis).map_err(Clone::clone),
                    (min, max),
                    show_millis,
                )?;
                duration.map(Value::Duration)
            }
            Kind::Address => value::address(text, &self.example(written)).map(Value::Address),
            Kind::Rpc => value::rpc_listen(text, &self.example(written)).map(Value::Rpc),
            Kind::Path => value::url_path(text).map(Value::Text),
            Kind::Mode => value::mode(text).map(Value::Number),
        };
        value.map(Some)
    }

    /// What to write instead of an address that will not do: with the port that was `written`, or
    /// the usual one.
    fn example(&self, written: &str) -> String {
        let common = known(self.path.strip_prefix("roadcast.").unwrap_or(self.path));
        let port =
            value::port_of(written).or_else(|| value::port_of(common.default)).unwrap_or_default();
        match self.kind {
            Kind::Rpc => format!("tcp://127.0.0.1:{port} or unix:///run/roadcast.sock"),
            _ => format!("host:port, for example 127.0.0.1:{port} or :{port}"),
        }
    }

    /// Reads a value that was written as a list; an empty one is the default.
    pub fn parse_list(&self, words: &[String]) -> Result<Option<Value>, String> {
        let words: Vec<String> = words.iter().filter(|word| !word.is_empty()).cloned().collect();
        match self.kind {
            // By default everybody gets in, which is hardly what an empty list says.
            Kind::Origins if words.is_empty() => {
                Err("is an empty list; write \"*\" for all origins, or those that may connect"
                    .to_owned())
            }
            Kind::Words | Kind::Origins => Ok((!words.is_empty()).then_some(Value::Words(words))),
            _ => Err("holds a list; expected one value".to_owned()),
        }
    }

    /// The value in force when nobody wrote one.
    ///
    /// # Panics
    /// When the table holds a default that is no value of its key.
    pub fn default_value(&self) -> Option<Value> {
        let value = self.parse(self.default);
        value.unwrap_or_else(|problem| panic!("the default of {}: {problem}", self.path))
    }

    fn bounds(&self) -> String {
        match self.kind {
            Kind::Text | Kind::Opaque => "text".to_owned(),
            Kind::Flag => "`true`, `false`".to_owned(),
            Kind::Choice(words) => {
                words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
            }
            Kind::Count(min, max) => format!("number, {min} to {max}"),
            Kind::Bytes(min, max) => format!("bytes, {} to {}", show_bytes(min), show_bytes(max)),
            Kind::Duration(min, max) => {
                format!("duration, {} to {}", show_millis(min), show_millis(max))
            }
            Kind::Address => "host:port".to_owned(),
            Kind::Rpc => "`tcp://host:port`, `unix:///path`".to_owned(),
            Kind::Path => "URL path".to_owned(),
            Kind::Mode => "octal, `0000` to `0777`".to_owned(),
            Kind::Words | Kind::Origins => "list".to_owned(),
        }
    }
}

/// A size in the largest unit that divides it.
pub fn show_bytes(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        _ if bytes.is_multiple_of(GiB) => format!("{}GiB", bytes / GiB),
        _ if bytes.is_multiple_of(MiB) => format!("{}MiB", bytes / MiB),
        _ if bytes.is_multiple_of(KiB) => format!("{}KiB", bytes / KiB),
        _ => bytes.to_string(),
    }
}

/// A size in whole MiB, for sums.
pub fn show_about(bytes: u64) -> String {
    format!("{}MiB", bytes.div_ceil(MiB))
}

fn show_millis(millis: u64) -> String {
    match millis {
        0 => "0".to_owned(),
        _ if millis.is_multiple_of(units::h) => format!("{}h", millis / units::h),
        _ if millis.is_multiple_of(units::s) => format!("{}s", millis / units::s),
        _ => format!("{millis}ms"),
    }
}

/// The table of keys that are used, for `docs/configuration.md`.
pub fn markdown() -> String {
    let mut out = "| key | default | type and bounds | meaning |\n|---|---|---|---|\n".to_owned();
    for key in KEYS.iter().filter(|key| key.status == Status::Used) {
        let default =
            if key.default.is_empty() { String::new() } else { format!("`{}`", key.default) };
        out += &format!("| `{}` | {default} | {} | {} |\n", key.path, key.bounds(), key.doc);
    }
    out
}

/// The keys that are known and not used, for `docs/configuration.md`.
pub fn markdown_unused() -> String {
    let named = |status| {
        let keys =
            KEYS.iter().filter(|key| key.status == status).map(|key| format!("`{}`", key.path));
        keys.collect::<Vec<_>>().join(", ")
    };
    format!(
        "Known, and acted on in a later release: {}.\n\nRoadRunner's own, without effect here: {}.\n",
        named(Status::Later),
        named(Status::Foreign)
    )
}

#[cfg(test)]
mod tests {
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

//! One key of the configuration: what its values look like, and how one is read.

use std::time::Duration;

use super::value::{self, RpcListen};
use crate::limits::units::{self, GiB, KiB, MiB};

/// The longest duration a key takes: a day. Longer ones are mistaken units.
pub const DAY: u64 = 24 * units::h;

/// One key, or with [`Status::Foreign`] all keys below one.
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
    /// Whether the documentation's tables name it; not where it is one of several places for the
    /// same thing.
    pub listed: bool,
}

/// What Roadcast does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Reads it and acts on it.
    Used,
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
    /// The same as RoadRunner writes it, where a bare number counts nanoseconds.
    GoDuration(u64, u64),
    /// One of these, or -1, which is none at all, as RoadRunner's keys for Redis have it.
    OrOff(&'static Kind),
    /// Where to listen, and the port that is usual there; see [`value::address`].
    Address(u16),
    /// Where to listen for RPC, and the port that is usual there; see [`value::rpc_listen`].
    Rpc(u16),
    /// The path of a URL; see [`value::url_path`].
    Path,
    /// Permissions of a file; see [`value::mode`].
    Mode,
    /// A list of words.
    Words,
    /// A program and its arguments: words between blanks, or a list.
    Command,
    /// Text that nobody is told.
    Secret,
    /// Names and values: a map, or a list of maps; in a file alone.
    Pairs,
    /// A list of maps with these keys; in a file alone.
    Maps(&'static [&'static str]),
    /// Rules of which an `Origin` must meet one; see [`crate::http::origin`].
    Origins,
    /// Not read.
    Opaque,
}

/// A value that fits its key.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of `Text`, `Choice` (in lower case), `Path` and `Secret`.
    Text(String),
    /// Of `Flag`.
    Flag(bool),
    /// Of `Count`, `Bytes` and `Mode`.
    Number(u64),
    /// Of `Duration` and `GoDuration`.
    Duration(Duration),
    /// -1, of `OrOff`.
    Off,
    /// Of `Address`.
    Address(std::net::SocketAddr),
    /// Of `Rpc`.
    Rpc(RpcListen),
    /// Of `Words`, `Origins` and `Command`; neither it nor a word of it is empty.
    Words(Vec<String>),
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
            Kind::Command => {
                let words: Vec<_> = text.split(' ').map(str::to_owned).collect();
                return self.parse_list(&words);
            }
            Kind::Pairs | Kind::Maps(_) => Err(format!("is {}; write it in a file", self.bounds())),
            Kind::Text | Kind::Secret | Kind::Opaque => Ok(Value::Text(text.to_owned())),
            Kind::Flag => value::bool(text).map(Value::Flag),
            Kind::Choice(words) => {
                let word = text.to_ascii_lowercase();
                let known = words.contains(&word.as_str());
                let problem = || format!("\"{text}\" is not known; allowed: {}", words.join(", "));
                if known { Ok(Value::Text(word)) } else { Err(problem()) }
            }
            Kind::Count(min, max) => within(value::count(text), (min, max), |n| n.to_string()),
            Kind::Bytes(min, max) => within(value::bytes(text), (min, max), show_bytes),
            Kind::Duration(min, max) | Kind::GoDuration(min, max) => {
                let go = matches!(self.kind, Kind::GoDuration(..));
                let duration = if go { value::go_duration(text) } else { value::duration(text) };
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
            Kind::OrOff(_) if text == "-1" => Ok(Value::Off),
            Kind::OrOff(kind) => {
                let read = Self { kind: *kind, ..*self }.parse_written(text, written);
                return read.map_err(|problem| format!("{problem}; -1 = off"));
            }
            Kind::Address(_) => value::address(text, &self.example(written)).map(Value::Address),
            Kind::Rpc(_) => value::rpc_listen(text, &self.example(written)).map(Value::Rpc),
            Kind::Path => value::url_path(text).map(Value::Text),
            Kind::Mode => value::mode(text).map(Value::Number),
        };
        value.map(Some)
    }

    /// What to write instead of an address that will not do: with the port that was `written`, or
    /// the usual one.
    fn example(&self, written: &str) -> String {
        let port = |usual| value::port_of(written).unwrap_or(usual);
        match self.kind {
            Kind::Rpc(usual) => {
                format!("tcp://127.0.0.1:{} or unix:///run/roadcast.sock", port(usual))
            }
            Kind::Address(usual) => {
                let port = port(usual);
                format!("host:port, for example 127.0.0.1:{port} or :{port}")
            }
            _ => String::new(),
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
            Kind::Words | Kind::Origins | Kind::Command => {
                Ok((!words.is_empty()).then_some(Value::Words(words)))
            }
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

    /// What it takes, for the documentation.
    pub(super) fn bounds(&self) -> String {
        self.kind.bounds()
    }
}

impl Kind {
    fn bounds(self) -> String {
        match self {
            Kind::Text | Kind::Secret | Kind::Opaque => "text".to_owned(),
            Kind::Flag => "`true`, `false`".to_owned(),
            Kind::Choice(words) => {
                words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
            }
            Kind::Count(min, max) => format!("number, {min} to {max}"),
            Kind::Bytes(min, max) => format!("bytes, {} to {}", show_bytes(min), show_bytes(max)),
            Kind::Duration(min, max) => {
                format!("duration, {} to {}", show_millis(min), show_millis(max))
            }
            Kind::GoDuration(min, max) => {
                let (min, max) = (show_millis(min), show_millis(max));
                format!("duration, {min} to {max}; a bare number is nanoseconds")
            }
            Kind::OrOff(kind) => format!("{}; or -1", kind.bounds()),
            Kind::Address(_) => "host:port".to_owned(),
            Kind::Rpc(_) => "`tcp://host:port`, `unix:///path`".to_owned(),
            Kind::Path => "URL path".to_owned(),
            Kind::Mode => "octal, `0000` to `0777`".to_owned(),
            Kind::Words | Kind::Origins => "list".to_owned(),
            Kind::Command => "words between blanks, or a list".to_owned(),
            Kind::Pairs => "a map, or a list of maps".to_owned(),
            Kind::Maps(keys) => format!("a list of maps with {}", keys.join(" and ")),
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

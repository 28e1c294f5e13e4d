//! Logs on stderr in RoadRunner's encodings: a console line for people, one JSON object a line for machines.
//!
//! What clients sent may appear in fields, so both encodings escape control characters: one event is one line, and no
//! byte of it commands a terminal.

use std::fmt::{self, Write as _};
use std::io::IsTerminal;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::{Context, SubscriberExt};

/// What the section `logs` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// `logs.mode`.
    pub mode: Mode,
    /// `logs.level`.
    pub level: Level,
    /// `logs.encoding`; without it the mode decides.
    pub encoding: Option<Encoding>,
}

/// For whom logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// People: console.
    #[default]
    Development,
    /// Machines: JSON.
    Production,
    /// The message alone.
    Raw,
    /// Nobody.
    Off,
}

/// The least severe level that is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Everything.
    Debug,
    /// What the operator of a healthy server wants to know.
    #[default]
    Info,
    /// What may be a mistake.
    Warn,
    /// What failed.
    Error,
}

/// How an event is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `time  LEVEL  message  field=value`
    Console,
    /// `{"level":"info","ts":1700000000.123,"logger":"…","msg":"…", fields}`, as RoadRunner's production mode.
    Json,
}

/// Writes the process's logs to stderr from now on. A second call changes nothing.
pub fn init(config: LogConfig) {
    if config.mode == Mode::Off {
        return;
    }
    let lines = Lines::new(config, std::io::stderr, std::io::stderr().is_terminal());
    // An error says that a subscriber is set already: it stays.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines));
}

/// The layer that writes each event as one line, by one `write`.
pub struct Lines<W> {
    style: Style,
    level: LevelFilter,
    colour: bool,
    writer: W,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Console,
    Json,
    Raw,
}

impl<W> Lines<W> {
    /// Lines for `writer`; `colour` marks the levels of the console encoding.
    pub fn new(config: LogConfig, writer: W, colour: bool) -> Self {
        let style = match (config.encoding, config.mode) {
            (Some(Encoding::Json), _) | (None, Mode::Production) => Style::Json,
            (_, Mode::Raw) => Style::Raw,
            _ => Style::Console,
        };
        let level = match (config.mode, config.level) {
            (Mode::Off, _) => LevelFilter::OFF,
            (_, Level::Debug) => LevelFilter::DEBUG,
            (_, Level::Info) => LevelFilter::INFO,
            (_, Level::Warn) => LevelFilter::WARN,
            (_, Level::Error) => LevelFilter::ERROR,
        };
        Self { style, level, colour, writer }
    }
}

impl<S: Subscriber, W: for<'w> MakeWriter<'w> + 'static> Layer<S> for Lines<W> {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut line = match self.style {
            Style::Console => console(event.metadata(), &fields, self.colour),
            Style::Json => json(event.metadata(), fields),
            Style::Raw => escaped(&fields.message),
        };
        line.push('\n');
        // Nowhere to report that the logs cannot be written.
        let _ = std::io::Write::write_all(&mut self.writer.make_writer(), line.as_bytes());
    }
}

/// The fields of an event, the message apart.
#[derive(Default)]
struct Fields {
    message: String,
    rest: Vec<(&'static str, Value)>,
}

impl Fields {
    fn set(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => self.rest.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }
}

fn console(metadata: &Metadata<'_>, fields: &Fields, colour: bool) -> String {
    let mut line = String::new();
    // Writing to a `String` does not fail.
    let _ = tracing_subscriber::fmt::time::SystemTime.format_time(&mut Writer::new(&mut line));
    let (name, paint) = match *metadata.level() {
        tracing::Level::ERROR => ("ERROR", "31"),
        tracing::Level::WARN => ("WARN", "33"),
        tracing::Level::INFO => ("INFO", "32"),
        _ => ("DEBUG", "36"),
    };
    let _ =
        if colour { write!(line, "  \x1b[{paint}m{name:5}\x1b[0m  ") } else { write!(line, "  {name:5}  ") };
    line += &escaped(&fields.message);
    for (name, value) in &fields.rest {
        let _ = match value {
            Value::String(text) if plain(text) => write!(line, "  {name}={text}"),
            Value::String(text) => write!(line, "  {name}=\"{}\"", escaped(text).replace('"', "\\\"")),
            other => write!(line, "  {name}={other}"),
        };
    }
    line
}

fn json(metadata: &Metadata<'_>, fields: Fields) -> String {
    let level = match *metadata.level() {
        tracing::Level::ERROR => "error",
        tracing::Level::WARN => "warn",
        tracing::Level::INFO => "info",
        _ => "debug",
    };
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    let quoted = |text: &str| Value::from(text).to_string();
    let mut line =
        format!("{{\"level\":\"{level}\",\"ts\":{seconds:.6},\"logger\":{}", quoted(metadata.target()));
    line += &format!(",\"msg\":{}", quoted(&fields.message));
    for (name, value) in &fields.rest {
        line += &format!(",{}:{value}", quoted(name));
    }
    line.push('}');
    // JSON leaves DEL, C1 and bidirectional controls as they are; all lie within strings and below U+10000.
    line.chars().fold(String::with_capacity(line.len()), |mut safe, c| {
        let _ = if dangerous(c) { write!(safe, "\\u{:04x}", u32::from(c)) } else { safe.write_char(c) };
        safe
    })
}

/// Whether a value can stand in a console line without quotes.
fn plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| !c.is_whitespace() && !dangerous(c) && c != '"' && c != '=')
}

/// Control characters, and what reorders or breaks a line on a screen: bidirectional marks and overrides, U+2028, U+2029.
fn dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if dangerous(c) => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(config: LogConfig, log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let make = {
            let sink = sink.clone();
            move || sink.clone()
        };
        tracing::subscriber::with_default(
            tracing_subscriber::registry().with(Lines::new(config, make, false)),
            log,
        );
        String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
    }

    const HOSTILE: &str = "a\nERROR forged\r\x1b[2J\u{9b}31m\u{2028}\u{202e}\u{200f}\u{61c}\0 \"b\"";

    fn hostile_event() {
        tracing::info!(origin = HOSTILE, debugged = ?HOSTILE, shown = %HOSTILE, count = 3, "from {HOSTILE}");
    }

    #[test]
    fn what_a_client_sent_neither_breaks_the_line_nor_commands_the_terminal() {
        for mode in [Mode::Development, Mode::Production, Mode::Raw] {
            let text = logged(LogConfig { mode, ..LogConfig::default() }, hostile_event);
            let line = text.strip_suffix('\n').unwrap();
            assert!(!line.chars().any(dangerous), "{mode:?}: {line}");
            assert!(line.contains("forged"), "{mode:?}: {line}");
        }
    }

    #[test]
    fn json_has_roadrunners_keys_and_the_fields_unchanged() {
        let text = logged(LogConfig { mode: Mode::Production, ..LogConfig::default() }, hostile_event);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["level"], "info");
        assert!(value["ts"].as_f64().unwrap() > 1_600_000_000.0);
        assert_eq!(value["msg"], format!("from {HOSTILE}"));
        assert_eq!(value["origin"], HOSTILE);
        assert_eq!(value["count"], 3);
        assert!(value["logger"].as_str().unwrap().starts_with("roadcast"));
    }

    #[test]
    fn the_level_and_the_mode_decide_what_is_written() {
        let both = || {
            tracing::warn!("careful");
            tracing::info!(topic = "a b", peer = "127.0.0.1:1", "fine");
        };
        let warn = LogConfig { level: Level::Warn, ..LogConfig::default() };
        assert!(logged(warn, both).trim_end().ends_with("WARN   careful"));
        assert_eq!(logged(LogConfig { mode: Mode::Off, ..warn }, both), "");
        assert_eq!(logged(LogConfig { mode: Mode::Raw, ..LogConfig::default() }, both), "careful\nfine\n");
        let json = LogConfig { encoding: Some(Encoding::Json), ..LogConfig::default() };
        assert!(logged(json, both).starts_with('{'));
        let console =
            LogConfig { mode: Mode::Production, encoding: Some(Encoding::Console), ..LogConfig::default() };
        let text = logged(console, both);
        assert!(text.contains("INFO   fine  topic=\"a b\"  peer=127.0.0.1:1\n"), "{text}");
    }
}

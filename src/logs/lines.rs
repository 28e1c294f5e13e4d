//! How an event becomes one line, and the layer that hands each to the [`Outlet`].
//!
//! What clients sent may appear in fields, so both encodings escape control characters: one event
//! is one line, and no byte of it commands a terminal.

use std::fmt::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level as Severity, Metadata, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::Context;

use super::outlet::Outlet;
use super::{Encoding, Level, LogConfig, Mode};
use crate::escape;

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    encoding: Encoding,
    /// The message alone.
    raw: bool,
    /// Marks the levels of the console encoding.
    colour: bool,
}

impl Style {
    /// What the configuration says; `colour` for a terminal.
    pub fn new(config: LogConfig, colour: bool) -> Self {
        let encoding = match (config.encoding, config.mode) {
            (Some(Encoding::Json), _) | (None, Mode::Production) => Encoding::Json,
            _ => Encoding::Console,
        };
        Self { encoding, raw: config.mode == Mode::Raw && encoding == Encoding::Console, colour }
    }

    /// One line, its end included.
    pub fn line(self, severity: Severity, logger: &str, fields: &Fields) -> String {
        let mut line = match self.encoding {
            _ if self.raw => escape::line(&fields.message).into_owned(),
            Encoding::Console => console(severity, fields, self.colour),
            Encoding::Json => json(severity, logger, fields),
        };
        line.push('\n');
        line
    }
}

/// The layer that hands in each event as one line.
pub struct Lines {
    style: Style,
    level: LevelFilter,
    outlet: Outlet,
}

impl Lines {
    /// Lines for `outlet`.
    pub fn new(config: LogConfig, style: Style, outlet: Outlet) -> Self {
        let level = match (config.mode, config.level) {
            (Mode::Off, _) => LevelFilter::OFF,
            (_, Level::Debug) => LevelFilter::DEBUG,
            (_, Level::Info) => LevelFilter::INFO,
            (_, Level::Warn) => LevelFilter::WARN,
            (_, Level::Error) => LevelFilter::ERROR,
        };
        Self { style, level, outlet }
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // Nobody reads: making the line would be in vain.
        if !self.outlet.has_room() {
            return self.outlet.refuse();
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        self.outlet.push(self.style.line(*metadata.level(), metadata.target(), &fields));
    }
}

/// The fields of an event.
#[derive(Default)]
pub struct Fields {
    /// The message.
    pub message: String,
    /// All others, by name.
    pub rest: Vec<(&'static str, Value)>,
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

fn console(severity: Severity, fields: &Fields, colour: bool) -> String {
    let mut line = String::new();
    // Writing to a `String` does not fail.
    let _ = tracing_subscriber::fmt::time::SystemTime.format_time(&mut Writer::new(&mut line));
    let (name, paint) = match severity {
        Severity::ERROR => ("ERROR", "31"),
        Severity::WARN => ("WARN", "33"),
        Severity::INFO => ("INFO", "32"),
        _ => ("DEBUG", "36"),
    };
    let _ = if colour {
        write!(line, "  \x1b[{paint}m{name:5}\x1b[0m  ")
    } else {
        write!(line, "  {name:5}  ")
    };
    line += &escape::line(&fields.message);
    for (name, value) in &fields.rest {
        let _ = match value {
            Value::String(text) if plain(text) => write!(line, "  {name}={text}"),
            Value::String(text) => write!(line, "  {name}=\"{}\"", quotable(text)),
            other => write!(line, "  {name}={other}"),
        };
    }
    line
}

fn json(severity: Severity, logger: &str, fields: &Fields) -> String {
    let level = match severity {
        Severity::ERROR => "error",
        Severity::WARN => "warn",
        Severity::INFO => "info",
        _ => "debug",
    };
    let seconds =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    let quoted = |text: &str| Value::from(text).to_string();
    let mut line =
        format!("{{\"level\":\"{level}\",\"ts\":{seconds:.6},\"logger\":{}", quoted(logger));
    line += &format!(",\"msg\":{}", quoted(&fields.message));
    for (name, value) in &fields.rest {
        line += &format!(",{}:{value}", quoted(name));
    }
    line.push('}');
    escape::json(line)
}

/// What stands between quotes: no quote of it ends them, and no escape of it is one of ours.
fn quotable(text: &str) -> String {
    escape::line(&text.replace('\\', "\\\\").replace('"', "\\\"")).into_owned()
}

/// Whether a value can stand in a console line without quotes.
fn plain(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| !c.is_whitespace() && !escape::dangerous(c) && c != '"' && c != '=')
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::super::outlet::tests::Sink;
    use super::*;

    fn logged(config: LogConfig, log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let style = Style::new(config, false);
        let outlet = Outlet::start("log", 1 << 20, sink.clone(), |_| String::new()).unwrap();
        let lines = Lines::new(config, style, outlet.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), log);
        outlet.flush();
        sink.text()
    }

    const HOSTILE: &str =
        "a\nERROR forged\r\x1b[2J\u{9b}31m\u{2028}\u{202e}\u{200f}\u{61c}\0 \"b\" \\\" peer=\"\\";

    fn hostile_event() {
        let (debugged, shown) = (HOSTILE, HOSTILE);
        tracing::info!(origin = HOSTILE, ?debugged, %shown, count = 3, "from {HOSTILE}");
    }

    #[test]
    fn what_a_client_sent_neither_breaks_the_line_nor_commands_the_terminal() {
        for mode in [Mode::Development, Mode::Production, Mode::Raw] {
            let text = logged(LogConfig { mode, ..LogConfig::default() }, hostile_event);
            let line = text.strip_suffix('\n').unwrap();
            assert!(!line.chars().any(escape::dangerous), "{mode:?}: {line}");
            assert!(line.contains("forged"), "{mode:?}: {line}");
        }
    }

    #[test]
    fn a_value_in_quotes_cannot_end_them_and_make_up_a_field() {
        for (origin, shown) in [
            ("x\\\" peer=10.0.0.1 y=\"", r#"origin="x\\\" peer=10.0.0.1 y=\"""#),
            ("a b\\", r#"origin="a b\\""#),
            ("a \n \\n", r#"origin="a \n \\n""#),
            ("c:\\x", r"origin=c:\x"),
        ] {
            let text = logged(LogConfig::default(), || tracing::info!(origin, "refused"));
            assert!(text.ends_with(&format!("refused  {shown}\n")), "{text}");
        }
    }

    #[test]
    fn json_has_roadrunners_keys_and_the_fields_unchanged() {
        let text =
            logged(LogConfig { mode: Mode::Production, ..LogConfig::default() }, hostile_event);
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
        assert_eq!(
            logged(LogConfig { mode: Mode::Raw, ..LogConfig::default() }, both),
            "careful\nfine\n"
        );
        let json = LogConfig { encoding: Some(Encoding::Json), ..LogConfig::default() };
        assert!(logged(json, both).starts_with('{'));
        let console = LogConfig {
            mode: Mode::Production,
            encoding: Some(Encoding::Console),
            ..LogConfig::default()
        };
        let text = logged(console, both);
        assert!(text.contains("INFO   fine  topic=\"a b\"  peer=127.0.0.1:1\n"), "{text}");
    }
}

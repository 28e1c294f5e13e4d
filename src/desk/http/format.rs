//! In which format a scrape is answered: OpenMetrics for whoever asks for it, else the older text
//! format of Prometheus.

use hyper::HeaderMap;
use hyper::header::ACCEPT;

/// A format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// What the registry writes.
    OpenMetrics,
    /// Prometheus' text format, which every scraper reads.
    Text,
}

impl Format {
    /// The format for a request. Many scrapers name both, the better one with the higher weight
    /// (RFC 9110 §12.5.1); one that names neither reads the older one.
    pub fn of(headers: &HeaderMap) -> Self {
        let (mut open_metrics, mut text) = (0, 0);
        let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        for range in values.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(|part| part.trim().to_ascii_lowercase());
            let media = parts.next().unwrap_or_default();
            let parameters: Vec<String> = parts.collect();
            let parameter =
                |name: &str| parameters.iter().find_map(|known| known.strip_prefix(name));
            let version = parameter("version=").map(|version| version.trim_matches('"'));
            let weight = weight(parameter("q="));
            match (media.as_str(), version) {
                ("application/openmetrics-text", None | Some("1.0.0" | "0.0.1")) => {
                    open_metrics = weight.max(open_metrics);
                }
                ("text/plain", None | Some("0.0.4")) => text = weight.max(text),
                _ => {}
            }
        }
        if open_metrics > 0 && open_metrics >= text { Self::OpenMetrics } else { Self::Text }
    }

    /// Its media type.
    pub fn media(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Metrics in this format, from OpenMetrics text.
    pub fn write(self, open_metrics: String) -> String {
        match self {
            Self::OpenMetrics => open_metrics,
            Self::Text => as_text(&open_metrics),
        }
    }
}

/// Thousandths. A weight that is none counts as 0: whoever wrote it gets what everybody reads.
fn weight(written: Option<&str>) -> u32 {
    let Some(written) = written else { return 1000 };
    written.parse::<f32>().map_or(0, |weight| (weight.clamp(0.0, 1.0) * 1000.0) as u32)
}

/// The older format differs in three things: a counter is described by the name that its samples
/// have, there are no units, and nothing marks the end.
fn as_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len() + 1024);
    let described = |line: &str, what: &str| {
        line.strip_prefix(what)
            .and_then(|rest| rest.split_once(' '))
            .map(|(name, _)| name.to_owned())
    };
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        // The type of a metric stands behind its description.
        let of_counter = |line: &str, name: &str| line == format!("# TYPE {name} counter");
        let counter = if let Some(name) = described(line, "# HELP ") {
            lines.peek().is_some_and(|next| of_counter(next, &name)).then_some(name)
        } else {
            described(line, "# TYPE ").filter(|name| of_counter(line, name))
        };
        match counter {
            Some(name) => text += &line.replacen(&name, &format!("{name}_total"), 1),
            None => text += line,
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(accept: &[&'static str]) -> Format {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, hyper::header::HeaderValue::from_static(value));
        }
        Format::of(&headers)
    }

    #[test]
    fn open_metrics_is_for_whoever_prefers_it() {
        for accept in [
            &["application/openmetrics-text"][..],
            &["text/html, Application/OpenMetrics-Text; version=\"1.0.0\""],
            &["text/plain", "application/openmetrics-text"],
            // Prometheus 2 and 3.
            &[
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            ],
            &[
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            ],
        ] {
            assert_eq!(chosen(accept), Format::OpenMetrics, "{accept:?}");
        }
    }

    #[test]
    fn everybody_else_gets_the_text_format() {
        for accept in [
            &[][..],
            &["*/*"],
            &["text/plain"],
            &["application/json"],
            &["text/plain;version=0.0.4;q=0.9, application/openmetrics-text;q=0.1"],
            &["application/openmetrics-text;q=0"],
            &["application/openmetrics-text; q=0.0, */*"],
            &["application/openmetrics-text;q=much"],
            &["application/openmetrics-text;version=2.0.0"],
            &[
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
            ],
            &[",;=,;;"],
        ] {
            assert_eq!(chosen(accept), Format::Text, "{accept:?}");
        }
    }

    #[test]
    fn counters_are_described_by_the_name_of_their_samples() {
        let open_metrics = "# HELP a_joins Joins of a_joins.\n# TYPE a_joins counter\na_joins_total{shard=\"0\"} 7\n\
                            # HELP a_bytes Bytes.\n# TYPE a_bytes gauge\n# UNIT a_bytes bytes\na_bytes 1\n# EOF\n";
        let text = "# HELP a_joins_total Joins of a_joins.\n# TYPE a_joins_total counter\na_joins_total{shard=\"0\"} 7\n\
                    # HELP a_bytes Bytes.\n# TYPE a_bytes gauge\na_bytes 1\n";
        assert_eq!(Format::Text.write(open_metrics.to_owned()), text);
        assert_eq!(Format::OpenMetrics.write(open_metrics.to_owned()), open_metrics);
    }
}

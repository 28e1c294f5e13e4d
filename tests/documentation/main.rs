//! Goal: what is generated in the documents is what the code says, and what they name exists.
//! Method: compare the text between markers; `ROADCAST_UPDATE_DOCS=1 cargo test --test
//! documentation` writes it anew. Look up names in a scrape, in the table of keys and in the
//! sources. Sources themselves are 100 characters wide at most, and import what they may.

mod rooms;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use roadcast::backend::BackendName;
use roadcast::config::schema;
use roadcast::desk::access::callback::CallbackTelemetry;
use roadcast::desk::access::jwks::KeyTelemetry;
use roadcast::desk::access::workers::WorkerTelemetry;
use roadcast::desk::http::{ShardTelemetry, Telemetry};
use roadcast::hub::HubCounters;
use roadcast::lane::{Wake, lane};
use roadcast::limits::Limits;
use roadcast::worst_case::{self, Uses};

/// One line for each that is missing, is too much, or is there twice; empty if none is.
fn differences<'a>(
    documented: impl Iterator<Item = &'a str>,
    real: impl Iterator<Item = &'a str>,
) -> String {
    let mut counts = BTreeMap::<&str, (i32, i32)>::new();
    documented.for_each(|item| counts.entry(item).or_default().0 += 1);
    real.for_each(|item| counts.entry(item).or_default().1 += 1);
    let wrong = counts.into_iter().filter_map(|(item, counts)| match counts {
        (0, _) => Some(format!("\n  missing: {item}")),
        (_, 0) => Some(format!("\n  does not exist any more: {item}")),
        (written, real) => (written > real).then(|| format!("\n  stands there twice: {item}")),
    });
    wrong.collect()
}

#[test]
fn what_a_document_lacks_is_named() {
    let of = |documented: &[&'static str], real: &[&'static str]| {
        differences(documented.iter().copied(), real.iter().copied())
    };
    assert_eq!(of(&["b", "a"], &["a", "b"]), "");
    assert_eq!(of(&["b"], &["a", "b"]), "\n  missing: a");
    assert_eq!(
        of(&["b", "a", "b"], &["b"]),
        "\n  does not exist any more: a\n  stands there twice: b"
    );
    // Lines of a table may be alike.
    assert_eq!(of(&["|-", "|-"], &["|-", "|-"]), "");
}

#[test]
fn the_documentation_holds_the_table_of_keys() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let mut document = std::fs::read_to_string(&path).unwrap();
    let update = std::env::var_os("ROADCAST_UPDATE_DOCS").is_some();
    for (name, table) in [("keys", schema::markdown()), ("unused", schema::markdown_unused())] {
        let (begin, end) =
            (format!("<!-- {name}: generated -->\n"), format!("<!-- {name}: end -->"));
        let from = document.find(&begin).expect("the marker where the table begins") + begin.len();
        let to = document.find(&end).expect("the marker where the table ends");
        if update {
            document.replace_range(from..to, &table);
            continue;
        }
        let written = document.get(from..to).expect("the table stands between its markers");
        let problems = differences(written.lines(), table.lines());
        assert!(
            problems.is_empty() && written == table,
            "docs/configuration.md, table \"{name}\", is not what src/config/keys.rs and src/limits.rs say; \
             ROADCAST_UPDATE_DOCS=1 cargo test --test documentation writes it anew{problems}"
        );
    }
    if update {
        std::fs::write(&path, document).unwrap();
    }
}

/// The page has a row for each part of the memory that is held at worst.
#[test]
fn the_documentation_explains_what_is_held_at_worst() {
    let document = read("docs/configuration.md").expect("the page is there");
    let (_, table) = document.split_once("| in the sum | at worst |\n|---|---|\n").unwrap();
    let explained = table.lines().map_while(|line| line.strip_prefix("| "));
    let explained = explained.map(|row| row.split(" | ").next().unwrap());
    let uses = Uses { asks: true, ..Uses::default() };
    // Beside the logs, where some topic's policy is to skip; the row of the logs says so.
    let rows = worst_case::rows(&Limits::default(), 1, uses).into_iter().map(|row| row.what);
    let rows = rows.filter(|what| *what != "newest publications of topics that skip");
    let rows: Vec<&str> = rows.collect();
    let problems = differences(explained, rows.iter().copied());
    assert!(problems.is_empty(), "docs/configuration.md, \"in the sum\"{problems}");
}

/// A scrape of a server with one shard and one broker, before anything has happened.
fn scrape() -> String {
    let wake = || Wake::new().unwrap();
    let (lane, _end) = lane::<()>(1, 1, wake(), wake());
    let shard = ShardTelemetry {
        name: "0".into(),
        counts: Arc::default(),
        around: Arc::default(),
        lane: lane.depth(),
        wake: lane.consumer(),
    };
    let hub = Arc::new(HubCounters::new(["default"]));
    // A probe has come back.
    hub.by_broker[0].lag_us.set(1);
    let telemetry = Arc::new(Telemetry {
        progress: Arc::default(),
        log: Arc::default(),
        hub,
        hub_wake: wake(),
        backend: BackendName::IoUring,
        ready_without: BTreeSet::new(),
        shards: vec![shard],
        access: Some(Arc::default()),
        workers: OnceLock::from(Arc::new(WorkerTelemetry::new(None))),
        callback: OnceLock::from(Arc::new(CallbackTelemetry::default())),
        keys: OnceLock::from(Arc::new(KeyTelemetry::new())),
    });
    telemetry.text()
}

/// Each name that a scrape has is explained, and nothing else is.
#[test]
fn the_documentation_explains_every_metric() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let document = std::fs::read_to_string(path).unwrap();
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `roadcast_"));
    let explained = rows.map(|row| row.split('`').next().unwrap());

    let text = scrape();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE roadcast_"));
    let named = types.map(|line| match line.split_once(' ').unwrap() {
        (name, "counter") => format!("{name}_total"),
        (name, _) => name.to_owned(),
    });
    let named: Vec<String> = named.collect();
    assert!(named.len() > 50, "a scrape has metrics: {named:?}");
    let problems = differences(explained, named.iter().map(String::as_str));
    assert!(
        problems.is_empty(),
        "docs/metrics.md does not match what a scrape has; each metric needs one row, \
         \"| `roadcast_NAME` | … |\", in the table of its part{problems}"
    );
}

/// What stands in backquotes.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).ok()
}

/// Whether a test of that name stands where `a::b::name` says: tests/a.rs, tests/a/b.rs, a file of
/// that name in a folder of tests, src/a/b.rs or its tests.
fn is_test(named: &str) -> bool {
    let (modules, name) = named.rsplit_once("::").expect("a path");
    let below = modules.replace("::", "/");
    let (above, last) = below.rsplit_once('/').unwrap_or(("", &below));
    let places = [
        format!("tests/{below}.rs"),
        format!("tests/server/{below}.rs"),
        format!("tests/system_faults/{below}.rs"),
        format!("tests/vectors/{below}.rs"),
        format!("src/{below}.rs"),
        format!("src/{below}/tests.rs"),
        format!("src/{above}/tests/{last}.rs"),
    ];
    let files = places.iter().filter_map(|place| read(place));
    let marks = [format!("#[test]fn{name}("), format!("over_both!({name});")];
    files.into_iter().any(|text| {
        // However it is laid out.
        let text: String = text.split_whitespace().collect();
        marks.iter().any(|mark| text.contains(mark))
    })
}

/// What a page promises is tested and counted by what there is.
#[test]
fn every_counter_key_and_test_named_where_reliability_is_promised_exists() {
    let scrape = scrape();
    let mut seen = [0; 3];
    for page in ["docs/reliability.md", "SECURITY.md"] {
        for span in spans(&read(page).expect("the page is there")) {
            let place = format!("{page}: `{span}`");
            if span.starts_with("roadcast_") {
                seen[0] += 1;
                let (name, labels) = span.split_once('{').unwrap_or((span, ""));
                let label = labels.trim_end_matches('}');
                let mut samples =
                    scrape.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
                assert!(samples.any(|line| line.contains(label)), "{place}: no such metric");
            } else if span.starts_with("roadcast.") && !span.contains([' ', ':']) {
                seen[1] += 1;
                assert!(schema::KEYS.iter().any(|key| key.path == span), "{place}: no such key");
            } else if span.contains("::") && !span.contains("NAME") {
                seen[2] += 1;
                assert!(is_test(span), "{place}: no such test");
            }
        }
    }
    assert!(
        seen.iter().all(|seen| *seen > 20),
        "the page names counters, keys and tests: {seen:?}"
    );
}

/// Links within the repository lead to files, and to headings in them.
#[test]
fn links_between_the_documents_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<_> =
        docs.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    pages.extend(["README.md", "ARCHITECTURE.md", "SECURITY.md"].map(|page| root.join(page)));
    let anchor = |heading: &str| -> String {
        let kept = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if file.is_empty() { page.clone() } else { page.with_file_name("").join(file) };
            assert!(target.exists(), "{}: {link} leads nowhere", page.display());
            if !heading.is_empty() {
                let target = std::fs::read_to_string(target).unwrap();
                let known = target
                    .lines()
                    .filter(|line| line.starts_with('#'))
                    .any(|line| anchor(line) == heading);
                assert!(known, "{}: no heading {link}", page.display());
            }
        }
    }
}

/// Whether a line has a long text in it, or is a part of one that goes on from line to line.
fn is_text(line: &str, before: &str, in_raw: bool) -> bool {
    let plain = line.replace("\\\"", "");
    let long = plain.split('"').skip(1).step_by(2).any(|text| text.chars().count() >= 40);
    // The last line of one that is no raw string, and has its line ends in it.
    let last = plain.matches('"').count() == 1 && plain.find('"') > Some(40);
    let goes_on = line.ends_with('\\') || before.ends_with('\\');
    long || last || goes_on || in_raw || line.contains("r#\"")
}

#[test]
fn only_text_may_be_wide() {
    let long = "x".repeat(50);
    assert!(is_text(&format!("say(\"{long}\");"), "", false));
    assert!(is_text(&format!("and {long} \\"), "", false) && is_text(&long, "so \\", false));
    assert!(!is_text(&format!("{long}(\"a\", {long}, \"b\")"), "", false));
}

/// rustfmt breaks code, and neither comments nor text.
#[test]
fn no_line_of_code_or_comment_is_wider_than_100_characters() {
    let mut wide = String::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() && !entry.ends_with("target") {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                // The rows of a table.
                if entry.ends_with("src/config/keys.rs") {
                    continue;
                }
                let source = std::fs::read_to_string(&entry).unwrap();
                let (mut before, mut in_raw) = ("", false);
                for (number, line) in (1..).zip(source.lines()) {
                    if line.chars().count() > 100 && !is_text(line, before, in_raw) {
                        wide += &format!("\n  {}:{number}", entry.display());
                    }
                    let opens = line.rfind("r#\"").map_or(in_raw, |_| true);
                    in_raw = opens && !line.contains("\"#");
                    before = line;
                }
            }
        }
    }
    assert!(wide.is_empty(), "lines that are wider than 100 characters:{wide}");
}

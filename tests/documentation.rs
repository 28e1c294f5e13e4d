//! Goal: what is generated in the documents is what the code says.
//! Method: compare the text between markers; `ROADCAST_UPDATE_DOCS=1 cargo test --test documentation` writes it anew.

use std::path::Path;

use std::sync::Arc;

use roadcast::admin::{ShardSources, Sources};
use roadcast::config::schema;
use roadcast::hub::HubCounters;
use roadcast::lane::{Wake, lane};

#[test]
fn the_documentation_holds_the_table_of_keys() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let mut document = std::fs::read_to_string(&path).unwrap();
    let update = std::env::var_os("ROADCAST_UPDATE_DOCS").is_some();
    for (name, table) in [("keys", schema::markdown()), ("unused", schema::markdown_unused())] {
        let (begin, end) = (format!("<!-- {name}: generated -->\n"), format!("<!-- {name}: end -->"));
        let from = document.find(&begin).expect("the marker where the table begins") + begin.len();
        let to = document.find(&end).expect("the marker where the table ends");
        if update {
            document.replace_range(from..to, &table);
        }
        let fresh = document.get(from..to) == Some(&*table);
        assert!(
            update || fresh,
            "docs/configuration.md is stale; ROADCAST_UPDATE_DOCS=1 cargo test --test documentation"
        );
    }
    if update {
        std::fs::write(&path, document).unwrap();
    }
}

/// Each name that a scrape has is explained, and nothing else is.
#[test]
fn the_documentation_explains_every_metric() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let document = std::fs::read_to_string(path).unwrap();
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `roadcast_"));
    let mut explained: Vec<&str> = rows.map(|row| row.split('`').next().unwrap()).collect();

    let wake = || Wake::new().unwrap();
    let (lane, _end) = lane::<()>(1, 1, wake(), wake());
    let shard =
        ShardSources { name: "0".into(), counts: Arc::default(), around: Arc::default(), lane: lane.depth() };
    let hub = Arc::new(HubCounters::new(1));
    let sources = Arc::new(Sources {
        progress: Arc::default(),
        hub,
        brokers: vec!["default".into()],
        shards: vec![shard],
    });
    let text = sources.text();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE roadcast_"));
    let named = types.map(|line| match line.split_once(' ').unwrap() {
        (name, "counter") => format!("{name}_total"),
        (name, _) => name.to_owned(),
    });
    let mut named: Vec<String> = named.collect();
    named.sort();
    explained.sort();
    assert_eq!(explained, named);
}

//! An existing RoadRunner configuration, as it is.

use std::path::Path;

use super::*;
use crate::access::Asked;
use crate::logs::{Level, Mode};

/// RoadRunner's own sample configuration, in short.
const ROADRUNNER: &str = r#"
version: "2.7"
rpc:        { listen: "tcp://127.0.0.1:6002" }
http:
  address: "127.0.0.1:8081"
  middleware: ["websockets"]
  pool: { num_workers: 2 }
  trusted_subnets: ["10.0.0.0/8"]
server:     { command: "php worker.php", relay: pipes, env: [], relay_timeout: 60s }
websockets: { broker: main, allowed_origin: "https://*my.site", path: "/live", pool: { num_workers: 2 } }
broadcast:
  main:     { driver: memory, config: {} }
  other:    { driver: memory }
redis:      { addrs: ["localhost:6379"], db: 0 }
logs:       { mode: production, level: error, channels: { http: { mode: off } } }
metrics:    { address: "localhost:2112" }
jobs:       { num_pollers: 1 }
kv:         {}
roadcast:   { access: open }
"#;

#[test]
fn a_roadrunner_file_is_read_as_it_is() {
    let config = config(ROADRUNNER);
    assert_eq!(config.file.as_deref(), Some(Path::new(".rr.yaml")));
    assert_eq!(
        (config.http.to_string().as_str(), config.http_key),
        ("127.0.0.1:8081", "http.address")
    );
    assert_eq!(
        (config.rpc.to_string().as_str(), config.rpc_key),
        ("tcp://127.0.0.1:6002", "rpc.listen")
    );
    assert_eq!(
        (config.path.as_str(), config.origins.join(",").as_str()),
        ("/live", "https://*my.site")
    );
    assert_eq!((names(&config), config.default_broker), (vec!["main", "other"], 0));
    assert_eq!(
        config.logs,
        LogConfig { mode: Mode::Production, level: Level::Error, encoding: None }
    );
}

#[test]
fn keys_without_effect_are_named_in_one_line_a_kind_and_never_as_misspellings() {
    assert_eq!(
        notices(ROADRUNNER),
        "note: RoadRunner's own, without effect here: http.middleware, http.pool, logs.channels, server.relay\n\
         note: sections of other plugins, ignored: jobs, kv\n\
         note: redis: no broker takes its options from this section\n"
    );
}

#[test]
fn tls_that_clients_would_lose_is_a_warning() {
    let text = notices("http: { ssl: { address: \":443\", cert: a, key: b } }");
    assert!(text.starts_with("warning: http.ssl: Roadcast does not serve TLS"), "{text}");
}

#[test]
fn workers_guard_access_however_the_file_came_to_name_them() {
    let guarded = "server: { command: php worker.php }\nwebsockets: {}\n";
    type Loaded = Result<(Config, Vec<Notice>), String>;
    let asks = |loaded: Loaded| matches!(loaded.unwrap().0.access.asked, Asked::Workers(_));
    assert!(asks(load(guarded)));
    assert!(!asks(load(&format!("{guarded}roadcast: {{ access: open }}"))));
    assert!(asks(load("server: { command: php worker.php }\nhttp: {}\n")));
    assert!(!asks(load("server: { command: \"\" }\nwebsockets: {}\n")));
    assert!(asks(load("server: { command: [php, worker.php] }\nwebsockets: {}\n")));
    // However the section came to be.
    let server = [(".rr.yaml", "server: { command: php worker.php }")];
    assert!(asks(load_with(&server, &[("RR_WEBSOCKETS_PATH", "/x")], &[])));
    assert!(asks(load_with(&server, &[], &["WebSockets.path=/x"])));
    let empty = [(".rr.yaml", "WebSockets:\n")];
    assert!(asks(load_with(&empty, &[("RR_SERVER_COMMAND", "php")], &[])));
    assert!(load("server: { command: a }\nwebsockets: {}\nroadcast: { access: closed }").is_err());
}

#[test]
fn what_roadrunner_sets_for_its_workers_overrides_nothing() {
    let env = [
        ("RR_RPC", "tcp://127.0.0.1:9"),
        ("RR_MODE", "http"),
        ("RR_RELAY", "pipes"),
        ("RR_VERSION", "2"),
        ("RR_BROADCAST_PATH", "/x"),
        ("RR_HTTP", "true"),
        ("RR_SOMETHING_ELSE", "x"),
    ];
    assert_eq!(load_with(&[], &env, &[]).unwrap(), load_with(&[], &[], &[]).unwrap());
}

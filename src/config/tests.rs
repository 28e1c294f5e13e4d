//! Goal: each way to write a setting means what the documentation says, and each mistake is told with its place.
//! Method: configurations in a directory of the test's own, with an environment of its own.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A directory that goes with the value.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let unique =
            format!("roadcast-config-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(unique);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn load_with(
    files: &[(&str, &str)],
    env: &[(&str, &str)],
    overrides: &[&str],
) -> Result<(Config, Vec<Notice>), String> {
    let directory = Directory::new();
    for (name, text) in files {
        std::fs::write(directory.0.join(name), text).unwrap();
    }
    let options = LoadOptions {
        path: None,
        overrides: overrides.iter().map(|text| (*text).to_owned()).collect(),
        env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        cwd: directory.0.clone(),
    };
    let shown = directory.0.display().to_string() + "/";
    Config::load(&options).map_err(|error| error.to_string().replace(&shown, ""))
}

fn load(file: &str) -> Result<(Config, Vec<Notice>), String> {
    load_with(&[(".rr.yaml", file)], &[], &[])
}

fn config(file: &str) -> Config {
    load(file).unwrap().0
}

fn notices(file: &str) -> String {
    load(file).unwrap().1.iter().map(|notice| notice.to_string() + "\n").collect()
}

fn names(config: &Config) -> Vec<&str> {
    config.brokers.iter().map(|broker| broker.name.as_str()).collect()
}

#[test]
fn without_a_file_the_defaults_run() {
    let (config, notices) = load_with(&[], &[], &[]).unwrap();
    assert_eq!(config.file, None);
    assert_eq!(config.http.to_string(), "127.0.0.1:8080");
    assert_eq!(config.rpc.to_string(), "tcp://127.0.0.1:6001");
    assert_eq!((config.path.as_str(), config.origin.as_str(), config.echo_path.as_ref()), ("/ws", "*", None));
    assert_eq!((names(&config), config.default_broker), (vec!["default"], 0));
    assert_eq!(config.shards, std::thread::available_parallelism().unwrap().get());
    assert!(config.pin && !config.demo);
    assert_eq!(config.shutdown_grace, Duration::from_secs(30));
    assert_eq!(config.logs, LogConfig::default());
    assert_eq!(notices, []);
}

#[test]
fn the_tables_defaults_are_those_of_limits() {
    assert_eq!(*config("").limits, Limits::default());
}

#[test]
fn every_limit_can_be_set() {
    let numbers = "connections: 100\n connections_per_address: 101\n handshakes_per_address: 102\n message_bytes: 1KiB\n topics_per_connection: 3\n topic_bytes: 4\n topics: 5\n \
                   publication_bytes: 6KiB\n outbox_bytes: 7KiB\n outboxes_bytes: 8KiB\n log_bytes: 9KiB\n \
                   lane_entries: 16\n lane_bytes: 11KiB\n socket_send_bytes: 12\n rpc_connections: 13\n \
                   rpc_frame_bytes: 14KiB\n rpc_async_bytes: 19KiB\n rpc_timeout: 15s\n head_timeout: 16s\n close_timeout: 17s\n \
                   laggard_timeout: 18s";
    let file = format!("roadcast:\n ping_interval: 1m\n pong_timeout: 20\n limits:\n{}", {
        numbers.split('\n').map(|line| format!("  {}\n", line.trim())).collect::<String>()
    });
    let seconds = Duration::from_secs;
    let expected = Limits {
        connections: 100,
        connections_per_address: 101,
        handshakes_per_address: 102,
        message_bytes: 1024,
        topics_per_connection: 3,
        topic_bytes: 4,
        topics: 5,
        publication_bytes: 6 * 1024,
        outbox_bytes: 7 * 1024,
        outboxes_bytes: 8 * 1024,
        log_bytes: 9 * 1024,
        lane_entries: 16,
        lane_bytes: 11 * 1024,
        socket_send_bytes: 12,
        rpc_connections: 13,
        rpc_frame_bytes: 14 * 1024,
        rpc_async_bytes: 19 * 1024,
        rpc_timeout: seconds(15),
        head_timeout: seconds(16),
        close_timeout: seconds(17),
        laggard_timeout: seconds(18),
        ping_interval: seconds(60),
        pong_timeout: seconds(20),
    };
    assert_eq!(*config(&file).limits, expected);
}

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
    assert_eq!((config.http.to_string().as_str(), config.http_key), ("127.0.0.1:8081", "http.address"));
    assert_eq!((config.rpc.to_string().as_str(), config.rpc_key), ("tcp://127.0.0.1:6002", "rpc.listen"));
    assert_eq!((config.path.as_str(), config.origin.as_str()), ("/live", "https://*my.site"));
    assert_eq!((names(&config), config.default_broker), (vec!["main", "other"], 0));
    assert_eq!(config.logs, LogConfig { mode: Mode::Production, level: Level::Error, encoding: None });
}

#[test]
fn keys_without_effect_are_named_in_one_line_a_kind_and_never_as_misspellings() {
    assert_eq!(
        notices(ROADRUNNER),
        "note: known, not used yet: redis.addrs, redis.db, server.relay, server.relay_timeout, websockets.pool\n\
         note: RoadRunner's own, without effect here: http.middleware, http.pool, logs.channels\n\
         note: sections of other plugins, ignored: jobs, kv\n"
    );
}

#[test]
fn tls_that_clients_would_lose_is_a_warning() {
    let text = notices("http: { ssl: { address: \":443\", cert: a, key: b } }");
    assert!(text.starts_with("warning: http.ssl: Roadcast does not serve TLS"), "{text}");
}

#[test]
fn workers_that_would_have_guarded_access_are_not_skipped_in_silence() {
    let guarded = "server: { command: php worker.php }\nwebsockets: {}\n";
    let error = load(guarded).unwrap_err();
    assert!(error.starts_with(".rr.yaml:1:20: server.command: "), "{error}");
    assert!(error.contains("does not run workers yet") && error.contains("roadcast.access: open"), "{error}");
    assert!(load(&format!("{guarded}roadcast: {{ access: open }}")).is_ok());
    assert!(load("server: { command: php worker.php }\nhttp: {}\n").is_ok());
    assert!(load("server: { command: \"\" }\nwebsockets: {}\n").is_ok());
    assert!(load("server: { command: [php, worker.php] }\nwebsockets: {}\n").is_err());
    // However the section came to be.
    let server = [(".rr.yaml", "server: { command: php worker.php }")];
    assert!(load_with(&server, &[("RR_WEBSOCKETS_PATH", "/x")], &[]).is_err());
    assert!(load_with(&server, &[], &["WebSockets.path=/x"]).is_err());
    assert!(load_with(&[(".rr.yaml", "WebSockets:\n")], &[("RR_SERVER_COMMAND", "php")], &[]).is_err());
    assert!(load("server: { command: a }\nwebsockets: {}\nroadcast: { access: closed }").is_err());
}

#[test]
fn overrides_win_over_the_environment_and_that_over_the_file() {
    let file = [(
        ".rr.yaml",
        "http: { address: \"127.0.0.1:1\" }\nwebsockets: { path: \"${P:-/p}\", allowed_origin: \"${O:-*}\" }\nlogs: { level: \"${L}\" }",
    )];
    let port = |env: &[_], overrides: &[_]| load_with(&file, env, overrides).unwrap().0.http.port();
    assert_eq!(port(&[], &[]), 1);
    assert_eq!(port(&[("RR_HTTP_ADDRESS", "127.0.0.1:2")], &[]), 2);
    assert_eq!(port(&[("RR_HTTP_ADDRESS", "127.0.0.1:2")], &["http.address=127.0.0.1:3"]), 3);
    assert_eq!(port(&[], &["http.address=127.0.0.1:3", "HTTP.Address='127.0.0.1:${PORT:-4}'"]), 4);
    // A wrong value that is overridden does no harm.
    let wrong = [(".rr.yaml", "http: { address: nonsense }")];
    assert!(load_with(&wrong, &[], &["http.address=:1"]).is_ok());

    let (config, notices) = load_with(&file, &[("P", "/q")], &[]).unwrap();
    assert_eq!(config.path, "/q");
    assert!(
        notices.iter().any(|notice| notice.warning && notice.text.contains("logs.level: ${L} is not set")),
        "{notices:?}"
    );
}

#[test]
fn variables_override_keys_with_underscores_and_brokers() {
    let file = [(".rr.yaml", "broadcast: { my-bus: { driver: \"${D}\" } }\nwebsockets: { broker: my-bus }")];
    let env = [
        ("RR_WEBSOCKETS_ALLOWED_ORIGIN", "https://a"),
        ("RR_BROADCAST_MY_BUS_DRIVER", "memory"),
        ("RR_BROADCAST_NEW_DRIVER", "memory"),
        ("RR_ROADCAST_LIMITS_OUTBOX_BYTES", "3MiB"),
        ("RR_ROADCAST_HTTP_ADDRESS", "127.0.0.1:9"),
        ("RR_HTTP_POOL_NUM_WORKERS", "4"),
        ("D", "memory"),
    ];
    let (config, notices) = load_with(&file, &env, &[]).unwrap();
    assert_eq!(config.origin, "https://a");
    assert_eq!(names(&config), ["my-bus", "new"]);
    assert_eq!(config.limits.outbox_bytes, 3 << 20);
    assert_eq!((config.http.port(), config.http_key), (9, "roadcast.http.address"));
    assert_eq!(notices, [Notice::info("RoadRunner's own, without effect here: http.pool")]);
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

#[test]
fn unknown_keys_are_reported_with_the_nearest_known_one() {
    let text = notices("http:\n  adress: x\nbroadcats: {}\n");
    assert_eq!(
        text.replace(&std::env::temp_dir().display().to_string(), "")
            .lines()
            .map(|l| l.split_once(".rr.yaml").unwrap().1)
            .collect::<Vec<_>>(),
        [
            ":2:3: http.adress: no such key; did you mean http.address?",
            ":3:1: broadcats: no section that is read; did you mean broadcast?"
        ]
    );
    let (_, notices) = load_with(&[], &[("RR_HTTP_ADRESS", "x")], &[]).unwrap();
    let text: Vec<_> = notices.iter().map(|notice| notice.text.as_str()).collect();
    assert_eq!(
        text,
        ["environment variable RR_HTTP_ADRESS: http.adress: no such key; did you mean http.address?"]
    );
}

#[test]
fn an_unknown_key_given_with_an_override_is_an_error() {
    let error = |text: &str| load_with(&[], &[], &[text]).unwrap_err();
    assert_eq!(error("rpc.listn=x"), "-o: rpc.listn: no such key; did you mean rpc.listen?");
    assert_eq!(error("htpp.address=x"), "-o: htpp: no section that is read; did you mean http?");
    assert_eq!(error("demo=true"), "-o: demo: no section that is read");
    assert!(load_with(&[], &[], &["jobs.num_pollers=1", "http.pool.num_workers=1"]).is_ok());
}

#[test]
fn a_typo_in_what_keeps_people_out_is_an_error() {
    for (file, expected) in [
        (
            "websockets: { allowed_origins: x }",
            "websockets.allowed_origins: no such key; did you mean websockets.allowed_origin?",
        ),
        ("websockets: { allowedOrigin: x }", "websockets.allowedOrigin: no such key"),
        ("server: { comand: php }", "server.comand: no such key; did you mean server.command?"),
        ("websocket: {}", "websocket: no section that is read; did you mean websockets?"),
        ("webocket: {}", "webocket: no section that is read; did you mean websockets?"),
        ("Servers: {}", "Servers: no section that is read; did you mean server?"),
    ] {
        let error = load(file).unwrap_err();
        assert!(error.starts_with(".rr.yaml:1:") && error.contains(expected), "{file}: {error}");
    }
    for name in ["RR_WEBSOCKETS_ALOWED_ORIGIN", "RR_WEBSOCKET_ALLOWED_ORIGIN", "RR_SERVER_COMAND"] {
        let error = load_with(&[], &[(name, "x")], &[]).unwrap_err();
        assert!(error.starts_with(&format!("environment variable {name}: ")), "{error}");
    }
    // Others are for somebody else, or far from anything.
    assert!(load("websockets: { origin: x }\nservice: {}\n").is_ok());
    assert!(load_with(&[], &[("RR_SERVERS_LIST", "x")], &[]).is_ok());
}

#[test]
fn an_unset_variable_opens_nothing() {
    for (file, key) in [
        ("websockets: { allowed_origin: \"${O}\" }", "websockets.allowed_origin"),
        ("websockets: { allowed_origin: \"https://${O}\" }", "websockets.allowed_origin"),
        ("websockets: {}\nserver: { command: \"${O}\" }", "server.command"),
        ("websockets: {}\nserver: { command: [php, \"${O}\"] }", "server.command"),
    ] {
        let error = load(file).unwrap_err();
        assert!(error.contains(&format!("{key}: ${{O}} is not set")), "{file}: {error}");
        let files = [(".rr.yaml", file)];
        if !file.contains("https") {
            assert!(load_with(&files, &[("O", "")], &[]).is_err(), "{file}");
        }
        assert!(load_with(&files, &[("O", "https://a")], &["roadcast.access=open"]).is_ok(), "{file}");
        // What is overridden does no harm.
        let overridden = ["roadcast.access=open".to_owned(), format!("{key}=https://a")];
        let overridden = overridden.each_ref().map(String::as_str);
        assert!(load_with(&files, &[], &overridden).is_ok(), "{file}");
    }
    assert_eq!(config("websockets: { allowed_origin: \"${O:-}\" }").origin, "*");
}

#[test]
fn doubtful_settings_are_warned_of() {
    let text = notices("websockets: { allowed_origin: \"https://a.site/\" }");
    assert!(text.contains(".rr.yaml:1:31: websockets.allowed_origin: \"https://a.site/\" fits no"), "{text}");
    let text = notices("websockets: { path: \"/${A\" }\nroadcast: { rpc: { mode: 0600 } }");
    assert!(text.contains("websockets.path: a `${` without its `}`"), "{text}");
    assert!(text.contains("roadcast.rpc.mode has no effect"), "{text}");
    assert_eq!(config("roadcast: { rpc: { listen: unix:///a, mode: 0600 } }").rpc_mode, Some(0o600));
}

#[test]
fn nothing_listens_beyond_this_machine_unless_asked_to() {
    let file = "metrics:\nstatus:\nhttp: {}\nrpc:\n";
    let config = config(file);
    let RpcListen::Tcp(rpc) = config.rpc else { panic!("{:?}", config.rpc) };
    let addresses =
        [Some(config.http), Some(rpc), config.metrics.map(|(at, _)| at), config.status.map(|(at, _)| at)];
    assert!(addresses.iter().all(|address| address.expect("it is on").ip().is_loopback()), "{addresses:?}");
    assert_eq!(notices(file), "");
}

#[test]
fn rpc_that_others_may_reach_is_warned_of_with_what_to_do() {
    for (file, place) in [
        ("rpc: { listen: \"tcp://:6001\" }", ".rr.yaml:1:16: rpc.listen: tcp://[::]:6001"),
        ("rpc: { listen: \"tcp://0.0.0.0:6001\" }", ".rr.yaml:1:16: rpc.listen: tcp://0.0.0.0:6001"),
        ("rpc: { listen: \"tcp://192.0.2.1:7\" }", ".rr.yaml:1:16: rpc.listen: tcp://192.0.2.1:7"),
        ("roadcast: { rpc: { listen: \"tcp://:7\" } }", ".rr.yaml:1:28: roadcast.rpc.listen: tcp://[::]:7"),
    ] {
        let text = notices(file);
        assert!(text.contains(&format!("{place} can be reached from other machines")), "{file}: {text}");
        assert!(text.contains("Listen on tcp://127.0.0.1:") && text.contains("unix:///"), "{text}");
    }
    for file in [
        "",
        "rpc: { listen: \"tcp://127.0.0.2:1\" }",
        "rpc: { listen: \"tcp://[::1]:1\" }",
        "rpc: { listen: unix:///a }",
    ] {
        assert_eq!(notices(file), "", "{file}");
    }
    let everyone = notices("roadcast: { rpc: { listen: unix:///a, mode: 0666 } }");
    assert!(everyone.contains(".rr.yaml:1:45: roadcast.rpc.mode: 0666 lets every user"), "{everyone}");
    assert_eq!(notices("roadcast: { rpc: { listen: unix:///a, mode: 0660 } }"), "");
}

#[test]
fn proxies_are_subnets_or_addresses() {
    let shown = |file: &str| config(file).trusted_subnets.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        shown("http: { trusted_subnets: [10.0.0.0/8, 192.0.2.1, \"::1/128\", \"fc00::/7\"] }"),
        ["10.0.0.0/8", "192.0.2.1/32", "::1/128", "fc00::/7"]
    );
    assert!(shown("http: { trusted_subnets: [] }").is_empty() && shown("").is_empty());
    let error = load("http:\n  trusted_subnets: [10.0.0.0/33]").unwrap_err();
    assert_eq!(
        error,
        ".rr.yaml:2:20: http.trusted_subnets: \"10.0.0.0/33\" is no subnet; write 10.0.0.0/8, fc00::/7, or one address"
    );
    let (config, _) = load_with(&[], &[("RR_HTTP_TRUSTED_SUBNETS", "10.0.0.0/8, ::1")], &[]).unwrap();
    assert_eq!(config.trusted_subnets.len(), 2);
}

#[test]
fn a_limit_per_address_behind_a_proxy_that_is_not_named_is_warned_of() {
    let limit = "roadcast: { limits: { connections_per_address: 5 } }\n";
    let text = notices(limit);
    assert!(text.contains("connections_per_address: 5 for all clients together"), "{text}");
    assert!(text.contains("http.trusted_subnets"), "{text}");
    assert_eq!(notices(&format!("{limit}http: {{ trusted_subnets: [127.0.0.1] }}")), "");
    assert_eq!(notices(&format!("{limit}http: {{ address: \":8080\" }}")), "");
    assert!(
        notices("roadcast: { limits: { handshakes_per_address: 5 } }").contains("handshakes_per_address: 5")
    );
}

#[test]
fn an_unknown_key_of_our_own_section_is_an_error() {
    let error = load("roadcast:\n  limits:\n    outbox_byte: 1\n").unwrap_err();
    assert_eq!(
        error,
        ".rr.yaml:3:5: roadcast.limits.outbox_byte: no such key; did you mean roadcast.limits.outbox_bytes?"
    );
    assert!(load_with(&[], &[("RR_ROADCAST_SHARD", "1")], &[]).is_err());
    assert!(load_with(&[], &[], &["roadcast.shard=1"]).is_err());
}

#[test]
fn a_bad_value_is_told_with_file_line_column_key_value_and_what_is_allowed() {
    for (file, expected) in [
        ("http:\n  address: 8080\n", ".rr.yaml:2:12: http.address: \"8080\" has no port; write host:port"),
        (
            "rpc: { listen: \":6001\" }",
            ".rr.yaml:1:16: rpc.listen: \":6001\" is not understood; write tcp://",
        ),
        (
            "websockets: { path: ws }",
            ".rr.yaml:1:21: websockets.path: \"ws\" is not a path; it starts with `/`",
        ),
        ("logs: { mode: loud }", ".rr.yaml:1:15: logs.mode: \"loud\" is not known; allowed: development"),
        ("roadcast: { shards: -1 }", ".rr.yaml:1:21: roadcast.shards: \"-1\" is not a whole number"),
        ("roadcast: { shards: [1] }", ".rr.yaml:1:21: roadcast.shards: holds a list; expected one value"),
        ("roadcast: { pin: maybe }", ".rr.yaml:1:18: roadcast.pin: \"maybe\" is neither `true` nor `false`"),
        (
            "roadcast: { ping_interval: 1w }",
            ".rr.yaml:1:28: roadcast.ping_interval: \"1w\" is not a duration",
        ),
        ("http: 8080", ".rr.yaml:1:7: http: is a section"),
        ("http: { address: { a: b } }", ".rr.yaml:1:18: http.address: holds a section"),
        ("- http", ".rr.yaml:1:1: a configuration holds sections"),
        ("http: [", ".rr.yaml:"),
        (
            "roadcast: { limits: { outbox_bytes: 16MiB } }",
            "roadcast.limits.outbox_bytes (16777216) must not exceed",
        ),
        ("roadcast: { echo_path: /ws }", "roadcast.echo_path (/ws) must differ"),
        ("rpc: { listen: \"tcp://127.0.0.1:8080\" }", "http.address and rpc.listen are the same address"),
    ] {
        let error = load(file).unwrap_err();
        assert!(error.starts_with(expected), "{file}: {error}");
    }
}

#[test]
fn a_bad_override_names_where_it_was_given() {
    let error = |env: &[_], overrides: &[_]| load_with(&[], env, overrides).unwrap_err();
    let text = error(&[("RR_LOGS_LEVEL", "loud")], &[]);
    assert!(
        text.starts_with("environment variable RR_LOGS_LEVEL: logs.level: \"loud\" is not known"),
        "{text}"
    );
    assert!(error(&[], &["logs.level=loud"]).starts_with("-o: logs.level: \"loud\""));
    assert!(error(&[], &["logs.level"]).contains("expected key=value"));
    assert!(error(&[], &["logs=x"]).contains("is a section"));
}

#[test]
fn the_default_broker_is_named_or_unambiguous() {
    let default = |file: &str| {
        let config = config(file);
        config.brokers[config.default_broker].name.clone()
    };
    let two = "broadcast: { a: { driver: memory }, b: { driver: memory } }\n";
    assert_eq!(default(&format!("{two}websockets: {{ broker: b }}")), "b");
    assert_eq!(default(&format!("{two}websockets: {{ broker: B }}")), "b");
    assert_eq!(default("broadcast: { a: { driver: memory } }"), "a");
    assert_eq!(default("broadcast: { a: { driver: memory }, default: { driver: memory } }"), "default");
    assert_eq!(default("websockets: { broker: default }"), "default");
    assert_eq!(default("websockets: { pubsubs: [\"memory\"] }"), "memory");
    let error = load(two).unwrap_err();
    assert_eq!(error, "websockets.broker must say which broker is meant by default; known: a, b");
    let error = load(&format!("{two}websockets: {{ broker: c }}")).unwrap_err();
    assert_eq!(error, ".rr.yaml:2:23: websockets.broker: \"c\" names no entry of `broadcast`; known: a, b");
}

#[test]
fn drivers_that_are_not_served_are_refused_each_with_what_is() {
    for (file, expected) in [
        (
            "broadcast: { bus: { driver: redis } }",
            ".rr.yaml:1:29: broadcast.bus.driver: driver \"redis\" is not served yet; supported: memory",
        ),
        (
            "broadcast: { bus: { driver: rabbit } }",
            ".rr.yaml:1:29: broadcast.bus.driver: \"rabbit\" is no known driver; supported: memory",
        ),
        (
            "broadcast: { bus: {} }",
            ".rr.yaml:1:19: broadcast.bus: has no driver; supported: `driver: memory`",
        ),
        ("broadcast: { bus: }", ".rr.yaml:1:17: broadcast.bus: has no driver"),
        (
            "websockets: { pubsubs: [redis] }",
            ".rr.yaml:1:24: websockets.pubsubs: driver \"redis\" is not served yet",
        ),
    ] {
        let error = load(file).unwrap_err();
        assert!(error.starts_with(expected), "{file}: {error}");
    }
}

#[test]
fn included_files_are_read_and_win() {
    let files = [
        (".rr.yaml", "version: \"3\"\ninclude: [\"more.yaml\"]\nwebsockets: { path: /a, allowed_origin: x }"),
        ("more.yaml", "version: \"3\"\nwebsockets: { path: /b }\nserver: { command: php }"),
    ];
    let error = load_with(&files, &[], &[]).unwrap_err();
    assert!(error.starts_with("more.yaml:3:20: server.command"), "{error}");
    let (config, _) = load_with(&files, &[], &["roadcast.access=open"]).unwrap();
    assert_eq!((config.path.as_str(), config.origin.as_str()), ("/b", "x"));
    let error = load_with(&files[..1], &[], &[]).unwrap_err();
    assert!(error.contains("more.yaml: does not exist"), "{error}");
}

#[test]
fn a_named_file_must_exist() {
    let options = LoadOptions { path: Some("none.yaml".into()), ..LoadOptions::default() };
    let error = Config::load(&options).unwrap_err().to_string();
    assert!(error.starts_with("configuration file none.yaml: does not exist"), "{error}");
}

fn addresses(file: &str, env: &[(&str, &str)], overrides: &[&str]) -> Result<(String, String), String> {
    let directory = Directory::new();
    std::fs::write(directory.0.join(".rr.yaml"), file).unwrap();
    let options = LoadOptions {
        path: None,
        overrides: overrides.iter().map(|text| (*text).to_owned()).collect(),
        env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        cwd: directory.0.clone(),
    };
    let found = Addresses::load(&options).and_then(|found| Ok((found.publish()?, found.url()?)));
    let shown = directory.0.display().to_string() + "/";
    found.map_err(|error| error.to_string().replace(&shown, ""))
}

#[test]
fn addresses_are_found_in_a_file_that_the_server_would_refuse() {
    let expected = Ok(("tcp://127.0.0.1:7".to_owned(), "ws://127.0.0.1:9/live".to_owned()));
    let addressed = "http: { address: \"127.0.0.1:9\" }\nrpc: { listen: \"tcp://127.0.0.1:7\" }\n\
                     websockets: { path: /live, allowed_origin: \"${NONE}\" }\n";
    for refused in [
        "broadcast: { bus: { driver: redis } }",
        "server: { command: php }",
        "roadcast: { shard: 1, limits: 7 }",
        "logs: loud",
        "websocket: {}",
    ] {
        let file = format!("{addressed}{refused}");
        assert!(load(&file).is_err(), "{refused}");
        assert_eq!(addresses(&file, &[("RR_ROADCAST_SHARD", "1")], &[]), expected, "{refused}");
    }
    let own = "roadcast: { http: { address: \"127.0.0.1:9\" }, rpc: { listen: \"tcp://127.0.0.1:7\" } }";
    assert_eq!(addresses(own, &[], &["websockets.path=/live"]), expected);
    let env = [("RR_HTTP_ADDRESS", "127.0.0.1:9"), ("RR_RPC_LISTEN", "tcp://127.0.0.1:7")];
    assert_eq!(addresses("websockets: { path: /live }", &env, &[]), expected);
}

#[test]
fn addresses_that_cannot_be_told_are_errors_and_only_those_that_are_needed() {
    let bad = "rpc: { listen: nowhere }\nhttp: { address: \"127.0.0.1:9\" }\n";
    assert!(addresses(bad, &[], &[]).unwrap_err().starts_with(".rr.yaml:1:16: rpc.listen: \"nowhere\""));
    assert!(addresses("http: [", &[], &[]).is_err());
    assert!(addresses("http: 8080", &[], &[]).unwrap_err().contains("http: is a section"));
    assert!(addresses("", &[], &["rpc.listn=x"]).unwrap_err().contains("did you mean rpc.listen?"));
    assert!(addresses("", &[], &["nonsense"]).unwrap_err().contains("expected key=value"));
    let options = LoadOptions { path: Some("none.yaml".into()), ..LoadOptions::default() };
    assert!(Addresses::load(&options).is_err());
    // Each asks for what it needs alone.
    let directory = Directory::new();
    std::fs::write(directory.0.join(".rr.yaml"), bad).unwrap();
    let options = LoadOptions { cwd: directory.0.clone(), ..LoadOptions::default() };
    assert_eq!(Addresses::load(&options).unwrap().url().unwrap(), "ws://127.0.0.1:9/ws");
}

#[test]
fn endpoints_are_on_where_their_section_is_or_our_own_key() {
    let address = |named: Option<(SocketAddr, &'static str)>| {
        named.map(|(address, key)| format!("{address} {key}")).unwrap_or_default()
    };
    for (file, metrics, status) in [
        ("", "", ""),
        ("metrics:", "127.0.0.1:2112 metrics.address", ""),
        ("status: {}", "", "127.0.0.1:2114 status.address"),
        ("metrics: { address: \":9000\", collect: {} }", "[::]:9000 metrics.address", ""),
        (
            "metrics: { address: 127.0.0.1:1 }\nroadcast: { metrics: { address: 127.0.0.1:2 } }",
            "127.0.0.1:2 roadcast.metrics.address",
            "",
        ),
        ("roadcast: { status: { address: 127.0.0.1:3 } }", "", "127.0.0.1:3 roadcast.status.address"),
    ] {
        let config = config(file);
        assert_eq!(
            (address(config.metrics).as_str(), address(config.status).as_str()),
            (metrics, status),
            "{file}"
        );
        assert_eq!(config.unavailable_status, 503);
    }
    let config =
        load_with(&[], &[("RR_METRICS_ADDRESS", "127.0.0.1:4")], &["status.unavailable_status_code=500"]);
    let config = config.unwrap().0;
    assert_eq!(address(config.metrics), "127.0.0.1:4 metrics.address");
    assert_eq!(
        (config.unavailable_status, address(config.status).as_str()),
        (500, "127.0.0.1:2114 status.address")
    );
    let error = load("metrics: { address: 127.0.0.1:8080 }").unwrap_err();
    assert!(
        error.contains("http.address and metrics.address are the same address (127.0.0.1:8080)"),
        "{error}"
    );
}

#[test]
fn policies_are_lists_of_patterns_and_a_wrong_one_is_told_with_its_place() {
    let file = "roadcast: { overflow: { skip: [prices, 'ticks.*'], disconnect: ticks.final } }";
    let policies = config(file).policies;
    let skips = |topic| policies.overflow(topic) == crate::policy::Overflow::Skip;
    assert_eq!(["prices", "ticks.a", "ticks.final", "x"].map(skips), [true, true, false, false]);
    let error = load("roadcast:\n  overflow: { skip: ['a*b'] }").unwrap_err();
    assert!(
        error.starts_with(".rr.yaml:2:21: roadcast.overflow.skip: \"a*b\": a `*` stands at the end"),
        "{error}"
    );
    assert_eq!(config("roadcast: { overflow: { skip: } }").policies, Policies::default());
}

#[test]
fn what_comes_from_the_environment_is_told_by_name_and_what_is_no_key_not_at_all() {
    let env = [("SECRET", "hunter2"), ("RR_REDIS_PASSWORD", "hunter2"), ("RR_REDIS_PASWORD", "hunter2")];
    let redis = "redis: { addrs: [a:1], username: hunter2, password: hunter2, pasword: hunter2, sentinel_password: \"${SECRET}\" }\n\
                 broadcast: { bus: { driver: memory, config: { password: hunter2 } } }\nkv: { hunter: { password: hunter2 } }\n";
    let (config, notices) = load_with(&[(".rr.yaml", redis)], &env, &["redis.password=hunter2"]).unwrap();
    let told = format!("{}\n{notices:?}", config.summary());
    assert!(told.contains("redis.pasword: no such key; did you mean redis.password?"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
    for (file, overrides) in [
        ("http: { address: \"${SECRET}\" }", &[][..]),
        ("http: { address: \"a b:${SECRET}\" }", &[]),
        ("rpc: { listen: \"tcp://${SECRET}\" }", &[]),
        ("rpc: { listen: \"${SECRET}\" }", &[]),
        ("websockets: { path: \"${SECRET}\" }", &[]),
        ("roadcast: { shards: \"${SECRET}\" }", &[]),
        ("roadcast: { limits: { rpc_timeout: \"${SECRET}\" } }", &[]),
        ("logs: { mode: \"${SECRET}\" }", &[]),
        ("http: { trusted_subnets: [\"${SECRET}\"] }", &[]),
        ("roadcast: { overflow: { skip: [\"*${SECRET}\"] } }", &[]),
        ("broadcast: { a: { driver: \"${SECRET}\" } }", &[]),
        ("websockets: { broker: \"${SECRET}\" }", &[]),
        ("", &["logs.mode=${SECRET}"]),
        ("", &["redis.password hunter2"]),
        ("", &["redis.password:hunter2"]),
        ("", &["=hunter2"]),
        ("", &["redis.pasword=hunter2"]),
        ("", &["redis=hunter2"]),
        ("redis: hunter2", &[]),
        ("redis: { password: \"hunter2 }", &[]),
        ("redis:\n  password: hunter2\n hunter: x", &[]),
        ("redis: { password: 'a', password: 'hunter2' }", &[]),
        ("redis: { password: *hunter2 }", &[]),
        ("redis: { password: !hunter2", &[]),
    ] {
        let error = load_with(&[(".rr.yaml", file)], &env[..1], overrides).unwrap_err();
        assert!(!error.contains("hunter2"), "{file} {overrides:?}: {error}");
    }
    let error = load_with(&[(".rr.yaml", "http: { address: \"${SECRET}\" }")], &env[..1], &[]).unwrap_err();
    assert_eq!(
        error,
        ".rr.yaml:1:18: http.address: \"${SECRET}\" has no port; write host:port, for example 127.0.0.1:8080 or :8080"
    );
}

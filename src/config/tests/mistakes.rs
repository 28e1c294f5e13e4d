//! What is wrong is told with its place and a way out, and never with a secret.

use super::*;

#[test]
fn a_bad_value_is_told_with_file_line_column_key_value_and_what_is_allowed() {
    for (file, expected) in [
        (
            "http:\n  address: 8080\n",
            ".rr.yaml:2:12: http.address: \"8080\" is a port without a host; write host:port",
        ),
        (
            "rpc: { listen: \":6001\" }",
            ".rr.yaml:1:16: rpc.listen: \":6001\" is not understood; write tcp://",
        ),
        (
            "websockets: { path: ws }",
            ".rr.yaml:1:21: websockets.path: \"ws\" is not a path: it does not start with `/`",
        ),
        (
            "logs: { mode: loud }",
            ".rr.yaml:1:15: logs.mode: \"loud\" is not known; allowed: development",
        ),
        (
            "roadcast: { shards: -1 }",
            ".rr.yaml:1:21: roadcast.shards: \"-1\" is not a whole number",
        ),
        (
            "roadcast: { shards: [1] }",
            ".rr.yaml:1:21: roadcast.shards: holds a list; expected one value",
        ),
        (
            "roadcast: { pin: maybe }",
            ".rr.yaml:1:18: roadcast.pin: \"maybe\" is neither `true` nor `false`",
        ),
        (
            "roadcast: { ping_interval: 1w }",
            ".rr.yaml:1:28: roadcast.ping_interval: \"1w\" is not a duration",
        ),
        ("http: 8080", ".rr.yaml:1:7: http: is a section"),
        ("http: { address: { a: b } }", ".rr.yaml:1:18: http.address: holds a section"),
        ("- http", ".rr.yaml:1:1: a configuration holds sections"),
        ("http: [", ".rr.yaml:"),
        (
            "roadcast: { limits: { outbox_bytes: 16MiB, lane_bytes: 8MiB } }",
            ".rr.yaml:1:37: roadcast.limits.outbox_bytes: 16MiB exceeds roadcast.limits.lane_bytes (8MiB): a lane must",
        ),
        (
            "roadcast: { limits: { lane_bytes: 1MiB } }",
            ".rr.yaml:1:35: roadcast.limits.lane_bytes: 1MiB is below roadcast.limits.outbox_bytes (2MiB): a lane must",
        ),
        (
            "roadcast: { health_path: /ws }",
            ".rr.yaml:1:26: roadcast.health_path: /ws is where websockets.path is served; give it another path",
        ),
        (
            "roadcast: { subprotocols: [\"a b\"] }",
            ".rr.yaml:1:27: roadcast.subprotocols: \"a b\" is no name of a subprotocol",
        ),
        (
            "roadcast: { echo_path: /ws }",
            ".rr.yaml:1:24: roadcast.echo_path: /ws is websockets.path as well",
        ),
        (
            "rpc: { listen: \"tcp://127.0.0.1:8080\" }",
            ".rr.yaml:1:16: rpc.listen: http.address and rpc.listen are the same address (127.0.0.1:8080); give one",
        ),
        (
            "websockets: { allowed_origin: [] }",
            ".rr.yaml:1:31: websockets.allowed_origin: is an empty list; write \"*\"",
        ),
        (
            "websockets: { allowed_origin: ['', ''] }",
            ".rr.yaml:1:31: websockets.allowed_origin: is an empty list",
        ),
        (
            "roadcast: { limit: { connections: 5 } }",
            ".rr.yaml:1:13: roadcast.limit: no such key; did you mean roadcast.limits?",
        ),
        ("include: { a: b }", ".rr.yaml:1:10: include: holds a section; write a list of files"),
    ] {
        let error = load(file).unwrap_err();
        assert!(error.starts_with(expected), "{file}: {error}");
    }
}

#[test]
fn what_comes_from_the_environment_is_told_by_name_and_what_is_no_key_not_at_all() {
    let env = [
        ("SECRET", "hunter2"),
        ("LIST", "10.0.0.0/8, hunter2"),
        ("RR_REDIS_PASSWORD", "hunter2"),
        ("RR_REDIS_PASWORD", "hunter2"),
    ];
    let redis = "redis: { addrs: [a:1], username: hunter2, password: hunter2, pasword: hunter2, sentinel_password: \"${SECRET}\" }\n\
                 broadcast: { bus: { driver: memory, config: { password: hunter2 } } }\nkv: { hunter: { password: hunter2 } }\n";
    let (config, notices) =
        load_with(&[(".rr.yaml", redis)], &env, &["redis.password=hunter2"]).unwrap();
    let told = format!("{}\n{notices:?}", config.summary(None));
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
        ("http: { trusted_subnets: \"${LIST}\" }", &[]),
        ("http: { trusted_subnets: \"::1,x${SECRET} ,10.0.0.0/8\" }", &[]),
        ("roadcast: { overflow: { skip: \"a,*${SECRET}\" } }", &[]),
        ("roadcast: { overflow: { disconnect: \"a,*${SECRET}\" } }", &[]),
        ("websockets: { pubsubs: \"${LIST}\" }", &[]),
        ("websockets: { pubsubs: [\"${SECRET}\", b], broker: c }", &[]),
        ("websockets: { pubsubs: \"${LIST}\", broker: c }", &[]),
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
        let error = load_with(&[(".rr.yaml", file)], &env[..2], overrides).unwrap_err();
        assert!(!error.contains("hunter2"), "{file} {overrides:?}: {error}");
    }
    let error =
        load_with(&[(".rr.yaml", "http: { address: \"${SECRET}\" }")], &env[..2], &[]).unwrap_err();
    assert_eq!(
        error,
        ".rr.yaml:1:18: http.address: \"${SECRET}\" has no port; write host:port, for example 127.0.0.1:8080 or :8080"
    );
}

/// Every kind of mistake, two of some.
const MISTAKEN: &str = r#"
http: { address: 8080 }
htpp: {}
websockets: { path: "/wüst", broker: main, allowed_origin: "${ORIGINS}" }
broadcast: { main: { driver: mongo }, other: { driver: rabbit }, third: {} }
server: { command: php worker.php }
include: [nope.yaml, bad.yaml]
logs: { level: loud }
roadcast:
  limit: { connections: 5 }
  limits: { lane_bytes: 1MiB, topics: many, publication_bytes: 1MiB }
  shards: [1, 2]
  overflow: { skip: ["a*b", "*", "c*d"] }
"#;

#[test]
fn all_that_is_wrong_is_told_at_once_in_the_order_of_the_places() {
    let files = [(".rr.yaml", MISTAKEN), ("bad.yaml", "rpc: [")];
    let env = [("RR_LOGS_ENCODING", "morse"), ("RR_ROADCAST_SHARD", "1")];
    let told =
        load_with(&files, &env, &["roadcast.pin=maybe", "rpc.listn=x", "nonsense"]).unwrap_err();
    let told: Vec<&str> = told.lines().collect();
    let expected = [
        ".rr.yaml:2:18: http.address: \"8080\" is a port without a host",
        ".rr.yaml:4:21: websockets.path: \"/wüst\" is not a path: it has a character that is not ASCII",
        ".rr.yaml:4:60: websockets.allowed_origin: ${ORIGINS} is not set",
        ".rr.yaml:5:30: broadcast.main.driver: \"mongo\" is no known driver",
        ".rr.yaml:5:56: broadcast.other.driver: \"rabbit\" is no known driver",
        ".rr.yaml:5:73: broadcast.third: has no driver",
        ".rr.yaml:7:11: include: ",
        ".rr.yaml:8:16: logs.level: \"loud\" is not known",
        ".rr.yaml:10:3: roadcast.limit: no such key",
        ".rr.yaml:11:39: roadcast.limits.topics: \"many\" is not a whole number",
        ".rr.yaml:12:11: roadcast.shards: holds a list; expected one value",
        ".rr.yaml:13:21: roadcast.overflow.skip: \"a*b\"",
        ".rr.yaml:13:21: roadcast.overflow.skip: \"c*d\"",
        "bad.yaml:",
        "environment variable RR_LOGS_ENCODING: logs.encoding: \"morse\" is not known",
        "environment variable RR_ROADCAST_SHARD: roadcast.shard: no such key",
        "-o: rpc.listn: no such key; did you mean rpc.listen?",
        "-o: nonsense: expected key=value",
        "-o: roadcast.pin: \"maybe\" is neither",
        "configuration file .rr.yaml: the rest can be judged only once all that it includes can be read: what",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (line, begin) in told.iter().zip(expected) {
        assert!(line.starts_with(begin), "{begin}\n{told:#?}");
    }
    // Once the files can be read, also what does not fit together.
    let whole = MISTAKEN.replace("include: [nope.yaml, bad.yaml]", "include: []");
    let told = load(&whole).unwrap_err();
    assert!(told.contains("11:25: roadcast.limits.lane_bytes: 1MiB is below"), "{told}");
    assert!(!told.contains("the rest can be judged"), "{told}");
    // What stands in for something wrong is blamed for nothing.
    let told = load("http: { address: x }\nrpc: { listen: \"tcp://127.0.0.1:8080\" }").unwrap_err();
    assert_eq!(told.lines().count(), 1, "{told}");
}

#[test]
fn an_address_or_a_permission_without_its_variable_is_an_error() {
    for (file, place) in [
        ("rpc: { listen: \"tcp://${NOPE}:16001\" }", "1:16: rpc.listen"),
        ("http: { address: \"${NOPE}:8080\" }", "1:18: http.address"),
        ("metrics: { address: \"${NOPE}:1\" }", "1:21: metrics.address"),
        ("status: { address: \"${NOPE}:1\" }", "1:20: status.address"),
        ("roadcast: { http: { address: \"${NOPE}:1\" } }", "1:30: roadcast.http.address"),
        ("roadcast: { rpc: { listen: \"tcp://${NOPE}:1\" } }", "1:28: roadcast.rpc.listen"),
        ("roadcast: { metrics: { address: \"${NOPE}:1\" } }", "1:33: roadcast.metrics.address"),
        ("roadcast: { status: { address: \"${NOPE}\" } }", "1:32: roadcast.status.address"),
        ("roadcast: { rpc: { listen: unix:///a, mode: \"${NOPE}\" } }", "1:45: roadcast.rpc.mode"),
    ] {
        let expected = format!(
            ".rr.yaml:{place}: ${{NOPE}} is not set, or empty, and this key decides who gets in"
        );
        for env in [&[][..], &[("NOPE", "")]] {
            let error = load_with(&[(".rr.yaml", file)], env, &[]).unwrap_err();
            assert!(error.starts_with(&expected) && error.lines().count() == 1, "{file}: {error}");
        }
    }
    for key in ["http.address", "rpc.listen"] {
        let error = load_with(&[], &[], &[&format!("{key}=tcp://${{NOPE}}:1")]).unwrap_err();
        assert!(error.starts_with(&format!("-o: {key}: ${{NOPE}} is not set")), "{error}");
    }
    // What another key has the place of does no harm.
    let shadowed =
        "http: { address: \"${NOPE}:1\" }\nroadcast: { http: { address: \"127.0.0.1:1\" } }";
    assert!(load(shadowed).is_ok());
    assert_eq!(
        config("http: { address: \"${NOPE:-127.0.0.1}:1\" }").http.to_string(),
        "127.0.0.1:1"
    );
    assert!(
        addresses("rpc: { listen: \"tcp://${NOPE}:1\" }", &[], &[])
            .unwrap_err()
            .contains("${NOPE} is not set")
    );
}

#[test]
fn who_gets_in_is_said_to_be_judged_later_where_an_include_is_missing() {
    let file = "include: [nope.yaml]\nserver: { command: php w.php }\nwebsockets: {}\n";
    let told = load(file).unwrap_err();
    let told: Vec<&str> = told.lines().collect();
    assert!(
        told.len() == 2 && told[0].starts_with(".rr.yaml:1:11: include: nope.yaml does not exist"),
        "{told:#?}"
    );
    assert_eq!(
        told[1],
        "configuration file .rr.yaml: the rest can be judged only once all that it includes can be read: what settings \
         mean together, who gets in by server.command and allowed_origin among it"
    );
    // A file that says nothing at all leaves nothing to be judged, and `publish` judges nothing.
    assert_eq!(load("http: [").unwrap_err().lines().count(), 1);
    assert_eq!(addresses(file, &[], &[]).unwrap_err().lines().count(), 1);
}

#[test]
fn a_wrong_value_is_an_error_also_where_it_would_decide_nothing() {
    let allowed = "roadcast.access: \"close\" is not known; allowed: open";
    for file in ["roadcast: { access: close }", "include: [nope.yaml]\nroadcast: { access: close }"]
    {
        let error = load(file).unwrap_err();
        assert!(error.contains(allowed), "{file}: {error}");
    }
    assert_eq!(
        load_with(&[], &[], &["roadcast.access=close"]).unwrap_err(),
        format!("-o: {allowed}")
    );
    // So is one of any key. An address of ours has the place of RoadRunner's, so each is given
    // alone.
    for key in schema::KEYS.iter().filter(|key| !key.path.contains('*')) {
        if key.parse("<no such>").is_err() {
            let told = load_with(&[], &[], &[&format!("{}=<no such>", key.path)]).map(|_| ());
            assert!(
                told.clone().is_err_and(|told| told.contains(key.path)),
                "{}: {told:?}",
                key.path
            );
        }
    }
}

#[test]
fn what_is_told_to_be_written_instead_will_do() {
    for (file, expected) in [
        (
            "rpc: { listen: \"tcp://7001\" }",
            "rpc.listen: \"tcp://7001\" is a port without a host; write tcp://127.0.0.1:7001 or unix:///run/roadcast.sock",
        ),
        (
            "rpc: { listen: \"tcp://127.0.0.1\" }",
            "\"tcp://127.0.0.1\" has no port; write tcp://127.0.0.1:6001 or unix",
        ),
        (
            "rpc: { listen: \"127.0.0.1:7001\" }",
            "is not understood; write tcp://127.0.0.1:7001 or unix",
        ),
        (
            "roadcast: { rpc: { listen: 7001 } }",
            "is not understood; write tcp://127.0.0.1:7001 or unix",
        ),
        ("metrics: { address: 9100 }", "write host:port, for example 127.0.0.1:9100 or :9100"),
        ("metrics: { address: localhost }", "write host:port, for example 127.0.0.1:2112 or :2112"),
        ("status: { address: localhost }", "write host:port, for example 127.0.0.1:2114 or :2114"),
        (
            "roadcast: { status: { address: localhost } }",
            "write host:port, for example 127.0.0.1:2114 or :2114",
        ),
        ("http: { address: localhost }", "write host:port, for example 127.0.0.1:8080 or :8080"),
        ("http: 8081", "; write `http: { address: \":8081\" }`"),
        ("metrics: 9100", "; write `metrics: { address: \"127.0.0.1:9100\" }`"),
        ("rpc: 7001", "; write `rpc: { listen: \"tcp://127.0.0.1:7001\" }`"),
        ("broadcast: { driver: memory }", "; write `broadcast: { default: { driver: memory } }`"),
        ("broadcast: { bus: memory }", "; write `broadcast: { bus: { driver: memory } }`"),
        ("roadcast: { shards: many }", "\"many\" is not a whole number; allowed: 0 to 1024"),
        ("roadcast: { limits: { head_bytes: big } }", "1MiB, 2MB; allowed: 1KiB to 1MiB"),
        ("roadcast: { drain: 5 s }", "or whole seconds; allowed: 0 to "),
    ] {
        let error = load(file).unwrap_err();
        assert!(error.contains(expected), "{file}: {error}");
    }
    assert!(
        notices("broadcast: { other: { driver: memory, drvier: x } }")
            .contains("did you mean broadcast.other.driver?")
    );
    // Not a variable's value.
    let told =
        load_with(&[(".rr.yaml", "metrics: { address: \"${PIN}\" }")], &[("PIN", "4711")], &[])
            .unwrap_err();
    assert!(told.contains("for example 127.0.0.1:2112") && !told.contains("4711"), "{told}");
}

//! The options of Redis and NATS brokers: where they may stand, and what they mean.

use super::*;
use crate::hub::{Address, NatsLogin, NatsSettings, RedisSettings, Sharded};
use crate::secret::Secret;

fn redis_of(loaded: Result<(Config, Vec<Notice>), String>) -> RedisSettings {
    match loaded.unwrap().0.brokers.remove(0).driver {
        Driver::Redis(settings) => *settings,
        other => panic!("{other:?}"),
    }
}

fn redis(file: &str) -> RedisSettings {
    redis_of(load(file))
}

fn nats(options: &str) -> NatsSettings {
    let file = format!("broadcast: {{ bus: {{ driver: nats, config: {{ {options} }} }} }}");
    match config(&file).brokers.remove(0).driver {
        Driver::Nats(settings) => *settings,
        other => panic!("{other:?}"),
    }
}

fn shown(settings: &RedisSettings) -> String {
    settings.addrs.iter().map(Address::to_string).collect::<Vec<_>>().join(",")
}

#[test]
fn options_are_taken_whole_from_the_first_place_that_holds_any() {
    let config = "config: { addrs: [\"in-config:1\"] }";
    let inline = "addrs: [\"inline:2\"], db: 2";
    let named = "bus: { addrs: [\"named:3\"], db: 3 }\n";
    let root = "redis: { addrs: [\"root:4\"], db: 4 }\n";
    let file = |inside: &str, roots: &str| {
        let settings =
            redis(&format!("broadcast: {{ bus: {{ driver: redis, {inside} }} }}\n{roots}"));
        (shown(&settings), settings.db)
    };
    let of = |addrs: &str, db| (addrs.to_owned(), db);
    let all = format!("{named}{root}");
    assert_eq!(file(&format!("{config}, {inline}"), &all), of("in-config:1", 0));
    assert_eq!(file(inline, &all), of("inline:2", 2));
    assert_eq!(file("", &all), of("named:3", 3));
    assert_eq!(file("", root), of("root:4", 4));
    assert_eq!(file("", ""), of("127.0.0.1:6379", 0));
    // As in RoadRunner an empty map is there, and nothing at all is not.
    assert_eq!(file("config: {}", &all), of("127.0.0.1:6379", 0));
    assert_eq!(file("config: ", &all), of("named:3", 3));
}

#[test]
fn a_root_section_of_a_brokers_name_is_found_before_its_broker_and_in_any_case() {
    let before = "Cache: { addrs: [\"a:1\"] }\nbroadcast: { cache: { driver: redis } }\n";
    assert_eq!(shown(&redis(before)), "a:1");
    // Not one that is something else: that is no broker's.
    let other = "broadcast: { logs: { driver: redis } }\nlogs: { level: debug }\n";
    assert_eq!(shown(&redis(other)), "127.0.0.1:6379");
    // In a file that is included.
    let files = [
        (".rr.yaml", "include: b.yaml\nbus: { db: 5 }\n"),
        ("b.yaml", "broadcast: { bus: { driver: redis } }"),
    ];
    assert_eq!(redis_of(load_with(&files, &[], &[])).db, 5);
    // What RoadRunner 2.3.0 has.
    assert_eq!(
        shown(&redis("websockets: { pubsubs: [redis] }\nredis: { addrs: [\"a:1\"] }")),
        "a:1"
    );
}

#[test]
fn variables_and_overrides_reach_options_at_each_place() {
    let file = [(".rr.yaml", "broadcast: { My-Bus: { driver: redis } }\n")];
    for (variable, key) in [
        ("RR_BROADCAST_MY_BUS_CONFIG_PASSWORD", "broadcast.My-Bus.config.password"),
        ("RR_BROADCAST_MY_BUS_PASSWORD", "broadcast.My-Bus.password"),
        ("RR_MY_BUS_PASSWORD", "My-Bus.password"),
        ("RR_REDIS_PASSWORD", "redis.password"),
    ] {
        let from_env = redis_of(load_with(&file, &[(variable, "secret")], &[]));
        assert_eq!(from_env.password.0, "secret", "{variable}");
        let given = redis_of(load_with(&file, &[], &[&format!("{key}=secret")]));
        assert_eq!(given.password.0, "secret", "{key}");
    }
    // A broker of variables alone; and the longest key counts.
    let env = [
        ("RR_BROADCAST_BUS_DRIVER", "redis"),
        ("RR_BROADCAST_BUS_CONFIG_MASTER_NAME", "main"),
        ("RR_BROADCAST_BUS_CONFIG_SENTINEL_PASSWORD", "secret"),
        ("RR_BROADCAST_BUS_CONFIG_TLS_SERVER_NAME", "redis.internal"),
    ];
    let settings = redis_of(load_with(&[], &env, &[]));
    assert_eq!(settings.sentinel_password.0, "secret");
    assert_eq!((settings.password.0.as_str(), shown(&settings).as_str()), ("", "127.0.0.1:26379"));
    assert_eq!(settings.tls.unwrap().server_name.as_deref(), Some("redis.internal"));
}

#[test]
fn each_key_of_redis_means_what_it_does_in_roadrunner() {
    let usual = RedisSettings::default();
    let of = |options: &str| {
        redis(&format!("broadcast: {{ bus: {{ driver: redis, config: {{ {options} }} }} }}"))
    };
    assert_eq!(of("addrs: []"), usual);
    let zeroes = "db: 0, max_retries: 0, min_retry_backoff: 0, max_retry_backoff: 0, \
                  dial_timeout: 0, read_timeout: 0, write_timeout: 0";
    assert_eq!(of(zeroes), usual, "0 is the default");
    let off = of("max_retries: -1, min_retry_backoff: -1, max_retry_backoff: -1, read_timeout: -1");
    assert_eq!((off.max_retries, off.min_retry_backoff), (0, Duration::ZERO));
    assert_eq!((off.max_retry_backoff, off.read_timeout), (Duration::ZERO, None));
    assert_eq!(off.write_timeout, None, "as for reading");
    let set = of("addrs: [\"a:1\", \"[::1]:2\", /run/redis.sock], db: 3, username: u, \
                  password: p, master_name: m, sentinel_password: s, prefix: \"x:\", sharded: false, \
                  max_retries: 5, min_retry_backoff: 20000000, max_retry_backoff: 1s, \
                  dial_timeout: 2s, read_timeout: 4s, write_timeout: 6s, pool_size: 10");
    assert_eq!(shown(&set), "a:1,[::1]:2,/run/redis.sock");
    assert_eq!((set.db, set.username.as_str(), set.password.0.as_str()), (3, "u", "p"));
    assert_eq!((set.master_name.as_str(), set.sentinel_password.0.as_str()), ("m", "s"));
    assert_eq!((set.prefix.as_str(), set.sharded, set.max_retries), ("x:", Sharded::No, 5));
    assert_eq!(set.min_retry_backoff, Duration::from_millis(20), "bare numbers are nanoseconds");
    assert_eq!(
        (set.max_retry_backoff, set.dial_timeout),
        (Duration::from_secs(1), Duration::from_secs(2))
    );
    assert_eq!(set.read_timeout, Some(Duration::from_secs(4)));
    assert_eq!(set.write_timeout, Some(Duration::from_secs(6)));
    assert_eq!(of("sharded: true").sharded, Sharded::Yes);
    assert!(of("tls: true").tls.is_some() && of("tls: {}").tls.is_some());
    assert!(of("tls: false").tls.is_none() && of("tls: ").tls.is_none());
}

#[test]
fn each_key_of_nats_is_read() {
    assert_eq!(nats(""), NatsSettings::default());
    let settings = nats(
        "addrs: [a, \"nats://b:1\"], prefix: \"site.\", user: u, password: p, dial_timeout: 1s",
    );
    let shown: Vec<_> = settings.servers.iter().map(|server| server.address.to_string()).collect();
    assert_eq!(shown, ["a:4222", "b:1"]);
    assert_eq!(
        (settings.prefix.as_str(), settings.dial_timeout),
        ("site.", Duration::from_secs(1))
    );
    assert_eq!(settings.login, NatsLogin::User("u".to_owned(), Secret("p".to_owned())));
    assert!(matches!(nats("token: t").login, NatsLogin::Token(token) if token.0 == "t"));
    // RoadRunner's section for jobs.
    let root =
        config("broadcast: { bus: { driver: nats } }\nnats: { addr: \"nats://10.0.0.1:4222\" }");
    let Driver::Nats(settings) = &root.brokers[0].driver else { panic!("{root:?}") };
    assert_eq!(settings.servers[0].address.to_string(), "10.0.0.1:4222");
}

#[test]
fn a_bad_option_is_told_with_its_place_and_a_way_out_and_without_secrets() {
    for (driver, options, expected) in [
        ("redis", "addrs: [localhost]", "addrs: \"localhost\" is neither host:port nor"),
        ("redis", "addrs: [\"redis://u:hunter2@host:6379/0\"]", "addrs: an address is host:port"),
        (
            "redis",
            "dial_timeout: 5",
            "dial_timeout: \"5\" is less than a millisecond: as in RoadRunner",
        ),
        (
            "redis",
            "read_timeout: never",
            "read_timeout: \"never\" is not a duration; write 30s, 1m30s or 500ms; allowed: 0 to 24h; -1 = off",
        ),
        ("redis", "sharded: maybe", "sharded: \"maybe\" is not known; allowed: auto, true, false"),
        ("redis", "db: -1", "db: \"-1\" is not a whole number"),
        (
            "redis",
            "tls: { ca: nope.pem }",
            "tls.ca: the file nope.pem cannot be read: No such file",
        ),
        ("redis", "tls: { cert: a.pem }", "tls.cert: has no `key` beside it"),
        ("redis", "tls: { key: a.pem }", "tls.key: has no `cert` beside it"),
        ("redis", "password: [hunter2]", "password: holds a list; expected one value"),
        ("nats", "addrs: [\"http://hunter2@a\"]", "addrs: http:// is not spoken to NATS"),
        ("nats", "prefix: \"a b\"", "prefix: \"a b\" cannot begin a subject"),
        ("nats", "token: hunter2, user: u", "token: `user` is set as well; log in by one of"),
        ("nats", "password: hunter2", "password: has no `user` beside it"),
        ("nats", "nkey: Shunter2", "nkey: is no seed of a user's key"),
        ("nats", "creds: nope.creds", "creds: the file nope.creds cannot be read: No such file"),
        ("nats", "addr: a, addrs: [b]", "addr: `addrs` is set as well"),
    ] {
        let file = format!("broadcast:\n  bus: {{ driver: {driver}, config: {{ {options} }} }}");
        let error = load(&file).unwrap_err();
        assert!(error.contains(&format!("broadcast.bus.config.{expected}")), "{options}: {error}");
        assert!(error.starts_with(".rr.yaml:2:") && error.lines().count() == 1, "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn options_without_effect_are_told() {
    let told = notices(
        "broadcast:\n  a: { driver: memory, config: { addrs: [\"h:1\"] } }\n  \
         b: { driver: redis, token: hunter2, config: { creds: x, username: u, db: 1, pasword: hunter2, addrs: [\"h:1\", \"h:2\"] } }\n  \
         default: { driver: nats }\nb: { db: 1 }\nredis: { password: hunter2 }\n",
    );
    for line in [
        "warning: .rr.yaml:2:41: broadcast.a.config.addrs: has no effect: broker a has driver memory, which has no such option",
        "warning: .rr.yaml:3:56: broadcast.b.config.creds: has no effect: broker b has driver redis, which has no such option",
        "warning: .rr.yaml:5:10: b: has no effect: the options of broker b stand in broadcast.b.config, which is read alone",
        "broadcast.b.config.username: has no effect: without a password nobody logs in",
        "broadcast.b.config.db: has no effect: a Cluster has one database",
        "broadcast.b.config.pasword: no such key; did you mean broadcast.b.config.password?",
        "warning: .rr.yaml:3:30: broadcast.b: has no effect: the options of broker b stand in broadcast.b.config, which is read alone",
        "note: redis: no broker takes its options from this section",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
    assert!(!told.contains("hunter2"), "{told}");
    assert_eq!(notices("broadcast: { default: { driver: memory, config: {} } }"), "");
    assert_eq!(
        notices("broadcast: { default: { driver: redis } }\nredis: { addrs: [\"h:1\"] }"),
        ""
    );
}

#[test]
fn a_problem_with_a_server_is_told_where_the_option_stands_that_it_names() {
    let file =
        "broadcast:\n  bus:\n    driver: redis\n    config:\n      db: 3\n      addrs: [a:1]\n";
    let place = |file: &str, problem: &str| {
        let place = config(file).brokers[0].place_of(problem);
        place[place.find(".rr.yaml").expect("a file")..].to_owned()
    };
    assert_eq!(place(file, "set `db` or `x`"), ".rr.yaml:5:11: broadcast.bus.config.db");
    // Else where its address stands, or would.
    let addrs = ".rr.yaml:6:14: broadcast.bus.config.addrs";
    assert_eq!(place(file, "NOAUTH: set `password`"), addrs);
    assert_eq!(place(file, "refused"), addrs);
    let bare = "broadcast: { bus: { driver: redis } }";
    assert!(place(bare, "set `password`").ends_with(": broadcast.bus.config"));
}

//! The options of brokers: which there are, for which drivers, and every place where they may
//! stand.

use crate::config::key::{DAY, Key, Kind, Status};

/// Drivers that take options, by the root section that may hold them.
pub const REDIS: &str = "redis";
/// See [`REDIS`].
pub const NATS: &str = "nats";

/// An option of brokers.
struct BrokerOption {
    /// Its key, within the options.
    leaf: &'static str,
    /// The drivers that take it.
    drivers: &'static [&'static str],
    kind: Kind,
    default: &'static str,
    status: Status,
    /// One line for the documentation; it begins with the driver where that is not all.
    doc: &'static str,
}

const BOTH: &[&str] = &[REDIS, NATS];
const OF_REDIS: &[&str] = &[REDIS];
const OF_NATS: &[&str] = &[NATS];

const fn option(
    leaf: &'static str,
    drivers: &'static [&'static str],
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> BrokerOption {
    BrokerOption { leaf, drivers, kind, default, status: Status::Used, doc }
}

/// What only RoadRunner has a use for.
const fn foreign(leaf: &'static str) -> BrokerOption {
    let (kind, status) = (Kind::Opaque, Status::Foreign);
    BrokerOption { leaf, drivers: OF_REDIS, kind, default: "", status, doc: "" }
}

/// A duration, 0 of which means the default, as in RoadRunner.
const PAUSE: Kind = Kind::GoDuration(0, DAY);
/// The same, which may be off.
const MAYBE: Kind = Kind::OrOff(&PAUSE);

#[rustfmt::skip]
const OPTIONS: &[BrokerOption] = &[
    option("addrs", BOTH, Kind::Words, "", "Addresses, `host:port` each. Redis: one server, the Sentinels, or some nodes of a Cluster; `/path` is a Unix socket; empty = `127.0.0.1:6379` (Sentinels: `127.0.0.1:26379`). NATS: servers of one cluster, also `nats://user:password@host`, `tls://host`; empty = `127.0.0.1:4222`."),
    option("addr", OF_NATS, Kind::Text, "", "NATS: one address, as RoadRunner's section `nats` has it."),
    option("db", OF_REDIS, Kind::Count(0, 1 << 20), "0", "Redis: the database that is chosen (SELECT), not in a Cluster. Publications know no databases."),
    option("username", OF_REDIS, Kind::Text, "", "Redis: the user, with `password` alone; empty = the server's user `default`."),
    option("user", OF_NATS, Kind::Text, "", "NATS: the user."),
    option("password", BOTH, Kind::Secret, "", "The user's password, or the server's."),
    option("token", OF_NATS, Kind::Secret, "", "NATS: a token, in place of user and password."),
    option("creds", OF_NATS, Kind::Text, "", "NATS: a file of credentials (`nsc generate creds`); counts from the file's directory."),
    option("nkey", OF_NATS, Kind::Secret, "", "NATS: the seed of a user's key (`SU…`), or a file that holds it."),
    option("master_name", OF_REDIS, Kind::Text, "", "Redis: how Sentinels name the master; empty = no Sentinels."),
    option("sentinel_password", OF_REDIS, Kind::Secret, "", "Redis: the password of the Sentinels themselves."),
    option("prefix", BOTH, Kind::Text, "", "What stands before a topic in the name of its channel (NATS: subject). Empty, as in RoadRunner, or nodes of RoadRunner are not understood."),
    option("sharded", OF_REDIS, Kind::Choice(&["auto", "true", "false"]), "auto", "Redis: sharded pub/sub (`SSUBSCRIBE`, `SPUBLISH`) in a Cluster. `auto`: where every node has it. `true`: or no start. `false`: never, as RoadRunner and `redis-cli PUBLISH` do."),
    option("max_retries", OF_REDIS, Kind::OrOff(&Kind::Count(0, 1000)), "0", "Redis: how often a publication that a node of a Cluster sent elsewhere is put again. 0 = 3, -1 = never. What may have been published is never sent again."),
    option("min_retry_backoff", BOTH, MAYBE, "8ms", "The first pause before connecting anew; doubled each time. 0 = 8ms, -1 = 4ms, the least."),
    option("max_retry_backoff", BOTH, MAYBE, "512ms", "The longest pause. 0 = 512ms, -1 = 4ms, the least."),
    option("dial_timeout", BOTH, PAUSE, "5s", "For connecting, TLS and authentication among it; 0 = 5s."),
    option("read_timeout", BOTH, MAYBE, "3s", "A connection that owes an answer and says nothing for so long is given up. 0 = 3s, -1 = never."),
    option("write_timeout", BOTH, MAYBE, "", "So is one that takes no byte for so long. 0 or empty = as `read_timeout`, -1 = never."),
    option("tls", BOTH, Kind::Flag, "false", "TLS to the servers, whom the system's certificates vouch for. With one of the keys below it is on."),
    option("tls.ca", BOTH, Kind::Text, "", "A file of certificates (PEM) that are trusted in place of the system's; counts from the file's directory."),
    option("tls.cert", BOTH, Kind::Text, "", "A file with our own certificate (PEM), where servers ask for one."),
    option("tls.key", BOTH, Kind::Text, "", "The file with its private key (PEM)."),
    option("tls.server_name", BOTH, Kind::Text, "", "The name that the servers' certificates must have; empty = the host of the address."),

    foreign("pool_size"), foreign("min_idle_conns"), foreign("max_conn_age"),
    foreign("pool_timeout"), foreign("idle_timeout"), foreign("idle_check_freq"),
    foreign("read_only"), foreign("route_by_latency"), foreign("route_randomly"),
];

/// Where options stand in full, for the documentation; the other places are told in words.
const LISTED: &str = "broadcast.*.config";

const PLACES: [&str; 4] = [LISTED, "broadcast.*", REDIS, NATS];

/// Whether a key is that of an option.
pub fn is_option(key: &Key) -> bool {
    PLACES.iter().any(|place| key.path.starts_with(place))
}

/// The keys of all options, at each place where they may stand.
pub fn keys() -> impl Iterator<Item = Key> {
    PLACES.into_iter().flat_map(|place| {
        let taken = move |option: &&BrokerOption| match place {
            REDIS | NATS => option.drivers.contains(&place),
            _ => true,
        };
        OPTIONS.iter().filter(taken).map(move |option| Key {
            // Made once for the process.
            path: format!("{place}.{}", option.leaf).leak(),
            kind: option.kind,
            default: option.default,
            status: option.status,
            doc: option.doc,
            listed: place == LISTED,
        })
    })
}

/// The options themselves, each with the drivers that take it.
pub fn leaves() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    let used = OPTIONS.iter().filter(|option| option.status == Status::Used);
    used.map(|option| (option.leaf, option.drivers))
}

/// The key of an option; its path is that within `broadcast.*.config`.
///
/// # Panics
/// When there is none: callers name options by literals.
pub fn path(leaf: &str) -> String {
    debug_assert!(OPTIONS.iter().any(|option| option.leaf == leaf), "no option {leaf}");
    format!("{LISTED}.{leaf}")
}

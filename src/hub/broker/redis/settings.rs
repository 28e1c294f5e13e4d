//! What an operator says about a Redis broker.

use std::time::Duration;

use crate::hub::broker::link::Address;
use crate::secret::Secret;
use crate::tls::TlsSettings;

/// See the module. Names and defaults are RoadRunner's (`broadcast.<name>.config`), but for
/// `prefix`, `sharded` and `tls`, which are ours.
///
/// RoadRunner's keys of a pool of connections (`pool_size`, `min_idle_conns`, `max_conn_age`,
/// `pool_timeout`, `idle_timeout`, `idle_check_freq`) and of reading (`read_only`,
/// `route_by_latency`, `route_randomly`) have no field: there is no pool, and nothing is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisSettings {
    /// `addrs`, at least one: the server; with `master_name` its Sentinels; more than one without
    /// it: some nodes of a Cluster, which name the others. Default 127.0.0.1:6379, with
    /// `master_name` 127.0.0.1:26379.
    pub addrs: Vec<Address>,
    /// `master_name`: how Sentinels name the master; empty: no Sentinels. Default empty.
    pub master_name: String,
    /// `sentinel_password`: for the Sentinels themselves; empty: none. Default empty.
    pub sentinel_password: Secret,
    /// `username`: with `password` alone. Default empty: the server's user `default`.
    pub username: String,
    /// `password`; empty: none. Default empty.
    pub password: Secret,
    /// `db`: chosen by SELECT unless 0, not of a Cluster. Publications know no databases. Default
    /// 0.
    pub db: u32,
    /// `prefix` of channels: a topic's channel is called `<prefix><topic>`. Default empty, as
    /// RoadRunner has it.
    pub prefix: String,
    /// `sharded` pub/sub, in a Cluster. Default auto.
    pub sharded: Sharded,
    /// `tls`. Default `None`: without.
    pub tls: Option<TlsSettings>,
    /// `max_retries`: how often a publication is put again that a node of a Cluster sent elsewhere
    /// (MOVED, ASK). What may have been published is never put again. 0 in the file: 3;
    /// -1: `0` here. Default 3.
    pub max_retries: u32,
    /// `min_retry_backoff`: the first pause before connecting anew, doubled each time; -1: zero,
    /// which is 4 ms as a pause.
    /// Default 8 ms.
    pub min_retry_backoff: Duration,
    /// `max_retry_backoff`: the longest pause. -1: zero, which is 4 ms as a pause. Default 512 ms.
    pub max_retry_backoff: Duration,
    /// `dial_timeout`: for connecting with TLS and authentication. Default 5 s.
    pub dial_timeout: Duration,
    /// `read_timeout`: a connection from which nothing comes for so long, although an answer is
    /// due, is given up. -1: `None`, never. Default 3 s.
    pub read_timeout: Option<Duration>,
    /// `write_timeout`: a connection that takes no byte for so long is given up. -1: `None`, never.
    /// Default as `read_timeout`.
    pub write_timeout: Option<Duration>,
}

/// Whether channels of a Cluster are sharded (SSUBSCRIBE, SPUBLISH), each at home at one master, or
/// known to all nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharded {
    /// Where every node can: Redis 7.0 and later.
    #[default]
    Auto,
    /// Or not at all.
    Yes,
    /// As RoadRunner does, and publishers that say PUBLISH.
    No,
}

impl Default for RedisSettings {
    fn default() -> Self {
        let local = Address::Tcp { host: "127.0.0.1".to_owned(), port: 6379 };
        Self {
            addrs: vec![local],
            master_name: String::new(),
            sentinel_password: Secret::default(),
            username: String::new(),
            password: Secret::default(),
            db: 0,
            prefix: String::new(),
            sharded: Sharded::Auto,
            tls: None,
            max_retries: 3,
            min_retry_backoff: Duration::from_millis(8),
            max_retry_backoff: Duration::from_millis(512),
            dial_timeout: Duration::from_secs(5),
            read_timeout: Some(Duration::from_secs(3)),
            write_timeout: Some(Duration::from_secs(3)),
        }
    }
}

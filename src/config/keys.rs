//! The table of keys. Those of limits come from the table in `limits.rs`.

use std::sync::LazyLock;

use super::key::{Key, Kind, Status};
use crate::backend::BackendWish;
use crate::limits::{self, Limit, Limits, units};

const fn key(path: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key { path, kind, default, status: Status::Used, doc }
}

const fn later(path: &'static str, doc: &'static str) -> Key {
    Key { path, kind: Kind::Opaque, default: "", status: Status::Later, doc }
}

const fn foreign(path: &'static str) -> Key {
    Key { path, kind: Kind::Opaque, default: "", status: Status::Foreign, doc: "" }
}

const fn limit(of: &Limit) -> Key {
    let kind = match of.kind {
        limits::Kind::Count => Kind::Count(of.min, of.max),
        limits::Kind::Bytes => Kind::Bytes(of.min, of.max),
        limits::Kind::Duration => Kind::Duration(of.min, of.max),
    };
    key(of.path, kind, of.default, of.doc)
}

/// The longest duration a key takes: a day. Longer ones are mistaken units.
const DAY: u64 = 24 * units::h;

/// Every key, in the order of the documentation.
pub static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let limits = Limits::TABLE.iter().map(limit);
    USED.iter().copied().chain(limits).chain(UNUSED.iter().copied()).collect()
});

#[rustfmt::skip]
const USED: &[Key] = &[
    key("http.address", Kind::Address(8080), "127.0.0.1:8080", "Where clients connect."),
    key("http.trusted_subnets", Kind::Words, "", "Proxies (`10.0.0.0/8`, `::1`) that are believed about for whom they speak: limits per address count their clients."),
    key("http.trusted_headers", Kind::Words, "X-Forwarded-For,X-Real-IP", "The headers by which they say so, in the order in which they are read. Name those alone that your proxy sets or adds to: any other a client can send through it."),
    key("rpc.listen", Kind::Rpc(6001), "tcp://127.0.0.1:6001", "Where publishers connect."),
    key("websockets.path", Kind::Path, "/ws", "Path of the upgrade request; any other is answered with 404."),
    key("websockets.allowed_origin", Kind::Origins, "*", "Which `Origin` may connect: `*` for all, origins, or patterns with one `*` each; one of them must fit. Refused: 403."),
    key("websockets.broker", Kind::Text, "default", "The entry of `broadcast` that a client's command means when it names none."),
    key("websockets.pubsubs", Kind::Words, "", "RoadRunner 2.3.0's form: drivers, each a broker of its own name, the first the default one."),
    key("broadcast.*.driver", Kind::Text, "", "Driver of the broker of that name. Served: `memory`."),
    key("server.command", Kind::Words, "", "RoadRunner's PHP workers guard access. They are not run: see `roadcast.access`."),
    key("logs.mode", Kind::Choice(&["development", "production", "raw", "none", "off"]), "development", "`development`: console. `production`: JSON. `raw`: the message alone. `none`, `off`: nothing."),
    key("logs.level", Kind::Choice(&["debug", "info", "warn", "warning", "error", "dpanic", "panic", "fatal"]), "info", "The least severe level that is written; those above `error` mean `error`."),
    key("logs.encoding", Kind::Choice(&["console", "json"]), "", "Overrides the encoding of `logs.mode`."),

    key("metrics.address", Kind::Address(2112), "127.0.0.1:2112", "Metrics for Prometheus (docs/metrics.md), where the file has a section `metrics`; off without one."),
    key("status.address", Kind::Address(2114), "127.0.0.1:2114", "`/health` and `/ready`, where the file has a section `status`; off without one."),
    key("status.unavailable_status_code", Kind::Count(400, 599), "503", "HTTP status when the answer is no."),

    key("roadcast.shards", Kind::Count(0, 1024), "0", "Threads that carry connections; 0 = as many as CPUs the process may run on."),
    key("roadcast.backend", Kind::Choice(BackendWish::WORDS), "auto", "What the threads wait and send by. `auto`: io_uring where it can be used, otherwise epoll, which is slower; the log says why. `io_uring`: that, or no start."),
    key("roadcast.pin", Kind::Flag, "true", "Bind each of these threads to one CPU."),
    key("roadcast.access", Kind::Choice(&["open"]), "", "`open`: start although the file has workers that would have guarded access."),
    key("roadcast.echo_path", Kind::Path, "", "A path where each message comes back to its sender, to test proxies; empty = off."),
    key("roadcast.proxy_protocol", Kind::Flag, "false", "Connections from `http.trusted_subnets` begin with a header of the PROXY protocol, version 1 or 2. One without is refused there, one with it elsewhere."),
    key("roadcast.health_path", Kind::Path, "", "A path of `http.address` that load balancers may ask whether connections are taken: 200, or 503; empty = off."),
    key("roadcast.subprotocols", Kind::Words, "", "WebSocket subprotocols that are agreed where a client offers them. The first of its offers that is listed counts; nothing else changes."),
    key("roadcast.demo", Kind::Flag, "false", "Serve the demo page at `/`; `--demo` does the same."),
    key("roadcast.drain", Kind::Duration(0, DAY), "0s", "From SIGTERM on, each shard tells its clients goodbye one by one over this time, the newest last; then `roadcast.shutdown_grace` begins. 0 = all at once."),
    key("roadcast.drain_accept", Kind::Flag, "true", "While it drains, newcomers are answered 503 with `Retry-After`; `false`: they meet a closed port."),
    key("roadcast.shutdown_grace", Kind::Duration(0, DAY), "30s", "From SIGTERM, or the end of `roadcast.drain`, to the exit, at most; what is queued is delivered meanwhile."),
    key("roadcast.http.address", Kind::Address(8080), "", "Wins over `http.address`, for a file that RoadRunner reads too."),
    key("roadcast.rpc.listen", Kind::Rpc(6001), "", "Wins over `rpc.listen`, for a file that RoadRunner reads too."),
    key("roadcast.rpc.mode", Kind::Mode, "", "Permissions of the file where publishers connect by a Unix socket; empty = the umask decides."),
    key("roadcast.metrics.address", Kind::Address(2112), "", "Wins over `metrics.address`, for a file that RoadRunner reads too; turns metrics on by itself."),
    key("roadcast.status.address", Kind::Address(2114), "", "Wins over `status.address`, for a file that RoadRunner reads too; turns it on by itself."),

    key("roadcast.overflow.skip", Kind::Words, "", "Topics where a client that does not keep up stays connected and gets the newest message once it has room; older ones are dropped. Names, or beginnings with a `*` behind."),
    key("roadcast.overflow.disconnect", Kind::Words, "", "Exceptions from `roadcast.overflow.skip`. Every topic that is in neither list is treated so: close 1013 past `outbox_bytes`."),
];

#[rustfmt::skip]
const UNUSED: &[Key] = &[
    later("broadcast.*.config", "Options of a driver; `memory` has none."),
    later("redis.addrs", ""), later("redis.db", ""), later("redis.username", ""), later("redis.password", ""),
    later("redis.master_name", ""), later("redis.sentinel_password", ""), later("redis.max_retries", ""),
    later("redis.dial_timeout", ""), later("redis.min_retry_backoff", ""), later("redis.max_retry_backoff", ""),
    later("redis.pool_size", ""), later("redis.read_timeout", ""), later("redis.write_timeout", ""),
    later("websockets.pool", "Workers that validate access."),
    later("server.relay", ""), later("server.relay_timeout", ""), later("server.env", ""),

    foreign("server.user"), foreign("server.group"), foreign("server.on_init"), foreign("server.after_init"),
    foreign("http.pool"), foreign("http.middleware"), foreign("http.static"), foreign("http.uploads"),
    foreign("http.headers"), foreign("http.fcgi"), foreign("http.http2"), foreign("http.http3"), foreign("http.ssl"),
    foreign("http.max_request_size"), foreign("http.raw_body"),
    foreign("http.internal_error_code"), foreign("http.access_logs"), foreign("http.cache"), foreign("http.sendfile"),
    foreign("http.otel"), foreign("http.new_relic"), foreign("http.gzip"), foreign("http.cors"), foreign("http.workers"),
    foreign("redis.route_by_latency"), foreign("redis.route_randomly"), foreign("redis.min_idle_conns"),
    foreign("redis.max_conn_age"), foreign("redis.pool_timeout"), foreign("redis.idle_timeout"),
    foreign("redis.idle_check_freq"), foreign("redis.read_only"), foreign("redis.tls"),
    foreign("metrics.collect"), foreign("status.check_timeout"), foreign("status.shutdown_check_timeout"),
    foreign("logs.output"), foreign("logs.err_output"), foreign("logs.errorOutput"), foreign("logs.line_ending"),
    foreign("logs.channels"), foreign("logs.file_logger_options"), foreign("logs.format"),
];

/// Top-level keys of other RoadRunner plugins: never taken for a misspelling of a section that is
/// read.
pub(super) const OTHER_SECTIONS: &[&str] = &[
    "amqp",
    "app",
    "beanstalk",
    "boltdb",
    "centrifuge",
    "endure",
    "fileserver",
    "grpc",
    "informer",
    "jobs",
    "kafka",
    "kv",
    "lock",
    "memcached",
    "memory",
    "nats",
    "otel",
    "reload",
    "resetter",
    "service",
    "sqs",
    "tcp",
    "temporal",
];

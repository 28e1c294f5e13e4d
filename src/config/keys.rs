//! The table of keys. Those of limits come from the table in `limits.rs`.

use std::sync::LazyLock;

use super::brokers::keys as options;
use super::key::{DAY, Key, Kind, Status};
use crate::backend::BackendWish;
use crate::limits::{self, Limit, Limits, units};

const fn key(path: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key { path, kind, default, status: Status::Used, doc, listed: true }
}

const fn foreign(path: &'static str) -> Key {
    Key { path, kind: Kind::Opaque, default: "", status: Status::Foreign, doc: "", listed: true }
}

const fn limit(of: &Limit) -> Key {
    let kind = match of.kind {
        limits::Kind::Count => Kind::Count(of.min, of.max),
        limits::Kind::Bytes => Kind::Bytes(of.min, of.max),
        limits::Kind::Duration => Kind::Duration(of.min, of.max),
    };
    key(of.path, kind, of.default, of.doc)
}

/// Of an age that a worker may have: a year.
const LONG: u64 = 365 * DAY;

/// Every key, in the order of the documentation.
pub static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let limits = Limits::TABLE.iter().map(limit);
    let used = USED.iter().copied().chain(options::keys()).chain(limits);
    used.chain(UNUSED.iter().copied()).collect()
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
    key("broadcast.*.driver", Kind::Text, "", "Driver of the broker of that name: `memory`, `redis`, `nats`."),
    key("websockets.pool.debug", Kind::Flag, "false", "A fresh worker for each question and none that stand ready: a changed script acts at once. For development."),
    key("websockets.pool.num_workers", Kind::Count(0, 4096), "0", "Workers that stand ready; 0 = one for each CPU."),
    key("websockets.pool.max_jobs", Kind::Count(0, u32::MAX as u64), "0", "Questions after which a worker is replaced; 0 = never."),
    key("websockets.pool.allocate_timeout", Kind::GoDuration(0, DAY), "60s", "For a worker to start, and for a question to get one; 0 = 60s. Past it: 503, `#join`."),
    key("websockets.pool.destroy_timeout", Kind::GoDuration(0, DAY), "10s", "For a worker to end once it has been told to; then it is killed. 0 = 10s."),
    key("websockets.pool.supervisor.watch_tick", Kind::GoDuration(0, DAY), "1s", "Between two looks at all workers; 0 = 1s. Without a section `supervisor` nobody looks."),
    key("websockets.pool.supervisor.ttl", Kind::GoDuration(0, LONG), "0s", "A worker of that age is replaced, after the question that it has; 0 = never."),
    key("websockets.pool.supervisor.idle_ttl", Kind::GoDuration(0, LONG), "0s", "So is one that has had no question for that long after its last one; 0 = never."),
    key("websockets.pool.supervisor.exec_ttl", Kind::GoDuration(0, DAY), "0s", "A worker that takes longer to answer is killed; 0 = never."),
    key("websockets.pool.supervisor.max_worker_memory", Kind::Count(0, 1 << 20), "0", "A worker with more MiB of memory (RSS) is replaced, after the question that it has; 0 = never."),
    key("server.command", Kind::Command, "", "PHP workers that are asked who may connect and join, as RoadRunner does: docs/access.md. They run in the directory of the file."),
    key("server.env", Kind::Pairs, "", "Variables for workers; names are put in capitals."),
    key("server.user", Kind::Text, "", "The user that workers run as; the server must be root."),
    key("server.relay_timeout", Kind::GoDuration(0, DAY), "60s", "For a worker to connect, where `roadcast.workers.relay` is a socket; 0 = 60s."),
    key("server.on_init.command", Kind::Command, "", "What runs once before the workers, if `roadcast.workers.on_init` says so."),
    key("server.on_init.exec_timeout", Kind::GoDuration(0, DAY), "60s", "For it to end; 0 = 60s."),
    key("server.on_init.env", Kind::Pairs, "", "Variables for it, beside those of workers."),
    key("logs.mode", Kind::Choice(&["development", "production", "raw", "none", "off"]), "development", "`development`: console. `production`: JSON. `raw`: the message alone. `none`, `off`: nothing."),
    key("logs.level", Kind::Choice(&["debug", "info", "warn", "warning", "error", "dpanic", "panic", "fatal"]), "info", "The least severe level that is written; those above `error` mean `error`."),
    key("logs.encoding", Kind::Choice(&["console", "json"]), "", "Overrides the encoding of `logs.mode`."),

    key("metrics.address", Kind::Address(2112), "127.0.0.1:2112", "Metrics for Prometheus (docs/metrics.md), where the file has a section `metrics`; off without one."),
    key("status.address", Kind::Address(2114), "127.0.0.1:2114", "`/health` and `/ready`, where the file has a section `status`; off without one."),
    key("status.unavailable_status_code", Kind::Count(400, 599), "503", "HTTP status when the answer is no."),

    key("roadcast.shards", Kind::Count(0, 1024), "0", "Threads that carry connections; 0 = as many as CPUs the process may run on."),
    key("roadcast.backend", Kind::Choice(BackendWish::WORDS), "auto", "What the threads wait and send by. `auto`: io_uring where it can be used, otherwise epoll, usually at more CPU; the log says why. `io_uring`: that, or no start."),
    key("roadcast.pin", Kind::Flag, "true", "Bind each of these threads to one CPU."),
    key("roadcast.access", Kind::Choice(&["open"]), "", "`open`: nobody is asked, also where the file has workers. Otherwise a section: docs/access.md."),
    key("roadcast.access.rules", Kind::Maps(&["topics", "join"]), "", "Who may join what; the first that matches a topic decides. `topics`: a pattern, or a list of them. `join`: `allow`, `deny`, `token`, `ask`."),
    key("roadcast.access.http.url", Kind::Secret, "", "A server that is asked over HTTP who may connect and join, in place of workers."),
    key("roadcast.access.http.timeout", Kind::Duration(1, DAY), "1s", "For its answer. Past it: 503, `#join`."),
    key("roadcast.access.http.concurrency", Kind::Count(1, 65_536), "64", "Questions to it that are under way at a time."),
    key("roadcast.access.http.headers", Kind::Words, "Cookie,Authorization,Origin,User-Agent,X-Forwarded-For,Accept-Language,Referer", "Headers of a client's request that are passed on to it."),
    key("roadcast.access.http.ca", Kind::Text, "", "A file of certificates (PEM) that are trusted there in place of the system's; counts from the file's directory."),
    key("roadcast.access.jwt.secret", Kind::Secret, "", "Tokens (JWT) are signed with this secret: HS256, HS384, HS512. At least 32 random bytes."),
    key("roadcast.access.jwt.public_key", Kind::Text, "", "Tokens are signed with the private key of this one: PEM, or the name of a file with it."),
    key("roadcast.access.jwt.jwks", Kind::Text, "", "Tokens are signed with a key of the set at this URL."),
    key("roadcast.access.jwt.jwks_ca", Kind::Text, "", "A file of certificates (PEM) that are trusted there in place of the system's; counts from the file's directory."),
    key("roadcast.access.jwt.algorithms", Kind::Words, "", "The algorithms that are accepted; empty = those that the keys are for."),
    key("roadcast.access.jwt.audience", Kind::Words, "", "One of these must be in a token's `aud`; empty = a token with an `aud` is refused."),
    key("roadcast.access.jwt.issuer", Kind::Words, "", "One of these must be a token's `iss`; empty = it is not looked at."),
    key("roadcast.access.jwt.leeway", Kind::Duration(0, units::h), "10s", "By how much the clocks of signers may differ from ours."),
    key("roadcast.access.jwt.required", Kind::Flag, "true", "Without a token nobody connects: 401. `false`: they do, and rules with `token` refuse them."),
    key("roadcast.access.jwt.query", Kind::Text, "", "A query parameter that may hold the token; empty = none."),
    key("roadcast.access.jwt.cookie", Kind::Text, "", "A cookie that may hold the token; empty = none."),
    key("roadcast.access.jwt.subprotocol", Kind::Flag, "false", "Subprotocols that a client offers may hold the token: `[\"roadcast\", \"token.<jwt>\"]`, answered with `roadcast`."),
    key("roadcast.access.jwt.suffices", Kind::Flag, "false", "Who has a token connects without that workers or the callback are asked."),
    key("roadcast.workers.ask", Kind::Flag, "true", "Ask the workers of `server.command`. `false` where they are RoadRunner's alone, and something else says who gets in."),
    key("roadcast.workers.relay", Kind::Text, "pipes", "By what workers are spoken to, whatever `server.relay` says: `pipes`, `tcp://host:port`, `unix:///path`."),
    key("roadcast.workers.env", Kind::Pairs, "", "Variables for workers, over those of `server.env`: in a file that RoadRunner reads too."),
    key("roadcast.workers.on_init", Kind::Flag, "false", "Run `server.on_init.command` once before the workers. RoadRunner beside us on the same file runs it, too."),
    key("roadcast.validate_each_topic", Kind::Flag, "false", "Ask about each topic of a join by itself, and refuse topics with a comma where somebody is to be asked: workers are told topics in one text, with commas between them."),
    key("roadcast.limits.connections_per_user_beyond", Kind::Choice(&["replace", "refuse"]), "replace", "Past `connections_per_user`, `replace`: the user's oldest connection is closed, 4409. `refuse`: the new one is refused, 429."),
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

    key("roadcast.broker_wait", Kind::Duration(1, units::h), "5s", "How long a join, or a publication that `roadcast.broker_buffer` holds, waits for a broker that is down. Past it: `#join`, an error answer."),
    key("roadcast.broker_buffer", Kind::Bytes(0, 1 << 30), "0", "Bytes of publications that each broker, or each master of a Cluster, holds while it is down; 0 = they are answered with an error at once."),
    key("roadcast.publish_to", Kind::Choice(&["all", "default"]), "all", "The brokers that `broadcast.Publish` publishes to: all, or the default one, as RoadRunner 2.3.1 and later do."),
    key("roadcast.on_gap", Kind::Choice(&["silent", "close"]), "silent", "What becomes of subscribers that may have missed a message of a broker and did not ask to be told. `close`: 1012, spread over 10 s, so that they come again and load what they lack."),
    key("roadcast.ready_without", Kind::Words, "", "Brokers without which `/ready` answers yes."),

    key("roadcast.topics", Kind::Maps(&["match", "history", "overflow"]), "", "What holds of topics by their names (docs/recovery.md); the first rule whose `match`, a pattern, fits a topic. `history`: `size` messages of it are kept, each for `ttl` (5m), and for `idle` (as `ttl`) after the last client left. `overflow`: `skip` or `disconnect`; without it the two lists below decide."),
    key("roadcast.overflow.skip", Kind::Words, "", "Topics where a client that does not keep up stays connected and gets the newest message once it has room; older ones are dropped. Names, or beginnings with a `*` behind."),
    key("roadcast.overflow.disconnect", Kind::Words, "", "Exceptions from `roadcast.overflow.skip`. Every topic that is in neither list is treated so: close 1013 past `outbox_bytes`."),
];

#[rustfmt::skip]
const UNUSED: &[Key] = &[
    foreign("websockets.pool.command"), foreign("websockets.pool.reset_timeout"),
    foreign("server.relay"), foreign("server.group"), foreign("server.after_init"),
    foreign("http.pool"), foreign("http.middleware"), foreign("http.static"), foreign("http.uploads"),
    foreign("http.headers"), foreign("http.fcgi"), foreign("http.http2"), foreign("http.http3"), foreign("http.ssl"),
    foreign("http.max_request_size"), foreign("http.raw_body"),
    foreign("http.internal_error_code"), foreign("http.access_logs"), foreign("http.cache"), foreign("http.sendfile"),
    foreign("http.otel"), foreign("http.new_relic"), foreign("http.gzip"), foreign("http.cors"), foreign("http.workers"),
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
    "otel",
    "reload",
    "resetter",
    "service",
    "sqs",
    "tcp",
    "temporal",
];

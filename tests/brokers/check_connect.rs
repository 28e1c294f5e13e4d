//! `roadcast check --connect`, against real servers of brokers.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::common::{Site, eventually};
use crate::servers::{BrokerServer, free_port};

/// With these options of the one broker.
fn check(driver: &str, options: &str) -> Output {
    let file = format!("broadcast:\n  bus: {{ driver: {driver}, config: {{ {options} }} }}\n");
    let site = Site::new(&file);
    site.roadcast(&["check", "--connect"]).output().expect("it runs")
}

/// What is printed where all is well.
fn found(driver: &str, options: &str) -> String {
    let output = check(driver, options);
    let told = String::from_utf8(output.stdout).expect("text");
    let problems = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && problems.is_empty(), "{told}{problems}");
    told
}

/// What is said where it is not.
fn problem(driver: &str, options: &str) -> String {
    let output = check(driver, options);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8(output.stderr).expect("text");
    // Each with the place of the option that it is about.
    let problem = |line: &str| -> Option<String> {
        let (_, rest) = line.strip_prefix("roadcast: .rr.yaml:2:")?.split_once(": ")?;
        let (_, problem) = rest.strip_prefix("broadcast.bus.config.")?.split_once(": ")?;
        Some(format!("{problem}\n"))
    };
    let problems = told.lines().map(|line| problem(line).unwrap_or_else(|| panic!("{told}")));
    problems.collect()
}

/// A Sentinel that looks after `main`. Killed when dropped.
struct Sentinel {
    port: u16,
    child: Child,
}

impl Sentinel {
    fn start(redis: &BrokerServer) -> Self {
        let port = free_port();
        let master = format!("sentinel monitor main 127.0.0.1 {} 1", redis.port);
        let conf: &Path = &redis.directory.join("sentinel.conf");
        std::fs::write(conf, format!("port {port}\nbind 127.0.0.1\n{master}\n")).expect("a file");
        let child = Command::new("redis-server")
            .arg(conf)
            .arg("--sentinel")
            .current_dir(&redis.directory)
            .stdout(Stdio::null())
            .spawn()
            .expect("it is installed");
        eventually("the Sentinel", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { port, child }
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_redis_is_told_with_its_version_and_role_and_what_it_can() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    let address = redis.address();
    let told = found("redis", &format!("addrs: [\"{address}\"]"));
    let line = told.lines().find(|line| line.starts_with("broker ")).expect("a line");
    assert!(line.starts_with(&format!("broker         bus: {address}: redis ")), "{line}");
    assert!(line.ends_with(", standalone, master, sharded pub/sub: yes"), "{line}");
}

#[test]
fn a_redis_that_is_not_there_or_refuses_us_is_told_with_what_to_do() {
    let Some(redis) = BrokerServer::redis(&["--requirepass", "secret"]) else { return };
    let address = redis.address();
    let with = |more: &str| format!("addrs: [\"{address}\"]{more}");
    let told = problem("redis", &with(""));
    assert!(told.contains("NOAUTH") && told.contains("set `password`"), "{told}");
    let told = problem("redis", &with(", password: hunter2"));
    assert!(told.contains("WRONGPASS") && !told.contains("hunter2"), "{told}");
    found("redis", &with(", password: secret"));
    let told = problem("redis", &with(", password: secret, tls: true, dial_timeout: 300ms"));
    assert!(told.contains("no answer to the TLS handshake within 300ms"), "{told}");
    let nobody = format!("127.0.0.1:{}", free_port());
    let told = problem("redis", &format!("addrs: [\"{nobody}\"]"));
    assert!(told.starts_with(&format!("{nobody}: ")) && told.contains("refused"), "{told}");
}

#[test]
fn commands_that_a_user_may_not_say_are_named() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    let user = "limited on >secret ~* resetchannels &other* +@all -publish";
    redis.redis_cli(&[&["ACL", "SETUSER"], &user.split(' ').collect::<Vec<_>>()[..]].concat());
    let address = redis.address();
    let options = format!("addrs: [\"{address}\"], username: limited, password: secret");
    let told = problem("redis", &options);
    assert_eq!(told.lines().count(), 2, "{told}");
    assert!(told.contains("it refuses PUBLISH (NOPERM "), "{told}");
    assert!(told.contains("it refuses SUBSCRIBE (NOPERM "), "{told}");
    assert!(told.contains("the user needs +publish and &*"), "{told}");
}

#[test]
fn a_server_of_another_kind_than_is_meant_is_told() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    let address = redis.address();
    let told = problem("redis", &format!("addrs: [\"{address}\", \"localhost:{}\"]", redis.port));
    assert!(told.contains("it is no node of a Cluster"), "{told}");
    let told = problem("redis", &format!("addrs: [\"{address}\"], master_name: main"));
    assert!(told.contains("is no Sentinel"), "{told}");
    let sentinel = Sentinel::start(&redis);
    let sentinels = format!("addrs: [\"127.0.0.1:{}\"]", sentinel.port);
    let told = problem("redis", &sentinels);
    assert!(told.contains("it is a Sentinel: set `master_name`"), "{told}");
    let told = problem("redis", &format!("{sentinels}, master_name: other"));
    assert!(told.contains("knows no master \"other\""), "{told}");
    let told = found("redis", &format!("{sentinels}, master_name: main"));
    assert!(told.contains(&format!("master main is at {address}")), "{told}");
}

#[test]
fn tls_that_is_not_trusted_is_told() {
    let Some((redis, port)) = BrokerServer::redis_with_tls() else { return };
    let file = |name: &str| redis.directory.join(name).display().to_string();
    let ours = format!("cert: {}, key: {}", file("client.pem"), file("client.key"));
    let with = |more: &str| format!("addrs: [\"127.0.0.1:{port}\"], tls: {{ {ours}{more} }}");
    let trusted = format!(", ca: {}", file("ca.pem"));
    found("redis", &with(&format!("{trusted}, server_name: redis.test")));
    for more in ["", &trusted] {
        let told = problem("redis", &with(more));
        assert!(told.contains("the server's certificate is not trusted"), "{told}");
    }
}

#[test]
fn a_cluster_is_told_with_its_state() {
    let Some(redis) = BrokerServer::redis(&["--cluster-enabled", "yes"]) else { return };
    let two = format!("addrs: [\"{}\", \"localhost:{}\"]", redis.address(), redis.port);
    let told = problem("redis", &two);
    assert!(told.contains("its Cluster is in state fail"), "{told}");
    redis.redis_cli(&["cluster", "addslotsrange", "0", "16383"]);
    eventually("all slots are served", || {
        redis.redis_cli(&["cluster", "info"]).contains("cluster_state:ok")
    });
    for sharded in ["auto", "true", "false"] {
        let told = found("redis", &format!("{two}, sharded: {sharded}"));
        assert!(told.contains(", cluster, master, sharded pub/sub: yes, cluster ok"), "{told}");
    }
}

#[test]
fn a_nats_is_told_with_its_version_and_max_payload() {
    let Some(nats) = BrokerServer::nats(&["--user", "u", "--pass", "secret"]) else { return };
    let address = nats.address();
    let told = found("nats", &format!("addr: \"nats://{address}\", user: u, password: secret"));
    let line = told.lines().find(|line| line.starts_with("broker ")).expect("a line");
    assert!(line.starts_with(&format!("broker         bus: {address}: nats 2.")), "{line}");
    assert!(line.ends_with(", max_payload 1048576 bytes"), "{line}");
    let told = problem("nats", &format!("addr: \"{address}\", user: u, password: hunter2"));
    assert!(told.contains("Authorization Violation") && !told.contains("hunter2"), "{told}");
    let nobody = format!("127.0.0.1:{}", free_port());
    let told = problem("nats", &format!("addrs: [\"{nobody}\"]"));
    assert!(told.starts_with(&format!("{nobody}: ")) && told.contains("refused"), "{told}");
}

#[test]
fn what_a_nats_user_may_not_do_is_named() {
    let user =
        "{ user: u, password: p, permissions: { publish: \"other.>\", subscribe: \"x.>\" } }";
    let conf = std::env::temp_dir().join(format!("roadcast-nats-{}.conf", std::process::id()));
    std::fs::write(&conf, format!("authorization {{ users = [ {user} ] }}\n")).expect("a file");
    let Some(nats) = BrokerServer::nats(&["-c", conf.to_str().expect("text")]) else { return };
    let _ = std::fs::remove_file(&conf);
    let with = |prefix: &str| {
        let address = nats.address();
        format!("addr: \"{address}\", user: u, password: p, prefix: \"{prefix}\"")
    };
    let told = problem("nats", &with(""));
    assert!(told.contains("Permissions Violation for Publish to"), "{told}");
    assert!(told.contains("Permissions Violation for Subscription to"), "{told}");
    let told = problem("nats", &with("x."));
    assert_eq!(told.lines().count(), 1, "{told}");
}

#[test]
fn memory_has_nothing_to_connect_to() {
    let output = Site::new("").roadcast(&["check", "--connect"]).output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_start_that_waiting_cannot_mend_names_the_place_in_the_file() {
    let Some(redis) = BrokerServer::redis(&["--requirepass", "secret"]) else { return };
    let address = redis.address();
    let file = format!(
        "broadcast:\n  bus: {{ driver: redis, addrs: [\"{address}\"], password: hunter2 }}\n"
    );
    let output = Site::new(&file).roadcast(&["serve"]).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    let last = told.lines().last().expect("a line");
    let rest = last.strip_prefix("roadcast: .rr.yaml:2:").expect("a place");
    let (_, rest) = rest.split_once(": ").expect("a column");
    assert!(rest.starts_with("broadcast.bus.password: broker \"bus\""), "{told}");
    assert!(last.contains("WRONGPASS") && !told.contains("hunter2"), "{told}");
}

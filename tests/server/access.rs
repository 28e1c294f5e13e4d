//! Who may connect and who may join, decided by PHP workers, tokens and rules; `callback`: by a
//! server that is asked over HTTP; `jwks`: by tokens whose keys are fetched.

mod callback;
mod callback_faults;
mod documents;
mod jwks;
mod service;

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::common::{
    Client, PATIENCE, Received, Scrape, Server, eventually, http, installed, read_http, size,
    upgrade_request,
};

const SESSION: (&str, &str) = ("Cookie", "session=7");
const SECRET: &str = "a secret of the tests, which has more than 32 bytes";

/// A server that asks `guard.php`, with `more` settings. `None` without PHP.
fn guarded(more: &[&str]) -> Option<Server> {
    if !installed("php") {
        return None;
    }
    let command =
        format!("server.command=php {}/tests/server/guard.php", env!("CARGO_MANIFEST_DIR"));
    let own = [command.as_str(), "websockets.pool.num_workers=2"];
    let endpoints = ["roadcast.metrics.address=127.0.0.1:0", "roadcast.status.address=127.0.0.1:0"];
    let server = Server::start(&[&own[..], &endpoints, more].concat());
    eventually("the workers are there", || ready(&server).0 == 200);
    Some(server)
}

/// Status and text of `/ready`.
fn ready(server: &Server) -> (u16, String) {
    let request = b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n";
    let answer = http(server.endpoint("status"), request);
    (answer.status, String::from_utf8(answer.body).unwrap())
}

fn connect(server: &Server, path: &str) -> Result<Client, u16> {
    Client::connect_with(server.clients, path, &[SESSION]).map_err(|refusal| refusal.status)
}

fn metric(server: &Server, name: &str, labels: &[&str]) -> u64 {
    Scrape::of(server.endpoint("metrics")).sum(name, labels)
}

#[test]
fn workers_decide_who_connects_and_what_they_say_goes_to_the_client() {
    let Some(server) = guarded(&[]) else { return };
    let answer = http(server.clients, upgrade_request("/ws", &[]).as_bytes());
    assert_eq!((answer.status, &answer.body[..]), (401, &b"Log in first."[..]));
    assert_eq!(answer.header("WWW-Authenticate"), Some("Session"));
    assert_eq!(answer.header("X-Why"), Some("no cookie"));
    let answer = http(server.clients, upgrade_request("/ws", &["Cookie: session=7"]).as_bytes());
    assert_eq!((answer.status, answer.header("Roadcast-User")), (101, None));
}

#[test]
fn workers_decide_who_joins_and_a_join_is_let_in_or_kept_out_as_a_whole() {
    let Some(server) = guarded(&[]) else { return };
    let mut client = connect(&server, "/ws").unwrap();
    client.join(&["news", "weather"]);
    for topics in [&["secret"][..], &["other", "secret.x"]] {
        client.command("join", topics);
        client.expect_reply("#join", topics);
    }
    client.join(&[]);
    let mut publisher = server.publisher();
    publisher.publish(&["other"], b"not joined");
    publisher.publish(&["weather"], b"rain");
    client.expect("weather", "rain");
    client.close();
}

#[test]
fn a_client_waits_for_its_own_verdict_and_nobody_else_does() {
    let Some(server) = guarded(&[]) else { return };
    let mut slow = connect(&server, "/ws?slow=400").unwrap();
    let mut quick = connect(&server, "/ws").unwrap();
    slow.command("join", &["a"]);
    slow.command("join", &["secret"]);
    slow.command("leave", &["a"]);
    slow.send_message(tungstenite::Message::Ping("now".into()));
    assert_eq!(slow.next_or_pong(), None, "a ping is answered meanwhile");
    quick.join(&["a"]);
    slow.expect_reply("@join", &["a"]);
    slow.expect_reply("#join", &["secret"]);
    slow.expect_reply("@leave", &["a"]);
}

#[test]
fn a_worker_that_dies_costs_its_question_alone() {
    let Some(server) = guarded(&[]) else { return };
    assert_eq!(connect(&server, "/ws?die").err(), Some(400));
    let mut before = connect(&server, "/ws").unwrap();
    before.join(&["news"]);
    eventually("the worker is replaced", || metric(&server, "workers_ready", &[]) == 2);
    assert_eq!(metric(&server, "worker_failures_total", &["gone"]), 1);
}

#[test]
fn without_a_worker_the_server_is_not_ready_and_says_so_to_everyone() {
    if !installed("php") {
        return;
    }
    let server = Server::start(&[
        "server.command=php /nowhere/worker.php",
        "roadcast.status.address=127.0.0.1:0",
    ]);
    eventually("it says why", || ready(&server).1.contains("/nowhere/worker.php"));
    assert_eq!(ready(&server).0, 503);
    let answer = http(server.clients, upgrade_request("/ws", &["Cookie: session=7"]).as_bytes());
    assert_eq!(answer.status, 503);
    assert!(answer.header("Retry-After").is_some(), "{}", answer.head);
}

#[test]
fn whoever_leaves_while_it_waits_is_not_asked_about() {
    let Some(server) = guarded(&["websockets.pool.num_workers=1"]) else { return };
    let request = upgrade_request("/ws?slow_in=300", &["Cookie: session=7"]);
    let connected = || {
        let mut stream = TcpStream::connect(server.clients).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    let first = connected();
    eventually("it is asked about", || metric(&server, "workers_working", &[]) == 1);
    let others: Vec<_> = (0..20).map(|_| connected()).collect();
    eventually("they wait", || metric(&server, "worker_questions_waiting", &[]) == 20);
    drop((first, others));
    connect(&server, "/ws").unwrap().join(&["news"]);
    let answered = metric(&server, "worker_answer_seconds_count", &[]);
    assert!(answered <= 4, "{answered} answers: one under way, a connect, a join");
}

#[test]
fn a_verdict_that_is_to_be_remembered_is_given_again_without_asking() {
    let Some(server) = guarded(&[]) else { return };
    for _ in 0..3 {
        connect(&server, "/ws?remember=60").unwrap().join(&["news"]);
    }
    assert_eq!(metric(&server, "worker_questions_total", &[]), 2, "one connect, one join");
    assert_eq!(metric(&server, "access_remembered_total", &[]), 4);
    let other = Client::connect_with(server.clients, "/ws?remember=60", &[("Cookie", "session=8")]);
    drop(other);
    assert_eq!(metric(&server, "worker_questions_total", &[]), 3, "somebody else");
}

#[test]
fn a_user_has_so_many_connections_and_the_oldest_makes_room() {
    let Some(server) = guarded(&["roadcast.limits.connections_per_user=2"]) else { return };
    let mut clients: Vec<_> = (0..3).map(|_| connect(&server, "/ws").unwrap()).collect();
    assert_eq!(clients[0].next(), Received::Close(4409));
    clients[1].join(&["news"]);
    clients[2].join(&["news"]);
    let other = Client::connect_with(server.clients, "/ws", &[("Cookie", "session=8")]);
    assert!(other.is_ok(), "another user has a limit of its own");
}

#[test]
fn or_the_newest_is_refused() {
    let more = [
        "roadcast.limits.connections_per_user=1",
        "roadcast.limits.connections_per_user_beyond=refuse",
    ];
    let Some(server) = guarded(&more) else { return };
    let mut first = connect(&server, "/ws").unwrap();
    first.join(&["news"]);
    assert_eq!(connect(&server, "/ws").err(), Some(429));
    first.close();
    eventually("its place is free", || connect(&server, "/ws").is_ok());
}

#[test]
fn whoever_has_gone_before_its_verdict_takes_nobodys_place() {
    let Some(server) = guarded(&["roadcast.limits.connections_per_user=1"]) else { return };
    let mut first = connect(&server, "/ws").unwrap();
    let mut stream = TcpStream::connect(server.clients).unwrap();
    let request = upgrade_request("/ws?slow_in=300", &["Cookie: session=7"]);
    stream.write_all(request.as_bytes()).unwrap();
    eventually("it is asked about", || metric(&server, "workers_working", &[]) == 1);
    drop(stream);
    eventually("it is judged", || metric(&server, "workers_working", &[]) == 0);
    first.join(&["news"]);
    assert_eq!(metric(&server, "access_replaced_total", &[]), 0);
}

#[test]
fn whoever_comes_without_a_token_counts_for_its_user_once_it_brings_one() {
    let limits = ["roadcast.access.jwt.required=false", "roadcast.limits.connections_per_user=1"];
    let Some(server) = with_tokens_and(&limits) else { return };
    let mut clients = [(); 2].map(|()| Client::connect(server.clients, "/ws").unwrap());
    for client in &mut clients {
        client.send(&renew(&signed(r#"{"sub":"7"}"#)));
        client.expect_reply("@token", &[]);
    }
    assert_eq!(clients[0].next(), Received::Close(4409));
    clients[1].join(&["user.7.inbox"]);
}

#[test]
fn a_crowd_that_comes_at_once_is_asked_about_one_after_the_other() {
    let Some(server) = guarded(&[]) else { return };
    let mut inside = connect(&server, "/ws").unwrap();
    inside.join(&["news"]);
    let crowd = size("ACCESS_CROWD", 1_000);
    let request = upgrade_request("/ws?slow_in=1", &["Cookie: session=7"]);
    let mut streams: Vec<TcpStream> = (0..crowd)
        .map(|_| {
            let mut stream = TcpStream::connect(server.clients).expect("the server accepts");
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    server.publisher().publish(&["news"], b"meanwhile");
    inside.expect("news", "meanwhile");
    for stream in &mut streams {
        assert_eq!(read_http(stream).unwrap().status, 101);
    }
}

#[test]
fn workers_end_with_the_server() {
    let Some(mut server) = guarded(&[]) else { return };
    let children = format!("/proc/{0}/task", server.pid());
    let children = std::fs::read_dir(children)
        .unwrap()
        .map(|task| std::fs::read_to_string(task.unwrap().path().join("children")).unwrap());
    let pids: String = children.collect();
    assert_eq!(pids.split_whitespace().count(), 2);
    server.signal(libc::SIGTERM);
    assert!(server.wait().success());
    for pid in pids.split_whitespace() {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "{pid} is still there");
    }
}

/// A token that `openssl` signs with the secret (HS256).
fn signed(claims: &str) -> String {
    let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let message = format!("{}.{}", encoded(r#"{"alg":"HS256","typ":"JWT"}"#), encoded(claims));
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-hmac", SECRET, "-binary"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl starts");
    openssl.stdin.take().unwrap().write_all(message.as_bytes()).unwrap();
    let signature = openssl.wait_with_output().expect("openssl ends").stdout;
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    i64::try_from(now).unwrap() + seconds
}

/// A server that wants tokens, and has rules. `None` without openssl.
fn with_tokens() -> Option<Server> {
    with_tokens_and(&[])
}

fn with_tokens_and(more: &[&str]) -> Option<Server> {
    if !installed("openssl") {
        return None;
    }
    let path = format!("{}/tokens-{}.yaml", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let file = format!(
        "roadcast:\n  access:\n    jwt: {{ secret: \"{SECRET}\", query: token, subprotocol: true, leeway: 0s }}\n    \
         rules:\n      - {{ topics: \"user.{{user}}.*\", join: allow }}\n      - {{ topics: \"user.*\", join: deny }}\n      \
         - {{ topics: \"open.*\", join: allow }}\n"
    );
    std::fs::write(&path, file).unwrap();
    Some(Server::start_with(&["-c", &path], more))
}

fn bearer(address: SocketAddr, token: &str) -> Result<Client, u16> {
    let header = format!("Bearer {token}");
    let client = Client::connect_with(address, "/ws", &[("Authorization", &header)]);
    client.map_err(|refusal| refusal.status)
}

fn renew(token: &str) -> String {
    serde_json::json!({"command": "token", "payload": token}).to_string()
}

#[test]
fn a_token_lets_in_and_says_who_may_join_what() {
    let Some(server) = with_tokens() else { return };
    let claims = format!(r#"{{"sub":"7","exp":{},"topics":["room.*"]}}"#, in_seconds(600));
    let mut client = bearer(server.clients, &signed(&claims)).unwrap();
    client.join(&["user.7.inbox", "open.x", "room.3"]);
    for topics in [&["user.8.inbox"][..], &["elsewhere"], &["room.3", "user.8.x"]] {
        client.command("join", topics);
        client.expect_reply("#join", topics);
    }
}

#[test]
fn who_has_no_good_token_is_told_why_and_the_token_stands_in_no_log() {
    let Some(server) = with_tokens() else { return };
    let none = http(server.clients, upgrade_request("/ws", &[]).as_bytes());
    assert_eq!((none.status, none.header("WWW-Authenticate")), (401, Some("Bearer")));
    let expired = signed(&format!(r#"{{"sub":"7","exp":{}}}"#, in_seconds(-5)));
    let request = upgrade_request(&format!("/ws?token={expired}"), &[]);
    let answer = http(server.clients, request.as_bytes());
    let text = String::from_utf8(answer.body).unwrap();
    assert!(answer.status == 401 && text.contains("expired"), "{text}");
    let changed = format!("{}x", signed(r#"{"sub":"7"}"#));
    assert_eq!(bearer(server.clients, &changed).err(), Some(401));
    let printed = server.log();
    assert!(printed.contains("the token has expired"), "{printed}");
    for secret in [&expired, &changed, SECRET, "token="] {
        assert!(!printed.contains(secret) && !text.contains(secret), "{printed}");
    }
}

#[test]
fn a_browser_brings_its_token_as_a_subprotocol() {
    let Some(server) = with_tokens() else { return };
    let offer = format!("Sec-WebSocket-Protocol: roadcast, token.{}", signed(r#"{"sub":"7"}"#));
    let answer = http(server.clients, upgrade_request("/ws", &[&offer]).as_bytes());
    assert_eq!((answer.status, answer.header("Sec-WebSocket-Protocol")), (101, Some("roadcast")));
}

#[test]
fn a_token_that_runs_out_closes_its_connection_unless_a_new_one_has_come() {
    let Some(server) = with_tokens() else { return };
    let token = |seconds| signed(&format!(r#"{{"sub":"7","exp":{}}}"#, in_seconds(seconds)));
    let mut ends = bearer(server.clients, &token(2)).unwrap();
    let mut goes_on = bearer(server.clients, &token(3)).unwrap();
    goes_on.send(&renew(&signed(r#"{"sub":"8"}"#)));
    goes_on.expect_reply("#token", &[]);
    goes_on.send(&renew(&token(600)));
    goes_on.expect_reply("@token", &[]);
    assert_eq!(ends.next(), Received::Close(4401));
    std::thread::sleep(Duration::from_secs(2));
    goes_on.join(&["user.7.inbox"]);
}

//! Who may connect and who may join, decided by a server that is asked over HTTP.

use std::io::Write as _;
use std::net::TcpStream;

use super::service::{Authority, Service};
use super::{SESSION, connect, metric};
use crate::common::{
    Client, HttpAnswer, PATIENCE, Server, eventually, http, read_http, roadcast, upgrade_request,
};

/// A server that asks this URL, with `more` settings.
pub fn asking(url: &str, more: &[&str]) -> Server {
    let url = format!("roadcast.access.http.url={url}");
    let endpoints = ["roadcast.metrics.address=127.0.0.1:0", "roadcast.status.address=127.0.0.1:0"];
    // As slow as a machine may be; what is late says so.
    let own = [url.as_str(), "roadcast.access.http.timeout=60s"];
    Server::start(&[&own[..], &endpoints, more].concat())
}

/// One that asks `service.py`. `None` without Python.
pub fn guarded(more: &[&str]) -> Option<(Server, Service)> {
    let service = Service::start()?;
    Some((asking(&format!("http://{}/may", service.address), more), service))
}

pub fn upgrade(server: &Server, path: &str) -> HttpAnswer {
    let cookie = format!("{}: {}", SESSION.0, SESSION.1);
    http(server.clients, upgrade_request(path, &[&cookie]).as_bytes())
}

pub fn failures(server: &Server, reason: &str) -> u64 {
    metric(server, "callback_failures_total", &[reason])
}

#[test]
fn a_callback_decides_who_connects_and_what_it_says_goes_to_the_client() {
    let Some((server, _service)) = guarded(&[]) else { return };
    let answer = http(server.clients, upgrade_request("/ws", &[]).as_bytes());
    assert_eq!((answer.status, &answer.body[..]), (401, &b"Log in first."[..]));
    assert_eq!(answer.header("WWW-Authenticate"), Some("Session"));
    assert_eq!(answer.header("X-Why"), Some("no cookie"));
    assert_eq!(answer.header("Content-Length"), Some("13"));
    let answer = upgrade(&server, "/ws");
    assert_eq!((answer.status, answer.header("Roadcast-User")), (101, None));
}

#[test]
fn a_callback_decides_who_joins_about_all_topics_at_once() {
    let Some((server, service)) = guarded(&[]) else { return };
    let mut client = connect(&server, "/ws").unwrap();
    client.join(&["news", "weather"]);
    for topics in [&["secret"][..], &["other", "secret.x"]] {
        client.command("join", topics);
        client.expect_reply("#join", topics);
    }
    server.publisher().publish(&["weather"], b"rain");
    client.expect("weather", "rain");
    let asked = service.asked();
    let topics = asked.iter().map(|about| &about["context"]["attributes"]["ws:joinTopics"]);
    let topics: Vec<_> = topics.map(|topics| topics.as_str().unwrap_or("-")).collect();
    assert_eq!(topics, ["-", "news,weather", "secret", "other,secret.x"]);
}

#[test]
fn a_callback_gets_what_a_worker_gets_and_of_the_headers_those_that_it_is_to_have() {
    let more = ["roadcast.access.http.headers=cookie,X-Tenant"];
    let Some((server, service)) = guarded(&more) else { return };
    let headers = [SESSION, ("X-Tenant", "acme"), ("Authorization", "Bearer x")];
    drop(Client::connect_with(server.clients, "/ws?room=1", &headers));
    let about = &service.asked()[0];
    assert_eq!(about["path"], "/may");
    assert_eq!(about["headers"]["content-type"], "application/json");
    let context = &about["context"];
    let expected = serde_json::json!({
        "remoteAddr": "127.0.0.1", "protocol": "HTTP/1.1", "method": "GET",
        "uri": format!("http://{}/ws?room=1", server.clients),
        "headers": {"Cookie": ["session=7"], "X-Tenant": ["acme"]},
        "cookies": {"session": "7"}, "rawQuery": "room=1", "parsed": false, "uploads": null,
        "attributes": {"ws:joinServer": true},
    });
    assert_eq!(context, &expected);
}

#[test]
fn a_connection_to_the_callback_is_kept_for_the_next_question() {
    let Some((server, service)) = guarded(&[]) else { return };
    let mut client = connect(&server, "/ws").unwrap();
    for topic in ["a", "b", "c"] {
        client.join(&[topic]);
    }
    let asked = service.asked();
    assert_eq!(asked.len(), 4);
    assert!(asked.iter().all(|about| about["connection"] == asked[0]["connection"]), "{asked:?}");
}

#[test]
fn the_verdict_of_a_callback_is_remembered_where_it_says_so() {
    let Some((server, service)) = guarded(&[]) else { return };
    for _ in 0..3 {
        connect(&server, "/ws?remember=60").unwrap().join(&["news"]);
    }
    assert_eq!(service.asked().len(), 2, "one connect, one join");
    let output = roadcast().args(["reset", "--url", &server.publish]).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && told.contains("remembered verdicts are forgotten"),
        "{told}"
    );
    connect(&server, "/ws?remember=60").unwrap();
    assert_eq!(service.asked().len(), 3, "everybody is asked anew");
}

#[test]
fn a_callback_that_redirects_is_not_followed() {
    let Some((server, service)) = guarded(&[]) else { return };
    let answer = upgrade(&server, "/ws?status=302");
    assert_eq!((answer.status, answer.header("Location")), (302, Some("/elsewhere")));
    let asked = service.asked();
    assert!(asked.len() == 1 && asked[0]["path"] == "/may", "{asked:?}");
}

#[test]
fn a_callback_that_refuses_otherwise_is_passed_on_as_it_stands() {
    let Some((server, _service)) = guarded(&[]) else { return };
    for status in [204, 403, 418, 500, 599] {
        assert_eq!(upgrade(&server, &format!("/ws?status={status}")).status, status);
    }
    assert_eq!(metric(&server, "callback_open", &[]), 0, "it answers");
}

#[test]
fn a_client_waits_for_its_own_verdict_of_the_callback_and_nobody_else_does() {
    let Some((server, _service)) = guarded(&[]) else { return };
    let mut slow = connect(&server, "/ws?slow=1000").unwrap();
    let mut quick = connect(&server, "/ws").unwrap();
    slow.command("join", &["a"]);
    slow.send_message(tungstenite::Message::Ping("now".into()));
    assert_eq!(slow.next_or_pong(), None, "a ping is answered meanwhile");
    quick.join(&["a"]);
    server.publisher().publish(&["a"], b"meanwhile");
    quick.expect("a", "meanwhile");
    slow.expect_reply("@join", &["a"]);
}

#[test]
fn so_many_questions_are_under_way_and_the_others_wait_for_their_turn() {
    let Some((server, service)) = guarded(&["roadcast.access.http.concurrency=3"]) else { return };
    let request = upgrade_request("/ws?slow_in=20", &["Cookie: session=7"]);
    let mut streams: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut stream = TcpStream::connect(server.clients).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    for stream in &mut streams {
        assert_eq!(read_http(stream).unwrap().status, 101);
    }
    assert_eq!((service.most(), service.asked().len()), (3, 40));
}

#[test]
fn whoever_waits_too_long_for_its_turn_is_told_to_come_again() {
    let more = ["roadcast.access.http.concurrency=1", "roadcast.access.http.timeout=2s"];
    let Some((server, service)) = guarded(&more) else { return };
    let request = upgrade_request("/ws?slow_in=60000", &["Cookie: session=7"]);
    let mut first = TcpStream::connect(server.clients).unwrap();
    first.write_all(request.as_bytes()).unwrap();
    eventually("it is asked about", || metric(&server, "callback_questions_under_way", &[]) == 1);
    let mut second = TcpStream::connect(server.clients).unwrap();
    second.write_all(request.as_bytes()).unwrap();
    eventually("it waits", || metric(&server, "callback_questions_waiting", &[]) == 1);
    drop(second);
    assert_eq!(read_http(&mut first).unwrap().status, 503);
    connect(&server, "/ws").unwrap();
    assert_eq!(service.asked().len(), 2, "whoever has left is not asked about");
}

#[test]
fn a_callback_over_tls_must_have_a_certificate_that_is_trusted() {
    let Some(authority) = Authority::create() else { return };
    let start = || Service::start_tls(&authority.server, &authority.server_key);
    let Some(service) = start() else { return };
    let ca = format!("roadcast.access.http.ca={}", authority.certificate.display());
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("https://{host}:{}/may", service.address.port());
        let server = asking(&url, &[&ca]);
        connect(&server, "/ws").unwrap().join(&["news"]);
        // To the system's certificates it is a stranger.
        let server = asking(&url, &[]);
        assert_eq!(upgrade(&server, "/ws").status, 503);
        assert_eq!(failures(&server, "tls"), 1);
        server.says("invalid peer certificate", 1);
    }
    // A name that is not in it.
    let server = asking(&format!("https://127.0.0.2:{}/", service.address.port()), &[&ca]);
    assert_eq!(upgrade(&server, "/ws").status, 503);
}

#[test]
fn the_password_of_a_url_is_basic_authentication_and_stands_in_no_log() {
    let Some(service) = Service::start() else { return };
    let url = format!("http://roadcast:hunter2@{}/may?key=hunter3", service.address);
    let server = asking(&url, &["logs.level=debug"]);
    connect(&server, "/ws").unwrap();
    let about = service.asked().remove(0);
    assert_eq!(about["headers"]["authorization"], "Basic cm9hZGNhc3Q6aHVudGVyMg==");
    assert_eq!(about["path"], "/may?key=hunter3");
    drop(service);
    assert_eq!(upgrade(&server, "/ws").status, 503);
    let log = server.says("the callback has not answered", 1);
    assert!(!log.contains("hunter") && !log.contains("cm9hZ"), "{log}");
}

#[test]
fn a_server_over_tls_takes_certificates_to_trust_it_by_and_none_is_told_by_check_and_serve() {
    for (url, own) in [
        ("roadcast.access.http.url", "roadcast.access.http.ca"),
        ("roadcast.access.jwt.jwks", "roadcast.access.jwt.jwks_ca"),
    ] {
        for word in ["check", "serve"] {
            let mut command = roadcast();
            command.args([word, "-o", &format!("{url}=HTTPS://localhost/")]);
            command.env("SSL_CERT_FILE", "/no/such/file").env_remove("SSL_CERT_DIR");
            let output = command.output().unwrap();
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success(), "{word} {url}");
            let expected = format!("roadcast: {url}: the system has no certificates");
            assert!(told.contains(&expected) && told.contains(own), "{told}");
        }
    }
}

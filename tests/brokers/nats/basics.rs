//! What travels, what may not, and what the server refuses.

use super::server::{Nats, NatsClient, node};
use super::{expect_next, gaps, publish, publish_when_up};
use crate::common::{PROTO, Scrape, Server, eventually, goridge_frame, messages};

#[test]
fn publications_go_both_ways_between_browsers_and_plain_clients_of_nats() {
    let Some(nats) = Nats::start("") else { return };
    let server = node(&nats.address(), &["prefix=app."], &[]);
    let mut browser = server.client();
    browser.join(&["news.de"]);
    let mut plain = nats.client();
    plain.subscribe("app.>");
    plain.publish("app.news.de", b"from NATS");
    plain.publish("other.news.de", b"not ours");
    browser.expect("news.de", "from NATS");
    let mut other = NatsClient::connect(nats.server.port, "{\"verbose\":false,\"headers\":true}");
    other.publish_with_header("app.news.de", b"with a header");
    browser.expect("news.de", "with a header");
    for _ in 0..2 {
        plain.next();
    }
    server.publisher().publish(&["news.de"], b"from PHP");
    assert_eq!(plain.next(), ("app.news.de".to_owned(), b"from PHP".to_vec()));
    // Once, though it is published here.
    browser.expect("news.de", "from PHP");
    server.publisher().publish(&["news.de"], b"last");
    browser.expect("news.de", "last");
}

#[test]
fn topics_of_any_kind_travel_and_two_nodes_share_them() {
    let Some(nats) = Nats::start("") else { return };
    let nodes = [(); 2].map(|()| node(&nats.address(), &[], &[]));
    let long = "ü\n".repeat(341);
    let topics = [
        "a b", "a\r\nb", "größe", "*", ">", "a.>", "a.*.b", ".a", "a.", "a..b", "50%", "a%20b%",
        "\t", &long, "日本", "%", "$SYS.x",
    ];
    let mut browsers = nodes.each_ref().map(Server::client);
    for browser in &mut browsers {
        topics.iter().for_each(|topic| browser.join(&[topic]));
    }
    let mut publishers = nodes.each_ref().map(Server::publisher);
    for (count, topic) in topics.iter().enumerate() {
        publishers[count % 2].publish(&[topic], topic.as_bytes());
        browsers.iter_mut().for_each(|browser| browser.expect(topic, topic));
    }
    // As other clients of NATS see it.
    let mut plain = nats.client();
    plain.publish("hello%20world%", b"escaped");
    browsers[0].join(&["hello world"]);
    plain.publish("hello%20world%", b"escaped");
    browsers[0].expect("hello world", "escaped");
    // Longer than a control line: said, and nothing else suffers.
    let error = publish(&mut publishers[0], &"\n".repeat(1024), b"x");
    assert_eq!(error, Ok(()), "its escape is 3 KiB");
    let nodes = node(&nats.address(), &[], &["roadcast.limits.topic_bytes=8KiB"]);
    let error = publish(&mut nodes.publisher(), &"x".repeat(5_000), b"x").unwrap_err();
    assert!(error.contains("5000 bytes, and NATS takes 4000"), "{error}");
    let mut browser = nodes.client();
    browser.command("join", &[&"x".repeat(5_000)]);
    browser.expect_reply("#join", &[&"x".repeat(5_000)]);
    browser.join(&["fine"]);
}

#[test]
fn publications_of_one_connection_keep_their_order() {
    let Some(nats) = Nats::start("") else { return };
    let server = node(&nats.address(), &[], &[]);
    let mut browser = server.client();
    browser.join(&["a"]);
    let calls = (0..5_000).map(|n| ("a".to_owned(), n.to_string().into_bytes()));
    server.publisher().publish_all(200, calls);
    for n in 0..5_000 {
        browser.expect("a", &n.to_string());
    }
    assert_eq!(gaps(&server), 0);
}

#[test]
fn a_payload_over_the_servers_limit_is_refused_before_it_is_sent() {
    let Some(nats) = Nats::start("max_payload: 1000") else { return };
    let server = node(&nats.address(), &[], &["roadcast.limits.topic_bytes=8KiB"]);
    let mut browser = server.client();
    browser.join(&["a"]);
    let mut publisher = server.publisher();
    let error = publish(&mut publisher, "a", &[b'x'; 1001]).unwrap_err();
    assert!(error.contains("1000 bytes at most (max_payload of the server)"), "{error}");
    publisher.publish(&["a"], &[b'y'; 1000]);
    browser.expect("a", &"y".repeat(1000));
    server.says("broker is down", 0);
    // No subject may be so long.
    publish(&mut publisher, &"x".repeat(5_000), b"x").unwrap_err();
    let errors = |kind| Scrape::of(server.endpoint("metrics")).sum("rpc_errors_total", &[kind]);
    assert_eq!((errors("size"), errors("outage")), (2, 0));
}

#[test]
fn a_message_that_clients_may_not_have_is_a_gap() {
    let Some(nats) = Nats::start("") else { return };
    let more = ["roadcast.limits.publication_bytes=1KiB"];
    let server = node(&nats.address(), &[], &more);
    let mut browser = server.client();
    browser.join(&["a"]);
    let mut plain = nats.client();
    plain.publish("a", &[b'x'; 100_000]);
    // As clients would read it, it is too long.
    plain.publish("a", &[b'\n'; 900]);
    plain.publish("a", b"fine");
    browser.expect("a", "fine");
    eventually("two gaps", || gaps(&server) == 2);
    let line = server.says("a message is over roadcast.limits.publication_bytes", 1);
    assert!(line.contains("bytes=100000") && line.contains("bytes_max=1024"), "{line}");
    let error = publish(&mut server.publisher(), "a", &[b'x'; 2000]).unwrap_err();
    assert!(error.contains("roadcast.limits.publication_bytes (1024)"), "{error}");
}

#[test]
fn what_the_server_does_not_permit_fails_alone() {
    let users = r#"authorization { users: [ { user: u, password: p, permissions: {
        publish: { deny: ["secret.>"] }, subscribe: { deny: ["secret.>"] } } } ] }"#;
    let Some(nats) = Nats::start(users) else { return };
    let server = node(&nats.address(), &["user=u", "password=p"], &[]);
    let mut browser = server.client();
    browser.join(&["a"]);
    browser.command("join", &["secret.x y"]);
    browser.expect_reply("#join", &["secret.x y"]);
    browser.command("join", &["secret.y"]);
    browser.expect_reply("#join", &["secret.y"]);
    let line = server.says("the server refuses a topic", 1);
    assert!(line.contains("Permissions Violation") && line.contains("secret.x%20y%"), "{line}");
    server.says("join refused: the broker's server does not permit it", 1);
    let scrape = Scrape::of(server.endpoint("metrics"));
    assert_eq!(scrape.sum("joins_forbidden_total", &[]), 2);
    assert_eq!(scrape.sum("joins_unavailable_total", &[]), 0);
    let mut publisher = server.publisher();
    // Of three under way together the one in the middle.
    let body = |topic: &str| messages(&[(&[topic], b"x")]);
    let mut bytes = Vec::new();
    let method = "broadcast.Publish";
    for (count, topic) in ["a", "secret.x\"y", "a"].iter().enumerate() {
        let payload = [method.as_bytes(), &body(topic)].concat();
        bytes.extend(goridge_frame(PROTO, &[count as u32 + 1, method.len() as u32], &payload));
    }
    publisher.send(&bytes).unwrap();
    assert!(publisher.answer().unwrap().is_ok());
    let refused = publisher.answer().unwrap();
    assert!(refused.error().contains("Permissions Violation for Publish"), "{}", refused.error());
    assert!(publisher.answer().unwrap().is_ok());
    for _ in 0..2 {
        browser.expect("a", "x");
    }
    server.says("broker is down", 0);
    assert_eq!(gaps(&server), 0);
}

#[test]
fn a_permission_that_is_taken_away_is_a_gap() {
    let users = |denied: &str| {
        format!(
            r#"authorization {{ users: [ {{ user: u, password: p, permissions: {{
                publish: ">", subscribe: {{ deny: ["{denied}"] }} }} }} ] }}"#
        )
    };
    let Some(nats) = Nats::start(&users("none")) else { return };
    let server = node(&nats.address(), &["user=u", "password=p"], &[]);
    let mut browser = server.client();
    browser.join(&["a", "b"]);
    nats.reload(&users("a"));
    eventually("a gap", || gaps(&server) > 0);
    let mut publisher = server.publisher();
    publish_when_up(&mut publisher, "b", b"fine");
    expect_next(&mut browser, "b", "fine");
    // Given back, it is asked for again though nobody joins.
    nats.reload(&users("none"));
    eventually("a second gap", || gaps(&server) > 1);
    publish(&mut publisher, "a", b"back").unwrap();
    expect_next(&mut browser, "a", "back");
    assert_eq!(gaps(&server), 2);
}

#[test]
fn topics_over_the_number_that_the_server_takes_are_refused_alone_and_asked_for_again() {
    let Some(mut nats) = Nats::start("") else { return };
    let server = node(&nats.address(), &[], &[]);
    let topics = ["a", "b", "c", "d", "e", "f"];
    let mut browsers = topics.map(|topic| {
        let mut browser = server.client();
        browser.join(&[topic]);
        browser
    });
    nats.server.kill();
    server.says("broker is down", 1);
    // One is that of probes. All others are asked for at once.
    nats.configure("max_subscriptions: 5");
    nats.server.start_again();
    eventually("a gap of each", || gaps(&server) == 6);
    server.says("broker is up", 2);
    server.says("the server refuses a topic", 1);
    let mut plain = nats.client();
    topics.iter().for_each(|topic| plain.publish(topic, b"while two are refused"));
    plain.flush();
    for (browser, topic) in browsers.iter_mut().zip(topics).take(4) {
        browser.expect(topic, "while two are refused");
    }
    // A join beside them is refused, and nobody suffers from it.
    let mut other = server.client();
    other.command("join", &["other"]);
    other.expect_reply("#join", &["other"]);
    // Two make room, for the other two.
    for n in 0..2 {
        browsers[n].leave(&[topics[n]]);
    }
    eventually("a gap of those that are back", || gaps(&server) == 8);
    topics.iter().for_each(|topic| plain.publish(topic, b"all are back"));
    for (browser, topic) in browsers.iter_mut().zip(topics).skip(2) {
        browser.expect(topic, "all are back");
    }
}

//! History and recovery, from outside: what clients that come back are given, what those read that
//! ask for nothing, and bad input.

use serde_json::{Value, json};

use crate::common::{Browser, Client, Received, Server, Site, installed};
use crate::examples::block;

const TOPICS: &str = r#"
roadcast:
  topics:
    - { match: "chat.*", history: { size: 5, ttl: 5m } }
    - { match: "price.*", history: { size: 1 } }
"#;

fn start(site: &Site) -> Server {
    Server::start_by(site.roadcast(&["serve"]), &[])
}

/// Sends a join with further fields; the reply.
fn join(client: &mut Client, topics: &[&str], fields: Value) -> Value {
    let mut join = json!({ "command": "join", "topics": topics });
    join.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    client.send(&join.to_string());
    next(client)
}

fn next(client: &mut Client) -> Value {
    let message = client.next_message().expect("a message");
    serde_json::from_slice(&message.into_data()).expect("JSON")
}

fn publish(server: &Server, topic: &str, payloads: &[&str]) {
    let mut publisher = server.publisher();
    payloads.iter().for_each(|payload| publisher.publish(&[topic], payload.as_bytes()));
}

#[test]
fn who_comes_back_is_given_what_it_missed_and_told_whether_that_is_all() {
    let site = Site::new(TOPICS);
    let server = start(&site);
    publish(&server, "chat.a", &["1", "2"]);
    let mut client = server.client();
    let reply = join(&mut client, &["chat.a", "news"], json!({ "recover": true }));
    let epoch = reply["positions"]["chat.a"]["epoch"].as_str().expect("an epoch").to_owned();
    let positions = json!({ "chat.a": { "offset": 2, "epoch": epoch } });
    let expected =
        json!({ "topic": "@join", "payload": ["chat.a", "news"], "positions": positions });
    assert_eq!(reply, expected);
    publish(&server, "chat.a", &["3"]);
    assert_eq!(next(&mut client), json!({ "topic": "chat.a", "payload": "3", "offset": 3 }));
    client.close();
    // Nobody has it meanwhile.
    publish(&server, "chat.a", &["4", "5"]);

    let since = |offset: u64| json!({ "chat.a": { "offset": offset, "epoch": epoch } });
    let mut client = server.client();
    let reply = join(&mut client, &["chat.a"], json!({ "since": since(3) }));
    assert_eq!(reply["recovered"], json!({ "chat.a": true }));
    assert_eq!(reply["positions"], since(5));
    publish(&server, "chat.a", &["6", "7", "8", "9"]);
    for offset in 4..=9 {
        let payload = offset.to_string();
        let expected = json!({ "topic": "chat.a", "payload": payload, "offset": offset });
        assert_eq!(next(&mut client), expected);
    }
    for (offset, recovered) in [(3, false), (4, true), (9, true), (10, false)] {
        let reply = join(&mut server.client(), &["chat.a"], json!({ "since": since(offset) }));
        assert_eq!(reply["recovered"], json!({ "chat.a": recovered }), "since {offset}");
    }
}

#[test]
fn a_topic_that_was_joined_before_has_no_position_that_its_client_may_not_have_read_up_to() {
    let site = Site::new(TOPICS);
    let server = start(&site);
    let mut client = server.client();
    join(&mut client, &["chat.a"], json!({ "recover": true }));
    let reply = join(&mut client, &["chat.a", "chat.b"], json!({ "history": 5 }));
    let positions = reply["positions"].as_object().unwrap();
    assert_eq!(positions.keys().collect::<Vec<_>>(), ["chat.b"]);
}

#[test]
fn the_last_messages_come_before_the_next_ones() {
    let site = Site::new(TOPICS);
    let server = start(&site);
    publish(&server, "price.x", &["1", "2"]);
    publish(&server, "chat.a", &["a", "b", "c"]);
    let mut client = server.client();
    join(&mut client, &["price.x"], json!({ "history": 1 }));
    assert_eq!(next(&mut client), json!({ "topic": "price.x", "payload": "2", "offset": 2 }));
    join(&mut client, &["chat.a"], json!({ "history": 2 }));
    publish(&server, "chat.a", &["d"]);
    for (payload, offset) in [("b", 2), ("c", 3), ("d", 4)] {
        let expected = json!({ "topic": "chat.a", "payload": payload, "offset": offset });
        assert_eq!(next(&mut client), expected);
    }
}

#[test]
fn who_asks_for_nothing_reads_the_bytes_of_ever_and_may_not_have_a_topic_in_both_ways() {
    let site = Site::new(TOPICS);
    let server = start(&site);
    let mut plain = server.client();
    plain.join(&["chat.a"]);
    publish(&server, "chat.a", &["1"]);
    let text = plain.next_message().unwrap().into_data();
    assert_eq!(&text[..], br#"{"topic":"chat.a","payload":"1"}"#);
    let refused = json!({ "topic": "#join", "payload": ["chat.a"] });
    assert_eq!(join(&mut plain, &["chat.a"], json!({ "recover": true })), refused);
    plain.leave(&["chat.a"]);
    let reply = join(&mut plain, &["chat.a"], json!({ "recover": true }));
    assert_eq!(reply["positions"]["chat.a"]["offset"], 1);
    assert_eq!(join(&mut plain, &["chat.a"], json!({})), refused);
}

#[test]
fn bad_positions_are_answered_and_nobody_else_notices() {
    let site = Site::new(TOPICS);
    let server = start(&site);
    publish(&server, "chat.a", &["1"]);
    let long = "x".repeat(40_000);
    for position in [
        json!(null),
        json!("x"),
        json!({ "offset": 1, "epoch": long }),
        json!({ "offset": -1, "epoch": "k" }),
        json!({ "offset": 1e300, "epoch": "k" }),
        json!({ "offset": u64::MAX, "epoch": "zzzzzzzzzzzz" }),
        json!([[[[[]]]]]),
    ] {
        let mut client = server.client();
        let reply = join(&mut client, &["chat.a"], json!({ "since": { "chat.a": position } }));
        assert_eq!(reply["recovered"], json!({ "chat.a": false }), "{position}");
        assert_eq!(reply["positions"]["chat.a"]["offset"], 1);
    }
    // Of topics that it does not join, of more than there are, of no topic at all.
    let many: serde_json::Map<_, _> =
        (0..1_000).map(|n| (format!("t{n}"), json!({ "offset": n, "epoch": "k" }))).collect();
    let mut client = server.client();
    for (since, topic) in
        [json!(many), json!({}), json!(7)].iter().zip(["chat.b", "chat.c", "chat.d"])
    {
        let reply = join(&mut client, &[topic], json!({ "since": since }));
        assert_eq!(reply["positions"][topic]["offset"], 0);
    }
    let mut huge = server.client();
    let epoch = "x".repeat(1 << 20);
    huge.send(&json!({ "command": "join", "since": { "chat.a": epoch } }).to_string());
    assert_eq!(huge.next(), Received::Close(1009));
    publish(&server, "chat.b", &["on"]);
    assert_eq!(next(&mut client)["payload"], "on");
}

#[test]
fn history_of_a_topic_that_may_not_be_joined_is_not_given() {
    let rules = "  access: { rules: [ { topics: \"chat.secret\", join: deny } ] }\n";
    let site = Site::new(&format!("{TOPICS}{rules}"));
    let server = start(&site);
    publish(&server, "chat.secret", &["1"]);
    let reply = join(&mut server.client(), &["chat.secret"], json!({ "history": 5 }));
    assert_eq!(reply, json!({ "topic": "#join", "payload": ["chat.secret"] }));
}

/// The page's code goes on where it was when its connection breaks, and loads anew when the server
/// has been killed meanwhile.
#[test]
fn the_code_of_the_page_recovers_in_a_browser() {
    if !installed("chromium") {
        return;
    }
    let site = Site::new(TOPICS);
    let mut server = Server::start_by(site.roadcast(&["serve", "--demo"]), &[]);
    let code = block("docs/recovery.md", "js", "function follow");
    let mut browser = Browser::open(&format!("http://{}/", server.clients), 800, 600);
    browser.await_true("document.readyState === 'complete'");
    let sockets = "const Real = WebSocket; const sockets = [];
                   WebSocket = function (url) { const s = new Real(url); sockets.push(s); return s; };";
    let page = format!(
        "window.got = []; window.reloads = 0;
         {{ {sockets} {code}
            follow({}, 'chat.a', (payload) => got.push(payload), () => reloads++);
            window.cut = () => sockets.at(-1).close(); }}",
        json!(server.url())
    );
    browser.value(&page);
    browser.await_true("reloads === 1");
    publish(&server, "chat.a", &["1", "2"]);
    browser.await_true("got.join() === '1,2'");
    browser.value("cut()");
    publish(&server, "chat.a", &["3", "4"]);
    browser.await_true("got.join() === '1,2,3,4' && reloads === 1");
    let addresses = [
        format!("roadcast.http.address={}", server.clients),
        format!("roadcast.rpc.listen={}", server.publish),
    ];
    server.signal(9);
    server.wait();
    let overrides: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let server = Server::start_by(site.roadcast(&["serve", "--demo"]), &overrides);
    browser.await_true("reloads === 2");
    publish(&server, "chat.a", &["5"]);
    browser.await_true("got.join() === '1,2,3,4,5' && reloads === 2");
}

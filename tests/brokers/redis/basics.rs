//! One Redis that is there: what travels, and who gets it.

use std::process::Command;

use super::{count, is, node, node_with, publish};
use crate::common::{Received, eventually};
use crate::servers::BrokerServer;

#[test]
fn what_anybody_publishes_comes_once_to_every_server() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    let nodes = [node(&redis), node(&redis)];
    let mut clients: Vec<_> = nodes.iter().map(|node| node.client()).collect();
    clients.iter_mut().for_each(|client| client.join(&["foo"]));
    // Joined means subscribed: nobody need wait before publishing.
    assert_eq!(redis.redis_publish("foo", "from another program"), 2);
    let mut publishers: Vec<_> = nodes.iter().map(|node| node.publisher()).collect();
    for number in 0..50 {
        for (from, publisher) in publishers.iter_mut().enumerate() {
            publish(publisher, "foo", &format!("{from}:{number}")).unwrap();
        }
    }
    redis.redis_publish("foo", "last");
    let heard = clients.iter_mut().map(|client| {
        let mut heard = Vec::new();
        while heard.last().is_none_or(|last| last != "last") {
            match client.next() {
                Received::Message(topic, payload) if topic == "foo" => heard.push(payload),
                other => panic!("{other:?}"),
            }
        }
        heard
    });
    let heard: Vec<Vec<String>> = heard.collect();
    assert_eq!(heard[0], heard[1], "one order for all");
    let expected = (0..50).flat_map(|number| [format!("0:{number}"), format!("1:{number}")]);
    let all = ["from another program".to_owned()].into_iter().chain(expected);
    assert!(heard[0].iter().eq(all.chain(["last".to_owned()]).collect::<Vec<_>>().iter()));
}

#[test]
fn a_topic_is_unsubscribed_a_moment_after_the_last_has_left() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    let node = node(&redis);
    let mut first = node.client();
    let mut second = node.client();
    first.join(&["foo"]);
    second.join(&["foo"]);
    first.leave(&["foo"]);
    assert_eq!(redis.redis_subscribers("foo"), 1);
    second.leave(&["foo"]);
    // Who is back at once finds it subscribed still, and misses nothing.
    second.join(&["foo"]);
    redis.redis_publish("foo", "x");
    second.expect("foo", "x");
    second.close();
    eventually("nobody is subscribed", || redis.redis_subscribers("foo") == 0);
    first.join(&["foo"]);
    redis.redis_publish("foo", "y");
    first.expect("foo", "y");
}

#[test]
fn topics_and_payloads_of_any_kind_travel_as_they_are() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    let node = node(&redis);
    let (mut client, mut publisher) = (node.client(), node.publisher());
    let long = "t".repeat(1_024);
    for topic in ["with space", "line\r\nend", "*", "ключ-日本", "\"'\\", &long] {
        client.join(&[topic]);
        publish(&mut publisher, topic, "a\r\nb \u{1f600}").unwrap();
        client.expect(topic, "a\r\nb \u{1f600}");
    }
    let large = "x".repeat(900_000);
    publish(&mut publisher, "*", &large).unwrap();
    client.expect("*", &large);
    publish(&mut publisher, "*", "").unwrap();
    client.expect("*", "");
}

#[test]
fn a_publication_that_is_too_long_for_clients_is_refused_here_and_a_gap_from_elsewhere() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    let node = node_with(
        &format!("addrs: ['{}']", redis.address()),
        &["roadcast.limits.publication_bytes=2KiB"],
    );
    is(&node, "up");
    let (mut client, mut publisher) = (node.client(), node.publisher());
    client.join(&["foo"]);
    let error = publish(&mut publisher, "foo", &"x".repeat(2_048)).unwrap_err();
    assert!(error.contains("publication_bytes"), "{error}");
    // Longer as clients read it, longer as it comes, and longer than is read at once.
    for payload in ["\u{1}".repeat(1_000), "x".repeat(100_000), "x".repeat(3_000_000)] {
        let before = count(&node, "broker_gaps_total");
        let file = redis.directory.join("payload");
        std::fs::write(&file, payload).unwrap();
        let published = Command::new("bash")
            .args(["-c", "redis-cli -p $0 -x PUBLISH foo <$1", &redis.port.to_string()])
            .arg(&file)
            .status();
        assert!(published.unwrap().success());
        redis.redis_publish("foo", "next");
        client.expect("foo", "next");
        assert_eq!(count(&node, "broker_gaps_total"), before + 1);
    }
    assert_eq!(count(&node, "broker_reconnects_total"), 0);
}

#[test]
fn a_prefix_stands_before_channels_and_clients_do_not_see_it() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    let node = node_with(&format!("addrs: ['{}'], prefix: 'app:'", redis.address()), &[]);
    is(&node, "up");
    let (mut client, mut publisher) = (node.client(), node.publisher());
    client.join(&["foo"]);
    assert_eq!((redis.redis_publish("foo", "x"), redis.redis_publish("app:foo", "y")), (0, 1));
    client.expect("foo", "y");
    publish(&mut publisher, "foo", "z").unwrap();
    client.expect("foo", "z");
}

#[test]
fn a_socket_in_the_file_system_is_an_address() {
    let Some(redis) = BrokerServer::redis(&["--unixsocket", "s"]) else { return };
    let socket = redis.directory.join("s");
    let node = node_with(&format!("addrs: ['{}']", socket.display()), &[]);
    is(&node, "up");
    let mut client = node.client();
    client.join(&["foo"]);
    redis.redis_publish("foo", "x");
    client.expect("foo", "x");
}

#[test]
fn a_user_needs_no_more_than_the_documented_commands() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    let rules = "on >s3cret resetchannels &app:* +publish +subscribe +unsubscribe +ping +select";
    let words: Vec<&str> =
        ["ACL", "SETUSER", "roadcast"].into_iter().chain(rules.split(' ')).collect();
    assert_eq!(redis.redis_cli(&words), "OK");
    let node = node_with(
        &format!(
            "addrs: ['{}'], username: roadcast, password: s3cret, db: 3, prefix: 'app:'",
            redis.address()
        ),
        &[],
    );
    is(&node, "up");
    let (mut client, mut publisher) = (node.client(), node.publisher());
    client.join(&["foo"]);
    publish(&mut publisher, "foo", "x").unwrap();
    client.expect("foo", "x");
    assert!(redis.redis_cli(&["CLIENT", "LIST"]).contains("user=roadcast"));
    assert!(!node.log().contains("s3cret"));
    // Nothing that it tried was denied.
    assert_eq!(redis.redis_cli(&["ACL", "LOG"]), "");
}

#[test]
fn one_channel_that_is_forbidden_does_not_cost_the_others() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    let rules = "on nopass resetchannels &free:* +publish +subscribe +unsubscribe +ping";
    let words: Vec<&str> =
        ["ACL", "SETUSER", "default"].into_iter().chain(rules.split(' ')).collect();
    assert_eq!(redis.redis_cli(&words), "OK");
    let node = node_with(&format!("addrs: ['{}']", redis.address()), &[]);
    is(&node, "up");
    let mut clients: Vec<_> = (0..20).map(|_| node.client()).collect();
    let names: Vec<String> = (0..20)
        .map(|number| if number == 13 { "secret".to_owned() } else { format!("free:{number}") })
        .collect();
    for (client, name) in clients.iter_mut().zip(&names) {
        client.command("join", &[name]);
    }
    for (client, name) in clients.iter_mut().zip(&names) {
        let kind = if name == "secret" { "#join" } else { "@join" };
        client.expect_reply(kind, &[name]);
    }
    assert_eq!(count(&node, "broker_reconnects_total"), 0);
}

#[test]
fn tls_with_certificates_of_both_sides() {
    let Some((redis, port)) = BrokerServer::redis_with_tls() else { return };
    let file = |name: &str| redis.directory.join(name).display().to_string();
    let node = node_with(
        &format!(
            "addrs: ['127.0.0.1:{}'], tls: {{ ca: '{}', cert: '{}', key: '{}', server_name: redis.test }}",
            port,
            file("ca.pem"),
            file("client.pem"),
            file("client.key"),
        ),
        &[],
    );
    is(&node, "up");
    let (mut client, mut publisher) = (node.client(), node.publisher());
    client.join(&["foo"]);
    publish(&mut publisher, "foo", &"x".repeat(200_000)).unwrap();
    client.expect("foo", &"x".repeat(200_000));
}

#[test]
fn publications_of_one_connection_are_under_way_together_and_stay_in_order() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    let node = node(&redis);
    let (mut client, mut publisher) = (node.client(), node.publisher());
    client.join(&["foo"]);
    let calls = (0..20_000).map(|n| ("foo".to_owned(), n.to_string().into_bytes()));
    publisher.publish_all(256, calls);
    for number in 0..20_000 {
        client.expect("foo", &number.to_string());
    }
}

//! What operators are told of brokers: `roadcast brokers`, `roadcast.Brokers`, metrics and
//! readiness of the real server.

use serde_json::Value;

use crate::common::cli::run;
use crate::common::{JSON, MSGPACK, Scrape, Server, get};

const TWO: &[&str] = &[
    "broadcast.default.driver=memory",
    "broadcast.bus.driver=memory",
    "metrics.address=127.0.0.1:0",
    "status.address=127.0.0.1:0",
];

#[test]
fn brokers_that_are_up_are_printed_as_a_table_and_as_json() {
    let server = Server::start(TWO);
    server.publisher().publish(&["news"], b"x");
    let printed = |arguments: &[&str]| {
        let output = run(&[&["brokers", "--url", &server.publish], arguments].concat(), b"");
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let table = printed(&[]);
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split("  ").collect()).collect();
    let first: Vec<_> = lines.iter().map(|line| line[0]).collect();
    assert_eq!(first, ["BROKER", "default (default)", "bus"], "{table}");
    assert!(table.lines().skip(1).all(|line| line.contains(" up ")), "{table}");

    let told: Value = serde_json::from_str(&printed(&["--json"])).expect("one JSON object");
    let brokers = told["brokers"].as_array().expect("brokers");
    assert_eq!((&brokers[0]["published"], &brokers[1]["published"]), (&1.into(), &1.into()));

    let scrape = Scrape::of(server.endpoint("metrics"));
    assert_eq!(scrape.sum("broker_state", &["bus", "up"]), 1);
    assert_eq!(scrape.sum("broker_state", &["down"]), 0);
    assert_eq!(get(server.endpoint("status"), "/ready"), 200);
}

#[test]
fn brokers_are_told_over_rpc_in_json_and_msgpack() {
    let server = Server::start(TWO);
    let mut publisher = server.publisher();
    let json = publisher.ask("roadcast.Brokers", JSON, b"true");
    assert_eq!(json.flags, JSON);
    let json: Value = serde_json::from_slice(&json.body).expect("JSON");
    let packed = publisher.ask("roadcast.Brokers", MSGPACK, b"\xc3");
    assert_eq!(packed.flags, MSGPACK);
    let packed: Value = rmp_serde::from_slice(&packed.body).expect("MSGPACK");
    assert_eq!(json["brokers"][1]["name"], packed["brokers"][1]["name"]);
    assert_eq!(json["brokers"][0]["default"], true);
}

#[test]
fn a_message_may_go_to_the_default_broker_alone() {
    let server = Server::start(&[TWO, &["roadcast.publish_to=default"]].concat());
    server.publisher().publish(&["news"], b"x");
    let scrape = Scrape::of(server.endpoint("metrics"));
    let published = |broker: &str| scrape.sum("publications_total", &[broker, "rpc"]);
    assert_eq!((published("default"), published("bus")), (1, 0));
}

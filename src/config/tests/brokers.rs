//! Which brokers there are, and which is meant by default.

use super::*;

#[test]
fn the_default_broker_is_named_or_unambiguous() {
    let default = |file: &str| {
        let config = config(file);
        config.brokers[config.default_broker].name.clone()
    };
    let two = "broadcast: { a: { driver: memory }, b: { driver: memory } }\n";
    assert_eq!(default(&format!("{two}websockets: {{ broker: b }}")), "b");
    assert_eq!(default(&format!("{two}websockets: {{ broker: B }}")), "b");
    assert_eq!(default("broadcast: { a: { driver: memory } }"), "a");
    assert_eq!(
        default("broadcast: { a: { driver: memory }, default: { driver: memory } }"),
        "default"
    );
    assert_eq!(default("websockets: { broker: default }"), "default");
    assert_eq!(default("websockets: { pubsubs: [\"memory\"] }"), "memory");
    let error = load(two).unwrap_err();
    assert_eq!(
        error,
        ".rr.yaml:1:17: websockets.broker: must say which broker is meant by default; known: a, b; for example -o websockets.broker=a"
    );
    let error = load(&format!("{two}websockets: {{ broker: c }}")).unwrap_err();
    assert_eq!(
        error,
        ".rr.yaml:2:23: websockets.broker: \"c\" names no entry of `broadcast`; known: a, b"
    );
}

#[test]
fn drivers_that_are_not_known_are_refused_each_with_what_is() {
    for (file, expected) in [
        (
            "broadcast: { bus: { driver: rabbit } }",
            ".rr.yaml:1:29: broadcast.bus.driver: \"rabbit\" is no known driver; supported: memory, redis, nats",
        ),
        (
            "broadcast: { bus: {} }",
            ".rr.yaml:1:19: broadcast.bus: has no driver; write `driver: memory`, `redis` or `nats`",
        ),
        ("broadcast: { bus: }", ".rr.yaml:1:19: broadcast.bus: has no driver"),
        (
            "websockets: { pubsubs: [rabbit] }",
            ".rr.yaml:1:24: websockets.pubsubs: \"rabbit\" is no known driver",
        ),
    ] {
        let error = load(file).unwrap_err();
        assert!(error.starts_with(expected), "{file}: {error}");
    }
}

#[test]
fn readiness_may_do_without_brokers_that_there_are() {
    let two = "broadcast: { default: { driver: memory }, Bus: { driver: memory } }\n";
    let needed = |more: &str| -> Vec<bool> {
        let brokers = config(&format!("{two}roadcast: {{ ready_without: {more} }}")).brokers;
        brokers.iter().map(|broker| broker.needed).collect()
    };
    assert_eq!(needed("[]"), [true, true]);
    assert_eq!(needed("[bus]"), [true, false]);
    assert_eq!(needed("\"default,Bus\""), [false, false]);
    let error = load(&format!("{two}roadcast: {{ ready_without: [other] }}")).unwrap_err();
    assert_eq!(
        error,
        ".rr.yaml:2:28: roadcast.ready_without: \"other\" names no entry of `broadcast`; known: default, Bus"
    );
}

#[test]
fn what_brokers_do_in_an_outage_is_set_for_all_of_them() {
    let usual = config("");
    assert_eq!((usual.broker_wait, usual.broker_buffer), (Duration::from_secs(5), 0));
    assert_eq!((usual.publish_to, usual.on_gap), (PublishTo::All, OnGap::Silent));
    let set = config(
        "roadcast: { broker_wait: 30, broker_buffer: 1MiB, publish_to: default, on_gap: close }",
    );
    assert_eq!((set.broker_wait, set.broker_buffer), (Duration::from_secs(30), 1 << 20));
    assert_eq!((set.publish_to, set.on_gap), (PublishTo::Default, OnGap::Close));
    for (key, value) in [("broker_wait", "0"), ("publish_to", "some"), ("on_gap", "tell")] {
        let error = load(&format!("roadcast: {{ {key}: {value} }}")).unwrap_err();
        assert!(error.contains(&format!("roadcast.{key}: \"{value}\" is ")), "{error}");
    }
}

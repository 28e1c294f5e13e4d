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
fn drivers_that_are_not_served_are_refused_each_with_what_is() {
    for (file, expected) in [
        (
            "broadcast: { bus: { driver: redis } }",
            ".rr.yaml:1:29: broadcast.bus.driver: driver \"redis\" is not served yet; supported: memory",
        ),
        (
            "broadcast: { bus: { driver: rabbit } }",
            ".rr.yaml:1:29: broadcast.bus.driver: \"rabbit\" is no known driver; supported: memory",
        ),
        (
            "broadcast: { bus: {} }",
            ".rr.yaml:1:19: broadcast.bus: has no driver; supported: `driver: memory`",
        ),
        ("broadcast: { bus: }", ".rr.yaml:1:19: broadcast.bus: has no driver"),
        (
            "websockets: { pubsubs: [redis] }",
            ".rr.yaml:1:24: websockets.pubsubs: driver \"redis\" is not served yet",
        ),
    ] {
        let error = load(file).unwrap_err();
        assert!(error.starts_with(expected), "{file}: {error}");
    }
}

#[test]
fn a_file_shared_with_roadrunner_is_served_from_memory_as_the_error_says() {
    let file = [(".rr.yaml", "broadcast: { bus: { driver: redis } }\nwebsockets: { broker: bus }")];
    let error = load_with(&file, &[], &[]).unwrap_err();
    assert!(error.contains("start with -o broadcast.bus.driver=memory"), "{error}");
    let (config, _) = load_with(&file, &[], &["broadcast.bus.driver=memory"]).unwrap();
    assert_eq!(names(&config), ["bus"]);
    let file = [(".rr.yaml", "websockets: { pubsubs: [redis] }")];
    assert!(load_with(&file, &[], &[]).unwrap_err().contains("-o websockets.pubsubs=memory"));
    assert!(load_with(&file, &[], &["websockets.pubsubs=memory"]).is_ok());
}

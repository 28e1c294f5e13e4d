//! `roadcast.topics`.

use std::time::Duration;

use super::{config, load};
use crate::policy::{History, Overflow};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_first_rule_that_fits_says_what_is_kept() {
    let file = r#"
roadcast:
  topics:
    - { match: chat.lobby }
    - { match: "chat.*", history: { size: 100, ttl: 5m, idle: 1h } }
    - match: "price.*"
      history: { size: 1 }
      overflow: skip
    - { match: "*", history: { size: 0, ttl: 1s } }
"#;
    let policies = config(file).policies;
    let history = |topic: &str| policies.history(topic).map(|(_, history)| history);
    assert_eq!((history("chat.lobby"), history("other")), (None, None));
    let chat = History { size: 100, ttl: 300 * SECOND, idle: 3_600 * SECOND };
    assert_eq!(history("chat.a"), Some(chat));
    assert_eq!(
        history("price.x"),
        Some(History { size: 1, ttl: 300 * SECOND, idle: 300 * SECOND })
    );
    assert_eq!(policies.overflow("price.x"), Overflow::Skip);
    assert_eq!(policies.overflow("chat.a"), Overflow::Disconnect);
    assert!(policies.keeps() && !config("roadcast: { topics: }").policies.keeps());
}

#[test]
fn what_is_wrong_with_a_rule_is_told_with_its_place() {
    for (rule, told) in [
        (
            "{ history: { size: 1 } }",
            "1:23: roadcast.topics: a rule names the topics that it is about",
        ),
        ("{ match: \"a\", history: { ttl: 5m } }", "history: says nothing of `size`"),
        ("{ match: \"a\", history: { size: -1 } }", "history.size: \"-1\" is not a whole number"),
        ("{ match: \"a\", history: { size: 10001 } }", "history.size: 10001 is more than 10000"),
        ("{ match: \"a\", history: { size: 1, ttl: 0 } }", "history.ttl: \"0\" is not between"),
        (
            "{ match: \"a\", history: { size: 1, ttl: 5y } }",
            "history.ttl: \"5y\" is not a duration",
        ),
        ("{ match: \"a\", history: { sizes: 1 } }", "no such key: history.sizes"),
        ("{ match: \"a\", history: 100 }", "history: is a map; write { size: 100, ttl: 5m }"),
        ("{ match: \"a\", history: { size: } }", "history.size: \"\" is not a whole number"),
        (
            "{ match: \"a\", history: { size: 1, ttl: 1ms } }",
            "\"1ms\" is not between 250ms and 720h",
        ),
        ("{ match: \"a\", histories: 1 }", "no such key: histories"),
        (
            "{ match: \"a\", overflow: drop }",
            "overflow: \"drop\" is not known; allowed: skip, disconnect",
        ),
        ("{ match: [\"a\", \"b\"] }", "match: is a list"),
        ("{ match: \"user.{user}\" }", "match: "),
        ("chat", "expected a list of maps"),
    ] {
        let told_of = load(&format!("roadcast: {{ topics: [ {rule} ] }}")).unwrap_err();
        assert!(told_of.contains(told), "{rule}: {told_of}");
    }
}

#[test]
fn history_needs_brokers_in_memory() {
    let file = "broadcast: { main: { driver: redis, config: { addrs: [ \"127.0.0.1:1\" ] } } }\n\
                websockets: { broker: main }\n\
                roadcast: { topics: [ { match: \"a\", history: { size: 1 } } ] }";
    let told = load(file).unwrap_err();
    assert!(
        told.contains("3:23: roadcast.topics: history is kept by brokers of `driver: memory`"),
        "{told}"
    );
}

//! Addresses, proxies, and the topics of a policy.

use super::*;

#[test]
fn proxies_are_subnets_or_addresses() {
    let shown = |file: &str| {
        config(file).proxies.subnets.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        shown("http: { trusted_subnets: [10.0.0.0/8, 192.0.2.1, \"::1/128\", \"fc00::/7\"] }"),
        ["10.0.0.0/8", "192.0.2.1/32", "::1/128", "fc00::/7"]
    );
    assert!(shown("http: { trusted_subnets: [] }").is_empty() && shown("").is_empty());
    let error = load("http:\n  trusted_subnets: [10.0.0.0/33]").unwrap_err();
    assert_eq!(
        error,
        ".rr.yaml:2:20: http.trusted_subnets: \"10.0.0.0/33\" is no subnet; write 10.0.0.0/8, fc00::/7, or one address"
    );
    let (config, _) =
        load_with(&[], &[("RR_HTTP_TRUSTED_SUBNETS", "10.0.0.0/8, ::1")], &[]).unwrap();
    assert_eq!(config.proxies.subnets.len(), 2);
}

#[test]
fn addresses_are_found_in_a_file_that_the_server_would_refuse() {
    let expected = Ok(("tcp://127.0.0.1:7".to_owned(), "ws://127.0.0.1:9/live".to_owned()));
    let addressed = "http: { address: \"127.0.0.1:9\" }\nrpc: { listen: \"tcp://127.0.0.1:7\" }\n\
                     websockets: { path: /live, allowed_origin: \"${NONE}\" }\n";
    for refused in [
        "broadcast: { bus: { driver: redis } }",
        "server: { command: php }",
        "roadcast: { shard: 1, limits: 7 }",
        "logs: loud",
        "websocket: {}",
    ] {
        let file = format!("{addressed}{refused}");
        assert!(load(&file).is_err(), "{refused}");
        assert_eq!(addresses(&file, &[("RR_ROADCAST_SHARD", "1")], &[]), expected, "{refused}");
    }
    let own =
        "roadcast: { http: { address: \"127.0.0.1:9\" }, rpc: { listen: \"tcp://127.0.0.1:7\" } }";
    assert_eq!(addresses(own, &[], &["websockets.path=/live"]), expected);
    let env = [("RR_HTTP_ADDRESS", "127.0.0.1:9"), ("RR_RPC_LISTEN", "tcp://127.0.0.1:7")];
    assert_eq!(addresses("websockets: { path: /live }", &env, &[]), expected);
}

#[test]
fn addresses_that_cannot_be_told_are_errors_and_only_those_that_are_needed() {
    let bad = "rpc: { listen: nowhere }\nhttp: { address: \"127.0.0.1:9\" }\n";
    assert!(
        addresses(bad, &[], &[]).unwrap_err().starts_with(".rr.yaml:1:16: rpc.listen: \"nowhere\"")
    );
    assert!(addresses("http: [", &[], &[]).is_err());
    assert!(addresses("http: 8080", &[], &[]).unwrap_err().contains("http: is a section"));
    assert!(addresses("", &[], &["rpc.listn=x"]).unwrap_err().contains("did you mean rpc.listen?"));
    assert!(addresses("", &[], &["nonsense"]).unwrap_err().contains("expected key=value"));
    let options = LoadOptions { path: Some("none.yaml".into()), ..LoadOptions::default() };
    assert!(Addresses::load(&options).is_err());
    // Each asks for what it needs alone.
    let directory = Directory::new();
    std::fs::write(directory.0.join(".rr.yaml"), bad).unwrap();
    let options = LoadOptions { cwd: directory.0.clone(), ..LoadOptions::default() };
    assert_eq!(Addresses::load(&options).unwrap().url().unwrap(), "ws://127.0.0.1:9/ws");
}

#[test]
fn endpoints_are_on_where_their_section_is_or_our_own_key() {
    let address = |named: Option<(SocketAddr, &'static str)>| {
        named.map(|(address, key)| format!("{address} {key}")).unwrap_or_default()
    };
    for (file, metrics, status) in [
        ("", "", ""),
        ("metrics:", "127.0.0.1:2112 metrics.address", ""),
        ("status: {}", "", "127.0.0.1:2114 status.address"),
        ("metrics: { address: \":9000\", collect: {} }", "[::]:9000 metrics.address", ""),
        (
            "metrics: { address: 127.0.0.1:1 }\nroadcast: { metrics: { address: 127.0.0.1:2 } }",
            "127.0.0.1:2 roadcast.metrics.address",
            "",
        ),
        (
            "roadcast: { status: { address: 127.0.0.1:3 } }",
            "",
            "127.0.0.1:3 roadcast.status.address",
        ),
    ] {
        let config = config(file);
        assert_eq!(
            (address(config.metrics).as_str(), address(config.status).as_str()),
            (metrics, status),
            "{file}"
        );
        assert_eq!(config.unavailable_status, 503);
    }
    let config = load_with(
        &[],
        &[("RR_METRICS_ADDRESS", "127.0.0.1:4")],
        &["status.unavailable_status_code=500"],
    );
    let config = config.unwrap().0;
    assert_eq!(address(config.metrics), "127.0.0.1:4 metrics.address");
    assert_eq!(
        (config.unavailable_status, address(config.status).as_str()),
        (500, "127.0.0.1:2114 status.address")
    );
    let error = load("metrics: { address: 127.0.0.1:8080 }").unwrap_err();
    assert!(
        error.contains("http.address and metrics.address are the same address (127.0.0.1:8080)"),
        "{error}"
    );
}

#[test]
fn policies_are_lists_of_patterns_and_a_wrong_one_is_told_with_its_place() {
    let file = "roadcast: { overflow: { skip: [prices, 'ticks.*'], disconnect: ticks.final } }";
    let policies = config(file).policies;
    let skips = |topic| policies.overflow(topic) == crate::policy::Overflow::Skip;
    assert_eq!(["prices", "ticks.a", "ticks.final", "x"].map(skips), [true, true, false, false]);
    let error = load("roadcast:\n  overflow: { skip: ['a*b'] }").unwrap_err();
    assert!(
        error
            .starts_with(".rr.yaml:2:21: roadcast.overflow.skip: \"a*b\": a `*` stands at the end"),
        "{error}"
    );
    assert_eq!(config("roadcast: { overflow: { skip: } }").policies, Policies::default());
}

//! What runs and is hardly meant so.

use super::*;

#[test]
fn doubtful_settings_are_warned_of() {
    let text = notices("websockets: { allowed_origin: \"https://a.site/\" }");
    assert!(
        text.contains(".rr.yaml:1:31: websockets.allowed_origin: \"https://a.site/\" fits no"),
        "{text}"
    );
    let text = notices("websockets: { path: \"/${A\" }\nroadcast: { rpc: { mode: 0600 } }");
    assert!(text.contains("websockets.path: a `${` without its `}`"), "{text}");
    assert!(text.contains("roadcast.rpc.mode has no effect"), "{text}");
    assert_eq!(
        config("roadcast: { rpc: { listen: unix:///a, mode: 0600 } }").rpc_mode,
        Some(0o600)
    );
}

#[test]
fn nothing_listens_beyond_this_machine_unless_asked_to() {
    let file = "metrics:\nstatus:\nhttp: {}\nrpc:\n";
    let config = config(file);
    let RpcListen::Tcp(rpc) = config.rpc else { panic!("{:?}", config.rpc) };
    let addresses = [
        Some(config.http),
        Some(rpc),
        config.metrics.map(|(at, _)| at),
        config.status.map(|(at, _)| at),
    ];
    assert!(
        addresses.iter().all(|address| address.expect("it is on").ip().is_loopback()),
        "{addresses:?}"
    );
    assert_eq!(notices(file), "");
}

#[test]
fn rpc_that_others_may_reach_is_warned_of_with_what_to_do() {
    for (file, place) in [
        ("rpc: { listen: \"tcp://:6001\" }", ".rr.yaml:1:16: rpc.listen: tcp://[::]:6001"),
        (
            "rpc: { listen: \"tcp://0.0.0.0:6001\" }",
            ".rr.yaml:1:16: rpc.listen: tcp://0.0.0.0:6001",
        ),
        ("rpc: { listen: \"tcp://192.0.2.1:7\" }", ".rr.yaml:1:16: rpc.listen: tcp://192.0.2.1:7"),
        (
            "roadcast: { rpc: { listen: \"tcp://:7\" } }",
            ".rr.yaml:1:28: roadcast.rpc.listen: tcp://[::]:7",
        ),
    ] {
        let text = notices(file);
        assert!(
            text.contains(&format!("{place} can be reached from other machines")),
            "{file}: {text}"
        );
        assert!(text.contains("Listen on tcp://127.0.0.1:") && text.contains("unix:///"), "{text}");
    }
    for file in [
        "",
        "rpc: { listen: \"tcp://127.0.0.2:1\" }",
        "rpc: { listen: \"tcp://[::1]:1\" }",
        "rpc: { listen: unix:///a }",
    ] {
        assert_eq!(notices(file), "", "{file}");
    }
    let everyone = notices("roadcast: { rpc: { listen: unix:///a, mode: 0666 } }");
    assert!(
        everyone.contains(".rr.yaml:1:45: roadcast.rpc.mode: 0666 lets every user"),
        "{everyone}"
    );
    assert_eq!(notices("roadcast: { rpc: { listen: unix:///a, mode: 0660 } }"), "");
}

#[test]
fn a_limit_per_address_behind_a_proxy_that_is_not_named_is_warned_of() {
    let limit = "roadcast: { limits: { connections_per_address: 5 } }\n";
    let text = notices(limit);
    assert!(text.contains("connections_per_address: 5 for all clients together"), "{text}");
    assert!(text.contains("http.trusted_subnets"), "{text}");
    assert_eq!(notices(&format!("{limit}http: {{ trusted_subnets: [127.0.0.1] }}")), "");
    let public =
        "http: { address: \":8080\" }\nwebsockets: { allowed_origin: \"https://my.site\" }";
    assert_eq!(notices(&format!("{limit}{public}")), "");
    assert!(
        notices("roadcast: { limits: { handshakes_per_address: 5 } }")
            .contains("handshakes_per_address: 5")
    );
}

#[test]
fn origins_that_no_browser_sends_are_each_told() {
    let file = "websockets: { allowed_origin: [\"https://my.site:443\", \"https://a.site\", \"http://b.site:80\"] }";
    let text = notices(file);
    for part in [
        "\"https://my.site:443\" fits no browser's origin: ",
        "\"http://b.site:80\" fits no browser's origin: ",
    ] {
        assert!(
            text.contains(&format!(".rr.yaml:1:31: websockets.allowed_origin: {part}")),
            "{text}"
        );
    }
    assert_eq!(text.lines().count(), 2, "{text}");
    let text = notices("websockets: { allowed_origin: \"https://bücher.example\" }");
    assert!(
        text.contains("fits no browser's origin, so no page can connect: ")
            && text.contains("punycode"),
        "{text}"
    );
}

#[test]
fn what_is_open_to_everybody_on_a_public_address_is_warned_of() {
    for address in [":8080", "0.0.0.0:8080", "192.0.2.1:8080"] {
        let public = format!("http: {{ address: \"{address}\" }}\n");
        let text = notices(&public);
        assert!(
            text.starts_with(
                "warning: default: websockets.allowed_origin: \"*\" lets the pages of every"
            ),
            "{text}"
        );
        let text = notices(&format!(
            "{public}websockets: {{ allowed_origin: [\"https://a\", \"*\"] }}\nroadcast: {{ demo: true }}"
        ));
        assert!(text.contains(".rr.yaml:2:31: websockets.allowed_origin: \"*\" lets"), "{text}");
        assert!(text.contains(".rr.yaml:3:19: roadcast.demo: the demo page"), "{text}");
        assert!(
            text.contains("shows the program's path, the RPC address and a container's name"),
            "{text}"
        );
        assert!(text.contains("(http.address)"), "{text}");
        assert_eq!(
            notices(&format!("{public}websockets: {{ allowed_origin: \"https://my.site\" }}")),
            ""
        );
    }
    assert_eq!(notices("http: { address: \"[::1]:8080\" }\nroadcast: { demo: true }"), "");
}

#[test]
fn a_doubt_about_what_a_variable_holds_shows_the_variable() {
    let env = [("SECRET", "hunter2 x")];
    let loaded = load_with(&[], &env, &["websockets.allowed_origin=${SECRET}"]).unwrap();
    let told: String = loaded.1.iter().map(ToString::to_string).collect();
    assert!(told.contains("\"${SECRET}\" fits no browser's origin"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}

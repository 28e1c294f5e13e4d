//! Keys that nobody knows: what was perhaps meant is said, and one that would have kept people out
//! is an error.

use super::*;

#[test]
fn unknown_keys_are_reported_with_the_nearest_known_one() {
    let text = notices("http:\n  adress: x\nbroadcats: {}\n");
    assert_eq!(
        text.replace(&std::env::temp_dir().display().to_string(), "")
            .lines()
            .map(|l| l.split_once(".rr.yaml").unwrap().1)
            .collect::<Vec<_>>(),
        [
            ":2:3: http.adress: no such key; did you mean http.address?",
            ":3:1: broadcats: no section that is read; did you mean broadcast?"
        ]
    );
    let (_, notices) = load_with(&[], &[("RR_HTTP_ADRESS", "x")], &[]).unwrap();
    let text: Vec<_> = notices.iter().map(|notice| notice.text.as_str()).collect();
    assert_eq!(
        text,
        [
            "environment variable RR_HTTP_ADRESS: http.adress: no such key; did you mean http.address?"
        ]
    );
}

#[test]
fn an_unknown_key_given_with_an_override_is_an_error() {
    let error = |text: &str| load_with(&[], &[], &[text]).unwrap_err();
    assert_eq!(error("rpc.listn=x"), "-o: rpc.listn: no such key; did you mean rpc.listen?");
    assert_eq!(error("htpp.address=x"), "-o: htpp: no section that is read; did you mean http?");
    assert_eq!(error("demo=true"), "-o: demo: no section that is read");
    assert!(load_with(&[], &[], &["jobs.num_pollers=1", "http.pool.num_workers=1"]).is_ok());
}

#[test]
fn a_typo_in_what_keeps_people_out_is_an_error() {
    for (file, expected) in [
        (
            "websockets: { allowed_origins: x }",
            "websockets.allowed_origins: no such key; did you mean websockets.allowed_origin?",
        ),
        ("websockets: { allowedOrigin: x }", "websockets.allowedOrigin: no such key"),
        ("server: { comand: php }", "server.comand: no such key; did you mean server.command?"),
        ("websocket: {}", "websocket: no section that is read; did you mean websockets?"),
        ("webocket: {}", "webocket: no section that is read; did you mean websockets?"),
        ("Servers: {}", "Servers: no section that is read; did you mean server?"),
        ("roadcasts: {}", "roadcasts: no section that is read; did you mean roadcast?"),
        ("road-cast: {}", "road-cast: no section that is read; did you mean roadcast?"),
        ("access: {}", "access: no section that is read; did you mean roadcast.access?"),
        ("Acces: {}", "Acces: no section that is read; did you mean roadcast.access?"),
        ("http: { access: open }", "http.access: no such key; did you mean roadcast.access?"),
    ] {
        let error = load(file).unwrap_err();
        assert!(error.starts_with(".rr.yaml:1:") && error.contains(expected), "{file}: {error}");
    }
    for name in [
        "RR_WEBSOCKETS_ALOWED_ORIGIN",
        "RR_WEBSOCKET_ALLOWED_ORIGIN",
        "RR_SERVER_COMAND",
        "RR_ACCESS_JWT_SECRET",
        "RR_ROADCASTS_ACCESS_HTTP_URL",
    ] {
        let error = load_with(&[], &[(name, "x")], &[]).unwrap_err();
        assert!(error.starts_with(&format!("environment variable {name}: ")), "{error}");
    }
    // Others are for somebody else, or far from anything.
    assert!(load("websockets: { origin: x }\nservice: {}\n").is_ok());
    for name in ["RR_SERVERS_LIST", "RR_ACCESS_TOKEN", "RR_ROADCASTS_PER_DAY"] {
        assert!(load_with(&[], &[(name, "x")], &[]).is_ok(), "{name}");
    }
}

#[test]
fn access_that_has_slipped_out_of_its_section_is_an_error() {
    let rules = "rules: [{ topics: '*', join: deny }]";
    for file in [
        format!("roadcast:\n  shards: 1\naccess:\n  {rules}\n"),
        format!("roadcast:\naccess:\n  {rules}\n"),
    ] {
        let error = load(&file).unwrap_err();
        let expected = "access: no section that is read; did you mean roadcast.access?";
        assert!(error.contains(expected) && error.contains(".rr.yaml:"), "{error}");
    }
}

#[test]
fn an_unset_variable_opens_nothing() {
    for (file, key) in [
        ("websockets: { allowed_origin: \"${O}\" }", "websockets.allowed_origin"),
        ("websockets: { allowed_origin: \"https://${O}\" }", "websockets.allowed_origin"),
        ("websockets: {}\nserver: { command: \"${O}\" }", "server.command"),
        ("websockets: {}\nserver: { command: [php, \"${O}\"] }", "server.command"),
    ] {
        let error = load(file).unwrap_err();
        assert!(error.contains(&format!("{key}: ${{O}} is not set")), "{file}: {error}");
        let files = [(".rr.yaml", file)];
        assert!(load_with(&files, &[("O", "")], &[]).is_err(), "{file}");
        assert!(
            load_with(&files, &[("O", "https://a")], &["roadcast.access=open"]).is_ok(),
            "{file}"
        );
        // What is overridden does no harm.
        let overridden = ["roadcast.access=open".to_owned(), format!("{key}=https://a")];
        let overridden = overridden.each_ref().map(String::as_str);
        assert!(load_with(&files, &[], &overridden).is_ok(), "{file}");
    }
    assert_eq!(config("websockets: { allowed_origin: \"${O:-}\" }").origins, ["*"]);
}

#[test]
fn an_unknown_key_of_our_own_section_is_an_error() {
    let error = load("roadcast:\n  limits:\n    outbox_byte: 1\n").unwrap_err();
    assert_eq!(
        error,
        ".rr.yaml:3:5: roadcast.limits.outbox_byte: no such key; did you mean roadcast.limits.outbox_bytes?"
    );
    assert!(load_with(&[], &[("RR_ROADCAST_SHARD", "1")], &[]).is_err());
    assert!(load_with(&[], &[], &["roadcast.shard=1"]).is_err());
}

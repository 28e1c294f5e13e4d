//! Files, environment and `-o`, and which of them wins.

use std::path::Path;

use super::*;
use crate::access::Asked;

#[test]
fn without_a_file_the_defaults_run() {
    let (config, notices) = load_with(&[], &[], &[]).unwrap();
    assert_eq!(config.file, None);
    assert_eq!(config.http.to_string(), "127.0.0.1:8080");
    assert_eq!(config.rpc.to_string(), "tcp://127.0.0.1:6001");
    assert_eq!(
        (config.path.as_str(), config.origins.join(",").as_str(), config.echo_path.as_ref()),
        ("/ws", "*", None)
    );
    assert_eq!((names(&config), config.default_broker), (vec!["default"], 0));
    assert_eq!(config.shards, std::thread::available_parallelism().unwrap().get());
    assert!(config.pin && !config.demo);
    assert_eq!(config.shutdown_grace, Duration::from_secs(30));
    assert_eq!(config.logs, LogConfig::default());
    assert_eq!(notices, []);
}

#[test]
fn overrides_win_over_the_environment_and_that_over_the_file() {
    let file = [(
        ".rr.yaml",
        "http: { address: \"127.0.0.1:1\" }\nwebsockets: { path: \"${P:-/p}\", allowed_origin: \"${O:-*}\" }\nlogs: { level: \"${L}\" }",
    )];
    let port = |env: &[_], overrides: &[_]| load_with(&file, env, overrides).unwrap().0.http.port();
    assert_eq!(port(&[], &[]), 1);
    assert_eq!(port(&[("RR_HTTP_ADDRESS", "127.0.0.1:2")], &[]), 2);
    assert_eq!(port(&[("RR_HTTP_ADDRESS", "127.0.0.1:2")], &["http.address=127.0.0.1:3"]), 3);
    assert_eq!(port(&[], &["http.address=127.0.0.1:3", "HTTP.Address='127.0.0.1:${PORT:-4}'"]), 4);
    // A wrong value that is overridden does no harm.
    let wrong = [(".rr.yaml", "http: { address: nonsense }")];
    assert!(load_with(&wrong, &[], &["http.address=:1"]).is_ok());

    let (config, notices) = load_with(&file, &[("P", "/q")], &[]).unwrap();
    assert_eq!(config.path, "/q");
    assert!(
        notices
            .iter()
            .any(|notice| notice.warning && notice.text.contains("logs.level: ${L} is not set")),
        "{notices:?}"
    );
}

#[test]
fn variables_override_keys_with_underscores_and_brokers() {
    let file = [(
        ".rr.yaml",
        "broadcast: { my-bus: { driver: \"${D}\" } }\nwebsockets: { broker: my-bus }",
    )];
    let env = [
        ("RR_WEBSOCKETS_ALLOWED_ORIGIN", "https://a"),
        ("RR_BROADCAST_MY_BUS_DRIVER", "memory"),
        ("RR_BROADCAST_NEW_DRIVER", "memory"),
        ("RR_ROADCAST_LIMITS_OUTBOX_BYTES", "3MiB"),
        ("RR_ROADCAST_HTTP_ADDRESS", "127.0.0.1:9"),
        ("RR_HTTP_POOL_NUM_WORKERS", "4"),
        ("D", "memory"),
    ];
    let (config, notices) = load_with(&file, &env, &[]).unwrap();
    assert_eq!(config.origins, ["https://a"]);
    assert_eq!(names(&config), ["my-bus", "new"]);
    assert_eq!(config.limits.outbox_bytes, 3 << 20);
    assert_eq!((config.http.port(), config.http_key), (9, "roadcast.http.address"));
    assert_eq!(notices, [Notice::info("RoadRunner's own, without effect here: http.pool")]);
}

#[test]
fn a_bad_override_names_where_it_was_given() {
    let error = |env: &[_], overrides: &[_]| load_with(&[], env, overrides).unwrap_err();
    let text = error(&[("RR_LOGS_LEVEL", "loud")], &[]);
    assert!(
        text.starts_with("environment variable RR_LOGS_LEVEL: logs.level: \"loud\" is not known"),
        "{text}"
    );
    assert!(error(&[], &["logs.level=loud"]).starts_with("-o: logs.level: \"loud\""));
    assert!(error(&[], &["logs.level"]).contains("expected key=value"));
    assert!(error(&[], &["logs=x"]).contains("is a section"));
}

#[test]
fn included_files_are_read_and_win() {
    let files = [
        (
            ".rr.yaml",
            "version: \"3\"\ninclude: [\"more.yaml\"]\nwebsockets: { path: /a, allowed_origin: x }",
        ),
        ("more.yaml", "version: \"3\"\nwebsockets: { path: /b }\nserver: { command: php }"),
    ];
    let (config, _) = load_with(&files, &[], &[]).unwrap();
    assert!(matches!(config.access.asked, Asked::Workers(_)));
    assert_eq!((config.path.as_str(), config.origins.join(",").as_str()), ("/b", "x"));
    let error = load_with(&files[..1], &[], &[]).unwrap_err();
    assert!(error.starts_with(".rr.yaml:2:11: include: more.yaml does not exist"), "{error}");
    // RoadRunner takes one name as well.
    let one = [(".rr.yaml", "include: more.yaml"), ("more.yaml", "websockets: { path: /b }")];
    assert_eq!(load_with(&one, &[], &[]).unwrap().0.path, "/b");
}

#[test]
fn a_named_file_must_exist() {
    let options = LoadOptions { path: Some("none.yaml".into()), ..LoadOptions::default() };
    let error = Config::load(&options).unwrap_err().to_string();
    assert!(error.starts_with("configuration file none.yaml: does not exist"), "{error}");
}

#[test]
fn a_file_in_the_other_spelling_is_read_where_there_is_no_rr_yaml() {
    let other = (".rr.yml", "websockets: { path: /b }");
    let (config, notices) = load_with(&[other], &[], &[]).unwrap();
    assert_eq!((config.file.as_deref(), config.path.as_str()), (Some(Path::new(".rr.yml")), "/b"));
    assert_eq!(notices, []);
    let (config, notices) = load_with(&[other, (".rr.yaml", "")], &[], &[]).unwrap();
    assert_eq!(config.file.as_deref(), Some(Path::new(".rr.yaml")));
    let told = ".rr.yml is not read, since .rr.yaml is there; name the one you mean with -c";
    assert_eq!(notices, [Notice::warning(told)]);
}

#[test]
fn origins_are_one_or_a_list() {
    let origins = |file: &str| config(file).origins;
    for file in [
        "websockets: { allowed_origin: [\"https://a.site\", \"https://*.b.site\"] }",
        "websockets:\n  allowed_origin:\n  - https://a.site\n  - \"\"\n  - https://*.b.site\n",
        "websockets: { allowed_origin: \"https://a.site, https://*.b.site\" }",
    ] {
        assert_eq!(origins(file), ["https://a.site", "https://*.b.site"], "{file}");
    }
    let env = [("RR_WEBSOCKETS_ALLOWED_ORIGIN", "https://a.site,https://b.site")];
    assert_eq!(load_with(&[], &env, &[]).unwrap().0.origins, ["https://a.site", "https://b.site"]);
    assert_eq!(origins("websockets: { allowed_origin: \"\" }"), ["*"]);
}

#[test]
fn a_comma_too_many_lets_nobody_in() {
    let loaded = |file: &str, env: &[(&str, &str)], overrides: &[&str]| {
        load_with(&[(".rr.yaml", file)], env, overrides).map(|(config, _)| config.origins)
    };
    let site = Ok(vec!["https://a.site".to_owned()]);
    for written in
        ["https://a.site,", ",https://a.site", "https://a.site, ,", "https://a.site,${EXTRA:-}"]
    {
        let file = format!("websockets: {{ allowed_origin: \"{written}\" }}");
        let env = [("RR_WEBSOCKETS_ALLOWED_ORIGIN", written)];
        let argument = format!("websockets.allowed_origin={written}");
        assert_eq!(loaded(&file, &[], &[]), site, "{written}");
        assert_eq!(loaded("", &env, &[]), site, "{written}");
        assert_eq!(loaded("", &[], &[&argument]), site, "{written}");
    }
    for nothing in [",", " , ", " "] {
        let file = format!("websockets: {{ allowed_origin: \"{nothing}\" }}");
        let env = [("RR_WEBSOCKETS_ALLOWED_ORIGIN", nothing)];
        for error in [loaded(&file, &[], &[]), loaded("", &env, &[])].map(Result::unwrap_err) {
            assert!(
                error.contains("websockets.allowed_origin: is an empty list; write"),
                "{nothing:?}: {error}"
            );
        }
    }
    // Where a list keeps nobody out, an empty one is the default, as in brackets.
    let proxies = |written: &str| {
        config(&format!("http: {{ trusted_subnets: \"{written}\" }}")).proxies.subnets.len()
    };
    assert_eq!([",", "10.0.0.0/8,", ",10.0.0.0/8,::1"].map(proxies), [0, 1, 2]);
}

#[test]
fn an_empty_variable_overrides_nothing() {
    let file = "http: { address: \"127.0.0.1:1\" }\nwebsockets: { allowed_origin: \"https://my.site\" }\n\
                roadcast: { rpc: { listen: unix:///a, mode: 0600 } }";
    let env = [
        ("RR_WEBSOCKETS_ALLOWED_ORIGIN", ""),
        ("RR_ROADCAST_RPC_MODE", ""),
        ("RR_HTTP_ADDRESS", ""),
        // Nor do they turn an endpoint on, open a broker or count as a mistake.
        ("RR_METRICS_ADDRESS", ""),
        ("RR_BROADCAST_NEW_DRIVER", ""),
        ("RR_WEBSOCKETS_ALOWED_ORIGIN", ""),
    ];
    let load = |env: &[_]| load_with(&[(".rr.yaml", file)], env, &[]);
    let (config, _) = load(&env).unwrap();
    assert_eq!(
        (config.origins.as_slice(), config.rpc_mode),
        (&["https://my.site".to_owned()][..], Some(0o600))
    );
    assert_eq!((config.http.port(), config.metrics), (1, None));
    assert_eq!(load(&env), load(&[]));
}

#[test]
fn an_empty_override_of_a_key_that_decides_who_gets_in_is_an_error() {
    for key in ["websockets.allowed_origin", "roadcast.rpc.mode", "rpc.listen", "HTTP.Address"] {
        let error = load_with(&[], &[], &[&format!("{key}=")]).unwrap_err();
        let expected =
            format!("-o: {}: is empty, and this key decides who gets in", key.to_lowercase());
        assert!(error.starts_with(&expected), "{error}");
    }
    // Quotes say that it is meant; other keys keep nobody out.
    for argument in ["websockets.allowed_origin=''", "roadcast.echo_path="] {
        assert!(load_with(&[], &[], &[argument]).is_ok(), "{argument}");
    }
}

#[test]
fn what_kubernetes_sets_for_a_service_overrides_nothing() {
    // As it sets them for Services called rr-roadcast, rr-http, rr-rpc and rr-websockets.
    let links = ["ROADCAST", "HTTP", "RPC", "WEBSOCKETS"].map(|service| {
        [
            (format!("RR_{service}_SERVICE_HOST"), "10.96.0.10"),
            (format!("RR_{service}_SERVICE_PORT"), "8080"),
            (format!("RR_{service}_SERVICE_PORT_CLIENTS"), "8080"),
            (format!("RR_{service}_PORT"), "tcp://10.96.0.10:8080"),
            (format!("RR_{service}_PORT_8080_TCP"), "tcp://10.96.0.10:8080"),
            (format!("RR_{service}_PORT_8080_TCP_PROTO"), "tcp"),
            (format!("RR_{service}_PORT_8080_TCP_PORT"), "8080"),
            (format!("RR_{service}_PORT_8080_TCP_ADDR"), "10.96.0.10"),
        ]
    });
    let env: Vec<_> = links.iter().flatten().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(load_with(&[], &env, &[]).unwrap(), load_with(&[], &[], &[]).unwrap());
    assert_eq!(addresses("", &env, &[]), addresses("", &[], &[]));
    // A mistake of the same section is one still.
    assert!(load_with(&[], &[("RR_ROADCAST_PORT", "8080")], &[]).is_err());
}

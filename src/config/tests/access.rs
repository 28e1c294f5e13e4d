//! Who is asked who may connect and join: what each key means, and what may not stand together.

use super::*;
use crate::access::{Asked, Join, KeySource, PerUser, Relay, TokenSettings};
use crate::secret::Secret;

/// A public key for ES256.
const P256: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEXp5Dc6uhqv/SzbVyLy8P/eBmbfLT
nhXZBzh35C+5XPDtON47GXKKea21JmIG/q3pQsEwEoCjHLmofSU4vA6S9Q==
-----END PUBLIC KEY-----
";

/// What would run, whether or not it is refused.
fn examined(file: &str, overrides: &[&str]) -> (AccessSettings, String) {
    let directory = Directory::new();
    std::fs::write(directory.0.join(".rr.yaml"), file).unwrap();
    let Examined { config, problems, .. } = Config::examine(&directory.options(&[], overrides));
    let told = problems.iter().map(|problem| directory.shown(problem) + "\n").collect();
    (config.access, told)
}

fn access(file: &str) -> AccessSettings {
    let (access, told) = examined(file, &[]);
    assert_eq!(told, "");
    access
}

fn workers(file: &str) -> crate::access::WorkersSettings {
    match access(file).asked {
        Asked::Workers(workers) => *workers,
        other => panic!("{other:?}"),
    }
}

fn tokens(file: &str) -> TokenSettings {
    access(file).tokens.expect("tokens are checked")
}

#[test]
fn a_roadrunner_file_as_it_stands_has_its_workers_asked() {
    let file = r#"
server:
  command: "php worker.php --a=1,2"
  relay: "tcp://127.0.0.1:6002"
  relay_timeout: 10s
  user: www-data
  env: [ { app_env: prod }, { B: "x=y, z" } ]
  on_init: { command: "php init.php", env: { C: 1 } }
websockets:
  pool:
    num_workers: 3
    max_jobs: 64
    allocate_timeout: 60000000000
    supervisor: { ttl: 1h, max_worker_memory: 128 }
"#;
    let found = workers(file);
    assert_eq!(found.command, ["php", "worker.php", "--a=1,2"]);
    let env: Vec<_> = found.env.iter().map(|(name, Secret(value))| (&**name, &**value)).collect();
    assert_eq!(env, [("APP_ENV", "prod"), ("B", "x=y, z")]);
    assert_eq!((found.user.as_deref(), found.relay), (Some("www-data"), Relay::Pipes));
    assert_eq!((found.relay_timeout, found.on_init), (Duration::from_secs(10), None));
    let pool = found.pool;
    assert_eq!((pool.debug, pool.num_workers, pool.max_jobs), (false, 3, 64));
    assert_eq!(pool.allocate_timeout, Duration::from_secs(60));
    let supervisor = pool.supervisor.unwrap();
    assert_eq!(supervisor.ttl, Duration::from_secs(3600));
    assert_eq!(supervisor.watch_tick, Duration::from_secs(1));
    assert_eq!(supervisor.max_worker_memory_bytes, 128 << 20);
    let rules = access(file).rules;
    assert_eq!((rules.default, rules.rules.len()), (Join::Ask, 0));
}

#[test]
fn what_workers_are_given_beside_roadrunners_keys_is_roadcasts_own() {
    let found = workers(
        "server: { command: [php, 'my worker.php'], env: { A: 1 }, on_init: { command: a, env: { X: y } } }\n\
         roadcast: { workers: { relay: 'unix:///run/w.sock', env: { a: 2 }, on_init: true } }",
    );
    assert_eq!(found.command, ["php", "my worker.php"]);
    let env: Vec<_> = found.env.iter().map(|(name, Secret(value))| (&**name, &**value)).collect();
    assert_eq!(env, [("A", "1"), ("A", "2")]);
    assert_eq!(found.relay, Relay::Unix("/run/w.sock".into()));
    let init = found.on_init.unwrap();
    assert_eq!((init.command, init.timeout), (vec!["a".to_owned()], Duration::from_secs(60)));
    assert!(found.pool.supervisor.is_none() && found.pool.num_workers > 0);
    assert_eq!(found.pool.destroy_timeout, Duration::from_secs(10));
}

#[test]
fn open_asks_nobody_and_may_be_said_over_a_file_that_asks_but_not_beside_it() {
    let file = "server: { command: php w.php }\nroadcast: { access: { rules: [{ topics: a, join: deny }] } }";
    let (open, told) = examined(file, &["roadcast.access=open"]);
    assert_eq!((open.guarded(), told.as_str()), (false, ""));
    let (_, told) = examined("roadcast: { access: open }", &["roadcast.access.jwt.jwks=https://a"]);
    assert_eq!(
        told,
        "-o: roadcast.access.jwt: roadcast.access is `open`, which asks nobody; take out one of both\n"
    );
    assert!(!access("roadcast: { access: open }").guarded() && !access("").guarded());
}

#[test]
fn a_callback_has_its_keys() {
    let file =
        "roadcast: { access: { http: { url: 'https://u:p@a/x', timeout: 2s, headers: [X-Key] } } }";
    let Asked::Callback(found) = access(file).asked else { panic!() };
    assert_eq!((found.timeout, found.concurrency), (Duration::from_secs(2), 64));
    assert_eq!(
        (found.url.0.as_str(), found.headers),
        ("https://u:p@a/x", vec!["X-Key".to_owned()])
    );
    assert_eq!(found.ca, None);
    let defaults = access("roadcast: { access: { http: { url: 'http://a' } } }");
    let Asked::Callback(found) = defaults.asked else { panic!() };
    assert_eq!((found.timeout, found.headers.len()), (Duration::from_secs(1), 7));
    assert_eq!((defaults.rules.default, defaults.per_user), (Join::Ask, PerUser::Replace));
}

#[test]
fn the_certificates_of_a_callback_are_read_or_it_is_said_what_is_wrong_with_them() {
    let pem = "-----BEGIN CERTIFICATE-----
MIIBSjCB/aADAgECAhRgw6mNKveE/AI1dOHPgwBjQnWbZzAFBgMrZXAwGjEYMBYG
A1UEAwwPQ0Egb2YgdGhlIHRlc3RzMCAXDTI2MTEyOTA2MjczMVoYDzIxMjYxMTA1
MDYyNzMxWjAaMRgwFgYDVQQDDA9DQSBvZiB0aGUgdGVzdHMwKjAFBgMrZXADIQDo
mkVyNw9aOrYT9TO+/r6xIzq1CJpdSVBDRaJOvidUr6NTMFEwHQYDVR0OBBYEFPYK
TzcVNZgLF4WBDOiLo37F7s4rMB8GA1UdIwQYMBaAFPYKTzcVNZgLF4WBDOiLo37F
7s4rMA8GA1UdEwEB/wQFMAMBAf8wBQYDK2VwA0EAN2kCifA6VQX99DJ8dth6LV5B
SK47I03Zny8v9IMN247XbCmQqV+lmDZO9WFAmUe9NkJOL36TekSVEmHzsxVNBg==
-----END CERTIFICATE-----
";
    let directory = Directory::new();
    let file = "roadcast: { access: { http: { url: 'https://a', ca: ca.pem } } }";
    std::fs::write(directory.0.join(".rr.yaml"), file).unwrap();
    let examined = |ca: Option<&str>| {
        let path = directory.0.join("ca.pem");
        let _ = ca.map_or_else(|| std::fs::remove_file(&path), |ca| std::fs::write(&path, ca));
        let Examined { config, problems, .. } = Config::examine(&directory.options(&[], &[]));
        let told = problems.iter().map(|problem| directory.shown(problem)).collect::<Vec<_>>();
        (config.access.asked, told.join("\n"))
    };
    let (Asked::Callback(found), told) = examined(Some(&pem.repeat(2))) else { panic!() };
    assert_eq!((found.ca.unwrap().len(), told.as_str()), (2, ""));
    let broken = pem.replace("MIIBSjCB", "MIIBSjCC");
    for (ca, says) in [
        (None, "ca.pem cannot be read: No such file"),
        (Some(""), "ca.pem holds no certificate in the form of PEM"),
        (Some("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "holds no cert"),
        (Some(&(pem.to_owned() + &broken)), "a certificate, number 2, that cannot be used"),
        (Some(&pem[..200]), "a certificate, number 1, that is no PEM"),
        (Some(&" ".repeat((4 << 20) + 1)), "ca.pem cannot be read: it has more than 4096 KiB"),
    ] {
        let (_, told) = examined(ca);
        assert!(told.contains("roadcast.access.http.ca: ") && told.contains(says), "{told}");
        assert!(told.starts_with(".rr.yaml:1") && told.ends_with("of the configuration"), "{told}");
    }
    // Keys of tokens are fetched by certificates of their own.
    let file = "roadcast: { access: { jwt: { jwks: 'https://a', jwks_ca: ca.pem } } }";
    std::fs::write(directory.0.join(".rr.yaml"), file).unwrap();
    std::fs::write(directory.0.join("ca.pem"), pem).unwrap();
    let Examined { config, problems, .. } = Config::examine(&directory.options(&[], &[]));
    assert!(problems.is_empty());
    assert_eq!(config.access.tokens.unwrap().jwks_ca.unwrap().len(), 1);
    std::fs::remove_file(directory.0.join("ca.pem")).unwrap();
    let Examined { problems, .. } = Config::examine(&directory.options(&[], &[]));
    let told = directory.shown(&problems[0]);
    assert!(told.contains("roadcast.access.jwt.jwks_ca: the file "), "{told}");
}

#[test]
fn tokens_have_their_keys() {
    let found = tokens(
        "roadcast: { access: { jwt: { secret: s, algorithms: [hs512], audience: [a, b], leeway: 1m, required: false,\
         query: token, cookie: sid, subprotocol: true, suffices: true } } }",
    );
    assert_eq!(found.keys, KeySource::Secret(Secret("s".into())));
    assert_eq!((found.algorithms, found.audience.len()), (vec!["HS512".to_owned()], 2));
    assert_eq!((found.leeway, found.required), (Duration::from_secs(60), false));
    assert_eq!((found.query.as_deref(), found.cookie.as_deref()), (Some("token"), Some("sid")));
    assert_eq!((found.subprotocol, found.suffices), (true, true));
    let pem = P256;
    let found = tokens(&format!("roadcast: {{ access: {{ jwt: {{ public_key: {pem:?} }} }} }}"));
    assert_eq!(found.keys, KeySource::PublicKey(pem.to_owned()));
    assert!(found.required && !found.subprotocol && !found.suffices && found.query.is_none());
    let file = "roadcast: { access: { jwt: { public_key: key.pem } } }";
    let directory = Directory::new();
    std::fs::write(directory.0.join(".rr.yaml"), file).unwrap();
    std::fs::write(directory.0.join("key.pem"), pem).unwrap();
    let found = Config::examine(&directory.options(&[], &[])).config.access.tokens.unwrap();
    assert_eq!(found.keys, KeySource::PublicKey(pem.to_owned()));
    assert_eq!(
        access(&file.replace("public_key: key.pem", "jwks: 'https://a/b'")).rules.default,
        Join::Token
    );
}

#[test]
fn rules_are_read_in_their_order() {
    let rules = access(
        "server: { command: php }\nroadcast:\n  validate_each_topic: true\n  access:\n    rules:\n      \
         - { topics: 'user.{user}.*', join: allow }\n      - { topics: [a, 'b,c'], join: Ask }\n",
    )
    .rules;
    let told: Vec<_> = rules
        .rules
        .iter()
        .map(|rule| {
            let topics: Vec<_> = rule.topics.iter().map(ToString::to_string).collect();
            (topics.join(" "), rule.join, rule.place.rsplit(':').nth(1).unwrap().to_owned())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("user.{user}.*".to_owned(), Join::Allow, "6".to_owned()),
            ("a b,c".to_owned(), Join::Ask, "7".to_owned())
        ]
    );
    assert!(rules.one_by_one);
}

#[test]
fn what_would_ask_nobody_or_let_in_nobody_is_an_error_with_the_remedy() {
    let jwt = |text: &str| format!("roadcast: {{ access: {{ jwt: {text} }} }}");
    let rules = |text: &str| format!("roadcast: {{ access: {{ rules: {text} }} }}");
    for (file, expected) in [
        (jwt("{}"), "roadcast.access.jwt: needs a key to check tokens with: one of secret"),
        (jwt("{ query: t }"), "needs a key"),
        (jwt(""), "needs a key"),
        (jwt("{ secret: a, jwks: 'https://a' }"), "roadcast.access.jwt.secret is set as well"),
        (jwt("{ secret: a, algorithms: [RS256] }"), "\"RS256\" is not for the key that is set here; allowed: HS256"),
        (jwt("{ jwks: 'https://a', algorithms: [HS256] }"), "is not for the key that is set here; allowed: RS256"),
        (jwt("{ secret: a, algorithms: [None] }"), "\"None\" is never accepted"),
        (jwt("{ secret: a, algorithms: [X1] }"), "\"X1\" is not known"),
        (
            jwt(&format!("{{ public_key: {P256:?}, algorithms: [ES265] }}")),
            "\"ES265\" is not known; allowed: ES256\n",
        ),
        (jwt("{ jwks: 'https://a:65536/k' }"), "jwks: has the port 65536; ports are 1 to 65535"),
        (
            jwt(&format!("{{ public_key: {P256:?}, algorithms: [RS256] }}")),
            "\"RS256\" is not for the key that is set here; allowed: ES256\n",
        ),
        (
            jwt("{ public_key: \"-----BEGIN PUBLIC KEY-----\\nx\\n-----END PUBLIC KEY-----\" }"),
            "roadcast.access.jwt.public_key: ",
        ),
        (jwt("{ secret: a, cookie: 'a b' }"), "\"a b\" is no name of a cookie"),
        (jwt("{ secret: a, query: 'a&b' }"), "\"a&b\" is no name of a query parameter"),
        (jwt("{ jwks: a }"), "is no URL of a server"),
        (jwt("{ jwks: 'ftp://a' }"), "is no URL of a server"),
        (jwt("{ jwks: 'http:///x' }"), "is no URL of a server"),
        (jwt("{ jwks: 'http://a b' }"), "is no URL of a server"),
        (jwt("{ public_key: no.pem }"), "\"no.pem\" is no PEM, so it names a file, which cannot be read"),
        (jwt("{ secret: '${NOPE}' }"), "${NOPE} is not set, or empty, and this key decides who gets in; set it\n"),
        (jwt("{ secret: a, audience: '${NOPE}' }"), "${NOPE} is not set"),
        ("roadcast: { access: { http: { timeout: 2s } } }".into(), "roadcast.access.http.url: needs the url"),
        ("roadcast: { access: { http: } }".into(), "roadcast.access.http.url: needs the url"),
        ("roadcast: { access: { http: { url: '/x' } } }".into(), "is no URL of a server"),
        ("roadcast: { access: { http: { url: 'http://a:99999/may' } } }".into(), "http.url: has the port 99999"),
        ("roadcast: { access: { http: { url: 'http://a', headers: ['a b'] } } }".into(), "\"a b\" is no name of a header"),
        (
            "server: { command: php }\nroadcast: { access: { http: { url: 'http://a' } } }".into(),
            "leave the workers to RoadRunner: roadcast.workers.ask: false",
        ),
        (
            "server: { command: php }\nroadcast: { workers: { ask: false } }".into(),
            "server.command: with roadcast.workers.ask: false nobody is asked",
        ),
        ("server: { command: php }\nroadcast: { workers: { relay: tpc } }".into(), "\"tpc\" is not understood; write pipes"),
        ("server: { env: [a] }".into(), "server.env: expected a map, or a list of maps"),
        ("server: { env: { A: [1] } }".into(), "server.env: A holds a list; expected one value"),
        ("websockets: { pool: { allocate_timeout: 60 } }".into(), "write the unit: 60s"),
        (rules("{ topics: a, join: deny }"), "expected a list of maps with topics and join"),
        (rules("[a]"), "expected a list of maps with topics and join"),
        (rules("[{ topics: a }]"), "a rule says nothing of `join`"),
        (rules("[{ join: deny }]"), "a rule says nothing of `topics`"),
        (rules("[{ topics: [], join: deny }]"), "topics: is an empty list"),
        (rules("[{ topics: a, join: denied }]"), "join: \"denied\" is not known; allowed: allow, deny"),
        (rules("[{ topics: a, join: deny, x: y }]"), "no such key: x; a rule holds"),
        (rules("[{ topic: a, join: deny }]"), "no such key: topic; a rule holds `topics` and"),
        (rules("[{ topics: 'a,b', join: deny }]"), "\"a,b\" has a comma; write [\"a\", \"b\"]"),
        (rules("[{ topics: 'a*b', join: deny }]"), "topics: \"a*b\": a `*` stands at the end"),
        (rules("[{ topics: '${NOPE}', join: deny }]"), "${NOPE} is not set"),
        (rules("[{ topics: a, join: token }]"), "set roadcast.access.jwt"),
        (rules("[{ topics: a, join: ask }]"), "set server.command or roadcast.access.http"),
        (rules("[{ topics: 'a.{user}', join: allow }]"), "{user} is nobody where neither"),
        (
            "server: { command: php }\nroadcast: { access: { rules: [{ topics: '{org}', join: deny }] } }".into(),
            "{org} is a claim of a token, and none is read",
        ),
        ("roadcast: { overflow: { skip: ['user.{user}'] } }".into(), "for all clients of a topic"),
    ] {
        let (_, told) = examined(&file, &[]);
        assert!(told.starts_with(".rr.yaml:") && told.contains(expected), "{file}: {told}");
    }
    let (_, told) = examined("", &["roadcast.access.rules=a"]);
    assert!(told.contains("is a list of maps with topics and join; write it in a file"), "{told}");
}

#[test]
fn secrets_of_access_are_told_by_nobody() {
    let env = [("SECRET", "hunter2")];
    for file in [
        "roadcast: { access: { jwt: { secret: hunter2, jwks: 'https://a' } } }",
        "roadcast: { access: { jwt: { secret: hunter2, algorithms: [none] } } }",
        "roadcast: { access: { jwt: { secret: [hunter2] } } }",
        "roadcast: { access: { jwt: { secret: { hunter2: a } } } }",
        "roadcast: { access: { http: { url: 'ftp://hunter2@a' } } }",
        "roadcast: { access: { http: { url: '${SECRET}' } } }",
        "server: { command: 'php --key=hunter2', env: { A: [hunter2] } }",
        "server: { command: php, env: [hunter2] }",
        "server: { command: php, env: { A: hunter2 } }\nroadcast: { access: { http: { url: 'http://hunter2@a' } } }",
        "roadcast: { access: { rules: [{ topics: '${SECRET}*x', join: deny }] } }",
        "roadcast: { access: { rules: [{ topics: a, join: '${SECRET}' }] } }",
    ] {
        let error = load_with(&[(".rr.yaml", file)], &env, &[]).unwrap_err();
        assert!(!error.contains("hunter2"), "{file}: {error}");
    }
    let file = "server: { command: php, env: { A: hunter2 } }\n\
                roadcast: { access: { jwt: { secret: hunter2 } } }";
    let (access, _) = examined(file, &[]);
    assert!(!format!("{access:?}").contains("hunter2"), "{access:?}");
}

#[test]
fn scalars_can_be_set_by_variables_and_overrides() {
    let env = [("RR_ROADCAST_ACCESS_JWT_AUDIENCE", "a,b"), ("RR_WEBSOCKETS_POOL_NUM_WORKERS", "7")];
    let directory = Directory::new();
    let overrides = ["server.command=php w.php", "roadcast.access.jwt.jwks=https://a"];
    let found = Config::examine(&directory.options(&env, &overrides)).config.access;
    assert_eq!(found.tokens.unwrap().audience, ["a", "b"]);
    let Asked::Workers(workers) = found.asked else { panic!() };
    assert_eq!((workers.pool.num_workers, workers.command.join("+").as_str()), (7, "php+w.php"));
}

#[test]
fn who_is_asked_for_what_is_told_rule_by_rule() {
    let file = "server: { command: 'php w.php --key=hunter2' }\nwebsockets: { pool: { num_workers: 2 } }\n\
                roadcast:\n  access:\n    jwt: { jwks: 'https://a' }\n    rules:\n      \
                - { topics: 'user.{user}.*', join: allow }\n      - { topics: [a, b], join: deny }\n";
    let directory = Directory::new();
    std::fs::write(directory.0.join(".rr.yaml"), file).unwrap();
    let access = Config::examine(&directory.options(&[], &[])).config.access;
    assert_eq!(
        directory.shown(&access.summary()),
        "access         connect: a token is required by a set of keys, then the workers of server.command (2) are asked
               join:  1 allow  user.{user}.*  (.rr.yaml:7:9)
                      2 deny   a, b  (.rr.yaml:8:9)
                        ask    any other topic"
    );
    let closed = config(&format!("{file}      - {{ topics: ['x', '*'], join: deny }}\n"));
    assert!(!closed.access.summary().contains("any other topic"), "every topic has its rule");
    let topics =
        |topics: &[&str]| topics.iter().map(|topic| (*topic).to_owned()).collect::<Vec<_>>();
    let who = crate::access::Identity { user: Some("7".into()), ..Default::default() };
    assert_eq!(
        directory.shown(&access.told_join(Some(&who), &topics(&["user.7.x", "c"]))),
        "join           user.7.x: allow, by rule 1 (.rr.yaml:7:9)
               c: ask, by default: no rule matches it
               as a whole, by the user \"7\": the workers are asked about c"
    );
    let told = access.told_join(None, &topics(&["user.7.x", "b"]));
    assert!(directory.shown(&told).contains("b: deny, by rule 2 (.rr.yaml:8:9)"), "{told}");
    assert!(told.ends_with("as a whole, by nobody in particular: refused"), "{told}");
    assert!(config("").access.summary().contains("open: everyone may connect and join"));
}

//! What is hardly meant so in rules, limits of users and the pool of workers.

use super::*;

fn told(file: &str) -> String {
    let directory = Directory::new();
    std::fs::write(directory.0.join(".rr.yaml"), file).unwrap();
    let notices = Config::examine(&directory.options(&[], &[])).notices;
    notices.iter().map(|notice| directory.shown(notice) + "\n").collect()
}

fn rules(text: &str) -> String {
    format!("server: {{ command: php }}\nroadcast:\n  access:\n    rules:\n{text}")
}

#[test]
fn a_rule_that_an_earlier_one_covers_decides_nothing_and_is_warned_of() {
    let file = rules(
        "      - { topics: ['room.*', 'user.{user}.*'], join: allow }
      - { topics: 'room.secret.*', join: deny }
      - { topics: ['user.{user}.inbox', 'admin.*'], join: ask }
      - { topics: ['admin.log', room.a], join: deny }
      - { topics: 'news.*', join: deny }\n",
    );
    let expected = "\
warning: .rr.yaml:6:9: roadcast.access.rules: this rule decides nothing: \"room.*\" (allow, .rr.yaml:5:9) comes \
before it, so nobody is kept out here; put this one first
warning: .rr.yaml:7:9: roadcast.access.rules: \"user.{user}.inbox\" of this rule decides nothing: \
\"user.{user}.*\" (allow, .rr.yaml:5:9) comes before it
warning: .rr.yaml:8:9: roadcast.access.rules: this rule decides nothing: \"admin.*\" (ask, .rr.yaml:7:9) comes \
before it, so nobody is kept out here; put this one first
";
    let text = told(&file);
    assert!(text.contains(expected), "{text}");
    assert_eq!(text.matches("decides nothing").count(), 3, "{text}");
}

#[test]
fn exceptions_that_come_first_are_as_they_should_be() {
    let file = rules(
        "      - { topics: 'room.secret.*', join: deny }
      - { topics: 'room.*', join: allow }
      - { topics: '*', join: deny }\n",
    );
    let text = told(&file);
    assert!(!text.contains("decides nothing"), "{text}");
}

#[test]
fn patterns_of_other_systems_are_warned_of() {
    let file = rules("      - { topics: ['room.#', 'a.{user}'], join: allow }\n");
    let text = told(&file);
    assert!(
        text.contains(".rr.yaml:5:9: roadcast.access.rules: \"room.#\": a `#` stands"),
        "{text}"
    );
    let file = rules("      - { topics: 'user.{User}.*', join: allow }\n");
    let directory = Directory::new();
    std::fs::write(directory.0.join(".rr.yaml"), file).unwrap();
    let problems = Config::examine(&directory.options(&[], &[])).problems;
    assert!(problems[0].to_string().contains("; the user is {user}"), "{problems:?}");
    let text = told("roadcast: { overflow: { skip: ['prices.>', 'ticks.*'] } }");
    assert!(text.contains("roadcast.overflow.skip: \"prices.>\": a `>` stands"), "{text}");
}

#[test]
fn a_limit_of_users_where_nobody_says_who_a_user_is_is_warned_of() {
    let text = told("roadcast: { limits: { connections_per_user: 3 } }");
    assert!(text.contains(".rr.yaml:1:45: roadcast.limits.connections_per_user: has no"), "{text}");
    let shown = |file: &str| config(file).summary(None).to_string();
    let text = shown("roadcast: { limits: { connections_per_user: 3 } }");
    assert!(text.contains("a user: connections 3, without effect, since nobody says"), "{text}");
    let text = told("roadcast: { limits: { connections_per_user_beyond: refuse } }");
    assert!(
        text.contains("has no effect without roadcast.limits.connections_per_user\n"),
        "{text}"
    );
    let text = told("server: { command: php }\nroadcast: { limits: { connections_per_user: 3 } }");
    assert!(!text.contains("no effect"), "{text}");
    let both =
        "roadcast: { limits: { connections_per_user: 3, connections_per_user_beyond: refuse } }";
    let text = shown(&format!("server: {{ command: php }}\n{both}"));
    assert!(
        text.contains("a user: connections 3, past it the new one is refused, with 429"),
        "{text}"
    );
}

#[test]
fn without_a_bound_on_an_answer_a_note_says_which_key_sets_one() {
    let text = told("server: { command: php }");
    assert_eq!(
        text,
        "note: .rr.yaml:1:20: server.command: nothing ends a worker that never answers; \
         websockets.pool.supervisor.exec_ttl does (10s, say)\n"
    );
    let supervised = "websockets: { pool: { supervisor: { exec_ttl: 10s } } }";
    assert_eq!(told(&format!("server: {{ command: php }}\n{supervised}")), "");
}

#[test]
fn what_is_hardly_meant_so_is_warned_of() {
    for (file, expected) in [
        ("roadcast: { access: { jwt: { secret: short } } }", "secret has less than 32 bytes"),
        (
            "roadcast: { access: { jwt: { secret: /run/secrets/jwt_secret_of_this_site.txt } } }",
            "secret looks like the name of a file",
        ),
        (
            "roadcast: { access: { jwt: { secret: .rr.yaml } } }",
            "secret looks like the name of a file",
        ),
        ("roadcast: { access: { jwt: { jwks: 'http://a' } } }", "jwks is fetched without TLS"),
        (
            "roadcast: { access: { jwt: { jwks: 'http://127.0.0.1:8080/keys.json' } } }",
            "jwks leads to this server itself, which listens on 127.0.0.1:8080 (http.address)",
        ),
        (
            "http: { address: ':80' }\nroadcast: { access: { http: { url: 'http://localhost/may' } } }",
            "http.url leads to this server itself, which listens on [::]:80 (http.address)",
        ),
        (
            "roadcast: { access: { http: { url: 'http://my.site/may' } } }",
            "http.url is asked without TLS",
        ),
        (
            "roadcast: { access: { jwt: { jwks: 'https://a', suffices: true } } }",
            "suffices has no effect",
        ),
        (
            "server: { command: php, on_init: { command: a } }",
            "server.on_init is not run, since RoadRunner may run it, too",
        ),
        (
            "roadcast: { access: { rules: [{ topics: '*', join: deny }, { topics: a, join: allow }] } }",
            "this rule decides nothing: ",
        ),
        (
            "roadcast: { access: { rules: [{ topics: [a, b], join: deny }, { topics: a, join: allow }] } }",
            "this rule decides nothing: ",
        ),
    ] {
        let text = told(file);
        assert!(text.contains(expected), "{file}: {text}");
    }
    assert_eq!(notices("server: { command: php }\nroadcast: { access: open }"), "");
    let url = "'http://127.0.0.1:8090/a'";
    for file in [format!("jwt: {{ jwks: {url} }}"), format!("http: {{ url: {url} }}")] {
        assert_eq!(notices(&format!("roadcast: {{ access: {{ {file} }} }}")), "");
    }
    let guarded = "roadcast: { access: { jwt: { jwks: 'https://a' } } }";
    let (_, notices) = load_with(&[(".rr.yaml", guarded)], &[], &["roadcast.access=open"]).unwrap();
    assert!(notices[0].text.contains("in spite of roadcast.access.jwt"), "{notices:?}");
}

//! What recorded tokens (tests/vectors) leave open: bounds, and what is kept of a token.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

use super::*;
use crate::access::Pattern;

const SECRET: &[u8] = b"a secret";

/// Seconds since 1970.
fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn signed(header: &str, claims: &str) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let message = format!("{}.{}", part(header), part(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn token(claims: &str) -> String {
    signed(r#"{"alg":"HS256"}"#, claims)
}

fn keys() -> [Key; 1] {
    [Key::secret(SECRET).expect("a secret")]
}

fn checked(token: &str, demands: &Demands) -> Result<Accepted, TokenFault> {
    check(token.as_bytes(), &keys(), demands, at(1000))
}

fn identity(claims: &str) -> Result<Identity, TokenFault> {
    checked(&token(claims), &Demands::default()).map(|accepted| accepted.identity)
}

#[test]
fn what_a_token_says_is_kept_as_far_as_it_is_needed() {
    let demands = Demands {
        claims: ["tenant", "plan", "number", "absent", "empty", "list"].map(Box::from).into(),
        ..Demands::default()
    };
    let claims = r#"{"sub":"7","tenant":"acme","number":42,"other":"x","empty":"","list":["a"],
        "plan":"pro","topics":["news","user.7.*"],"info":{"name":"Jörg", "n":1.0e3},"exp":1090}"#;
    let accepted = checked(&token(claims), &demands).unwrap();
    let text = |name: &str, value: &str| (name.into(), value.into());
    let identity = Identity {
        user: Some("7".into()),
        info: Some(r#"{"name":"Jörg", "n":1.0e3}"#.into()),
        claims: vec![text("tenant", "acme"), text("plan", "pro"), text("number", "42")],
        topics: Some(["news", "user.7.*"].map(|text| Pattern::parse(text).unwrap()).into()),
    };
    assert_eq!(accepted, Accepted { identity, expires_in: Some(Duration::from_secs(90)) });
}

#[test]
fn a_token_that_says_nothing_is_nobodys_and_never_expires() {
    let accepted = checked(&token("{}"), &Demands::default()).unwrap();
    assert_eq!(accepted, Accepted { identity: Identity::default(), expires_in: None });
    let nothing = r#"{"sub":null,"topics":null}"#;
    assert_eq!(identity(nothing), Ok(Identity::default()));
    assert_eq!(identity(r#"{"topics":[]}"#).unwrap().topics, Some(Vec::new()), "it may join none");
}

#[test]
fn the_leeway_lengthens_a_token_and_its_end() {
    let demands = Demands { leeway: Duration::from_secs(10), ..Demands::default() };
    let expires_in = |exp: &str, now: u64| {
        let token = token(&format!(r#"{{"exp":{exp}}}"#));
        let accepted = check(token.as_bytes(), &keys(), &demands, at(now));
        accepted.map(|accepted| accepted.expires_in.expect("it expires").as_millis())
    };
    assert_eq!(expires_in("1000", 995), Ok(15_000));
    assert_eq!(expires_in("1000.5", 1010), Ok(500));
    assert_eq!(expires_in("1000", 1010), Err(TokenFault::Expired));
    let century = 100 * 365 * 24 * 3600 * 1000;
    for endless in ["18446744073709551615", "1e308", "9999999999999"] {
        assert_eq!(expires_in(endless, 1000), Ok(century), "{endless}");
    }
}

/// Each judgement is by the clock of its moment: nothing is kept from the one before.
#[test]
fn a_clock_that_jumps_changes_the_next_judgement_alone() {
    let token = token(r#"{"nbf":1000,"exp":2000}"#);
    let judged = |now| {
        check(token.as_bytes(), &keys(), &Demands::default(), now)
            .map(|accepted| accepted.expires_in.expect("it expires").as_secs())
    };
    assert_eq!(judged(at(1500)), Ok(500));
    assert_eq!(judged(at(5000)), Err(TokenFault::Expired));
    assert_eq!(judged(at(1000)), Ok(1000));
    assert_eq!(judged(at(999)), Err(TokenFault::NotYetValid));
    assert_eq!(judged(UNIX_EPOCH - Duration::from_secs(1)), Err(TokenFault::NotYetValid));
    assert_eq!(judged(at(1999)), Ok(1));
}

#[test]
fn a_token_is_64_kib_long_at_most() {
    let of = |length: usize| {
        let filler = "x".repeat(length);
        token(&format!(r#"{{"x":"{filler}"}}"#))
    };
    // 3 bytes are 4 characters.
    let empty = of(0).len();
    let longest = of((TOKEN_BYTES_MAX - empty) / 4 * 3);
    assert!((TOKEN_BYTES_MAX - 3..=TOKEN_BYTES_MAX).contains(&longest.len()));
    assert!(checked(&longest, &Demands::default()).is_ok());
    let longer = of((TOKEN_BYTES_MAX - empty) / 4 * 3 + 6);
    assert_eq!(checked(&longer, &Demands::default()), Err(TokenFault::TooLong));
    let endless = vec![b'.'; 10 << 20];
    let judged = check(&endless, &keys(), &Demands::default(), at(0));
    assert_eq!(judged, Err(TokenFault::TooLong));
}

#[test]
fn topics_of_a_token_have_bounds() {
    let of = |count: usize, topic: &str| {
        let topics = vec![format!("\"{topic}\""); count].join(",");
        identity(&format!(r#"{{"topics":[{topics}]}}"#)).map(|identity| identity.topics)
    };
    assert_eq!(of(1000, "a").unwrap().unwrap().len(), TOPICS_MAX);
    assert_eq!(of(1001, "a"), Err(TokenFault::TooManyTopics));
    assert_eq!(of(10_000, "a"), Err(TokenFault::TooManyTopics));
    // With their quotation marks.
    assert!(of(16, &"x".repeat(1022)).is_ok());
    assert_eq!(of(17, &"x".repeat(1022)), Err(TokenFault::TooManyTopics));
}

#[test]
fn a_topic_that_is_no_pattern_is_named_by_its_place() {
    let of = |topics: &str| identity(&format!(r#"{{"topics":{topics}}}"#)).unwrap_err();
    for bad in [r#""a*b""#, "7", "null"] {
        let fault = of(&format!(r#"["news",{bad},"x*y"]"#));
        assert_eq!((fault, fault.label()), (TokenFault::Topic(2), "malformed"));
        assert_eq!(fault.entry().unwrap(), "entry 2 of its topics is no pattern");
    }
    assert_eq!(of(r#""news""#).entry(), None);
    assert_eq!(of(r#""news""#).why(), "the token's topics are no list");
}

#[test]
fn what_a_token_is_made_of_is_told_only_where_it_is_made_of_something_else() {
    let of = |claims: &str| identity(claims).unwrap_err().remedy();
    for claims in [r#"{"exp":"soon"}"#, r#"{"topics":["a*b"]}"#, r#"{"sub":[]}"#, "[]"] {
        assert!(of(claims).starts_with("Mend what signs it: "), "{claims}");
    }
    let fault = check(b"nonsense", &keys(), &Demands::default(), at(0)).unwrap_err();
    assert!(fault.remedy().contains("three parts in base64url"), "{}", fault.remedy());
}

#[test]
fn texts_and_info_have_bounds() {
    let text = "x".repeat(TEXT_BYTES_MAX);
    assert_eq!(identity(&format!(r#"{{"sub":"{text}"}}"#)).unwrap().user, Some(text.into()));
    let info = format!("\"{}\"", "x".repeat(INFO_BYTES_MAX - 2));
    let kept = identity(&format!(r#"{{"info":{info}}}"#)).unwrap().info;
    assert_eq!(kept.as_deref(), Some(&*info));
    let longer = info.replacen('x', "xx", 1);
    let deep = "[".repeat(200) + &"]".repeat(200);
    for bad in [&*longer, &deep, r#""\ud800""#] {
        let judged = identity(&format!(r#"{{"info":{bad}}}"#));
        assert!(matches!(judged, Err(TokenFault::Content(why)) if why.contains("info")), "{bad}");
    }
}

#[test]
fn claims_as_deep_as_a_token_is_long_are_read_or_refused() {
    for claims in [
        "[".repeat(40_000),
        format!(r#"{{"x":{}"#, "[".repeat(40_000)),
        format!(r#"{{"x":{}{}}}"#, "[".repeat(20_000), "]".repeat(20_000)),
        format!(r#"{{"aud":{}{}}}"#, "[".repeat(20_000), "]".repeat(20_000)),
        format!(r#"{{"exp":{}{}}}"#, "[".repeat(20_000), "]".repeat(20_000)),
        format!(r#"{{{}"sub":"7"}}"#, r#""a":1,"#.repeat(6_000)),
    ] {
        let judged = identity(&claims);
        let fine = |identity: &Identity| identity.user.as_deref().is_none_or(|user| user == "7");
        assert!(judged.as_ref().map_or_else(|fault| fault.label() == "malformed", fine));
    }
}

#[test]
fn a_signature_is_checked_with_eight_keys_at_most() {
    let other = |number: usize| Key::secret(format!("another {number}").as_bytes()).unwrap();
    let token = token("{}");
    let judged = |others: usize| {
        let keys: Vec<Key> = (0..others).map(other).chain(keys()).collect();
        check(token.as_bytes(), &keys, &Demands::default(), at(0)).map(drop)
    };
    assert_eq!(judged(TRIES_MAX - 1), Ok(()));
    assert_eq!(judged(TRIES_MAX), Err(TokenFault::Signature));
}

#[test]
fn without_keys_nothing_can_be_said_but_of_the_form() {
    let judged = |token: &str| check(token.as_bytes(), &[], &Demands::default(), at(0));
    assert_eq!(judged(&token("{}")), Err(TokenFault::NoKeys));
    assert!(matches!(judged("nonsense"), Err(TokenFault::Malformed(_))));
}

#[test]
fn a_key_that_cannot_be_used_is_named_by_what_it_is() {
    let pem = |label: &str, body: &str| {
        Key::pem(&format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"))
    };
    let ed = "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    assert_eq!(pem("PUBLIC KEY", ed).unwrap().family(), Family::Ed25519);
    // In one line, with what openssl writes around it, and with line ends of Windows.
    let around = format!("Text\r\n-----BEGIN PUBLIC KEY-----\r\n{ed}\r\n-----END PUBLIC KEY-----");
    assert_eq!(Key::pem(&around).unwrap().family(), Family::Ed25519);
    for (label, body, why) in [
        ("PRIVATE KEY", ed, "private key"),
        ("EC PRIVATE KEY", ed, "private key"),
        ("CERTIFICATE", ed, "certificate"),
        ("PGP PUBLIC KEY BLOCK", ed, "no public key in PEM"),
        ("PUBLIC KEY", "", "no public key in PEM"),
        ("PUBLIC KEY", "MCow", "no public key in PEM"),
        ("PUBLIC KEY", "!", "not base64"),
        // X25519, which signs nothing.
        (
            "PUBLIC KEY",
            "MCowBQYDK2VuAyEAhSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=",
            "neither RSA nor EC",
        ),
        // P-521.
        (
            "PUBLIC KEY",
            "MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQA3wXxYZCtB1WpTkqwFDk2cs1FGqwr\n\
             Aqadvnnfkeg4dh4Qvw==",
            "no public key in PEM",
        ),
        (
            "PUBLIC KEY",
            "MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQA3wXxYZCtB1WpTkqwFDk2cs1FGqwr\n\
             AqadvnnfkeARuHTfSPa2Qie10oW3MpLnR3kIZKTg2HiHChm3s+W52C2avREAPgwG\n\
             nlYHn59uimbU95vS0rouJSTS80L3Ss44NrR41EdOJmoKxaAOGOgXNIzfiJv6U97G\n\
             htEMgblrbZ2Fqtwu4nU=",
            "neither P-256",
        ),
        // 512 bits.
        (
            "PUBLIC KEY",
            "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAL37bbZwIhdGErw0Vd/OKB/J6v37toX7\n\
             TiOU73RzDBQm0yAv33afKwjb+3fVfGdojdI6diAfWc2CEKKvim1WLaUCAwEAAQ==",
            "512 bits",
        ),
    ] {
        let error = pem(label, body).unwrap_err().to_string();
        assert!(error.contains(why), "{label} {body}: {error}");
    }
    for text in ["", "secret", "-----BEGIN PUBLIC KEY-----", "-----BEGIN PUBLIC KEY\nAA"] {
        assert_eq!(Key::pem(text).unwrap_err(), KeyError::NoPem, "{text}");
    }
    assert_eq!(Key::pem(&around.repeat(2)).unwrap_err(), KeyError::TwoKeys);
    assert!(Key::pem(&"x".repeat(PEM_BYTES_MAX + 1)).is_err());
    assert_eq!(Key::secret(b"").unwrap_err(), KeyError::EmptySecret);
    assert_eq!(format!("{:?}", keys()), "[Key { family: Secret, id: None }]");
}

//! Goal: tokens that others have made are taken or refused as they must be. Method: what PyJWT
//! signed, or was signed by hand with Python's `hmac` and `cryptography` (`scripts/token-vectors`),
//! with the verdict that belongs to it.

use std::time::{Duration, UNIX_EPOCH};

use roadcast::access::token::{Algorithm, Demands, Key, KeySet, TokenFault, check};
use serde_json::Value;

fn texts(value: &Value) -> Vec<String> {
    let texts = value.as_array().into_iter().flatten();
    texts.map(|text| text.as_str().expect("a text").to_owned()).collect()
}

pub fn keys(vector: &Value) -> Vec<Key> {
    let text = |name: &str| vector[name].as_str();
    if let Some(secret) = text("secret") {
        vec![Key::secret(secret.as_bytes()).expect("a secret")]
    } else if let Some(pem) = text("public_key") {
        vec![Key::pem(pem).expect("a public key")]
    } else {
        KeySet::parse(text("jwks").expect("some key").as_bytes()).expect("a set").keys
    }
}

pub fn demands(vector: &Value) -> Demands {
    Demands {
        algorithms: texts(&vector["algorithms"])
            .iter()
            .map(|name| Algorithm::parse(name).expect("an algorithm"))
            .collect(),
        audience: texts(&vector["audience"]),
        issuer: texts(&vector["issuer"]),
        leeway: Duration::from_secs(vector["leeway"].as_u64().unwrap_or(0)),
        claims: Vec::new(),
    }
}

fn vectors() -> Vec<Value> {
    let lines = include_str!("tokens.jsonl").lines();
    lines.map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn recorded_tokens_are_judged_as_they_must_be() {
    let mut wrong = Vec::new();
    let vectors = vectors();
    for vector in &vectors {
        let now = UNIX_EPOCH + Duration::from_secs(vector["now"].as_u64().expect("a time"));
        let token = vector["token"].as_str().expect("a token").as_bytes();
        let judged = check(token, &keys(vector), &demands(vector), now);
        let expected = match vector["fault"].as_str() {
            Some(fault) => Err(fault),
            None => Ok(vector["user"].as_str().map(Into::into)),
        };
        let found = judged.map(|accepted| accepted.identity.user).map_err(TokenFault::label);
        if found != expected {
            wrong.push(format!("{}: {found:?}, not {expected:?}", vector["name"]));
        }
    }
    assert!(vectors.len() > 150, "the vectors are there");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A seeded walk over single changed bytes: none makes a token that is accepted as anything else.
#[test]
fn a_changed_byte_is_never_accepted_as_another_token() {
    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
    let seed = std::env::var("ROADCAST_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    println!("ROADCAST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for vector in vectors() {
        let token = vector["token"].as_str().expect("a token").as_bytes();
        let now = UNIX_EPOCH + Duration::from_secs(vector["now"].as_u64().expect("a time"));
        let (keys, demands) = (keys(&vector), demands(&vector));
        let before = check(token, &keys, &demands, now);
        for _ in 0..8 {
            let mut token = token.to_vec();
            if token.is_empty() {
                continue;
            }
            let at = random.random_range(0..token.len());
            token[at] = random.random();
            let after = check(&token, &keys, &demands, now);
            assert!(
                after.is_err() || after == before,
                "{}: byte {at} is {} and accepted",
                vector["name"],
                token[at]
            );
        }
    }
}

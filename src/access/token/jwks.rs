//! Sets of keys (RFC 7517 §5), as an identity provider publishes them: JSON Web Key Sets.
//!
//! What such a set holds beside keys that are for us, of other kinds and other uses, is skipped and
//! counted: it is shared with others, and changes without notice (RFC 7517 §5). A secret (`oct`) is
//! skipped, too: what can be fetched is none.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::algorithm::Algorithm;
use super::key::Key;

/// Bytes of a set of keys. The large ones in use have about 20 KiB.
pub const JWKS_BYTES_MAX: usize = 256 * 1024;

/// Keys of a set that are used. Those behind them count as skipped.
pub const JWKS_KEYS_MAX: usize = 100;

/// What a set holds.
#[derive(Clone, Debug)]
pub struct KeySet {
    /// Those that are used, in their order; [`JWKS_KEYS_MAX`] at most.
    pub keys: Vec<Key>,
    /// How many are not.
    pub skipped: usize,
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

/// RFC 7517 §4, RFC 7518 §6, RFC 8037 §2.
#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    kty: Cow<'a, str>,
    #[serde(borrow, rename = "use")]
    usage: Option<Cow<'a, str>>,
    #[serde(borrow)]
    key_ops: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow)]
    alg: Option<Cow<'a, str>>,
    #[serde(borrow)]
    kid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    crv: Option<Cow<'a, str>>,
    #[serde(borrow)]
    n: Option<Cow<'a, str>>,
    #[serde(borrow)]
    e: Option<Cow<'a, str>>,
    #[serde(borrow)]
    x: Option<Cow<'a, str>>,
    #[serde(borrow)]
    y: Option<Cow<'a, str>>,
}

impl KeySet {
    /// Reads a set, or says why it is none. One without a single key that is for us is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        if bytes.len() > JWKS_BYTES_MAX {
            return Err("the set of keys has more than 256 KiB");
        }
        let document: Document = serde_json::from_slice(bytes)
            .map_err(|_| "the answer is no set of keys (a JSON object with the list `keys`)")?;
        let mut keys = Vec::new();
        for entry in &document.keys {
            if keys.len() == JWKS_KEYS_MAX {
                break;
            }
            keys.extend(key(entry.get()));
        }
        if keys.is_empty() {
            return Err("the set of keys has none that signatures can be checked with");
        }
        let skipped = document.keys.len() - keys.len();
        Ok(Self { keys, skipped })
    }
}

/// `None`: it is not for us.
fn key(json: &str) -> Option<Key> {
    let entry: Entry = serde_json::from_str(json).ok()?;
    if entry.usage.is_some_and(|usage| usage != "sig")
        || entry.key_ops.is_some_and(|does| !does.iter().any(|what| what == "verify"))
    {
        return None;
    }
    let bytes = |text: Option<Cow<'_, str>>| URL_SAFE_NO_PAD.decode(text?.as_bytes()).ok();
    let mut key = match (&*entry.kty, entry.crv.as_deref()) {
        ("RSA", _) => Key::rsa(&bytes(entry.n)?, &bytes(entry.e)?),
        ("EC", Some("P-256")) => Key::p256(&point(&bytes(entry.x)?, &bytes(entry.y)?, 32)?),
        ("EC", Some("P-384")) => Key::p384(&point(&bytes(entry.x)?, &bytes(entry.y)?, 48)?),
        ("OKP", Some("Ed25519")) => Key::ed25519(&bytes(entry.x)?),
        _ => return None,
    }
    .ok()?;
    if let Some(name) = entry.alg {
        let only = Algorithm::named(&name).filter(|only| key.is_for(*only))?;
        key.only = Some(only);
    }
    key.id = entry.kid.map(Into::into);
    Some(key)
}

/// RFC 7518 §6.2.1.2: each coordinate is as long as the curve's field, zeroes before it included.
fn point(x: &[u8], y: &[u8], length: usize) -> Option<Vec<u8>> {
    (x.len() == length && y.len() == length).then(|| [&[4], x, y].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::token::algorithm::Family;

    /// The keys of RFC 7517 §A.1 and RFC 8037 §A.2.
    const EC: &str = concat!(
        r#""kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","#,
        r#""y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM""#
    );
    const RSA: &str = concat!(
        r#""kty":"RSA","e":"AQAB","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4"#,
        "cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9",
        "yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu",
        "6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBni",
        r#"Iqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw""#
    );
    const ED: &str =
        r#""kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#;

    fn set(entries: &[&str]) -> String {
        let entries: Vec<String> = entries.iter().map(|entry| format!("{{{entry}}}")).collect();
        format!(r#"{{"keys":[{}]}}"#, entries.join(","))
    }

    fn parsed(entries: &[&str]) -> Result<(Vec<Family>, usize), &'static str> {
        let set = KeySet::parse(set(entries).as_bytes())?;
        Ok((set.keys.iter().map(Key::family).collect(), set.skipped))
    }

    #[test]
    fn keys_of_each_kind_are_read() {
        assert_eq!(
            parsed(&[EC, RSA, ED]),
            Ok((vec![Family::P256, Family::Rsa, Family::Ed25519], 0))
        );
    }

    #[test]
    fn what_is_not_for_us_is_skipped_and_counted() {
        for other in [
            r#""kty":"oct","k":"c2VjcmV0""#,
            r#""kty":"EC","crv":"secp256k1","x":"AA","y":"AA""#,
            r#""kty":"OKP","crv":"X25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#,
            r#""kty":"OKP","crv":"Ed25519","x":"AA""#,
            r#""kty":"RSA","n":"AQAB","e":"AQAB""#,
            r#""kty":"RSA","n":"not base64!","e":"AQAB""#,
            r#""kty":"PQC","alg":"ML-DSA-44""#,
            r#""kty":7"#,
            "",
            &format!(r#"{ED},"use":"enc""#),
            &format!(r#"{ED},"key_ops":["sign"]"#),
            &format!(r#"{ED},"alg":"ES256""#),
            &format!(r#"{ED},"alg":"none""#),
            &format!(r#"{RSA},"alg":"RSA-OAEP""#),
            &format!(r#"{EC},"kid":7"#),
        ] {
            assert_eq!(parsed(&[other, EC]), Ok((vec![Family::P256], 1)), "{other}");
            assert!(parsed(&[other]).is_err_and(|why| why.contains("none that signatures")));
        }
    }

    #[test]
    fn a_key_may_say_for_which_algorithm_it_is() {
        let set = KeySet::parse(set(&[&format!(r#"{RSA},"alg":"PS256","use":"sig""#)]).as_bytes());
        let key = &set.unwrap().keys[0];
        assert!(key.is_for(Algorithm::PS256) && !key.is_for(Algorithm::RS256));
    }

    #[test]
    fn a_set_has_bounds() {
        let many = vec![ED; JWKS_KEYS_MAX + 7];
        assert_eq!(parsed(&many), Ok((vec![Family::Ed25519; JWKS_KEYS_MAX], 7)));
        let mut large = set(&[ED]);
        large.push_str(&" ".repeat(JWKS_BYTES_MAX - large.len()));
        assert!(KeySet::parse(large.as_bytes()).is_ok());
        large.push(' ');
        assert!(KeySet::parse(large.as_bytes()).unwrap_err().contains("256 KiB"));
        let five_mb = vec![b'['; 5 << 20];
        assert!(KeySet::parse(&five_mb).unwrap_err().contains("256 KiB"));
    }

    #[test]
    fn what_is_no_set_is_an_error() {
        for text in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[{]}"#, "<html>", "\u{0}"] {
            let why = KeySet::parse(text.as_bytes()).unwrap_err();
            assert!(why.contains("no set of keys"), "{text}: {why}");
        }
        assert!(KeySet::parse(br#"{"keys":[]}"#).is_err());
        assert!(KeySet::parse(br#"{"keys":[null,[],1,"x"]}"#).is_err());
        // Deep, as far as the bound goes.
        let deep = format!(r#"{{"keys":[{}]}}"#, "[".repeat(200_000));
        assert!(KeySet::parse(deep.as_bytes()).is_err());
    }
}

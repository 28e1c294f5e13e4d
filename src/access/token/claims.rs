//! What a token says (RFC 7519 §4), once its signature is right.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use serde_json::value::RawValue;

use super::{Accepted, Demands, TokenFault};
use crate::access::{Identity, Pattern};

/// Patterns in the claim `topics`.
pub const TOPICS_MAX: usize = 1000;

/// Bytes of these patterns.
pub const TOPICS_BYTES_MAX: usize = 16 * 1024;

/// Bytes of the user, and of each claim that a rule names. OpenID Connect Core §2 gives `sub` so
/// many.
pub const TEXT_BYTES_MAX: usize = 255;

/// Bytes of the claim `info`, as it stands in the token.
pub const INFO_BYTES_MAX: usize = 4 * 1024;

/// A token that expires later than in 100 years expires then.
const EXPIRES_IN_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Each claim as JSON. Of two with one name the last one counts (RFC 7519 §4).
type Claims<'c> = HashMap<String, &'c RawValue>;

/// Judges claims at the time `now`, and keeps what is needed of them.
pub fn judge(json: &[u8], demands: &Demands, now: SystemTime) -> Result<Accepted, TokenFault> {
    let claims: Claims = serde_json::from_slice(json)
        .map_err(|_| TokenFault::Content("the token's claims are no JSON object"))?;
    // A clock before 1970 is at its beginning.
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let leeway = demands.leeway;

    let expires_in = match claims.get("exp") {
        None => None,
        Some(exp) => {
            let exp = date(exp).ok_or(TokenFault::Content("the token's exp is no number"))?;
            let left = exp.saturating_add(leeway).saturating_sub(now);
            // RFC 7519 §4.1.4: on or after it the token is refused.
            if left.is_zero() {
                return Err(TokenFault::Expired);
            }
            Some(left.min(EXPIRES_IN_MAX))
        }
    };
    if let Some(nbf) = claims.get("nbf") {
        let nbf = date(nbf).ok_or(TokenFault::Content("the token's nbf is no number"))?;
        if now.saturating_add(leeway) < nbf {
            return Err(TokenFault::NotYetValid);
        }
    }
    if !demands.issuer.is_empty() {
        let issuer =
            claims.get("iss").and_then(|iss| serde_json::from_str::<String>(iss.get()).ok());
        if !issuer.is_some_and(|issuer| demands.issuer.contains(&issuer)) {
            return Err(TokenFault::Issuer);
        }
    }
    // RFC 7519 §4.1.3: a token for somebody is refused by whoever is nobody in particular.
    let for_us = match claims.get("aud") {
        None => demands.audience.is_empty(),
        Some(aud) => {
            let audiences = serde_json::from_str::<String>(aud.get())
                .map(|audience| vec![audience])
                .or_else(|_| serde_json::from_str::<Vec<String>>(aud.get()));
            let audiences = audiences
                .map_err(|_| TokenFault::Content("the token's aud is no text and no list"))?;
            audiences.iter().any(|audience| demands.audience.contains(audience))
        }
    };
    if !for_us {
        return Err(TokenFault::Audience);
    }

    let identity = Identity {
        user: match claims.get("sub") {
            None => None,
            Some(sub) => text(sub).ok_or(TokenFault::Content(
                "the token's sub is neither a text of up to 255 bytes nor a whole number",
            ))?,
        },
        info: claims.get("info").map(|info| any_json(info)).transpose()?,
        claims: named(&claims, demands),
        topics: claims.get("topics").map(|topics| patterns(topics)).transpose()?.flatten(),
    };
    Ok(Accepted { identity, expires_in })
}

/// RFC 7519 §2, NumericDate: seconds since 1970, with or without a fraction. What is before 1970 is
/// at its beginning.
fn date(json: &RawValue) -> Option<Duration> {
    let seconds: f64 = serde_json::from_str(json.get()).ok()?;
    match serde_json::from_str::<u64>(json.get()) {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) if seconds <= 0.0 => Some(Duration::ZERO),
        Err(_) => Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)),
    }
}

/// A text, or a whole number as one: many issuers have numbers where RFC 7519 §4.1.2 wants a text.
/// `Some(None)`: the text is empty, or it is null; that is nobody.
#[allow(clippy::option_option, reason = "what it cannot be, and what is not there")]
fn text(json: &RawValue) -> Option<Option<Box<str>>> {
    let text = match serde_json::from_str(json.get()).ok()? {
        Value::Null => return Some(None),
        Value::String(text) => text,
        Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
        _ => return None,
    };
    (text.len() <= TEXT_BYTES_MAX).then(|| (!text.is_empty()).then(|| text.into()))
}

/// The claims that rules name. One that is no text is not there: its rules fit nothing.
fn named(claims: &Claims<'_>, demands: &Demands) -> Vec<(Box<str>, Box<str>)> {
    let named = demands.claims.iter().filter_map(|name| {
        let value = text(claims.get(&**name)?)??;
        Some((name.clone(), value))
    });
    named.collect()
}

/// JSON as it stands. It is read once: others will, and are not to meet what no reader takes (half
/// a surrogate pair, 10,000 brackets).
fn any_json(json: &RawValue) -> Result<Box<str>, TokenFault> {
    let json = json.get();
    if json.len() > INFO_BYTES_MAX {
        return Err(TokenFault::Content("the token's info has more than 4 KiB"));
    }
    match serde_json::from_str::<Value>(json) {
        Ok(_) => Ok(json.into()),
        Err(_) => Err(TokenFault::Content("the token's info is no JSON that can be passed on")),
    }
}

/// `null` says nothing of topics, as an absent claim; an empty list allows none.
fn patterns(json: &RawValue) -> Result<Option<Vec<Pattern>>, TokenFault> {
    let malformed = TokenFault::Content("the token's topics are no list");
    let topics: Option<Vec<&RawValue>> = serde_json::from_str(json.get()).map_err(|_| malformed)?;
    let Some(topics) = topics else { return Ok(None) };
    let bytes: usize = topics.iter().map(|topic| topic.get().len()).sum();
    if topics.len() > TOPICS_MAX || bytes > TOPICS_BYTES_MAX {
        return Err(TokenFault::TooManyTopics);
    }
    let pattern = |(topic, place): (&RawValue, u16)| {
        let topic: Option<String> = serde_json::from_str(topic.get()).ok();
        topic.and_then(|topic| Pattern::parse(&topic).ok()).ok_or(TokenFault::Topic(place))
    };
    topics.into_iter().zip(1..).map(pattern).collect::<Result<_, _>>().map(Some)
}

//! Signed tokens: JSON Web Tokens (RFC 7519) in the compact form of JWS (RFC 7515).
//!
//! ```text
//! place      where in a request a token stands
//! jws        its form: header, claims, signature
//! claims     what it says, and whether that will do
//! fault      what can be wrong with it, and with a key
//! refusal    the HTTP response to one that is refused
//! key        a key, and the check of a signature with it; pem, jwks: how keys are written
//! algorithm  the algorithms of signatures, and which keys they are for
//! refresh    when a set of keys is fetched anew
//! ```
//!
//! Pure: time is an argument. Invariants:
//! - Nothing that a token claims is read before its signature is right.
//! - The key decides which algorithms there are, never the token: a key checks signatures of its
//!   own family alone.
//! - No fault holds anything of a token.
//!
//! Deliberately absent: encrypted tokens; unsigned ones (`none`); keys that a token brings along.

mod algorithm;
mod claims;
mod fault;
mod jwks;
mod jws;
mod key;
mod pem;
mod place;
mod refresh;
mod refusal;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use super::Identity;
pub use algorithm::{Algorithm, Family};
pub use claims::{INFO_BYTES_MAX, TEXT_BYTES_MAX, TOPICS_BYTES_MAX, TOPICS_MAX};
pub use fault::{KeyError, TokenFault};
pub use jwks::{JWKS_BYTES_MAX, JWKS_KEYS_MAX, KeySet};
use jws::Unchecked;
pub use key::Key;
pub use pem::PEM_BYTES_MAX;
pub use place::{Found, Place, Places, find};
pub use refresh::{Fetched, Jwks};

/// Bytes of a token.
pub const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// Keys that one signature is checked with at most, where a token does not say with which one it is
/// signed, or several have that name.
pub const TRIES_MAX: usize = 8;

/// What is demanded of tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// The algorithms that are taken; empty: all that a key is for.
    pub algorithms: Vec<Algorithm>,
    /// One of these must be in `aud`; empty: a token with an `aud` is for somebody else.
    pub audience: Vec<String>,
    /// One of these must be `iss`; empty: any.
    pub issuer: Vec<String>,
    /// By how much the clocks of signer and server may differ.
    pub leeway: Duration,
    /// The claims that rules name.
    pub claims: Vec<Box<str>>,
}

/// A token that will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Who it says it is.
    pub identity: Identity,
    /// When it will not do any more: its `exp`, and the leeway. `None`: it has no `exp`, and never
    /// expires.
    pub expires_in: Option<Duration>,
}

/// Checks a token with these keys, at the time `now`.
pub fn check(
    token: &[u8],
    keys: &[Key],
    demands: &Demands,
    now: SystemTime,
) -> Result<Accepted, TokenFault> {
    let token = Unchecked::parse(token)?;
    let algorithm = token.algorithm;
    if !demands.algorithms.is_empty() && !demands.algorithms.contains(&algorithm) {
        return Err(TokenFault::Algorithm);
    }
    if keys.is_empty() {
        return Err(TokenFault::NoKeys);
    }
    let mut tried = 0;
    for key in candidates(keys, &token).take(TRIES_MAX) {
        if key.verifies(algorithm, token.message, &token.signature) {
            return claims::judge(&token.claims()?, demands, now);
        }
        tried += 1;
    }
    Err(match tried {
        0 if is_unknown(keys, &token) => TokenFault::UnknownKey,
        0 => TokenFault::Algorithm,
        _ => TokenFault::Signature,
    })
}

/// The keys that a token may be signed with: those for its algorithm that have its `kid`. A key
/// without a name has any; a token without a `kid` may be signed with each.
fn candidates<'k>(keys: &'k [Key], token: &Unchecked<'_>) -> impl Iterator<Item = &'k Key> {
    keys.iter().filter(|key| key.is_for(token.algorithm) && may_be(key, token))
}

fn may_be(key: &Key, token: &Unchecked<'_>) -> bool {
    token.key.as_deref().is_none_or(|id| key.id.as_deref().is_none_or(|named| named == id))
}

/// Whether a set of keys that is newer may have the key of this token. A secret is in no set.
fn is_unknown(keys: &[Key], token: &Unchecked<'_>) -> bool {
    token.algorithm.family() != Family::Secret && !keys.iter().any(|key| may_be(key, token))
}

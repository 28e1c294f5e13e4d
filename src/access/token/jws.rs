//! The compact form of a signed token (RFC 7515 §3.1, §7.1): `header.claims.signature`, each in
//! base64url without padding.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Algorithm, TOKEN_BYTES_MAX, TokenFault};

/// A token that is not yet believed.
pub struct Unchecked<'t> {
    pub algorithm: Algorithm,
    /// The name of the key that it says it is signed with (`kid`).
    pub key: Option<String>,
    /// What is signed: header and claims as they came, with the dot.
    pub message: &'t [u8],
    pub signature: Vec<u8>,
    claims: &'t [u8],
}

/// RFC 7515 §4.1. What is not here has no meaning: a key that a token brings along (`jwk`, `jku`,
/// `x5c`, `x5u`) would be its own witness.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

impl<'t> Unchecked<'t> {
    pub fn parse(token: &'t [u8]) -> Result<Self, TokenFault> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenFault::TooLong);
        }
        let mut parts = token.split(|&byte| byte == b'.');
        let (Some(header), Some(claims), Some(signature)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenFault::Malformed("the token is not three parts with dots"));
        };
        match parts.count() {
            0 => {}
            // RFC 7516 §3.1.
            2 => return Err(TokenFault::Malformed("the token is encrypted, not only signed")),
            _ => return Err(TokenFault::Malformed("the token is not three parts with dots")),
        }
        let message = &token[..header.len() + 1 + claims.len()];
        let header = decode(header)?;
        let header: Header = serde_json::from_slice(&header)
            .map_err(|_| TokenFault::Content("the token's header is not as it must be"))?;
        let algorithm = Algorithm::named(&header.alg).ok_or(TokenFault::Algorithm)?;
        // RFC 7515 §4.1.11: who does not know an extension that is critical must refuse. None is
        // known here.
        if header.crit.is_some() {
            return Err(TokenFault::Content("the token has a critical extension (crit)"));
        }
        let signature = decode(signature)?;
        Ok(Self { algorithm, key: header.kid, message, signature, claims })
    }

    /// The claims as JSON. To be read only once the signature is right.
    pub fn claims(&self) -> Result<Vec<u8>, TokenFault> {
        decode(self.claims)
    }
}

fn decode(part: &[u8]) -> Result<Vec<u8>, TokenFault> {
    let malformed = TokenFault::Malformed("the token is not base64url");
    URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed)
}

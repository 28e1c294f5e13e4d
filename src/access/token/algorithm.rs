//! The algorithms of signatures (RFC 7518 §3.1, RFC 8037 §3.1). `none` is none of them.
//!
//! Absent: ES512 and ES256K, for which there is no maintained code here that is worth its size;
//! Ed448.

use std::fmt;

use super::KeyError;

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "their names are the standard's")]
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// Which keys an algorithm is for. A key is of one family, and never checks a signature of another:
/// otherwise a public key, which everybody may know, would do as the secret of a forged token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A secret that the signer shares: HS256, HS384, HS512.
    Secret,
    /// RS256, RS384, RS512, PS256, PS384, PS512.
    Rsa,
    /// ES256: the curve P-256.
    P256,
    /// ES384: the curve P-384.
    P384,
    /// EdDSA, with Ed25519.
    Ed25519,
}

impl Algorithm {
    /// All of them, in the order in which they are named to people.
    pub const ALL: [Self; 12] = [
        Self::HS256,
        Self::HS384,
        Self::HS512,
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];

    /// By its name in a token's header. `Ed25519` is the newer name of EdDSA (RFC 9864).
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "Ed25519" => Some(Self::EdDSA),
            _ => Self::ALL.into_iter().find(|algorithm| algorithm.name() == name),
        }
    }

    /// Reads what an operator has written.
    pub fn parse(name: &str) -> Result<Self, KeyError> {
        Self::named(name).ok_or_else(|| KeyError::NoAlgorithm(name.to_owned()))
    }

    /// Its name in a token's header.
    pub fn name(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }

    /// The keys that it is for.
    pub fn family(self) -> Family {
        match self {
            Self::HS256 | Self::HS384 | Self::HS512 => Family::Secret,
            Self::RS256 | Self::RS384 | Self::RS512 => Family::Rsa,
            Self::PS256 | Self::PS384 | Self::PS512 => Family::Rsa,
            Self::ES256 => Family::P256,
            Self::ES384 => Family::P384,
            Self::EdDSA => Family::Ed25519,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_algorithm_is_known_by_its_exact_name() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::named(algorithm.name()), Some(algorithm));
        }
        assert_eq!(Algorithm::named("Ed25519"), Some(Algorithm::EdDSA));
        for name in ["none", "None", "NONE", "", "hs256", "ES512", "ES256K", "RS256 "] {
            assert_eq!(Algorithm::named(name), None, "{name}");
        }
        let error = Algorithm::parse("none").unwrap_err().to_string();
        assert!(error.starts_with("\"none\" is no algorithm of signatures"), "{error}");
        assert!(error.contains("HS256") && error.contains("EdDSA"), "{error}");
    }
}

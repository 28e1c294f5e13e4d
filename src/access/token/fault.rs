//! What can be wrong with a token, and with a key.

use super::Algorithm;

/// Why a token is refused. It holds nothing of the token, so it may stand in a log, a metric and
/// an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenFault {
    /// There is none, where one is required.
    Missing,
    /// Two that differ came with one request.
    Two,
    /// More bytes than [`TOKEN_BYTES_MAX`](super::TOKEN_BYTES_MAX).
    TooLong,
    /// It is no signed token.
    Malformed(&'static str),
    /// Its header or its claims are not as they must be.
    Content(&'static str),
    /// That of its `topics` is no pattern, counted from 1.
    Topic(u16),
    /// Its algorithm is unknown, `none`, or not one of those that are taken.
    Algorithm,
    /// No key has its `kid`. A set of keys may be older than the key.
    UnknownKey,
    /// Keys have not been fetched yet. It is not the token's fault.
    NoKeys,
    /// It was not signed with the other half of our key, or has been changed.
    Signature,
    /// Its time is over (`exp`).
    Expired,
    /// Its time has not come (`nbf`).
    NotYetValid,
    /// It is meant for somebody else (`aud`).
    Audience,
    /// It comes from somebody else (`iss`).
    Issuer,
    /// It names more topics than [`TOPICS_MAX`](super::TOPICS_MAX), or in more bytes.
    TooManyTopics,
}

impl TokenFault {
    /// A word for it, as a label of metrics has it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Two => "two",
            Self::TooLong => "too_long",
            Self::Malformed(_) | Self::Content(_) | Self::Topic(_) => "malformed",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::NoKeys => "no_keys",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Audience => "audience",
            Self::Issuer => "issuer",
            Self::TooManyTopics => "too_many_topics",
        }
    }

    /// What is wrong, for a log and for the answer. Without quotation marks and backslashes, so
    /// that it can stand in a header (RFC 6750 §3).
    pub fn why(self) -> &'static str {
        match self {
            Self::Missing => "a token is required",
            Self::Two => "the request has two tokens that differ",
            Self::TooLong => "the token is longer than 64 KiB",
            Self::Malformed(what) | Self::Content(what) => what,
            Self::Topic(_) => "one of the token's topics is no pattern",
            Self::Algorithm => "the token's algorithm is not accepted",
            Self::UnknownKey => "the token is signed with an unknown key",
            Self::NoKeys => "tokens cannot be checked yet",
            Self::Signature => "the token's signature is wrong",
            Self::Expired => "the token has expired",
            Self::NotYetValid => "the token is not valid yet",
            Self::Audience => "the token is for another audience",
            Self::Issuer => "the token is from another issuer",
            Self::TooManyTopics => "the token names too many topics",
        }
    }

    /// Which of several things it is, for the log: their values are the token's.
    pub fn entry(self) -> Option<String> {
        match self {
            Self::Topic(place) => Some(format!("entry {place} of its topics is no pattern")),
            _ => None,
        }
    }

    /// What whoever connects, or runs the server, can do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Missing => {
                "Connect with a signed token (JWT): in the header Authorization: Bearer, or where \
                 roadcast.access.jwt says that it may stand."
            }
            Self::Two => "Send one token, in one place.",
            Self::TooLong => "Ask for one that says less.",
            Self::Malformed(_) => {
                "A token is a signed JWT in its compact form: three parts in base64url, with dots \
                 between them."
            }
            Self::Content(_) => {
                "Mend what signs it: docs/access.md (What a token says) has the bounds of each claim."
            }
            Self::Topic(_) => {
                "Mend what signs it: docs/access.md (Patterns) says what they look like, and the \
                 server's log says which it is."
            }
            Self::Algorithm => {
                "Sign it with one that is for the server's key (roadcast.access.jwt.algorithms)."
            }
            Self::UnknownKey => {
                "Its kid is in no set of keys that the server knows (roadcast.access.jwt.jwks). If \
                 the key is new, try again in 10 seconds."
            }
            Self::NoKeys => {
                "The server has not fetched its keys yet (roadcast.access.jwt.jwks). Try again."
            }
            Self::Signature => {
                "Sign it with the key that belongs to the server's (roadcast.access.jwt)."
            }
            Self::Expired => "Ask for a new one.",
            Self::NotYetValid => "Check the clocks of the signer and of the server.",
            Self::Audience => {
                "Its aud must hold what the server expects (roadcast.access.jwt.audience)."
            }
            Self::Issuer => "Its iss must be what the server expects (roadcast.access.jwt.issuer).",
            Self::TooManyTopics => {
                "Up to 1000 patterns in 16 KiB are accepted. A `*` at the end of a pattern stands \
                 for any rest."
            }
        }
    }
}

/// Why keys, or what is demanded of tokens, cannot be used. For the operator: keys are named by
/// what they are, never by what they hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum KeyError {
    #[error("the secret is empty")]
    EmptySecret,
    #[error(
        "no public key in PEM was found: it begins with `-----BEGIN PUBLIC KEY-----` \
         (`openssl pkey -in private.pem -pubout` writes it)"
    )]
    NoPem,
    #[error(
        "this is a private key, which belongs to the signer alone; \
         `openssl pkey -in private.pem -pubout` writes the public one"
    )]
    Private,
    #[error(
        "this is a certificate; `openssl x509 -in certificate.pem -noout -pubkey` writes its \
         public key"
    )]
    Certificate,
    #[error("there is more than one key; several keys at a time take `jwks`")]
    TwoKeys,
    #[error("{0}")]
    Malformed(&'static str),
    #[error("an RSA key of {0} bits; 2048 to 8192 are accepted")]
    RsaBits(usize),
    #[error("the key's curve is neither P-256 (ES256) nor P-384 (ES384)")]
    Curve,
    #[error("the key is neither RSA nor EC nor Ed25519")]
    Kind,
    #[error(
        "\"{0}\" is no algorithm of signatures that is known here: {all}",
        all = Algorithm::ALL.map(Algorithm::name).join(", ")
    )]
    NoAlgorithm(String),
    #[error("{0} cannot be checked with the key that is given")]
    NoKeyFor(Algorithm),
}

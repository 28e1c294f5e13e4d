//! Public keys in PEM (RFC 7468), as `openssl pkey -pubout` writes them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::KeyError;
use super::key::Key;

/// Bytes of a text that holds a key. One of 8192 bits takes 1.5 KiB.
pub const PEM_BYTES_MAX: usize = 64 * 1024;

/// Object identifiers (RFC 8017 §A.1, RFC 5480 §2.1.1, RFC 8410 §3), as DER has their contents.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;
const BIT_STRING: u8 = 0x03;
const INTEGER: u8 = 0x02;

impl Key {
    /// A public key in PEM: `PUBLIC KEY` (RSA, P-256, P-384, Ed25519), or `RSA PUBLIC KEY`. Text
    /// around it does not matter. Two are an error: it is not said which one is meant.
    pub fn pem(text: &str) -> Result<Self, KeyError> {
        if text.len() > PEM_BYTES_MAX {
            return Err(KeyError::Malformed("a text of more than 64 KiB"));
        }
        let mut found = None;
        let mut rest = text;
        while let Some((_, begun)) = rest.split_once("-----BEGIN ") {
            let (label, body) = begun.split_once("-----").ok_or(KeyError::NoPem)?;
            let (body, behind) =
                body.split_once(&format!("-----END {label}-----")).ok_or(KeyError::NoPem)?;
            rest = behind;
            let der = |body: &str| {
                let body: String = body.split_ascii_whitespace().collect();
                STANDARD.decode(body).map_err(|_| KeyError::Malformed("not base64 in PEM"))
            };
            let key = match label {
                "PUBLIC KEY" => subject_public_key_info(&der(body)?)?,
                "RSA PUBLIC KEY" => rsa_public_key(&der(body)?)?,
                // openssl ecparam writes them before a key.
                "EC PARAMETERS" => continue,
                "CERTIFICATE" => return Err(KeyError::Certificate),
                label if label.ends_with("PRIVATE KEY") => return Err(KeyError::Private),
                _ => return Err(KeyError::NoPem),
            };
            if found.replace(key).is_some() {
                return Err(KeyError::TwoKeys);
            }
        }
        found.ok_or(KeyError::NoPem)
    }
}

/// RFC 5280 §4.1: `SEQUENCE { SEQUENCE { algorithm, parameters }, BIT STRING }`.
fn subject_public_key_info(der: &[u8]) -> Result<Key, KeyError> {
    let (info, _) = element(der, SEQUENCE)?;
    let (algorithm, rest) = element(info, SEQUENCE)?;
    let (bits, _) = element(rest, BIT_STRING)?;
    // The first byte is how many bits of the last one are unused.
    let Some((0, key)) = bits.split_first() else { return Err(DER) };
    let (kind, parameters) = element(algorithm, OBJECT_IDENTIFIER)?;
    match kind {
        RSA => rsa_public_key(key),
        ED25519 => Key::ed25519(key),
        EC => match element(parameters, OBJECT_IDENTIFIER)?.0 {
            P256 => Key::p256(key),
            P384 => Key::p384(key),
            _ => Err(KeyError::Curve),
        },
        _ => Err(KeyError::Kind),
    }
}

/// RFC 8017 §A.1.1: `SEQUENCE { modulus INTEGER, exponent INTEGER }`.
fn rsa_public_key(der: &[u8]) -> Result<Key, KeyError> {
    let (numbers, _) = element(der, SEQUENCE)?;
    let (modulus, rest) = element(numbers, INTEGER)?;
    let (exponent, _) = element(rest, INTEGER)?;
    Key::rsa(modulus, exponent)
}

const DER: KeyError = KeyError::Malformed("no public key in PEM");

/// The contents of an element with this tag, and what is behind it (X.690 §8.1, §10.1).
fn element(bytes: &[u8], tag: u8) -> Result<(&[u8], &[u8]), KeyError> {
    let (length, rest) = match bytes {
        [first, length @ 0..=0x7f, rest @ ..] if *first == tag => (usize::from(*length), rest),
        [first, 0x81, length, rest @ ..] if *first == tag => (usize::from(*length), rest),
        [first, 0x82, high, low, rest @ ..] if *first == tag => {
            (usize::from(u16::from_be_bytes([*high, *low])), rest)
        }
        _ => return Err(DER),
    };
    rest.split_at_checked(length).ok_or(DER)
}

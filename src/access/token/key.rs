//! A key that signatures are checked with. What a signature is, and whether it is right, is up to
//! ring.

use std::fmt;

use ring::hmac;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey,
};

use super::KeyError;
use super::algorithm::{Algorithm, Family};

/// See the module. It is for all algorithms of its family, unless it says that it is for one.
#[derive(Clone)]
pub struct Key {
    material: Material,
    /// Its name in a set of keys (`kid`).
    pub(super) id: Option<Box<str>>,
    /// The one algorithm that it is for.
    pub(super) only: Option<Algorithm>,
}

#[derive(Clone)]
enum Material {
    /// For SHA-256, SHA-384, SHA-512: so that nothing is derived at a check.
    Secret(Box<[hmac::Key; 3]>),
    /// Big-endian, without zeroes before them.
    Rsa {
        modulus: Box<[u8]>,
        exponent: Box<[u8]>,
    },
    /// A point of the curve, not compressed (SEC 1 §2.3.3): `04`, x, y.
    P256(Box<[u8; 65]>),
    P384(Box<[u8; 97]>),
    /// RFC 8032 §5.1.5.
    Ed25519([u8; 32]),
}

impl Key {
    /// The bytes of a secret as they stand. RFC 7518 §3.2 wants as many as the hash has: 32 for
    /// HS256. Fewer work, as they do for others.
    pub fn secret(secret: &[u8]) -> Result<Self, KeyError> {
        if secret.is_empty() {
            return Err(KeyError::EmptySecret);
        }
        let keys = [hmac::HMAC_SHA256, hmac::HMAC_SHA384, hmac::HMAC_SHA512]
            .map(|algorithm| hmac::Key::new(algorithm, secret));
        Ok(Self::of(Material::Secret(Box::new(keys))))
    }

    pub(super) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        let trimmed = |number: &[u8]| -> Box<[u8]> {
            let zeroes = number.iter().take_while(|&&byte| byte == 0).count();
            number[zeroes..].into()
        };
        let (modulus, exponent) = (trimmed(modulus), trimmed(exponent));
        let top = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
        let bits = modulus.len() * 8 - top;
        // What ring takes.
        if !(2048..=8192).contains(&bits) {
            return Err(KeyError::RsaBits(bits));
        }
        let odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
        if !odd(&modulus) || !odd(&exponent) || *exponent == [1] || exponent.len() > 4 {
            return Err(KeyError::Malformed("an RSA key with an impossible number"));
        }
        Ok(Self::of(Material::Rsa { modulus, exponent }))
    }

    pub(super) fn p256(point: &[u8]) -> Result<Self, KeyError> {
        Ok(Self::of(Material::P256(Box::new(uncompressed(point)?))))
    }

    pub(super) fn p384(point: &[u8]) -> Result<Self, KeyError> {
        Ok(Self::of(Material::P384(Box::new(uncompressed(point)?))))
    }

    pub(super) fn ed25519(point: &[u8]) -> Result<Self, KeyError> {
        let point = point.try_into();
        let point = point.map_err(|_| KeyError::Malformed("an Ed25519 key of not 32 bytes"))?;
        Ok(Self::of(Material::Ed25519(point)))
    }

    fn of(material: Material) -> Self {
        Self { material, id: None, only: None }
    }

    /// What it can check.
    pub fn family(&self) -> Family {
        match self.material {
            Material::Secret(_) => Family::Secret,
            Material::Rsa { .. } => Family::Rsa,
            Material::P256(_) => Family::P256,
            Material::P384(_) => Family::P384,
            Material::Ed25519(_) => Family::Ed25519,
        }
    }

    /// Whether signatures of that algorithm are checked with it.
    pub fn is_for(&self, algorithm: Algorithm) -> bool {
        self.only.map_or(self.family() == algorithm.family(), |only| only == algorithm)
    }

    /// Whether `signature` over `message` was made with its other half. Of an algorithm that it is
    /// not for no signature is right.
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.is_for(algorithm) {
            return false;
        }
        match &self.material {
            Material::Secret(keys) => {
                let key = match algorithm {
                    Algorithm::HS256 => &keys[0],
                    Algorithm::HS384 => &keys[1],
                    Algorithm::HS512 => &keys[2],
                    _ => return false,
                };
                hmac::verify(key, message, signature).is_ok()
            }
            Material::Rsa { modulus, exponent } => {
                let Some(parameters) = rsa_parameters(algorithm) else { return false };
                let key = RsaPublicKeyComponents { n: &**modulus, e: &**exponent };
                key.verify(parameters, message, signature).is_ok()
            }
            Material::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point[..])
                .verify(message, signature)
                .is_ok(),
            Material::P384(point) => UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, &point[..])
                .verify(message, signature)
                .is_ok(),
            Material::Ed25519(point) => {
                UnparsedPublicKey::new(&ED25519, point).verify(message, signature).is_ok()
            }
        }
    }
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::RS256 => &RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

/// A point that has both coordinates. Whether it lies on the curve is looked at with each
/// signature.
fn uncompressed<const LENGTH: usize>(point: &[u8]) -> Result<[u8; LENGTH], KeyError> {
    match <[u8; LENGTH]>::try_from(point) {
        Ok(point) if point[0] == 4 => Ok(point),
        _ => Err(KeyError::Malformed("an EC key whose point is compressed, or of another length")),
    }
}

/// Secrets stand in no log.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("family", &self.family()).field("id", &self.id).finish()
    }
}

//! Who we are, by a key: `nkey` seeds, and `.creds` files with a token and its key.
//!
//! The server sends a nonce, and we send it back signed (Ed25519). A seed is base32 of a byte that
//! says it is one (`S`), what it is of (`U`: a user), 32 bytes and a CRC-16.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use data_encoding::BASE32_NOPAD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use crate::secret::Secret;

/// `S`, above the three bits that the next prefix begins with.
const SEED: u8 = 18 << 3;
/// `U`
const USER: u8 = 20 << 3;

/// The secret half of a user's key.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed([u8; 32]);

/// A token, and the key that it was given out for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// As the server takes it.
    pub jwt: Secret,
    /// Of the same user.
    pub seed: Seed,
}

/// What is wrong with a seed, or with a file. It shows nothing of either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NkeyError {
    /// Misspelt, cut off, or something else.
    #[error("is no seed of an nkey: 58 letters and digits that begin with SU")]
    NoSeed,
    /// `SA…`, `SO…`
    #[error("is a seed, but not a user's: those begin with SU")]
    NotOfAUser,
    /// Some part is missing.
    #[error(
        "is no file of credentials: it has a block BEGIN NATS USER JWT and a block BEGIN USER NKEY \
         SEED"
    )]
    NoCredentials,
}

impl Seed {
    /// Reads `SU…`.
    pub fn parse(text: &str) -> Result<Self, NkeyError> {
        let bytes = BASE32_NOPAD.decode(text.trim().as_bytes()).map_err(|_| NkeyError::NoSeed)?;
        let (body, sum) = bytes.split_last_chunk::<2>().ok_or(NkeyError::NoSeed)?;
        let [first, second, seed @ ..] = body else { return Err(NkeyError::NoSeed) };
        let seed: [u8; 32] = seed.try_into().map_err(|_| NkeyError::NoSeed)?;
        if crc16(body) != u16::from_le_bytes(*sum) || first & 0b1111_1000 != SEED {
            return Err(NkeyError::NoSeed);
        }
        // Eight bits of the two bytes, behind five.
        if (first << 5) | (second >> 3) != USER {
            return Err(NkeyError::NotOfAUser);
        }
        Ok(Self(seed))
    }

    /// Signs a nonce: `sig` of CONNECT. With the public half, `nkey`.
    pub fn sign(&self, nonce: &str) -> (String, String) {
        // The seed has the right length.
        let pair = Ed25519KeyPair::from_seed_unchecked(&self.0).expect("32 bytes");
        let mut public = vec![USER];
        public.extend_from_slice(pair.public_key().as_ref());
        public.extend_from_slice(&crc16(&public).to_le_bytes());
        let signature = URL_SAFE_NO_PAD.encode(pair.sign(nonce.as_bytes()));
        (signature, BASE32_NOPAD.encode(&public))
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Credentials {
    /// Reads the text of a `.creds` file, as `nsc` writes it.
    pub fn parse(text: &str) -> Result<Self, NkeyError> {
        let mut blocks = text.lines().filter_map({
            let mut begun = false;
            move |line| {
                let line = line.trim();
                let border = line.starts_with("---") && line.ends_with("---");
                let first = begun && !border && !line.is_empty();
                begun = border && line.contains("BEGIN") || begun && !first && !border;
                first.then_some(line)
            }
        });
        let jwt = blocks.next().ok_or(NkeyError::NoCredentials)?;
        let seed = blocks.next().ok_or(NkeyError::NoCredentials)?;
        Ok(Self { jwt: Secret(jwt.to_owned()), seed: Seed::parse(seed)? })
    }
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ (u16::from(*byte) << 8), |sum, _| match sum & 0x8000 {
            0 => sum << 1,
            _ => (sum << 1) ^ 0x1021,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seed 0, 1, … 31, as Python's `nkeys` writes it, of a user and of an account.
    const USERS: &str = "SUAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H776Y";
    const ACCOUNTS: &str = "SAAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4HYMHI";

    #[test]
    fn a_nonce_is_signed_as_others_sign_it() {
        let seed = Seed::parse(USERS).unwrap();
        let (signature, public) = seed.sign("PXoWU7zWAMt75FY");
        assert_eq!(public, "UAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3RLKK");
        assert_eq!(
            signature,
            "bnxg5G8aOV2LQdSE_lcM9clxm_fbTTZxsqQ1EpTNgJXmH6z5ezesd49kXfuNhoAqw_DmEtsGcNsJdug9wMuRDQ"
        );
        assert_eq!(format!("{seed:?}"), "(hidden)");
    }

    #[test]
    fn what_is_no_seed_of_a_user_is_refused_without_showing_it() {
        for text in ["", "SU", "hunter2", &USERS[..57], &USERS.replace('4', "5"), "ÄÄ"] {
            assert_eq!(Seed::parse(text), Err(NkeyError::NoSeed), "{text}");
        }
        assert_eq!(Seed::parse(ACCOUNTS), Err(NkeyError::NotOfAUser));
        assert!(Seed::parse(&format!(" {USERS}\n")).is_ok());
    }

    #[test]
    fn a_file_of_credentials_has_a_token_and_a_seed() {
        let file = format!(
            "-----BEGIN NATS USER JWT-----\r\neyJ0.eyJq.sig\r\n------END NATS USER JWT------\r\n\r\n\
             ************************* IMPORTANT *************************\r\n\
             NKEY Seed printed below can be used to sign and prove identity.\r\n\r\n\
             -----BEGIN USER NKEY SEED-----\r\n{USERS}\r\n------END USER NKEY SEED------\r\n"
        );
        let credentials = Credentials::parse(&file).unwrap();
        assert_eq!(credentials.jwt.0, "eyJ0.eyJq.sig");
        assert_eq!(credentials.seed, Seed::parse(USERS).unwrap());
        assert!(!format!("{credentials:?}").contains("eyJ0"));
        for part in ["", "hello", &file[..80], USERS] {
            assert_eq!(Credentials::parse(part), Err(NkeyError::NoCredentials), "{part}");
        }
    }

    #[test]
    fn the_check_sum_is_the_one_of_xmodem() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
    }
}

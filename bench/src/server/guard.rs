//! Who guards a server: what is asked about each of its clients, and what they bring for it.

use std::path::Path;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

use super::callback;

/// Lets everybody in: a worker of PHP without any package, so that little but the asking is
/// measured.
const WORKER: &str = include_str!("worker.php");

/// What tokens of HS256 are signed with.
const SECRET: &str = "a secret of the bench alone, longer than 32 bytes";

/// Processes of PHP.
pub const WORKERS: usize = 2;

/// In front of a point of P-256, in a public key (RFC 5480 §2).
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A way to guard a server, as `guard=` of a spec names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Joins by rules, of which the tenth decides.
    Rules,
    /// Tokens that are signed by a secret; joins by their claim.
    Hs256,
    /// Tokens that are signed by a key of P-256; joins by their claim.
    Es256,
    /// PHP workers, at the upgrade and at the join.
    Workers,
    /// A callback over HTTP, at both.
    Callback,
}

/// A guard that stands.
#[derive(Debug, Default)]
pub struct Post {
    /// Sections of the server's configuration, YAML.
    pub sections: String,
    /// Lines of each client's upgrade request.
    pub headers: String,
}

impl std::str::FromStr for Guard {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        Ok(match name {
            "rules" => Self::Rules,
            "hs256" => Self::Hs256,
            "es256" => Self::Es256,
            "workers" => Self::Workers,
            "callback" => Self::Callback,
            _ => bail!("guard={name}: there are rules, hs256, es256, workers, callback"),
        })
    }
}

impl Guard {
    /// Puts it before a Roadcast. `delay` is how long a worker takes, µs.
    pub fn post(self, scratch: &Path, delay: &str) -> Result<Post> {
        let access = |inner: &str| format!("roadcast:\n  access:\n{inner}");
        Ok(match self {
            Self::Rules => {
                let others: String = (0..9)
                    .map(|n| format!("      - {{ topics: \"other{n}.*.news\", join: deny }}\n"))
                    .collect();
                let last = "      - { topics: \"*\", join: allow }\n";
                let sections = access(&format!("    rules:\n{others}{last}"));
                Post { sections, ..Post::default() }
            }
            Self::Hs256 => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
                let token = token("HS256", |text| Ok(hmac::sign(&key, text).as_ref().to_vec()))?;
                Post {
                    sections: access(&format!("    jwt: {{ secret: \"{SECRET}\" }}\n")),
                    headers: bearer(&token),
                }
            }
            Self::Es256 => {
                let random = SystemRandom::new();
                let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let made = EcdsaKeyPair::generate_pkcs8(algorithm, &random).and_then(|pair| {
                    EcdsaKeyPair::from_pkcs8(algorithm, pair.as_ref(), &random)
                        .map_err(|_| ring::error::Unspecified)
                });
                let pair = made.ok().context("a key of P-256")?;
                let token = token("ES256", |text| {
                    let signature = pair.sign(&random, text).ok().context("signing a token")?;
                    Ok(signature.as_ref().to_vec())
                })?;
                let public = STANDARD.encode([&P256[..], pair.public_key().as_ref()].concat());
                let lines = format!(
                    "    jwt:\n      public_key: |\n        -----BEGIN PUBLIC KEY-----\n        {public}\n        -----END PUBLIC KEY-----\n"
                );
                Post { sections: access(&lines), headers: bearer(&token) }
            }
            Self::Callback => {
                let url = format!("http://{}/", callback::start()?);
                let sections = access(&format!("    http: {{ url: \"{url}\" }}\n"));
                Post { sections, ..Post::default() }
            }
            Self::Workers => {
                let command = worker(scratch, delay)?;
                Post {
                    sections: format!(
                        "server: {{ command: \"{command}\" }}\nwebsockets: {{ pool: {{ num_workers: {WORKERS} }} }}\n"
                    ),
                    ..Post::default()
                }
            }
        })
    }
}

/// The command of a worker that lets everybody in, `delay` µs later.
pub fn worker(scratch: &Path, delay: &str) -> Result<String> {
    let file = scratch.join("worker.php");
    std::fs::write(&file, WORKER).with_context(|| file.display().to_string())?;
    Ok(format!("php {} {delay}", file.display()))
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// A token that is good until the year 2100, for all topics.
fn token(algorithm: &str, sign: impl FnOnce(&[u8]) -> Result<Vec<u8>>) -> Result<String> {
    let head = format!(r#"{{"alg":"{algorithm}","typ":"JWT"}}"#);
    let claims = r#"{"sub":"7","exp":4102444800,"topics":["*"]}"#;
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(head), URL_SAFE_NO_PAD.encode(claims));
    let signature = sign(text.as_bytes())?;
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

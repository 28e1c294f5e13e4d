//! Tokens whose keys are fetched: real HTTP, keys and signatures of `openssl`.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::service::{Authority, Service};
use super::{bearer, in_seconds, metric, ready};
use crate::common::cli::unused;
use crate::common::{
    Client, PATIENCE, Server, eventually, http, installed, read_http, roadcast, upgrade_request,
};

/// Who signs tokens, by a key of its own (RS256).
struct Signer {
    name: &'static str,
    key: PathBuf,
}

impl Signer {
    /// `None` without openssl.
    fn create(name: &'static str) -> Option<Self> {
        if !installed("openssl") {
            return None;
        }
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let file = format!("signer-{}-{next}.pem", std::process::id());
        let signer = Self { name, key: Path::new(env!("CARGO_TARGET_TMPDIR")).join(file) };
        signer.openssl(&["genrsa", "-out"], &["2048"], b"");
        Some(signer)
    }

    /// Runs it with the key's file between these arguments: what it prints.
    fn openssl(&self, before: &[&str], behind: &[&str], input: &[u8]) -> Vec<u8> {
        let mut openssl = Command::new("openssl")
            .args(before)
            .arg(&self.key)
            .args(behind)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl starts");
        openssl.stdin.take().unwrap().write_all(input).unwrap();
        let output = openssl.wait_with_output().unwrap();
        assert!(output.status.success());
        output.stdout
    }

    /// The public key, as a set of keys has it.
    fn jwk(&self) -> String {
        let printed = self.openssl(&["rsa", "-in"], &["-modulus", "-noout"], b"");
        let printed = String::from_utf8(printed).unwrap();
        let digits = printed.trim().strip_prefix("Modulus=").unwrap();
        let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        let modulus: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
        let modulus = URL_SAFE_NO_PAD.encode(modulus);
        format!(r#"{{"kty":"RSA","kid":"{}","use":"sig","e":"AQAB","n":"{modulus}"}}"#, self.name)
    }

    fn token(&self) -> String {
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let header = format!(r#"{{"alg":"RS256","typ":"JWT","kid":"{}"}}"#, self.name);
        let claims = format!(r#"{{"sub":"7","exp":{},"topics":["news"]}}"#, in_seconds(600));
        let message = format!("{}.{}", encoded(&header), encoded(&claims));
        let signature = self.openssl(&["dgst", "-sha256", "-sign"], &[], message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn set(keys: &[&Signer]) -> String {
    let keys: Vec<String> = keys.iter().map(|signer| signer.jwk()).collect();
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

fn overrides(url: &str) -> Vec<String> {
    let own =
        [format!("roadcast.access.jwt.jwks={url}"), "roadcast.metrics.address=127.0.0.1:0".into()];
    own.into_iter().chain(["roadcast.status.address=127.0.0.1:0".into()]).collect()
}

/// A server that fetches its keys there.
fn server(url: &str) -> Server {
    let overrides = overrides(url);
    let overrides: Vec<&str> = overrides.iter().map(String::as_str).collect();
    Server::start(&overrides)
}

/// One that has fetched these.
fn with_keys(keys: &[&Signer]) -> Option<(Server, Service)> {
    let service = Service::start()?;
    service.put_keys(200, &set(keys));
    let server = server(&format!("http://{}/keys", service.address));
    eventually("keys are there", || ready(&server).0 == 200);
    Some((server, service))
}

fn status(server: &Server, token: &str) -> u16 {
    bearer(server.clients, token).err().unwrap_or(101)
}

#[test]
fn a_token_that_is_signed_with_a_fetched_key_lets_in() {
    let (Some(signer), Some(stranger)) = (Signer::create("a"), Signer::create("b")) else { return };
    let Some((server, service)) = with_keys(&[&signer]) else { return };
    bearer(server.clients, &signer.token()).unwrap().join(&["news"]);
    for _ in 0..20 {
        assert_eq!(status(&server, &stranger.token()), 401);
    }
    // At most once in 10 s, whatever clients send.
    assert!(service.fetched() <= 3, "{}", service.fetched());
    let log = server.says("keys for tokens fetched", 1);
    assert!(log.contains("keys=1"), "{log}");
    assert_eq!(metric(&server, "jwks_keys", &[]), 1);
}

#[test]
fn a_key_that_is_new_works_without_a_restart_and_one_that_has_gone_no_more() {
    let (Some(old), Some(new)) = (Signer::create("old"), Signer::create("new")) else { return };
    let Some((server, service)) = with_keys(&[&old]) else { return };
    service.put_keys(200, &set(&[&new]));
    let token = new.token();
    eventually("the new key is fetched", || status(&server, &token) == 101);
    assert_eq!(status(&server, &old.token()), 401);
    assert_eq!(metric(&server, "jwks_fetches_total", &[]), 2);
}

#[test]
fn keys_go_on_while_their_source_is_down_or_answers_5_mb() {
    let (Some(known), Some(new)) = (Signer::create("known"), Signer::create("new")) else { return };
    let Some((server, service)) = with_keys(&[&known]) else { return };
    let failed = || metric(&server, "jwks_fetches_failed_total", &[]);
    service.put_keys(200, &" ".repeat(5_000_000));
    let token = new.token();
    eventually("it is fetched", || status(&server, &token) == 401 && failed() > 0);
    assert_eq!(status(&server, &known.token()), 101);
    let log = server.says("cannot fetch keys for tokens", 1);
    assert!(log.contains("the answer has more than 256 KiB") && log.contains("keys=1"), "{log}");
    for (code, body) in [(500, String::new()), (302, set(&[&new])), (200, "<html>".into())] {
        service.put_keys(code, &body);
        let before = failed();
        eventually("it is fetched again", || failed() > before);
        assert_eq!((status(&server, &known.token()), ready(&server).0), (101, 200));
    }
    drop(service);
    let before = failed();
    eventually("nobody is there", || failed() > before);
    assert_eq!((status(&server, &known.token()), ready(&server).0), (101, 200));
    server.says("cannot fetch keys for tokens", 1);
}

#[test]
fn without_keys_at_the_start_tokens_are_refused_with_503_until_they_are_there() {
    let Some(signer) = Signer::create("a") else { return };
    let address = unused();
    let server = server(&format!("http://{address}/keys"));
    eventually("it says so", || ready(&server).1.contains("no keys for tokens"));
    let authorization = format!("Authorization: Bearer {}", signer.token());
    let request = upgrade_request("/ws", &[&authorization]);
    let answer = http(server.clients, request.as_bytes());
    assert_eq!((answer.status, ready(&server).0), (503, 503));
    assert!(answer.header("Retry-After").is_some(), "{}", answer.head);

    let port = address.rsplit_once(':').unwrap().1;
    let Some(service) = Service::start_at(port.parse().unwrap()) else { return };
    service.put_keys(200, &set(&[&signer]));
    eventually("they are there", || status(&server, &signer.token()) == 101);
    assert_eq!(ready(&server).0, 200);
}

#[test]
fn a_token_waits_for_the_first_fetch_and_deliveries_do_not() {
    let Some(signer) = Signer::create("a") else { return };
    // It accepts, and says nothing.
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/keys", hangs.local_addr().unwrap());
    let path = format!("{}/hangs-{}.yaml", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let file = format!(
        "roadcast:\n  access:\n    jwt: {{ jwks: \"{url}\", required: false }}\n    \
         rules: [ {{ topics: \"open.*\", join: allow }} ]\n"
    );
    std::fs::write(&path, file).unwrap();
    let mut server = Server::start_with(&["-c", &path], &[]);
    let authorization = format!("Authorization: Bearer {}", signer.token());
    let mut waits = TcpStream::connect(server.clients).unwrap();
    waits.set_read_timeout(Some(PATIENCE)).unwrap();
    waits.write_all(upgrade_request("/ws", &[&authorization]).as_bytes()).unwrap();
    let mut client = Client::connect(server.clients, "/ws").unwrap();
    client.join(&["open.x"]);
    server.publisher().publish(&["open.x"], b"meanwhile");
    client.expect("open.x", "meanwhile");
    assert_eq!(read_http(&mut waits).unwrap().status, 503);
    server.signal(libc::SIGTERM);
    assert!(server.wait().success());
}

#[test]
fn keys_are_fetched_over_tls_from_whom_the_system_trusts() {
    let Some(authority) = Authority::create() else { return };
    let Some(service) = Service::start_tls(&authority.server, &authority.server_key) else {
        return;
    };
    let overrides = overrides(&format!("https://localhost:{}/keys", service.address.port()));
    let overrides: Vec<&str> = overrides.iter().map(String::as_str).collect();
    let started = |trusted: &Path| {
        let mut command = roadcast();
        command.arg("serve").env("SSL_CERT_FILE", trusted);
        Server::start_by(command, &overrides)
    };
    let server = started(&authority.certificate);
    // Nothing was put there.
    server.says("the answer has the status 404", 1);
    let other = Authority::create().unwrap();
    started(&other.certificate).says("invalid peer certificate", 1);
    // Or whom it has been told to trust, whatever the system does.
    let ca = format!("roadcast.access.jwt.jwks_ca={}", authority.certificate.display());
    let overrides = [&overrides[..], &[&ca]].concat();
    let mut command = roadcast();
    command.arg("serve").env("SSL_CERT_FILE", &other.certificate);
    Server::start_by(command, &overrides).says("the answer has the status 404", 1);
}

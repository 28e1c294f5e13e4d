//! Goal: tokens that other programs sign are taken: `openssl` with keys that it makes, and the
//! examples of docs/access.md. Method: the programs themselves, with new keys each time.

#[path = "../common/skip.rs"]
mod skip;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use roadcast::access::token::{Demands, Key, TokenFault, check};

fn directory() -> PathBuf {
    let path = format!("{}/openssl-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    std::fs::create_dir_all(&path).expect("a directory for the test");
    path.into()
}

#[track_caller]
fn openssl(arguments: &str, files: &[&Path], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new("openssl");
    let mut files = files.iter();
    for argument in arguments.split(' ') {
        match argument {
            "FILE" => command.arg(files.next().expect("a file for each place")),
            _ => command.arg(argument),
        };
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("openssl starts");
    child.stdin.take().expect("it is piped").write_all(input).expect("openssl reads");
    let output = child.wait_with_output().expect("openssl ends");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// `SEQUENCE { INTEGER, INTEGER }` as r and s of 32 or 48 bytes each (RFC 7518 §3.4).
fn fixed(der: &[u8], length: usize) -> Vec<u8> {
    let mut rest = &der[2..];
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let (number, behind) = rest[2..].split_at(usize::from(rest[1]));
        let number = number.strip_prefix(&[0]).unwrap_or(number);
        numbers.extend(std::iter::repeat_n(0, length - number.len()));
        numbers.extend(number);
        rest = behind;
    }
    numbers
}

#[test]
fn tokens_signed_by_openssl_are_taken() {
    if !skip::installed("openssl") {
        return;
    }
    let directory = directory();
    let private = directory.join("private.pem");
    let message = directory.join("message");
    for (algorithm, make, sign) in [
        ("RS256", "RSA -pkeyopt rsa_keygen_bits:2048", "dgst -sha256 -sign FILE FILE"),
        ("RS512", "RSA -pkeyopt rsa_keygen_bits:4096", "dgst -sha512 -sign FILE FILE"),
        (
            "PS256",
            "RSA -pkeyopt rsa_keygen_bits:2048",
            "dgst -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest \
             -sign FILE FILE",
        ),
        ("ES256", "EC -pkeyopt ec_paramgen_curve:P-256", "dgst -sha256 -sign FILE FILE"),
        ("ES384", "EC -pkeyopt ec_paramgen_curve:P-384", "dgst -sha384 -sign FILE FILE"),
        ("EdDSA", "ED25519", "pkeyutl -sign -inkey FILE -rawin -in FILE"),
    ] {
        openssl(&format!("genpkey -algorithm {make} -out FILE"), &[&private], b"");
        let public = openssl("pkey -in FILE -pubout", &[&private], b"");
        let public = String::from_utf8(public).expect("PEM");
        let part = |json: String| URL_SAFE_NO_PAD.encode(json);
        let header = part(format!(r#"{{"alg":"{algorithm}","typ":"JWT"}}"#));
        let signed = format!("{header}.{}", part(r#"{"sub":"7","exp":1000}"#.into()));
        std::fs::write(&message, &signed).expect("a file for the test");
        let signature = openssl(sign, &[&private, &message], b"");
        let signature = match algorithm {
            "ES256" => fixed(&signature, 32),
            "ES384" => fixed(&signature, 48),
            _ => signature,
        };
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));

        let keys = [Key::pem(&public).expect("a public key")];
        let judged = |token: &str| {
            let now = UNIX_EPOCH + Duration::from_secs(999);
            check(token.as_bytes(), &keys, &Demands::default(), now)
        };
        let accepted = judged(&token).unwrap_or_else(|fault| panic!("{algorithm}: {fault:?}"));
        assert_eq!(accepted.identity.user.as_deref(), Some("7"));
        assert_eq!(accepted.expires_in, Some(Duration::from_secs(1)));
        // The user 8.
        let other = token.replacen("OiI3", "OiI4", 1);
        assert_ne!(other, token, "something is changed");
        assert_eq!(judged(&other), Err(TokenFault::Signature), "{algorithm}");

        let private = std::fs::read_to_string(&private).expect("the key");
        let error = Key::pem(&private).unwrap_err().to_string();
        assert!(error.contains("private key"), "{error}");
    }
    std::fs::remove_dir_all(directory).expect("the directory of the test");
}

/// The code block in `language` of the document that contains `mark`.
fn example(language: &str, mark: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/access.md");
    let text = std::fs::read_to_string(path).expect("the document is there");
    let begin = format!("{language}\n");
    let mut blocks = text.split("\n```");
    let block = blocks.find(|block| block.starts_with(&begin) && block.contains(mark));
    block.unwrap_or_else(|| panic!("no block of {language} with `{mark}`"))[begin.len()..].into()
}

/// Runs the example, and has its token checked.
fn sign(program: &str, arguments: &[&str]) {
    let secret = "a secret of the test, which is long enough";
    let output = Command::new(program).args(arguments).env("JWT_SECRET", secret).output();
    let output = output.expect("it starts");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let token = output.stdout.trim_ascii();
    let keys = [Key::secret(secret.as_bytes()).expect("a secret")];
    let accepted = check(token, &keys, &Demands::default(), SystemTime::now()).expect("a token");
    assert_eq!(accepted.identity.user.as_deref(), Some("7"));
    assert_eq!(accepted.identity.topics.map(|topics| topics.len()), Some(2));
    let left = accepted.expires_in.expect("it expires");
    assert!(left <= Duration::from_secs(3600) && left > Duration::from_secs(3000), "{left:?}");
}

#[test]
fn the_php_example_of_the_document_signs_a_token() {
    if skip::installed("php") {
        sign("php", &["-r", example("php", "hash_hmac").trim_start_matches("<?php")]);
    }
}

#[test]
fn the_shell_example_of_the_document_signs_a_token() {
    if skip::installed("openssl") {
        sign("sh", &["-c", &example("sh", "openssl dgst")]);
    }
}

#[test]
fn the_shell_example_of_a_key_pair_signs_a_token_that_the_public_key_is_for() {
    if !skip::installed("openssl") || !skip::installed("xxd") {
        return;
    }
    let directory = std::env::temp_dir().join(format!("roadcast-pair-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory of its own");
    let run = |text: &str| {
        let output = Command::new("sh").args(["-c", text]).current_dir(&directory).output();
        let output = output.expect("it starts");
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        output.stdout
    };
    run(&example("sh", "openssl ecparam"));
    let public = std::fs::read_to_string(directory.join("public.pem")).expect("the key");
    // One number in 256 is shorter than the others.
    for _ in 0..20 {
        let token = run(&example("sh", "ES256"));
        let keys = [Key::pem(&public).expect("a public key")];
        let accepted = check(token.trim_ascii(), &keys, &Demands::default(), SystemTime::now());
        assert_eq!(accepted.expect("a token").identity.user.as_deref(), Some("7"));
    }
    std::fs::remove_dir_all(directory).expect("the directory of the test");
}

//! Who we are, and what ends a start.

use super::server::{Nats, file_path, node, settings};
use crate::common::{roadcast, skip};

#[test]
fn who_we_are_is_said_by_token_user_or_key() {
    const SEED: &str = "SUAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H776Y";
    const PUBLIC: &str = "UAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3RLKK";
    let nkey = format!("authorization {{ users: [ {{ nkey: {PUBLIC} }} ] }}");
    let file = file_path("seed");
    std::fs::write(&file, format!("{SEED}\n")).unwrap();
    for (lines, options) in [
        ("authorization { token: t0ken }", vec!["token=t0ken".to_owned()]),
        ("authorization { user: u, password: \"p w\" }", {
            vec!["user=u".to_owned(), "password=p w".to_owned()]
        }),
        (&nkey, vec![format!("nkey={SEED}")]),
        (&nkey, vec![format!("nkey={}", file.display())]),
    ] {
        let Some(nats) = Nats::start(lines) else { return };
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let server = node(&nats.address(), &options, &[]);
        let mut browser = server.client();
        browser.join(&["a"]);
        server.publisher().publish(&["a"], b"x");
        browser.expect("a", "x");
    }
    let Some(nats) = Nats::start("authorization { user: u, password: p }") else { return };
    let server = node(&format!("nats://u:p@{}", nats.address()), &[], &[]);
    server.client().join(&["a"]);
}

/// What a start says that ends at once.
fn refused_start(address: &str, options: &[&str]) -> String {
    let mut command = roadcast();
    command.arg("serve");
    let usual = ["roadcast.http.address=127.0.0.1:0", "roadcast.rpc.listen=tcp://127.0.0.1:0"];
    let settings = settings(address, options);
    for setting in usual.into_iter().chain(settings.iter().map(String::as_str)) {
        command.args(["-o", setting]);
    }
    let output = command.output().expect("it ends");
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_waiting_cannot_mend_ends_the_start() {
    let Some(nats) = Nats::start("authorization { user: u, password: p }") else { return };
    let said = refused_start(&nats.address(), &["user=u", "password=hunter2"]);
    assert!(said.contains("Authorization Violation") && said.contains(&nats.address()), "{said}");
    assert!(said.contains("broker \"bus\"") && !said.contains("hunter2"), "{said}");
    assert!(said.contains("check `user` and `password`"), "{said}");
    let said = refused_start(&nats.address(), &[]);
    assert!(said.contains("Authorization Violation"), "{said}");
    assert!(said.contains("set `user` and `password`, `token`, `nkey` or `creds`"), "{said}");
    let said = refused_start(&nats.address(), &["token=hunter2"]);
    assert!(said.contains("check `token`") && !said.contains("hunter2"), "{said}");
    let said = refused_start(&format!("nats://u:hunter2@{}", nats.address()), &[]);
    assert!(said.contains("check who stands before its address in `addrs`"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");

    // Some other server: one that greets, and one that answers.
    for greeting in ["SSH-2.0-OpenSSH_9.2\r\n", ""] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let other = std::thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(greeting.as_bytes()).unwrap();
            if greeting.is_empty() {
                let mut ping = [0; 6];
                stream.read_exact(&mut ping).unwrap();
                stream.write_all(b"+PONG\r\n").unwrap();
            }
            let _ = stream.read(&mut [0; 100]);
        });
        let said = refused_start(&format!("127.0.0.1:{port}"), &[]);
        assert!(said.contains("it is not NATS"), "{said}");
        other.join().unwrap();
    }
}

#[test]
fn a_server_over_tls_is_believed_by_its_certificate() {
    let (key, certificate) = (file_path("key"), file_path("certificate"));
    let [key, certificate] = [&key, &certificate].map(|path| path.display().to_string());
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=nats.test", "-addext", "subjectAltName=DNS:nats.test"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", &key, "-out", &certificate])
        .output();
    if !made.is_ok_and(|made| made.status.success()) {
        return skip("openssl makes no certificate");
    }
    let lines = format!("tls {{ cert_file: {:?}, key_file: {:?} }}", certificate, key);
    let Some(nats) = Nats::start(&lines) else { return };
    let said = refused_start(&nats.address(), &[]);
    assert!(said.contains("the server speaks TLS alone"), "{said}");
    let ca = format!("tls.ca={certificate}");
    let said = refused_start(&nats.address(), &[&ca]);
    assert!(said.contains("TLS: "), "{said}");
    let server = node(&nats.address(), &[&ca, "tls.server_name=nats.test"], &[]);
    let mut browser = server.client();
    browser.join(&["a"]);
    server.publisher().publish(&["a"], b"x");
    browser.expect("a", "x");
    drop(server);
    let Some(plain) = Nats::start("") else { return };
    let said = refused_start(&plain.address(), &[&ca]);
    assert!(said.contains("offers no TLS"), "{said}");
}

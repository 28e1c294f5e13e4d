//! An application behind HTTP: `service.py`, also over TLS, with certificates that `openssl` makes.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::common::{http, installed};

/// The application, while it runs.
pub struct Service {
    process: Child,
    pub address: SocketAddr,
}

impl Service {
    /// `None` without Python.
    pub fn start() -> Option<Self> {
        Self::run(0, &[])
    }

    /// At a port that is free.
    pub fn start_at(port: u16) -> Option<Self> {
        Self::run(port, &[])
    }

    /// Over TLS, with the certificate and the key of these files.
    pub fn start_tls(certificate: &Path, key: &Path) -> Option<Self> {
        Self::run(0, &[certificate, key])
    }

    fn run(port: u16, arguments: &[&Path]) -> Option<Self> {
        if !installed("python3") {
            return None;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/access/service.py");
        let mut process = Command::new("python3")
            .arg(script)
            .args(arguments)
            .env("PORT", port.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let mut port = String::new();
        let mut printed = BufReader::new(process.stdout.take().unwrap());
        printed.read_line(&mut port).unwrap();
        let port = port.trim().parse().expect("a port");
        Some(Self { process, address: (Ipv4Addr::LOCALHOST, port).into() })
    }

    /// What it was asked; not over TLS.
    pub fn asked(&self) -> Vec<Value> {
        self.told("/asked")["asked"].as_array().unwrap().clone()
    }

    /// How many questions were under way at once; not over TLS.
    pub fn most(&self) -> u64 {
        self.told("/asked")["most"].as_u64().unwrap()
    }

    /// Has `/keys` answered so from now on; not over TLS.
    pub fn put_keys(&self, status: u16, body: &str) {
        let length = body.len();
        let request = format!(
            "PUT /keys HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Status: {status}\r\n\
             Cache-Control: max-age=3600\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        assert_eq!(http(self.address, request.as_bytes()).status, 200);
    }

    /// How often the keys were fetched; not over TLS.
    pub fn fetched(&self) -> u64 {
        self.told("/fetched").as_u64().unwrap()
    }

    fn told(&self, path: &str) -> Value {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        serde_json::from_slice(&http(self.address, request.as_bytes()).body).unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A certificate authority, and a certificate for `localhost` and 127.0.0.1 of it.
pub struct Authority {
    pub certificate: PathBuf,
    pub server: PathBuf,
    pub server_key: PathBuf,
}

impl Authority {
    /// `None` without openssl.
    pub fn create() -> Option<Self> {
        if !installed("openssl") {
            return None;
        }
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let unique = format!("ca-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(unique);
        std::fs::create_dir_all(&directory).unwrap();
        let openssl = |arguments: &str| {
            let output = Command::new("openssl")
                .args(arguments.split(' '))
                .current_dir(&directory)
                .output()
                .expect("openssl starts");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
        openssl(&format!("{new} -subj /CN=tests -keyout ca.key -out ca.pem"));
        openssl(&format!(
            "{new} -subj /CN=localhost -keyout server.key -out server.pem -CA ca.pem -CAkey ca.key \
             -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE"
        ));
        let file = |name: &str| directory.join(name);
        Some(Self {
            certificate: file("ca.pem"),
            server: file("server.pem"),
            server_key: file("server.key"),
        })
    }
}

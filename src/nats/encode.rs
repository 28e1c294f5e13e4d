//! What we say to a server. Subjects are literal ([`subject`](super::subject())): nothing here
//! looks at them again.

use serde::Serialize;

/// `PING`
pub const PING: &[u8] = b"PING\r\n";
/// `PONG`
pub const PONG: &[u8] = b"PONG\r\n";

/// `CONNECT`: who we are, and how we want it. Without acknowledgements of each line, with our own
/// messages, without headers, which servers leave off for us.
#[derive(Clone, Default, Serialize)]
pub struct Connect<'a> {
    verbose: bool,
    pedantic: bool,
    headers: bool,
    echo: bool,
    lang: &'static str,
    version: &'static str,
    /// 1: also INFO that comes later.
    protocol: u8,
    /// As the server's operators see it.
    pub name: &'a str,
    /// This connection is over TLS.
    pub tls_required: bool,
    /// With a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
    /// Of that user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass: Option<&'a str>,
    /// Instead of both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_token: Option<&'a str>,
    /// Of credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<&'a str>,
    /// The public half of a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nkey: Option<String>,
    /// The nonce, signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sig: Option<String>,
}

impl<'a> Connect<'a> {
    /// Nobody in particular, by this name.
    pub fn new(name: &'a str) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        Self { echo: true, lang: "rust", version, protocol: 1, name, ..Self::default() }
    }

    /// The line.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"CONNECT ");
        serde_json::to_writer(&mut *out, self).expect("texts and flags are JSON");
        out.extend_from_slice(b"\r\n");
    }
}

/// `SUB`, under a number of ours.
pub fn subscribe(out: &mut Vec<u8>, subject: &str, sid: u64) {
    push(out, &[b"SUB ", subject.as_bytes(), b" ", sid.to_string().as_bytes(), b"\r\n"]);
}

/// `UNSUB`, at once.
pub fn unsubscribe(out: &mut Vec<u8>, sid: u64) {
    push(out, &[b"UNSUB ", sid.to_string().as_bytes(), b"\r\n"]);
}

/// `PUB`, with its payload.
pub fn publish(out: &mut Vec<u8>, subject: &str, payload: &[u8]) {
    let bytes = payload.len().to_string();
    push(out, &[b"PUB ", subject.as_bytes(), b" ", bytes.as_bytes(), b"\r\n", payload, b"\r\n"]);
}

fn push(out: &mut Vec<u8>, parts: &[&[u8]]) {
    out.reserve(parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_as_the_protocol_has_them() {
        assert_eq!(written(|out| subscribe(out, "a.b", 7)), "SUB a.b 7\r\n");
        assert_eq!(written(|out| unsubscribe(out, u64::MAX)), "UNSUB 18446744073709551615\r\n");
        assert_eq!(written(|out| publish(out, "a", b"x\r\ny")), "PUB a 4\r\nx\r\ny\r\n");
        assert_eq!(written(|out| publish(out, "a", b"")), "PUB a 0\r\n\r\n");
    }

    #[test]
    fn connect_says_who_we_are_and_nothing_that_is_not_set() {
        let mut connect = Connect::new("roadcast");
        let version = env!("CARGO_PKG_VERSION");
        let begin = r#"CONNECT {"verbose":false,"pedantic":false,"headers":false,"echo":true,"#;
        let begin = format!(r#"{begin}"lang":"rust","version":"{version}","protocol":1,"#);
        let plain = format!("{begin}\"name\":\"roadcast\",\"tls_required\":false}}\r\n");
        assert_eq!(written(|out| connect.encode(out)), plain);
        (connect.user, connect.pass) = (Some("a\"b"), Some("c\r\nd"));
        let user = r#","user":"a\"b","pass":"c\r\nd"}"#;
        let expected = plain.replace("}\r\n", &format!("{user}\r\n"));
        assert_eq!(written(|out| connect.encode(out)), expected);
    }
}

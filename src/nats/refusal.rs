//! What a server means by `-ERR`.

/// What it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A publication to this subject: we may not. Nothing else is touched.
    Publish(String),
    /// A subscription to this subject: we may not, or not any more.
    Subscribe(String),
    /// There are too many subscriptions: one of the last has not been made.
    TooManySubscriptions,
    /// Who we are, or that we have not said it: it gets no better by trying again.
    Login,
    /// It speaks TLS alone.
    TlsRequired,
    /// Anything else; most of it ends the connection.
    Other,
}

impl Refusal {
    /// Of the text of `-ERR`.
    pub fn of(text: &str) -> Self {
        let lower = text.to_ascii_lowercase();
        let about = |words: &str| {
            let at = lower.find(words)? + words.len();
            unquote(text.get(at..)?)
        };
        if let Some(subject) = about("permissions violation for publish to ") {
            return Self::Publish(subject);
        }
        if let Some(subject) = about("permissions violation for subscription to ") {
            return Self::Subscribe(subject);
        }
        let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        if says(&["maximum subscriptions exceeded"]) {
            Self::TooManySubscriptions
        } else if says(&["tls required"]) {
            Self::TlsRequired
        } else if says(&["authorization violation", "authentication", "authorization timeout"]) {
            Self::Login
        } else {
            Self::Other
        }
    }
}

/// What a quoted text says that Go has written (`%q`).
fn unquote(quoted: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = quoted.strip_prefix('"')?.chars();
    loop {
        let escaped = match chars.next()? {
            '"' => return Some(out),
            '\\' => chars.next()?,
            c => {
                out.push(c);
                continue;
            }
        };
        let digits = match escaped {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            other => {
                out.push(match other {
                    'a' => '\x07',
                    'b' => '\x08',
                    'f' => '\x0c',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'v' => '\x0b',
                    // A quote, or a backslash.
                    other => other,
                });
                continue;
            }
        };
        let mut code = 0;
        for _ in 0..digits {
            code = code << 4 | chars.next()?.to_digit(16)?;
        }
        out.push(char::from_u32(code)?);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_say_is_understood() {
        let publish = |subject: &str| Refusal::Publish(subject.to_owned());
        let subscribe = |subject: &str| Refusal::Subscribe(subject.to_owned());
        for (text, expected) in [
            (r#"Permissions Violation for Publish to "a.b""#, publish("a.b")),
            (r#"permissions violation for publish to "q\"\\\u00ad\x7fü\U0001f600""#, {
                publish("q\"\\\u{ad}\u{7f}ü😀")
            }),
            (r#"Permissions Violation for Subscription to "a" (sid "5")"#, subscribe("a")),
            (r#"Permissions Violation for Subscription to "a.b.c", too many tokens"#, {
                subscribe("a.b.c")
            }),
            (r#"Permissions Violation for Publish to "cut"#, Refusal::Other),
            (r#"Permissions Violation for Publish to "\u12"#, Refusal::Other),
            ("maximum subscriptions exceeded", Refusal::TooManySubscriptions),
            ("Authorization Violation", Refusal::Login),
            ("Authentication Timeout", Refusal::Login),
            ("User Authentication Expired", Refusal::Login),
            ("Secure Connection - TLS Required", Refusal::TlsRequired),
            ("Stale Connection", Refusal::Other),
            ("Slow Consumer", Refusal::Other),
            ("maximum connections exceeded", Refusal::Other),
        ] {
            assert_eq!(Refusal::of(text), expected, "{text}");
        }
    }
}

//! What a worker or the HTTP callback has said of a client. Status 200 lets it in; any other
//! refuses, and goes to the client with its headers and its body.
//!
//! Invariants worth naming:
//! - **What is written for a client is one response and no more**: whatever a header or a body
//!   holds, nothing in it begins another header or another response.
//! - What goes on is bounded, whatever came.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use serde::Deserialize;

use super::Identity;

/// Names and values of an answer's headers. A larger answer is an error: proxies refuse heads of
/// this size, too.
pub const HEADERS_BYTES_MAX: usize = 64 * 1024;
/// Body of a refusal. What is larger is left out: a page of a framework's debugger, most likely.
pub const BODY_BYTES_MAX: usize = 512 * 1024;
/// `Roadcast-User`.
pub const USER_BYTES_MAX: usize = 1024;
/// `Roadcast-Info`.
pub const INFO_BYTES_MAX: usize = 8 * 1024;
/// The longest time for which a verdict is remembered.
pub const REMEMBER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The HTTP status, 200 to 999.
    pub status: u16,
    /// Names and values, in the order in which they are written. Any text: see
    /// [`response`](Self::response).
    pub headers: Vec<(String, String)>,
    /// The body of a refusal.
    pub body: Vec<u8>,
}

/// Why there is no verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskFailed {
    /// All who could be asked were busy with others. To be tried again: 503 at an upgrade.
    Busy {
        /// When, in seconds.
        retry_after_s: u32,
    },
    /// There is nobody to ask. To be tried again: 503 at an upgrade.
    Down {
        /// Why, for the log and the response: `no worker runs`.
        why: &'static str,
        /// When, in seconds.
        retry_after_s: u32,
    },
    /// Who was asked failed, or answered nonsense: 400 at an upgrade. Why, for the log.
    Failed(String),
}

/// An answer that is no verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Nonsense {
    /// It does not begin with the JSON object that it should.
    #[error("expected {{\"status\":200,\"headers\":{{}}}}, got: {0}")]
    Json(String),
    /// No status that ends a request.
    #[error("status {0}, expected 200 to 999")]
    Status(i64),
    /// Over [`HEADERS_BYTES_MAX`].
    #[error("headers of {0} bytes, at most {HEADERS_BYTES_MAX} are passed on")]
    Headers(usize),
    /// `Roadcast-User` is over [`USER_BYTES_MAX`].
    #[error("Roadcast-User of {0} bytes, at most {USER_BYTES_MAX} are kept")]
    User(usize),
    /// `Roadcast-Info` is over [`INFO_BYTES_MAX`].
    #[error("Roadcast-Info of {0} bytes, at most {INFO_BYTES_MAX} are kept")]
    InfoBytes(usize),
    /// `Roadcast-Info` is something else.
    #[error("Roadcast-Info is no JSON: {0}")]
    Info(String),
    /// `Roadcast-Remember` is something else.
    #[error("Roadcast-Remember is no number of seconds")]
    Remember,
}

impl Judged {
    /// Reads a worker's answer: the JSON before its body, and the body.
    pub fn parse_context(context: &[u8], body: Vec<u8>) -> Result<Self, Nonsense> {
        // To serde a list may be a struct, too.
        if context.trim_ascii_start().first() != Some(&b'{') {
            return Err(Nonsense::Json("no JSON object".to_owned()));
        }
        let answer: Context =
            serde_json::from_slice(context).map_err(|error| Nonsense::Json(error.to_string()))?;
        let headers = answer.headers.map_or_else(Vec::new, Headers::listed);
        Self::new(answer.status, headers, body)
    }

    /// A verdict of this status, if it is one: what a 200 says by `Roadcast-*` is looked at, too. A
    /// 200 keeps no body.
    pub fn new(
        status: i64,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    ) -> Result<Self, Nonsense> {
        // An interim status (1xx) ends nothing, and 101 would even open the connection.
        let known = u16::try_from(status).ok().filter(|status| (200..1000).contains(status));
        let Some(status) = known else { return Err(Nonsense::Status(status)) };
        let bytes = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > HEADERS_BYTES_MAX {
            return Err(Nonsense::Headers(bytes));
        }
        let body = if status == 200 { Vec::new() } else { body };
        let judged = Self { status, headers, body };
        if judged.allows() {
            judged.identity().and(judged.remember())?;
        }
        Ok(judged)
    }

    /// Lets the client in.
    pub fn allows(&self) -> bool {
        self.status == 200
    }

    /// The refusal as one whole response of HTTP/1.1, after which the connection is closed.
    ///
    /// As Go's server writes it: several values of one name are several headers, a header whose
    /// name is none is left out, and what would end a line within a value is a blank. Length and
    /// connection are said here; what belongs to one hop and `Roadcast-*` are left out.
    pub fn response(&self) -> Vec<u8> {
        let has_body = !matches!(self.status, 204 | 304) && self.body.len() <= BODY_BYTES_MAX;
        let body = if has_body { &self.body[..] } else { b"" };
        let mut out = Vec::with_capacity(256 + body.len());
        // Writing to a vector does not fail.
        let _ = write!(out, "HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in self.headers.iter().filter(|(name, _)| self.is_passed(name)) {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            let text = value.trim_matches(|c: char| c == ' ' || c.is_control());
            let safe = |c: char| c == '\t' || !c.is_ascii_control();
            let text = text.chars().map(|c| if safe(c) { c } else { ' ' });
            out.extend_from_slice(text.collect::<String>().as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        // RFC 9110 §8.6: not with 204; with 304 it would tell of another body.
        if !matches!(self.status, 204 | 304) {
            let _ = write!(out, "Content-Length: {}\r\n", body.len());
        }
        out.extend_from_slice(b"Connection: close\r\n\r\n");
        out.extend_from_slice(body);
        out
    }

    fn is_passed(&self, name: &str) -> bool {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        let named = self.values("Connection").flat_map(|list| list.split(','));
        let stays = is_ours(name)
            || HOP_BY_HOP.into_iter().any(is)
            || named.map(str::trim).any(is)
            || self.body.len() > BODY_BYTES_MAX && (is("Content-Type") || is("Content-Encoding"));
        !stays && !name.is_empty() && name.bytes().all(crate::http::head::is_token)
    }

    /// Who the client is, by `Roadcast-User` and `Roadcast-Info`. An empty user is nobody, as in a
    /// token.
    pub fn identity(&self) -> Result<Identity, Nonsense> {
        let mut identity = Identity::default();
        if let Some(user) = self.values("Roadcast-User").next().map(str::trim) {
            if user.len() > USER_BYTES_MAX {
                return Err(Nonsense::User(user.len()));
            }
            identity.user = (!user.is_empty()).then(|| user.into());
        }
        if let Some(info) = self.values("Roadcast-Info").next().map(str::trim) {
            if info.len() > INFO_BYTES_MAX {
                return Err(Nonsense::InfoBytes(info.len()));
            }
            // It goes on as it stands, into the middle of other JSON.
            serde_json::from_str::<serde::de::IgnoredAny>(info)
                .map_err(|error| Nonsense::Info(error.to_string()))?;
            identity.info = Some(info.into());
        }
        Ok(identity)
    }

    /// For how long the verdict holds for requests that are the same, by `Roadcast-Remember` in
    /// seconds; [`REMEMBER_MAX`] at most. Only a 200 is remembered.
    pub fn remember(&self) -> Result<Option<Duration>, Nonsense> {
        let Some(seconds) = self.values("Roadcast-Remember").next().map(str::trim) else {
            return Ok(None);
        };
        if seconds.is_empty() || !seconds.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Nonsense::Remember);
        }
        // More than fits is more than the bound.
        let time = Duration::from_secs(seconds.parse().unwrap_or(u64::MAX)).min(REMEMBER_MAX);
        Ok((self.allows() && !time.is_zero()).then_some(time))
    }

    /// The values of all headers of this name.
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.headers.iter().filter(move |(of, _)| of.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str())
    }
}

/// What is said to us, by `Roadcast-*`.
fn is_ours(name: &str) -> bool {
    name.get(..9).is_some_and(|start| start.eq_ignore_ascii_case("roadcast-"))
}

/// RFC 9110 §7.6.1, and the length, which is counted here.
const HOP_BY_HOP: [&str; 9] = [
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Trailers",
    "Transfer-Encoding",
    "Upgrade",
    "Content-Length",
];

/// What stands behind a status, where it is often seen; RFC 9112 §4 lets it be empty.
fn reason(status: u16) -> &'static str {
    match status {
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        410 => "Gone",
        419 => "Page Expired",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "",
    }
}

/// A worker's answer. What else is in it does not matter.
#[derive(Deserialize)]
struct Context {
    #[serde(default)]
    status: i64,
    #[serde(default)]
    headers: Option<Headers>,
}

/// PHP writes an array without elements as `[]`, also one that has names.
#[derive(Deserialize)]
#[serde(untagged)]
enum Headers {
    Named(BTreeMap<String, Values>),
    Empty([String; 0]),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    Several(Vec<String>),
    One(String),
    /// A value that PHP has none for.
    Null(()),
}

impl Headers {
    fn listed(self) -> Vec<(String, String)> {
        let Self::Named(named) = self else { return Vec::new() };
        let each = named.into_iter().flat_map(|(name, values)| {
            let values = match values {
                Values::Several(values) => values,
                Values::One(value) => vec![value],
                Values::Null(()) => Vec::new(),
            };
            values.into_iter().map(move |value| (name.clone(), value))
        });
        each.collect()
    }
}

#[cfg(test)]
mod tests;

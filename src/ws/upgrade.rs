//! The opening handshake: the answer to a client's HTTP request (RFC 6455 §4.2, RFC 9110).
//!
//! Checked in this order: the head itself, the path, the `Origin`, then the handshake. Bytes behind
//! the head already belong to the WebSocket. Every answer but 101 ends the connection.
//!
//! Of the subprotocols that a client offers, in its order, the first one that the rules list is
//! agreed, since some clients fail without any (RFC 6455 §4.1; a browser does). It changes nothing:
//! the protocol spoken here has no name. Where a token may be brought as a subprotocol, it is never
//! agreed, and [`TOKENS_WITH`] is listed, too; one that comes without another that can be agreed is
//! refused, since a browser would fail without a word. Extensions are not agreed.

mod answer;
#[cfg(test)]
mod tests;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use crate::http::head::Bounds;
use crate::http::origin::OriginRule;
use crate::http::{Fault, Head};
use answer::{NEEDS_HTTP11, switching_protocols};
pub use answer::{
    busy, head_given_up, no_verdict, nobody_to_ask, refuse_preface, refuse_token, request_timeout,
    service_unavailable, shutting_down, status_alone, too_many_of_user, too_many_requests,
};
use answer::{healthy, refuse, refuse_method, refuse_unread, refuse_without_upgrade};

/// Methods that exist (RFC 9110 §9, RFC 5789): one that is not served is answered with 405, any
/// other word with 501.
const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// The subprotocol that a client offers beside its token.
pub const TOKENS_WITH: &str = "roadcast";

/// What a subprotocol begins with that is a token.
pub const TOKEN: &str = "token.";

/// What is served where, and to whom. By default at `/`, to everyone.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The path where clients speak commands and replies, compared as it stands, without the query.
    pub path: String,
    /// The path where every message comes back, if there is one.
    pub echo_path: Option<String>,
    /// The path where load balancers ask whether connections are taken, if there is one.
    pub health_path: Option<String>,
    /// Which web pages may connect.
    pub origin: OriginRule,
    /// Whether `GET /` answers with the demo page.
    pub demo: bool,
    /// Subprotocols that are agreed if a client offers them.
    pub subprotocols: Vec<String>,
    /// Whether a subprotocol may be a token.
    pub tokens: bool,
    /// How large a request may be.
    pub bounds: Bounds,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            path: "/".into(),
            echo_path: None,
            health_path: None,
            origin: OriginRule::new("*"),
            demo: false,
            subprotocols: Vec::new(),
            tokens: false,
            bounds: Bounds::default(),
        }
    }
}

/// What is at the path that a client connects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Commands and publications.
    Client,
    /// Every message comes back.
    Echo,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Send the response, then speak WebSocket.
    Upgrade {
        /// With what.
        endpoint: Endpoint,
        /// The whole 101 response.
        response: Vec<u8>,
    },
    /// Send the demo page, then close. The caller has it.
    DemoPage {
        /// The request was HEAD: send the page's head only.
        head_only: bool,
    },
    /// It asks whether connections are taken. If so, send the response, then close.
    Healthy {
        /// The whole 200 response.
        response: Vec<u8>,
    },
    /// Send the response, then close.
    Refuse {
        /// Why.
        fault: Fault,
        /// The whole response.
        response: Vec<u8>,
    },
}

/// Answers a request: its head, or what is wrong with one that could not be read.
pub fn answer(head: Result<&Head<'_>, Fault>, rules: &Rules) -> Answer {
    match head {
        Ok(head) if head.headers_len() > rules.bounds.headers => {
            refuse_unread(Fault::Headers, rules.bounds)
        }
        Ok(head) => judge(head, rules),
        Err(fault) => refuse_unread(fault, rules.bounds),
    }
}

/// What in a request was at fault, for a log: the origin, the path, the method, else nothing.
pub fn at_fault(head: &Head<'_>, fault: Fault) -> String {
    match fault {
        Fault::Origin => head
            .values("Origin")
            .next()
            .map_or("no Origin".to_owned(), |origin| String::from_utf8_lossy(origin).into_owned()),
        Fault::UnknownMethod => head.method().to_owned(),
        // Without the query: it may hold a token.
        Fault::Path
        | Fault::Method
        | Fault::NoUpgrade
        | Fault::WebSocketVersion
        | Fault::Http10 => head.path().to_owned(),
        _ => String::new(),
    }
}

fn judge(head: &Head<'_>, rules: &Rules) -> Answer {
    let (method, path) = (head.method(), head.path());
    let head_only = method == "HEAD";
    let upgrades =
        head.has_token("Upgrade", "websocket") && head.has_token("Connection", "upgrade");

    let reads = matches!(method, "GET" | "HEAD");
    if rules.health_path.as_deref() == Some(path) {
        return if reads {
            Answer::Healthy { response: healthy(head_only) }
        } else {
            refuse_method(method, "GET, HEAD")
        };
    }
    let page = rules.demo && path == "/" && !upgrades;
    if page && reads {
        return Answer::DemoPage { head_only };
    }
    let endpoint = if path == rules.path {
        Endpoint::Client
    } else if rules.echo_path.as_deref() == Some(path) {
        Endpoint::Echo
    } else if page {
        return refuse_method(method, "GET, HEAD");
    } else {
        return refuse(
            Fault::Path,
            "Nothing is served at this path. Check the path of the WebSocket URL.",
            head_only,
        );
    };

    // A second Origin could contradict the one that the rule has seen.
    let mut origins = head.values("Origin");
    let origin = origins.next().map(String::from_utf8_lossy);
    if origins.next().is_some() {
        return refuse(Fault::Origins, "The request has more than one Origin header.", head_only);
    }
    if !rules.origin.allows(origin.as_deref()) {
        let text =
            "This server does not accept WebSockets from this origin. See its `allowed_origin`.";
        return refuse(Fault::Origin, text, head_only);
    }

    if method != "GET" {
        return refuse_method(method, "GET");
    }
    if !head.is_http11() {
        return refuse(Fault::Http10, NEEDS_HTTP11, false);
    }
    if !head.only_value("Host").is_some_and(is_host) {
        let text = "The request needs one Host header: a host, and a port if need be.";
        return refuse(Fault::Host, text, false);
    }
    let has_content = head.values("Content-Length").any(|length| length != b"0");
    if has_content || head.values("Transfer-Encoding").next().is_some() {
        return refuse(Fault::Body, "A WebSocket request has no body.", false);
    }
    if !upgrades {
        return refuse_without_upgrade(
            Fault::NoUpgrade,
            "A WebSocket is served here: connect with a WebSocket client. \
             A proxy in between must pass on the headers Upgrade and Connection.",
        );
    }
    if !head.values("Sec-WebSocket-Version").eq([b"13"]) {
        let text = "Version 13 of the WebSocket protocol is served here.";
        return refuse_without_upgrade(Fault::WebSocketVersion, text);
    }
    match head.only_value("Sec-WebSocket-Key") {
        Some(key) if is_key(key) => match subprotocol(head, rules) {
            Ok(agreed) => Answer::Upgrade { endpoint, response: switching_protocols(key, agreed) },
            Err(fault) => refuse(
                fault,
                "A token needs another subprotocol beside it, or browsers fail. Offer \
                 [\"roadcast\", \"token.<jwt>\"].",
                false,
            ),
        },
        _ => refuse(
            Fault::Key,
            "The request needs one Sec-WebSocket-Key header: 16 bytes in base64.",
            false,
        ),
    }
}

/// The first subprotocol that the client offers and that is known. They are compared as they stand
/// (RFC 6455 §11.5).
fn subprotocol<'k>(head: &Head<'_>, rules: &'k Rules) -> Result<Option<&'k str>, Fault> {
    let known = rules.subprotocols.iter().map(String::as_str);
    let known = known.chain(rules.tokens.then_some(TOKENS_WITH));
    let is_token = |offer: &&[u8]| rules.tokens && offer.starts_with(TOKEN.as_bytes());
    let offers = || head.list("Sec-WebSocket-Protocol");
    let mut others = offers().filter(|offer| !is_token(offer));
    match others.find_map(|offer| known.clone().find(|known| known.as_bytes() == offer)) {
        None if offers().any(|offer| is_token(&offer)) => Err(Fault::TokenAlone),
        agreed => Ok(agreed),
    }
}

/// Whether every byte may stand in a `Host` (RFC 9112 §3.2, RFC 3986 §3.2.2). None at all will do:
/// the target of such a request names no host.
fn is_host(value: &[u8]) -> bool {
    let may = |&byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte);
    value.iter().all(may)
}

/// RFC 6455 §4.2.1: 16 bytes in base64. Its unused bits may be anything: some clients make up the
/// 22 characters.
fn is_key(key: &[u8]) -> bool {
    const KEY: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
    );
    let mut nonce = [0; 18];
    key.len() == 24 && KEY.decode_slice(key, &mut nonce).is_ok_and(|length| length == 16)
}

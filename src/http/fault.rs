//! What can be wrong with a request: the status that answers it, and the words for the log.

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A TLS handshake.
    Tls,
    /// A header of the PROXY protocol, from whom it is not expected.
    ProxyHeader,
    /// No header of the PROXY protocol, from whom it is expected.
    NoProxyHeader,
    /// A header of the PROXY protocol that breaks its rules.
    MalformedProxyHeader,
    /// Its first bytes cannot begin an HTTP request.
    NotHttp,
    /// It begins like HTTP and is none.
    Malformed,
    /// A version of HTTP that has no WebSocket: 1.0.
    Http10,
    /// Another version of HTTP: 2, begun without an upgrade.
    HttpVersion,
    /// Too many bytes before the end of the head.
    HeadBytes,
    /// Too many headers.
    Headers,
    /// It did not arrive in time.
    Late,
    /// It was the oldest of the unfinished ones, which together held too much.
    GivenUp,
    /// Nothing is served at its path.
    Path,
    /// The rule for origins does not allow its `Origin`.
    Origin,
    /// It has more than one `Origin`.
    Origins,
    /// A method that is not served at its path.
    Method,
    /// A method that there is not; in lower case, too.
    UnknownMethod,
    /// No `Host`, more than one, or one that is none.
    Host,
    /// It has a body.
    Body,
    /// It is no upgrade to a WebSocket.
    NoUpgrade,
    /// An upgrade to another version of the WebSocket protocol.
    WebSocketVersion,
    /// No valid `Sec-WebSocket-Key`, or more than one.
    Key,
    /// A token as subprotocol, and none beside it that could be agreed: browsers would give up.
    TokenAlone,
}

impl Fault {
    /// The HTTP status of the answer.
    pub fn status(self) -> u16 {
        match self {
            Self::Path => 404,
            Self::Origin => 403,
            Self::Method => 405,
            Self::Late => 408,
            Self::NoUpgrade | Self::WebSocketVersion => 426,
            Self::HeadBytes | Self::Headers => 431,
            Self::UnknownMethod => 501,
            Self::GivenUp => 503,
            Self::Tls
            | Self::ProxyHeader
            | Self::NoProxyHeader
            | Self::MalformedProxyHeader
            | Self::NotHttp
            | Self::Malformed
            | Self::Http10
            | Self::HttpVersion
            | Self::Origins
            | Self::Host
            | Self::Body
            | Self::Key
            | Self::TokenAlone => 400,
        }
    }

    /// The reason in words, with the key where there is one.
    pub fn why(self) -> &'static str {
        match self {
            Self::Tls => {
                "TLS, which is not served here: clients connect by ws://, or a proxy ends TLS"
            }
            Self::ProxyHeader => {
                "a PROXY protocol header, which is expected from http.trusted_subnets alone, with roadcast.proxy_protocol"
            }
            Self::NoProxyHeader => {
                "no PROXY protocol header, which roadcast.proxy_protocol expects from all of http.trusted_subnets"
            }
            Self::MalformedProxyHeader => {
                "a malformed PROXY protocol header, or one over 4096 bytes"
            }
            Self::NotHttp => "no HTTP",
            Self::Malformed => "malformed HTTP",
            Self::Http10 => {
                "HTTP/1.0: a proxy in between must speak HTTP/1.1 (nginx: proxy_http_version 1.1)"
            }
            Self::HttpVersion => "another version of HTTP than 1.1",
            Self::HeadBytes => "roadcast.limits.head_bytes",
            Self::Headers => "roadcast.limits.headers",
            Self::Late => "roadcast.limits.head_timeout",
            Self::GivenUp => {
                "the oldest of unfinished requests that held over roadcast.limits.heads_bytes"
            }
            Self::Path => "nothing is served at this path",
            Self::Origin => "websockets.allowed_origin",
            Self::Origins => "more than one Origin header",
            Self::Method => "GET is served at this path",
            Self::UnknownMethod => "no method of HTTP, whose names are in capitals",
            Self::Host => "not one valid Host header",
            Self::Body => "the request has a body",
            Self::NoUpgrade => {
                "no upgrade to a WebSocket: a proxy in between must pass on the headers Upgrade and Connection"
            }
            Self::WebSocketVersion => "another version of the WebSocket protocol than 13",
            Self::Key => "not one Sec-WebSocket-Key header of 16 bytes in base64",
            Self::TokenAlone => {
                "a token as the only subprotocol: the page must offer [\"roadcast\", \"token.<jwt>\"]"
            }
        }
    }
}

//! The HTTP client of the desk: asks one server, over kept connections, for answers of a bounded
//! size in bounded time.
//!
//! | module | what |
//! |---|---|
//! | `address` | the URL: where to, and with which password |
//! | `connect` | connections, with TLS where the URL says so |
//! | `failure` | why there is no answer |
//!
//! Invariants worth naming:
//! - **A request is put twice only where a kept connection ended before a byte of an answer**: the
//!   server had closed it meanwhile, most likely. What hyper has not begun to send it sends on
//!   another connection by itself.
//! - No more of a body is read than is allowed, and twice [`HEAD_BYTES_MAX`] of a head at most.
//! - No text that goes to the log holds the URL, what was sent, or what came.
//!
//! Deliberately absent: redirects (another address is another server), proxies, HTTP/2, encodings.

mod address;
mod connect;
mod failure;

use std::cell::Cell;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use tokio::time::timeout;

use address::Address;
use connect::{Connector, Line};
pub use failure::{Failure, Fault};

/// The head of an answer: as much as headers of a verdict may have, and some for what else is in
/// it. hyper looks at this between two reads, so it may take as much again.
const HEAD_BYTES_MAX: usize = 72 * 1024;
/// Headers of an answer.
const HEADERS_MAX: usize = 100;
/// For how long a connection is kept without a request. Servers of PHP and Go keep them longer,
/// those of Node and Python shorter: what they close is noticed, and put again if it is too late.
const IDLE: Duration = Duration::from_secs(30);

/// What a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// For an answer, from the request on, with connecting.
    pub timeout: Duration,
    /// Connections that are kept.
    pub idle: usize,
    /// Of an answer.
    pub body_bytes: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Client {
    http: legacy::Client<Connector, Full<Bytes>>,
    address: Address,
    bounds: Bounds,
    again: Cell<u64>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// Any status.
    pub status: u16,
    /// At most 100.
    pub headers: HeaderMap,
    /// Within its bound.
    pub body: Bytes,
}

/// A try that failed.
struct Tried {
    failure: Failure,
    /// On a kept connection, before a byte of an answer.
    stale: bool,
}

impl Client {
    /// Asks the server of this URL, and trusts `ca` in place of the system's certificates. Connects
    /// with the first request. The error does not show the URL.
    pub fn new(
        url: &str,
        ca: Option<&[CertificateDer<'static>]>,
        bounds: Bounds,
    ) -> Result<Self, String> {
        let address = Address::parse(url)?;
        let connector = Connector::new(address.is_tls(), ca, bounds.timeout)?;
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(bounds.idle)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .http1_max_headers(HEADERS_MAX)
            .build(connector);
        Ok(Self { http, address, bounds, again: Cell::default() })
    }

    /// POST of JSON. The future may be dropped at any time.
    pub async fn post(&self, json: Vec<u8>) -> Result<Answer, Failure> {
        self.within_time(Method::POST, json.into()).await
    }

    /// GET. The future may be dropped at any time.
    pub async fn get(&self) -> Result<Answer, Failure> {
        self.within_time(Method::GET, Bytes::new()).await
    }

    /// Requests that were put a second time.
    pub fn again(&self) -> u64 {
        self.again.get()
    }

    async fn within_time(&self, method: Method, body: Bytes) -> Result<Answer, Failure> {
        let limit = self.bounds.timeout;
        let answer = timeout(limit, self.exchange(method, body)).await;
        answer.unwrap_or_else(|_| Err(Failure::late(limit)))
    }

    async fn exchange(&self, method: Method, body: Bytes) -> Result<Answer, Failure> {
        let first = self.once(method.clone(), body.clone()).await;
        match first {
            Err(tried) if tried.stale => {
                self.again.set(self.again.get() + 1);
                self.once(method, body).await.map_err(|tried| tried.failure)
            }
            other => other.map_err(|tried| tried.failure),
        }
    }

    async fn once(&self, method: Method, body: Bytes) -> Result<Answer, Tried> {
        let response = self.http.request(self.request(method, body)).await;
        let response = response.map_err(|error| Tried {
            stale: Line::of_error(&error).is_some_and(|line| line.is_stale()),
            failure: Failure::of(&error, error.is_connect()),
        })?;
        let line = response.extensions().get::<Line>().cloned();
        let (head, body) = response.into_parts();
        let body = Limited::new(body, self.bounds.body_bytes).collect().await;
        let body = body.map_err(|error| Tried {
            stale: false,
            failure: Failure::of_body(&*error, self.bounds.body_bytes),
        })?;
        line.inspect(Line::rests);
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes() })
    }

    fn request(&self, method: Method, body: Bytes) -> Request<Full<Bytes>> {
        let is_post = method == Method::POST;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.address.uri.clone();
        let headers = request.headers_mut();
        // Some servers refuse whoever has no name.
        let name = HeaderValue::from_static(concat!("roadcast/", env!("CARGO_PKG_VERSION")));
        headers.insert(USER_AGENT, name);
        if is_post {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(password) = &self.address.authorization {
            headers.insert(AUTHORIZATION, password.clone());
        }
        request
    }
}

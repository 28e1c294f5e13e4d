//! The admin endpoints, on a thread of their own that exists only where they are configured: metrics for Prometheus, and
//! health and readiness for whoever watches over the process. They read what others have counted and wake nobody.
//!
//! A connection carries one request and ends with its answer; connections, their heads and their time are bounded.

mod exposition;
mod sources;

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

pub use sources::{Progress, STALLED, STUCK, ShardSources, Sources};

/// Connections of one endpoint at a time; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 8;
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// From accepting a connection to its end.
const CONNECTION_TIME: Duration = Duration::from_secs(10);
/// How long accepting pauses when descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The media type of OpenMetrics text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// What a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The metrics, on every path, as in RoadRunner.
    Metrics,
    /// `/health` and `/ready`.
    Status {
        /// The HTTP status of "no".
        unavailable: u16,
    },
}

/// Serves the listeners on the calling thread for as long as the process lives. Fails where no runtime can be had.
pub fn run(listeners: Vec<(TcpListener, Endpoint)>, sources: &Arc<Sources>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(async {
        let mut endpoints = tokio::task::JoinSet::new();
        for (listener, endpoint) in listeners {
            listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            endpoints.spawn(accept(listener, endpoint, sources.clone()));
        }
        while endpoints.join_next().await.is_some() {}
        Ok(())
    })
}

async fn accept(listener: tokio::net::TcpListener, endpoint: Endpoint, sources: Arc<Sources>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "cannot accept an admin connection, trying again");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let sources = sources.clone();
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let answer = answer(request.method(), request.uri().path(), endpoint, &sources);
                async { Ok::<_, Infallible>(answer) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(CONNECTION_TIME);
            let serving = http
                .max_buf_size(HEAD_BYTES_MAX)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // A connection that breaks or takes too long is its peer's affair.
            let _ = timeout(CONNECTION_TIME, serving).await;
            drop(place);
        });
    }
}

fn answer(method: &Method, path: &str, endpoint: Endpoint, sources: &Arc<Sources>) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        return response(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "GET is served here.\n".to_owned());
    }
    let (verdict, unavailable) = match (endpoint, path) {
        (Endpoint::Metrics, _) => return response(StatusCode::OK, OPEN_METRICS, sources.text()),
        (Endpoint::Status { unavailable }, "/health") => (sources.is_alive(Instant::now()), unavailable),
        (Endpoint::Status { unavailable }, "/ready") => (sources.is_ready(Instant::now()), unavailable),
        (Endpoint::Status { .. }, _) => {
            return response(
                StatusCode::NOT_FOUND,
                PLAIN,
                "/health and /ready are served here.\n".to_owned(),
            );
        }
    };
    match verdict {
        Ok(()) => response(StatusCode::OK, PLAIN, "ok\n".to_owned()),
        Err(why) => {
            let status = StatusCode::from_u16(unavailable).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            response(status, PLAIN, why + "\n")
        }
    }
}

fn response(status: StatusCode, media: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

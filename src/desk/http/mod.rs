//! The admin endpoints: metrics for Prometheus, and health and readiness for whoever watches over
//! the process. They read what others have counted and wake nobody.
//!
//! A connection carries one request and ends with its answer; connections, their heads and their
//! time are bounded.

mod brokers;
mod exposition;
mod format;
mod places;
mod telemetry;

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::log_rate::LogRate;
use format::Format;
use places::{CONNECTION_TIME, Places, Spoken};
pub use telemetry::{Progress, STALLED, STUCK, ShardTelemetry, Telemetry};

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long accepting pauses when descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const PLAIN: &str = "text/plain; charset=utf-8";

/// What a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminEndpoint {
    /// The metrics, on every path, as in RoadRunner.
    Metrics,
    /// `/health` and `/ready`.
    Status {
        /// The HTTP status of "no".
        unavailable: u16,
    },
}

/// Serves the listeners, in tasks of the calling thread's `LocalSet`. Fails where one cannot be
/// watched.
pub fn serve_all(
    listeners: Vec<(TcpListener, AdminEndpoint)>,
    telemetry: &Arc<Telemetry>,
) -> io::Result<()> {
    for (listener, endpoint) in listeners {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        tokio::task::spawn_local(accept(listener, endpoint, telemetry.clone()));
    }
    Ok(())
}

async fn accept(
    listener: tokio::net::TcpListener,
    endpoint: AdminEndpoint,
    telemetry: Arc<Telemetry>,
) {
    let mut places = Places::default();
    let (started, mut said) = (Instant::now(), LogRate::default());
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let telemetry = telemetry.clone();
                places.serve(|spoken| serve(stream, endpoint, telemetry, spoken)).await;
            }
            Err(error) => {
                if let Some(unsaid) = said.admit((), started.elapsed()) {
                    tracing::debug!(%error, "cannot accept an admin connection, trying again{unsaid}");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(
    stream: TcpStream,
    endpoint: AdminEndpoint,
    telemetry: Arc<Telemetry>,
    spoken: Spoken,
) {
    let service = service_fn(|request: Request<Incoming>| {
        spoken.set();
        let answer = answer(&request, endpoint, &telemetry);
        async { Ok::<_, Infallible>(answer) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(CONNECTION_TIME);
    let serving = http.max_buf_size(HEAD_BYTES_MAX).keep_alive(false);
    // A connection that breaks is its peer's affair.
    let _ = serving.serve_connection(TokioIo::new(stream), service).await;
}

fn answer(
    request: &Request<Incoming>,
    endpoint: AdminEndpoint,
    telemetry: &Arc<Telemetry>,
) -> Response<Full<Bytes>> {
    let method = request.method();
    if method != Method::GET && method != Method::HEAD {
        let text = "GET is served here.\n".to_owned();
        let mut response = response(StatusCode::METHOD_NOT_ALLOWED, PLAIN, text);
        // RFC 9110 §15.5.6.
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let (verdict, unavailable) = match (endpoint, request.uri().path()) {
        (AdminEndpoint::Metrics, _) => {
            let format = Format::of(request.headers());
            return response(StatusCode::OK, format.media(), format.write(telemetry.text()));
        }
        (AdminEndpoint::Status { unavailable }, "/health") => {
            (telemetry.is_alive(Instant::now()).map(|()| "ok\n".to_owned()), unavailable)
        }
        (AdminEndpoint::Status { unavailable }, "/ready") => {
            let ready = format!("ok\nbackend: {}\n", telemetry.backend);
            (telemetry.is_ready(Instant::now()).map(|()| ready), unavailable)
        }
        (AdminEndpoint::Status { .. }, _) => {
            return response(
                StatusCode::NOT_FOUND,
                PLAIN,
                "/health and /ready are served here.\n".to_owned(),
            );
        }
    };
    match verdict {
        Ok(text) => response(StatusCode::OK, PLAIN, text),
        Err(why) => {
            let status =
                StatusCode::from_u16(unavailable).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
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

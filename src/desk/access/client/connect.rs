//! Connections to a server, and what of each is remembered.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::Uri;
use hyper::http::Extensions;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use crate::tls::client_config;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Connects.
#[derive(Clone, Debug)]
pub struct Connector {
    https: HttpsConnector<HttpConnector>,
    /// Also for one that nobody waits for any more: it may be of use later.
    limit: Duration,
}

impl Connector {
    /// Over TLS with the system's certificates or those of `ca`, or without.
    pub fn new(
        tls: bool,
        ca: Option<&[CertificateDer<'static>]>,
        limit: Duration,
    ) -> Result<Self, String> {
        // Without TLS, none need be trusted.
        let config = client_config(if tls { ca } else { Some(&[]) }, None)?;
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        Ok(Self { https, limit })
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Watched>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.https.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, limit) = (self.https.call(uri), self.limit);
        Box::pin(async move {
            let late = || io::Error::new(io::ErrorKind::TimedOut, "no connection in time");
            let stream = timeout(limit, connecting).await.map_err(|_| late())??;
            Ok(TokioIo::new(Watched { stream: TokioIo::new(stream), line: Line::default() }))
        })
    }
}

/// What is known of a connection; goes with each of its answers and errors.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// Bytes read so far, without those of TLS.
    read: Arc<AtomicU64>,
    /// As many were read when the last answer was whole; 0: there was none yet.
    rested: Arc<AtomicU64>,
}

impl Line {
    /// That of the connection that an error is about.
    pub fn of_error(error: &legacy::Error) -> Option<Self> {
        let mut extensions = Extensions::new();
        error.connect_info()?.get_extras(&mut extensions);
        extensions.get::<Self>().cloned()
    }

    /// An answer is whole.
    pub fn rests(&self) {
        self.rested.store(self.read.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// It has been of use, and nothing has come since.
    pub fn is_stale(&self) -> bool {
        let rested = self.rested.load(Ordering::Relaxed);
        rested > 0 && rested == self.read.load(Ordering::Relaxed)
    }
}

/// A connection whose bytes are counted.
#[derive(Debug)]
pub struct Watched {
    stream: TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>,
    line: Line,
}

impl Connection for Watched {
    fn connected(&self) -> Connected {
        self.stream.inner().connected().extra(self.line.clone())
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        let bytes = (buffer.filled().len() - before) as u64;
        self.line.read.fetch_add(bytes, Ordering::Relaxed);
        Poll::Ready(read)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

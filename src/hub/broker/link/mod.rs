//! A connection to a broker's server: bytes in, bytes out.
//!
//! Whoever holds a [`Link`] polls it: [`Link::read`] sends what is queued while it waits for bytes,
//! [`Link::drive`] sends alone. Not to read is how a busy consumer slows its server down. What
//! bytes mean, and when a silence is too long ([`Link::silence`]), is the holder's to say.
//!
//! Invariants worth naming:
//! - **Input is bounded** by what the holder allows of one message. What it does not want, it skips
//!   unseen.
//! - Futures of this module may be dropped at any time: nothing is lost, and nothing is sent twice.
//!
//! One thread; no borrow is held across an `.await`.

mod address;
mod input;
mod outbound;
mod stream;

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::time::Instant;

pub use self::address::Address;
use self::input::Input;
pub use self::outbound::Outbound;
use self::stream::Stream;
pub use self::stream::Tls;

/// What has lasted for longer than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Nothing came.
    Unheard(Duration),
    /// Nothing was taken.
    Stuck(Duration),
}

/// See the module. Dropped, it is closed.
pub struct Link {
    stream: Stream,
    input: Input,
    out: Outbound,
    /// TLS has bytes that it has not sent.
    unflushed: bool,
    /// When bytes came last; at first, when it connected.
    heard: Instant,
    /// When it last sent something or had nothing to send.
    sent: Instant,
}

impl Link {
    /// Connects, without TLS. Takes as long as it takes.
    pub async fn dial(address: &Address) -> io::Result<Self> {
        let stream = Stream::dial(address).await?;
        let (input, out, now) = (Input::default(), Outbound::default(), Instant::now());
        Ok(Self { stream, input, out, unflushed: false, heard: now, sent: now })
    }

    /// Goes on over TLS, unless this is a socket in the file system. What was said before must have
    /// been dealt with.
    pub async fn secure(self, tls: &Tls, host: &str) -> io::Result<Self> {
        if !self.bytes().is_empty() || self.out.queued() > 0 {
            let problem = "something stands between the greeting and TLS";
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        Ok(Self { stream: self.stream.secure(tls, host).await?, ..self })
    }

    /// Where to queue what is to be sent.
    pub fn out(&self) -> &Outbound {
        &self.out
    }

    /// What has come and has not been consumed.
    pub fn bytes(&self) -> &[u8] {
        self.input.bytes()
    }

    /// So many of [`Link::bytes`] are done with.
    pub fn consume(&mut self, bytes: usize) {
        self.input.consume(bytes);
    }

    /// So many of the bytes that have come or will come are of no interest.
    pub fn skip(&mut self, bytes: u64) {
        self.input.skip(bytes);
    }

    /// Sends what is queued, and ends when more bytes have come: [`Link::bytes`] has them behind
    /// what it had. Fails when the connection has ended, or with
    /// [`InvalidData`](io::ErrorKind::InvalidData) when it holds `bytes_max` bytes already.
    pub async fn read(&mut self, bytes_max: usize) -> io::Result<()> {
        poll_fn(|context| {
            self.poll_send(context)?;
            loop {
                let before = self.input.received();
                ready!(self.poll_receive(context, bytes_max))?;
                self.heard = Instant::now();
                // All of it may have been skipped.
                if !self.input.bytes().is_empty() && self.input.received() > before {
                    return Poll::Ready(Ok(()));
                }
            }
        })
        .await
    }

    /// Sends what is queued, now and later, until that fails: for a holder that does not read for
    /// now.
    pub async fn drive(&mut self) -> io::Error {
        poll_fn(|context| match self.poll_send(context) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(error),
        })
        .await
    }

    /// Which limit is passed: of a server that says nothing although it was `asked` something at
    /// that time, or takes nothing of what is queued. `None` is no limit.
    pub fn silence(
        &self,
        asked: Option<Instant>,
        read_timeout: Option<Duration>,
        write_timeout: Option<Duration>,
        now: Instant,
    ) -> Option<Silence> {
        let over = |since: Instant, limit: Option<Duration>| {
            limit.filter(|limit| now.saturating_duration_since(since) > *limit)
        };
        let unheard = asked.and_then(|asked| over(asked.max(self.heard), read_timeout));
        let stuck = || self.stuck().and_then(|since| over(since, write_timeout));
        unheard.map(Silence::Unheard).or_else(|| stuck().map(Silence::Stuck))
    }

    /// Since when no byte has been taken of what is queued, if anything is.
    fn stuck(&self) -> Option<Instant> {
        (self.out.queued() > 0).then_some(self.sent)
    }

    /// Sends as much as may be sent now.
    fn poll_send(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        loop {
            let queued = self.out.queued();
            if queued == 0 {
                self.sent = Instant::now();
                break;
            }
            match self.out.with(|bytes| self.stream.poll_write(context, bytes)) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(bytes)) => {
                    self.out.taken(bytes);
                    self.sent = Instant::now();
                    self.unflushed = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        if self.unflushed {
            match self.stream.poll_flush(context) {
                Poll::Ready(flushed) => {
                    flushed?;
                    self.unflushed = false;
                }
                Poll::Pending => {}
            }
        }
        self.out.wake_by(context.waker());
        Ok(())
    }

    fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        bytes_max: usize,
    ) -> Poll<io::Result<()>> {
        if self.input.bytes().len() >= bytes_max {
            let problem = format!("a message of more than {bytes_max} bytes");
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, problem)));
        }
        let mut buffer = ReadBuf::new(self.input.room());
        ready!(self.stream.poll_read(context, &mut buffer))?;
        let bytes = buffer.filled().len();
        if bytes == 0 {
            let problem = "the server closed the connection";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, problem)));
        }
        self.input.filled(bytes);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;

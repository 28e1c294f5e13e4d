//! The way to one worker and back: a pair of pipes, or a connection.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream, tcp, unix};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::time::timeout;

use super::frames::{self, Ear, Garbled, Said};

/// Bytes of one read.
const READ_BYTES: usize = 16 * 1024;
/// For the rest of a line of noise to come.
const NOISE_TIME: Duration = Duration::from_millis(100);
/// How much of it is worth reading.
const NOISE_BYTES: usize = 2048;

/// See the module.
#[derive(Debug)]
pub struct Wire {
    to: To,
    from: From,
    ear: Ear,
    buffer: Box<[u8]>,
}

#[derive(Debug)]
enum To {
    Pipe(ChildStdin),
    Tcp(tcp::OwnedWriteHalf),
    Unix(unix::OwnedWriteHalf),
}

#[derive(Debug)]
enum From {
    Pipe(ChildStdout),
    Tcp(tcp::OwnedReadHalf),
    Unix(unix::OwnedReadHalf),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The question has not been read as a whole.
    #[error("the worker took no question: {0}")]
    Unsent(io::Error),
    /// The other end is closed, and not a byte of an answer has come.
    #[error("the worker has gone")]
    Gone,
    /// The other end is closed in the middle of an answer.
    #[error("the worker has gone in the middle of an answer")]
    Cut,
    /// What came is no answer.
    #[error(transparent)]
    Garbled(#[from] Garbled),
    /// An answer that was not asked for.
    #[error("the worker answered twice, or before it had read the question")]
    Unasked,
}

impl Wire {
    /// Over a child's pipes. Its own ends stay blocking: PHP reads a frame's header by one call.
    pub fn pipes(stdin: ChildStdin, stdout: ChildStdout) -> Self {
        Self::new(To::Pipe(stdin), From::Pipe(stdout))
    }

    /// Over a connection.
    pub fn tcp(stream: TcpStream) -> Self {
        // Frames are whole: waiting for more would only delay them.
        let _ = stream.set_nodelay(true);
        let (from, to) = stream.into_split();
        Self::new(To::Tcp(to), From::Tcp(from))
    }

    /// The same.
    pub fn unix(stream: UnixStream) -> Self {
        let (from, to) = stream.into_split();
        Self::new(To::Unix(to), From::Unix(from))
    }

    fn new(to: To, from: From) -> Self {
        Self { to, from, ear: Ear::default(), buffer: vec![0; READ_BYTES].into() }
    }

    /// Asks who is there: its process id.
    pub async fn introduce(&mut self) -> Result<u32, Broken> {
        match self.exchange(&frames::pid_request()).await? {
            Said::Pid(pid) => Ok(pid),
            Said::Error(text) => Err(Garbled::Control(text).into()),
            _ => Err(Broken::Unasked),
        }
    }

    /// Writes a frame and takes the answer to it. Both at once: a worker that writes much before
    /// it reads must not wait for ever.
    pub async fn exchange(&mut self, frame: &[u8]) -> Result<Said, Broken> {
        // Header and payload go by one write: PHP takes a header in two for a broken one.
        let mut out = frame.to_vec();
        let mut written = 0;
        loop {
            match self.ear.next_said() {
                Ok(Some(Said::Ping)) => out.extend(frames::pong()),
                Ok(Some(said)) if written >= frame.len() => return Ok(said),
                // It may say this at any time, and reads nothing from then on.
                Ok(Some(Said::Stop)) => return Ok(Said::Stop),
                Ok(Some(_)) => return Err(Broken::Unasked),
                Ok(None) => {}
                Err(garbled) => return Err(self.heard_noise(garbled).await),
            }
            let Self { to, from, ear, buffer } = self;
            tokio::select! {
                biased;
                read = from.read(buffer) => match read {
                    Ok(bytes @ 1..) => ear.hear(&buffer[..bytes]),
                    Ok(0) | Err(_) if !ear.is_empty() => return Err(Broken::Cut),
                    Ok(0) | Err(_) if written < frame.len() => {
                        return Err(Broken::Unsent(io::ErrorKind::BrokenPipe.into()));
                    }
                    Ok(0) | Err(_) => return Err(Broken::Gone),
                },
                wrote = to.write(&out[written..]), if written < out.len() => {
                    match wrote {
                        Ok(bytes) => written += bytes,
                        // A pong that nobody takes: what the worker says goes on.
                        Err(_) if written >= frame.len() => written = out.len(),
                        Err(error) => return self.last_words(error).await,
                    }
                }
            }
        }
    }

    /// The worker takes no more of a question. It may have said why.
    async fn last_words(&mut self, error: io::Error) -> Result<Said, Broken> {
        match timeout(NOISE_TIME, self.unasked()).await {
            Ok(Ok(Said::Stop)) => Ok(Said::Stop),
            Ok(Err(Broken::Garbled(garbled))) => Err(garbled.into()),
            _ => Err(Broken::Unsent(error)),
        }
    }

    /// What a worker says though nobody has asked, once it does. May be dropped at any time.
    pub async fn unasked(&mut self) -> Result<Said, Broken> {
        loop {
            match self.ear.next_said() {
                Ok(Some(said)) => return Ok(said),
                Ok(None) => {}
                Err(garbled) => return Err(self.heard_noise(garbled).await),
            }
            match self.from.read(&mut self.buffer).await {
                Ok(bytes @ 1..) => self.ear.hear(&self.buffer[..bytes]),
                Ok(0) | Err(_) if !self.ear.is_empty() => return Err(Broken::Cut),
                Ok(0) | Err(_) => return Err(Broken::Gone),
            }
        }
    }

    /// The worker has said something that was not taken yet, or has closed its end. Asks the
    /// system: what has just come counts.
    pub fn has_more(&self) -> bool {
        !self.ear.is_empty() || is_readable(self.from.as_fd())
    }

    /// Tells the worker to end, as far as it listens.
    pub async fn say_stop(&mut self) {
        let _ = self.to.write(&frames::stop()).await;
    }

    /// Reads on for a moment, so that what stands in the log is the whole line and not the 12 bytes
    /// of a header.
    async fn heard_noise(&mut self, garbled: Garbled) -> Broken {
        let Garbled::Noise(_) = garbled else { return garbled.into() };
        let mut heard = 0;
        let rest = async {
            while heard < NOISE_BYTES {
                match self.from.read(&mut self.buffer).await {
                    Ok(bytes @ 1..) => {
                        self.ear.hear(&self.buffer[..bytes]);
                        heard += bytes;
                    }
                    _ => break,
                }
            }
        };
        let _ = timeout(NOISE_TIME, rest).await;
        Garbled::Noise(self.ear.text()).into()
    }
}

impl To {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Pipe(to) => to.write(bytes).await,
            Self::Tcp(to) => to.write(bytes).await,
            Self::Unix(to) => to.write(bytes).await,
        }
    }
}

impl From {
    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Pipe(from) => from.read(buffer).await,
            Self::Tcp(from) => from.read(buffer).await,
            Self::Unix(from) => from.read(buffer).await,
        }
    }
}

impl AsFd for From {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Pipe(from) => from.as_fd(),
            Self::Tcp(from) => from.as_ref().as_fd(),
            Self::Unix(from) => from.as_ref().as_fd(),
        }
    }
}

fn is_readable(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    // An error is no reason to trust it: whoever reads will see.
    rustix::event::poll(&mut fds, Some(&now)).map_or(true, |ready| ready > 0)
}

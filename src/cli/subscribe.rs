//! `roadcast subscribe`: prints the messages of topics until Ctrl-C.
//!
//! One thread that sleeps in `poll` on the socket, on a pipe that a signal writes to, and on
//! standard output, whose reader may go away. Lines are written together and flushed before each
//! sleep.

mod backoff;
mod connect;
mod words;

use std::io::{self, BufWriter, IsTerminal, Read, Stdout, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Deserialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
use tungstenite::{Error, Message, WebSocket};

use super::args::SubscribeArgs;
use super::out;
use super::printer::Printer;
use backoff::{Backoff, random};
use connect::connect;
use words::{SubscribeError, ended, named};

/// For the upgrade and for the answer to the join, each. A guess: long for any network that a
/// person waits for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// For the server's Close after ours, once the user has asked for the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Subscribes and prints. 0 when the user ends it (Ctrl-C, SIGTERM, or nobody reads the output any
/// more); 1 when it cannot begin or the server ends it, with the reason on stderr. With
/// `--reconnect` it tries again where that may help.
pub fn run(args: &SubscribeArgs) -> ExitCode {
    match subscribe(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::fail(error),
    }
}

fn subscribe(args: &SubscribeArgs) -> Result<(), SubscribeError> {
    let url = match &args.url {
        Some(url) => url.clone(),
        None => super::addresses(&args.config)?.url()?,
    };
    let escape = io::stdout().is_terminal();
    let mut subscriber = Subscriber {
        url: &url,
        args,
        interrupts: Interrupts::watch().map_err(SubscribeError::Signals)?,
        printer: Printer { out: BufWriter::new(io::stdout()), json: args.json, escape },
        joined: None,
        joins: 0,
    };
    let mut backoff = Backoff::new();
    loop {
        let outcome = subscriber.connection();
        let Err(error) = outcome else { return Ok(()) };
        if !args.reconnect || !error.may_pass() {
            return Err(error);
        }
        let joined = subscriber.joined.take().map_or(Duration::ZERO, |since| since.elapsed());
        let wait = error.retry_after() + backoff.wait(joined, random());
        out::say(format_args!("roadcast: {error}. Trying again in {:.1} s", wait.as_secs_f64()));
        if !matches!(subscriber.sleep(None, Some(Instant::now() + wait))?, Woken::Deadline) {
            return Ok(());
        }
    }
}

/// SIGINT and SIGTERM. The second one ends the process at once.
struct Interrupts {
    /// Gets a byte with each of them.
    pipe: UnixStream,
    /// While nothing watches the pipe: the first one ends the process at once, too, with code 0.
    unwatched: Arc<AtomicBool>,
}

impl Interrupts {
    fn watch() -> io::Result<Self> {
        let (pipe, writing) = UnixStream::pair()?;
        let (seen, unwatched) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        for signal in [SIGINT, SIGTERM] {
            // This order: the first signal is looked at before it is noted.
            signal_hook::flag::register_conditional_shutdown(signal, 0, unwatched.clone())?;
            signal_hook::flag::register_conditional_shutdown(signal, 1, seen.clone())?;
            signal_hook::flag::register(signal, seen.clone())?;
            signal_hook::low_level::pipe::register(signal, writing.try_clone()?)?;
        }
        pipe.set_nonblocking(true)?;
        Ok(Self { pipe, unwatched })
    }

    /// Does what cannot be interrupted otherwise.
    fn during<T>(&self, act: impl FnOnce() -> T) -> T {
        self.unwatched.store(true, Ordering::SeqCst);
        let outcome = act();
        self.unwatched.store(false, Ordering::SeqCst);
        outcome
    }
}

/// Who subscribes, over one connection after the other.
struct Subscriber<'a> {
    url: &'a str,
    args: &'a SubscribeArgs,
    interrupts: Interrupts,
    printer: Printer<BufWriter<Stdout>>,
    /// When the connection had joined.
    joined: Option<Instant>,
    /// Connections that have joined.
    joins: u64,
}

type Socket = WebSocket<TcpStream>;

/// What a sleep ended with.
enum Woken {
    Socket,
    Interrupted,
    /// Nobody reads standard output any more.
    Unread,
    Deadline,
}

impl Subscriber<'_> {
    /// Connects, joins, and prints until the user ends it.
    fn connection(&mut self) -> Result<(), SubscribeError> {
        let mut socket =
            self.interrupts.during(|| connect(self.url, self.args.origin.as_deref()))?;
        let mut join = serde_json::json!({ "command": "join", "topics": self.args.topics });
        if let Some(broker) = &self.args.broker {
            join["broker"] = broker.as_str().into();
        }
        if self.args.gaps {
            join["gaps"] = true.into();
        }
        socket.send(Message::text(join.to_string())).map_err(ended)?;
        socket
            .get_ref()
            .set_nonblocking(true)
            .map_err(|error| SubscribeError::Lost(error.to_string()))?;
        let outcome = self.read(&mut socket);
        // Whatever the end, what has come is printed.
        let _ = self.printer.out.flush();
        outcome
    }

    fn read(&mut self, socket: &mut Socket) -> Result<(), SubscribeError> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            let message = match socket.read() {
                Ok(message) => message,
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    match self.printer.out.flush() {
                        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                            return close(socket);
                        }
                        other => other.map_err(SubscribeError::Output)?,
                    }
                    let deadline = self.joined.is_none().then_some(deadline);
                    match self.sleep(Some(socket.get_ref()), deadline)? {
                        Woken::Socket => continue,
                        Woken::Interrupted | Woken::Unread => return close(socket),
                        Woken::Deadline => return Err(SubscribeError::Silent(self.url.to_owned())),
                    }
                }
                Err(error) => return Err(ended(error)),
            };
            let Message::Text(text) = message else {
                if let Message::Close(frame) = message {
                    // The answer to the server's Close.
                    let _ = socket.flush();
                    return Err(SubscribeError::Closed(frame));
                }
                continue;
            };
            let mut printed = Ok(());
            match serde_json::from_str(&text) {
                Ok(Received { topic, payload: Payload::Text(payload) }) => {
                    printed = self.printer.print(&topic, &payload);
                }
                Ok(Received { topic, payload: Payload::Topics(topics) }) if topic == "@gap" => {
                    printed = self.printer.print_gap(&topics);
                }
                Ok(Received { topic, .. }) if topic == "@join" => self.has_joined(),
                Ok(Received { topic, .. }) if topic == "#join" => {
                    return close(socket)
                        .and(Err(SubscribeError::NotJoined(named(&self.args.topics))));
                }
                Ok(_) => {}
                Err(error) => {
                    out::say(format_args!("Skipped a message that is not understood: {error}"))
                }
            }
            match printed {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return close(socket),
                other => other.map_err(SubscribeError::Output)?,
            }
        }
    }

    fn has_joined(&mut self) {
        self.joined = Some(Instant::now());
        self.joins += 1;
        let topics = named(&self.args.topics);
        if self.joins == 1 {
            out::say(format_args!("Joined {topics}. Ctrl-C ends."));
        } else {
            out::say(format_args!(
                "Joined {topics} again. What was published in between is missing."
            ));
        }
    }

    /// Waits for the socket, if there is one, a signal, or the loss of the reader.
    fn sleep(
        &mut self,
        socket: Option<&TcpStream>,
        deadline: Option<Instant>,
    ) -> Result<Woken, SubscribeError> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let timeout = left.map(|left| Timespec {
                tv_sec: left.as_secs() as i64,
                // Rounded up: a sleep of nothing just before the deadline would spin.
                tv_nsec: i64::from(left.subsec_nanos().max(1)),
            });
            let output = io::stdout();
            let mut sources = vec![
                PollFd::new(&self.interrupts.pipe, PollFlags::IN),
                // Reported unasked: that a pipe has lost its reader, an error, or a socket, a
                // hang-up.
                PollFd::new(&output, PollFlags::empty()),
            ];
            sources.extend(socket.map(|socket| PollFd::new(socket, PollFlags::IN)));
            match poll(&mut sources, timeout.as_ref()) {
                Ok(0) => return Ok(Woken::Deadline),
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(SubscribeError::Lost(error.to_string())),
            }
            let (interrupts, output) = (sources[0].revents(), sources[1].revents());
            let socket = sources.get(2).map_or(PollFlags::empty(), PollFd::revents);
            if !interrupts.is_empty() {
                let _ = self.interrupts.pipe.read(&mut [0; 16]);
                return Ok(Woken::Interrupted);
            }
            if output.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL) {
                return Ok(Woken::Unread);
            }
            if !socket.is_empty() {
                return Ok(Woken::Socket);
            }
        }
    }
}

/// Says goodbye and gives the server a moment to answer; how that goes changes nothing for the
/// user.
fn close(socket: &mut Socket) -> Result<(), SubscribeError> {
    let deadline = Instant::now() + CLOSE_TIMEOUT;
    let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    let mut said = socket.close(Some(frame));
    while !matches!(said, Err(Error::ConnectionClosed | Error::AlreadyClosed)) {
        match socket.read() {
            Ok(_) => {}
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                // Standard output may be the reason for the end: only the socket counts from here
                // on.
                let left = deadline.saturating_duration_since(Instant::now());
                let timeout = Timespec {
                    tv_sec: left.as_secs() as i64,
                    tv_nsec: i64::from(left.subsec_nanos()),
                };
                let mut sources = [PollFd::new(socket.get_ref(), PollFlags::IN)];
                if !matches!(poll(&mut sources, Some(&timeout)), Ok(1..)) {
                    break;
                }
            }
            Err(_) => break,
        }
        said = socket.flush();
    }
    Ok(())
}

/// What the server sends: a publication, whose payload is a string, or a reply, whose payload is a
/// list.
#[derive(Deserialize)]
struct Received {
    topic: String,
    payload: Payload,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Payload {
    Text(String),
    Topics(Vec<String>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_called_like_a_reply_is_told_from_one_by_its_payload() {
        let publication: Received =
            serde_json::from_str(r#"{"topic":"@join","payload":"x"}"#).unwrap();
        assert!(matches!(publication.payload, Payload::Text(_)));
        let reply: Received = serde_json::from_str(r#"{"topic":"@join","payload":["x"]}"#).unwrap();
        assert!(matches!(reply.payload, Payload::Topics(_)));
    }
}

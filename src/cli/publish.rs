//! `roadcast publish`: messages to topics, over the RPC socket.
//!
//! Two threads, so that an answer is looked at while the next line is still awaited: one reads messages and sends
//! calls, the other reads the answers. A bounded channel of the calls in flight is the window between them.
//!
//! Deliberately absent: trying again. A call without an answer may have been delivered; whether it may be sent twice
//! only its author knows.

use std::collections::HashSet;
use std::fmt;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Read, Stdin, Write};
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use prost::Message as _;

use super::args::PublishArgs;
use super::dial::{self, DialError};
use crate::config::Problems;
use crate::rpc::{self, Codec, Decoded};

/// Calls in flight. Their answers (43 bytes each) fit the socket's receive buffer, so the server never waits for us.
const CALLS_MAX: usize = 256;
/// Bytes of one line. The default bound of a goridge frame is 16 MiB; no server takes more without being told to.
const LINE_BYTES_MAX: u64 = 16 << 20;
/// Bytes of one answer: a name and an error text.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// For an answer to come. Longer than a server makes a publisher wait whose subscribers are all slow (a guess).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Why not all was published.
#[derive(Debug, thiserror::Error)]
enum PublishError {
    #[error(transparent)]
    Config(#[from] Problems),
    #[error("`{0}` is not an address of a publish socket: tcp://HOST:PORT or unix:///PATH")]
    Address(String),
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(
        "what listens at {0} is not a publish socket: {1}. `roadcast serve` prints where it takes publications"
    )]
    Stranger(String, String),
    #[error(
        "{0} closed the connection without an answer: it was stopped, or a message is over its roadcast.limits.rpc_frame_bytes"
    )]
    Closed(String),
    #[error("{0} does not answer within {seconds} seconds", seconds = ANSWER_TIMEOUT.as_secs())]
    Silent(String),
    #[error("message {0} is refused: {1}")]
    Refused(u32, String),
    #[error("message {0} was not taken: the server answers ok = false")]
    NotTaken(u32),
    #[error("the connection to {0} broke: {1}")]
    Broken(String, io::Error),
    #[error("cannot read standard input: {0}")]
    Input(io::Error),
    #[error("line {0} of standard input is longer than 16 MiB")]
    Line(u32),
    #[error("{why}. {confirmed} lines were confirmed{unknown}")]
    Midway { why: Box<PublishError>, confirmed: u64, unknown: Unknown },
}

/// Lines that were sent, or about to be, when the connection broke.
#[derive(Debug)]
struct Unknown(Option<RangeInclusive<u32>>);

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(lines) = &self.0 else { return Ok(()) };
        let (first, last) = (lines.start(), lines.end());
        let named = if first == last { format!("line {first}") } else { format!("lines {first} to {last}") };
        write!(f, "; {named} got no answer, so may or may not have been published")
    }
}

/// Publishes what the arguments say. 0 once all of it has been answered ok, 1 at the first failure, named on stderr.
pub fn run(args: &PublishArgs) -> ExitCode {
    match publish(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::fail(error),
    }
}

fn publish(args: &PublishArgs) -> Result<(), PublishError> {
    let address = match &args.url {
        Some(url) => url.clone(),
        None => super::addresses(&args.config)?.publish()?,
    };
    let (reading, writing) = connect(&address)?;
    let messages = match args.message.as_deref() {
        Some(message) if message != "-" => Messages::One(Some(message.as_bytes().to_vec())),
        _ => {
            if io::stdin().is_terminal() {
                eprintln!("Each line becomes a message; Ctrl-D ends.");
            }
            Messages::Lines { input: BufReader::new(io::stdin()), number: 0 }
        }
    };
    let lines = matches!(messages, Messages::Lines { .. });
    let calls = Calls { topics: args.topics.clone(), broker: args.broker.clone() };
    let (opened, in_flight) = sync_channel(CALLS_MAX);
    thread::spawn(move || {
        let mut writing = BufWriter::new(writing);
        if let Err(failure) = send_all(messages, &calls, &mut writing, &opened) {
            // The other side of the channel is gone only when it has failed itself.
            let _ = opened.send(Err(failure));
        }
    });
    let mut settled = Settled::default();
    settle_all(reading, &in_flight, &address, &mut settled)
        .map_err(|why| if lines { settled.midway(why) } else { why })
}

type Reading = Box<dyn Read + Send>;
type Writing = Box<dyn Write + Send>;

fn connect(address: &str) -> Result<(Reading, Writing), PublishError> {
    let broken = |error| PublishError::Broken(address.to_owned(), error);
    if let Some(path) = address.strip_prefix("unix://") {
        let stream = dial::unix(path, address)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(broken)?;
        return Ok((Box::new(stream.try_clone().map_err(broken)?), Box::new(stream)));
    }
    let parts = address.strip_prefix("tcp://").unwrap_or(address).rsplit_once(':');
    let Some((host, Ok(port))) = parts.map(|(host, port)| (host, port.parse())) else {
        return Err(PublishError::Address(address.to_owned()));
    };
    if host.contains('/') {
        return Err(PublishError::Address(address.to_owned()));
    }
    let stream = dial::tcp(host, port, address)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(broken)?;
    Ok((Box::new(stream.try_clone().map_err(broken)?), Box::new(stream)))
}

/// Where messages come from.
enum Messages {
    /// The command line.
    One(Option<Vec<u8>>),
    /// Standard input, a message a line.
    Lines { input: BufReader<Stdin>, number: u32 },
}

impl Messages {
    fn next(&mut self) -> Result<Option<Vec<u8>>, PublishError> {
        let (input, number) = match self {
            Self::One(message) => return Ok(message.take()),
            Self::Lines { input, number } => (input, number),
        };
        *number = number.wrapping_add(1);
        let mut line = Vec::new();
        input.take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line).map_err(PublishError::Input)?;
        if line.is_empty() {
            return Ok(None);
        }
        if line.last() == Some(&b'\n') {
            line.pop();
            // Files of other systems end their lines with both.
            line.pop_if(|last| *last == b'\r');
        } else if line.len() as u64 > LINE_BYTES_MAX {
            return Err(PublishError::Line(*number));
        }
        Ok(Some(line))
    }

    /// Whether the next message may be long in coming.
    fn awaited(&self) -> bool {
        match self {
            Self::One(_) => true,
            Self::Lines { input, .. } => !input.buffer().contains(&b'\n'),
        }
    }
}

/// What all calls have in common.
struct Calls {
    topics: Vec<String>,
    broker: Option<String>,
}

impl Calls {
    fn encode(&self, sequence: u32, payload: Vec<u8>) -> Vec<u8> {
        let mut call = Vec::new();
        match &self.broker {
            None => {
                let body = rpc::publish_body(self.topics.iter().map(String::as_str), &payload);
                rpc::encode_call(&mut call, sequence, "broadcast.Publish", Codec::Proto, &body);
            }
            Some(broker) => {
                let message = rpc::proto::websockets::Message {
                    command: String::new(),
                    broker: broker.clone(),
                    topics: self.topics.clone(),
                    payload,
                };
                let body = rpc::proto::websockets::Request { messages: vec![message] }.encode_to_vec();
                rpc::encode_call(&mut call, sequence, "websockets.Publish", Codec::Proto, &body);
            }
        }
        call
    }
}

/// Why the sending side has stopped.
enum Failure {
    /// Its input.
    Input(PublishError),
    /// The connection; what the reading side sees of it says more.
    Write(io::Error),
}

/// Sends a call for each message, numbered from 1. Each number goes into the window before its call is written.
fn send_all(
    mut messages: Messages,
    calls: &Calls,
    writing: &mut impl Write,
    opened: &SyncSender<Result<u32, Failure>>,
) -> Result<(), Failure> {
    let mut sequence = 0u32;
    loop {
        if messages.awaited() {
            writing.flush().map_err(Failure::Write)?;
        }
        let Some(payload) = messages.next().map_err(Failure::Input)? else { break };
        sequence = sequence.wrapping_add(1);
        match opened.try_send(Ok(sequence)) {
            Ok(()) => {}
            Err(TrySendError::Full(number)) => {
                // The window opens only by answers to calls that have left.
                writing.flush().map_err(Failure::Write)?;
                if opened.send(number).is_err() {
                    return Ok(());
                }
            }
            Err(TrySendError::Disconnected(_)) => return Ok(()),
        }
        writing.write_all(&calls.encode(sequence, payload)).map_err(Failure::Write)?;
    }
    if sequence == 0 && !io::stdin().is_terminal() {
        eprintln!("0 messages read from standard input");
    }
    writing.flush().map_err(Failure::Write)
}

/// What has become of the calls.
#[derive(Default)]
struct Settled {
    confirmed: u64,
    unanswered: HashSet<u32>,
}

impl Settled {
    /// A failure with what it leaves behind. One of the input comes when all calls have been answered.
    fn midway(mut self, why: PublishError) -> PublishError {
        if let PublishError::Refused(line, _) | PublishError::NotTaken(line) = &why {
            self.unanswered.remove(line);
        }
        let first = self.unanswered.iter().min().copied();
        let unknown = Unknown(first.zip(self.unanswered.iter().max().copied()).map(|(a, b)| a..=b));
        PublishError::Midway { why: Box::new(why), confirmed: self.confirmed, unknown }
    }
}

/// Reads answers until every call has one and no more are made.
fn settle_all(
    mut reading: Reading,
    in_flight: &Receiver<Result<u32, Failure>>,
    address: &str,
    settled: &mut Settled,
) -> Result<(), PublishError> {
    let mut answers = Answers { buffer: Vec::new(), address };
    let Settled { confirmed, unanswered } = settled;
    let mut failure = None;
    let mut sending = true;
    loop {
        while sending {
            let next = if unanswered.is_empty() {
                in_flight.recv().map_err(|_| TryRecvError::Disconnected)
            } else {
                in_flight.try_recv()
            };
            match next {
                Ok(Ok(sequence)) => drop(unanswered.insert(sequence)),
                Ok(Err(stopped)) => {
                    failure = Some(stopped);
                    sending = false;
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => sending = false,
            }
        }
        if unanswered.is_empty() {
            return match failure {
                None => Ok(()),
                Some(Failure::Input(error)) => Err(error),
                Some(Failure::Write(error)) => Err(PublishError::Broken(address.to_owned(), error)),
            };
        }
        let sequence = answers.next(&mut reading)?;
        // The window is refilled between the answers, so the number may still be on its way here.
        while !unanswered.remove(&sequence) {
            match in_flight.try_recv() {
                Ok(Ok(number)) => drop(unanswered.insert(number)),
                Ok(Err(stopped)) => failure = Some(stopped),
                Err(_) => {
                    let what = format!("it answers a call {sequence} that was not made");
                    return Err(PublishError::Stranger(address.to_owned(), what));
                }
            }
        }
        *confirmed += 1;
    }
}

/// Answers out of a stream of bytes.
struct Answers<'a> {
    buffer: Vec<u8>,
    address: &'a str,
}

impl Answers<'_> {
    /// The number of the next call that has been answered ok.
    fn next(&mut self, reading: &mut Reading) -> Result<u32, PublishError> {
        loop {
            match rpc::decode_answer(&self.buffer, ANSWER_BYTES_MAX) {
                Ok(Decoded::Whole { value: answer, bytes }) => {
                    let sequence = answer.sequence;
                    match answer.ok() {
                        Ok(true) => {}
                        Ok(false) => return Err(PublishError::NotTaken(sequence)),
                        Err(text) => return Err(PublishError::Refused(sequence, text)),
                    }
                    self.buffer.drain(..bytes);
                    return Ok(sequence);
                }
                Ok(Decoded::Partial { .. }) => {}
                Err(violation) => {
                    return Err(PublishError::Stranger(self.address.to_owned(), violation.to_string()));
                }
            }
            let mut chunk = [0; 4096];
            let count = match reading.read(&mut chunk) {
                Ok(0) => return Err(PublishError::Closed(self.address.to_owned())),
                Ok(count) => count,
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => continue,
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        return Err(PublishError::Silent(self.address.to_owned()));
                    }
                    io::ErrorKind::ConnectionReset => {
                        return Err(PublishError::Closed(self.address.to_owned()));
                    }
                    _ => return Err(PublishError::Broken(self.address.to_owned(), error)),
                },
            };
            self.buffer.extend_from_slice(&chunk[..count]);
        }
    }
}

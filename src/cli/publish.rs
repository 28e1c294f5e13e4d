//! `roadcast publish`: messages to topics, over the RPC socket.
//!
//! Two threads, so that an answer is looked at while the next line is still awaited: one reads
//! messages and sends calls, the other reads the answers. A bounded channel of the calls in flight
//! is the window between them.
//!
//! Deliberately absent: trying again. A call without an answer may have been delivered; whether it
//! may be sent twice only its author knows.

mod account;
mod lines;
mod settle;

use std::io::{self, BufReader, BufWriter, IsTerminal, Write};
use std::net::Shutdown;
use std::process::ExitCode;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use prost::Message as _;
use socket2::Socket;

use super::args::PublishArgs;
use super::dial::{self, DialError};
use super::out;
use crate::config::Problems;
use crate::rpc::{self, Codec};
use account::Account;
use lines::{Input, Next};
use settle::{Refused, Settling};

/// Calls in flight, and as many on their way between the threads. Their answers (43 bytes each) fit
/// the socket's receive buffer, so the server never waits for us.
const CALLS_MAX: usize = 128;
/// For an answer to come. Longer than a server makes a publisher wait whose subscribers are all
/// slow (a guess).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Why not all was published.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] Problems),
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
    #[error("message {0} {1}")]
    Refused(u32, Refused),
    #[error("the connection to {0} broke: {1}")]
    Broken(String, io::Error),
    #[error("cannot read standard input: {0}")]
    Input(io::Error),
    #[error("{0}")]
    LinesRefused(Account),
    #[error("{why}. {account}")]
    Midway { why: Box<Failure>, account: Account },
}

/// Publishes what the arguments say. 0 once all of it has been answered ok; 1 if anything was not,
/// named on stderr. A line of standard input that is refused is named at once, and the next ones
/// are published all the same.
pub fn run(args: &PublishArgs) -> ExitCode {
    match publish(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::fail(error),
    }
}

fn publish(args: &PublishArgs) -> Result<(), Failure> {
    let address = super::rpc_address(args.url.as_deref(), &args.config)?;
    let Connection { reading, writing, ending } = connect(&address)?;
    let messages = match args.message.as_deref() {
        Some(message) if message != "-" => Input::One(Some(message.as_bytes().to_vec())),
        _ => {
            if io::stdin().is_terminal() {
                out::say(invitation(&args.topics));
            }
            Input::Lines(BufReader::new(io::stdin()))
        }
    };
    let lines = matches!(messages, Input::Lines(_));
    let calls = Calls { topics: args.topics.clone(), broker: args.broker.clone() };
    let (opened, in_flight) = sync_channel(CALLS_MAX);
    let broken = {
        let address = address.clone();
        move |error| Failure::Broken(address.clone(), error)
    };
    thread::spawn(move || {
        let mut writing = BufWriter::new(writing);
        if let Err(failure) = send_all(messages, &calls, &mut writing, &opened, broken) {
            // The other side of the channel is gone only when it has failed itself.
            let _ = opened.send(Opened::Failed(failure));
        }
    });
    let mut settling =
        Settling { reading, in_flight: &in_flight, address: &address, account: Account::default() };
    if !lines {
        return settling.run(|number, why| Err(Failure::Refused(number, why)));
    }
    let outcome = settling.run(|line, why| {
        out::say(format_args!("roadcast: line {line} {why}"));
        Ok(())
    });
    match outcome {
        Ok(()) if settling.account.refused + settling.account.in_doubt == 0 => Ok(()),
        Ok(()) => Err(Failure::LinesRefused(settling.account)),
        Err(why) => {
            // What has not been written by now never leaves, so what is told of the rest is true.
            let _ = ending.shutdown(Shutdown::Both);
            settling.rest();
            Err(Failure::Midway { why: why.into(), account: settling.account })
        }
    }
}

/// What is said to someone who is about to type messages.
fn invitation(topics: &[String]) -> String {
    format!("Each line becomes a message to {}; Ctrl-D ends.", topics.join(", "))
}

/// Both directions of a socket, and its end.
struct Connection {
    reading: Socket,
    writing: Socket,
    ending: Socket,
}

fn connect(address: &str) -> Result<Connection, Failure> {
    let socket = dial::rpc(address)?;
    let opened = socket.set_read_timeout(Some(ANSWER_TIMEOUT)).and_then(|()| {
        let (reading, ending) = (socket.try_clone()?, socket.try_clone()?);
        Ok(Connection { reading, writing: socket, ending })
    });
    opened.map_err(|error| Failure::Broken(address.to_owned(), error))
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
                let body =
                    rpc::proto::websockets::Request { messages: vec![message] }.encode_to_vec();
                rpc::encode_call(&mut call, sequence, "websockets.Publish", Codec::Proto, &body);
            }
        }
        call
    }
}

/// What the sending side tells the other.
enum Opened {
    /// A call is about to leave.
    Call(u32),
    /// This line is too long to be sent.
    TooLong(u32),
    /// Nothing more is sent. Of the connection, what the reading side sees of it says more.
    Failed(Failure),
}

/// Sends a call for each message, numbered from 1 as the lines are. Each number goes into the
/// window before its call is written.
fn send_all(
    mut messages: Input,
    calls: &Calls,
    writing: &mut impl Write,
    opened: &SyncSender<Opened>,
    broken: impl Fn(io::Error) -> Failure,
) -> Result<(), Failure> {
    let mut number = 0u32;
    loop {
        if messages.awaited() {
            writing.flush().map_err(&broken)?;
        }
        let next = messages.next().map_err(Failure::Input)?;
        number = number.wrapping_add(1);
        let (message, opens) = match next {
            Next::End => break,
            Next::Message(message) => (Some(message), Opened::Call(number)),
            Next::TooLong => (None, Opened::TooLong(number)),
        };
        match opened.try_send(opens) {
            Ok(()) => {}
            Err(TrySendError::Full(opens)) => {
                // The window opens only by answers to calls that have left.
                writing.flush().map_err(&broken)?;
                if opened.send(opens).is_err() {
                    return Ok(());
                }
            }
            Err(TrySendError::Disconnected(_)) => return Ok(()),
        }
        if let Some(message) = message {
            writing.write_all(&calls.encode(number, message)).map_err(&broken)?;
        }
    }
    if number == 1 && !io::stdin().is_terminal() {
        out::say("roadcast: 0 messages read from standard input");
    }
    writing.flush().map_err(broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_types_messages_is_told_where_they_go() {
        let topics = ["news", "hello"].map(str::to_owned);
        assert_eq!(invitation(&topics), "Each line becomes a message to news, hello; Ctrl-D ends.");
    }
}

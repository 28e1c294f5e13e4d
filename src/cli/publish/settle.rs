//! The side that reads answers.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, TryRecvError};

use socket2::Socket;

use super::account::Account;
use super::{CALLS_MAX, Failure, Opened};
use crate::escape;
use crate::rpc::{self, Decoded, IN_DOUBT};

/// Bytes of one answer: a name and an error text.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// The answers to the calls in flight.
pub struct Settling<'a> {
    /// Where they come from.
    pub reading: Socket,
    /// The other side of the window.
    pub in_flight: &'a Receiver<Opened>,
    /// For errors.
    pub address: &'a str,
    /// What has become of the calls.
    pub account: Account,
}

impl Settling<'_> {
    /// Reads answers until every call has one and no more are made. `refused` says of a call that
    /// it was not taken, or not for sure, and why; it may end everything.
    pub fn run(
        &mut self,
        mut refused: impl FnMut(u32, Refused) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut answers = Answers { buffer: Vec::new(), address: self.address };
        let mut ended = None;
        loop {
            while ended.is_none() && self.account.open.len() < CALLS_MAX {
                let next = if self.account.open.is_empty() {
                    self.in_flight.recv().map_err(|_| TryRecvError::Disconnected)
                } else {
                    self.in_flight.try_recv()
                };
                match next {
                    Ok(opened) => ended = self.open(opened, &mut refused)?,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => ended = Some(Ok(())),
                }
            }
            if self.account.open.is_empty()
                && let Some(ended) = ended
            {
                return ended;
            }
            let (call, outcome) = answers.next(&mut self.reading)?;
            // The window is refilled between the answers, so the number may still be on its way
            // here.
            while !self.account.open.remove(&call) {
                let Ok(opened) = self.in_flight.try_recv() else {
                    let what = format!("it answers a call {call} that was not made");
                    return Err(Failure::Stranger(self.address.to_owned(), what));
                };
                ended = self.open(opened, &mut refused)?.or(ended);
            }
            match outcome {
                Ok(()) => self.account.confirmed += 1,
                Err(why) => {
                    match why {
                        Refused::InDoubt(_) => self.account.in_doubt += 1,
                        _ => self.account.refused += 1,
                    }
                    refused(call, why)?;
                }
            }
        }
    }

    /// Calls on their way here when everything has ended: no more than these can have left.
    pub fn rest(&mut self) {
        while let Ok(opened) = self.in_flight.try_recv() {
            if let Opened::Call(call) = opened {
                self.account.open.insert(call);
            }
        }
    }

    /// Takes what the sending side says. Its end, if this is it.
    fn open(
        &mut self,
        opened: Opened,
        refused: &mut impl FnMut(u32, Refused) -> Result<(), Failure>,
    ) -> Result<Option<Result<(), Failure>>, Failure> {
        match opened {
            Opened::Call(call) => {
                self.account.open.insert(call);
            }
            Opened::TooLong(line) => {
                self.account.refused += 1;
                refused(line, Refused::TooLong)?;
            }
            Opened::Failed(failure) => return Ok(Some(Err(failure))),
        }
        Ok(None)
    }
}

/// Why a message was not taken, or not for sure.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("is refused: {}", escape::line(.0))]
    Error(String),
    #[error("{IN_DOUBT}: {}", escape::line(.0))]
    InDoubt(String),
    #[error("was not taken: the server answers ok = false")]
    NotOk,
    #[error("is longer than 16 MiB, and is not sent")]
    TooLong,
}

/// Answers out of a stream of bytes.
struct Answers<'a> {
    buffer: Vec<u8>,
    address: &'a str,
}

impl Answers<'_> {
    /// The next answer: the number of its call, and how it went.
    fn next(&mut self, reading: &mut impl Read) -> Result<(u32, Result<(), Refused>), Failure> {
        loop {
            match rpc::decode_answer(&self.buffer, ANSWER_BYTES_MAX) {
                Ok(Decoded::Whole { value: answer, bytes }) => {
                    let outcome = match answer.ok() {
                        Ok(true) => Ok(()),
                        Ok(false) => Err(Refused::NotOk),
                        Err(text) => Err(match text.strip_suffix(IN_DOUBT) {
                            Some(why) => Refused::InDoubt(why.trim_end_matches(": ").to_owned()),
                            None => Refused::Error(text),
                        }),
                    };
                    let call = answer.sequence;
                    self.buffer.drain(..bytes);
                    return Ok((call, outcome));
                }
                Ok(Decoded::Partial { .. }) => {}
                Err(violation) => {
                    return Err(Failure::Stranger(self.address.to_owned(), violation.to_string()));
                }
            }
            let mut chunk = [0; 4096];
            let count = match reading.read(&mut chunk) {
                Ok(0) => return Err(Failure::Closed(self.address.to_owned())),
                Ok(count) => count,
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => continue,
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        return Err(Failure::Silent(self.address.to_owned()));
                    }
                    io::ErrorKind::ConnectionReset => {
                        return Err(Failure::Closed(self.address.to_owned()));
                    }
                    _ => return Err(Failure::Broken(self.address.to_owned(), error)),
                },
            };
            self.buffer.extend_from_slice(&chunk[..count]);
        }
    }
}

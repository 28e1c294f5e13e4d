//! How far the head of a request has come (RFC 9112 §2), searched in what has arrived so far.

use super::Fault;
use super::head::is_token;

/// Bytes of empty lines before a request that are ignored. RFC 9112 §2.2 asks for one line.
const EMPTY_LINES_BYTES: usize = 16;

/// What has arrived of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The head's end has not arrived.
    Incomplete,
    /// A head of so many bytes. What follows is not its part.
    Complete(usize),
    /// What can never become a head within its bound. Nothing of it is read.
    Hopeless(Fault),
}

impl Arrival {
    /// Judges what has arrived of a connection, from its first byte. A head has `bytes_max` bytes
    /// at most, up to the empty line and with it. `seen_before` is the length of `bytes` at the
    /// last call (0 at the first): what has been searched is not searched again.
    pub fn of(bytes: &[u8], seen_before: usize, bytes_max: usize) -> Self {
        let start = empty_lines(bytes);
        if let Some(fault) = hopeless(bytes, start) {
            // It would perhaps never send the end of a head.
            return Self::Hopeless(fault);
        }
        match end_of_head(bytes, start, seen_before) {
            Some(len) if len <= bytes_max => Self::Complete(len),
            None if bytes.len() < bytes_max => Self::Incomplete,
            _ => Self::Hopeless(Fault::HeadBytes),
        }
    }
}

/// The bytes of empty lines that the request begins with: CRLF, or LF alone.
fn empty_lines(bytes: &[u8]) -> usize {
    let mut length = 0;
    while length < EMPTY_LINES_BYTES {
        length += match &bytes[length..] {
            [b'\r', b'\n', ..] => 2,
            [b'\n', ..] => 1,
            _ => break,
        };
    }
    length
}

/// What can never become an HTTP request behind `start` bytes of empty lines: its first bytes say
/// so.
fn hopeless(bytes: &[u8], start: usize) -> Option<Fault> {
    match &bytes[start..] {
        [] | b"\r" => None,
        [0x16, ..] => Some(Fault::Tls),
        // The signature of version 2 begins with two empty lines.
        [0, ..] if bytes.starts_with(b"\r\n\r\n") => Some(Fault::ProxyHeader),
        rest if rest.starts_with(b"PROXY ") => Some(Fault::ProxyHeader),
        // RFC 9110 §9.1: a method is a token.
        [first, ..] => (!is_token(*first)).then_some(Fault::NotHttp),
    }
}

/// Length of the head with the empty line that ends it, searched from `start`. A lone LF ends a
/// line too (RFC 9112 §2.2).
fn end_of_head(bytes: &[u8], start: usize, seen_before: usize) -> Option<usize> {
    // The end may have been seen but for its last byte: LF CR of LF CR LF.
    let from = seen_before.saturating_sub(2).max(start);
    let searched = bytes.get(from..)?;
    searched.iter().enumerate().filter(|(_, byte)| **byte == b'\n').find_map(|(index, _)| {
        match &searched[index + 1..] {
            [b'\n', ..] => Some(from + index + 2),
            [b'\r', b'\n', ..] => Some(from + index + 3),
            _ => None,
        }
    })
}

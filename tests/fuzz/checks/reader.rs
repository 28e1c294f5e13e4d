//! WebSocket frames: what they mean does not depend on how they arrive, and keeps the bounds.

use roadcast::ws::close::CloseCode;
use roadcast::ws::reader::{Incoming, Reader, ReaderLimits, Violation};

use super::pieces;

#[derive(Debug, PartialEq)]
enum Seen {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<CloseCode>),
    Violation(Violation),
}

/// First byte: the bound on a message, and how the rest is cut.
pub fn check(bytes: &[u8]) {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    let limits = ReaderLimits { message_bytes_max: 125 + usize::from(first) * 8 };
    let whole = read(std::iter::once(bytes), limits);
    assert_eq!(whole, read(bytes.chunks(1), limits), "byte by byte");
    assert_eq!(whole, read(pieces(bytes, first), limits), "in pieces");
    for seen in &whole {
        match seen {
            Seen::Text(message) => {
                assert!(message.len() <= limits.message_bytes_max);
                assert!(std::str::from_utf8(message).is_ok());
            }
            Seen::Binary(message) => assert!(message.len() <= limits.message_bytes_max),
            Seen::Ping(payload) => assert!(payload.len() <= 125),
            Seen::Close(Some(code)) => assert!(code.may_be_received()),
            Seen::Violation(violation) => assert!([1002, 1007, 1009].contains(&violation.code.0)),
            Seen::Pong | Seen::Close(None) => {}
        }
    }
}

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>, limits: ReaderLimits) -> Vec<Seen> {
    let mut reader = Reader::default();
    let mut seen = Vec::new();
    for piece in pieces {
        let mut piece = piece.to_vec();
        let mut at = 0;
        loop {
            let (consumed, outcome) = reader.read(&mut piece[at..], limits);
            match outcome {
                Ok(None) => {
                    assert_eq!(at + consumed, piece.len(), "all input is used up");
                    break;
                }
                Ok(Some(incoming)) => {
                    assert!(consumed > 0, "whatever comes takes something");
                    seen.push(match incoming {
                        Incoming::Text(message) => Seen::Text(message.to_vec()),
                        Incoming::Binary(message) => Seen::Binary(message.to_vec()),
                        Incoming::Ping(payload) => Seen::Ping(payload.to_vec()),
                        Incoming::Pong => Seen::Pong,
                        Incoming::Close(code) => {
                            seen.push(Seen::Close(code));
                            return seen;
                        }
                    });
                }
                Err(violation) => {
                    seen.push(Seen::Violation(violation));
                    return seen;
                }
            }
            at += consumed;
        }
    }
    seen
}

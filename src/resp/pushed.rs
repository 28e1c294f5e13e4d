//! What comes on a connection that subscribes: messages, and answers to what it asked.

use super::token::{Token, Tokens, Violation};

/// See the module. Of sharded channels or not: a name is of one kind alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed<'a> {
    /// A publication.
    Message {
        /// Its channel.
        channel: &'a [u8],
        /// As it was published.
        payload: &'a [u8],
    },
    /// One whose payload is longer than allowed. What follows its head is to be skipped.
    Long {
        /// Its channel.
        channel: &'a [u8],
        /// Bytes to be skipped behind what was read.
        skip: u64,
    },
    /// A channel is subscribed.
    Subscribed(&'a [u8]),
    /// A channel is not subscribed any more: on request, or, of a sharded one, because its slot has
    /// gone to another node.
    Unsubscribed(&'a [u8]),
    /// An answer to PING.
    Pong,
    /// A command was refused.
    Error(&'a [u8]),
    /// Anything else.
    Other,
}

/// The first of what has come, and how many bytes it takes; `None`: not all of it has come. A name
/// or payload may have `bulk_max` bytes.
pub fn pushed(bytes: &[u8], bulk_max: usize) -> Result<Option<(Pushed<'_>, usize)>, Violation> {
    let mut tokens = Tokens::new(bytes, bulk_max);
    let Some(pushed) = one(&mut tokens)? else { return Ok(None) };
    Ok(Some((pushed, tokens.read())))
}

fn one<'a>(tokens: &mut Tokens<'a>) -> Result<Option<Pushed<'a>>, Violation> {
    let count = match tokens.next()? {
        None => return Ok(None),
        Some(Token::Array(count)) if count >= 2 => count,
        Some(Token::Error(why)) => return Ok(Some(Pushed::Error(why))),
        // Without a subscription PING is answered as everywhere.
        Some(Token::Status(b"PONG")) => return Ok(Some(Pushed::Pong)),
        Some(_) => return Err(Violation("an answer that was not asked for")),
    };
    let Some(kind) = tokens.next()? else { return Ok(None) };
    let Some(name) = tokens.next()? else { return Ok(None) };
    let Token::Bulk(kind) = kind else {
        return Err(Violation("a message of no kind"));
    };
    if let (b"pong", Token::Bulk(_), 2) = (kind, name, count) {
        return Ok(Some(Pushed::Pong));
    }
    if count != 3 {
        return Err(Violation("a message of another form"));
    }
    let Some(last) = tokens.next()? else { return Ok(None) };
    Ok(Some(match (kind, name, last) {
        (b"message" | b"smessage", Token::Bulk(channel), Token::Bulk(payload)) => {
            Pushed::Message { channel, payload }
        }
        (b"message" | b"smessage", Token::Bulk(channel), Token::Long(skip)) => {
            Pushed::Long { channel, skip }
        }
        (b"subscribe" | b"ssubscribe", Token::Bulk(channel), Token::Integer(_)) => {
            Pushed::Subscribed(channel)
        }
        (b"unsubscribe" | b"sunsubscribe", Token::Bulk(channel), Token::Integer(_)) => {
            Pushed::Unsubscribed(channel)
        }
        (_, Token::Array(_) | Token::Long(_), _) | (_, _, Token::Array(_) | Token::Long(_)) => {
            return Err(Violation("a message of another form"));
        }
        _ => Pushed::Other,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Pushed<'_> {
        for end in 0..bytes.len() {
            assert_eq!(pushed(&bytes[..end], 20), Ok(None), "{end}");
        }
        let (found, read) = pushed(bytes, 20).unwrap().unwrap();
        assert_eq!(read, bytes.len());
        found
    }

    #[test]
    fn each_kind_is_read_wherever_it_is_cut() {
        let (channel, payload) = (&b"foo"[..], &b"a\r\nb\xff"[..]);
        let message = Pushed::Message { channel, payload };
        assert_eq!(read(b"*3\r\n$7\r\nmessage\r\n$3\r\nfoo\r\n$5\r\na\r\nb\xff\r\n"), message);
        assert_eq!(read(b"*3\r\n$8\r\nsmessage\r\n$3\r\nfoo\r\n$5\r\na\r\nb\xff\r\n"), message);
        let subscribed = Pushed::Subscribed(channel);
        assert_eq!(read(b"*3\r\n$9\r\nsubscribe\r\n$3\r\nfoo\r\n:1\r\n"), subscribed);
        assert_eq!(read(b"*3\r\n$10\r\nssubscribe\r\n$3\r\nfoo\r\n:1\r\n"), subscribed);
        let gone = Pushed::Unsubscribed(channel);
        assert_eq!(read(b"*3\r\n$11\r\nunsubscribe\r\n$3\r\nfoo\r\n:0\r\n"), gone);
        assert_eq!(read(b"*3\r\n$12\r\nsunsubscribe\r\n$3\r\nfoo\r\n:0\r\n"), gone);
        assert_eq!(read(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"), Pushed::Pong);
        assert_eq!(read(b"+PONG\r\n"), Pushed::Pong);
        assert_eq!(read(b"-NOPERM no\r\n"), Pushed::Error(b"NOPERM no"));
        // Where nothing is subscribed.
        assert_eq!(read(b"*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n"), Pushed::Other);
    }

    #[test]
    fn a_long_payload_is_told_by_its_head_and_a_channel_that_is_too_long_is_no_channel_of_ours() {
        let head = b"*3\r\n$7\r\nmessage\r\n$3\r\nfoo\r\n$21\r\n";
        assert_eq!(read(head), Pushed::Long { channel: b"foo", skip: 23 });
        assert!(pushed(b"*3\r\n$7\r\nmessage\r\n$21\r\nfoo", 20).is_err());
        assert!(pushed(b"*3\r\n$7\r\nmessage\r\n*1\r\n:1\r\n:1\r\n", 20).is_err());
        assert!(pushed(b":1\r\n", 20).is_err());
        // What follows such a head is no beginning of anything.
        assert!(pushed(b"*2\r\n$4\r\npong\r\n*1\r\n:1\r\n", 20).is_err());
        assert!(pushed(b"*2\r\n$4\r\npong\r\n$21\r\n", 20).is_err());
    }
}

//! What a server says.
//!
//! A line, behind `MSG` and `HMSG` also so many bytes and a line end. Lines and messages are
//! bounded: a longer message is told and skipped, a longer line is an error.

use std::ops::Range;

/// Bytes of a line: `INFO` names all servers of a cluster.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// Bytes that a message may say it has. Servers take 64 MiB at most.
const MESSAGE_BYTES_MAX: u64 = 1 << 30;

/// One thing that a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// `INFO`, its JSON: at the beginning, and when something changes.
    Info(&'a [u8]),
    /// `MSG`, or `HMSG` without its headers.
    Message {
        /// Which subscription it is for.
        sid: u64,
        /// All of it.
        payload: &'a [u8],
    },
    /// A message over the bound, or with headers of more than a line may have. It is skipped.
    TooLong {
        /// Which subscription it was for.
        sid: u64,
        /// Of its payload, with headers.
        bytes: usize,
    },
    /// `PING`: to be answered.
    Ping,
    /// `PONG`: all that was sent before its PING has been dealt with.
    Pong,
    /// `+OK`, where somebody has asked for it.
    Ok,
    /// `-ERR`, without its quotes.
    Error(&'a str),
}

/// The stream cannot be made sense of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// No line of a server of NATS begins so.
    #[error("it is not NATS: it says \"{0}\"")]
    NotNats(String),
    /// It goes on and on.
    #[error("a line is longer than {LINE_BYTES_MAX} bytes")]
    LineTooLong,
    /// A number is missing or wrong, or a payload has no end.
    #[error("\"{0}\" is no message of NATS")]
    NoMessage(String),
}

/// Reads what a server says, in pieces as they come.
#[derive(Debug)]
pub struct Decoder {
    payload_bytes_max: usize,
    /// Of a message that is not taken.
    skip: usize,
}

impl Decoder {
    /// Messages have this many bytes at most.
    pub fn new(payload_bytes_max: usize) -> Self {
        Self { payload_bytes_max, skip: 0 }
    }

    /// The next of what `input` begins with, and how many bytes that is. Nothing and 0: it takes
    /// more of them. Nothing and more: they are skipped.
    pub fn next<'a>(
        &mut self,
        input: &'a [u8],
    ) -> Result<(usize, Option<Said<'a>>), ProtocolError> {
        if self.skip > 0 {
            let skipped = self.skip.min(input.len());
            self.skip -= skipped;
            return Ok((skipped, None));
        }
        let Some(end) = input.iter().take(LINE_BYTES_MAX).position(|byte| *byte == b'\n') else {
            if input.len() >= LINE_BYTES_MAX {
                return Err(ProtocolError::LineTooLong);
            }
            return may_begin(input).then_some((0, None)).ok_or_else(|| not_nats(input));
        };
        let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
        let (word, rest) = match line.iter().position(|byte| matches!(byte, b' ' | b'\t')) {
            Some(at) => (&line[..at], line[at..].trim_ascii()),
            None => (line, &line[..0]),
        };
        let said = match word.to_ascii_uppercase().as_slice() {
            b"MSG" | b"HMSG" => return self.message(word.len() == 4, rest, input, end + 1),
            b"PING" => Said::Ping,
            b"PONG" => Said::Pong,
            b"+OK" => Said::Ok,
            b"INFO" => Said::Info(rest),
            b"-ERR" => {
                let text = std::str::from_utf8(rest).unwrap_or("(not UTF-8)");
                Said::Error(
                    text.strip_prefix('\'')
                        .map_or(text, |text| text.strip_suffix('\'').unwrap_or(text)),
                )
            }
            _ => return Err(not_nats(line)),
        };
        Ok((end + 1, Some(said)))
    }

    /// `subject sid [reply] [#headers] #bytes`, and as many bytes behind the line.
    fn message<'a>(
        &mut self,
        headers: bool,
        arguments: &'a [u8],
        input: &'a [u8],
        begin: usize,
    ) -> Result<(usize, Option<Said<'a>>), ProtocolError> {
        let wrong = || ProtocolError::NoMessage(excerpt(arguments));
        let words: Vec<&[u8]> = arguments
            .split(|byte| matches!(byte, b' ' | b'\t'))
            .filter(|word| !word.is_empty())
            .take(6)
            .collect();
        let (sid, header_bytes, bytes) = match (headers, &words[..]) {
            (false, [_, sid, bytes] | [_, sid, _, bytes]) => (sid, None, bytes),
            (true, [_, sid, header_bytes, bytes] | [_, sid, _, header_bytes, bytes]) => {
                (sid, Some(header_bytes), bytes)
            }
            _ => return Err(wrong()),
        };
        let sid = number(sid).ok_or_else(wrong)?;
        let bytes = number(bytes).filter(|bytes| *bytes <= MESSAGE_BYTES_MAX).ok_or_else(wrong)?;
        let header_bytes = match header_bytes {
            Some(word) => number(word).filter(|header| *header <= bytes).ok_or_else(wrong)?,
            None => 0,
        };
        let (bytes, header_bytes) = (bytes as usize, header_bytes as usize);
        if bytes - header_bytes > self.payload_bytes_max || header_bytes > LINE_BYTES_MAX {
            self.skip = bytes + 2;
            return Ok((begin, Some(Said::TooLong { sid, bytes })));
        }
        let payload: Range<usize> = begin + header_bytes..begin + bytes;
        match input.get(payload.end..payload.end + 2) {
            None => Ok((0, None)),
            Some(b"\r\n") => {
                Ok((payload.end + 2, Some(Said::Message { sid, payload: &input[payload] })))
            }
            Some(_) => Err(wrong()),
        }
    }
}

/// Whether a line of a server may begin so.
fn may_begin(input: &[u8]) -> bool {
    [&b"MSG"[..], b"HMSG", b"INFO", b"PING", b"PONG", b"+OK", b"-ERR"].iter().any(|word| {
        let same = word.len().min(input.len());
        word[..same].eq_ignore_ascii_case(&input[..same])
    })
}

fn not_nats(input: &[u8]) -> ProtocolError {
    ProtocolError::NotNats(excerpt(input))
}

fn excerpt(input: &[u8]) -> String {
    input[..input.len().min(40)].escape_ascii().to_string()
}

fn number(word: &[u8]) -> Option<u64> {
    let digits = word.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(word).ok().filter(|_| digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// All that is said, as text, with the input coming in these pieces.
    fn read(pieces: &[&[u8]], max: usize) -> Result<Vec<String>, ProtocolError> {
        let (mut decoder, mut buffer, mut all) = (Decoder::new(max), Vec::new(), Vec::new());
        for piece in pieces {
            buffer.extend_from_slice(piece);
            loop {
                let (bytes, said) = decoder.next(&buffer)?;
                all.extend(said.map(|said| format!("{said:?}")));
                buffer.drain(..bytes);
                if bytes == 0 {
                    break;
                }
            }
        }
        Ok(all)
    }

    const STREAM: &[u8] = b"INFO {\"a\":1} \r\nPING\r\nMSG foo.bar 9 11\r\nHello World\r\n\
        MSG foo.bar 18446744073709551615 INBOX.34 11\r\nHello\r\nWorl\r\nmsg\tx 1 0\r\n\r\n\
        HMSG foo 7 34 45\r\nNATS/1.0\r\nFoodGroup: vegetable\r\n\r\nHello World\r\n\
        HMSG foo 7 reply 12 12\r\nNATS/1.0\r\n\r\n\r\n+OK\r\nPONG\n\
        MSG long 3 26\r\nabcdefghijklmnopqrstuvwxyz\r\n-ERR 'Slow Consumer'\r\n-err\tx\r\n";

    fn expected() -> Vec<String> {
        let message = |sid, payload: &str| {
            format!("{:?}", Said::Message { sid, payload: payload.as_bytes() })
        };
        vec![
            format!("{:?}", Said::Info(b"{\"a\":1}")),
            "Ping".to_owned(),
            message(9, "Hello World"),
            message(u64::MAX, "Hello\r\nWorl"),
            message(1, ""),
            message(7, "Hello World"),
            message(7, ""),
            "Ok".to_owned(),
            "Pong".to_owned(),
            "TooLong { sid: 3, bytes: 26 }".to_owned(),
            "Error(\"Slow Consumer\")".to_owned(),
            "Error(\"x\")".to_owned(),
        ]
    }

    #[test]
    fn what_a_server_says_is_read_wherever_it_is_cut() {
        assert_eq!(read(&[STREAM], 20).unwrap(), expected());
        for at in 0..STREAM.len() {
            assert_eq!(read(&[&STREAM[..at], &STREAM[at..]], 20).unwrap(), expected(), "{at}");
        }
        let bytes: Vec<&[u8]> = STREAM.chunks(1).collect();
        assert_eq!(read(&bytes, 20).unwrap(), expected());
    }

    #[test]
    fn what_is_not_nats_is_seen_at_its_first_bytes() {
        for other in
            [&b"SSH-2.0-OpenSSH"[..], b"+PONG\r\n", b"HTTP/1.1 400", b"-NOAUTH", b"\x15\x03"]
        {
            let error = read(&[other], 20).unwrap_err();
            assert!(matches!(error, ProtocolError::NotNats(_)), "{error}");
        }
        assert_eq!(
            read(&[b"HTTP/1.1 400 \x1b[1mBad Request\r\n"], 20).unwrap_err().to_string(),
            "it is not NATS: it says \"HTTP/1.1 400 \\x1b[1mBad Request\""
        );
    }

    #[test]
    fn wrong_numbers_and_endless_lines_are_errors() {
        for wrong in [
            "MSG a 1\r\n",
            "MSG a 1 2 3 4\r\n",
            "MSG a x 1\r\n",
            "MSG a 1 -1\r\n",
            "MSG a 1 99999999999\r\n",
            "MSG a 99999999999999999999 1\r\n",
            "HMSG a 1 5 4\r\n",
            "HMSG a 1 4\r\n",
            "MSG a 1 1\r\nab\r\n",
        ] {
            let error = read(&[wrong.as_bytes()], 20).unwrap_err();
            assert!(matches!(error, ProtocolError::NoMessage(_)), "{wrong}");
        }
        let endless = [b"INFO ".to_vec(), vec![b'x'; LINE_BYTES_MAX]].concat();
        assert_eq!(read(&[&endless], 20), Err(ProtocolError::LineTooLong));
    }

    #[test]
    fn a_message_with_headers_without_end_is_skipped_rather_than_waited_for() {
        let headers = LINE_BYTES_MAX + 1;
        let line = format!("HMSG foo 3 {headers} {}\r\n", headers + 5);
        let mut decoder = Decoder::new(20);
        let long = Said::TooLong { sid: 3, bytes: headers + 5 };
        assert_eq!(decoder.next(line.as_bytes()), Ok((line.len(), Some(long))));
        let rest = vec![b'x'; headers + 5 + 2];
        assert_eq!(decoder.next(&rest), Ok((rest.len(), None)));
        assert_eq!(decoder.next(b"PING\r\n"), Ok((6, Some(Said::Ping))));
    }

    #[test]
    fn no_bytes_at_all_make_it_panic() {
        let seed = 0x5EED_0132;
        let mut rng = StdRng::seed_from_u64(seed);
        for _ in 0..20_000 {
            let mut bytes = STREAM.to_vec();
            for _ in 0..rng.random_range(1..6) {
                let at = rng.random_range(0..bytes.len());
                match rng.random_range(0..3) {
                    0 => bytes[at] = rng.random(),
                    1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, b"0 9\r\n\t"[rng.random_range(0..6)]),
                }
            }
            let cut = rng.random_range(0..bytes.len());
            let whole = read(&[&bytes], 20);
            let parts = read(&[&bytes[..cut], &bytes[cut..]], 20);
            if let (Ok(whole), Ok(parts)) = (&whole, &parts) {
                assert_eq!(whole, parts, "seed {seed:#x}");
            }
            assert_eq!(whole.is_ok(), parts.is_ok(), "seed {seed:#x}: {bytes:?} at {cut}");
        }
    }
}

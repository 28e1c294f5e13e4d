//! The parts that answers are made of, one after the other.

/// Of a line: an error, a status, a number.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// What came is not RESP, or not within its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Violation(pub &'static str);

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// `+OK`
    Status(&'a [u8]),
    /// `-ERR …`
    Error(&'a [u8]),
    /// `:7`
    Integer(i64),
    /// `$3`, and as many bytes.
    Bulk(&'a [u8]),
    /// The head of a string of more bytes than are allowed, which are not looked at: those that
    /// follow the head, with its line's end.
    Long(u64),
    /// `*2`, and as many values.
    Array(usize),
    /// `$-1`, `*-1`
    Nil,
}

/// Reads tokens from what has come.
#[derive(Clone, Copy, Debug)]
pub struct Tokens<'a> {
    bytes: &'a [u8],
    at: usize,
    bulk_max: usize,
}

impl<'a> Tokens<'a> {
    pub fn new(bytes: &'a [u8], bulk_max: usize) -> Self {
        Self { bytes, at: 0, bulk_max }
    }

    /// Bytes that have been read.
    pub fn read(&self) -> usize {
        self.at
    }

    /// The next one; `None`: not all of it has come.
    pub fn next(&mut self) -> Result<Option<Token<'a>>, Violation> {
        let Some(&kind) = self.bytes.get(self.at) else { return Ok(None) };
        if !b"+-:$*".contains(&kind) {
            return Err(Violation("what came is not the protocol of Redis"));
        }
        let Some((line, after)) = self.line(self.at + 1)? else { return Ok(None) };
        let token = match kind {
            b'+' => Token::Status(line),
            b'-' => Token::Error(line),
            b':' => Token::Integer(number(line)?),
            b'*' => match number(line)? {
                -1 => Token::Nil,
                count => Token::Array(length(count)?),
            },
            _ => match number(line)? {
                -1 => Token::Nil,
                count => {
                    let length = length(count)?;
                    if length > self.bulk_max {
                        self.at = after;
                        return Ok(Some(Token::Long(length as u64 + 2)));
                    }
                    let Some(rest) = self.bytes[after..].get(..length + 2) else {
                        return Ok(None);
                    };
                    if !rest.ends_with(b"\r\n") {
                        return Err(Violation("a string that does not end where it should"));
                    }
                    self.at = after + length + 2;
                    return Ok(Some(Token::Bulk(&rest[..length])));
                }
            },
        };
        self.at = after;
        Ok(Some(token))
    }

    /// A line, and where the next one begins.
    fn line(&self, from: usize) -> Result<Option<(&'a [u8], usize)>, Violation> {
        let rest = &self.bytes[from..];
        let looked_at = &rest[..rest.len().min(LINE_BYTES_MAX)];
        match looked_at.iter().position(|byte| *byte == b'\n') {
            Some(end) if end > 0 && rest[end - 1] == b'\r' => {
                Ok(Some((&rest[..end - 1], from + end + 1)))
            }
            Some(_) => Err(Violation("a line that does not end with CR LF")),
            None if looked_at.len() == LINE_BYTES_MAX => Err(Violation("a line without an end")),
            None => Ok(None),
        }
    }
}

fn number(line: &[u8]) -> Result<i64, Violation> {
    let text = std::str::from_utf8(line).ok();
    text.and_then(|text| text.parse().ok()).ok_or(Violation("a number that is none"))
}

fn length(count: i64) -> Result<usize, Violation> {
    // Redis allows strings of 512 MiB, and arrays of as many values.
    let length = u32::try_from(count).map_err(|_| Violation("a length that cannot be"))?;
    Ok(length as usize)
}

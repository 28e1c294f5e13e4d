//! Whole answers.

use super::token::{Token, Tokens, Violation};

/// Arrays in arrays. CLUSTER SLOTS has four levels.
pub const DEPTH_MAX: usize = 8;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// `+OK`
    Status(&'a [u8]),
    /// `-ERR …`
    Error(&'a [u8]),
    /// A number.
    Integer(i64),
    /// A string of any bytes.
    Bulk(&'a [u8]),
    /// Any number of values.
    Array(Vec<Value<'a>>),
    /// There is none.
    Nil,
}

impl<'a> Value<'a> {
    /// As text, if it is any.
    pub fn text(&self) -> Option<&'a str> {
        match self {
            Self::Status(bytes) | Self::Bulk(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// Its values; none, if it is no array.
    pub fn values(&self) -> &[Value<'a>] {
        match self {
            Self::Array(values) => values,
            _ => &[],
        }
    }

    /// The number, if it is one.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }
}

/// The first value, and how many bytes it takes; `None`: not all of it has come. No string in it
/// may have more than `bulk_max` bytes.
pub fn value(bytes: &[u8], bulk_max: usize) -> Result<Option<(Value<'_>, usize)>, Violation> {
    let mut tokens = Tokens::new(bytes, bulk_max);
    let value = one(&mut tokens, 0)?;
    Ok(value.map(|value| (value, tokens.read())))
}

fn one<'a>(tokens: &mut Tokens<'a>, depth: usize) -> Result<Option<Value<'a>>, Violation> {
    let Some(token) = tokens.next()? else { return Ok(None) };
    let value = match token {
        Token::Status(bytes) => Value::Status(bytes),
        Token::Error(bytes) => Value::Error(bytes),
        Token::Integer(number) => Value::Integer(number),
        Token::Bulk(bytes) => Value::Bulk(bytes),
        Token::Nil => Value::Nil,
        Token::Long(_) => return Err(Violation("an answer that is too long")),
        Token::Array(_) if depth == DEPTH_MAX => {
            return Err(Violation("an answer that is nested too deep"));
        }
        Token::Array(count) => {
            // Not reserved: nobody has sent so many yet.
            let mut values = Vec::new();
            for _ in 0..count {
                let Some(value) = one(tokens, depth + 1)? else { return Ok(None) };
                values.push(value);
            }
            Value::Array(values)
        }
    };
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn answers_are_read_whole_wherever_they_are_cut() {
        let bytes = b"*5\r\n+OK\r\n-ERR no\r\n:-7\r\n$-1\r\n*2\r\n$3\r\na\r\n\r\n*0\r\n";
        for end in 0..bytes.len() {
            assert_eq!(value(&bytes[..end], 100), Ok(None), "{end}");
        }
        let mut more = bytes.to_vec();
        more.extend(b":1\r\n");
        let (found, read) = value(&more, 100).unwrap().unwrap();
        assert_eq!(read, bytes.len());
        let inner = Value::Array(vec![Value::Bulk(b"a\r\n"), Value::Array(vec![])]);
        let all =
            [Value::Status(b"OK"), Value::Error(b"ERR no"), Value::Integer(-7), Value::Nil, inner];
        assert_eq!(found, Value::Array(all.to_vec()));
    }

    #[test]
    fn what_is_no_resp_or_too_much_is_refused() {
        let deep = b"*1\r\n".repeat(DEPTH_MAX + 1);
        let long_line = [b"+".to_vec(), vec![b'x'; 70_000]].concat();
        let cases: [&[u8]; 9] = [
            b"HTTP/1.1 400 Bad Request\r\n",
            b"\x15\x03\x01\x00\x02\x02\x46",
            b"+OK\n",
            b":x\r\n",
            b"$99999999999\r\n",
            b"*-2\r\n",
            b"$2\r\nabcd",
            &deep,
            &long_line,
        ];
        for bytes in cases {
            assert!(value(bytes, 100).is_err(), "{:?}", bytes.escape_ascii().to_string());
        }
        assert!(value(b"$101\r\n", 100).is_err());
    }

    #[test]
    fn a_count_that_is_claimed_costs_nothing() {
        assert_eq!(value(b"*4294967295\r\n:1\r\n", 100), Ok(None));
        assert_eq!(value(b"$4294967295\r\n", usize::MAX), Ok(None));
    }

    #[test]
    fn random_bytes_never_panic() {
        let seed = 0x5EED_0013;
        let mut rng = StdRng::seed_from_u64(seed);
        let alphabet = b"+-:$*0123456789\r\n\r\n\r\nab";
        for _ in 0..20_000 {
            let length = rng.random_range(0..60);
            let bytes: Vec<u8> =
                (0..length).map(|_| alphabet[rng.random_range(0..alphabet.len())]).collect();
            let _ = value(&bytes, 20);
            let _ = crate::resp::pushed(&bytes, 20);
        }
    }
}

//! A JSON text (RFC 8259), value by value, read as Go reads it: commands come from clients that
//! were written for a Go server.
//!
//! Half a surrogate pair (`"\ud83d"`, as browsers send of an emoji that was cut) is one U+FFFD, and
//! so is each byte that is not part of valid UTF-8. Readers in general refuse both, which is why
//! there is one of our own. Whatever is skipped has the grammar checked and nothing else: a number
//! may have any size.
//!
//! Nothing recurses, one pass, and no allocation but for strings that cannot stand as they are.

use std::borrow::Cow;
use std::iter;

use smallvec::SmallVec;

/// How deep arrays and objects may lie within each other. Go's bound.
pub const DEPTH_MAX: usize = 10_000;

/// Why a text cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonError {
    /// It is not JSON.
    Syntax,
    /// Deeper than [`DEPTH_MAX`].
    TooDeep,
}

/// What a value is, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{`
    Object,
    /// `[`
    Array,
    /// `"`
    String,
    /// `null`, or what begins like it.
    Null,
    /// `true`, or what begins like it.
    True,
    /// A number, `false`, or nothing that JSON knows.
    Other,
}

/// Where reading stands in a text.
#[derive(Debug)]
pub struct JsonReader<'a> {
    text: &'a [u8],
    at: usize,
    /// Arrays and objects that have been entered and not left.
    depth: usize,
}

impl<'a> JsonReader<'a> {
    /// At the beginning of `text`.
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// What the next value is.
    pub fn kind(&mut self) -> Kind {
        match self.peek() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b'n') => Kind::Null,
            Some(b't') => Kind::True,
            _ => Kind::Other,
        }
    }

    /// Enters the array or object that comes next. Its values follow, each behind
    /// [`Self::next_item`] or [`Self::next_field`].
    pub fn enter(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(JsonError::TooDeep) } else { Ok(()) }
    }

    /// Whether another value follows in the array; if not, it is left. `first`: none has been read.
    pub fn next_item(&mut self, first: bool) -> Result<bool, JsonError> {
        self.next_in(b']', first)
    }

    /// The name of the next value in the object; if there is none, the object is left. `first`:
    /// none has been read.
    pub fn next_field(&mut self, first: bool) -> Result<Option<Cow<'a, str>>, JsonError> {
        if !self.next_in(b'}', first)? {
            return Ok(None);
        }
        let name = self.string()?;
        self.expect(b':')?;
        Ok(Some(name))
    }

    /// The string that comes next, as it is where that is possible.
    pub fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        let (inside, escaped) = self.string_inside()?;
        Ok(match std::str::from_utf8(inside) {
            Ok(text) if !escaped => text.into(),
            _ => unescaped(inside).into(),
        })
    }

    /// The whole number that comes next; `None` if it is something else, or does not fit.
    pub fn unsigned(&mut self) -> Result<Option<u64>, JsonError> {
        self.peek();
        let from = self.at;
        self.skip()?;
        Ok(str::from_utf8(&self.text[from..self.at]).ok().and_then(|text| text.parse().ok()))
    }

    /// Skips the value that comes next, whatever lies within it.
    pub fn skip(&mut self) -> Result<(), JsonError> {
        // What closes each array and object that has been entered here.
        let mut closing: SmallVec<[u8; 32]> = SmallVec::new();
        loop {
            let mut first = false;
            match self.peek().ok_or(JsonError::Syntax)? {
                open @ (b'{' | b'[') => {
                    self.enter()?;
                    closing.push(if open == b'{' { b'}' } else { b']' });
                    first = true;
                }
                b'"' => {
                    self.string_inside()?;
                }
                b'-' | b'0'..=b'9' => self.number()?,
                b'n' => self.literal(b"null")?,
                b't' => self.literal(b"true")?,
                b'f' => self.literal(b"false")?,
                _ => return Err(JsonError::Syntax),
            }
            loop {
                let Some(&close) = closing.last() else { return Ok(()) };
                if self.next_in(close, first)? {
                    if close == b'}' {
                        self.string_inside()?;
                        self.expect(b':')?;
                    }
                    break;
                }
                closing.pop();
                first = false;
            }
        }
    }

    /// Checks that nothing follows.
    pub fn end(&mut self) -> Result<(), JsonError> {
        if self.peek().is_none() { Ok(()) } else { Err(JsonError::Syntax) }
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.at) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.peek() != Some(byte) {
            return Err(JsonError::Syntax);
        }
        self.at += 1;
        Ok(())
    }

    fn next_in(&mut self, close: u8, first: bool) -> Result<bool, JsonError> {
        if self.peek() == Some(close) {
            self.at += 1;
            self.depth -= 1;
            return Ok(false);
        }
        if !first {
            self.expect(b',')?;
        }
        Ok(true)
    }

    /// What lies between the quotes of a string, checked, and whether there are escapes in it.
    fn string_inside(&mut self) -> Result<(&'a [u8], bool), JsonError> {
        self.expect(b'"')?;
        let (start, mut escaped) = (self.at, false);
        loop {
            let rest = &self.text[self.at..];
            self.at += plain_len(rest);
            match self.text[self.at..] {
                [b'"', ..] => {
                    self.at += 1;
                    return Ok((&self.text[start..self.at - 1], escaped));
                }
                [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => self.at += 2,
                [b'\\', b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(u8::is_ascii_hexdigit) => {
                    self.at += 6
                }
                _ => return Err(JsonError::Syntax),
            }
            escaped = true;
        }
    }

    fn number(&mut self) -> Result<(), JsonError> {
        self.take(|byte| byte == b'-');
        if !self.take(|byte| byte == b'0') {
            self.digits()?;
        }
        if self.take(|byte| byte == b'.') {
            self.digits()?;
        }
        if self.take(|byte| matches!(byte, b'e' | b'E')) {
            self.take(|byte| matches!(byte, b'+' | b'-'));
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        if !self.take(|byte| byte.is_ascii_digit()) {
            return Err(JsonError::Syntax);
        }
        while self.take(|byte| byte.is_ascii_digit()) {}
        Ok(())
    }

    fn take(&mut self, wanted: impl Fn(u8) -> bool) -> bool {
        let there = self.text.get(self.at).is_some_and(|&byte| wanted(byte));
        self.at += usize::from(there);
        there
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), JsonError> {
        if !self.text[self.at..].starts_with(word) {
            return Err(JsonError::Syntax);
        }
        self.at += word.len();
        Ok(())
    }
}

/// Bytes at the start of `text` that are inside a string and no escape.
fn plain_len(text: &[u8]) -> usize {
    let is_plain = |byte: u8| (byte >= 0x20) & (byte != b'"') & (byte != b'\\');
    // Whole chunks without a branch per byte: the compiler turns this into vector instructions.
    let (chunks, _) = text.as_chunks::<16>();
    let whole = chunks
        .iter()
        .take_while(|chunk| chunk.iter().fold(true, |plain, &byte| plain & is_plain(byte)));
    let start = whole.count() * 16;
    let rest = &text[start..];
    start + rest.iter().position(|&byte| !is_plain(byte)).unwrap_or(rest.len())
}

/// The text that the inside of a string stands for; its escapes have been checked.
fn unescaped(mut inside: &[u8]) -> String {
    let mut text = String::with_capacity(inside.len());
    loop {
        let plain = inside.iter().position(|&byte| byte == b'\\').unwrap_or(inside.len());
        push_bytes(&mut text, &inside[..plain]);
        inside = &inside[plain..];
        let (character, rest) = match inside {
            [b'\\', b'u', ..] => {
                // Neighbours together: two of them may be one character.
                let units = iter::from_fn(|| {
                    let (unit, rest) = utf16_unit(inside)?;
                    inside = rest;
                    Some(unit)
                });
                text.extend(
                    char::decode_utf16(units)
                        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)),
                );
                continue;
            }
            [b'\\', b'b', rest @ ..] => ('\u{8}', rest),
            [b'\\', b'f', rest @ ..] => ('\u{c}', rest),
            [b'\\', b'n', rest @ ..] => ('\n', rest),
            [b'\\', b'r', rest @ ..] => ('\r', rest),
            [b'\\', b't', rest @ ..] => ('\t', rest),
            [b'\\', itself, rest @ ..] => (char::from(*itself), rest),
            _ => return text,
        };
        text.push(character);
        inside = rest;
    }
}

/// The UTF-16 unit of the `\uXXXX` at the start, and what follows.
fn utf16_unit(text: &[u8]) -> Option<(u16, &[u8])> {
    let [b'\\', b'u', a, b, c, d, rest @ ..] = text else { return None };
    let digits = [a, b, c, d].map(|&digit| char::from(digit).to_digit(16));
    let unit = digits.into_iter().try_fold(0, |unit, digit| Some(unit << 4 | digit?))?;
    Some((unit as u16, rest))
}

/// Appends bytes that should be UTF-8, one U+FFFD for each that is not part of it.
fn push_bytes(text: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
}

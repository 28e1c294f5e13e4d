//! As much of Go's gob as the calls of operators and their answers are made of: each body is a
//! stream of its own.
//!
//! ```text
//! message  length, type, value; a negative type defines the type of that number
//! value    of a struct: fields, each behind its distance from the one before, then 0;
//!          what is zero is left out. Of anything else that stands alone: 0 before it
//! ```
//!
//! An integer below 128 is one byte; another is its bytes, highest first, behind their number,
//! negated. A signed one is shifted left, its sign at the right. A float's bytes are reversed.
//!
//! Deliberately absent: reading anything but one text.

/// The types that need no definition.
pub const UINT: i64 = 3;
/// See [`UINT`].
pub const INT: i64 = 2;
/// See [`UINT`].
pub const BOOL: i64 = 1;
/// See [`UINT`].
pub const FLOAT: i64 = 4;
/// See [`UINT`].
pub const TEXT: i64 = 6;

/// What a type is made of.
pub enum Shape<'a> {
    /// Any number of this type.
    Slice(i64),
    /// Fields by name and type.
    Struct(&'a [(&'a str, i64)]),
}

/// Why bytes are not the value expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GobError {
    /// They end before it does.
    #[error("it ends early")]
    Truncated,
    /// A number of more than 8 bytes.
    #[error("a number of {0} bytes")]
    Number(usize),
    /// A value of another type.
    #[error("a value of type {0}, expected {1}")]
    Type(i64, i64),
    /// A lone value has a 0 before it.
    #[error("byte {0} before the value, expected 0")]
    Lone(u64),
}

/// Reads the one text that a body is. Go's need not be UTF-8.
pub fn read_text(body: &[u8]) -> Result<&[u8], GobError> {
    let mut value = lone(body, TEXT)?;
    let length = take_uint(&mut value)?;
    take(&mut value, length)
}

/// The value of the message at the beginning of a body. What stands behind it nobody looks at, as
/// in Go.
fn lone(body: &[u8], expected: i64) -> Result<&[u8], GobError> {
    let mut rest = body;
    let length = take_uint(&mut rest)?;
    let mut message = take(&mut rest, length)?;
    let coded = take_uint(&mut message)?;
    let found = (coded >> 1) as i64 ^ -((coded & 1) as i64);
    if found != expected {
        return Err(GobError::Type(found, expected));
    }
    match take_uint(&mut message)? {
        0 => Ok(message),
        other => Err(GobError::Lone(other)),
    }
}

fn take<'a>(rest: &mut &'a [u8], length: u64) -> Result<&'a [u8], GobError> {
    let length = usize::try_from(length).map_err(|_| GobError::Truncated)?;
    let (taken, behind) = rest.split_at_checked(length).ok_or(GobError::Truncated)?;
    *rest = behind;
    Ok(taken)
}

fn take_uint(rest: &mut &[u8]) -> Result<u64, GobError> {
    let first = take(rest, 1)?[0];
    if first < 0x80 {
        return Ok(first.into());
    }
    let length = usize::from(first.wrapping_neg());
    if length > 8 {
        return Err(GobError::Number(length));
    }
    let bytes = take(rest, length as u64)?;
    Ok(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// Appends an unsigned integer.
pub fn uint(out: &mut Vec<u8>, value: u64) {
    if value < 0x80 {
        out.push(value as u8);
        return;
    }
    let skipped = value.leading_zeros() as usize / 8;
    out.push((8 - skipped as u8).wrapping_neg());
    out.extend(&value.to_be_bytes()[skipped..]);
}

/// Appends a signed integer.
pub fn int(out: &mut Vec<u8>, value: i64) {
    uint(out, (value << 1 ^ value >> 63) as u64);
}

/// Appends a text.
pub fn text(out: &mut Vec<u8>, value: &str) {
    uint(out, value.len() as u64);
    out.extend(value.as_bytes());
}

/// Appends a message: a value of a type.
pub fn message(out: &mut Vec<u8>, of: i64, value: &[u8]) {
    let mut typed = Vec::with_capacity(9);
    int(&mut typed, of);
    uint(out, (typed.len() + value.len()) as u64);
    out.extend(typed);
    out.extend(value);
}

/// Appends the definition of a type, which may have no name.
pub fn define(out: &mut Vec<u8>, number: i64, name: &str, shape: Shape<'_>) {
    // Go's `wireType`: a field for each kind of type; in it first what all of them have.
    let kind = match shape {
        Shape::Slice(_) => 2,
        Shape::Struct(_) => 3,
    };
    let mut definition = vec![kind, 1];
    let mut common = Fields::of(&mut definition);
    common.text(1, name);
    common.int(2, number);
    common.end();
    // Then what is its own, the field behind that.
    definition.push(1);
    match shape {
        Shape::Slice(element) => int(&mut definition, element),
        Shape::Struct(fields) => {
            uint(&mut definition, fields.len() as u64);
            for (name, of) in fields {
                let mut field = Fields::of(&mut definition);
                field.text(1, name);
                field.int(2, *of);
                field.end();
            }
        }
    }
    definition.extend([0, 0]);
    message(out, -number, &definition);
}

/// The fields of a struct, appended in their order, from 1 on.
pub struct Fields<'a> {
    out: &'a mut Vec<u8>,
    last: u64,
}

impl<'a> Fields<'a> {
    /// None yet.
    pub fn of(out: &'a mut Vec<u8>) -> Self {
        Self { out, last: 0 }
    }

    /// Begins a field, and gives where its value goes.
    pub fn value(&mut self, place: u64) -> &mut Vec<u8> {
        uint(self.out, place - self.last);
        self.last = place;
        self.out
    }

    /// A signed integer.
    pub fn int(&mut self, place: u64, value: i64) {
        if value != 0 {
            int(self.value(place), value);
        }
    }

    /// An unsigned integer.
    pub fn uint(&mut self, place: u64, value: u64) {
        if value != 0 {
            uint(self.value(place), value);
        }
    }

    /// A float.
    pub fn float(&mut self, place: u64, value: f64) {
        if value != 0.0 {
            uint(self.value(place), value.to_bits().swap_bytes());
        }
    }

    /// A text.
    pub fn text(&mut self, place: u64, value: &str) {
        if !value.is_empty() {
            text(self.value(place), value);
        }
    }

    /// No more fields.
    pub fn end(self) {
        self.out.push(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_the_documentation_of_gob_has_them() {
        for (value, coded) in [
            (0u64, &[0u8][..]),
            (7, &[7]),
            (127, &[127]),
            (128, &[0xff, 128]),
            (256, &[0xfe, 1, 0]),
            (u64::MAX, &[0xf8, 255, 255, 255, 255, 255, 255, 255, 255]),
        ] {
            let mut out = Vec::new();
            uint(&mut out, value);
            assert_eq!(out, coded);
            assert_eq!(take_uint(&mut &*out), Ok(value));
        }
        for (value, coded) in [(-1i64, &[1u8][..]), (-129, &[0xfe, 1, 1]), (64, &[0xff, 128])] {
            let mut out = Vec::new();
            int(&mut out, value);
            assert_eq!(out, coded);
        }
        let mut out = Vec::new();
        Fields::of(&mut out).float(1, 17.0);
        assert_eq!(out, [1, 0xfe, 0x31, 0x40]);
    }

    #[test]
    fn what_is_no_lone_value_of_the_type_is_refused() {
        assert_eq!(read_text(b"\x05\x0c\x00\x02hi behind it"), Ok(&b"hi"[..]));
        for (body, error) in [
            (&b""[..], GobError::Truncated),
            (b"\x03", GobError::Truncated),
            (b"\x05\x0c\x00\x03hi", GobError::Truncated),
            (b"\x05\x0c\x00\xf8\xff\xff\xff\xff\xff\xff\xff\xff", GobError::Truncated),
            (b"\xf7\x01", GobError::Number(9)),
            (b"\x80", GobError::Number(128)),
            (b"\x03\x02\x00\x01", GobError::Type(1, 6)),
            (b"\x03\x7f\x00\x01", GobError::Type(-64, 6)),
            (b"\x05\x0c\x01\x02hi", GobError::Lone(1)),
        ] {
            assert_eq!(read_text(body), Err(error), "{body:?}");
        }
    }
}

//! The inside of a JSON string (RFC 8259 §7), written for clients from bytes that need not be
//! UTF-8.
//!
//! Each byte that is not part of valid UTF-8 becomes one U+FFFD, as Go's encoder does it, so that
//! clients of a Go server see the same text. U+2028 and U+2029 are escaped: old JavaScript takes
//! them for line ends.

#[cfg(test)]
thread_local! {
    /// Bytes whose escaped length has been taken.
    pub(crate) static MEASURED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Bytes of `text` as [`pieces`] has it. Equal to the length of `text` exactly where nothing
/// changes.
pub(crate) fn escaped_len(text: &[u8]) -> usize {
    #[cfg(test)]
    MEASURED.set(MEASURED.get() + text.len());
    let mut length = 0;
    pieces(text, |piece| length += piece.len());
    length
}

/// Hands `write` the escaped text piece by piece: long runs that need no change as they are,
/// escapes between them.
pub(crate) fn pieces(text: &[u8], mut write: impl FnMut(&[u8])) {
    // Nearly every text is valid, and looking at it whole is several times as fast as chunk by
    // chunk.
    if std::str::from_utf8(text).is_ok() {
        return valid_pieces(text, &mut write);
    }
    for chunk in text.utf8_chunks() {
        valid_pieces(chunk.valid().as_bytes(), &mut write);
        for _ in chunk.invalid() {
            write("\u{FFFD}".as_bytes());
        }
    }
}

fn valid_pieces(mut text: &[u8], write: &mut impl FnMut(&[u8])) {
    loop {
        let (plain, rest) = text.split_at(plain_len(text));
        if !plain.is_empty() {
            write(plain);
        }
        text = match rest {
            [] => return,
            [0xE2, 0x80, last @ (0xA8 | 0xA9), rest @ ..] => {
                write(if *last == 0xA8 { b"\\u2028" } else { b"\\u2029" });
                rest
            }
            [0xE2, rest @ ..] => {
                write(&[0xE2]);
                rest
            }
            [byte, rest @ ..] => {
                match byte {
                    b'"' => write(b"\\\""),
                    b'\\' => write(b"\\\\"),
                    b'\n' => write(b"\\n"),
                    b'\r' => write(b"\\r"),
                    b'\t' => write(b"\\t"),
                    control => {
                        let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble & 0x0F)];
                        write(&[b'\\', b'u', b'0', b'0', digit(control >> 4), digit(*control)]);
                    }
                }
                rest
            }
        };
    }
}

/// Whether a byte of valid UTF-8 can stand as it is without a look at its neighbours. 0xE2 leads
/// U+2028 and U+2029.
#[inline]
fn is_plain(byte: u8) -> bool {
    (byte >= 0x20) & (byte != b'"') & (byte != b'\\') & (byte != 0xE2)
}

/// Bytes at the start of `text` that can stand as they are.
#[inline]
fn plain_len(text: &[u8]) -> usize {
    // Whole chunks without a branch per byte: the compiler turns this into vector instructions.
    let (chunks, _) = text.as_chunks::<32>();
    let whole = chunks
        .iter()
        .take_while(|chunk| chunk.iter().fold(true, |plain, &byte| plain & is_plain(byte)));
    let start = whole.count() * 32;
    let rest = &text[start..];
    start + rest.iter().position(|&byte| !is_plain(byte)).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// What Go's `for range` over a string sees: a character, or one U+FFFD for each byte that
    /// belongs to none.
    fn go_decode(mut bytes: &[u8]) -> String {
        let mut text = String::new();
        while !bytes.is_empty() {
            let character =
                (1..=bytes.len().min(4)).find_map(|n| std::str::from_utf8(&bytes[..n]).ok());
            text.push_str(character.unwrap_or("\u{FFFD}"));
            bytes = &bytes[character.map_or(1, str::len)..];
        }
        text
    }

    fn escaped(text: &[u8]) -> String {
        let mut out = Vec::new();
        pieces(text, |piece| out.extend_from_slice(piece));
        assert_eq!(out.len(), escaped_len(text));
        assert_eq!(
            out.len() == text.len(),
            out == text,
            "an equal length means that nothing changed"
        );
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn bytes_that_are_not_utf8_become_one_replacement_each() {
        let table: &[(&[u8], &str)] = &[
            (b"\xff", "\u{FFFD}"),
            (b"a\xe2\x82b", "a\u{FFFD}\u{FFFD}b"),
            (b"\xf0\x9f\x98", "\u{FFFD}\u{FFFD}\u{FFFD}"),
            (b"\xed\xa0\x80", "\u{FFFD}\u{FFFD}\u{FFFD}"),
            (b"\xc0\x80", "\u{FFFD}\u{FFFD}"),
            (b"\x80\xe2\x82\xac", "\u{FFFD}€"),
        ];
        for (bytes, expected) in table {
            assert_eq!(escaped(bytes), *expected, "{bytes:x?}");
            assert_eq!(go_decode(bytes), *expected, "{bytes:x?}");
        }
    }

    #[test]
    fn what_json_or_old_javascript_forbids_is_escaped() {
        assert_eq!(
            escaped(b"\"\\/\x00\x1f\x08\x0c\n\r\t\x7f"),
            r#"\"\\/\u0000\u001f\u0008\u000c\n\r\t"#.to_owned() + "\x7f"
        );
        assert_eq!(
            escaped("a\u{2028}b\u{2029}c\u{2027}\u{202A}€".as_bytes()),
            "a\\u2028b\\u2029c\u{2027}\u{202A}€"
        );
    }

    #[test]
    fn random_text_and_random_bytes_read_back_through_serde_json() {
        let seed = 0x5EED_0001;
        let mut rng = StdRng::seed_from_u64(seed);
        let alphabet = [
            "a", "\"", "\\", "\n", "\u{1}", "é", "€", "\u{2028}", "\u{2029}", "😀", "\u{FFFD}",
            " ", "<",
        ];
        for round in 0..4_000 {
            let mut bytes = Vec::new();
            for _ in 0..rng.random_range(0..120) {
                match rng.random_range(0..20) {
                    0 if round % 2 == 0 => bytes.push(rng.random::<u8>()),
                    1 => bytes.extend_from_slice(
                        alphabet[rng.random_range(0..alphabet.len())].as_bytes(),
                    ),
                    _ => bytes.push(rng.random_range(b'a'..=b'z')),
                }
            }
            let json = format!("\"{}\"", escaped(&bytes));
            let read: String = serde_json::from_str(&json).unwrap();
            assert_eq!(read, go_decode(&bytes), "seed {seed:#x} round {round}: {bytes:x?}");
        }
    }
}

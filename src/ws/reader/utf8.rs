//! UTF-8 checked in pieces, across the borders of fragments and of input.

/// Says whether text that arrives in pieces can still become valid UTF-8 (RFC 6455 §8.1). It keeps
/// no more than the beginning of one character.
#[derive(Debug, Default)]
pub(super) struct Utf8 {
    /// A character that a piece ended within: `begun[..begun_len]`, one to three bytes.
    begun: [u8; 4],
    begun_len: usize,
}

impl Utf8 {
    /// Takes the next piece; `false` as soon as no bytes that follow could make the text valid.
    pub(super) fn accept(&mut self, mut piece: &[u8]) -> bool {
        while self.begun_len > 0
            && let [byte, rest @ ..] = piece
        {
            piece = rest;
            // Room for it: three bytes are the most that can be incomplete.
            self.begun[self.begun_len] = *byte;
            match std::str::from_utf8(&self.begun[..=self.begun_len]) {
                Ok(_) => self.begun_len = 0,
                Err(error) if error.error_len().is_none() => self.begun_len += 1,
                Err(_) => return false,
            }
        }
        let Err(error) = std::str::from_utf8(piece) else { return true };
        if error.error_len().is_some() {
            return false;
        }
        let begun = &piece[error.valid_up_to()..];
        self.begun[..begun.len()].copy_from_slice(begun);
        self.begun_len = begun.len();
        true
    }

    /// Whether the text may end here.
    pub(super) fn is_complete(&self) -> bool {
        self.begun_len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every sequence of up to four of the bytes where the rules of Unicode's table 3-7 change, in
    /// every split.
    #[test]
    fn pieces_are_judged_as_the_whole_is_and_refused_at_the_first_impossible_byte() {
        let edges = [
            0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1,
            0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF,
        ];
        let mut texts: Vec<Vec<u8>> = vec![vec![]];
        for length in 0..4 {
            let longest: Vec<_> =
                texts.iter().filter(|text| text.len() == length).cloned().collect();
            // A text that can become nothing valid needs no longer ones.
            for text in longest.iter().filter(|text| possible(text)) {
                texts.extend(edges.iter().map(|&byte| [text.as_slice(), &[byte]].concat()));
            }
        }
        assert!(texts.len() > 10_000);
        for text in &texts {
            for split in 0..=text.len() {
                let mut utf8 = Utf8::default();
                let accepted = utf8.accept(&text[..split]) && utf8.accept(&text[split..]);
                assert_eq!(accepted, possible(text), "{text:x?} split at {split}");
                assert_eq!(
                    accepted && utf8.is_complete(),
                    std::str::from_utf8(text).is_ok(),
                    "{text:x?}"
                );
            }
            let mut utf8 = Utf8::default();
            assert_eq!(
                text.iter().all(|byte| utf8.accept(&[*byte])),
                possible(text),
                "{text:x?} byte by byte"
            );
        }
    }

    /// Whether some bytes behind `text` make it valid: tried out.
    fn possible(text: &[u8]) -> bool {
        let continuations = [0x80, 0x90, 0xA0];
        let mut ends: Vec<Vec<u8>> = vec![vec![]];
        for first in continuations {
            ends.push(vec![first]);
            ends.push(vec![first, 0x80]);
            ends.push(vec![first, 0x80, 0x80]);
        }
        ends.iter().any(|end| std::str::from_utf8(&[text, end].concat()).is_ok())
    }
}

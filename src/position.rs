//! A place in a topic's order: an offset, and the epoch that it counts in.
//!
//! ```text
//! {"offset":12,"epoch":"k3x0pq7"}
//! ```
//!
//! Offsets of one epoch go up by one with each publication. Of another epoch they say nothing: it
//! is another count, of a server that was started anew, or a topic that had been forgotten.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
/// Digits of the largest epoch.
const DIGITS_MAX: usize = 13;

/// Which count of a topic's publications. As text: 1 to 13 digits of base 36.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position {
    /// Publications of the epoch up to it.
    pub offset: u64,
    /// What it counts in.
    pub epoch: Epoch,
}

/// What somebody who joins has read of a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Since {
    /// Nothing, and begins now.
    #[default]
    Now,
    /// Nothing, and would like so many of the last publications.
    Last(u64),
    /// All up to there.
    Position(Position),
    /// All up to somewhere that is no position.
    Unreadable,
}

impl Epoch {
    /// Another one than all before: random, and 12 digits long.
    pub fn random() -> Self {
        const LEAST: u64 = 36u64.pow(11);
        // The standard library's keys for tables are random.
        Self(LEAST + RandomState::new().hash_one(()) % (35 * LEAST))
    }

    /// Reads one as it is written. `None`: nobody has written that.
    pub fn parse(text: &str) -> Option<Self> {
        let canonical = text.len() <= DIGITS_MAX && !text.starts_with('+');
        let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        let zero = text.len() > 1 && text.starts_with('0');
        if !canonical || !lower || zero {
            return None;
        }
        u64::from_str_radix(text, 36).ok().map(Self)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut digits, mut at, mut rest) = ([0; DIGITS_MAX], DIGITS_MAX, self.0);
        loop {
            at -= 1;
            digits[at] = DIGITS[(rest % 36) as usize];
            rest /= 36;
            if rest == 0 {
                break;
            }
        }
        f.write_str(str::from_utf8(&digits[at..]).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_reads_back_as_it_is_written_and_in_no_other_way() {
        for number in [0, 1, 35, 36, 1234567890, u64::MAX] {
            let text = Epoch(number).to_string();
            assert_eq!(Epoch::parse(&text), Some(Epoch(number)), "{text}");
            assert!(text.len() <= DIGITS_MAX);
        }
        for text in ["", "K3X", "+1", "-1", "01", "k 3", "ключ", &"z".repeat(13), &"1".repeat(14)]
        {
            assert_eq!(Epoch::parse(text), None, "{text}");
        }
    }

    #[test]
    fn epochs_differ() {
        assert_ne!(Epoch::random(), Epoch::random());
        assert!((0..100).all(|_| Epoch::random().to_string().len() == 12));
    }
}

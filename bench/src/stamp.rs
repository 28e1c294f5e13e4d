//! The stamp at the head of every payload: which publication this is, its place in its topic, when
//! it was due.
//!
//! A stamp is plain ASCII that no JSON encoder escapes, so it looks alike behind every server's
//! envelope, and it begins with a byte that occurs nowhere else in a message.

/// First byte of a stamp. No topic name, envelope or filler has it.
pub const MARK: u8 = b'~';

/// Bytes of a stamp: the mark and three numbers of eight digits.
pub const STAMP_BYTES: usize = 25;

/// What fills a payload up behind its stamp.
pub const FILLER: u8 = b'x';

/// One publication's stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Counts the publications to one server.
    pub publication: u32,
    /// Counts the publications of one topic.
    pub sequence: u32,
    /// When it was due, in ticks of the run's clock.
    pub due: u32,
}

impl Stamp {
    /// Overwrites the head of `payload`, which has at least [`STAMP_BYTES`].
    pub fn write(self, payload: &mut [u8]) {
        payload[0] = MARK;
        for (place, number) in [self.publication, self.sequence, self.due].into_iter().enumerate() {
            payload[1 + place * 8..][..8].copy_from_slice(&digits(number));
        }
    }

    /// Reads a stamp from the head of `bytes`; `None` if it is not one.
    #[inline]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; STAMP_BYTES] = bytes.first_chunk()?;
        if bytes[0] != MARK {
            return None;
        }
        let number = |at: usize| {
            bytes[at..].first_chunk::<8>().and_then(|digits| value(u64::from_le_bytes(*digits)))
        };
        Some(Self { publication: number(1)?, sequence: number(9)?, due: number(17)? })
    }
}

/// Eight digits of base 16, `a` to `p`, the lowest first.
fn digits(number: u32) -> [u8; 8] {
    std::array::from_fn(|place| b'a' + (number >> (4 * place) & 0xF) as u8)
}

/// The number that eight digits stand for, all at once; `None` if one is no digit.
#[inline]
fn value(digits: u64) -> Option<u32> {
    let nibbles = digits.wrapping_sub(0x6161_6161_6161_6161);
    if nibbles & 0xF0F0_F0F0_F0F0_F0F0 != 0 {
        return None;
    }
    // Pairs of nibbles to bytes, pairs of bytes to words, pairs of words to one.
    let bytes = (nibbles | nibbles >> 4) & 0x00FF_00FF_00FF_00FF;
    let words = (bytes | bytes >> 8) & 0x0000_FFFF_0000_FFFF;
    Some((words | words >> 16) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_reads_back_as_written() {
        for (publication, sequence, due) in
            [(0, 0, 0), (1, 2, 3), (u32::MAX, 0, u32::MAX), (0x1234_5678, 0x9ABC_DEF0, 0x0F0F_F0F0)]
        {
            let stamp = Stamp { publication, sequence, due };
            let mut payload = [FILLER; 40];
            stamp.write(&mut payload);
            assert_eq!(Stamp::read(&payload), Some(stamp));
        }
    }

    #[test]
    fn what_is_no_stamp_is_refused() {
        let mut payload = [FILLER; STAMP_BYTES];
        Stamp { publication: 1, sequence: 2, due: 3 }.write(&mut payload);
        assert_eq!(Stamp::read(&payload[..STAMP_BYTES - 1]), None);
        for at in 0..STAMP_BYTES {
            let mut broken = payload;
            broken[at] = b'z';
            assert_eq!(Stamp::read(&broken), None, "byte {at}");
        }
    }
}

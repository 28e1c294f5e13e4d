//! goridge v3 frames, little endian:
//!
//! | byte | content |
//! |---|---|
//! | 0 | version (high 4 bits, 1), header length in 32-bit words (low 4 bits, 3 + options) |
//! | 1 | flags |
//! | 2–5 | payload length, without options |
//! | 6–9 | CRC-32 (IEEE) of bytes 0–5 |
//! | 10–11 | stream bits |
//! | 12… | options, 4 bytes each, then the payload |

/// The flags of byte 1.
pub mod flag {
    /// For the relay itself, not for an application.
    pub const CONTROL: u8 = 0x01;
    /// Body: bytes whose meaning is agreed elsewhere.
    pub const RAW: u8 = 0x04;
    /// Body: JSON.
    pub const JSON: u8 = 0x08;
    /// Body: MessagePack.
    pub const MSGPACK: u8 = 0x10;
    /// Body: Go's gob.
    pub const GOB: u8 = 0x20;
    /// The body is an error text.
    pub const ERROR: u8 = 0x40;
    /// Body: protobuf.
    pub const PROTO: u8 = 0x80;
}

/// The bits of byte 10, of frames to and from workers.
pub mod stream {
    /// More frames of the same answer follow.
    pub const MORE: u8 = 0x01;
    /// The other side should end its answer.
    pub const STOP: u8 = 0x02;
    /// Is to be answered with [`PONG`].
    pub const PING: u8 = 0x04;
    /// Answers [`PING`].
    pub const PONG: u8 = 0x08;
}

/// Bytes of the shortest frame: a header without options.
pub const FRAME_BYTES_MIN: usize = 4 * WORDS_MIN;

const VERSION: u8 = 1;
const WORDS_MIN: usize = 3;
const WORDS_MAX: usize = 13;

/// A frame in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Byte 1, see [`flag`].
    pub flags: u8,
    /// Byte 10, see [`stream`].
    pub stream: u8,
    options: &'a [u8],
    /// What follows the options.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The options, at most 10.
    pub fn options(&self) -> impl ExactSizeIterator<Item = u32> + use<'a> {
        self.options.as_chunks().0.iter().map(|option| u32::from_le_bytes(*option))
    }
}

/// What a buffer begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<T> {
    /// The beginning of a frame.
    Partial {
        /// Bytes that the buffer needs in all before looking again is worthwhile; never more than
        /// the bound.
        bytes: usize,
    },
    /// A whole frame.
    Whole {
        /// What it says.
        value: T,
        /// Its length.
        bytes: usize,
    },
}

/// Bytes that cannot be taken for goridge, or break its bounds. The stream cannot be
/// resynchronised: close it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not version 1; most likely another protocol.
    #[error("goridge version {0}, expected {VERSION}")]
    Version(u8),
    /// Begins with a capital letter, as a request of HTTP does.
    #[error("this is HTTP, expected goridge: only publishers connect to rpc.listen")]
    Http,
    /// Begins as a handshake of TLS does.
    #[error("this is TLS, expected goridge: rpc.listen takes plain TCP")]
    Tls,
    /// A header shorter than itself, or with more options than goridge allows.
    #[error("goridge header of {0} words, expected {WORDS_MIN} to {WORDS_MAX}")]
    HeaderWords(usize),
    /// Bytes 6–9 are not the CRC-32 of bytes 0–5.
    #[error("checksum of the goridge header does not match")]
    Checksum,
    /// Longer than the bound.
    #[error("goridge frame of {bytes} bytes is over roadcast.limits.rpc_frame_bytes ({bytes_max})")]
    TooLong {
        /// Its length, as claimed by its header.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// An RPC frame has two options.
    #[error("goridge frame with {0} options, an RPC call has 2")]
    Options(usize),
    /// The second option claims more than the payload.
    #[error("method name of {claimed} bytes in a payload of {payload}")]
    MethodLength {
        /// Length of the name, as claimed.
        claimed: u32,
        /// Length of the payload.
        payload: usize,
    },
}

impl FrameError {
    /// Its kind in a word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Version(_) => "version",
            Self::Http => "http",
            Self::Tls => "tls",
            Self::HeaderWords(_) => "header",
            Self::Checksum => "checksum",
            Self::TooLong { .. } => "length",
            Self::Options(_) => "options",
            Self::MethodLength { .. } => "method",
        }
    }
}

/// Decodes the frame at the beginning of a buffer; what is wrong is said as soon as it can be seen.
pub fn decode(buffer: &[u8], bytes_max: usize) -> Result<Decoded<Frame<'_>>, FrameError> {
    let words = match buffer.first() {
        None => return Ok(Decoded::Partial { bytes: FRAME_BYTES_MIN }),
        Some(first) if first.is_ascii_uppercase() => return Err(FrameError::Http),
        Some(first) if first >> 4 != VERSION => return Err(FrameError::Version(first >> 4)),
        Some(first) => usize::from(first & 0x0f),
    };
    if !(WORDS_MIN..=WORDS_MAX).contains(&words) {
        return Err(FrameError::HeaderWords(words));
    }
    let Some((header, _)) = buffer.split_first_chunk::<FRAME_BYTES_MIN>() else {
        return Ok(Decoded::Partial { bytes: FRAME_BYTES_MIN });
    };
    let [_, flags, l0, l1, l2, l3, c0, c1, c2, c3, stream, _] = *header;
    if crc32fast::hash(&header[..6]) != u32::from_le_bytes([c0, c1, c2, c3]) {
        // The record of a handshake, of any version of TLS.
        let tls = buffer.starts_with(&[0x16, 3]);
        return Err(if tls { FrameError::Tls } else { FrameError::Checksum });
    }
    let bytes = (4 * words).saturating_add(u32::from_le_bytes([l0, l1, l2, l3]) as usize);
    if bytes > bytes_max {
        return Err(FrameError::TooLong { bytes, bytes_max });
    }
    let (Some(options), Some(payload)) =
        (buffer.get(FRAME_BYTES_MIN..4 * words), buffer.get(4 * words..bytes))
    else {
        return Ok(Decoded::Partial { bytes });
    };
    Ok(Decoded::Whole { value: Frame { flags, stream, options, payload }, bytes })
}

/// Appends a frame whose payload is the given parts, one behind the other.
///
/// Panics when there are more than 10 options, or the payload reaches 4 GiB.
pub fn encode(out: &mut Vec<u8>, flags: u8, options: &[u32], payload: &[&[u8]]) {
    let words = WORDS_MIN + options.len();
    assert!(words <= WORDS_MAX, "a goridge frame has at most 10 options");
    let payload_bytes: usize = payload.iter().map(|part| part.len()).sum();
    let payload_length =
        u32::try_from(payload_bytes).expect("a goridge payload is shorter than 4 GiB");

    out.reserve(4 * words + payload_bytes);
    let start = out.len();
    out.extend([VERSION << 4 | words as u8, flags]);
    out.extend(payload_length.to_le_bytes());
    let checksum = crc32fast::hash(&out[start..]);
    out.extend(checksum.to_le_bytes());
    out.extend([0, 0]);
    for option in options {
        out.extend(option.to_le_bytes());
    }
    for part in payload {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(options: &[u32], payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, flag::PROTO, options, &[payload]);
        out
    }

    /// A header with a right checksum over whatever its first six bytes say.
    fn header(first: u8, length: u32) -> Vec<u8> {
        let mut out = vec![first, 0];
        out.extend(length.to_le_bytes());
        out.extend(crc32fast::hash(&out).to_le_bytes());
        out.extend([0, 0]);
        out
    }

    #[test]
    fn every_prefix_says_how_many_bytes_the_frame_needs() {
        let whole = frame(&[7, 9], b"payload");
        for split in 0..whole.len() {
            let expected = if split < FRAME_BYTES_MIN { FRAME_BYTES_MIN } else { whole.len() };
            assert_eq!(
                decode(&whole[..split], 1024),
                Ok(Decoded::Partial { bytes: expected }),
                "split {split}"
            );
        }
        let Ok(Decoded::Whole { value, bytes }) = decode(&whole, 1024) else { panic!() };
        assert_eq!(bytes, whole.len());
        assert_eq!((value.flags, value.payload), (flag::PROTO, &b"payload"[..]));
        assert_eq!(value.options().collect::<Vec<_>>(), [7, 9]);
    }

    #[test]
    fn bytes_behind_a_frame_are_left_alone() {
        let mut two = frame(&[1, 2], b"abc");
        let first = two.len();
        two.extend(frame(&[], b""));
        assert!(matches!(decode(&two, 1024), Ok(Decoded::Whole { bytes, .. }) if bytes == first));
        assert_eq!(
            decode(&two[first..], 1024),
            Ok(Decoded::Whole {
                value: Frame { flags: flag::PROTO, stream: 0, options: &[], payload: &[] },
                bytes: 12
            })
        );
    }

    #[test]
    fn another_protocol_or_version_is_refused_at_its_first_byte() {
        assert_eq!(decode(b"G", 1024), Err(FrameError::Http));
        assert_eq!(
            decode(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00", 1024),
            Err(FrameError::Tls)
        );
        assert_eq!(decode(&[0x40], 1024), Err(FrameError::Version(4)));
        assert_eq!(decode(&[0x25], 1024), Err(FrameError::Version(2)));
    }

    #[test]
    fn a_header_has_3_to_13_words() {
        for words in [0, 1, 2, 14, 15] {
            assert_eq!(decode(&[0x10 | words], 1024), Err(FrameError::HeaderWords(words.into())));
        }
        let ten = frame(&[0; 10], b"x");
        let Ok(Decoded::Whole { value, .. }) = decode(&ten, 1024) else {
            panic!("ten are allowed")
        };
        assert_eq!(value.options().len(), 10);
    }

    #[test]
    fn any_flipped_bit_of_the_header_is_noticed() {
        let whole = frame(&[1, 2], b"abc");
        for bit in 0..10 * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped, 1024).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_frame_over_the_bound_is_refused_from_its_header_alone() {
        assert!(matches!(decode(&header(0x13, 88), 100), Ok(Decoded::Partial { bytes: 100 })));
        assert_eq!(
            decode(&header(0x13, 89), 100),
            Err(FrameError::TooLong { bytes: 101, bytes_max: 100 })
        );
        assert_eq!(
            decode(&header(0x1d, u32::MAX), 100),
            Err(FrameError::TooLong { bytes: 52 + u32::MAX as usize, bytes_max: 100 })
        );
    }

    #[test]
    fn the_stream_bits_are_told_and_no_part_of_the_checksum() {
        let mut whole = frame(&[1, 2], b"abc");
        whole[10] = 0x0f;
        let decoded = decode(&whole, 1024);
        assert!(matches!(decoded, Ok(Decoded::Whole { value, .. }) if value.stream == 0x0f));
    }
}

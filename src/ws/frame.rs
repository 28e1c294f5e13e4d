//! WebSocket frames on the wire (RFC 6455 §5.2): what a server writes, and the masking of what it
//! reads.

/// What a frame carries (RFC 6455 §5.2, §11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of the message under way.
    Continuation = 0x0,
    /// A text message or its first fragment.
    Text = 0x1,
    /// A binary message or its first fragment.
    Binary = 0x2,
    /// The closing handshake.
    Close = 0x8,
    /// A question whether the peer is there.
    Ping = 0x9,
    /// The answer to it.
    Pong = 0xA,
}

impl Opcode {
    /// The opcode in the low four bits of a frame's first byte; `None` for the reserved ones.
    pub fn of(first_byte: u8) -> Option<Self> {
        match first_byte & 0x0F {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }

    /// Whether it is a control frame: at most [`CONTROL_BYTES_MAX`] of payload, never fragmented
    /// (RFC 6455 §5.5).
    pub fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// Bytes of payload a control frame may carry (RFC 6455 §5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// Bytes of the longest header: two, an eight-byte length, a masking key (RFC 6455 §5.2).
pub const HEADER_BYTES_MAX: usize = 14;

/// First byte's flag: the last fragment of its message.
pub(crate) const FIN: u8 = 0x80;

/// Bytes of the header that [`encode_header`] writes before a payload of this length: 2, 4 or 10.
#[inline]
pub fn header_len(payload_len: usize) -> usize {
    match payload_len {
        0..=125 => 2,
        126..=0xFFFF => 4,
        _ => 10,
    }
}

/// Appends the header of a whole, unmasked message or control frame, with its length in the
/// shortest form (RFC 6455 §5.2). A control frame's payload must not exceed [`CONTROL_BYTES_MAX`].
#[inline]
pub fn encode_header(out: &mut Vec<u8>, opcode: Opcode, payload_len: usize) {
    debug_assert!(!opcode.is_control() || payload_len <= CONTROL_BYTES_MAX);
    let first = FIN | opcode as u8;
    match payload_len {
        0..=125 => out.extend_from_slice(&[first, payload_len as u8]),
        126..=0xFFFF => {
            out.extend_from_slice(&[first, 126]);
            out.extend_from_slice(&(payload_len as u16).to_be_bytes());
        }
        _ => {
            out.extend_from_slice(&[first, 127]);
            out.extend_from_slice(&(payload_len as u64).to_be_bytes());
        }
    }
}

/// Appends a whole, unmasked frame: header and payload.
pub fn encode(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    out.reserve(header_len(payload.len()) + payload.len());
    encode_header(out, opcode, payload.len());
    out.extend_from_slice(payload);
}

/// Bytes, header included, of the unmasked frame that starts at `bytes[0]`.
///
/// Panics if `bytes` ends within the header.
#[cfg(test)]
pub(crate) fn frame_len(bytes: &[u8]) -> usize {
    match bytes[1] & 0x7F {
        126 => 4 + usize::from(u16::from_be_bytes([bytes[2], bytes[3]])),
        127 => {
            let length: [u8; 8] =
                *bytes[2..].first_chunk().expect("a whole header of a frame of our own");
            10 + u64::from_be_bytes(length) as usize
        }
        length => 2 + usize::from(length),
    }
}

/// The payload of a whole frame of our own, which has no mask.
pub fn payload(frame: &[u8]) -> &[u8] {
    &frame[match frame[1] & 0x7F {
        126 => 4,
        127 => 10,
        _ => 2,
    }..]
}

/// Removes (or applies) the mask of a client's frame in place (RFC 6455 §5.3). `offset` is how many
/// payload bytes of the frame came before `data`.
#[inline]
pub fn unmask(data: &mut [u8], key: [u8; 4], offset: usize) {
    let mut key = key;
    key.rotate_left(offset % 4);
    let word = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);
    // Whole words first: the compiler turns this loop into vector instructions.
    let (words, rest) = data.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use tungstenite::protocol::frame::FrameHeader;
    use tungstenite::protocol::frame::coding::{Data, OpCode};

    use super::*;

    const LENGTHS: [usize; 11] = [0, 1, 2, 124, 125, 126, 127, 255, 65_535, 65_536, 70_000];

    #[test]
    fn a_frame_is_read_by_an_independent_parser_as_it_was_written() {
        for length in LENGTHS {
            let payload = vec![7u8; length];
            let mut bytes = Vec::new();
            encode(&mut bytes, Opcode::Binary, &payload);
            let mut cursor = std::io::Cursor::new(&bytes);
            let (header, payload_len) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
            assert!(header.is_final);
            assert_eq!(header.mask, None);
            assert_eq!(header.opcode, OpCode::Data(Data::Binary));
            assert_eq!(payload_len as usize, length);
            assert_eq!(cursor.position() as usize, header_len(length));
            assert_eq!(&bytes[header_len(length)..], payload);
        }
    }

    #[test]
    fn frame_borders_are_found_in_a_run_of_frames() {
        let mut bytes = Vec::new();
        let mut borders = Vec::new();
        for length in LENGTHS {
            encode(&mut bytes, Opcode::Text, &vec![b'x'; length]);
            borders.push(bytes.len());
        }
        let mut at = 0;
        for border in borders {
            at += frame_len(&bytes[at..]);
            assert_eq!(at, border);
        }
    }

    #[test]
    fn unmasking_in_any_two_parts_equals_the_bytewise_definition() {
        let key = [0x37, 0xFA, 0x21, 0x3D];
        for length in 0..70 {
            let plain: Vec<u8> = (0..length as u8).collect();
            let masked: Vec<u8> = plain.iter().enumerate().map(|(i, b)| b ^ key[i % 4]).collect();
            for split in 0..=length {
                let mut data = masked.clone();
                let (head, tail) = data.split_at_mut(split);
                unmask(head, key, 0);
                unmask(tail, key, split);
                assert_eq!(data, plain, "{length} bytes split at {split}");
            }
        }
    }

    #[test]
    fn reserved_opcodes_have_no_name() {
        for bits in 0..=0xFFu8 {
            let named = matches!(bits & 0x0F, 0 | 1 | 2 | 8 | 9 | 10);
            assert_eq!(Opcode::of(bits).is_some(), named, "{bits:#x}");
        }
    }
}

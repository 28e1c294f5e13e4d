//! The header of a client's frame, judged byte by byte (RFC 6455 §5.2).

use super::{ReaderLimits, Violation};
use crate::ws::frame::{CONTROL_BYTES_MAX, FIN, Opcode};

/// A header that keeps all rules.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    /// Whether the frame ends its message.
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    /// The masking key.
    pub(super) key: [u8; 4],
    /// Bytes of payload, within the bound on a message.
    pub(super) payload_len: usize,
}

/// First byte's reserved bits. They belong to extensions, and none is agreed.
const RESERVED: u8 = 0x70;
/// Second byte's flag: a masking key follows the length.
const MASK: u8 = 0x80;

impl Header {
    /// The header at the start of `bytes` and its length; `None` while it is not complete. Each
    /// rule fails on the first byte that breaks it. `message_bytes` is what has arrived of the
    /// message under way, if one is.
    pub(super) fn parse(
        bytes: &[u8],
        message_bytes: Option<usize>,
        limits: ReaderLimits,
    ) -> Result<Option<(Self, usize)>, Violation> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        if first & RESERVED != 0 {
            return Err(Violation::protocol("reserved bit set"));
        }
        let Some(opcode) = Opcode::of(first) else {
            return Err(Violation::protocol("reserved opcode"));
        };
        let fin = first & FIN != 0;
        match (opcode, message_bytes) {
            (Opcode::Continuation, None) => return Err(Violation::protocol("nothing to continue")),
            (Opcode::Text | Opcode::Binary, Some(_)) => {
                return Err(Violation::protocol("new message within a fragmented one"));
            }
            _ if opcode.is_control() && !fin => {
                return Err(Violation::protocol("fragmented control frame"));
            }
            _ => {}
        }

        let Some(&second) = bytes.get(1) else { return Ok(None) };
        if second & MASK == 0 {
            return Err(Violation::protocol("frame is not masked"));
        }
        let short_len = second & !MASK;
        if opcode.is_control() && usize::from(short_len) > CONTROL_BYTES_MAX {
            return Err(Violation::protocol("control frame too long"));
        }
        let (payload_len, least, at) = match short_len {
            126 => match bytes[2..].first_chunk() {
                Some(length) => (u64::from(u16::from_be_bytes(*length)), 126, 4),
                None => return Ok(None),
            },
            127 => match bytes[2..].first_chunk() {
                Some(length) => (u64::from_be_bytes(*length), 0x1_0000, 10),
                None => return Ok(None),
            },
            length => (u64::from(length), 0, 2),
        };
        if payload_len > i64::MAX as u64 {
            return Err(Violation::protocol("frame length out of range"));
        }
        if payload_len < least {
            return Err(Violation::protocol("frame length not in its shortest form"));
        }
        let room = limits.message_bytes_max.saturating_sub(message_bytes.unwrap_or(0));
        if !opcode.is_control() && payload_len > room as u64 {
            return Err(Violation::TOO_BIG);
        }

        let Some(&key) = bytes[at..].first_chunk() else { return Ok(None) };
        Ok(Some((Self { fin, opcode, key, payload_len: payload_len as usize }, at + 4)))
    }
}

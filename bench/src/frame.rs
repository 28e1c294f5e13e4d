//! WebSocket frames as a client sees them (RFC 6455 §5): masked out, plain in.

/// A whole message.
pub const TEXT: u8 = 0x1;
/// The closing handshake.
pub const CLOSE: u8 = 0x8;
/// A question whether the peer is there.
pub const PING: u8 = 0x9;
/// The answer to it.
pub const PONG: u8 = 0xA;

/// Appends a whole frame as a client sends it.
///
/// The masking key is constant: RFC 6455 §5.3 wants a fresh one against hostile proxies, of which a
/// benchmark has none, and to the server it costs the same.
pub fn encode_masked(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
    out.push(0x80 | opcode);
    push_len(out, payload.len(), 0x80);
    out.extend_from_slice(&KEY);
    out.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// Appends a whole frame as a server sends it.
pub fn encode_plain(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    push_len(out, payload.len(), 0);
    out.extend_from_slice(payload);
}

fn push_len(out: &mut Vec<u8>, len: usize, mask: u8) {
    match len {
        0..=125 => out.push(mask | len as u8),
        126..=0xFFFF => {
            out.push(mask | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(mask | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

/// A frame from a server, in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The opcode.
    pub opcode: u8,
    /// What it carries.
    pub payload: &'a [u8],
    /// Bytes of the whole frame.
    pub bytes: usize,
}

/// What lies at the head of the bytes received.
#[derive(Debug, PartialEq, Eq)]
pub enum Head<'a> {
    /// A whole frame.
    Frame(Frame<'a>),
    /// Part of a frame.
    Partial,
    /// Something that no server under test may send: a fragment, a masked frame, a reserved bit.
    Invalid,
}

/// Reads the frame at the head of `bytes`.
#[inline]
pub fn head(bytes: &[u8]) -> Head<'_> {
    let [first, second, ..] = *bytes else { return Head::Partial };
    if first & 0xF0 != 0x80 || second & 0x80 != 0 {
        return Head::Invalid;
    }
    let (len, header) = match second {
        126 => match bytes.get(2..4) {
            Some(len) => (usize::from(u16::from_be_bytes([len[0], len[1]])), 4),
            None => return Head::Partial,
        },
        127 => match bytes.get(2..10).and_then(|len| len.first_chunk::<8>()) {
            Some(len) => (u64::from_be_bytes(*len) as usize, 10),
            None => return Head::Partial,
        },
        len => (usize::from(len), 2),
    };
    let Some(end) = len.checked_add(header) else { return Head::Invalid };
    match bytes.get(header..end) {
        Some(payload) => Head::Frame(Frame { opcode: first & 0x0F, payload, bytes: end }),
        None => Head::Partial,
    }
}

/// The code of a Close frame with this payload; 1005 stands for none (RFC 6455 §7.1.5).
pub fn close_code(payload: &[u8]) -> u16 {
    payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code))
}

/// Reads the masked frame at the head of `bytes`, as a server does: opcode, payload, bytes of the
/// frame.
pub fn head_masked(bytes: &[u8]) -> Option<(u8, Vec<u8>, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (len, header) = match second & 0x7F {
        126 => (usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize, 10),
        len => (usize::from(len), 2),
    };
    let key: [u8; 4] = *bytes.get(header..)?.first_chunk()?;
    let payload = bytes.get(header + 4..header + 4 + len)?;
    let payload = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    Some((first & 0x0F, payload, header + 4 + len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_length_form_are_found_at_every_cut() {
        for len in [0, 1, 125, 126, 300, 65_535, 65_536] {
            let payload = vec![b'p'; len];
            let mut bytes = Vec::new();
            encode_plain(&mut bytes, TEXT, &payload);
            for cut in (0..bytes.len().min(16)).chain([bytes.len() - 1]) {
                assert_eq!(head(&bytes[..cut]), Head::Partial, "{len} bytes cut at {cut}");
            }
            let whole = bytes.len();
            bytes.push(0x81);
            assert_eq!(
                head(&bytes),
                Head::Frame(Frame { opcode: TEXT, payload: &payload, bytes: whole })
            );
        }
    }

    #[test]
    fn a_fragment_and_a_masked_frame_are_invalid() {
        assert_eq!(head(&[0x01, 0]), Head::Invalid);
        assert_eq!(head(&[0x81, 0x80]), Head::Invalid);
        assert_eq!(head(&[0xC1, 0]), Head::Invalid);
    }

    #[test]
    fn a_masked_frame_reads_back() {
        for len in [0, 125, 126, 65_536] {
            let payload = vec![b'q'; len];
            let mut bytes = Vec::new();
            encode_masked(&mut bytes, TEXT, &payload);
            assert_eq!(head_masked(&bytes), Some((TEXT, payload, bytes.len())));
            assert_eq!(head_masked(&bytes[..bytes.len() - 1]), None);
        }
    }
}

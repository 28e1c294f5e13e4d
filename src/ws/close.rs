//! The closing handshake: status codes and the Close frame (RFC 6455 §5.5.1, §7.4).

use std::fmt;

use super::frame::{self, CONTROL_BYTES_MAX, Opcode};

/// Why a connection is closed (RFC 6455 §7.4.1 and the IANA registry).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The server shuts down, or the browser leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// Data that does not fit its type: text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// A message larger than this server takes.
    pub const TOO_BIG: Self = Self(1009);
    /// The client should connect anew: something that it was promised may be missing.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// The server cannot serve this client now: it does not keep up, or there are too many.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// The token that let the client in has run out: after 401 of HTTP.
    pub const TOKEN_EXPIRED: Self = Self(4401);
    /// The client's user has opened newer connections: after 409 of HTTP.
    pub const REPLACED: Self = Self(4409);

    /// Whether a peer may send it: the codes of the registry that are not reserved for local use
    /// (1005, 1006, 1015), and the ranges of libraries and applications, 3000–4999 (RFC 6455
    /// §7.4.2).
    pub fn may_be_received(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Bytes of reason a Close frame has room for beside its code.
pub const REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

/// Appends a whole Close frame. A reason longer than [`REASON_BYTES_MAX`] is cut at a character.
pub fn encode(out: &mut Vec<u8>, code: CloseCode, reason: &str) {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    frame::encode_header(out, Opcode::Close, 2 + end);
    out.extend_from_slice(&code.0.to_be_bytes());
    out.extend_from_slice(&reason.as_bytes()[..end]);
}

/// Appends the Close frame that answers a client's: its code again, nothing where it gave none (RFC
/// 6455 §5.5.1).
pub fn encode_answer(out: &mut Vec<u8>, received: Option<CloseCode>) {
    match received {
        Some(code) => encode(out, code, ""),
        None => frame::encode_header(out, Opcode::Close, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_received_only_where_the_registry_or_a_free_range_has_them() {
        let received: Vec<u16> =
            (0..=u16::MAX).filter(|&code| CloseCode(code).may_be_received()).collect();
        let expected: Vec<u16> = (1000..=1003).chain(1007..=1014).chain(3000..=4999).collect();
        assert_eq!(received, expected);
    }

    #[test]
    fn a_close_frame_carries_code_and_reason() {
        let mut out = Vec::new();
        encode(&mut out, CloseCode::TOO_BIG, "too big");
        assert_eq!(out, b"\x88\x09\x03\xF1too big");
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        for lead in 0..4 {
            let reason = "a".repeat(lead) + &"😀".repeat(40);
            let mut out = Vec::new();
            encode(&mut out, CloseCode::TOO_BIG, &reason);
            let cut = std::str::from_utf8(&out[4..]).unwrap();
            assert!(reason.starts_with(cut));
            assert!(cut.len() <= REASON_BYTES_MAX && cut.len() > REASON_BYTES_MAX - 4);
            assert_eq!(frame::frame_len(&out), out.len());
        }
    }

    #[test]
    fn a_close_without_code_is_answered_without_one() {
        let mut out = Vec::new();
        encode_answer(&mut out, None);
        encode_answer(&mut out, Some(CloseCode(3000)));
        assert_eq!(out, b"\x88\x00\x88\x02\x0B\xB8");
    }
}

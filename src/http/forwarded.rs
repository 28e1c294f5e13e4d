//! Which client a proxy speaks for, by the headers that it sets.
//!
//! A proxy passes on what the client sent, so a header says something only if the proxy sets it
//! itself, or adds to it. Which headers that are, the operator names: every other could be the
//! client's own invention.
//!
//! In a list (`X-Forwarded-For`, `Forwarded`) proxies add the address that they see behind what
//! came with the request, so only the last entry is the proxy's own word, and what stands before it
//! is that of whoever it names. The entries are therefore read from the end, past other trusted
//! proxies. (RoadRunner takes the first entry, which a client can invent unless its proxy replaces
//! the header.)

use std::net::{IpAddr, SocketAddr};

use super::Head;
use super::head::is_token;

/// A header by which a proxy names its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientHeader {
    /// `X-Forwarded-For`: a list of addresses.
    XForwardedFor,
    /// `Forwarded` (RFC 7239): a list of elements, each with a `for`.
    Forwarded,
    /// One address, in a header of this name: `X-Real-IP`, `CF-Connecting-IP`, `True-Client-IP`.
    One(String),
}

impl ClientHeader {
    /// The header of that name; an error says what is wrong with it.
    pub fn parse(name: &str) -> Result<Self, String> {
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(format!("\"{name}\" is no name of a header"));
        }
        Ok(match name.to_ascii_lowercase().as_str() {
            "x-forwarded-for" => Self::XForwardedFor,
            "forwarded" => Self::Forwarded,
            _ => Self::One(name.to_owned()),
        })
    }
}

/// The client's address in the head of a request that came from a trusted proxy. The first of
/// `headers` that names somebody who is not `trusted` itself decides; if they name trusted ones
/// alone, the first of these. `None`: nobody is named.
pub fn client(
    head: &Head<'_>,
    headers: &[ClientHeader],
    trusted: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    let mut known = None;
    for header in headers {
        let named = match header {
            ClientHeader::XForwardedFor => {
                let values = head.values("X-Forwarded-For").rev();
                let entries = values.flat_map(|value| value.rsplit(|byte| *byte == b','));
                nearest(entries.map(address), &trusted)
            }
            ClientHeader::Forwarded => {
                let elements = head.values("Forwarded").rev().flat_map(elements_from_the_end);
                nearest(
                    elements.map(|element| forwarded_for(element).and_then(|node| address(&node))),
                    &trusted,
                )
            }
            // Two of them contradict each other.
            ClientHeader::One(name) => head.only_value(name).and_then(address),
        };
        match named {
            Some(address) if !trusted(address) => return named,
            _ => known = known.or(named),
        }
    }
    known
}

/// The nearest address that is not trusted, or the farthest one that is known.
fn nearest(
    from_the_end: impl Iterator<Item = Option<IpAddr>>,
    trusted: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    let mut nearest = None;
    // Behind what is no address nothing is known.
    for address in from_the_end.map_while(|entry| entry) {
        nearest = Some(address);
        if !trusted(address) {
            break;
        }
    }
    nearest
}

/// The elements of a `Forwarded`, the last one first. Read from the end, since a quote that the
/// client opens and does not close would take in what the proxy adds.
fn elements_from_the_end(value: &[u8]) -> Vec<&[u8]> {
    let mut elements = Vec::new();
    let (mut end, mut quoted) = (value.len(), false);
    for (at, byte) in value.iter().enumerate().rev() {
        match byte {
            b'"' => {
                let escapes = value[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
                quoted ^= escapes % 2 == 0;
            }
            b',' if !quoted => {
                elements.push(&value[at + 1..end]);
                end = at;
            }
            _ => {}
        }
    }
    elements.push(&value[..end]);
    elements
}

/// The node that an element of a `Forwarded` was received from (RFC 7239 §5.2), without its quotes;
/// `None` if it does not say so just once.
fn forwarded_for(element: &[u8]) -> Option<Vec<u8>> {
    let mut node = None;
    let mut rest = element.trim_ascii();
    while !rest.is_empty() {
        let equals = rest.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (&rest[..equals], &rest[equals + 1..]);
        let (value, behind) = parameter_value(value)?;
        if name.trim_ascii().eq_ignore_ascii_case(b"for") && node.replace(value).is_some() {
            return None;
        }
        rest = match behind.trim_ascii_start() {
            [] => &[],
            [b';', more @ ..] => more.trim_ascii_start(),
            _ => return None,
        };
    }
    node
}

/// The value that a parameter begins with, and what follows it: a token, or a string in quotes (RFC
/// 9110 §5.6.4).
fn parameter_value(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let [b'"', quoted @ ..] = text else {
        let end = text.iter().position(|byte| *byte == b';').unwrap_or(text.len());
        return Some((text[..end].trim_ascii().to_vec(), &text[end..]));
    };
    let mut value = Vec::new();
    let mut bytes = quoted.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some((value, &quoted[at + 1..])),
            b'\\' => value.push(*bytes.next()?.1),
            byte => value.push(*byte),
        }
    }
    None
}

/// An address as proxies write it: `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]`,
/// `[2001:db8::1]:4711`.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip());
    bare.parse().or_else(|_| with_port()).ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests;

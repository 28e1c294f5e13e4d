//! What workers and the HTTP callback are told of a client: the JSON that RoadRunner's validators
//! get, byte for byte, so that an application sees what it has always seen.
//!
//! ```text
//! {"remoteAddr":"203.0.113.7","protocol":"HTTP/1.1","method":"GET",
//!  "uri":"http://host:8080/ws?x=1","headers":{"Cookie":["a=b"],"Upgrade":["websocket"]},
//!  "cookies":{"a":"b"},"rawQuery":"x=1","parsed":false,"uploads":null,
//!  "attributes":{"ws:joinServer":true}}
//! ```
//!
//! The request is read as Go's `net/http` reads it: names of headers in its canonical form
//! (`Sec-Websocket-Key`), `Host` in the URI and nowhere else, cookies by its parser and then
//! decoded as a query is. Bytes that are not UTF-8 become U+FFFD: PHP's `json_decode` throws at
//! them. `<`, `>` and `&` stand as they are, where Go escapes them; they mean the same in JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::AccessRequest;
use crate::http::Head;
use crate::http::head::{Room, is_token};
use crate::json_string;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About<'a> {
    /// Whether the client may connect: `"ws:joinServer":true`.
    Server,
    /// Whether it may join these topics: `"ws:joinTopics":"foo,foo2"`.
    Topics(&'a [&'a str]),
}

/// The JSON. With `passed`, only these headers, named in any case, are in it; cookies, if `Cookie`
/// is among them. Empty only where the request is no valid head, which
/// [`AccessRequest`] rules out.
pub fn encode(request: &AccessRequest, about: About<'_>, passed: Option<&[&str]>) -> Vec<u8> {
    let mut room = Room::new();
    let Ok(head) = Head::parse(&request.head, &mut room) else { return Vec::new() };
    let is_passed =
        |name: &str| passed.is_none_or(|all| all.iter().any(|one| one.eq_ignore_ascii_case(name)));
    let target = Target::of(head.target());

    let mut out = Json(Vec::with_capacity(512 + head.bytes().len()));
    out.raw("{\"remoteAddr\":");
    out.string(&[request.client.map_or_else(String::new, |ip| ip.to_string()).as_bytes()]);
    out.raw(",\"protocol\":");
    out.string(&[if head.is_http11() { b"HTTP/1.1" } else { b"HTTP/1.0" }]);
    out.raw(",\"method\":");
    out.string(&[head.method().as_bytes()]);
    out.raw(",\"uri\":");
    let host = head.values("Host").next().unwrap_or_default();
    match target.absolute {
        true => out.string(&[target.path.as_bytes(), target.query_mark.as_bytes()]),
        false => {
            let (path, query) = (target.path.as_bytes(), target.query_mark.as_bytes());
            out.string(&[b"http://", host, path, query]);
        }
    }
    out.raw(",\"headers\":");
    out.object(&headers(&head, is_passed), |out, values| {
        out.list(values, |out, value| out.string(&[value]));
    });
    out.raw(",\"cookies\":");
    let cookies = if is_passed("Cookie") { cookies(&head) } else { BTreeMap::new() };
    out.object(&cookies, |out, value| out.string(&[value]));
    out.raw(",\"rawQuery\":");
    out.string(&[target.query_mark.get(1..).unwrap_or_default().as_bytes()]);
    out.raw(",\"parsed\":false,\"uploads\":null,\"attributes\":{");
    match about {
        About::Server => out.raw("\"ws:joinServer\":true"),
        About::Topics(topics) => {
            out.raw("\"ws:joinTopics\":");
            out.string(&[topics.join(",").as_bytes()]);
        }
    }
    out.raw("}}");
    out.0
}

/// The target of a request, as Go's `URL.String` writes it again.
struct Target<'h> {
    /// It names its host itself: such a one is passed on as it stands.
    absolute: bool,
    /// What stands before the query.
    path: Cow<'h, str>,
    /// The query with its question mark, or nothing.
    query_mark: &'h str,
}

impl<'h> Target<'h> {
    fn of(target: &'h str) -> Self {
        let (path, query_mark) = target.split_at(target.find('?').unwrap_or(target.len()));
        let absolute = !path.starts_with('/') && path.contains("://");
        let path = if absolute { path.into() } else { escaped_path(path) };
        Self { absolute, path, query_mark }
    }
}

/// A path as Go writes it: as it came, unless a byte of it needs an escape; then all of it anew.
fn escaped_path(path: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&byte);
    // Go leaves these where a client left them, and escapes them where it writes anew.
    let tolerated = |byte: u8| b"!'()*[]%".contains(&byte);
    if path.bytes().all(|byte| plain(byte) || tolerated(byte)) {
        return path.into();
    }
    let bytes = unescape(path.as_bytes(), false).unwrap_or_else(|| path.as_bytes().to_vec());
    let mut out = String::with_capacity(path.len() + 16);
    for byte in bytes {
        if plain(byte) {
            out.push(char::from(byte));
        } else {
            out.extend(['%', hex(byte >> 4), hex(byte & 15)]);
        }
    }
    out.into()
}

fn hex(nibble: u8) -> char {
    char::from(b"0123456789ABCDEF"[usize::from(nibble & 15)])
}

/// Headers by canonical name, without `Host`; the values of one name in their order.
fn headers<'h>(
    head: &Head<'h>,
    is_passed: impl Fn(&str) -> bool,
) -> BTreeMap<Vec<u8>, Vec<&'h [u8]>> {
    let mut headers = BTreeMap::<Vec<u8>, Vec<&[u8]>>::new();
    let passed = head.headers().filter(|(name, _)| is_passed(name));
    for (name, value) in passed.filter(|(name, _)| !name.eq_ignore_ascii_case("Host")) {
        headers.entry(canonical(name)).or_default().push(value.trim_ascii());
    }
    // Go's `fixPragmaCacheControl`, RFC 7234 §5.4.
    let no_cache = headers.get(&b"Pragma"[..]).and_then(|values| values.first());
    if no_cache == Some(&&b"no-cache"[..])
        && head.values("Cache-Control").next().is_none()
        && is_passed("Cache-Control")
    {
        headers.insert(b"Cache-Control".to_vec(), vec![b"no-cache"]);
    }
    headers
}

/// Go's canonical form: the first letter and each behind a hyphen in capitals, all others small.
fn canonical(name: &str) -> Vec<u8> {
    let mut upper = true;
    let each = name.bytes().map(|byte| {
        let byte = if upper { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() };
        upper = byte == b'-';
        byte
    });
    each.collect()
}

/// Cookies as Go's `Request.Cookies` reads them, their values decoded. Of several of one name the
/// last counts; one that cannot be read or decoded is left out.
fn cookies<'h>(head: &Head<'h>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let parts = head.values("Cookie").flat_map(|line| line.split(|&byte| byte == b';'));
    let mut cookies = BTreeMap::new();
    for part in parts.map(<[u8]>::trim_ascii) {
        let at = part.iter().position(|&byte| byte == b'=').unwrap_or(part.len());
        let (name, value) = (&part[..at], part.get(at + 1..).unwrap_or_default());
        let value = match value {
            [b'"', inside @ .., b'"'] => inside,
            value => value,
        };
        let allowed = |byte: &u8| matches!(byte, 0x20..0x7f) && !b"\";\\".contains(byte);
        if name.is_empty() || !name.iter().all(|&byte| is_token(byte)) || !value.iter().all(allowed)
        {
            continue;
        }
        if let Some(value) = unescape(value, true) {
            cookies.insert(name.to_vec(), value);
        }
    }
    cookies
}

/// Decodes `%41`; in a query `+` is a blank. `None`: it cannot be decoded.
pub(crate) fn unescape(text: &[u8], query: bool) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, behind @ ..] = rest {
        rest = behind;
        out.push(match byte {
            b'+' if query => b' ',
            b'%' => {
                let (digits, behind) = rest.split_first_chunk::<2>()?;
                rest = behind;
                let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
                // Two digits are below 256.
                (high? * 16 + low?) as u8
            }
            byte => *byte,
        });
    }
    Some(out)
}

/// JSON under way.
struct Json(Vec<u8>);

impl Json {
    fn raw(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    /// A string of these parts, one behind the other.
    fn string(&mut self, parts: &[&[u8]]) {
        self.0.push(b'"');
        for part in parts {
            json_string::pieces(part, |piece| self.0.extend_from_slice(piece));
        }
        self.0.push(b'"');
    }

    fn list<T>(&mut self, values: &[T], mut each: impl FnMut(&mut Self, &T)) {
        self.0.push(b'[');
        for (place, value) in values.iter().enumerate() {
            if place > 0 {
                self.0.push(b',');
            }
            each(self, value);
        }
        self.0.push(b']');
    }

    fn object<T>(&mut self, fields: &BTreeMap<Vec<u8>, T>, mut value: impl FnMut(&mut Self, &T)) {
        self.0.push(b'{');
        for (place, (name, field)) in fields.iter().enumerate() {
            if place > 0 {
                self.0.push(b',');
            }
            self.string(&[name]);
            self.0.push(b':');
            value(self, field);
        }
        self.0.push(b'}');
    }
}

#[cfg(test)]
mod tests;

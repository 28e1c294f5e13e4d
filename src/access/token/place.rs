//! Where in a request a token stands. A browser's WebSocket cannot set headers, so there are ways
//! beside the one that RFC 6750 §2.1 recommends:
//!
//! ```text
//! Authorization: Bearer <jwt>                          always
//! Sec-WebSocket-Protocol: roadcast, token.<jwt>        where subprotocols are looked at
//! GET /ws?token=<jwt>                                  where a parameter is named
//! Cookie: token=<jwt>                                  where a cookie is named
//! ```
//!
//! All are looked at, in this order. The same token twice is one. Two that differ are an error:
//! whoever put one there, a proxy or another page of the site, could not tell which one counts. An
//! empty value is none: a page without a session writes `?token=`.

use std::borrow::Cow;

use super::TokenFault;
use crate::http::Head;
use crate::ws::upgrade::TOKEN;

/// Where a token may stand, beside the header `Authorization`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The name of a parameter in the query.
    pub query: Option<Box<str>>,
    /// The name of a cookie.
    pub cookie: Option<Box<str>>,
    /// A subprotocol that begins with [`TOKEN`].
    pub subprotocol: bool,
}

/// Where one stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `Authorization: Bearer`.
    Header,
    /// `Sec-WebSocket-Protocol`.
    Subprotocol,
    /// A parameter of the query.
    Query,
    /// A cookie.
    Cookie,
}

/// A token that a request brings along, not checked yet. It has no `Debug`, so that it stands in no
/// log by mistake.
pub struct Found<'h> {
    /// As it came.
    pub token: Cow<'h, [u8]>,
    /// The first place where it stood.
    pub place: Place,
}

/// The token of a request.
pub fn find<'h>(head: &Head<'h>, places: &Places) -> Result<Option<Found<'h>>, TokenFault> {
    let mut found: Option<Found<'h>> = None;
    let mut take = |token: Cow<'h, [u8]>, place| match &found {
        _ if token.is_empty() => Ok(()),
        Some(other) if other.token != token => Err(TokenFault::Two),
        Some(_) => Ok(()),
        None => {
            found = Some(Found { token, place });
            Ok(())
        }
    };
    for token in head.values("Authorization").filter_map(bearer) {
        take(token.into(), Place::Header)?;
    }
    if places.subprotocol {
        let offers = head.list("Sec-WebSocket-Protocol");
        for token in offers.filter_map(|offer| offer.strip_prefix(TOKEN.as_bytes())) {
            take(token.into(), Place::Subprotocol)?;
        }
    }
    if let (Some(name), Some(query)) = (&places.query, head.query()) {
        for (_, token) in parameters(query).filter(|(key, _)| **key == *name.as_bytes()) {
            take(token, Place::Query)?;
        }
    }
    if let Some(name) = &places.cookie {
        for token in head.values("Cookie").flat_map(|cookies| cookies_named(cookies, name)) {
            take(token.into(), Place::Cookie)?;
        }
    }
    Ok(found)
}

/// RFC 6750 §2.1; the name of a scheme in any case (RFC 9110 §11.1). Other schemes are others'.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(6)?;
    let behind = token.first().is_none_or(|byte| *byte == b' ');
    (behind && scheme.eq_ignore_ascii_case(b"bearer")).then(|| token.trim_ascii())
}

/// Names and values of a query, decoded as forms have it (WHATWG URL §5.1). No token has a `+`.
fn parameters(query: &str) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    query.split('&').map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (percent_decoded(name), percent_decoded(value))
    })
}

/// A `%` without two digits behind it stands for itself.
fn percent_decoded(text: &str) -> Cow<'_, [u8]> {
    let bytes = text.as_bytes();
    if !bytes.contains(&b'%') {
        return bytes.into();
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, behind @ ..] = rest {
        let pair = match behind {
            [high, low, ..] if *first == b'%' => digit(*high).zip(digit(*low)),
            _ => None,
        };
        (decoded, rest) = match pair {
            Some((high, low)) => {
                decoded.push((high * 16 + low) as u8);
                (decoded, &behind[2..])
            }
            None => {
                decoded.push(*first);
                (decoded, behind)
            }
        };
    }
    decoded.into()
}

/// The values of a cookie (RFC 6265 §5.4), without quotation marks around them (§4.1.1).
fn cookies_named<'h>(cookies: &'h [u8], name: &str) -> impl Iterator<Item = &'h [u8]> {
    let pairs = cookies.split(|&byte| byte == b';').filter_map(move |pair| {
        let (key, value) = pair.split_at(pair.iter().position(|&byte| byte == b'=')?);
        (key.trim_ascii() == name.as_bytes()).then(|| value[1..].trim_ascii())
    });
    pairs.map(|value| {
        value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::Room;

    const TARGET: &str = "/ws";

    fn everywhere() -> Places {
        Places { query: Some("token".into()), cookie: Some("jwt".into()), subprotocol: true }
    }

    fn found(
        target: &str,
        headers: &str,
        places: &Places,
    ) -> Result<Option<(String, Place)>, TokenFault> {
        let head = format!("GET {target} HTTP/1.1\r\n{headers}\r\n");
        let mut room = Room::new();
        let head = Head::parse(head.as_bytes(), &mut room).expect("valid HTTP");
        let found = find(&head, places)?;
        Ok(found.map(|found| {
            (String::from_utf8(found.token.into_owned()).expect("UTF-8"), found.place)
        }))
    }

    #[test]
    fn a_token_is_found_in_each_place() {
        for (target, headers, token, place) in [
            (TARGET, "Authorization: Bearer a.b.c\r\n", "a.b.c", Place::Header),
            (TARGET, "authorization:  bEARER   a.b.c \r\n", "a.b.c", Place::Header),
            (
                TARGET,
                "Authorization: Basic eDp5\r\nAuthorization: Bearer a\r\n",
                "a",
                Place::Header,
            ),
            (
                TARGET,
                "Sec-WebSocket-Protocol: roadcast, token.a.b.c\r\n",
                "a.b.c",
                Place::Subprotocol,
            ),
            (
                TARGET,
                "Sec-WebSocket-Protocol: token.a\r\nSec-WebSocket-Protocol: chat\r\n",
                "a",
                Place::Subprotocol,
            ),
            ("/ws?token=a.b.c", "", "a.b.c", Place::Query),
            ("/ws?x=y&%74oken=a%2Eb%2ec&z", "", "a.b.c", Place::Query),
            ("http://host?token=a%", "", "a%", Place::Query),
            (TARGET, "Cookie: jwt=a.b.c\r\n", "a.b.c", Place::Cookie),
            (TARGET, "Cookie: xjwt=n; jwt=\"a\"; y=jwt\r\n", "a", Place::Cookie),
            (TARGET, "Cookie: x\r\nCookie: jwt = a=b \r\n", "a=b", Place::Cookie),
        ] {
            let expected = Ok(Some((token.to_owned(), place)));
            assert_eq!(found(target, headers, &everywhere()), expected, "{target} {headers}");
        }
    }

    #[test]
    fn what_is_no_token_is_none() {
        for (target, headers) in [
            (TARGET, ""),
            ("/ws?token=&token", "Authorization: Bearer\r\nCookie: jwt=; jwt=\"\"\r\n"),
            ("/ws?Token=a&atoken=b", "Cookie: Jwt=a; jwt\r\n"),
            (TARGET, "Authorization: Bearera\r\n"),
            (TARGET, "Authorization: Basic a\r\nAuthorization: \r\n"),
            (TARGET, "Sec-WebSocket-Protocol: roadcast, Token.a, token.\r\n"),
        ] {
            assert_eq!(found(target, headers, &everywhere()), Ok(None), "{target} {headers}");
        }
    }

    #[test]
    fn only_the_header_is_looked_at_unless_more_is_configured() {
        let headers = "Cookie: jwt=a\r\nSec-WebSocket-Protocol: token.b\r\n";
        assert_eq!(found("/ws?token=c", headers, &Places::default()), Ok(None));
        let header = format!("{headers}Authorization: Bearer d\r\n");
        let expected = Ok(Some(("d".to_owned(), Place::Header)));
        assert_eq!(found("/ws?token=c", &header, &Places::default()), expected);
    }

    #[test]
    fn one_token_in_two_places_is_one_and_two_are_an_error() {
        let two = "Authorization: Bearer a\r\nCookie: jwt=a\r\n";
        let expected = Ok(Some(("a".to_owned(), Place::Header)));
        assert_eq!(found("/ws?token=a", two, &everywhere()), expected);
        for (target, headers) in [
            ("/ws?token=b", two),
            ("/ws?token=a&token=b", ""),
            (TARGET, "Cookie: jwt=a; jwt=b\r\n"),
            (TARGET, "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"),
            (TARGET, "Sec-WebSocket-Protocol: token.a, token.b\r\n"),
        ] {
            assert_eq!(found(target, headers, &everywhere()), Err(TokenFault::Two), "{target}");
        }
    }
}

//! A URL, taken apart: where requests go, and the password that goes with them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Uri;
use hyper::header::HeaderValue;

use crate::access::context::unescape;

/// See the module. Its text shows nothing of it: a path may hold a secret, too.
#[derive(Clone)]
pub struct Address {
    /// Without user and password.
    pub uri: Uri,
    /// Those two, as Basic authentication (RFC 7617).
    pub authorization: Option<HeaderValue>,
}

impl Address {
    /// Reads `https://user:password@host:port/path?query`.
    pub fn parse(url: &str) -> Result<Self, String> {
        Self::read(url).ok_or_else(|| "is no URL of a server (https://host/path)".to_owned())
    }

    fn read(url: &str) -> Option<Self> {
        let mut parts = url.parse::<Uri>().ok()?.into_parts();
        let scheme = parts.scheme.as_ref()?;
        if !["http", "https"].contains(&scheme.as_str()) {
            return None;
        }
        let authority = parts.authority.take()?;
        let (user, place) = match authority.as_str().rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, authority.as_str()),
        };
        let authorization = user.map(basic);
        parts.authority = Some(place.parse().ok()?);
        // `http://host` alone has no path.
        parts.path_and_query.get_or_insert_with(|| "/".parse().expect("a path"));
        let uri = Uri::from_parts(parts).ok()?;
        uri.host().filter(|host| !host.is_empty())?;
        Some(Self { uri, authorization })
    }

    /// Whether the server is spoken to over TLS.
    pub fn is_tls(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }
}

/// `user:password`, each with escapes as URLs have them (RFC 3986 §3.2.1).
fn basic(user: &str) -> HeaderValue {
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let plain = |text: &str| unescape(text.as_bytes(), false).unwrap_or_else(|| text.into());
    let both = [plain(user), b":".to_vec(), plain(password)].concat();
    let value = format!("Basic {}", STANDARD.encode(both));
    let mut value = HeaderValue::try_from(value).expect("base64 may stand in a header");
    value.set_sensitive(true);
    value
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> (String, String) {
        let address = Address::parse(url).unwrap();
        let password = address.authorization.as_ref().map_or("", |value| value.to_str().unwrap());
        (address.uri.to_string(), password.to_owned())
    }

    #[test]
    fn user_and_password_leave_the_url_and_become_basic_authentication() {
        // RFC 7617 §2.
        let said = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";
        let (uri, password) = read("https://Aladdin:open%20sesame@host:8443/a?b=c");
        assert_eq!((&*uri, &*password), ("https://host:8443/a?b=c", said));
        let nobody = |uri: &str| (uri.to_owned(), String::new());
        assert_eq!(read("http://host"), nobody("http://host/"));
        assert_eq!(read("http://[::1]:80/a@b"), nobody("http://[::1]:80/a@b"));
        // What is no escape stays as it is; a user may have no password.
        assert_eq!(read("http://%zz@h/").1, "Basic JXp6Og==");
    }

    #[test]
    fn what_is_no_url_of_a_server_is_refused_without_showing_it() {
        for url in
            ["", "host", "/path", "ftp://host/", "http:///x", "http://user:hunter2@/", "http://a b"]
        {
            let error = Address::parse(url).unwrap_err();
            assert!(!error.contains("hunter2") && error.contains("no URL"), "{url}: {error}");
        }
        let address = Address::parse("http://user:hunter2@host/hunter2").unwrap();
        assert_eq!(format!("{address:?}"), "(hidden)");
        assert!(!format!("{:?}", address.authorization).contains("Basic"));
    }
}

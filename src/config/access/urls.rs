//! URLs of servers that are asked: the callback's, and that of a set of keys. No message tells one,
//! which may hold a password.

use std::net::{IpAddr, SocketAddr};

use hyper::Uri;

/// Ends of names that are looked up in one's own network alone.
const OWN_NETWORK: [&str; 7] =
    ["localhost", "local", "internal", "lan", "home.arpa", "svc", "test"];

/// Whether a text is the URL of something that is asked over HTTP; says what it must be otherwise.
pub fn check(text: &str) -> Result<(), String> {
    let uri: Option<Uri> = text.parse().ok();
    let served = uri.filter(|uri| {
        let host = uri.host().is_some_and(|host| !host.is_empty());
        host && matches!(uri.scheme_str(), Some("http" | "https"))
    });
    let Some(uri) = served else {
        let hint = "is no URL of a server; write https://host/path, or http://host:port/path";
        return Err(hint.to_owned());
    };
    // The authority is `user:password@host:port`.
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit('@').next().unwrap_or_default();
    let port = host[host.rfind(']').unwrap_or(0)..].split_once(':').map_or("", |(_, port)| port);
    if !port.is_empty() && !port.parse().is_ok_and(|port: u16| port > 0) {
        return Err(format!("has the port {port}; ports are 1 to 65535"));
    }
    Ok(())
}

/// Whether what is sent there goes over no network.
fn is_here(uri: &Uri) -> bool {
    let host = host(uri);
    let loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
    host.parse().map_or_else(|_| is_below(&host, "localhost"), loopback)
}

/// Whether what is sent there without TLS goes over others' networks, as far as names tell.
pub fn is_exposed(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let host = host(&uri);
    let private = match host.parse().map(|ip: IpAddr| ip.to_canonical()) {
        Ok(IpAddr::V4(ip)) => ip.is_private() || ip.is_link_local(),
        Ok(IpAddr::V6(ip)) => ip.is_unique_local() || ip.is_unicast_link_local(),
        // `app`, as containers call each other.
        Err(_) => !host.contains('.') || OWN_NETWORK.iter().any(|end| is_below(&host, end)),
    };
    is_plain(text) && !private && !is_here(&uri)
}

/// Whether what is sent there goes over a network without TLS.
pub fn is_readable(text: &str) -> bool {
    is_plain(text) && text.parse().is_ok_and(|uri| !is_here(&uri))
}

fn is_plain(text: &str) -> bool {
    text.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("http://"))
}

/// Whether it leads to what listens at `address`, as far as that can be told without looking names
/// up.
pub fn leads_to(text: &str, address: SocketAddr) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let usual = if is_plain(text) { 80 } else { 443 };
    let listens = address.ip().to_canonical();
    let same = match host(&uri).parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(ip) if ip == listens => true,
        _ => is_here(&uri) && (listens.is_unspecified() || listens.is_loopback()),
    };
    same && uri.port_u16().unwrap_or(usual) == address.port()
}

/// In lower case, without brackets.
fn host(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_owned()
}

fn is_below(host: &str, end: &str) -> bool {
    host.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_none_is_refused_and_the_rest_of_the_url_is_not_told() {
        for port in ["65536", "99999", "0", "4294967296"] {
            let problem = check(&format!("http://user:hunter2@a:{port}/may")).unwrap_err();
            assert_eq!(problem, format!("has the port {port}; ports are 1 to 65535"));
        }
        for url in ["http://a", "http://a:65535/x", "http://[::1]:1/", "https://u:99999@a/x"] {
            assert_eq!(check(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn what_is_sent_in_clear_over_others_networks_is_told_from_the_own_one() {
        for url in ["http://a.example/may", "HTTP://203.0.113.7:80/", "http://[2001:db8::1]/"] {
            assert!(is_exposed(url) && is_readable(url), "{url}");
        }
        for url in ["http://10.1.2.3/", "http://app:8080/may", "http://auth.internal/may"] {
            assert!(!is_exposed(url) && is_readable(url), "{url}");
        }
        for url in
            ["http://127.0.0.1:1/", "http://[::1]/", "http://LOCALHOST/", "https://a.example"]
        {
            assert!(!is_exposed(url) && !is_readable(url), "{url}");
        }
    }

    #[test]
    fn a_url_that_leads_to_an_address_is_known_by_host_and_port() {
        let address = |text: &str| text.parse().unwrap();
        for (url, listens, expected) in [
            ("http://127.0.0.1:8080/may", "127.0.0.1:8080", true),
            ("http://localhost:8080/may", "[::]:8080", true),
            ("http://10.0.0.1:8080/may", "10.0.0.1:8080", true),
            ("http://127.0.0.1/may", "0.0.0.0:80", true),
            ("https://127.0.0.1/may", "0.0.0.0:443", true),
            ("http://127.0.0.1:8081/may", "127.0.0.1:8080", false),
            ("http://127.0.0.1:8080/may", "10.0.0.1:8080", false),
            ("http://10.0.0.2:8080/may", "0.0.0.0:8080", false),
        ] {
            assert_eq!(leads_to(url, address(listens)), expected, "{url} {listens}");
        }
    }
}

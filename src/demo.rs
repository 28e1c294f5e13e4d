//! The demo page: one self-contained HTML file that connects to the server it came from.
//!
//! The page carries three values of this server: the path of its WebSocket endpoint, the address
//! where it takes publications, and the words that run this program. They travel as JSON in a data
//! block, so none can be read as markup or script.
//!
//! Deliberately absent: assets from elsewhere, and publishing from the browser (clients only join
//! and leave).

mod invocation;

use std::hash::{BuildHasher, RandomState};

use crate::config::RpcListen;

const TEMPLATE: &str = include_str!("demo/index.html");

/// The whole HTTP response that answers `GET /` with the demo page; the connection is to be closed
/// after it.
///
/// `rpc` is where publishers connect; an address that listens on all interfaces is shown as
/// loopback, since that is where a publisher on this machine connects. `ws_path` is the path of the
/// WebSocket endpoint, from its slash. About 26 KiB.
pub fn page(rpc: &RpcListen, ws_path: &str) -> Vec<u8> {
    let (rpc, words) = (connectable(rpc), invocation::words());
    filled(&serde_json::json!({ "rpc": rpc, "path": ws_path, "invocation": words }))
}

fn filled(config: &serde_json::Value) -> Vec<u8> {
    let nonce = nonce();
    let body =
        TEMPLATE.replace("__NONCE__", &nonce).replace("__CONFIG__", &inert(&config.to_string()));
    let head = format!(
        "HTTP/1.1 200 OK\r\n\
         Content-Type: text/html; charset=utf-8\r\n\
         Content-Length: {}\r\n\
         Cache-Control: no-store\r\n\
         Content-Security-Policy: default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
         img-src data:; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n\
         X-Content-Type-Options: nosniff\r\n\
         Referrer-Policy: no-referrer\r\n\
         Connection: close\r\n\
         \r\n",
        body.len()
    );
    (head + &body).into_bytes()
}

/// JSON that stays text inside a `<script>` block: what could end the block or open a tag is
/// escaped.
fn inert(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for letter in json.chars() {
        match letter {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                text.push_str(&format!("\\u{:04x}", letter as u32))
            }
            _ => text.push(letter),
        }
    }
    text
}

/// The address that a publisher on this machine uses, whatever its working directory is.
fn connectable(listen: &RpcListen) -> String {
    match listen {
        RpcListen::Tcp(address) if address.ip().to_canonical().is_unspecified() => {
            format!("tcp://127.0.0.1:{}", address.port())
        }
        RpcListen::Tcp(address) => format!("tcp://{address}"),
        RpcListen::Unix(path) => {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            RpcListen::Unix(path).to_string()
        }
    }
}

/// A value no one can guess, for one response: 128 bits from the operating system's randomness, by
/// way of the keys of the standard hasher.
fn nonce() -> String {
    let keys = RandomState::new();
    format!("{:016x}{:016x}", keys.hash_one(0u8), keys.hash_one(1u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(address: &str) -> RpcListen {
        RpcListen::Tcp(address.parse().unwrap())
    }

    fn split(response: &[u8]) -> (String, String) {
        let text = String::from_utf8(response.to_vec()).expect("the page is UTF-8");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        (head.to_owned(), body.to_owned())
    }

    fn config(body: &str) -> serde_json::Value {
        let start = body.find(r#"id="config">"#).expect("the data block") + r#"id="config">"#.len();
        let end = start + body[start..].find("</script>").expect("its end");
        serde_json::from_str(&body[start..end]).expect("the data block is JSON")
    }

    #[test]
    fn the_length_is_that_of_the_body() {
        let (head, body) = split(&page(&tcp("127.0.0.1:6001"), "/ws"));
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
        assert!(head.contains("\r\nContent-Type: text/html; charset=utf-8\r\n"), "{head}");
    }

    #[test]
    fn the_page_carries_the_configured_address_and_path() {
        let (_, body) = split(&page(&RpcListen::Unix("/run/roadcast.sock".into()), "/socket"));
        assert_eq!(config(&body)["rpc"], "unix:///run/roadcast.sock");
        assert_eq!(config(&body)["path"], "/socket");
        let words = config(&body)["invocation"].as_array().expect("words").clone();
        let this = std::env::current_exe().unwrap();
        assert_eq!(words.last().and_then(|word| word.as_str()), this.to_str(), "{words:?}");
    }

    #[test]
    fn values_that_look_like_markup_stay_values() {
        let hostile = "/ws</script><script>alert(1)</script>\u{2028}\"'&";
        let words = [hostile, hostile];
        let values = serde_json::json!({ "rpc": hostile, "path": hostile, "invocation": words });
        let (_, body) = split(&filled(&values));
        assert!(!body.contains("alert(1)</script>"), "the value ended its block");
        assert_eq!(config(&body), values);
    }

    #[test]
    fn an_address_that_listens_everywhere_is_shown_as_loopback() {
        for address in ["0.0.0.0:6001", "[::]:6001", "[::ffff:0.0.0.0]:6001"] {
            assert_eq!(connectable(&tcp(address)), "tcp://127.0.0.1:6001", "{address}");
        }
        assert_eq!(connectable(&tcp("[::1]:6001")), "tcp://[::1]:6001");
    }

    #[test]
    fn a_socket_below_the_working_directory_is_shown_with_its_whole_path() {
        let directory = std::env::current_dir().unwrap();
        let expected = format!("unix://{}/run/rpc.sock", directory.display());
        assert_eq!(connectable(&RpcListen::Unix("run/rpc.sock".into())), expected);
    }

    #[test]
    fn only_script_and_style_of_this_response_may_run() {
        let (head, body) = split(&page(&tcp("127.0.0.1:6001"), "/ws"));
        let nonce = head
            .split("script-src 'nonce-")
            .nth(1)
            .and_then(|rest| rest.split('\'').next())
            .expect("a nonce");
        assert_eq!(nonce.len(), 32);
        assert!(
            body.contains(&format!("<script nonce=\"{nonce}\">"))
                && body.contains(&format!("<style nonce=\"{nonce}\">"))
        );
        let (other, _) = split(&page(&tcp("127.0.0.1:6001"), "/ws"));
        assert!(!other.contains(nonce), "a nonce is used once");
        assert!(!body.contains("__NONCE__") && !body.contains("__CONFIG__"));
    }

    #[test]
    fn the_page_is_self_contained_and_writes_text_only() {
        for foreign in [
            "src=\"http",
            "href=\"http",
            "@import",
            "url(http",
            "innerHTML",
            "insertAdjacentHTML",
            "document.write",
            " style=\"",
            " onclick=",
        ] {
            assert!(!TEMPLATE.contains(foreign), "{foreign}");
        }
    }
}

//! What workers and the callback are told: of any head that is valid HTTP, whole JSON with all that
//! they rely on.

use roadcast::access::{About, AccessRequest, context};
use roadcast::http::Head;
use roadcast::http::head::Room;
use serde_json::Value;

/// First byte: what is asked, and whether all headers are passed on.
pub fn check(bytes: &[u8]) {
    let Some((&first, head)) = bytes.split_first() else { return };
    let mut room = Room::new();
    let Ok(parsed) = Head::parse(head, &mut room) else { return };
    let request = AccessRequest { head: head.into(), client: None };
    let about = if first & 1 == 0 { About::Server } else { About::Topics(&["a,b", "\"c"]) };
    let passed = ["Cookie", "x-a"];
    let json = context::encode(&request, about, (first & 2 != 0).then_some(&passed[..]));
    let json: Value = serde_json::from_slice(&json).expect("whole JSON");
    for text in ["remoteAddr", "protocol", "method", "uri", "rawQuery"] {
        assert!(json[text].is_string(), "PHP reads `{text}` without a default");
    }
    assert_eq!((&json["parsed"], &json["uploads"]), (&Value::Bool(false), &Value::Null));
    assert_eq!(json["attributes"].as_object().map(|all| all.len()), Some(1));
    let headers = json["headers"].as_object().expect("an object");
    assert!(headers.keys().all(|name| !name.eq_ignore_ascii_case("host")));
    assert!(headers.values().all(|values| values.as_array().is_some_and(|all| !all.is_empty())));
    let values: usize = headers.values().filter_map(Value::as_array).map(Vec::len).sum();
    // Go adds one for old proxies.
    assert!(values <= parsed.headers_len() + 1);
    if first & 2 != 0 {
        assert!(headers.keys().all(|name| name == "Cookie" || name == "X-A"));
    }
    let cookies = json["cookies"].as_object().expect("an object");
    assert!(cookies.values().all(Value::is_string));
}

//! Tokens, and sets of keys: whatever the bytes, a token is accepted only if it is signed, and the
//! answer to one that is refused is HTTP and holds nothing of it.

use std::time::{Duration, UNIX_EPOCH};

use roadcast::access::token::{Demands, Key, KeySet, Places, TokenFault, check, find};
use roadcast::http::Head;
use roadcast::http::head::Room;

/// What the corpus is signed with.
const SECRET: &[u8] = b"the secret of the corpus of tokens";

/// The first byte says what the rest is: a token, the head of a request, a set of keys, PEM.
pub fn check_all(bytes: &[u8]) {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    match first {
        b't' => token(bytes),
        b'h' => head(bytes),
        b'k' => set(bytes),
        b'p' => drop(std::str::from_utf8(bytes).map(Key::pem)),
        _ => {}
    }
}

fn token(bytes: &[u8]) {
    let keys = [Key::secret(SECRET).expect("a secret")];
    let demands = Demands { claims: vec!["tenant".into()], ..Demands::default() };
    match check(bytes, &keys, &demands, UNIX_EPOCH + Duration::from_secs(1000)) {
        Ok(_) => {
            let signed = bytes.iter().rposition(|&byte| byte == b'.').expect("three parts");
            let others = [Key::secret(b"another").expect("a secret")];
            let judged = check(bytes, &others, &demands, UNIX_EPOCH);
            assert_eq!(judged, Err(TokenFault::Signature));
            assert!(bytes.len() - signed == 44, "32 bytes in base64url");
        }
        Err(fault) => {
            let response = fault.response(1);
            let mut headers = [httparse::EMPTY_HEADER; 8];
            let mut parsed = httparse::Response::new(&mut headers);
            assert!(parsed.parse(&response).is_ok_and(|status| status.is_complete()));
            assert_eq!(parsed.code, Some(fault.status()));
        }
    }
}

fn head(bytes: &[u8]) {
    let mut room = Room::new();
    let Ok(head) = Head::parse(bytes, &mut room) else { return };
    let places = Places { query: Some("t".into()), cookie: Some("t".into()), subprotocol: true };
    match find(&head, &places) {
        Ok(Some(found)) => assert!(!found.token.is_empty()),
        Ok(None) => {}
        Err(fault) => assert_eq!(fault, TokenFault::Two),
    }
}

fn set(bytes: &[u8]) {
    if let Ok(set) = KeySet::parse(bytes) {
        assert!(!set.keys.is_empty());
        // A secret is in no set.
        let hmac = "eyJhbGciOiJIUzI1NiJ9.e30.AAAA";
        let judged = check(hmac.as_bytes(), &set.keys, &Demands::default(), UNIX_EPOCH);
        assert_eq!(judged, Err(TokenFault::Algorithm));
    }
}

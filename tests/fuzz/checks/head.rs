//! The upgrade request: its answer does not depend on how it arrives, and is one HTTP response.

use roadcast::http::Head;
use roadcast::http::arrival::Arrival;
use roadcast::http::forwarded::{self, ClientHeader};
use roadcast::http::head::{Bounds, Room};
use roadcast::http::origin::OriginRule;
use roadcast::ws::upgrade::{self, Answer, Rules};

use super::pieces;

/// First byte: which rules apply, and how the rest is cut.
pub fn check(bytes: &[u8]) {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    let rules = Rules {
        path: "/ws".into(),
        echo_path: (first & 1 != 0).then(|| "/echo".into()),
        origin: OriginRule::new(if first & 2 != 0 { "https://*.example.org" } else { "" }),
        demo: first & 4 != 0,
        health_path: (first & 8 != 0).then(|| "/up".into()),
        subprotocols: vec!["chat".into()],
        tokens: first & 16 != 0,
        bounds: Bounds::default(),
    };
    let headers = ["X-Forwarded-For", "Forwarded", "X-Real-IP"]
        .map(|name| ClientHeader::parse(name).expect("a name"));
    // Whom a proxy names: nobody or an address, whatever the head; the nearest one is trusted, or
    // the first that is not.
    if let Ok(head) = Head::parse(bytes, &mut Room::new()) {
        let nearest = forwarded::client(&head, &headers, |_| false);
        let farthest = forwarded::client(&head, &headers, |_| true);
        assert_eq!(nearest.is_some(), farthest.is_some(), "{nearest:?} {farthest:?}");
    }

    let whole = told(bytes, 0, &rules);
    if let Some((head_len, answer)) = &whole {
        assert!(*head_len <= bytes.len());
        is_http(answer);
    }

    let mut seen = 0;
    for piece in pieces(bytes, first) {
        let arrived = &bytes[..seen + piece.len()];
        match told(arrived, seen, &rules) {
            None => seen = arrived.len(),
            Some((head_len, answer)) => {
                let (of_whole, to_whole) = whole.as_ref().expect("complete only in pieces");
                assert_eq!(&answer, to_whole, "in pieces and as a whole");
                // What is refused is discarded, wherever it ends.
                if matches!(answer, Answer::Upgrade { .. }) {
                    assert_eq!(head_len, *of_whole);
                }
                return;
            }
        }
    }
    assert_eq!(whole, None, "complete only as a whole");
}

/// The answer, and the bytes that it takes; `None` while the head's end has not arrived.
fn told(bytes: &[u8], seen: usize, rules: &Rules) -> Option<(usize, Answer)> {
    let (head_len, head) = match Arrival::of(bytes, seen, rules.bounds.bytes) {
        Arrival::Incomplete => return None,
        Arrival::Complete(len) => (len, Ok(&bytes[..len])),
        Arrival::Hopeless(fault) => (bytes.len(), Err(fault)),
    };
    let mut room = Room::new();
    let head = head.and_then(|head| Head::parse(head, &mut room));
    Some((head_len, upgrade::answer(head.as_ref().map_err(|fault| *fault), rules)))
}

fn is_http(answer: &Answer) {
    let (expected, response) = match answer {
        Answer::Upgrade { response, .. } => (101, response),
        Answer::Refuse { fault, response } => (fault.status(), response),
        Answer::Healthy { response } => (200, response),
        Answer::DemoPage { .. } => return,
    };
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut parsed = httparse::Response::new(&mut headers);
    assert!(parsed.parse(response).is_ok_and(|status| status.is_complete()), "{response:?}");
    assert_eq!(parsed.code, Some(expected));
}

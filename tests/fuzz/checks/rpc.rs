//! Bodies of calls: PROTO as the generated types read it; a request that one codec carries, every
//! codec carries.

use std::ops::Not;

use prost::Message as _;
use roadcast::rpc::proto::{broadcast, websockets};
use roadcast::rpc::{self, Call, Codec, Layout};

use super::bodies::{self, Part};

/// First byte: codec and layout of the body that follows.
pub fn check(bytes: &[u8]) {
    let Some((&first, body)) = bytes.split_first() else { return };
    let layout = if first & 1 != 0 { Layout::Broadcast } else { Layout::Websockets };
    let codec =
        [Codec::Proto, Codec::Json, Codec::Msgpack, Codec::Raw][usize::from(first >> 1 & 3)];
    for codec in [Codec::Json, Codec::Msgpack, Codec::Gob] {
        let call = Call { sequence: 1, method: b"", codec: Some(codec), body };
        // A byte becomes U+FFFD at most.
        assert!(rpc::plugin(&call).is_ok_and(|name| name.len() > 3 * body.len()).not());
    }
    let ours = read(layout, codec, body);
    if matches!(codec, Codec::Proto | Codec::Raw) {
        assert_eq!(ours, read_by_prost(layout, body), "as the generated types read it");
    }
    let Some(mut messages) = ours else { return };

    let content = |part: &Part| {
        part.broker.len() + part.payload.len() + part.topics.iter().map(String::len).sum::<usize>()
    };
    assert!(messages.iter().map(content).sum::<usize>() <= body.len(), "nothing is multiplied");
    // JSON and MSGPACK leave out what nothing is published for.
    messages.retain(|part| !part.topics.is_empty());
    for codec in [Codec::Proto, Codec::Json, Codec::Msgpack] {
        let body = bodies::encode(layout, codec, &messages);
        assert_eq!(
            read(layout, codec, &body).as_ref(),
            Some(&messages),
            "carried by {}",
            codec.name()
        );
    }
}

fn read(layout: Layout, codec: Codec, body: &[u8]) -> Option<Vec<Part>> {
    let call = Call { sequence: 1, method: b"", codec: Some(codec), body };
    let request = match call.request(layout) {
        Ok(request) => request,
        Err(error) => {
            assert!(error.to_string().len() < 2048, "a reason has its bound");
            return None;
        }
    };
    let owned = |message: roadcast::rpc::Message<'_>| Part {
        broker: message.broker.into(),
        topics: message.topics().map(String::from).collect(),
        payload: message.payload.into(),
    };
    Some(request.messages().map(owned).collect())
}

fn read_by_prost(layout: Layout, body: &[u8]) -> Option<Vec<Part>> {
    Some(match layout {
        Layout::Broadcast => {
            let request = broadcast::Request::decode(body).ok()?;
            let part = |m: broadcast::Message| Part {
                broker: String::new(),
                topics: m.topics,
                payload: m.payload,
            };
            request.messages.into_iter().map(part).collect()
        }
        Layout::Websockets => {
            let request = websockets::Request::decode(body).ok()?;
            let part = |m: websockets::Message| Part {
                broker: m.broker,
                topics: m.topics,
                payload: m.payload,
            };
            request.messages.into_iter().map(part).collect()
        }
    })
}

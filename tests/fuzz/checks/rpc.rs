//! Bodies of calls: PROTO as the generated types read it; a request that one codec carries, every codec carries.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use roadcast::rpc::proto::{broadcast, websockets};
use roadcast::rpc::{Call, Codec, Layout};

/// Broker, payload, topics of each message.
type Read = Vec<(String, Vec<u8>, Vec<String>)>;

/// First byte: codec and layout of the body that follows.
pub fn check(bytes: &[u8]) {
    let Some((&first, body)) = bytes.split_first() else { return };
    let layout = if first & 1 != 0 { Layout::Broadcast } else { Layout::Websockets };
    let codec = [Codec::Proto, Codec::Json, Codec::Msgpack, Codec::Raw][usize::from(first >> 1 & 3)];
    let ours = read(layout, codec, body);
    if matches!(codec, Codec::Proto | Codec::Raw) {
        assert_eq!(ours, read_by_prost(layout, body), "as the generated types read it");
    }
    let Some(mut messages) = ours else { return };

    let content = |(broker, payload, topics): &(String, Vec<u8>, Vec<String>)| {
        broker.len() + payload.len() + topics.iter().map(String::len).sum::<usize>()
    };
    assert!(messages.iter().map(content).sum::<usize>() <= body.len(), "nothing is multiplied");
    // JSON and MSGPACK leave out what nothing is published for.
    messages.retain(|(_, _, topics)| !topics.is_empty());
    for (codec, body) in [
        (Codec::Proto, proto(layout, &messages)),
        (Codec::Json, serde_json::to_vec(&json(layout, &messages)).unwrap()),
        (Codec::Msgpack, msgpack(layout, &messages)),
    ] {
        assert_eq!(read(layout, codec, &body).as_ref(), Some(&messages), "carried by {}", codec.name());
    }
}

fn read(layout: Layout, codec: Codec, body: &[u8]) -> Option<Read> {
    let call = Call { sequence: 1, method: b"", codec: Some(codec), body };
    let request = match call.request(layout) {
        Ok(request) => request,
        Err(error) => {
            assert!(error.to_string().len() < 2048, "a reason has its bound");
            return None;
        }
    };
    let owned = |message: roadcast::rpc::Message<'_>| {
        (message.broker.into(), message.payload.into(), message.topics().map(String::from).collect())
    };
    Some(request.messages().map(owned).collect())
}

fn read_by_prost(layout: Layout, body: &[u8]) -> Option<Read> {
    Some(match layout {
        Layout::Broadcast => {
            let request = broadcast::Request::decode(body).ok()?;
            request.messages.into_iter().map(|m| (String::new(), m.payload, m.topics)).collect()
        }
        Layout::Websockets => {
            let request = websockets::Request::decode(body).ok()?;
            request.messages.into_iter().map(|m| (m.broker, m.payload, m.topics)).collect()
        }
    })
}

fn proto(layout: Layout, messages: &Read) -> Vec<u8> {
    let messages = messages.iter().cloned();
    let command = String::new;
    match layout {
        Layout::Broadcast => {
            let messages = messages
                .map(|(_, payload, topics)| broadcast::Message { command: command(), topics, payload })
                .collect();
            broadcast::Request { messages }.encode_to_vec()
        }
        Layout::Websockets => {
            let messages = messages
                .map(|(broker, payload, topics)| websockets::Message {
                    command: command(),
                    broker,
                    topics,
                    payload,
                })
                .collect();
            websockets::Request { messages }.encode_to_vec()
        }
    }
}

fn json(layout: Layout, messages: &Read) -> serde_json::Value {
    let message = |(broker, payload, topics): &(String, Vec<u8>, Vec<String>)| {
        let mut message = serde_json::json!({ "topics": topics, "payload": STANDARD.encode(payload) });
        if layout == Layout::Websockets {
            message["broker"] = broker.as_str().into();
        }
        message
    };
    serde_json::json!({ "messages": messages.iter().map(message).collect::<Vec<_>>() })
}

fn msgpack(layout: Layout, messages: &Read) -> Vec<u8> {
    /// With Go's names of the fields.
    #[derive(serde::Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Message<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        broker: Option<&'a str>,
        topics: &'a [String],
        payload: Bytes<'a>,
    }
    #[derive(serde::Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Request<'a> {
        messages: Vec<Message<'a>>,
    }
    struct Bytes<'a>(&'a [u8]);
    impl serde::Serialize for Bytes<'_> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(self.0)
        }
    }
    let message = |(broker, payload, topics)| Message { broker, topics, payload };
    let messages = messages.iter().map(|(broker, payload, topics)| {
        let broker = (layout == Layout::Websockets).then_some(broker.as_str());
        message((broker, Bytes(payload), topics.as_slice()))
    });
    rmp_serde::to_vec_named(&Request { messages: messages.collect() }).unwrap()
}

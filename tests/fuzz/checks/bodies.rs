//! The bodies of publish calls, in every codec. The simulation's publishers (`tests/model`) encode
//! theirs with it, too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use roadcast::rpc::proto::{broadcast, websockets};
use roadcast::rpc::{Codec, Layout};

/// One message of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// For `websockets.*` alone.
    pub broker: String,
    pub topics: Vec<String>,
    pub payload: Vec<u8>,
}

/// The body of a call.
pub fn encode(layout: Layout, codec: Codec, parts: &[Part]) -> Vec<u8> {
    match codec {
        Codec::Json => json(layout, parts),
        Codec::Msgpack => msgpack(layout, parts),
        _ => proto(layout, parts),
    }
}

fn proto(layout: Layout, parts: &[Part]) -> Vec<u8> {
    let parts = parts.iter().cloned();
    let command = String::new();
    match layout {
        Layout::Broadcast => {
            let message = |Part { topics, payload, .. }| broadcast::Message {
                command: command.clone(),
                topics,
                payload,
            };
            broadcast::Request { messages: parts.map(message).collect() }.encode_to_vec()
        }
        Layout::Websockets => {
            let message = |Part { broker, topics, payload }| websockets::Message {
                command: command.clone(),
                broker,
                topics,
                payload,
            };
            websockets::Request { messages: parts.map(message).collect() }.encode_to_vec()
        }
    }
}

fn json(layout: Layout, parts: &[Part]) -> Vec<u8> {
    let message = |part: &Part| {
        let mut message =
            serde_json::json!({ "topics": part.topics, "payload": STANDARD.encode(&part.payload) });
        if layout == Layout::Websockets {
            message["broker"] = part.broker.as_str().into();
        }
        message
    };
    let messages: Vec<_> = parts.iter().map(message).collect();
    serde_json::json!({ "messages": messages }).to_string().into_bytes()
}

fn msgpack(layout: Layout, parts: &[Part]) -> Vec<u8> {
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
    fn message(layout: Layout, part: &Part) -> Message<'_> {
        let broker = (layout == Layout::Websockets).then_some(part.broker.as_str());
        Message { broker, topics: &part.topics, payload: Bytes(&part.payload) }
    }
    let messages = parts.iter().map(|part| message(layout, part)).collect();
    rmp_serde::to_vec_named(&Request { messages }).unwrap()
}

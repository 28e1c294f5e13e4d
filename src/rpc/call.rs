//! Calls: which method, which codec, and their bodies.

use std::borrow::Cow;

use super::error::CallError;
use super::frame::{self, Decoded, FrameError};
use super::layout::Layout;
use super::request::{Checking, Request};
use super::{Codec, rewrite};

/// An RPC call in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// The caller's number for it, repeated in the answer.
    pub sequence: u32,
    /// `service.method`, as sent.
    pub method: &'a [u8],
    /// How the body is encoded, if the flags say so.
    pub codec: Option<Codec>,
    /// What follows the method's name.
    pub body: &'a [u8],
}

/// Decodes the call at the beginning of a buffer.
pub fn decode(buffer: &[u8], frame_bytes_max: usize) -> Result<Decoded<Call<'_>>, FrameError> {
    let (frame, bytes) = match frame::decode(buffer, frame_bytes_max)? {
        Decoded::Whole { value, bytes } => (value, bytes),
        Decoded::Partial { bytes } => return Ok(Decoded::Partial { bytes }),
    };
    let mut options = frame.options();
    let (2, Some(sequence), Some(claimed)) = (options.len(), options.next(), options.next()) else {
        return Err(FrameError::Options(frame.options().len()));
    };
    let Some((method, body)) = frame.payload.split_at_checked(claimed as usize) else {
        return Err(FrameError::MethodLength { claimed, payload: frame.payload.len() });
    };
    let value = Call { sequence, method, codec: Codec::of(frame.flags), body };
    Ok(Decoded::Whole { value, bytes })
}

/// A method that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `Publish` and `PublishAsync`.
    Publish(Publish),
    /// What operators and deploy scripts call.
    Operate(Operation),
}

/// What operators call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `informer.List`: which plugins there are. Its argument means nothing.
    Plugins,
    /// `informer.Workers`: the workers of a plugin.
    Workers,
    /// `informer.Jobs`: the pipelines of a plugin.
    Jobs,
    /// `resetter.List`: which plugins can be reset. Its argument means nothing.
    Resettable,
    /// `resetter.Reset`: new workers for a plugin.
    Reset,
    /// `roadcast.Brokers`: how the brokers are. Its argument means nothing.
    Brokers,
}

/// How a call publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish {
    /// The layout of its messages.
    pub layout: Layout,
    /// `PublishAsync`: answered before its messages are published.
    pub asynchronous: bool,
}

impl<'a> Call<'a> {
    /// Finds the method, as Go's net/rpc does: the service is what stands before the last dot.
    pub fn method(&self) -> Result<Method, CallError<'a>> {
        let name = || String::from_utf8_lossy(self.method);
        let Some(dot) = self.method.iter().rposition(|byte| *byte == b'.') else {
            return Err(CallError::IllFormed(name()));
        };
        let layout = match &self.method[..dot] {
            b"broadcast" => Layout::Broadcast,
            b"websockets" => Layout::Websockets,
            service @ (b"informer" | b"resetter" | b"roadcast") => {
                let operation = operation(service, &self.method[dot + 1..]);
                return operation.map(Method::Operate).ok_or_else(|| CallError::Method(name()));
            }
            _ => return Err(CallError::Service(name())),
        };
        match &self.method[dot + 1..] {
            b"Publish" => Ok(Method::Publish(Publish { layout, asynchronous: false })),
            b"PublishAsync" => Ok(Method::Publish(Publish { layout, asynchronous: true })),
            _ => Err(CallError::Method(name())),
        }
    }

    /// Checks the whole body at once and makes its messages readable.
    pub fn request(&self, layout: Layout) -> Result<Request<'a>, CallError<'static>> {
        let (codec, body) = self.wire(layout)?;
        Request::new(layout, codec, body)
    }

    /// Begins to check the body. One in JSON or MSGPACK is rewritten at once.
    pub fn checking(&self, layout: Layout) -> Result<Checking<'a>, CallError<'static>> {
        let (codec, body) = self.wire(layout)?;
        Ok(Checking::new(layout, codec, body))
    }

    /// The body in protobuf. One of no bytes is an empty request.
    fn wire(&self, layout: Layout) -> Result<(Codec, Cow<'a, [u8]>), CallError<'static>> {
        let failed = |codec, reason: String| CallError::Body { codec, reason };
        match self.codec {
            Some(codec @ (Codec::Proto | Codec::Raw)) => Ok((codec, Cow::Borrowed(self.body))),
            Some(codec @ (Codec::Json | Codec::Msgpack)) => {
                let body = match codec {
                    Codec::Json => {
                        rewrite::json(layout, self.body).map_err(|e| failed(codec, e.to_string()))
                    }
                    _ => rewrite::msgpack(layout, self.body).map_err(|e| failed(codec, e)),
                }?;
                Ok((codec, Cow::Owned(body)))
            }
            codec @ (Some(Codec::Gob) | None) => Err(CallError::Codec(codec)),
        }
    }
}

fn operation(service: &[u8], name: &[u8]) -> Option<Operation> {
    match (service, name) {
        (b"informer", b"List") => Some(Operation::Plugins),
        (b"informer", b"Workers") => Some(Operation::Workers),
        (b"informer", b"Jobs") => Some(Operation::Jobs),
        (b"resetter", b"List") => Some(Operation::Resettable),
        (b"resetter", b"Reset") => Some(Operation::Reset),
        (b"roadcast", b"Brokers") => Some(Operation::Brokers),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::ECHO_BYTES_MAX;
    use super::super::{encode_call, encode_frame, flag};
    use super::*;

    fn call(method: &str) -> Call<'_> {
        Call { sequence: 1, method: method.as_bytes(), codec: Some(Codec::Proto), body: &[] }
    }

    #[test]
    fn both_services_have_both_methods() {
        for (name, layout, asynchronous) in [
            ("broadcast.Publish", Layout::Broadcast, false),
            ("broadcast.PublishAsync", Layout::Broadcast, true),
            ("websockets.Publish", Layout::Websockets, false),
            ("websockets.PublishAsync", Layout::Websockets, true),
        ] {
            assert_eq!(call(name).method(), Ok(Method::Publish(Publish { layout, asynchronous })));
        }
    }

    #[test]
    fn what_is_not_found_is_said_in_the_words_of_go() {
        for (name, text) in [
            ("kv.Set", "rpc: can't find service kv.Set"),
            ("informer.Reset", "rpc: can't find method informer.Reset"),
            ("resetter.Workers", "rpc: can't find method resetter.Workers"),
            ("roadcast.Publish", "rpc: can't find method roadcast.Publish"),
            ("a.broadcast.Publish", "rpc: can't find service a.broadcast.Publish"),
            (".Publish", "rpc: can't find service .Publish"),
            ("broadcast.Foo", "rpc: can't find method broadcast.Foo"),
            ("broadcast.", "rpc: can't find method broadcast."),
            ("broadcast.publish", "rpc: can't find method broadcast.publish"),
            ("Publish", "rpc: service/method request ill-formed: Publish"),
            ("", "rpc: service/method request ill-formed: "),
        ] {
            assert_eq!(call(name).method().unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn a_name_that_is_not_text_or_endless_is_told_within_bounds() {
        let bytes = [0xff, b'.', b'x'];
        let call = Call { method: &bytes, ..call("") };
        assert_eq!(call.method().unwrap_err().to_string(), "rpc: can't find service \u{fffd}.x");
        let long = "ü".repeat(100_000);
        let text = super::tests::call(&long).method().unwrap_err().to_string();
        assert!(text.len() <= 64 + ECHO_BYTES_MAX);
    }

    #[test]
    fn a_codec_that_is_not_served_is_told_which_are() {
        let text =
            |codec| Call { codec, ..call("") }.request(Layout::Broadcast).unwrap_err().to_string();
        assert_eq!(
            text(Some(Codec::Gob)),
            "rpc: the call's flags name GOB, served are PROTO, JSON, MSGPACK and RAW"
        );
        assert_eq!(
            text(None),
            "rpc: the call's flags name no codec, served are PROTO, JSON, MSGPACK and RAW"
        );
    }

    #[test]
    fn a_call_is_decoded_from_any_split() {
        let mut bytes = Vec::new();
        encode_call(&mut bytes, 7, "broadcast.Publish", Codec::Json, b"{}");
        for split in 0..bytes.len() {
            assert!(
                matches!(decode(&bytes[..split], 1024), Ok(Decoded::Partial { .. })),
                "split {split}"
            );
        }
        let value = Call {
            sequence: 7,
            method: b"broadcast.Publish",
            codec: Some(Codec::Json),
            body: b"{}",
        };
        assert_eq!(decode(&bytes, 1024), Ok(Decoded::Whole { value, bytes: bytes.len() }));
    }

    #[test]
    fn a_call_has_two_options_and_a_method_within_its_payload() {
        let mut bytes = Vec::new();
        for options in [&[][..], &[1], &[1, 2, 3]] {
            bytes.clear();
            encode_frame(&mut bytes, flag::PROTO, options, &[b"abc"]);
            assert_eq!(decode(&bytes, 1024), Err(FrameError::Options(options.len())));
        }
        for claimed in [4, u32::MAX] {
            bytes.clear();
            encode_frame(&mut bytes, flag::PROTO, &[1, claimed], &[b"abc"]);
            assert_eq!(decode(&bytes, 1024), Err(FrameError::MethodLength { claimed, payload: 3 }));
        }
    }
}

use super::*;
use crate::rpc::{Decoded, decode_answer};

const CODECS: [Codec; 3] = [Codec::Json, Codec::Msgpack, Codec::Gob];

fn call(codec: Option<Codec>, body: &[u8]) -> Call<'_> {
    Call { sequence: 3, method: b"informer.Workers", codec, body }
}

fn body(encoded: impl FnOnce(&mut Vec<u8>) -> Result<(), CallError<'static>>) -> Vec<u8> {
    let mut out = Vec::new();
    encoded(&mut out).unwrap();
    let Ok(Decoded::Whole { value, bytes }) = decode_answer(&out, 1 << 20) else { panic!() };
    assert_eq!((value.sequence, bytes, value.error), (3, out.len(), false));
    value.body.to_vec()
}

fn worker() -> Worker {
    Worker {
        pid: 7,
        status: WorkerStatus::Working,
        answers: 2,
        created_ns: 3,
        memory_bytes: 4,
        cpu_percent: 0.5,
        command: "php w.php".to_owned(),
    }
}

#[test]
fn a_plugin_is_named_in_each_form() {
    for (codec, body, name) in [
        (Some(Codec::Json), &br#""web\u0073ockets""#[..], "websockets"),
        (Some(Codec::Json), b"null", ""),
        (Some(Codec::Msgpack), b"\xaawebsockets", "websockets"),
        (Some(Codec::Msgpack), b"\xc0", ""),
        (Some(Codec::Gob), b"\x0d\x0c\x00\x0awebsockets", "websockets"),
        (Some(Codec::Gob), b"\x04\x0c\x00\x01\xff", "\u{fffd}"),
        (None, b"\x0d\x0c\x00\x0awebsockets", "websockets"),
        (Some(Codec::Json), b"", ""),
        (Some(Codec::Gob), b"", ""),
    ] {
        assert_eq!(plugin(&call(codec, body)).unwrap(), name);
    }
}

#[test]
fn a_body_that_names_nothing_is_told_with_its_codec() {
    for (codec, body, text) in [
        (Codec::Json, &b"true"[..], "rpc: can't decode JSON body: invalid type"),
        (Codec::Msgpack, b"\xc3", "rpc: can't decode MSGPACK body: "),
        (
            Codec::Gob,
            b"\x03\x02\x00\x01",
            "rpc: can't decode GOB body: a value of type 1, expected 6",
        ),
        (Codec::Proto, b"", "goridge_read_request_body: message type is not a proto"),
        (Codec::Raw, b"", "unknown Raw payload type"),
    ] {
        let told = plugin(&call(Some(codec), body)).unwrap_err().to_string();
        assert!(told.starts_with(text), "{told}");
    }
}

#[test]
fn workers_are_told_in_json_as_the_newer_roadrunner_does_and_as_php_reads_them() {
    let call = call(Some(Codec::Json), b"");
    let told = body(|out| encode_workers(out, &call, Some(&[worker()])));
    let expected = r#"{"workers":[{"pid":7,"status":2,"numExecs":2,"created":3,"memoryUsage":4,"CPUPercent":0.5,"Command":"php w.php","StatusStr":"working","command":"php w.php","statusStr":"working"}]}"#;
    assert_eq!(String::from_utf8(told).unwrap(), expected);
    assert_eq!(body(|out| encode_workers(out, &call, Some(&[]))), br#"{"workers":[]}"#);
    assert_eq!(body(|out| encode_workers(out, &call, None)), br#"{"workers":null}"#);
}

#[test]
fn msgpack_has_the_names_of_go() {
    let call = call(Some(Codec::Msgpack), b"");
    let told = body(|out| encode_workers(out, &call, Some(&[worker()])));
    let read: serde_json::Value = rmp_serde::from_slice(&told).unwrap();
    let worker = &read["Workers"][0];
    assert_eq!(worker["Pid"], 7);
    assert_eq!(worker["NumExecs"], 2);
    assert_eq!(worker["CPUPercent"], 0.5);
    assert_eq!(worker["StatusStr"], "working");
}

#[test]
fn plugins_and_done_are_told_in_each_form_and_otherwise_refused_in_the_words_of_go() {
    let plugins = |codec| body(|out| encode_plugins(out, &call(Some(codec), b"true"), &PLUGINS));
    assert_eq!(plugins(Codec::Json), br#"["broadcast","websockets"]"#);
    assert_eq!(plugins(Codec::Msgpack), b"\x92\xa9broadcast\xaawebsockets");
    for codec in CODECS {
        let call = call(Some(codec), b"");
        assert!(!body(|out| encode_done(out, &call)).is_empty());
        assert!(!body(|out| encode_no_jobs(out, &call)).is_empty());
    }
    for codec in [Codec::Proto, Codec::Raw] {
        let call = call(Some(codec), b"");
        assert!(encode_plugins(&mut Vec::new(), &call, &PLUGINS).is_err());
        assert!(encode_done(&mut Vec::new(), &call).is_err());
        assert!(encode_no_jobs(&mut Vec::new(), &call).is_err());
        assert!(encode_workers(&mut Vec::new(), &call, None).is_err());
    }
}

//! The codecs: what a client's message, a publish and a publication cost before and after the core.
//!
//! Run with `cargo bench -p roadcast-bench --bench codecs`.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use roadcast::ws::frame::Opcode;
use roadcast::ws::reader::{Reader, ReaderLimits};
use roadcast::{command, publication, reply, rpc, ws};

fn main() {
    divan::main();
}

/// Bytes of payloads.
const SIZES: [usize; 3] = [128, 1024, 16 * 1024];

/// A client's text frame, masked.
fn masked(payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xFA, 0x21, 0x3D];
    let mut header = Vec::new();
    ws::frame::encode_header(&mut header, Opcode::Text, payload.len());
    header[1] |= 0x80;
    header.extend_from_slice(&key);
    header.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    header
}

#[divan::bench(args = SIZES)]
fn frame_parse_and_unmask(bencher: Bencher<'_, '_>, bytes: usize) {
    let input = masked(&vec![b'x'; bytes]);
    let limits = ReaderLimits { message_bytes_max: 64 * 1024 };
    let mut reader = Reader::default();
    // Unmasking works in place, so each turn has its own copy.
    bencher.counter(BytesCount::new(bytes)).with_inputs(|| input.clone()).bench_local_refs(
        |input| {
            let (read, event) = reader.read(black_box(input), limits);
            black_box(event.is_ok());
            read
        },
    );
}

/// Topics of a join.
#[divan::bench(args = [1, 10, 100])]
fn command_parse(bencher: Bencher<'_, '_>, topics: usize) {
    let names: Vec<String> = (0..topics).map(|number| format!("\"topic-{number}\"")).collect();
    let text = format!(r#"{{"command":"join","topics":[{}]}}"#, names.join(","));
    bencher.with_inputs(|| text.clone().into_bytes()).bench_local_refs(|text| {
        black_box(command::parse(black_box(text), &mut Vec::new())).is_ok()
    });
}

#[divan::bench(args = SIZES)]
fn goridge_decode(bencher: Bencher<'_, '_>, bytes: usize) {
    let body = rpc::publish_body(["news"], &vec![b'x'; bytes]);
    let mut call = Vec::new();
    rpc::encode_call(&mut call, 1, "broadcast.Publish", rpc::Codec::Proto, &body);
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        let Ok(rpc::Decoded::Whole { value: call, .. }) = rpc::decode(black_box(&call), 1 << 24)
        else {
            unreachable!("a whole call");
        };
        let Ok(rpc::Method::Publish(publish)) = call.method() else {
            unreachable!("a known method")
        };
        let request = call.request(publish.layout).expect("a request");
        request.messages().map(|message| message.payload.len()).sum::<usize>()
    });
}

#[divan::bench(args = SIZES)]
fn publication_encode(bencher: Bencher<'_, '_>, bytes: usize) {
    let payload = vec![b'x'; bytes];
    bencher
        .counter(BytesCount::new(bytes))
        .bench_local(|| publication::encode(black_box("news"), black_box(&payload), 1 << 20));
}

/// A payload that is JSON itself, so that every quote is escaped.
#[divan::bench(args = SIZES)]
fn publication_encode_escaping(bencher: Bencher<'_, '_>, bytes: usize) {
    let payload: Vec<u8> =
        br#"{"name":"value","list":[1,2,3]},"#.iter().copied().cycle().take(bytes).collect();
    bencher
        .counter(BytesCount::new(bytes))
        .bench_local(|| publication::encode(black_box("news"), black_box(&payload), 1 << 20));
}

#[divan::bench]
fn reply_encode(bencher: Bencher<'_, '_>) {
    let mut out = Vec::new();
    bencher.bench_local(|| {
        out.clear();
        reply::encode(&mut out, reply::Reply::Joined, black_box(Some(&["news"])));
        out.len()
    });
}

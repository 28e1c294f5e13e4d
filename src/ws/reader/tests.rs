//! Each stream of frames is read in every split: whole, cut in two at every byte, one byte at a
//! time. What comes out must be the same. Random streams are compared with what they were made of.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::*;

const LIMITS: ReaderLimits = ReaderLimits { message_bytes_max: 1 << 17 };

/// Something that outlives the input, or how the stream has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
    Fails(u16, &'static str),
}
use Seen::{Binary, Close, Fails, Ping, Pong, Text};

/// Feeds `chunks`, one read each, and stops where a connection would.
fn read_chunks<'c>(
    chunks: impl IntoIterator<Item = &'c [u8]>,
    limits: ReaderLimits,
) -> (Vec<Seen>, Reader) {
    let mut reader = Reader::default();
    let mut seen = Vec::new();
    for chunk in chunks {
        let mut chunk = chunk.to_vec();
        let mut at = 0;
        loop {
            let (consumed, incoming) = reader.read(&mut chunk[at..], limits);
            at += consumed;
            seen.push(match incoming {
                Ok(None) => break,
                Ok(Some(Incoming::Text(text))) => Text(text.to_vec()),
                Ok(Some(Incoming::Binary(bytes))) => Binary(bytes.to_vec()),
                Ok(Some(Incoming::Ping(payload))) => Ping(payload.to_vec()),
                Ok(Some(Incoming::Pong)) => Pong,
                Ok(Some(Incoming::Close(code))) => Close(code.map(|code| code.0)),
                Err(violation) => Fails(violation.code.0, violation.reason),
            });
            if matches!(seen.last(), Some(Close(_) | Fails(..))) {
                return (seen, reader);
            }
        }
        assert_eq!(at, chunk.len(), "all input is consumed before the reader asks for more");
    }
    (seen, reader)
}

/// Reads `stream` in every split and returns what all of them gave.
fn read_every_way(stream: &[u8], limits: ReaderLimits) -> Vec<Seen> {
    let (whole, _) = read_chunks([stream], limits);
    assert_eq!(read_chunks(stream.chunks(1), limits).0, whole, "byte by byte");
    for split in 0..=stream.len() {
        let (head, tail) = stream.split_at(split);
        assert_eq!(read_chunks([head, tail], limits).0, whole, "split at {split}");
    }
    whole
}

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// A client's frame, from any first byte and any claimed length form.
fn raw(first: u8, length: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    bytes.extend_from_slice(length);
    bytes[1] |= 0x80;
    bytes.extend_from_slice(&KEY);
    bytes.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    match payload.len() {
        length @ 0..=125 => raw(first, &[length as u8], payload),
        length @ 126..=0xFFFF => {
            raw(first, &[&[126], (length as u16).to_be_bytes().as_slice()].concat(), payload)
        }
        length => raw(first, &[&[127], (length as u64).to_be_bytes().as_slice()].concat(), payload),
    }
}

#[test]
fn an_idle_connection_costs_eight_bytes() {
    assert_eq!(size_of::<Reader>(), 8);
    let stream = [masked(0x01, b"ab"), masked(0x89, b"ping"), masked(0x80, b"cd")].concat();
    for (chunks, held) in [(vec![&stream[..]], false), (vec![&stream[..3], &stream[3..]], false)]
        .into_iter()
        .chain((1..stream.len()).map(|end| (vec![&stream[..end]], true)))
    {
        let (_, reader) = read_chunks(chunks, LIMITS);
        assert_eq!(
            reader.partial.is_some(),
            held,
            "state is held exactly while something is under way"
        );
    }
}

#[test]
fn messages_and_control_frames_are_read_in_any_split() {
    let long = vec![b'x'; 300];
    let table: &[(&[Vec<u8>], &[Seen])] = &[
        (&[masked(0x81, b"hello")], &[Text(b"hello".into())]),
        (&[masked(0x81, b"")], &[Text(vec![])]),
        (&[masked(0x82, &[0xFF, 0])], &[Binary(vec![0xFF, 0])]),
        (&[masked(0x82, &long), masked(0x81, b"a")], &[Binary(long.clone()), Text(b"a".into())]),
        (
            &[masked(0x89, b""), masked(0x8A, b"late"), masked(0x89, b"p")],
            &[Ping(vec![]), Pong, Ping(b"p".into())],
        ),
        (&[masked(0x89, &[7; 125])], &[Ping(vec![7; 125])]),
        (&[masked(0x01, b"a"), masked(0x00, b""), masked(0x80, b"b")], &[Text(b"ab".into())]),
        (&[masked(0x02, b""), masked(0x80, b"")], &[Binary(vec![])]),
        (
            &[
                masked(0x01, b"a"),
                masked(0x89, b"1"),
                masked(0x00, b"b"),
                masked(0x8A, b""),
                masked(0x80, b"c"),
            ],
            &[Ping(b"1".into()), Pong, Text(b"abc".into())],
        ),
        // A character cut by a fragment border, and by a control frame there.
        (
            &[masked(0x01, b"\xE2\x82"), masked(0x89, b"x"), masked(0x80, b"\xAC")],
            &[Ping(b"x".into()), Text("€".into())],
        ),
        (&[masked(0x88, b"")], &[Close(None)]),
        (&[masked(0x88, b"\x03\xE8")], &[Close(Some(1000))]),
        (&[masked(0x88, b"\x0B\xB8bye \xE2\x82\xAC")], &[Close(Some(3000))]),
        (&[masked(0x01, b"a"), masked(0x88, b"\x03\xE9")], &[Close(Some(1001))]),
        // Nothing is read after a Close.
        (&[masked(0x88, b""), masked(0x81, b"late")], &[Close(None)]),
    ];
    for (frames, expected) in table {
        let stream = frames.concat();
        assert_eq!(read_every_way(&stream, LIMITS), *expected, "{stream:x?}");
    }
}

#[test]
fn each_broken_rule_fails_with_its_code_in_any_split() {
    let protocol = |reason| Fails(1002, reason);
    let not_utf8 = Fails(1007, "text is not UTF-8");
    let unmasked = b"\x81\x02hi".to_vec();
    let table: &[(Vec<u8>, Seen)] = &[
        (masked(0xC1, b""), protocol("reserved bit set")),
        (masked(0xA2, b""), protocol("reserved bit set")),
        (masked(0x99, b""), protocol("reserved bit set")),
        (masked(0x83, b""), protocol("reserved opcode")),
        (masked(0x87, b""), protocol("reserved opcode")),
        (masked(0x8B, b""), protocol("reserved opcode")),
        (masked(0x8F, b""), protocol("reserved opcode")),
        (unmasked, protocol("frame is not masked")),
        (masked(0x80, b"a"), protocol("nothing to continue")),
        (masked(0x00, b"a"), protocol("nothing to continue")),
        (
            [masked(0x01, b"a"), masked(0x81, b"b")].concat(),
            protocol("new message within a fragmented one"),
        ),
        (
            [masked(0x02, b"a"), masked(0x02, b"b")].concat(),
            protocol("new message within a fragmented one"),
        ),
        (masked(0x09, b""), protocol("fragmented control frame")),
        (masked(0x08, b""), protocol("fragmented control frame")),
        (masked(0x89, &[0; 126]), protocol("control frame too long")),
        (raw(0x8A, &[127, 0, 0, 0, 0, 0, 1, 0, 0], b""), protocol("control frame too long")),
        (raw(0x82, &[126, 0, 125], &[0; 125]), protocol("frame length not in its shortest form")),
        (
            raw(0x82, &[127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], b""),
            protocol("frame length not in its shortest form"),
        ),
        (raw(0x82, &[127, 0x80, 0, 0, 0, 0, 0, 0, 0], b""), protocol("frame length out of range")),
        (
            raw(0x82, &[127, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], b""),
            protocol("frame length out of range"),
        ),
        (masked(0x88, b"\x03"), protocol("close code is cut off")),
        (masked(0x88, b"\x03\xED"), protocol("close code must not be sent")),
        (masked(0x88, b"\x00\x00"), protocol("close code must not be sent")),
        (masked(0x88, b"\x03\xE8\xFF"), Fails(1007, "close reason is not UTF-8")),
        (masked(0x81, b"\xFF"), not_utf8.clone()),
        (masked(0x81, b"a\xE2\x82"), not_utf8.clone()),
        (masked(0x81, b"\xED\xA0\x80"), not_utf8.clone()),
        ([masked(0x01, b"\xE2"), masked(0x80, b"a")].concat(), not_utf8.clone()),
        ([masked(0x01, b"a\xE2"), masked(0x80, b"")].concat(), not_utf8.clone()),
        (
            [masked(0x01, b"\xF4"), masked(0x00, b""), masked(0x00, b"\x90")].concat(),
            not_utf8.clone(),
        ),
    ];
    for (stream, expected) in table {
        assert_eq!(read_every_way(stream, LIMITS), std::slice::from_ref(expected), "{stream:x?}");
    }
}

#[test]
fn a_message_over_the_bound_fails_when_its_length_is_read() {
    let limits = ReaderLimits { message_bytes_max: 200 };
    let too_big = [Fails(1009, "message too big")];
    assert_eq!(read_every_way(&masked(0x82, &[1; 200]), limits), [Binary(vec![1; 200])]);
    assert_eq!(read_every_way(&masked(0x82, &[1; 201]), limits), too_big);
    let fragments = |second| [masked(0x02, &[1; 150]), masked(0x80, &vec![1; second])].concat();
    assert_eq!(read_every_way(&fragments(50), limits), [Binary(vec![1; 200])]);
    assert_eq!(read_every_way(&fragments(51), limits), too_big);

    let (seen, _) = read_chunks([&masked(0x02, &[1; 150])[..], &[0x80, 0x80 | 51]], limits);
    assert_eq!(seen, too_big, "without waiting for the key");
    let huge = [0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
    assert_eq!(read_chunks([&huge[..]], limits).0, too_big);
    let ping = read_every_way(&masked(0x89, &[0; 125]), ReaderLimits { message_bytes_max: 1 });
    assert_eq!(ping, [Ping(vec![0; 125])], "the bound is on messages alone");
}

#[test]
fn text_fails_at_the_first_byte_that_cannot_become_utf8() {
    // Autobahn 6.4: the rest of the frame never comes.
    let text = b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xF4\x90\x80\x80edited";
    let whole = masked(0x81, text);
    let bad = 6 + 12;
    assert_eq!(whole.len(), 6 + text.len());
    assert_eq!(read_chunks([&whole[..bad]], LIMITS).0, []);
    assert_eq!(read_chunks([&whole[..=bad]], LIMITS).0, [Fails(1007, "text is not UTF-8")]);
    assert_eq!(read_chunks(whole[..=bad].chunks(1), LIMITS).0, [Fails(1007, "text is not UTF-8")]);
}

#[test]
fn memory_follows_the_bytes_that_have_arrived() {
    let claimed = masked(0x82, &vec![0; 100_000]);
    for arrived in [15, 100, 1_000, 99_000] {
        for chunk_len in [1, 100_000] {
            let (_, reader) = read_chunks(claimed[..arrived].chunks(chunk_len), LIMITS);
            let capacity = reader.partial.unwrap().bytes.capacity();
            assert!(capacity <= 2 * arrived, "{capacity} bytes held for {arrived}");
        }
    }
    let limits = ReaderLimits { message_bytes_max: 100_000 };
    let (_, reader) = read_chunks(claimed[..99_999].chunks(7), limits);
    assert!(reader.partial.unwrap().bytes.capacity() <= 100_000, "never past the bound");

    let empty: Vec<u8> = std::iter::once(masked(0x01, b""))
        .chain(vec![masked(0x00, b""); 10_000])
        .flatten()
        .collect();
    let (seen, reader) = read_chunks([&empty[..]], LIMITS);
    assert_eq!(
        (seen, reader.partial.unwrap().bytes.capacity()),
        (vec![], 0),
        "empty fragments hold nothing"
    );
}

/// A frame as an independent encoder writes it.
fn tungstenite_frame(
    rng: &mut StdRng,
    out: &mut Vec<u8>,
    opcode: OpCode,
    fin: bool,
    payload: &[u8],
) {
    let mut frame = match opcode {
        OpCode::Data(_) => Frame::message(payload.to_vec(), opcode, fin),
        OpCode::Control(Control::Ping) => Frame::ping(payload.to_vec()),
        OpCode::Control(_) => Frame::pong(payload.to_vec()),
    };
    frame.header_mut().mask = Some(rng.random());
    frame.format(out).unwrap();
}

fn random_control(rng: &mut StdRng, out: &mut Vec<u8>, expected: &mut Vec<Seen>) {
    let payload: Vec<u8> = (0..rng.random_range(0..=125)).map(|_| rng.random()).collect();
    let (opcode, seen) = match rng.random_bool(0.5) {
        true => (OpCode::Control(Control::Ping), Ping(payload.clone())),
        false => (OpCode::Control(Control::Pong), Pong),
    };
    tungstenite_frame(rng, out, opcode, true, &payload);
    expected.push(seen);
}

fn random_message(rng: &mut StdRng, out: &mut Vec<u8>, expected: &mut Vec<Seen>) {
    let bytes_max = [10, 300, 70_000][rng.random_range(0..3)];
    let length = rng.random_range(0..bytes_max);
    let text = rng.random_bool(0.5);
    let message: Vec<u8> = match text {
        true => (0..length / 4).map(|_| rng.random::<char>()).collect::<String>().into_bytes(),
        false => (0..length).map(|_| rng.random()).collect(),
    };
    let mut cuts: Vec<usize> =
        (0..rng.random_range(0..4)).map(|_| rng.random_range(0..=message.len())).collect();
    cuts.extend([0, message.len()]);
    cuts.sort_unstable();
    let fragments: Vec<&[u8]> = cuts.windows(2).map(|pair| &message[pair[0]..pair[1]]).collect();
    let first = if text { Data::Text } else { Data::Binary };
    for (index, fragment) in fragments.iter().enumerate() {
        let opcode = OpCode::Data(if index == 0 { first } else { Data::Continue });
        tungstenite_frame(rng, out, opcode, index + 1 == fragments.len(), fragment);
        if index + 1 < fragments.len() && rng.random_bool(0.3) {
            random_control(rng, out, expected);
        }
    }
    expected.push(if text { Text(message) } else { Binary(message) });
}

#[test]
fn random_messages_in_random_chunks_arrive_as_they_were_sent() {
    for seed in 0..200 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut stream, mut expected) = (Vec::new(), Vec::new());
        for _ in 0..rng.random_range(1..8) {
            match rng.random_bool(0.2) {
                true => random_control(&mut rng, &mut stream, &mut expected),
                false => random_message(&mut rng, &mut stream, &mut expected),
            }
        }
        let chunk_max = [3, 100, 5_000, 200_000][rng.random_range(0..4)];
        let (mut chunks, mut rest) = (Vec::new(), &stream[..]);
        while !rest.is_empty() {
            let (chunk, behind) = rest.split_at(rng.random_range(0..=chunk_max).min(rest.len()));
            chunks.push(chunk);
            rest = behind;
        }
        let (seen, reader) = read_chunks(chunks, LIMITS);
        assert!(seen == expected, "seed {seed}");
        assert!(reader.partial.is_none(), "seed {seed}");
    }
}

#[test]
fn garbage_never_panics_and_is_judged_alike_in_any_split() {
    for seed in 0..2_000 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut stream: Vec<u8> = (0..rng.random_range(0..60)).map(|_| rng.random()).collect();
        // Half of it begins like a frame, so that it gets past the first bytes.
        if seed % 2 == 0 {
            let first = [0x01, 0x02, 0x81, 0x82, 0x88, 0x89][rng.random_range(0..6)];
            stream.splice(0..0, [first, 0x80 | rng.random_range(0..128)]);
        }
        read_every_way(&stream, ReaderLimits { message_bytes_max: 40 });
    }
}

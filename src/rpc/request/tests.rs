//! Bodies read in place, against what prost reads.

use prost::Message as _;
use rand::prelude::*;

use super::super::rewrite::field;
use super::*;
use crate::rpc::proto::{broadcast, websockets};

type Read = Vec<(String, Vec<u8>, Vec<String>)>;

fn request(layout: Layout, body: &[u8]) -> Result<Request<'_>, CallError<'static>> {
    Request::new(layout, Codec::Proto, Cow::Borrowed(body))
}

fn messages(request: &Request<'_>) -> Read {
    request
        .messages()
        .map(|m| (m.broker.into(), m.payload.into(), m.topics().map(String::from).collect()))
        .collect()
}

/// Read at once, and as if in pieces: the same comes of both.
fn read(layout: Layout, body: &[u8]) -> Result<Read, WireError> {
    let mut checking = Checking::new(layout, Codec::Proto, Cow::Borrowed(body));
    let in_pieces = checking.check_until(usize::MAX).map(|_| messages(&checking.request()));
    let at_once = request(layout, body).map(|request| messages(&request));
    let undecodable = |error| undecodable(Codec::Proto, error);
    assert_eq!(in_pieces.clone().map_err(undecodable), at_once);
    in_pieces
}

fn read_by_prost(layout: Layout, body: &[u8]) -> Result<Read, prost::DecodeError> {
    Ok(match layout {
        Layout::Broadcast => {
            let request = broadcast::Request::decode(body)?;
            request.messages.into_iter().map(|m| (String::new(), m.payload, m.topics)).collect()
        }
        Layout::Websockets => {
            let request = websockets::Request::decode(body)?;
            request.messages.into_iter().map(|m| (m.broker, m.payload, m.topics)).collect()
        }
    })
}

fn example(random: &mut StdRng) -> (Layout, Vec<u8>) {
    let layout = if random.random() { Layout::Broadcast } else { Layout::Websockets };
    let text = |random: &mut StdRng| "täpic-".repeat(random.random_range(0..3));
    let mut body = Vec::new();
    for _ in 0..random.random_range(0..4) {
        let (command, broker) = (text(random), text(random));
        let topics: Vec<_> = (0..random.random_range(0..4)).map(|_| text(random)).collect();
        let payload: Vec<u8> = (0..random.random_range(0..200)).map(|_| random.random()).collect();
        body.extend(match layout {
            Layout::Broadcast => {
                let message = broadcast::Message { command, topics, payload };
                broadcast::Request { messages: vec![message] }.encode_to_vec()
            }
            Layout::Websockets => {
                let message = websockets::Message { command, broker, topics, payload };
                websockets::Request { messages: vec![message] }.encode_to_vec()
            }
        });
    }
    (layout, body)
}

/// Whatever the bytes, this reader and the generated one agree, on the content and on what is no
/// request.
#[test]
fn reading_in_place_agrees_with_the_generated_types() {
    let seed = 0x0b0d;
    let mut random = StdRng::seed_from_u64(seed);
    let mut refused = 0;
    for round in 0..20_000 {
        let (layout, mut body) = example(&mut random);
        for _ in 0..random.random_range(0..3) {
            if let Some(byte) = body.choose_mut(&mut random) {
                *byte = random.random();
            }
        }
        let (ours, theirs) = (read(layout, &body), read_by_prost(layout, &body));
        refused += u32::from(theirs.is_err());
        assert_eq!(ours.ok(), theirs.ok(), "seed {seed} round {round}: {body:?}");
    }
    assert!((1_000..19_000).contains(&refused), "both outcomes are exercised: {refused} refused");
}

#[test]
fn every_prefix_of_a_request_agrees_too() {
    let (layout, body) =
        (1..).map(|s| example(&mut StdRng::seed_from_u64(s))).find(|e| e.1.len() > 300).unwrap();
    for split in 0..body.len() {
        assert_eq!(read(layout, &body[..split]).ok(), read_by_prost(layout, &body[..split]).ok());
    }
}

#[test]
fn no_bytes_are_an_empty_request() {
    assert_eq!(read(Layout::Broadcast, b""), Ok(vec![]));
}

#[test]
fn a_length_beyond_the_body_is_refused() {
    assert_eq!(
        read(Layout::Broadcast, &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        Err(WireError::Truncated(1))
    );
}

#[test]
fn nested_groups_end_at_a_bounded_depth() {
    assert!(read(Layout::Broadcast, &vec![0x1b; 1 << 20]).is_err());
}

/// In pieces of any size the same is found as at once, large messages and wrong bytes included.
#[test]
fn a_body_checked_in_pieces_reads_as_one_checked_at_once() {
    for seed in 0..300 {
        let mut random = StdRng::seed_from_u64(seed);
        let (layout, mut body) = example(&mut random);
        if random.random_bool(0.3) {
            let mut large = Vec::new();
            for number in 0..2_000 {
                field(&mut large, layout.topics(), format!("topic-{number}").as_bytes());
                if number % 700 == 0 {
                    field(&mut large, layout.payload(), &[b'p'; 10][..number / 700]);
                }
            }
            field(&mut body, MESSAGES, &large);
        }
        if random.random_bool(0.3) && !body.is_empty() {
            let at = random.random_range(0..body.len());
            body[at] ^= 1 << random.random_range(0..8);
        }
        let whole = read(layout, &body);
        let mut checking = Checking::new(layout, Codec::Proto, Cow::Borrowed(&body));
        let pieces = loop {
            let piece = [1, 2, 10, 5_000][random.random_range(0..4)];
            match checking.check_until(checking.at + piece) {
                Ok(true) => break Ok(checking.request()),
                Ok(false) => assert!(checking.at < body.len(), "seed {seed}"),
                Err(error) => break Err(error),
            }
        };
        let pieces = pieces.map(|request| messages(&request));
        assert_eq!(pieces, whole, "seed {seed}");
    }
}

#[test]
fn a_walk_says_what_it_has_gone_over_also_when_it_has_found_nothing() {
    let layout = Layout::Broadcast;
    let nothing = [0x22, 0].repeat(100_000);
    let mut message = Vec::new();
    field(&mut message, layout.topics(), b"first");
    message.extend(&nothing);
    field(&mut message, layout.topics(), b"last");
    let mut body = nothing;
    field(&mut body, MESSAGES, &message);
    let request = request(layout, &body).unwrap();
    let messages: Vec<_> = request.walk().collect();
    let topics: Vec<_> = request.messages().next().unwrap().topics().walk().skip(1).collect();
    assert_eq!(topics.last().unwrap().found, Some("last"));
    for steps in [
        messages.iter().map(|step| (step.found.is_some(), step.bytes)).collect::<Vec<_>>(),
        topics.iter().map(|step| (step.found.is_some(), step.bytes)).collect(),
    ] {
        let (found, nothing) = steps.split_last().unwrap();
        assert_eq!(nothing, [(false, WALK_BYTES + 2)].repeat(200_000 / (WALK_BYTES + 2)));
        let bytes: usize = steps.iter().map(|step| step.1).sum();
        assert!(found.0 && (200_001..200_010).contains(&bytes), "{bytes}");
    }
}

#[test]
fn the_first_message_is_known_and_any_other_is_gone_over_once_more() {
    let layout = Layout::Broadcast;
    let mut message = Vec::new();
    field(&mut message, layout.payload(), &[b'x'; 10_000]);
    field(&mut message, layout.topics(), b"foo");
    message.extend([0x20, 0].repeat(500));
    let mut body = Vec::new();
    field(&mut body, MESSAGES, &message);
    field(&mut body, MESSAGES, &message);
    let request = request(layout, &body).unwrap();
    let steps: Vec<_> = request.walk().collect();
    assert_eq!(steps.iter().map(|step| step.bytes).collect::<Vec<_>>(), [3, 3 + message.len()]);
    let topics = steps.iter().map(|step| {
        let topics = step.found.unwrap().topics().walk();
        topics.map(|step| (step.found, step.bytes)).collect::<Vec<_>>()
    });
    let all = vec![(Some("foo"), 3 + 10_000 + 2), (None, 1000)];
    assert_eq!(topics.collect::<Vec<_>>(), [vec![(Some("foo"), 2)], all]);
}

#[test]
fn a_group_is_skipped_within_its_bound_and_refused_past_it() {
    let group = |bytes: usize| [&[0x2b][..], &[0x30, 0].repeat(bytes / 2), &[0x2c]].concat();
    for behind in [&b""[..], b"\x0a\x00"] {
        let body = [group(GROUP_BYTES_MAX - 100), behind.to_vec()].concat();
        assert_eq!(
            read(Layout::Broadcast, &body).map(|messages| messages.len()),
            Ok(behind.len() / 2)
        );
    }
    assert_eq!(read(Layout::Broadcast, &group(GROUP_BYTES_MAX)), Err(WireError::Group(5)));
    assert!(matches!(read(Layout::Broadcast, &group(1000)[..900]), Err(WireError::Wire(_))));
}

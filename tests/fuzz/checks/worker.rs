//! What a worker writes, from its first answer on: what it says does not depend on how it is cut,
//! and what it takes in memory is bounded by what has come.

use roadcast::access::Judged;
use roadcast::desk::access::workers::frames::{Ear, Garbled, Said};
use roadcast::rpc::FRAME_BYTES_MIN;

/// First byte: how the rest is cut, and whether the first header gets the checksum that its other
/// bytes need.
pub fn check(bytes: &[u8]) {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if first & 1 != 0
        && let Some(header) = bytes.first_chunk_mut::<FRAME_BYTES_MIN>()
    {
        let checksum = crc32fast::hash(&header[..6]);
        header[6..10].copy_from_slice(&checksum.to_le_bytes());
    }
    let whole = said([&bytes[..]]);
    // The text of noise is what has come so far.
    let kind = |said: &Result<Said, Garbled>| match said {
        Err(Garbled::Noise(_)) => Err(None),
        Err(garbled) => Err(Some(garbled.clone())),
        Ok(said) => Ok(said.clone()),
    };
    let kinds: Vec<_> = whole.iter().map(kind).collect();
    assert!(said(super::pieces(&bytes, first)).iter().map(kind).eq(kinds.iter().cloned()));
    assert!(said(bytes.chunks(1)).iter().map(kind).eq(kinds));

    for said in whole {
        match said {
            Ok(Said::Answer { context, body }) => {
                assert!(context.len() + body.len() <= bytes.len(), "nothing grows");
                judge(&context, body);
            }
            Ok(Said::Error(text)) | Err(Garbled::Noise(text) | Garbled::Control(text)) => {
                assert!(!text.contains('\n') && !text.contains('\u{1b}'), "one line: {text}");
            }
            _ => {}
        }
    }
}

/// A verdict is one response, whatever stands in it.
fn judge(context: &[u8], body: Vec<u8>) {
    let Ok(judged) = Judged::parse_context(context, body) else { return };
    let _ = (judged.identity(), judged.remember());
    let response = judged.response();
    let mut headers = [httparse::EMPTY_HEADER; 512];
    let mut parsed = httparse::Response::new(&mut headers);
    match parsed.parse(&response) {
        Ok(httparse::Status::Complete(head)) => {
            let length = response.len() - head;
            let said = parsed.headers.iter().filter(|header| header.name == "Content-Length");
            let said: Vec<_> = said.map(|header| header.value).collect();
            match judged.status {
                204 | 304 => assert_eq!((length, said.len()), (0, 0)),
                _ => assert_eq!(said, [length.to_string().as_bytes()]),
            }
        }
        // More headers than there is room for here.
        Err(httparse::Error::TooManyHeaders) => {}
        other => panic!("{other:?}: {}", String::from_utf8_lossy(&response)),
    }
}

fn said<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Result<Said, Garbled>> {
    let (mut ear, mut all) = (Ear::default(), Vec::new());
    for piece in pieces {
        ear.hear(piece);
        loop {
            match ear.next_said() {
                Ok(None) => break,
                Ok(Some(said)) => all.push(Ok(said)),
                Err(garbled) => {
                    all.push(Err(garbled));
                    return all;
                }
            }
        }
    }
    all
}

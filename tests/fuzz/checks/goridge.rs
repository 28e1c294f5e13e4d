//! goridge frames: every prefix of a frame asks for more or says what is wrong, and the end says
//! the same.

use roadcast::rpc::{self, Decoded, FRAME_BYTES_MIN, FrameError};

/// More than the corpora's frames have, less than many claim.
const BYTES_MAX: usize = 4096;

/// First byte: whether the first header gets the checksum that its other bytes need.
pub fn check(bytes: &[u8]) {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if first & 1 != 0
        && let Some(header) = bytes.first_chunk_mut::<FRAME_BYTES_MIN>()
    {
        let checksum = crc32fast::hash(&header[..6]);
        header[6..10].copy_from_slice(&checksum.to_le_bytes());
    }
    let mut rest = bytes.as_slice();
    while let Some(taken) = frame(rest) {
        rest = &rest[taken..];
    }
}

/// Checks what stands at the beginning; its length, if it is a whole call.
fn frame(bytes: &[u8]) -> Option<usize> {
    prefixes(bytes, |prefix| rpc::decode_frame(prefix, BYTES_MAX));
    prefixes(bytes, |prefix| rpc::decode(prefix, BYTES_MAX));
    prefixes(bytes, |prefix| rpc::decode_answer(prefix, BYTES_MAX));

    if let Ok(Decoded::Whole { value, bytes: length }) = rpc::decode_frame(bytes, BYTES_MAX) {
        let options: Vec<u32> = value.options().collect();
        let mut again = Vec::new();
        rpc::encode_frame(&mut again, value.flags, &options, &[value.payload]);
        // All but the stream bits, which are not looked at.
        let (ours, theirs) = (&again[..], &bytes[..length]);
        assert_eq!((&ours[..10], &ours[12..]), (&theirs[..10], &theirs[12..]), "encoded again");
    }
    match rpc::decode(bytes, BYTES_MAX) {
        Ok(Decoded::Whole { value, bytes }) => {
            assert_eq!(bytes, FRAME_BYTES_MIN + 8 + value.method.len() + value.body.len());
            Some(bytes)
        }
        _ => None,
    }
}

fn prefixes<'a, T: PartialEq + std::fmt::Debug>(
    bytes: &'a [u8],
    decode: impl Fn(&'a [u8]) -> Result<Decoded<T>, FrameError>,
) {
    let whole = decode(bytes);
    // A header tells what is to be told; behind it, the last bytes do.
    for end in (0..bytes.len()).filter(|end| *end < 64 || bytes.len() - end < 64) {
        match decode(&bytes[..end]) {
            Ok(Decoded::Partial { bytes: needed }) => {
                assert!(needed > end && needed <= BYTES_MAX);
                match &whole {
                    Ok(Decoded::Partial { bytes: in_the_end }) => assert!(needed <= *in_the_end),
                    Ok(Decoded::Whole { bytes, .. }) => assert!(needed <= *bytes && end < *bytes),
                    Err(_) => {}
                }
            }
            judged => assert_eq!(judged, whole, "as soon as it can be told, and for good"),
        }
    }
}

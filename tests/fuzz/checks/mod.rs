//! What must hold of the codecs whatever the bytes. The fuzz targets feed these checks with bytes
//! of their making, `tests/vectors/corpora.rs` with the committed corpora.

mod bodies;
mod command;
mod config;
mod context;
mod goridge;
mod head;
mod nats;
mod reader;
mod resp;
mod rpc;
mod token;
mod worker;

/// A check: panics where something does not hold.
pub type Check = fn(&[u8]);

/// All checks, by the name of their fuzz target.
pub const ALL: [(&str, Check); 11] = [
    ("head", head::check),
    ("frames", reader::check),
    ("command", command::check),
    ("goridge", goridge::check),
    ("rpc", rpc::check),
    ("config", config::check),
    ("token", token::check_all),
    ("context", context::check),
    ("worker", worker::check),
    ("resp", resp::check),
    ("nats", nats::check),
];

/// Runs the check of this name.
#[allow(dead_code, reason = "the corpora's test takes all of them")]
pub fn run(name: &str, bytes: &[u8]) {
    let check =
        ALL.iter().find(|(known, _)| *known == name).expect("a target has the name of its check").1;
    check(bytes);
}

/// Of bytes that are fed one by one, where what is not whole is read from its beginning each time.
const SINGLE_BYTES_MAX: usize = 128;

/// Cuts `bytes` into pieces of up to `2^k` bytes, k changing; always in the same way for the same
/// seed.
fn pieces(bytes: &[u8], seed: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    let mut state = u64::from(seed) | 1;
    std::iter::from_fn(move || {
        // Knuth's MMIX generator: good enough to choose lengths, and no crate for it in the fuzz
        // targets.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let length = (state >> 40) as usize % (1 << ((state >> 33) % 9)) + 1;
        let (piece, behind) = rest.split_at(length.min(rest.len()));
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    })
}

//! A TCP proxy that moves the borders in what clients send: bytes one at a time, random pieces,
//! several sends in one. What servers send is passed on as it comes. For `scripts/autobahn --split
//! SEED`.
//!
//! `splitter LISTEN TARGET SEED`; prints `ready` when it accepts. Connections are numbered from 0;
//! a connection's borders depend on the seed, its number, and on how its bytes arrive.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Bytes of a burst that may still go one at a time.
const BYTEWISE_BYTES_MAX: usize = 1024;
/// Between two pieces: long enough for a server on the same machine to receive the first one alone,
/// most of the time.
const PAUSE: Duration = Duration::from_micros(50);
/// How long more bytes are waited for that shall go out in one piece.
const GATHER: Duration = Duration::from_millis(2);
/// Bytes gathered at most.
const GATHERED_BYTES_MAX: usize = 1024 * 1024;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, target, seed] = arguments.as_slice() else {
        eprintln!("usage: splitter LISTEN TARGET SEED");
        std::process::exit(2);
    };
    let seed: u64 = seed.parse().map_err(io::Error::other)?;
    let listener = TcpListener::bind(listen)?;
    println!("ready");
    for (number, client) in (0u64..).zip(listener.incoming()) {
        let (client, server) = (client?, TcpStream::connect(target)?);
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (from_server, to_client) = (server.try_clone()?, client.try_clone()?);
        thread::spawn(move || pass_on(from_server, to_client));
        let random =
            StdRng::seed_from_u64(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(number));
        thread::spawn(move || split(client, server, random));
    }
    Ok(())
}

/// Until either side ends; then the other one is told.
fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

fn split(mut from: TcpStream, mut to: TcpStream, mut random: StdRng) {
    let mut burst = vec![0; GATHERED_BYTES_MAX];
    loop {
        let length = match from.read(&mut burst) {
            Ok(0) | Err(_) => break,
            Ok(length) if random.random_ratio(1, 3) => gather(&mut from, &mut burst, length),
            Ok(length) => length,
        };
        if send(&mut to, &burst[..length], &mut random).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    // The server's end comes through the other thread; a client that is gone must not keep it
    // waiting.
    let _ = from.shutdown(Shutdown::Read);
}

/// Reads on for a moment, so that several sends become one piece. Returns the length of all.
fn gather(from: &mut TcpStream, burst: &mut [u8], mut length: usize) -> usize {
    let _ = from.set_read_timeout(Some(GATHER));
    while length < burst.len() {
        match from.read(&mut burst[length..]) {
            // The next plain read sees the end again.
            Ok(0) | Err(_) => break,
            Ok(more) => length += more,
        }
    }
    let _ = from.set_read_timeout(None);
    length
}

fn send(to: &mut TcpStream, mut burst: &[u8], random: &mut StdRng) -> io::Result<()> {
    let whole = random.random_ratio(1, 3);
    let bytewise = burst.len() <= BYTEWISE_BYTES_MAX && random.random_bool(0.5);
    while !burst.is_empty() {
        let piece = match (whole, bytewise) {
            (true, _) => burst.len(),
            (_, true) => 1,
            // Small pieces as often as large ones.
            _ => {
                let longest = 1usize << random.random_range(0..=16u32);
                random.random_range(1..=longest).min(burst.len())
            }
        };
        let (now, later) = burst.split_at(piece);
        to.write_all(now)?;
        burst = later;
        if !burst.is_empty() {
            thread::sleep(PAUSE);
        }
    }
    Ok(())
}

//! Habits of clients that mean harm.

use std::time::Duration;

use super::crowd::{Drip, Habit};
use crate::frame;

/// The request that upgrades, as it is sent byte by byte.
const HEAD: &[u8] = b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaa";

/// Nothing is sent: half-open, until the server has had enough.
pub fn half_open(clients: usize, connects: f64) -> Habit {
    Habit {
        name: "half-open",
        clients,
        connects,
        upgrade: false,
        opening: Vec::new(),
        drip: None,
        again: true,
    }
}

/// The head of a request, a byte every 200 ms.
pub fn slow_heads(clients: usize) -> Habit {
    let drip = Drip {
        every: Duration::from_millis(200),
        bytes: |_, sent, out| out.push(HEAD[sent as usize % HEAD.len()]),
    };
    Habit {
        name: "slow heads",
        clients,
        connects: 500.0,
        upgrade: false,
        opening: Vec::new(),
        drip: Some(drip),
        again: true,
    }
}

/// A head of 33 KiB, one KiB over the limit.
pub fn giant_heads(connects: f64) -> Habit {
    let mut opening = b"GET /ws HTTP/1.1\r\nHost: x\r\nX-Giant: ".to_vec();
    opening.resize(33 * 1024, b'a');
    opening.extend_from_slice(b"\r\n\r\n");
    Habit {
        name: "giant heads",
        clients: 64,
        connects,
        upgrade: false,
        opening,
        drip: None,
        again: true,
    }
}

/// A frame that claims one byte more than a message may have, and a piece of it.
pub fn giant_frames(connects: f64) -> Habit {
    let mut opening = vec![0x82, 0xFF];
    opening.extend_from_slice(&(64 * 1024 + 1u64).to_be_bytes());
    opening.extend_from_slice(&[0; 4 + 1024]);
    Habit {
        name: "giant frames",
        clients: 64,
        connects,
        upgrade: true,
        opening,
        drip: None,
        again: true,
    }
}

/// A frame of as many bytes as a message may have, of which 60,000 come at once and the rest a byte
/// every second.
pub fn slow_frames(clients: usize) -> Habit {
    let mut opening = vec![0x82, 0xFF];
    opening.extend_from_slice(&(64 * 1024u64).to_be_bytes());
    opening.extend_from_slice(&[0; 4 + 60_000]);
    let drip = Drip { every: Duration::from_secs(1), bytes: |_, _, out| out.push(0) };
    Habit {
        name: "slow frames",
        clients,
        connects: 200.0,
        upgrade: true,
        opening,
        drip: Some(drip),
        again: false,
    }
}

/// Clients that write each 10 ms what `bytes` makes.
fn flood(name: &'static str, clients: usize, bytes: fn(usize, u64, &mut Vec<u8>)) -> Habit {
    let drip = Drip { every: Duration::from_millis(10), bytes };
    Habit {
        name,
        clients,
        connects: 500.0,
        upgrade: true,
        opening: Vec::new(),
        drip: Some(drip),
        again: false,
    }
}

/// Commands of one flooding client that go in one write.
pub const FLOOD_WRITE: u64 = 100;

/// 10,000 tiny commands a second from each client.
pub fn command_flood(clients: usize) -> Habit {
    fn commands(_: usize, _: u64, out: &mut Vec<u8>) {
        (0..FLOOD_WRITE)
            .for_each(|_| frame::encode_masked(out, frame::TEXT, br#"{"command":"headers"}"#));
    }
    flood("command floods", clients, commands)
}

/// Joins and leaves of one flooding client that go in one write.
pub const JOIN_WRITE: u64 = 10;

/// 1,000 joins and 1,000 leaves a second from each client, each time of a topic that nobody had.
pub fn join_flood(clients: usize) -> Habit {
    fn commands(client: usize, sent: u64, out: &mut Vec<u8>) {
        for number in 0..JOIN_WRITE {
            let topic = sent * JOIN_WRITE + number;
            for command in ["join", "leave"] {
                let text =
                    format!(r#"{{"command":"{command}","topics":["flood-{client}-{topic}"]}}"#);
                frame::encode_masked(out, frame::TEXT, text.as_bytes());
            }
        }
    }
    flood("join and leave floods", clients, commands)
}

/// Topics in one command of [`many_topics`].
pub const TOPICS_A_JOIN: u64 = 100;
/// Topics that one client asks for.
pub const TOPICS: u64 = 100_000;

/// One client joins 100,000 topics, 100 a command, 100 commands a second.
pub fn many_topics() -> Habit {
    fn join(_: usize, sent: u64, out: &mut Vec<u8>) {
        if sent * TOPICS_A_JOIN >= TOPICS {
            return;
        }
        let topics: Vec<_> = (0..TOPICS_A_JOIN)
            .map(|number| format!("\"many-{}\"", sent * TOPICS_A_JOIN + number))
            .collect();
        let text = format!(r#"{{"command":"join","topics":[{}]}}"#, topics.join(","));
        frame::encode_masked(out, frame::TEXT, text.as_bytes());
    }
    Habit {
        name: "many topics",
        clients: 1,
        connects: 10.0,
        upgrade: true,
        opening: Vec::new(),
        drip: Some(Drip { every: Duration::from_millis(10), bytes: join }),
        again: false,
    }
}

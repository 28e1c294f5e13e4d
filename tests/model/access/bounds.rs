//! What is held of clients that wait for the desk, and what becomes of them at its bounds.

use std::sync::Arc;
use std::time::Duration;

use roadcast::limits::Limits;
use roadcast::mesh::desk::{Answer, Why, Word};
use roadcast::shard::Task;
use roadcast::ws::frame::Opcode;

use super::super::rig::{Rig, quiet};
use super::super::wire;
use super::{admitted, answer, asked, denial, grant, knock, rig, rig_with, token};

#[test]
fn a_client_that_sends_much_before_it_is_let_in_is_not_read_from_until_then() {
    let mut rig = rig();
    let id = knock(&mut rig);
    rig.tasks();
    let command = wire::command("join", "", &["x".repeat(900)]);
    for _ in 0..20 {
        rig.bytes(id, &wire::masked(Opcode::Text, command.as_bytes()));
    }
    assert_eq!(rig.tasks(), [Task::PauseReceive(id)]);
    let ask = asked(&mut rig);
    answer(&mut rig, ask.ticket, Answer::Granted(Arc::default()));
    assert!(rig.tasks().contains(&Task::Receive(id)));
}

#[test]
fn past_the_bound_an_upgrade_is_told_to_come_again_and_a_join_is_refused() {
    let mut rig = rig_with(Limits { asks_bytes: 5_000, ..quiet() });
    let inside = admitted(&mut rig, Arc::default());
    let (first, second) = (knock(&mut rig), knock(&mut rig));
    let third = knock(&mut rig);
    assert!(rig.taken(first).is_empty() && rig.taken(second).is_empty());
    let refusal = String::from_utf8(rig.taken(third)).unwrap();
    assert!(
        refusal.starts_with("HTTP/1.1 503 ") && refusal.contains("Retry-After: 1"),
        "{refusal}"
    );
    rig.join(inside, &["ask.a"]);
    rig.sweep();
    assert_eq!(rig.texts(inside), [wire::reply("#join", &["ask.a"])]);
    // What is answered makes room, also for somebody who has gone.
    rig.shard.ended(first);
    let ask = rig.shard.next_ask().unwrap();
    answer(&mut rig, ask.ticket, denial("HTTP/1.1 403 \r\n\r\n"));
    rig.join(inside, &["ask.a"]);
    rig.sweep();
    assert!(rig.texts(inside).is_empty(), "it waits");
}

#[test]
fn past_the_bound_of_all_outboxes_a_refusal_is_its_status_alone() {
    let body = "x".repeat(3_000);
    let whole = format!("HTTP/1.1 403 Forbidden\r\nContent-Length: 3000\r\n\r\n{body}");
    let mut rig = rig_with(Limits { outboxes_bytes: 4_000, ..quiet() });
    let clients = [knock(&mut rig), knock(&mut rig)];
    // What they are told has not left when the second is refused.
    for _ in clients {
        let ask = rig.shard.next_ask().unwrap();
        rig.shard.hear(Word::Answer(ask.ticket, denial(&whole)));
    }
    rig.shard.check_invariants();
    rig.sweep();
    let said = clients.map(|id| String::from_utf8(rig.taken(id)).unwrap());
    assert_eq!(said[0], whole);
    assert_eq!(said[1], "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
}

#[test]
fn past_the_bound_of_sessions_nobody_is_let_in_until_one_has_gone() {
    let user = "u".repeat(700);
    let cost = grant(&user, None).cost();
    let mut rig = rig_with(Limits { sessions_bytes: 2 * cost, ..quiet() });
    let first = admitted(&mut rig, grant(&user, None));
    admitted(&mut rig, grant(&user, None));
    let third = knock(&mut rig);
    let ask = asked(&mut rig);
    answer(&mut rig, ask.ticket, Answer::Granted(grant(&user, None)));
    assert!(rig.taken(third).starts_with(b"HTTP/1.1 503 "));
    rig.shard.ended(first);
    admitted(&mut rig, grant(&user, None));
}

/// Goal: what clients send before they are let in counts with the questions, until they have been
/// answered or have gone.
#[test]
fn what_a_client_sends_before_it_is_let_in_counts_until_it_is_answered_or_has_gone() {
    let mut rig = rig_with(Limits { asks_bytes: 16_000, ..quiet() });
    let command = wire::command("join", "", &["x".repeat(900)]);
    let send = |rig: &mut Rig, id| {
        for _ in 0..10 {
            rig.bytes(id, &wire::masked(Opcode::Text, command.as_bytes()));
            rig.shard.check_invariants();
        }
        rig.sweep();
    };
    for ends in ["let in", "denied", "gone", "told to go"] {
        let (first, second) = (knock(&mut rig), knock(&mut rig));
        send(&mut rig, first);
        assert!(rig.taken(first).is_empty(), "{ends}: it waits");
        send(&mut rig, second);
        assert!(rig.taken(second).starts_with(b"HTTP/1.1 503 "), "{ends}: no room for its bytes");
        let asks = [rig.shard.next_ask().unwrap(), rig.shard.next_ask().unwrap()];
        assert_eq!(asks[1].waits.strong_count(), 0, "{ends}: nobody waits for that any more");
        let verdict = match ends {
            "let in" => Answer::Granted(Arc::default()),
            "denied" => denial("HTTP/1.1 403 \r\n\r\n"),
            "gone" => {
                rig.shard.ended(first);
                Answer::Granted(Arc::default())
            }
            _ => Answer::Refused(Why::NoAnswer),
        };
        answer(&mut rig, asks[0].ticket, verdict);
        answer(&mut rig, asks[1].ticket, Answer::Granted(Arc::default()));
        rig.shard.ended(first);
        rig.answer();
        rig.tasks();
        // All of it has been given back: the next round has as much room.
    }
}

#[test]
fn each_name_of_a_join_that_is_asked_about_counts_however_short_it_is() {
    let mut rig = rig_with(Limits { asks_bytes: 16_000, ..quiet() });
    let id = admitted(&mut rig, Arc::default());
    let names = |count: usize| (0..count).map(|_| "ask.a").collect::<Vec<_>>();
    rig.join(id, &names(200));
    rig.sweep();
    assert!(rig.shard.next_ask().is_none());
    assert_eq!(rig.texts(id), [wire::reply("#join", &names(200))]);
    rig.join(id, &names(100));
    assert!(rig.shard.next_ask().is_some());
}

/// Goal: a client cannot have the desk check signatures one behind the other: four at once, and one
/// a second.
#[test]
fn tokens_past_their_rate_are_refused_unchecked() {
    let mut rig = rig();
    let id = admitted(&mut rig, grant("7", Some(3_600)));
    let check = |rig: &mut Rig, good: bool| {
        token(rig, id, "another");
        rig.sweep();
        if let Some(ask) = rig.shard.next_ask() {
            let verdict = match good {
                true => Answer::Granted(grant("7", Some(3_600))),
                false => Answer::Refused(Why::Token("signature")),
            };
            answer(rig, ask.ticket, verdict);
            rig.taken(id);
            return true;
        }
        assert_eq!(rig.texts(id), [r##"{"topic":"#token","payload":[]}"##]);
        false
    };
    // A good one does not begin the count anew.
    let checked = [false, true, false, true, true, true].map(|good| check(&mut rig, good));
    assert_eq!(checked, [true, true, true, true, false, false]);
    rig.pass(Duration::from_millis(2_100));
    let checked = [false; 3].map(|good| check(&mut rig, good));
    assert_eq!(checked, [true, true, false]);
    rig.pass(Duration::from_secs(600));
    assert_eq!([false; 5].map(|good| check(&mut rig, good)), [true, true, true, true, false]);
    assert_eq!(rig.counters.tokens_refused.value(), 12);
}

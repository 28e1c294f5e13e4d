//! Sockets that take no more, room that comes back, and a loop that always has something to send.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use roadcast::engine::Backend;
use socket2::SockRef;

use super::bed::{Bed, Seen};
use super::{epoll, io_uring, received};

over_both!(what_a_socket_did_not_take_is_told_to_the_byte);
fn what_a_socket_did_not_take_is_told_to_the_byte<B: Backend>(mut bed: Bed<B>) {
    let (mut client, id) = bed.connect();
    let taken = bed.fill(id);
    let mut read = vec![0; taken];
    client.read_exact(&mut read).unwrap();
    client.set_nonblocking(true).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(read.iter().all(|byte| *byte == b'x'));
}

over_both!(room_is_told_once_when_it_comes);
fn room_is_told_once_when_it_comes<B: Backend>(mut bed: Bed<B>) {
    let (mut client, id) = bed.connect();
    for _ in 0..3 {
        let taken = bed.fill(id);
        bed.backend.watch_writable(id).unwrap();
        for _ in 0..3 {
            assert_eq!(bed.turn(), [], "there is none");
        }
        client.read_exact(&mut vec![0; taken]).unwrap();
        bed.until(|seen| seen.contains(&Seen::Writable(id)));
        assert_eq!(bed.turn(), [], "once");
    }
}

over_both!(room_that_was_there_before_anyone_asked_is_told);
fn room_that_was_there_before_anyone_asked_is_told<B: Backend>(mut bed: Bed<B>) {
    let (mut client, id) = bed.connect();
    bed.backend.receive(id).unwrap();
    // A socket that was never full, as where the kernel had no memory for the send.
    bed.backend.watch_writable(id).unwrap();
    bed.until(|seen| *seen == [Seen::Writable(id)]);
    bed.backend.watch_writable(id).unwrap();
    bed.until(|seen| *seen == [Seen::Writable(id)]);
    // One that was full and is not any more when somebody asks.
    let taken = bed.fill(id);
    client.read_exact(&mut vec![0; taken]).unwrap();
    for _ in 0..3 {
        assert_eq!(bed.turn(), []);
    }
    bed.backend.watch_writable(id).unwrap();
    bed.until(|seen| *seen == [Seen::Writable(id)]);
}

over_both!(a_loop_that_always_sends_is_told_of_room_behind_the_next_batch);
fn a_loop_that_always_sends_is_told_of_room_behind_the_next_batch<B: Backend>(mut bed: Bed<B>) {
    let (_reader, to) = bed.connect();
    let (mut laggard, id) = bed.connect();
    for round in 0..3 {
        let taken = bed.fill(id);
        bed.backend.watch_writable(id).unwrap();
        bed.send(to, b"x");
        assert_eq!(bed.take_in(), [], "round {round}");
        laggard.read_exact(&mut vec![0; taken]).unwrap();
        std::thread::sleep(Duration::from_millis(5));
        bed.send(to, b"x");
        assert_eq!(bed.take_in(), [Seen::Writable(id)], "round {round}");
    }
}

over_both!(a_loop_that_always_sends_takes_in_what_has_come_within_a_few_turns);
fn a_loop_that_always_sends_takes_in_what_has_come_within_a_few_turns<B: Backend>(mut bed: Bed<B>) {
    let (_reader, to) = bed.connect();
    let (mut client, id) = bed.connect();
    bed.backend.receive(id).unwrap();
    for round in 0..20 {
        client.write_all(b"hello").unwrap();
        std::thread::sleep(Duration::from_millis(5));
        let mut seen = Vec::new();
        for _ in 0..16 {
            bed.send(to, b"x");
            seen.extend(bed.take_in());
        }
        assert_eq!(received(&seen, id), b"hello", "round {round}");
    }
}

over_both!(a_look_out_for_room_ends_with_the_socket);
fn a_look_out_for_room_ends_with_the_socket<B: Backend>(mut bed: Bed<B>) {
    let (client, id) = bed.connect();
    bed.fill(id);
    bed.backend.watch_writable(id).unwrap();
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    bed.until(|seen| seen.contains(&Seen::Writable(id)));
    assert!([-libc::EPIPE, -libc::ECONNRESET].contains(&bed.send(id, b"x")));
    let (_client, other) = bed.connect();
    bed.fill(other);
    bed.backend.watch_writable(other).unwrap();
    bed.backend.end(other, true);
    let seen = bed.until(|seen| seen.contains(&Seen::Released(other)));
    assert_eq!(seen, [Seen::Writable(other), Seen::Released(other)]);
}

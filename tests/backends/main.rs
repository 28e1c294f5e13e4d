//! Goal: both backends keep the contract of `engine::Backend`, which the loop around a shard relies
//! on. Method: each alone, on real sockets, without a loop; a test is a thread's turns.

#[macro_use]
#[path = "../common/mod.rs"]
mod common;

mod bed;
mod room;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bed::{Bed, Seen};
use common::{PATIENCE, io_uring_allowed};
use roadcast::engine::{Backend, Happened};
use roadcast::epoll::EpollBackend;
use roadcast::ring::RingBackend;
use roadcast::shard::ConnId;
use socket2::SockRef;

fn io_uring() -> Option<Bed<RingBackend>> {
    io_uring_allowed().then(|| {
        Bed::new(|listener, wake| RingBackend::new(listener, wake.clone(), Arc::default()).unwrap())
    })
}

fn epoll() -> Bed<EpollBackend> {
    Bed::new(|listener, wake| EpollBackend::new(listener, wake.clone()).unwrap())
}

fn received(seen: &[Seen], of: ConnId) -> Vec<u8> {
    let pieces = seen.iter().filter_map(|seen| match seen {
        Seen::Received(id, bytes) if *id == of => Some(&bytes[..]),
        _ => None,
    });
    pieces.collect::<Vec<_>>().concat()
}

over_both!(what_has_come_before_it_is_asked_for_is_handed_in);
fn what_has_come_before_it_is_asked_for_is_handed_in<B: Backend>(mut bed: Bed<B>) {
    let (mut client, id) = bed.connect();
    client.write_all(b"early").unwrap();
    assert_eq!(received(&bed.turn(), id), b"", "nobody has asked");
    bed.backend.receive(id).unwrap();
    let seen = bed.until(|seen| received(seen, id).len() == 5);
    assert_eq!(received(&seen, id), b"early");
}

over_both!(what_comes_during_a_pause_is_handed_in_after_it);
fn what_comes_during_a_pause_is_handed_in_after_it<B: Backend>(mut bed: Bed<B>) {
    let (mut client, id) = bed.connect();
    bed.backend.receive(id).unwrap();
    client.write_all(b"before ").unwrap();
    bed.until(|seen| received(seen, id) == b"before ");
    for round in 0..20 {
        bed.backend.pause_receive(id).unwrap();
        bed.turn();
        client.write_all(b"during").unwrap();
        for _ in 0..2 {
            assert_eq!(received(&bed.turn(), id), b"", "round {round}");
        }
        // No more comes: what came is remembered.
        bed.backend.receive(id).unwrap();
        bed.until(|seen| received(seen, id) == b"during");
    }
}

over_both!(a_pause_that_is_taken_back_at_once_loses_nothing);
fn a_pause_that_is_taken_back_at_once_loses_nothing<B: Backend>(mut bed: Bed<B>) {
    let (mut client, id) = bed.connect();
    bed.backend.receive(id).unwrap();
    for round in 0..50u8 {
        client.write_all(&[round; 100]).unwrap();
        bed.backend.pause_receive(id).unwrap();
        bed.backend.receive(id).unwrap();
        let seen = bed.until(|seen| received(seen, id).len() >= 100);
        assert_eq!(received(&seen, id), [round; 100]);
    }
}

over_both!(all_of_a_long_stream_is_handed_in_and_then_its_end_once);
fn all_of_a_long_stream_is_handed_in_and_then_its_end_once<B: Backend>(mut bed: Bed<B>) {
    let (mut client, id) = bed.connect();
    bed.backend.receive(id).unwrap();
    let sent: Vec<u8> = (0..3_000_000u32).map(|at| (at % 251) as u8).collect();
    let expected = sent.clone();
    let writer = std::thread::spawn(move || {
        client.write_all(&sent).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        client
    });
    let mut seen = bed.until(|seen| seen.contains(&Seen::Ended(id)));
    let mut client = writer.join().unwrap();
    for _ in 0..3 {
        seen.extend(bed.turn());
    }
    assert!(received(&seen, id) == expected);
    assert_eq!(seen.iter().filter(|seen| **seen == Seen::Ended(id)).count(), 1);
    assert_eq!(seen.last(), Some(&Seen::Ended(id)));
    // Its half of the stream is open still.
    assert_eq!(bed.send(id, b"goodbye"), 7);
    bed.backend.finish_sending(id);
    let mut read = Vec::new();
    client.read_to_end(&mut read).unwrap();
    assert_eq!(read, b"goodbye");
}

over_both!(an_end_that_comes_with_the_last_bytes_is_told_behind_them);
fn an_end_that_comes_with_the_last_bytes_is_told_behind_them<B: Backend>(mut bed: Bed<B>) {
    for _ in 0..20 {
        let (mut client, id) = bed.connect();
        client.write_all(b"last words").unwrap();
        drop(client);
        bed.backend.receive(id).unwrap();
        let seen = bed.until(|seen| seen.contains(&Seen::Ended(id)));
        assert_eq!(received(&seen, id), b"last words");
        assert_eq!(seen.last(), Some(&Seen::Ended(id)));
    }
}

over_both!(what_stands_behind_urgent_data_is_handed_in);
fn what_stands_behind_urgent_data_is_handed_in<B: Backend>(mut bed: Bed<B>) {
    let (mut client, id) = bed.connect();
    for round in 0..5 {
        client.write_all(b"before").unwrap();
        SockRef::from(&client).send_out_of_band(b"!").unwrap();
        client.write_all(b"behind").unwrap();
        // All of it has come when it is asked for; later, now and then not.
        bed.backend.receive(id).unwrap();
        let seen = bed.until(|seen| received(seen, id).len() == 12);
        assert_eq!(received(&seen, id), b"beforebehind", "round {round}");
        bed.backend.pause_receive(id).unwrap();
        bed.turn();
    }
}

over_both!(a_socket_with_endless_input_does_not_keep_others_waiting);
fn a_socket_with_endless_input_does_not_keep_others_waiting<B: Backend>(mut bed: Bed<B>) {
    let (mut flood, endless) = bed.connect();
    let others: Vec<_> = (0..20).map(|_| bed.connect()).collect();
    flood.set_nonblocking(true).unwrap();
    for id in others.iter().map(|(_, id)| *id).chain([endless]) {
        bed.backend.receive(id).unwrap();
    }
    let mut fill = || while flood.write(&[b'f'; 65_536]).is_ok() {};
    fill();
    bed.until(|seen| received(seen, endless).len() > 100_000);
    for (mut client, id) in others {
        fill();
        client.write_all(b"me, too").unwrap();
        // Two turns: it may come in the middle of the first. The flood goes on meanwhile.
        let mut seen = bed.turn();
        fill();
        seen.extend(bed.turn());
        assert_eq!(received(&seen, id), b"me, too");
        assert!(!received(&seen, endless).is_empty());
    }
}

/// The share of io_uring is the kernel's.
#[test]
fn over_epoll_a_turn_reads_each_socket_once() {
    let mut bed = epoll();
    let floods: Vec<_> = (0..3).map(|_| bed.connect()).collect();
    let mut left = 0;
    for (client, id) in &floods {
        client.set_nonblocking(true).unwrap();
        let mut writer: &TcpStream = client;
        left += writer.write(&[b'f'; 65_536]).unwrap();
        bed.backend.receive(*id).unwrap();
    }
    while left > 0 {
        let seen = bed.turn();
        for (_, id) in &floods {
            let of = |seen: &&Seen| matches!(seen, Seen::Received(of, _) if of == id);
            assert!(seen.iter().filter(of).count() <= 1);
            left -= received(&seen, *id).len();
        }
    }
}

over_both!(a_connection_is_released_once_behind_what_it_was_sent);
fn a_connection_is_released_once_behind_what_it_was_sent<B: Backend>(mut bed: Bed<B>) {
    for receives in [false, true] {
        let (mut client, id) = bed.connect();
        if receives {
            bed.backend.receive(id).unwrap();
        }
        bed.turn();
        assert_eq!(bed.send(id, b"goodbye"), 7);
        bed.backend.end(id, false);
        bed.backend.end(id, false);
        let mut seen = bed.until(|seen| seen.contains(&Seen::Released(id)));
        seen.extend(bed.turn());
        assert_eq!(seen.iter().filter(|seen| **seen == Seen::Released(id)).count(), 1);
        assert_eq!(bed.backend.peer(id), None);
        let mut read = Vec::new();
        client.read_to_end(&mut read).unwrap();
        assert_eq!(read, b"goodbye");
    }
}

over_both!(a_connection_that_is_aborted_leaves_nothing_in_the_kernel);
fn a_connection_that_is_aborted_leaves_nothing_in_the_kernel<B: Backend>(mut bed: Bed<B>) {
    for receives in [false, true] {
        let (mut client, id) = bed.connect();
        if receives {
            bed.backend.receive(id).unwrap();
        }
        bed.fill(id);
        bed.backend.end(id, true);
        bed.until(|seen| seen.contains(&Seen::Released(id)));
        let error = client.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

over_both!(what_has_been_told_of_a_connection_is_not_taken_for_the_next_of_its_place);
fn what_has_been_told_of_a_connection_is_not_taken_for_the_next_of_its_place<B: Backend>(
    mut bed: Bed<B>,
) {
    let (mut former, id) = bed.connect();
    bed.backend.receive(id).unwrap();
    former.write_all(b"late").unwrap();
    bed.backend.end(id, false);
    bed.until(|seen| seen.contains(&Seen::Released(id)));
    let mut client = TcpStream::connect(bed.address).unwrap();
    let next = ConnId { index: id.index, generation: id.generation + 1 };
    let deadline = Instant::now() + PATIENCE;
    'accepted: loop {
        assert!(Instant::now() < deadline);
        bed.backend.wait(Some(Duration::from_millis(5))).unwrap();
        while let Some(happened) = bed.backend.next().unwrap() {
            if let Happened::Accepted(incoming) = happened {
                bed.backend.adopt(next, incoming);
                break 'accepted;
            }
        }
    }
    bed.backend.receive(next).unwrap();
    assert_eq!((bed.backend.peer(id), bed.backend.measure(id)), (None, None));
    assert_eq!(bed.backend.peer(next), client.local_addr().ok());
    client.write_all(b"mine").unwrap();
    let seen = bed.until(|seen| !received(seen, next).is_empty());
    assert_eq!((received(&seen, next), received(&seen, id)), (b"mine".to_vec(), vec![]));
}

over_both!(a_call_from_another_thread_ends_the_wait_each_time);
fn a_call_from_another_thread_ends_the_wait_each_time<B: Backend>(mut bed: Bed<B>) {
    bed.turn();
    for _ in 0..50 {
        bed.wake.fall_asleep();
        let wake = bed.wake.clone();
        let caller = std::thread::spawn(move || wake.wake());
        bed.until(|seen| seen.contains(&Seen::Woken));
        bed.wake.stay_awake();
        caller.join().unwrap();
        assert_eq!(bed.turn(), []);
    }
}

over_both!(a_crowd_is_accepted_and_nobody_once_that_stops);
fn a_crowd_is_accepted_and_nobody_once_that_stops<B: Backend>(mut bed: Bed<B>) {
    let _crowd: Vec<_> = (0..100).map(|_| TcpStream::connect(bed.address).unwrap()).collect();
    bed.until(|seen| seen.iter().filter(|seen| **seen == Seen::Accepted).count() == 100);
    bed.backend.stop_accepting().unwrap();
    bed.backend.accept().unwrap();
    assert_eq!(bed.turn(), []);
    let refused = TcpStream::connect(bed.address).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

over_both!(whoever_waits_to_be_accepted_when_that_stops_is_handed_in);
fn whoever_waits_to_be_accepted_when_that_stops_is_handed_in<B: Backend>(mut bed: Bed<B>) {
    let mut crowd: Vec<_> = (0..100).map(|_| TcpStream::connect(bed.address).unwrap()).collect();
    bed.backend.stop_accepting().unwrap();
    let seen = bed.until(|seen| seen.iter().filter(|seen| **seen == Seen::Accepted).count() == 100);
    assert_eq!(seen.len(), 100);
    let refused = TcpStream::connect(bed.address).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let names = (0..bed.named).map(|index| ConnId { index, generation: 7 });
    for id in names.collect::<Vec<_>>() {
        let peer = bed.backend.peer(id);
        let place = crowd.iter().position(|client| client.local_addr().ok() == peer);
        let mut client = crowd.swap_remove(place.expect("one of them"));
        assert_eq!(bed.send(id, b"hello"), 5);
        client.read_exact(&mut [0; 5]).unwrap();
    }
}

/// io_uring watches nothing beforehand.
#[test]
fn over_epoll_a_connection_that_cannot_be_watched_ends_and_the_loop_goes_on() {
    let mut bed = epoll();
    let id = ConnId { index: 5, generation: 1 };
    bed.backend.adopt(id, std::fs::File::open("/dev/null").unwrap().into());
    // The shard may still want to know when it has room.
    bed.backend.watch_writable(id).unwrap();
    let mut seen = Vec::new();
    while let Some(happened) = bed.backend.next().unwrap() {
        match happened {
            Happened::AcceptingFailed(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::EPERM));
                seen.push("rest")
            }
            Happened::Ended(ended) if ended == id => seen.push("ended"),
            Happened::Writable(dead) if dead == id => seen.push("look-out over"),
            other => panic!("{other:?}"),
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, ["ended", "look-out over", "rest"]);
    bed.backend.accept().unwrap();
    let (_client, _) = bed.connect();
}

over_both!(what_the_peer_has_not_taken_is_measured);
fn what_the_peer_has_not_taken_is_measured<B: Backend>(mut bed: Bed<B>) {
    let (_client, id) = bed.connect();
    let taken = bed.fill(id);
    let (acknowledged, outstanding) = bed.backend.measure(id).unwrap();
    let sum = acknowledged as usize + outstanding;
    assert!(outstanding > 0 && sum.abs_diff(taken) <= 1, "{sum} of {taken}");
}

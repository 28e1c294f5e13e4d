//! Sockets over both runtimes: turns, partial reads and writes, ends.

use std::cell::Cell;
use std::io::{Read, Write};
use std::os::unix::net;
use std::rc::Rc;

use super::*;
use crate::both::io_uring_allowed;

/// Both, where io_uring is allowed.
fn both() -> impl Iterator<Item = Runtime> {
    io_uring_allowed().then_some(Runtime::Uring).into_iter().chain([Runtime::Plain])
}

fn socket_of(runtime: Runtime, socket: net::UnixStream) -> Socket {
    socket.set_nonblocking(true).unwrap();
    runtime.unix(UnixStream::from_std(socket).unwrap()).unwrap()
}

/// Spawns a task that counts the turns it gets; stopped with the runtime.
fn count_turns(runtime: Runtime) -> Rc<Cell<usize>> {
    let turns = Rc::new(Cell::new(0));
    let counts = turns.clone();
    tokio::task::spawn_local(async move {
        loop {
            runtime.give_way().await;
            counts.set(counts.get() + 1);
        }
    });
    turns
}

#[test]
fn each_read_gives_others_a_turn_although_bytes_are_there() {
    for runtime in both() {
        let (mut peer, socket) = net::UnixStream::pair().unwrap();
        peer.write_all(&[b'x'; 1000]).unwrap();
        let run = async {
            let socket = socket_of(runtime, socket);
            let turns = count_turns(runtime);
            for read in 1..=1000 {
                let (result, _) = socket.read(Vec::with_capacity(1)).await;
                assert_eq!(result.unwrap(), 1);
                assert!(2 * turns.get() + 4 >= read, "{runtime:?}: {turns:?} for {read} reads");
            }
        };
        runtime.run(run).unwrap();
    }
}

#[test]
fn who_gives_way_finds_that_another_has_read_what_had_come() {
    for runtime in both() {
        let (mut peer, socket) = net::UnixStream::pair().unwrap();
        let run = async {
            let socket = socket_of(runtime, socket);
            let seen = Rc::new(Cell::new(0));
            let sees = seen.clone();
            tokio::task::spawn_local(async move {
                loop {
                    let (result, _) = socket.read(Vec::with_capacity(10)).await;
                    sees.set(sees.get() + result.unwrap());
                }
            });
            for bytes in 1..=100 {
                peer.write_all(b"x").unwrap();
                // The ring needs a turn to submit, one for what comes of it, and one to say so.
                for _ in 0..4 {
                    runtime.give_way().await;
                }
                assert_eq!(seen.get(), bytes, "{runtime:?}");
            }
        };
        runtime.run(run).unwrap();
    }
}

#[test]
fn all_of_a_stream_is_read_and_its_end_however_it_is_parted() {
    for runtime in both() {
        let (mut peer, socket) = net::UnixStream::pair().unwrap();
        let writer = std::thread::spawn(move || {
            for bytes in 0..2000 {
                peer.write_all(&vec![bytes as u8; bytes % 17]).unwrap();
            }
        });
        let run = async {
            let socket = socket_of(runtime, socket);
            let mut all = Vec::new();
            loop {
                all.reserve_exact(100);
                let (result, buffer) = socket.read(std::mem::take(&mut all)).await;
                all = buffer;
                if result.unwrap() == 0 {
                    return all;
                }
            }
        };
        let expected: Vec<u8> = (0..2000).flat_map(|bytes| vec![bytes as u8; bytes % 17]).collect();
        assert!(runtime.run(run).unwrap() == expected, "{runtime:?}");
        writer.join().unwrap();
    }
}

#[test]
fn what_does_not_fit_is_written_once_the_peer_has_read() {
    for runtime in both() {
        let (mut peer, socket) = net::UnixStream::pair().unwrap();
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            all
        });
        let sent: Vec<u8> = (0..4_000_000).map(|at| (at % 251) as u8).collect();
        let run = async {
            let socket = socket_of(runtime, socket);
            let (mut buffer, mut written) = (sent.clone(), 0);
            while written < buffer.len() {
                let result;
                (result, buffer) = socket.write(buffer, written).await;
                written += result.unwrap();
            }
        };
        runtime.run(run).unwrap();
        assert!(reader.join().unwrap() == sent, "{runtime:?}");
    }
}

#[test]
fn shutting_a_socket_down_ends_what_waits_for_it() {
    for runtime in both() {
        let (peer, socket) = net::UnixStream::pair().unwrap();
        let run = async {
            let socket = Rc::new(socket_of(runtime, socket));
            let reads = socket.clone();
            let reading = tokio::task::spawn_local(async move {
                reads.read(Vec::with_capacity(10)).await.0.unwrap()
            });
            let writes = socket.clone();
            let writing = tokio::task::spawn_local(async move {
                let mut buffer = vec![0; 1 << 20];
                loop {
                    let result;
                    (result, buffer) = writes.write(buffer, 0).await;
                    if let Err(error) = result {
                        return error.kind();
                    }
                }
            });
            for _ in 0..10 {
                runtime.give_way().await;
            }
            assert!(!reading.is_finished() && !writing.is_finished(), "{runtime:?}");
            socket.shutdown(Shutdown::Both);
            assert_eq!(reading.await.unwrap(), 0);
            assert_eq!(writing.await.unwrap(), io::ErrorKind::BrokenPipe);
        };
        runtime.run(run).unwrap();
        drop(peer);
    }
}

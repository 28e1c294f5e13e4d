//! A backend, driven by hand.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use roadcast::engine::{Backend, Happened, Short};
use roadcast::lane::Wake;
use roadcast::shard::ConnId;

use super::common::PATIENCE;

/// What has happened, to be kept.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    Accepted,
    Received(ConnId, Vec<u8>),
    Ended(ConnId),
    Writable(ConnId),
    Released(ConnId),
    Woken,
}

/// A backend, and clients at the other end of its sockets.
pub struct Bed<B: Backend> {
    pub backend: B,
    pub wake: Arc<Wake>,
    pub address: SocketAddr,
    /// Connections that have a name.
    pub named: u32,
}

impl<B: Backend> Bed<B> {
    pub fn new(make: fn(TcpListener, &Arc<Wake>) -> B) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, wake) = (listener.local_addr().unwrap(), Wake::new().unwrap());
        let mut backend = make(listener, &wake);
        backend.accept().unwrap();
        Self { backend, wake, address, named: 0 }
    }

    /// Hands in what one turn brings; whoever is accepted gets the next name.
    pub fn take_in(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        loop {
            let id = ConnId { index: self.named, generation: 7 };
            let incoming = match self.backend.next().unwrap() {
                None => return seen,
                Some(Happened::Accepted(incoming)) => incoming,
                Some(Happened::AcceptingFailed(error)) => panic!("{error}"),
                Some(Happened::Received(id, bytes)) => {
                    seen.push(Seen::Received(id, bytes.to_vec()));
                    // It is the shard's, which unmasks in place.
                    bytes.fill(0xEE);
                    continue;
                }
                Some(Happened::Ended(id)) => {
                    seen.push(Seen::Ended(id));
                    continue;
                }
                Some(Happened::Writable(id)) => {
                    seen.push(Seen::Writable(id));
                    continue;
                }
                Some(Happened::Released(id)) => {
                    seen.push(Seen::Released(id));
                    continue;
                }
                Some(Happened::Woken) => {
                    seen.push(Seen::Woken);
                    continue;
                }
            };
            assert!(self.backend.address(&incoming).is_some());
            self.backend.adopt(id, incoming);
            self.named += 1;
            seen.push(Seen::Accepted);
        }
    }

    /// One turn without anything to send.
    pub fn turn(&mut self) -> Vec<Seen> {
        let idle = self.backend.is_idle();
        // Longer than nothing, so that a test that waits leaves the kernel the time.
        let timeout = if idle { Duration::from_millis(5) } else { Duration::ZERO };
        self.backend.wait(Some(timeout)).unwrap();
        self.take_in()
    }

    /// Turns until all that has been seen meets `enough`.
    #[track_caller]
    pub fn until(&mut self, enough: impl Fn(&[Seen]) -> bool) -> Vec<Seen> {
        let (deadline, mut seen) = (Instant::now() + PATIENCE, Vec::new());
        while !enough(&seen) {
            assert!(Instant::now() < deadline, "never: {} seen", seen.len());
            seen.extend(self.turn());
        }
        seen
    }

    /// A client, and the name that its connection has got.
    pub fn connect(&mut self) -> (TcpStream, ConnId) {
        let client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        self.until(|seen| seen.contains(&Seen::Accepted));
        (client, ConnId { index: self.named - 1, generation: 7 })
    }

    /// Sends once; bytes sent, or a negative errno.
    pub fn send(&mut self, id: ConnId, bytes: &[u8]) -> i32 {
        let mut short = Vec::new();
        self.backend.send([(3, id, bytes)].into_iter(), &mut short).unwrap();
        assert!(short.len() <= 1);
        match short.pop() {
            None => bytes.len() as i32,
            Some(Short { place, result }) => {
                assert_eq!(place, 3);
                result
            }
        }
    }

    /// Sends until the socket takes no more; what it took.
    pub fn fill(&mut self, id: ConnId) -> usize {
        let mut taken = 0;
        loop {
            match self.send(id, &[b'x'; 100_000]) {
                sent if sent > 0 => taken += sent as usize,
                errno => {
                    assert_eq!(errno, -libc::EAGAIN);
                    return taken;
                }
            }
        }
    }
}

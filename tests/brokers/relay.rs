//! A way to a server that can be made slow, cut, or silent: nothing passes any more and nothing
//! ends, as on a link that was pulled.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

#[derive(Debug, Default)]
struct State {
    silent: AtomicBool,
    delay_ms: AtomicU64,
    passing: Mutex<Vec<TcpStream>>,
}

/// See the module.
#[derive(Debug)]
pub struct Relay {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    state: Arc<State>,
}

impl Relay {
    /// To that port of 127.0.0.1.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let own = listener.local_addr().expect("it is bound").port();
        let state = Arc::new(State::default());
        let of_listener = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let both = [(&client, &server), (&server, &client)];
                for (from, to) in both {
                    let clone = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
                    let (from, to, state) = (clone(from), clone(to), of_listener.clone());
                    state.passing.lock().unwrap().push(clone(&from));
                    thread::spawn(move || pass(from, to, &state));
                }
            }
        });
        Self { port: own, state }
    }

    /// From now on nothing passes, and nothing ends; or again.
    pub fn fall_silent(&self, silent: bool) {
        self.state.silent.store(silent, Ordering::Relaxed);
    }

    /// What passes takes so long.
    pub fn delay(&self, delay: Duration) {
        self.state.delay_ms.store(delay.as_millis() as u64, Ordering::Relaxed);
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        for stream in self.state.passing.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, state: &State) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        thread::sleep(Duration::from_millis(state.delay_ms.load(Ordering::Relaxed)));
        while state.silent.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(5));
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

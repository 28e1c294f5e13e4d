//! The real hub on its thread, behind real sockets; the test plays the shards at the other end of
//! the lanes.

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::JoinHandle;

use super::*;
use crate::both::io_uring_allowed;
use crate::limits::Limits;
use crate::mesh::{BrokerId, Down, ShardEnd, TopicId, Up, mesh};
use crate::rpc::{self, Codec, Decoded};

mod asynchronous;
mod brokers;
mod calls;
mod lanes;
mod shutdown;
mod sockets;
mod targets;
mod turns;

fn io_uring() -> Option<Runtime> {
    io_uring_allowed().then_some(Runtime::Uring)
}

fn epoll() -> Runtime {
    Runtime::Plain
}

/// Only a hang takes this long.
const HANG: Duration = Duration::from_secs(30);

/// Looks again and again until there is something to see.
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = std::time::Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begin.elapsed() < HANG, "never seen: {what}");
        std::thread::yield_now();
    }
}

/// Keeps what it is to write.
#[derive(Clone, Default)]
struct Written(Rc<RefCell<Vec<u8>>>);

impl Caller for Written {
    async fn write_answers(&self, answers: Vec<u8>, _: Duration) -> (io::Result<()>, Vec<u8>) {
        self.0.borrow_mut().extend_from_slice(&answers);
        (Ok(()), answers)
    }

    async fn give_way(&self) {}
}

/// A hub with two brokers, and the shards' ends of its lanes.
struct Running {
    shards: Vec<ShardEnd>,
    address: SocketAddr,
    counters: Arc<HubCounters>,
    shutdown: ShutdownHandle,
    thread: Option<JoinHandle<io::Result<()>>>,
}

const DEFAULT: BrokerId = BrokerId(1);
const BUS: BrokerId = BrokerId(0);
const GRACE: Duration = Duration::from_secs(10);

fn start(runtime: Runtime, shards: usize, limits: Limits) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    start_on(runtime, RpcListener::Tcp(listener), address, shards, limits, GRACE)
}

fn start_on(
    runtime: Runtime,
    rpc: RpcListener,
    address: SocketAddr,
    shards: usize,
    limits: Limits,
    shutdown_grace: Duration,
) -> Running {
    let (end, shards) = mesh(shards, &limits).unwrap();
    let shutdown = ShutdownHandle::new(&end);
    let counters = Arc::new(HubCounters::default());
    let config = HubConfig {
        runtime,
        rpc: Some(rpc),
        brokers: vec![("bus".into(), Driver::Memory), ("default".into(), Driver::Memory)],
        default_broker: DEFAULT,
        broker_rules: BrokerRules::default(),
        policies: Default::default(),
        limits: Arc::new(limits),
        counters: counters.clone(),
        drain: Duration::ZERO,
        shutdown_grace,
    };
    let thread = Some(std::thread::spawn(move || run(config, end, || {})));
    Running { shards, address, counters, shutdown, thread }
}

impl Running {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(HANG)).unwrap();
        stream
    }

    /// Asks for a topic as a shard does; returns the sequence that the answer names.
    fn interest(&mut self, shard: usize, index: u32, broker: BrokerId, name: &str) -> u64 {
        let topic = TopicId { index, generation: 0 };
        let end = &mut self.shards[shard];
        end.up
            .push(0, Up::Interest { topic, broker, form: Default::default(), name: name.into() })
            .unwrap();
        end.up.wake();
        match self.next(shard) {
            Down::Interested { topic: answered, sequence } if answered == topic => sequence,
            entry => panic!("{entry:?}"),
        }
    }

    /// The next entry of a shard's lane.
    fn next(&mut self, shard: usize) -> Down {
        let lane = &mut self.shards[shard].down;
        eventually("an entry", || lane.pop())
    }

    /// The next entry, which is a publication: topic, sequence, text.
    fn published(&mut self, shard: usize) -> (u32, u64, String) {
        match self.next(shard) {
            Down::Publish { topic, sequence, frame } => (topic.index, sequence, text(&frame)),
            entry => panic!("{entry:?}"),
        }
    }

    fn counts(&self, name: &str, value: u64) {
        eventually(&format!("{name} = {value}"), || {
            self.counters.each().any(|counter| counter == (name, value)).then_some(())
        });
    }

    /// Shuts down as a server does whose shards have nothing left to deliver.
    fn stop(&mut self) {
        self.shutdown.begin(StdInstant::now());
        self.shards.clear();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

/// The JSON of a WebSocket text frame.
fn text(frame: &[u8]) -> String {
    let start = frame.iter().position(|byte| *byte == b'{').unwrap();
    String::from_utf8(frame[start..].to_vec()).unwrap()
}

fn call(sequence: u32, method: &str, codec: Codec, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    rpc::encode_call(&mut out, sequence, method, codec, body);
    out
}

fn publish(sequence: u32, topics: &[&str], payload: &[u8]) -> Vec<u8> {
    call(
        sequence,
        "broadcast.Publish",
        Codec::Proto,
        &rpc::publish_body(topics.iter().copied(), payload),
    )
}

/// The next answer: its sequence, and what it came to.
fn answer(stream: &mut impl Read) -> (u32, Result<bool, String>) {
    let mut bytes = Vec::new();
    loop {
        let needed = match rpc::decode_answer(&bytes, 1 << 24).unwrap() {
            Decoded::Whole { value, .. } => return (value.sequence, value.ok()),
            Decoded::Partial { bytes } => bytes,
        };
        let start = bytes.len();
        bytes.resize(needed, 0);
        stream.read_exact(&mut bytes[start..]).unwrap();
    }
}

/// Reads to the end of the stream, however it ends.
fn is_closed(stream: &mut impl Read) -> bool {
    let mut rest = [0; 1024];
    loop {
        match stream.read(&mut rest) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

//! One real shard on each real backend: the test stands in for the hub at the other end of the
//! lanes, and tungstenite is the client. Shows what only the kernel can: short sends, resets, full
//! sockets, descriptors.

#[macro_use]
mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use roadcast::backend::BackendName;
use roadcast::engine::{Loop, LoopCounters};
use roadcast::epoll::EpollBackend;
use roadcast::http::proxies::Proxies;
use roadcast::hub::ShutdownHandle;
use roadcast::limits::Limits;
use roadcast::mesh::{BrokerId, Down, HubEnd, TopicId, Up, mesh};
use roadcast::policy::{OnGap, Policies};
use roadcast::ring::RingBackend;
use roadcast::shard::{ConnectionBudget, Shard, ShardConfig, ShardCounters};
use roadcast::ws::upgrade::Rules;
use tungstenite::{Message, WebSocket};

fn io_uring() -> Option<BackendName> {
    common::io_uring_allowed().then_some(BackendName::IoUring)
}

fn epoll() -> BackendName {
    BackendName::Epoll
}

struct TestShard {
    address: SocketAddr,
    hub: HubEnd,
    counters: Arc<ShardCounters>,
    budget: Arc<ConnectionBudget>,
    thread: Option<JoinHandle<()>>,
}

impl TestShard {
    fn start(backend: BackendName, limits: Limits) -> Self {
        Self::start_with_grace(backend, limits, Duration::from_secs(10))
    }

    fn start_with_grace(backend: BackendName, limits: Limits, shutdown_grace: Duration) -> Self {
        let (hub, mut ends) = mesh(1, &limits).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let counters = Arc::new(ShardCounters::default());
        let budget = Arc::new(ConnectionBudget::new(20_000));
        let config = Arc::new(ShardConfig {
            limits: Arc::new(limits),
            policies: Policies::default(),
            on_gap: OnGap::default(),
            rules: Rules {
                path: "/ws".into(),
                echo_path: Some("/echo".into()),
                ..Rules::default()
            },
            access: None,
            proxies: Proxies::default(),
            brokers: vec!["default".into()],
            default_broker: BrokerId(0),
            demo_page: None,
            drain: Duration::ZERO,
            drain_accept: true,
            shutdown_grace,
        });
        let (end, shard_counters, shard_budget) =
            (ends.remove(0), counters.clone(), budget.clone());
        let thread = std::thread::spawn(move || {
            let shard = Shard::new(config, shard_counters.clone(), shard_budget);
            let counters: Arc<LoopCounters> = Arc::default();
            let wake = end.wake.clone();
            match backend {
                BackendName::IoUring => {
                    let ring = RingBackend::new(listener, wake, counters.clone()).unwrap();
                    Loop::new(shard, counters, end, ring).unwrap().run().unwrap();
                }
                BackendName::Epoll => {
                    let epoll = EpollBackend::new(listener, wake).unwrap();
                    Loop::new(shard, counters, end, epoll).unwrap().run().unwrap();
                }
            }
        });
        Self { address, hub, counters, budget, thread: Some(thread) }
    }

    fn connect(&self, path: &str) -> WebSocket<TcpStream> {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        tungstenite::client(format!("ws://{}{path}", self.address), stream).unwrap().0
    }

    fn question(&mut self) -> Up {
        let deadline = Instant::now() + common::PATIENCE;
        while Instant::now() < deadline {
            if let Some(question) = self.hub.up[0].pop() {
                return question;
            }
            std::thread::yield_now();
        }
        panic!("never asked")
    }

    fn push(&mut self, cost: u64, mut entry: Down) {
        while let Err(refused) = self.hub.down[0].push(cost, entry) {
            self.hub.down[0].wake();
            std::thread::yield_now();
            entry = refused;
        }
    }

    fn publish(&mut self, topic: TopicId, sequence: u64, name: &str, payload: &[u8]) {
        let frame = roadcast::publication::encode(name, payload, usize::MAX).unwrap();
        self.push(frame.len() as u64, Down::Publish { topic, sequence, frame });
        self.hub.down[0].wake();
    }

    /// Joins, answering for the hub when the topic is new.
    fn join_first(&mut self, client: &mut WebSocket<TcpStream>, name: &str) -> TopicId {
        client.send(Message::text(format!(r#"{{"command":"join","topics":["{name}"]}}"#))).unwrap();
        let Up::Interest { topic, name: asked, .. } = self.question() else { panic!("interest") };
        assert_eq!(&*asked, name);
        self.push(0, Down::Interested { topic, sequence: 0 });
        self.hub.down[0].wake();
        assert_eq!(text(client), format!(r#"{{"topic":"@join","payload":["{name}"]}}"#));
        topic
    }

    fn wait_until(&self, what: &str, condition: impl Fn(&ShardCounters) -> bool) {
        for _ in 0..20_000 {
            if condition(&self.counters) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("never: {what}; {:?}", self.counters);
    }

    fn drain(&mut self) {
        self.push(0, Down::StopAccepting);
        self.push(0, Down::Drain);
        self.hub.down[0].wake();
        self.thread.take().unwrap().join().unwrap();
    }
}

/// What comes next. Where a test takes long (under a sanitizer), pings come in between.
fn read(client: &mut WebSocket<TcpStream>) -> tungstenite::Result<Message> {
    loop {
        match client.read() {
            Ok(Message::Ping(_)) => {}
            other => return other,
        }
    }
}

fn text(client: &mut WebSocket<TcpStream>) -> String {
    read(client).unwrap().into_text().unwrap().to_string()
}

fn join(client: &mut WebSocket<TcpStream>, name: &str) {
    client.send(Message::text(format!(r#"{{"command":"join","topics":["{name}"]}}"#))).unwrap();
    assert_eq!(text(client), format!(r#"{{"topic":"@join","payload":["{name}"]}}"#));
}

over_both!(a_shard_that_sleeps_on_questions_without_room_is_woken_when_there_is_some);
fn a_shard_that_sleeps_on_questions_without_room_is_woken_when_there_is_some(backend: BackendName) {
    // Without deadlines nothing else would wake it in time.
    let head_timeout = Duration::from_secs(600);
    let limits = Limits { ping_interval: Duration::ZERO, head_timeout, ..Limits::default() };
    let mut shard = TestShard::start(backend, limits);
    let mut client = shard.connect("/ws");
    // More questions than the lane up has entries.
    let names: Vec<String> = (0..1500).map(|number| format!("\"{number}\"")).collect();
    let join = format!(r#"{{"command":"join","topics":[{}]}}"#, names.join(","));
    client.send(Message::text(join)).unwrap();
    // Leaves it the time to fall asleep; where that was too short, less is tested.
    std::thread::sleep(Duration::from_millis(100));
    let mut topics = Vec::new();
    for _ in &names {
        let Up::Interest { topic, .. } = shard.question() else { panic!("interest") };
        topics.push(topic);
    }
    // An answer would wake it, too.
    topics.into_iter().for_each(|topic| shard.push(0, Down::Interested { topic, sequence: 0 }));
    shard.hub.down[0].wake();
    let reply = format!(r#"{{"topic":"@join","payload":[{}]}}"#, names.join(","));
    assert_eq!(text(&mut client), reply);
}

over_both!(publications_reach_every_subscriber_in_order_and_the_drain_says_goodbye);
fn publications_reach_every_subscriber_in_order_and_the_drain_says_goodbye(backend: BackendName) {
    let mut shard = TestShard::start(backend, Limits::default());
    let mut first = shard.connect("/ws");
    let topic = shard.join_first(&mut first, "foo");
    let mut clients = vec![first];
    for _ in 1..100 {
        let mut client = shard.connect("/ws");
        join(&mut client, "foo");
        clients.push(client);
    }
    for n in 1..=200 {
        shard.publish(topic, n, "foo", n.to_string().as_bytes());
    }
    for client in &mut clients {
        for n in 1..=200 {
            assert_eq!(text(client), format!(r#"{{"topic":"foo","payload":"{n}"}}"#));
        }
    }
    let reading = std::thread::spawn(move || {
        for client in &mut clients {
            match read(client).unwrap() {
                Message::Close(Some(frame)) => assert_eq!(u16::from(frame.code), 1001),
                other => panic!("{other:?}"),
            }
            while client.read().is_ok() {}
        }
    });
    shard.drain();
    reading.join().unwrap();
    let balance = shard.counters.standing().balance;
    assert_eq!((balance.owed, balance.delivered), (20_000, 20_000), "{balance:?}");
}

over_both!(
    a_subscriber_that_never_reads_is_closed_with_a_gapless_prefix_while_the_others_get_everything
);
fn a_subscriber_that_never_reads_is_closed_with_a_gapless_prefix_while_the_others_get_everything(
    backend: BackendName,
) {
    let limits =
        Limits { socket_send_bytes: 0, close_timeout: Duration::from_secs(1), ..Limits::default() };
    let mut shard = TestShard::start(backend, limits);
    let mut reader = shard.connect("/ws");
    let topic = shard.join_first(&mut reader, "foo");
    let mut lazy = shard.connect("/ws");
    join(&mut lazy, "foo");
    let payload = "x".repeat(16 * 1024);
    const PUBLICATIONS: u64 = 2_000;
    /// So far the reader may be behind the publisher: a fraction of an outbox, or it would be a
    /// laggard itself.
    const LEAD: u64 = 32;
    let (tell, read_so_far) = std::sync::mpsc::channel();
    let reading = std::thread::spawn(move || {
        for n in 1..=PUBLICATIONS {
            let expected = format!(r#"{{"topic":"foo","payload":"{n} "#);
            let message = text(&mut reader);
            assert!(message.starts_with(&expected), "{n}: {}", &message[..message.len().min(60)]);
            tell.send(()).unwrap();
        }
        reader
    });
    for n in 1..=PUBLICATIONS {
        if n > LEAD && read_so_far.recv().is_err() {
            break;
        }
        shard.publish(topic, n, "foo", format!("{n} {payload}").as_bytes());
    }
    let _reader = reading.join().unwrap();
    shard.wait_until("overflow", |counters| counters.overflows.value() == 1);
    shard.wait_until("terminated", |counters| counters.open.value() == 1);
    let mut received = 0;
    while let Ok(Message::Text(message)) = read(&mut lazy) {
        received += 1;
        assert!(message.starts_with(&format!(r#"{{"topic":"foo","payload":"{received} "#)));
    }
    assert!(received < PUBLICATIONS);
}

over_both!(echoes_of_any_size_come_back_even_to_a_client_that_reads_late);
fn echoes_of_any_size_come_back_even_to_a_client_that_reads_late(backend: BackendName) {
    let shard = TestShard::start(backend, Limits { message_bytes: 1 << 20, ..Limits::default() });
    let mut client = shard.connect("/echo");
    for bytes in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
        let message = vec![bytes as u8; bytes];
        client.send(Message::binary(message.clone())).unwrap();
        assert_eq!(read(&mut client).unwrap().into_data(), message);
    }
    // 64 MiB sent before anything is read: more than all buffers hold, so reading must pause and
    // resume.
    let mut writer = client.get_ref().try_clone().unwrap();
    let mut message = vec![0x82, 0xFE, 0xFF, 0xFF, 0, 0, 0, 0];
    message.resize(8 + 0xFFFF, b'e');
    let writing = std::thread::spawn(move || {
        for _ in 0..1024 {
            writer.write_all(&message).unwrap();
        }
    });
    shard.wait_until("pause", |counters| counters.laggards.value() > 0);
    for _ in 0..1024 {
        let echoed = read(&mut client).unwrap().into_data();
        assert!(echoed.len() == 0xFFFF && echoed.iter().all(|&byte| byte == b'e'));
    }
    writing.join().unwrap();
}

over_both!(abrupt_resets_leave_nothing_behind);
fn abrupt_resets_leave_nothing_behind(backend: BackendName) {
    let mut shard = TestShard::start(backend, Limits::default());
    let mut keeper = shard.connect("/ws");
    let topic = shard.join_first(&mut keeper, "foo");
    let mut sequence = 0;
    for round in 0..20 {
        let clients: Vec<_> = (0..50)
            .map(|_| {
                let mut client = shard.connect("/ws");
                join(&mut client, "foo");
                client
            })
            .collect();
        sequence += 1;
        shard.publish(topic, sequence, "foo", b"x");
        for client in clients {
            if round % 2 == 0 {
                socket2::SockRef::from(client.get_ref()).set_linger(Some(Duration::ZERO)).unwrap();
            }
        }
        sequence += 1;
        shard.publish(topic, sequence, "foo", b"y");
    }
    shard.wait_until("all gone", |counters| counters.open.value() == 1);
    for _ in 0..20 {
        assert_eq!(text(&mut keeper), r#"{"topic":"foo","payload":"x"}"#);
        assert_eq!(text(&mut keeper), r#"{"topic":"foo","payload":"y"}"#);
    }
    drop(keeper);
    let Up::Uninterest { topic: left } = shard.question() else { panic!("uninterest") };
    assert_eq!(left, topic);
    shard.push(0, Down::Uninterested { topic });
    shard.hub.down[0].wake();
    shard.wait_until("topic freed", |counters| counters.topics.value() == 0);
    assert_eq!(shard.budget.open(), 0);
}

over_both!(a_head_that_does_not_come_ends_the_connection);
fn a_head_that_does_not_come_ends_the_connection(backend: BackendName) {
    let shard = TestShard::start(
        backend,
        Limits { head_timeout: Duration::from_millis(100), ..Limits::default() },
    );
    let mut silent = TcpStream::connect(shard.address).unwrap();
    let mut begun = TcpStream::connect(shard.address).unwrap();
    begun.write_all(b"GET /ws HTTP/1.1\r\n").unwrap();
    let mut answer = Vec::new();
    silent.read_to_end(&mut answer).unwrap();
    assert!(answer.is_empty());
    begun.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 408 "));
}

over_both!(a_shard_whose_hub_has_gone_says_goodbye_and_ends);
/// It sleeps, and has been told nothing.
fn a_shard_whose_hub_has_gone_says_goodbye_and_ends(backend: BackendName) {
    let mut shard = TestShard::start(backend, Limits::default());
    let mut client = shard.connect("/ws");
    shard.join_first(&mut client, "foo");
    let (other, _ends) = mesh(1, &Limits::default()).unwrap();
    drop(std::mem::replace(&mut shard.hub, other));
    let goodbye = read(&mut client).unwrap();
    assert!(
        matches!(&goodbye, Message::Close(Some(frame)) if u16::from(frame.code) == 1001),
        "{goodbye:?}"
    );
    drop(client);
    shard.thread.take().unwrap().join().unwrap();
}

over_both!(the_grace_ends_a_shard_that_gets_nothing_from_its_lane);
/// The hub is there and stuck: no entry comes. The client never answers anything.
fn the_grace_ends_a_shard_that_gets_nothing_from_its_lane(backend: BackendName) {
    let grace = Duration::from_millis(100);
    let mut shard = TestShard::start_with_grace(backend, Limits::default(), grace);
    let mut client = shard.connect("/ws");
    shard.join_first(&mut client, "foo");
    ShutdownHandle::new(&shard.hub).begin(std::time::Instant::now());
    shard.thread.take().unwrap().join().unwrap();
    assert!(shard.hub.down[0].is_abandoned());
    assert_eq!(shard.counters.open.value(), 0);
}

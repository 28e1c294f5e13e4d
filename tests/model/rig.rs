//! One shard under the hands of a test: every socket, answer and tick is given by the test.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use roadcast::access::Rules;
use roadcast::http::proxies::Proxies;
use roadcast::limits::Limits;
use roadcast::log_rate::Unsaid;
use roadcast::mesh::{BrokerId, Down, Positioned, TopicId, Up};
use roadcast::policy::{OnGap, Policies};
use roadcast::publication;
use roadcast::shard::{
    About, AccessConfig, Balance, ConnId, ConnectionBudget, Reason, Report, Shard, ShardConfig,
    ShardCounters, Task,
};
use roadcast::ws::frame::{self, Opcode};
use roadcast::ws::upgrade;

use super::wire;

/// What a socket does with a send.
#[derive(Clone, Copy, Debug)]
pub enum Taken {
    All,
    Bytes(usize),
    Errno(i32),
}

/// The report of what has not been said before, where the reason says all.
pub fn said(id: ConnId, reason: Reason) -> Task {
    Task::Report(id, Report { reason, about: About::Nothing, unsaid: Unsaid(0) })
}

/// A shard, the hub's side of its topics, and what each socket has taken.
pub struct Rig {
    /// What every socket measures: bytes acknowledged in all, bytes outstanding.
    pub measures: (u64, usize),
    pub shard: Shard,
    pub counters: Arc<ShardCounters>,
    pub budget: Arc<ConnectionBudget>,
    pub now: Duration,
    /// Everything a connection's socket has taken.
    pub streams: HashMap<ConnId, Vec<u8>>,
    /// Questions that the test has not answered.
    pub questions: Vec<Up>,
    topics: HashMap<String, (TopicId, u64)>,
}

/// The configuration of most tests: two brokers, an echo path, no pings.
pub fn config(limits: Limits) -> ShardConfig {
    ShardConfig {
        limits: Arc::new(limits),
        policies: Policies::default(),
        on_gap: OnGap::Silent,
        rules: upgrade::Rules {
            path: "/ws".into(),
            echo_path: Some("/echo".into()),
            health_path: Some("/up".into()),
            ..upgrade::Rules::default()
        },
        access: None,
        proxies: Proxies { subnets: vec!["10.0.0.0/8".parse().unwrap()], ..Proxies::default() },
        brokers: vec!["memory".into(), "bus".into()],
        default_broker: BrokerId(0),
        demo_page: None,
        drain: Duration::ZERO,
        drain_accept: true,
        shutdown_grace: Duration::from_secs(30),
    }
}

/// The same where somebody is asked: about who connects, by rules about who joins.
pub fn asking(limits: Limits, rules: Rules) -> ShardConfig {
    let access = AccessConfig { asks_to_connect: true, takes_tokens: true, rules };
    ShardConfig { access: Some(access), ..config(limits) }
}

/// The default limits without pings.
pub fn quiet() -> Limits {
    Limits { ping_interval: Duration::ZERO, ..Limits::default() }
}

impl Rig {
    pub fn new(limits: Limits) -> Self {
        Self::with_policies(limits, Policies::default())
    }

    pub fn with_policies(limits: Limits, policies: Policies) -> Self {
        Self::with_config(ShardConfig { policies, ..config(limits) })
    }

    pub fn with_config(config: ShardConfig) -> Self {
        let counters = Arc::new(ShardCounters::default());
        let budget = Arc::new(ConnectionBudget::new(match config.limits.connections {
            0 => usize::MAX,
            connections => connections,
        }));
        let shard = Shard::new(Arc::new(config), counters.clone(), budget.clone());
        let (streams, topics) = (HashMap::new(), HashMap::new());
        Self {
            measures: (0, 0),
            shard,
            counters,
            budget,
            now: Duration::ZERO,
            streams,
            questions: Vec::new(),
            topics,
        }
    }

    /// What has become of all deliveries.
    pub fn balance(&self) -> Balance {
        self.shard.standing().balance
    }

    /// A connection that has sent nothing.
    pub fn accept(&mut self) -> ConnId {
        self.shard.accepted().expect("room for one more")
    }

    /// A connection that has been upgraded and has read its 101.
    pub fn connect(&mut self) -> ConnId {
        self.connect_to("/ws")
    }

    pub fn connect_to(&mut self, path: &str) -> ConnId {
        let id = self.accept();
        self.bytes(id, &wire::upgrade_request(path));
        self.sweep();
        assert!(self.taken(id).starts_with(b"HTTP/1.1 101 "));
        id
    }

    /// A connection that has joined `topics` and read its `@join`.
    pub fn member(&mut self, topics: &[&str]) -> ConnId {
        let id = self.connect();
        self.join(id, topics);
        self.answer();
        self.sweep();
        assert_eq!(self.texts(id), [wire::reply("@join", topics)]);
        id
    }

    pub fn bytes(&mut self, id: ConnId, bytes: &[u8]) {
        self.shard.received(id, &mut bytes.to_vec());
        self.shard.check_invariants();
    }

    pub fn join(&mut self, id: ConnId, topics: &[&str]) {
        self.bytes(id, &wire::masked(Opcode::Text, wire::command("join", "", topics).as_bytes()));
    }

    /// Joins, and asks to be told of gaps.
    pub fn join_with_gaps(&mut self, id: ConnId, topics: &[&str]) {
        let command = wire::join_with("", topics, &serde_json::json!({ "gaps": true }));
        self.bytes(id, &wire::masked(Opcode::Text, command.as_bytes()));
    }

    /// As [`Rig::member`], and asks to be told of gaps.
    pub fn heeding(&mut self, topics: &[&str]) -> ConnId {
        let id = self.connect();
        self.join_with_gaps(id, topics);
        self.answer();
        self.sweep();
        assert_eq!(self.texts(id), [wire::reply("@join", topics)]);
        id
    }

    pub fn leave(&mut self, id: ConnId, topics: &[&str]) {
        self.bytes(id, &wire::masked(Opcode::Text, wire::command("leave", "", topics).as_bytes()));
    }

    /// Takes the shard's questions without answering them.
    pub fn ask(&mut self) {
        while let Some(question) = self.shard.next_question() {
            self.questions.push(question);
        }
    }

    /// Answers every question, also those that the answers lead to.
    pub fn answer(&mut self) {
        self.ask();
        while !self.questions.is_empty() {
            for question in std::mem::take(&mut self.questions) {
                let answer = self.answer_to(question);
                self.take(answer);
            }
            self.ask();
        }
    }

    pub fn answer_to(&mut self, question: Up) -> Down {
        match question {
            Up::Interest { topic, name, .. } => {
                self.topics.insert(name.to_string(), (topic, 0));
                Down::Interested { topic, sequence: 0 }
            }
            Up::Positions { connection, topics } => {
                let topics = topics.iter().map(|_| Positioned::default()).collect();
                Down::Positioned { connection, topics }
            }
            Up::Uninterest { topic } => {
                self.topics.retain(|_, (known, _)| *known != topic);
                Down::Uninterested { topic }
            }
        }
    }

    pub fn take(&mut self, entry: Down) {
        self.shard.take(entry);
        self.shard.check_invariants();
    }

    /// Publishes to a topic of the default broker that the shard is interested in. Returns the
    /// frame.
    pub fn publish(&mut self, name: &str, payload: &[u8]) -> Vec<u8> {
        let frame = publication::encode(name, payload, usize::MAX).unwrap();
        let (topic, sequence) = self.topics.get_mut(name).expect("somebody wants it");
        *sequence += 1;
        let entry = Down::Publish { topic: *topic, sequence: *sequence, frame: frame.clone() };
        self.take(entry);
        frame.to_vec()
    }

    /// Something may be missing of a topic that the shard is interested in.
    pub fn lose(&mut self, name: &str) {
        let topic = self.topics[name].0;
        self.take(Down::Lost { topic });
    }

    /// The frame that a publication would have.
    pub fn publish_to_nobody(&self, name: &str, payload: &[u8]) -> Vec<u8> {
        publication::encode(name, payload, usize::MAX).unwrap().to_vec()
    }

    /// One batch. Returns the connections that it named.
    pub fn batch(&mut self, mut socket: impl FnMut(ConnId, &[u8]) -> Taken) -> Vec<ConnId> {
        let sends = self.shard.plan();
        let batch: Vec<(usize, ConnId, Vec<u8>)> =
            self.shard.batch().map(|(place, id, bytes)| (place, id, bytes.to_vec())).collect();
        assert_eq!(sends, batch.len());
        let mut ids: Vec<ConnId> = Vec::new();
        for (place, id, bytes) in &batch {
            let (place, id) = (*place, *id);
            assert!(!ids.contains(&id), "{id:?} is in one batch twice");
            ids.push(id);
            let stream = self.streams.entry(id).or_default();
            match socket(id, bytes) {
                Taken::All => stream.extend_from_slice(bytes),
                Taken::Bytes(n) => {
                    stream.extend_from_slice(&bytes[..n]);
                    self.shard.book(place, n as i32);
                }
                Taken::Errno(errno) => self.shard.book(place, -errno),
            }
        }
        let still = self.shard.batch().map(|(place, id, bytes)| (place, id, bytes.to_vec()));
        assert!(still.eq(batch), "the batch keeps still while it is booked");
        if sends > 0 {
            self.shard.settle();
        }
        self.shard.check_invariants();
        ids
    }

    /// Batches until there is nothing to send; every socket takes all. Returns the number of sends.
    pub fn sweep(&mut self) -> usize {
        self.sweep_with(|_, _| Taken::All)
    }

    pub fn sweep_with(&mut self, mut socket: impl FnMut(ConnId, &[u8]) -> Taken) -> usize {
        let mut sends = 0;
        for idle in 0.. {
            let batch = self.batch(&mut socket).len();
            sends += batch;
            // A batch without sends may still have work behind it.
            if batch == 0 && idle > 8 {
                break;
            }
        }
        sends
    }

    /// What is to be done. Sockets are measured at once, as [`Rig::measures`] says.
    pub fn tasks(&mut self) -> Vec<Task> {
        let mut tasks = Vec::new();
        while let Some(task) = self.shard.next_task() {
            match task {
                Task::Measure(id) => self.shard.measured(id, self.measures.0, self.measures.1),
                task => tasks.push(task),
            }
        }
        tasks
    }

    /// What the socket has taken since the last call.
    pub fn taken(&mut self, id: ConnId) -> Vec<u8> {
        self.streams.get_mut(&id).map(std::mem::take).unwrap_or_default()
    }

    /// The whole text frames among what the socket has taken since the last call; there must be no
    /// others.
    pub fn texts(&mut self, id: ConnId) -> Vec<String> {
        let frames = wire::frames(&self.taken(id));
        let text = |(opcode, payload): (Opcode, Vec<u8>)| {
            assert_eq!(opcode, Opcode::Text);
            String::from_utf8(payload).unwrap()
        };
        frames.into_iter().map(text).collect()
    }

    /// Lets time pass and deals with who is due.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        self.shard.set_now(self.now);
        self.shard.expire();
        self.shard.check_invariants();
    }

    /// Makes the connection a laggard that owes nothing but the rest of one publication of `topic`.
    /// Returns that frame.
    pub fn make_laggard(&mut self, id: ConnId, topic: &str, sent: usize) -> Vec<u8> {
        let frame = self.publish(topic, b"the first that did not fit");
        self.sweep_with(|of, _| if of == id { Taken::Bytes(sent) } else { Taken::All });
        assert!(self.tasks().contains(&Task::WatchWritable(id)));
        frame
    }
}

/// A frame as the server sends it.
pub fn frame_of(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::encode(&mut out, opcode, payload);
    out
}

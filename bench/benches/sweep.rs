//! The core without a ring: what a shard does for a delivery, every socket taking all.
//!
//! Run with `cargo bench -p roadcast-bench --bench sweep`.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use roadcast::http::proxies::Proxies;
use roadcast::limits::Limits;
use roadcast::mesh::{BrokerId, Down, TopicId, Up};
use roadcast::policy::{OnGap, Policies};
use roadcast::publication;
use roadcast::shard::{ConnectionBudget, Shard, ShardConfig, ShardCounters};
use roadcast::ws::upgrade::Rules;

fn main() {
    divan::main();
}

const UPGRADE: &[u8] = b"GET /ws HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// A shard, and its topics with their last sequence.
struct Core {
    shard: Shard,
    topics: HashMap<String, (TopicId, u64)>,
}

impl Core {
    /// `subscribers` connections, spread over `topics` topics.
    fn new(subscribers: usize, topics: usize) -> Self {
        let limits = Limits { ping_interval: Duration::ZERO, ..Limits::default() };
        let settings = ShardConfig {
            limits: Arc::new(limits),
            rules: Rules { path: "/ws".into(), ..Rules::default() },
            access: None,
            proxies: Proxies::default(),
            brokers: vec!["memory".into()],
            default_broker: BrokerId(0),
            demo_page: None,
            policies: Policies::default(),
            on_gap: OnGap::default(),
            drain: Duration::ZERO,
            drain_accept: true,
            shutdown_grace: Duration::from_secs(30),
        };
        let budget = Arc::new(ConnectionBudget::new(usize::MAX));
        let shard = Shard::new(Arc::new(settings), Arc::new(ShardCounters::default()), budget);
        let mut core = Self { shard, topics: HashMap::new() };
        for subscriber in 0..subscribers {
            let id = core.shard.accepted().expect("room");
            core.shard.received(id, &mut UPGRADE.to_vec());
            let text =
                format!(r#"{{"command":"join","topics":["{}"]}}"#, name(subscriber % topics));
            // A masking key of zero leaves the payload as it is.
            let mut join = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
            join.extend_from_slice(text.as_bytes());
            core.shard.received(id, &mut join);
            core.answer();
            core.sweep();
        }
        core
    }

    fn answer(&mut self) {
        while let Some(question) = self.shard.next_question() {
            if let Up::Interest { topic, name, .. } = question {
                self.topics.insert(name.to_string(), (topic, 0));
                self.shard.take(Down::Interested { topic, sequence: 0 });
            }
        }
    }

    fn publish(&mut self, topic: &str, frame: &Arc<[u8]>) {
        let (id, sequence) = self.topics.get_mut(topic).expect("a topic with a subscriber");
        *sequence += 1;
        self.shard.take(Down::Publish { topic: *id, sequence: *sequence, frame: frame.clone() });
    }

    /// Batches until there is nothing to send.
    fn sweep(&mut self) -> usize {
        let mut sends = 0;
        while self.shard.has_work() {
            while self.shard.next_task().is_some() {}
            let batch = self.shard.plan();
            for (_, id, bytes) in self.shard.batch() {
                black_box((id, bytes));
            }
            if batch > 0 {
                self.shard.settle();
            }
            sends += batch;
        }
        sends
    }
}

fn name(number: usize) -> String {
    format!("t{number:05}")
}

/// One topic: (subscribers, publications a sweep).
#[divan::bench(args = [(100, 1), (1000, 1), (10_000, 1), (1000, 64)])]
fn fan_out(bencher: Bencher<'_, '_>, (subscribers, publications): (usize, usize)) {
    let mut core = Core::new(subscribers, 1);
    let topic = name(0);
    let frame = publication::encode(&topic, &[b'x'; 128], 1 << 20).expect("a frame");
    bencher.counter(ItemsCount::new(subscribers * publications)).bench_local(|| {
        (0..publications).for_each(|_| core.publish(&topic, &frame));
        core.sweep()
    });
}

/// A topic for each subscriber, each published to once.
#[divan::bench(args = [100, 1000, 10_000])]
fn unicast(bencher: Bencher<'_, '_>, subscribers: usize) {
    let mut core = Core::new(subscribers, subscribers);
    let names: Vec<String> = (0..subscribers).map(name).collect();
    let frame = publication::encode(&names[0], &[b'x'; 128], 1 << 20).expect("a frame");
    bencher.counter(ItemsCount::new(subscribers)).bench_local(|| {
        names.iter().for_each(|topic| core.publish(topic, &frame));
        core.sweep()
    });
}

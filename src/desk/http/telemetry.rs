//! What the admin endpoints tell of: counters, pulses, and how far the server has come.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use prometheus_client::registry::Registry;

use crate::backend::BackendName;
use crate::desk::access::AccessCounters;
use crate::desk::access::callback::CallbackTelemetry;
use crate::desk::access::jwks::KeyTelemetry;
use crate::desk::access::workers::WorkerTelemetry;
use crate::engine::LoopCounters;
use crate::hub::HubCounters;
use crate::lane::{Depth, Wake};
use crate::logs::Losses;
use crate::pulse::Pulse;
use crate::shard::ShardCounters;

/// A turn that takes longer makes the server not ready: whoever can, should go elsewhere meanwhile.
pub const STALLED: Duration = Duration::from_secs(1);
/// A turn that takes longer will hardly end: whoever watches over the process should restart it.
pub const STUCK: Duration = Duration::from_secs(30);

/// How far the server has come.
#[derive(Debug, Default)]
pub struct Progress(AtomicU8);

const STARTING: u8 = 0;
const SERVING: u8 = 1;
const DRAINING: u8 = 2;

impl Progress {
    /// Every thread is there.
    pub fn serving(&self) {
        // Not back from draining: a signal may come before everything has started.
        let _ = self.0.compare_exchange(STARTING, SERVING, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The shutdown has begun.
    pub fn draining(&self) {
        self.0.store(DRAINING, Ordering::Relaxed);
    }

    /// Whether the shutdown has begun.
    pub fn is_draining(&self) -> bool {
        self.0.load(Ordering::Relaxed) == DRAINING
    }
}

/// One shard.
#[derive(Debug)]
pub struct ShardTelemetry {
    /// Its number, as a label.
    pub name: String,
    /// What it counts.
    pub counts: Arc<ShardCounters>,
    /// What the loop around it counts.
    pub around: Arc<LoopCounters>,
    /// The lane to it.
    pub lane: Depth,
    /// Wakes it.
    pub wake: Arc<Wake>,
}

/// Everything that the endpoints tell of.
#[derive(Debug)]
pub struct Telemetry {
    /// How far the server has come.
    pub progress: Arc<Progress>,
    /// Lines of the log that are missing from it.
    pub log: Arc<Losses>,
    /// What the hub counts.
    pub hub: Arc<HubCounters>,
    /// Wakes the hub.
    pub hub_wake: Arc<Wake>,
    /// What the shards and the hub run on.
    pub backend: BackendName,
    /// Brokers, by name, that clients may come without.
    pub ready_without: BTreeSet<String>,
    /// All shards.
    pub shards: Vec<ShardTelemetry>,
    /// What the desk counts of access, where somebody is asked.
    pub access: Option<Arc<AccessCounters>>,
    /// The workers, once they are there.
    pub workers: OnceLock<Arc<WorkerTelemetry>>,
    /// The callback, once it can be asked.
    pub callback: OnceLock<Arc<CallbackTelemetry>>,
    /// The keys of tokens, once they are to be fetched.
    pub keys: OnceLock<Arc<KeyTelemetry>>,
}

impl Telemetry {
    /// Tells of these workers, too.
    pub fn watch_workers(&self, workers: Arc<WorkerTelemetry>) {
        // There is one pool.
        let _ = self.workers.set(workers);
    }

    /// Tells of this callback, too.
    pub fn watch_callback(&self, callback: Arc<CallbackTelemetry>) {
        // There is one.
        let _ = self.callback.set(callback);
    }

    /// Tells of these keys, too.
    pub fn watch_keys(&self, keys: Arc<KeyTelemetry>) {
        // There is one set.
        let _ = self.keys.set(keys);
    }

    /// Whether clients should come here; if not, why.
    pub fn is_ready(&self, now: Instant) -> Result<(), String> {
        match self.progress.0.load(Ordering::Relaxed) {
            SERVING => {
                self.turns_within(STALLED, now)?;
                self.brokers_are_up()?;
                self.workers.get().map_or(Ok(()), |workers| workers.is_ready())?;
                self.callback.get().map_or(Ok(()), |callback| callback.is_ready(now))?;
                self.keys.get().map_or(Ok(()), |keys| keys.is_ready(now))
            }
            DRAINING => Err("the server is shutting down".to_owned()),
            _ => Err("the server is starting".to_owned()),
        }
    }

    /// Whether the process works at all; if not, why.
    pub fn is_alive(&self, now: Instant) -> Result<(), String> {
        self.turns_within(STUCK, now)
    }

    fn turns_within(&self, bound: Duration, now: Instant) -> Result<(), String> {
        match self.stuck(now).find(|(_, stuck)| *stuck > bound) {
            Some((name, stuck)) => {
                Err(format!("{name} has been stuck for {} ms", stuck.as_millis()))
            }
            None => Ok(()),
        }
    }

    /// How long each thread has been in one turn of its loop, or has overslept: has not come when
    /// it was called, or when it was due. Zero while it sleeps.
    pub(super) fn stuck(&self, now: Instant) -> impl Iterator<Item = (String, Duration)> {
        let threads = self.threads();
        threads.map(move |(name, pulse, wake)| {
            (name, pulse.busy_for(now).max(wake.unanswered_for(now)))
        })
    }

    fn threads(&self) -> impl Iterator<Item = (String, &Pulse, &Wake)> {
        let shards = self.shards.iter();
        let shards = shards.map(|of| (format!("shard-{}", of.name), &of.around.pulse, &*of.wake));
        std::iter::once(("hub".to_owned(), &self.hub.pulse, &*self.hub_wake)).chain(shards)
    }

    /// All metrics as OpenMetrics text.
    pub fn text(self: &Arc<Self>) -> String {
        let mut registry = Registry::with_prefix("roadcast");
        registry.register_collector(Box::new(self.clone()));
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &registry) {
            Ok(()) => text,
            // Writing to a string does not fail.
            Err(_) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::BrokerState;
    use crate::lane::lane;
    use crate::metrics::{Count, Shown};

    fn telemetry(shards: usize) -> Arc<Telemetry> {
        let shard = |number: usize| {
            let wake = Wake::new().unwrap();
            let (send, _) = lane::<u32>(4, 10, wake.clone(), Wake::new().unwrap());
            let lane = send.depth();
            ShardTelemetry {
                name: number.to_string(),
                counts: Arc::default(),
                around: Arc::default(),
                lane,
                wake,
            }
        };
        let shards = (0..shards).map(shard).collect();
        let (hub, hub_wake) = (Arc::new(HubCounters::new(["main"])), Wake::new().unwrap());
        Arc::new(Telemetry {
            progress: Arc::default(),
            log: Arc::default(),
            hub,
            hub_wake,
            backend: BackendName::Epoll,
            ready_without: BTreeSet::new(),
            shards,
            access: None,
            workers: OnceLock::new(),
            callback: OnceLock::new(),
            keys: OnceLock::new(),
        })
    }

    #[test]
    fn ready_while_serving_only() {
        let (telemetry, now) = (telemetry(2), Instant::now());
        assert!(telemetry.is_ready(now).unwrap_err().contains("starting"));
        telemetry.progress.serving();
        assert_eq!(telemetry.is_ready(now), Ok(()));
        telemetry.progress.draining();
        assert!(telemetry.is_ready(now).unwrap_err().contains("shutting down"));
        telemetry.progress.serving();
        assert!(telemetry.is_ready(now).is_err(), "a shutdown that came early is not forgotten");
        assert_eq!(telemetry.is_alive(now), Ok(()));
    }

    #[test]
    fn a_shard_or_hub_in_a_long_turn_is_named() {
        let (telemetry, now) = (telemetry(2), Instant::now());
        telemetry.progress.serving();
        for (name, pulse, _) in telemetry.threads() {
            pulse.beat(now);
            assert_eq!(telemetry.is_ready(now + STALLED / 2), Ok(()));
            let why = telemetry.is_ready(now + 2 * STALLED).unwrap_err();
            assert!(why.starts_with(&name) && why.contains("2000 ms"), "{why}");
            assert_eq!(telemetry.is_alive(now + STUCK / 2), Ok(()));
            assert!(telemetry.is_alive(now + 2 * STUCK).is_err());
            pulse.rest();
            assert_eq!(telemetry.is_ready(now + 2 * STUCK), Ok(()), "whoever sleeps is alive");
        }
    }

    #[test]
    fn not_ready_unless_all_brokers_are_up_but_those_that_one_can_do_without() {
        let mut telemetry = Arc::into_inner(telemetry(1)).unwrap();
        telemetry.progress.serving();
        let broker = telemetry.hub.by_broker[0].clone();
        for state in [BrokerState::Connecting, BrokerState::Resubscribing, BrokerState::Down] {
            broker.becomes(state, Some("refused"));
            let why = telemetry.is_ready(Instant::now()).unwrap_err();
            let expected = format!("broker main has been {} for 0 s: refused", state.name());
            assert_eq!(why, expected);
        }
        assert_eq!(telemetry.is_alive(Instant::now()), Ok(()), "no reason to restart");
        telemetry.ready_without.insert("main".to_owned());
        assert_eq!(telemetry.is_ready(Instant::now()), Ok(()));
        telemetry.ready_without.clear();
        broker.becomes(BrokerState::Up, None);
        assert_eq!(telemetry.is_ready(Instant::now()), Ok(()));
    }

    #[test]
    fn brokers_are_told_by_name() {
        let telemetry = telemetry(1);
        let broker = &telemetry.hub.by_broker[0];
        assert!(!telemetry.text().contains("broker_lag_seconds{"), "no probe has come back");
        broker.lag_us.set(1500);
        assert!(telemetry.text().contains("broker_lag_seconds{broker=\"main\"} 0.0015"));
        broker.becomes(BrokerState::Down, Some("refused"));
        assert!(!telemetry.text().contains("broker_lag_seconds{"), "it is down");
        broker.gaps.add(2);
        let text = telemetry.text();
        for line in [
            "roadcast_broker_state{broker=\"main\",state=\"up\"} 0",
            "roadcast_broker_state{broker=\"main\",state=\"down\"} 1",
            "roadcast_broker_state_seconds{broker=\"main\"} 0",
            "roadcast_broker_gaps_total{broker=\"main\"} 2",
            "roadcast_broker_channels{broker=\"main\"} 0",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_sleeper_that_does_not_come_when_called_is_named() {
        let telemetry = telemetry(2);
        telemetry.progress.serving();
        for (name, _, wake) in telemetry.threads() {
            wake.fall_asleep();
            assert_eq!(telemetry.is_ready(Instant::now() + 2 * STUCK), Ok(()), "nobody has called");
            wake.wake();
            assert_eq!(telemetry.is_ready(Instant::now()), Ok(()));
            let why = telemetry.is_ready(Instant::now() + 2 * STALLED).unwrap_err();
            assert!(why.starts_with(&name), "{why}");
            wake.stay_awake();
            assert_eq!(telemetry.is_ready(Instant::now() + 2 * STUCK), Ok(()));
        }
    }

    #[test]
    fn every_count_is_where_its_row_says() {
        fn shown<T>(counts: &'static [Count<T>]) -> impl Iterator<Item = (&'static str, Shown)> {
            counts.iter().map(|count| (count.field, count.shown))
        }
        let text = telemetry(1).text();
        let has = |name: &str, label: &str| {
            let named = |line: &&str| line.split(['{', ' ']).next() == Some(name);
            text.lines().filter(named).any(|line| line.contains(label))
        };
        let counts = shown(ShardCounters::COUNTS).chain(shown(LoopCounters::COUNTS));
        for (field, shown) in counts.chain(shown(HubCounters::COUNTS)) {
            let is_there = match shown {
                Shown::Counter(name) => has(&format!("roadcast_{name}_total"), ""),
                Shown::Gauge(name) => has(&format!("roadcast_{name}"), ""),
                Shown::Part(whole, part) => {
                    has(&format!("roadcast_{whole}_total"), &format!("=\"{part}\""))
                }
                Shown::LogOnly => field == "publications",
            };
            assert!(is_there, "{field}: {shown:?}");
        }
    }

    #[test]
    fn the_text_has_every_shard_and_ends_as_it_should() {
        let telemetry = telemetry(2);
        telemetry.shards[1].counts.joins.add(7);
        telemetry.shards[1].counts.closes.count(1013);
        telemetry.shards[1].counts.closes.count(4999);
        telemetry.hub.by_broker[0].publications.add(3);
        let text = telemetry.text();
        for line in [
            "# TYPE roadcast_joins counter",
            "roadcast_joins_total{shard=\"0\"} 0",
            "roadcast_joins_total{shard=\"1\"} 7",
            "roadcast_closes_total{shard=\"1\",code=\"1013\"} 1",
            "roadcast_closes_total{shard=\"1\",code=\"other\"} 1",
            "roadcast_publications_total{broker=\"main\",source=\"rpc\"} 3",
            "roadcast_ready 0",
            "roadcast_backend_info{backend=\"epoll\"} 1",
            "roadcast_lane_bytes{shard=\"0\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}

//! The suites: the cases that say where we stand.

use std::time::Duration;

use anyhow::Result;

use crate::case::{Case, FanOut, Work};
use crate::fleet::drive::Pace;
use crate::server::Spec;

/// Which cases, and how long each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Suite {
    /// The most telling cases, in under three minutes
    Short,
    /// All cases, nine rounds each
    Full,
    /// The cases that tell one revision from another
    Diff,
    /// Through Redis and NATS, against memory and others through Redis
    Brokers,
}

/// Everybody who fans out.
const ALL: &str = "roadcast,floor,uws,roadrunner,centrifugo";
/// Those who have no yardstick's excuses.
const SERVERS: &str = "roadcast,uws,roadrunner,centrifugo";
/// Those who keep an open loop's pace.
const FAST: &str = "roadcast,floor,uws";
/// One server with different numbers of subscribers, all at once. Each list fits a process of
/// 20,000 descriptors.
const SIZES: &str = "roadcast-100=roadcast:subscribers=100,roadcast-1000=roadcast:subscribers=1000,\
                     roadcast-10000=roadcast:subscribers=10000,uws-100=uws:subscribers=100,\
                     uws-1000=uws:subscribers=1000";
const UWS_SIZES: &str = "uws-1000=uws:subscribers=1000,uws-10000=uws:subscribers=10000";
const SHARDS: &str = "roadcast,roadcast-2-shards=roadcast:shards=2";

/// Through a broker, each with a server of its own.
const BROKERS: &str = "memory=roadcast,redis=roadcast:broker=redis,nats=roadcast:broker=nats,\
                       centrifugo-redis=centrifugo:broker=redis,roadrunner-redis=roadrunner:broker=redis";
/// Those who answer a publish.
const PUBLISHED: &str = "redis=roadcast:broker=redis,memory=roadcast,nats=roadcast:broker=nats,\
                         roadrunner-redis=roadrunner:broker=redis";
const OWN_TOPICS: &str = "memory=roadcast,redis=roadcast:broker=redis,nats=roadcast:broker=nats";

const UWS: &str = "uws";

impl Suite {
    /// Its cases. `old` and `new` are the servers of a diff.
    pub fn cases(self, spin: bool, diff: &[Spec]) -> Result<Vec<Case>> {
        let one = fanout(1000, 1, 128, Pace::InFlight(1));
        let many = fanout(1000, 1, 128, Pace::InFlight(64));
        let large = fanout(1000, 1, 16 * 1024, Pace::InFlight(1));
        let open = |rate| fanout(1000, 1, 128, Pace::Rate(rate));
        let unicast = |window| fanout(1000, 1000, 128, Pace::InFlight(window));
        let connect = Work::Connect { connections: 1000, window: 64 };
        let rpc = |subscribers| Work::Rpc { window: 256, payload: 128, subscribers };
        let idle = |connections, topics| Work::Idle { connections, topics };

        let mut cases = Cases { suite: self, spin, list: Vec::new() };
        match self {
            Self::Short => {
                cases.add("fanout-1", ALL, UWS, one.clone())?;
                cases.add("fanout-64", ALL, UWS, many)?;
                cases.add("open-1000", FAST, UWS, open(1000.0))?;
                cases.add("unicast-64", SERVERS, UWS, unicast(64))?;
                cases.add("connect", "roadcast,uws", UWS, connect)?;
                cases.add("rpc-0", "roadcast,bare-rpc", "bare-rpc", rpc(0))?;
                cases.add("idle", "roadcast,uws", UWS, idle(2000, 1))?;
                cases.add_veth("veth-fanout-1", FAST, UWS, one)?;
            }
            Self::Diff => {
                cases.add("fanout-1", "roadcast", "", one)?;
                cases.add("fanout-64", "roadcast", "", many)?;
                cases.add("open-1000", "roadcast", "", open(1000.0))?;
                cases.add("unicast-1", "roadcast", "", unicast(1))?;
                cases.add("unicast-64", "roadcast", "", unicast(64))?;
                cases.add("connect", "roadcast", "", connect)?;
                cases.add("rpc-0", "roadcast", "", rpc(0))?;
            }
            Self::Brokers => {
                cases.add("fanout-1", BROKERS, "memory", one)?;
                cases.add("fanout-64", BROKERS, "memory", many)?;
                cases.add("latency", BROKERS, "memory", fanout(1, 1, 128, Pace::InFlight(1)))?;
                cases.add("rpc-1", PUBLISHED, "redis", rpc(1))?;
                cases.add("idle-own-topics", OWN_TOPICS, "memory", idle(5_000, 5_000))?;
            }
            Self::Full => {
                cases.add("fanout-1", ALL, UWS, one.clone())?;
                cases.add("fanout-64", ALL, UWS, many.clone())?;
                cases.add("open-1000", FAST, UWS, open(1000.0))?;
                cases.add("open-4000", FAST, UWS, open(4000.0))?;
                cases.add("open-200", SERVERS, UWS, open(200.0))?;
                cases.add("fanout-16k", ALL, UWS, large.clone())?;
                cases.add(
                    "idle-one-topic",
                    &format!("{SHARDS},uws,roadrunner,centrifugo"),
                    UWS,
                    idle(10_000, 1),
                )?;
                cases.add("idle-own-topics", SERVERS, UWS, idle(10_000, 10_000))?;
                cases.add("connect", SERVERS, UWS, connect.clone())?;
                for window in [1, 64, 1024] {
                    cases.add(&format!("unicast-{window}"), ALL, UWS, unicast(window))?;
                }
                cases.add(
                    "topics-100",
                    SERVERS,
                    UWS,
                    fanout(1000, 100, 128, Pace::InFlight(64)),
                )?;
                for window in [1, 64] {
                    let work = fanout(0, 1, 128, Pace::InFlight(window));
                    cases.add(
                        &format!("subscribers-{window}"),
                        SIZES,
                        "roadcast-1000",
                        work.clone(),
                    )?;
                    cases.add(&format!("subscribers-{window}-uws"), UWS_SIZES, "uws-1000", work)?;
                }
                cases.add(
                    "fanout-6000-subscribers",
                    FAST,
                    UWS,
                    fanout(6000, 1, 128, Pace::InFlight(1)),
                )?;
                cases.add("shards-1", SHARDS, "roadcast", one.clone())?;
                cases.add("shards-64", SHARDS, "roadcast", many.clone())?;
                cases.add("rpc-0", "roadcast,bare-rpc,roadrunner", "bare-rpc", rpc(0))?;
                cases.add("rpc-1", "roadcast,bare-rpc,roadrunner", "bare-rpc", rpc(1))?;
                cases.add("mixed", SERVERS, UWS, with(many.clone(), |work| work.churn = 1000))?;
                // Enough bytes that who never reads lags behind for most of the rounds, without
                // being given up at once.
                let kib = fanout(1000, 1, 1024, Pace::Rate(200.0));
                cases.add(
                    "slow-readers",
                    SERVERS,
                    UWS,
                    with(kib, |work| work.slow_percent = 1.0),
                )?;
                cases.add_veth("veth-fanout-1", ALL, UWS, one)?;
                cases.add_veth("veth-fanout-64", ALL, UWS, many)?;
                cases.add_veth("veth-fanout-16k", FAST, UWS, large)?;
                cases.add_veth("veth-open-1000", FAST, UWS, open(1000.0))?;
                cases.add_veth("veth-unicast-64", SERVERS, UWS, unicast(64))?;
                cases.add_veth("veth-connect", "roadcast,uws", UWS, connect)?;
            }
        }
        if !diff.is_empty() {
            for case in &mut cases.list {
                case.servers = diff.to_vec();
                case.base = diff.first().map(|spec| spec.label.clone());
            }
        }
        Ok(cases.list)
    }

    fn rounds(self) -> (usize, Duration) {
        match self {
            Self::Short => (5, Duration::from_millis(500)),
            Self::Full => (9, Duration::from_secs(1)),
            Self::Diff => (15, Duration::from_millis(700)),
            Self::Brokers => (9, Duration::from_millis(700)),
        }
    }
}

struct Cases {
    suite: Suite,
    spin: bool,
    list: Vec<Case>,
}

impl Cases {
    fn add(&mut self, name: &str, servers: &str, base: &str, work: Work) -> Result<()> {
        self.add_on(name, servers, base, work, false)
    }

    fn add_veth(&mut self, name: &str, servers: &str, base: &str, work: Work) -> Result<()> {
        self.add_on(name, servers, base, work, true)
    }

    fn add_on(
        &mut self,
        name: &str,
        servers: &str,
        base: &str,
        work: Work,
        veth: bool,
    ) -> Result<()> {
        let (rounds, slice) = self.suite.rounds();
        // A round of idle connections takes long, and varies little.
        let rounds = if matches!(work, Work::Idle { .. }) { rounds.div_ceil(5) } else { rounds };
        let servers = servers.split(',').map(str::parse).collect::<Result<_>>()?;
        self.list.push(Case {
            name: name.to_owned(),
            question: format!("{work}{}", if veth { ", over a veth pair" } else { "" }),
            work,
            servers,
            base: Some(base.to_owned()),
            rounds,
            slice,
            spin: self.spin,
            veth,
        });
        Ok(())
    }
}

fn fanout(subscribers: usize, topics: u32, payload: usize, pace: Pace) -> Work {
    Work::FanOut(FanOut {
        subscribers,
        topics,
        publishers: 1,
        payload,
        pace,
        slow_percent: 0.0,
        churn: 0,
    })
}

fn with(mut work: Work, change: impl FnOnce(&mut FanOut)) -> Work {
    if let Work::FanOut(work) = &mut work {
        change(work);
    }
    work
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_names_servers_that_exist_and_bases_that_take_part() {
        for suite in [Suite::Short, Suite::Full, Suite::Brokers] {
            for case in suite.cases(false, &[]).unwrap() {
                assert!(
                    case.servers.iter().any(|spec| Some(&spec.label) == case.base.as_ref()),
                    "{}: {:?}",
                    case.name,
                    case.base
                );
            }
        }
    }

    #[test]
    fn a_diff_puts_two_revisions_to_every_case() {
        let diff: Vec<Spec> =
            ["old=roadcast:binary=/a", "new=roadcast"].map(|text| text.parse().unwrap()).into();
        for case in Suite::Diff.cases(false, &diff).unwrap() {
            assert_eq!((case.servers.len(), case.base.as_deref()), (2, Some("old")));
        }
    }
}

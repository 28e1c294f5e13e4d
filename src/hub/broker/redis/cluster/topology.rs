//! Which master serves what: asked of any node, again and again, and at once where something was at
//! another place than was thought.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::moving::Moving;
use super::slots::{SLOTS, Slots};
use super::{Cluster, Member, Mode, unserved};
use crate::hub::broker::backoff::{Backoff, random_fraction};
use crate::hub::broker::link::Address;
use crate::hub::broker::redis::connect::{
    Connected, Credentials, Server, Trouble, ask, connect, within,
};
use crate::hub::broker::redis::health::Phase;
use crate::hub::broker::redis::place::Place;
use crate::hub::broker::redis::settings::Sharded;
use crate::hub::broker::redis::topics::Released;
use crate::mesh::Unavailable;

/// Between two questions that nobody has asked for.
const EVERY: Duration = Duration::from_secs(5);
/// Between two questions at least: what moves takes its time.
const APART: Duration = Duration::from_millis(50);
/// The first Redis with sharded channels.
const SHARDED_SINCE: u32 = 7;

/// Asks as long as there is a broker.
pub(in crate::hub::broker::redis) async fn follow(cluster: Rc<Cluster>) {
    let settings = &cluster.common.settings;
    let mut backoff = Backoff::new(settings.min_retry_backoff.max(APART), EVERY);
    loop {
        match cluster.meanwhile(cluster.look()).await {
            Ok(()) => {
                cluster.common.started(Ok(()));
                backoff.connected(Instant::now());
            }
            Err(trouble) => {
                let why = trouble.clone().why();
                cluster.common.started(match trouble {
                    Trouble::Hopeless(why) => {
                        Err(format!("{}: {why}", cluster.common.named("Cluster")))
                    }
                    Trouble::Passing(_) => Ok(()),
                });
                if matches!(*cluster.mode.borrow(), Mode::Unknown) {
                    cluster.common.health.set(cluster.place, Phase::Down(why));
                }
                let pause = backoff.pause(Instant::now(), random_fraction());
                cluster.meanwhile(sleep(pause)).await;
                continue;
            }
        }
        if matches!(*cluster.mode.borrow(), Mode::Plain(_)) {
            return;
        }
        cluster.meanwhile(sleep(APART)).await;
        let _ = cluster.meanwhile(timeout(EVERY, cluster.stale.notified())).await;
    }
}

impl Cluster {
    /// Waits for something while what is due by time is done.
    async fn meanwhile<T>(&self, what: impl Future<Output = T>) -> T {
        let mut what = std::pin::pin!(what);
        loop {
            tokio::select! {
                found = &mut what => return found,
                () = sleep(APART) => {
                    let now = Instant::now();
                    self.homeless.borrow_mut().ask_nothing();
                    self.homeless.borrow_mut().end_lingering(now);
                    let overdue = self.homeless.borrow_mut().overdue(now);
                    for topic in overdue {
                        let wanted = self.common.inlet.unavailable(&topic, Unavailable::Late);
                        self.homeless.borrow_mut().turned_away(&topic, wanted, now);
                    }
                    self.common.inlet.wake_shards();
                    self.send_moved();
                }
            }
        }
    }

    /// Asks the first node that answers, and acts by what it says.
    async fn look(&self) -> Result<(), Trouble> {
        let mut problems = Vec::new();
        for address in self.nodes.all() {
            let trouble = match self.ask(&address).await {
                Ok((slots, server)) => {
                    self.nodes.learn(&slots.nodes);
                    return self.act(slots, &server).await;
                }
                Err(trouble) => trouble,
            };
            // The next look begins with another one.
            self.nodes.failed(&address);
            match trouble {
                // Once a node has answered, the settings are right: it is that node alone.
                Trouble::Hopeless(why) if matches!(*self.mode.borrow(), Mode::Unknown) => {
                    return Err(Trouble::Hopeless(format!("{address}: {why}")));
                }
                Trouble::Hopeless(why) | Trouble::Passing(why) => {
                    problems.push(format!("{address}: {why}"));
                }
            }
        }
        // They are asked in another order each time, which is no other reason.
        problems.sort();
        Err(Trouble::Passing(format!("no node of the Cluster answers ({})", problems.join("; "))))
    }

    async fn ask(&self, address: &Address) -> Result<(Slots, Server), Trouble> {
        let Connected { mut link, server, .. } = self.dial(address).await?;
        let asked = ask(&mut link, &[b"CLUSTER", b"SLOTS"], |answer| Slots::read(answer, address));
        let slots = within(&self.common.settings, asked).await?;
        let slots = slots.map_err(|why| match why.split(' ').next() {
            Some("NOPERM") => Trouble::Hopeless(format!("{why}: allow it CLUSTER SLOTS")),
            Some("ERR") => Trouble::Hopeless(format!(
                "this is no node of a Cluster ({why}): name one server in `addrs`, or, of \
                 Sentinels, say `master_name`"
            )),
            _ => Trouble::Passing(why),
        })?;
        if slots.masters.is_empty() {
            return Err(Trouble::Passing("it knows of no master that serves a slot".to_owned()));
        }
        Ok((slots, server))
    }

    async fn dial(&self, address: &Address) -> Result<Connected, Trouble> {
        let common = &self.common;
        let credentials = Credentials::of_server(&common.settings, 0);
        connect(&common.settings, common.tls.as_ref(), &credentials, address).await
    }

    /// The first time, chooses between plain and sharded channels.
    async fn act(&self, slots: Slots, server: &Server) -> Result<(), Trouble> {
        let is_first = matches!(*self.mode.borrow(), Mode::Unknown);
        if is_first && !self.choose(&slots, server).await? {
            let member = self.member(Place::Nodes(self.nodes.clone()), false);
            let homeless = self.homeless.borrow_mut().release(|_| false);
            adopt(&member, homeless);
            *self.mode.borrow_mut() = Mode::Plain(member);
            self.common.health.set(self.place, Phase::Up);
            return Ok(());
        }
        let served = (0..SLOTS as u16).filter(|slot| slots.home(*slot).is_some()).count();
        self.settle(slots);
        let phase = match SLOTS - served {
            0 => Phase::Up,
            unserved => Phase::Down(format!("no node of the Cluster serves {unserved} slots")),
        };
        self.common.health.set(self.place, phase);
        Ok(())
    }

    /// Whether channels are to be sharded.
    async fn choose(&self, slots: &Slots, server: &Server) -> Result<bool, Trouble> {
        let wanted = self.common.settings.sharded;
        if wanted == Sharded::No {
            return Ok(false);
        }
        let mut versions = vec![server.clone()];
        for master in &slots.masters {
            if let Ok(Connected { server, .. }) = self.dial(master).await {
                versions.push(server);
            }
        }
        match versions.iter().find(|server| major(&server.version) < SHARDED_SINCE) {
            None => Ok(true),
            Some(_) if wanted == Sharded::Auto => Ok(false),
            Some(old) => Err(Trouble::Hopeless(format!(
                "a node of the Cluster is {}, and sharded channels came with Redis 7.0: leave off \
                 `sharded`",
                old.version
            ))),
        }
    }

    /// Every topic and publication goes to where its slot is served now.
    fn settle(&self, slots: Slots) {
        let mut mode = self.mode.borrow_mut();
        if matches!(&*mode, Mode::Sharded(before, _) if *before == slots) {
            drop(mode);
            return self.send_moved();
        }
        let (before, mut members) = match std::mem::replace(&mut *mode, Mode::Unknown) {
            Mode::Sharded(before, members) => (Some(before), members),
            _ => (None, Vec::new()),
        };
        for master in &slots.masters {
            if !members.iter().any(|member| member.node.place.is_at(master)) {
                members.push(self.member(Place::Node(master.clone()), true));
            }
        }
        if let Some(before) = before {
            self.note_moving(&before, &slots, &members);
        }
        *mode = Mode::Sharded(slots, members);
        let Mode::Sharded(slots, members) = &mut *mode else { return };
        let is_homeless = |topic: &str| slots.home(self.slot(topic)).is_none();
        let mut released = self.homeless.borrow_mut().release(is_homeless);
        for member in members.iter() {
            let is_ours = |topic: &str| {
                slots.home(self.slot(topic)).is_some_and(|home| member.node.place.is_at(home))
            };
            released.extend(member.node.topics.borrow_mut().release(is_ours));
            let is_ours = |slot| slots.home(slot).is_some_and(|home| member.node.place.is_at(home));
            for kept in member.node.publisher.withdraw(is_ours) {
                let mut moving = self.moving.borrow_mut();
                let known = moving.entry(kept.slot);
                known.or_insert_with(|| Moving::new(member.node.clone())).give_back_behind(kept);
            }
            member.node.wake.notify_one();
        }
        self.take_back(members);
        // Those that serve nothing any more are let go.
        members.retain(|member| slots.masters.iter().any(|at| member.node.place.is_at(at)));
        let now = Instant::now();
        for topic in released {
            match mode.home(self.slot(&topic.name)) {
                Some(node) => {
                    node.topics.borrow_mut().adopt(topic, now);
                    node.wake.notify_one();
                }
                None => self.homeless.borrow_mut().adopt(topic, now),
            }
        }
        drop(mode);
        self.send_moved();
    }

    /// Publications of slots that have moved wait for those that the old master has yet to answer.
    fn note_moving(&self, before: &Slots, now: &Slots, members: &[Member]) {
        let mut moving = self.moving.borrow_mut();
        for slot in 0..SLOTS as u16 {
            let (from, to) = (before.home(slot), now.home(slot));
            if from == to || moving.contains_key(&slot) {
                continue;
            }
            let node = from.and_then(|from| members.iter().find(|m| m.node.place.is_at(from)));
            if let Some(Member { node, .. }) = node
                && node.publisher.pending_of(slot) > 0
            {
                moving.insert(slot, Moving::new(node.clone()));
            }
        }
    }

    /// Takes what masters have sent back.
    fn take_back(&self, members: &[Member]) {
        let mut moving = self.moving.borrow_mut();
        for member in members {
            for kept in member.node.publisher.take_returned() {
                let slot = kept.slot;
                let known = moving.entry(slot).or_insert_with(|| Moving::new(member.node.clone()));
                known.give_back(kept);
            }
        }
    }

    /// Takes what masters have sent back, and sends what may go by now.
    fn send_moved(&self) {
        let mode = self.mode.borrow();
        let Mode::Sharded(_, members) = &*mode else { return };
        self.take_back(members);
        let mut moving = self.moving.borrow_mut();
        let ready: Vec<u16> = moving
            .iter()
            .filter(|(slot, moving)| {
                let home = mode.home(**slot);
                let moved = home.is_some_and(|home| !Rc::ptr_eq(home, &moving.from));
                (moved || moving.may_try_again()) && moving.is_answered(**slot)
            })
            .map(|(slot, _)| *slot)
            .collect();
        for slot in ready {
            let (home, tries) = (mode.home(slot), self.common.settings.max_retries);
            for kept in moving.remove(&slot).into_iter().flat_map(Moving::into_order) {
                match home {
                    Some(home) => home.publisher.put_again(kept, tries),
                    // Whoever asked may have gone.
                    None => drop(kept.answer.send(Err(self.refuse(&unserved(slot))))),
                }
            }
        }
    }
}

fn adopt(member: &Member, topics: Vec<Released>) {
    let now = Instant::now();
    for topic in topics {
        member.node.topics.borrow_mut().adopt(topic, now);
    }
    member.node.wake.notify_one();
}

/// Of `redis 7.0.15`: 7.
fn major(version: &str) -> u32 {
    let number = version.rsplit(' ').next().and_then(|number| number.split('.').next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

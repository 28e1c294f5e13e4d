//! The end of a server's life: a drain, where there is one, and shutting down.

use std::time::Duration;

use rand::RngExt;
use roadcast::shard::Dropped;

use super::super::client::Ended;
use super::super::host::Host;
use super::World;

impl World {
    /// Everyone who is there is told goodbye one by one, while all goes on.
    fn drain(&mut self) {
        self.hub.book.goodbyes = true;
        // Up to when each has got everything is between it and its shard: what it has got is
        // without a gap.
        self.clients.iter_mut().for_each(|client| client.drained = true);
        let began = self.now;
        self.begin_shutdown();
        let all = self.hosts.len();
        while self.ending.shards_drained() < all
            && self.now < began + self.drain + Duration::from_millis(100)
        {
            self.act();
            self.step();
        }
        assert_eq!(self.ending.shards_drained(), all, "shards that have drained");
        for host in &self.hosts {
            let balance = host.shard().standing().balance;
            assert_eq!(
                balance.dropped(Dropped::Shutdown),
                0,
                "told before it was sent what was published"
            );
        }
    }

    /// The signal comes.
    fn begin_shutdown(&mut self) {
        let (now, drain) = (self.now, self.drain);
        self.hosts.iter_mut().for_each(|host| host.shutdown_began(now, drain));
        self.shutdown.begin(self.epoch + now);
    }

    pub(super) fn shut_down(&mut self) {
        self.hub.bus.borrow_mut().calm = false;
        if !self.drain.is_zero() {
            self.drain();
        } else if self.rng.random() {
            self.begin_shutdown();
        }
        self.hub.stop_accepting();
        // Who takes little cannot keep to the grace.
        self.hosts.iter_mut().for_each(|host| host.hurries = true);
        // What has been read is worked through, unless that takes too long.
        let deadline = self.now + self.grace.mul_f64([0.0, 0.1, 0.5][self.rng.random_range(0..3)]);
        while self.now < deadline && (self.hub.is_busy() || self.rng.random_bool(0.8)) {
            self.act();
            self.step();
        }
        self.hub.drain();
        for _ in 0..5_000 {
            self.step();
            if self.hosts.iter().all(Host::has_ended) {
                break;
            }
        }
        for host in &self.hosts {
            assert!(host.has_ended(), "the end does not come");
            assert_eq!(host.shard().connections(), 0);
            assert_eq!(host.counters.open.value(), 0);
            host.check_end();
        }
        assert_eq!(self.budget.open(), 0, "every connection is given back");
        self.come_to_rest();
        self.hub.check_complete();
        self.hub.close(&mut self.rng);
        self.check_gaps();
        for client in &self.clients {
            assert!(client.gone);
            if client.ended == Some(Ended::Close(Some(1001))) && client.drained {
                assert!(!self.drain.is_zero());
            } else if client.ended == Some(Ended::Close(Some(1001))) {
                client.check_complete(&self.hub.book, self.newest_dropped(client));
            } else {
                let left =
                    client.goodbye.is_some() || client.ended.is_some() || !client.is_upgraded();
                assert!(left || !client.is_steady(), "{client:?} has read no goodbye");
            }
        }
    }
}

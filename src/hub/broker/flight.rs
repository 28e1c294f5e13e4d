//! Publications on their way to a broker's server: given to a connection, in order, and not yet
//! answered; or held until there is one. Pure: the time is an argument.
//!
//! Invariants worth naming:
//! - **Whoever publishes is answered**, once: by the server, by the end of the connection, or by
//!   the end of patience.
//! - **What may have been published is never sent again.** A publication of which the last byte has
//!   been given to a connection that broke is in doubt, and its publisher is told so. Of any other
//!   no server knows.
//! - Bytes are bounded: [`Flight::has_room`] says no past [`FLIGHT_BYTES_MAX`], and whoever
//!   publishes waits; what is held is bounded by whoever holds it.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::hub::sequencer::{PublishError, Sent};

/// Bytes of publications to one server that have not been answered.
pub const FLIGHT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What a publication costs beside its bytes.
pub const ENTRY_BYTES: usize = 128;
/// Publications for which memory is kept once none is under way.
const KEPT: usize = 64;

type Done = oneshot::Sender<Result<(), PublishError>>;

/// See the module.
#[derive(Debug, Default)]
pub struct Flight {
    /// Oldest first.
    entries: VecDeque<Entry>,
    held: VecDeque<Held>,
    /// What the entries cost together.
    cost: usize,
    held_bytes: usize,
}

#[derive(Debug)]
struct Entry {
    /// What the server knows its topic by.
    name: Box<str>,
    /// Where its last byte stands in all that was ever queued to the connection.
    end: u64,
    cost: usize,
    /// `None`: answered already, out of order.
    done: Option<Done>,
}

#[derive(Debug)]
struct Held {
    name: Box<str>,
    payload: Box<[u8]>,
    since: Instant,
    done: Done,
}

impl Held {
    fn bytes(&self) -> usize {
        self.name.len() + self.payload.len()
    }
}

impl Flight {
    /// Whether another publication may be given to the connection.
    pub fn has_room(&self) -> bool {
        self.cost < FLIGHT_BYTES_MAX
    }

    /// Publications that have been given to the connection and not been answered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes that are held.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// A publication of so many bytes has been queued to the connection, up to `end`.
    pub fn push(&mut self, name: &str, bytes: usize, end: u64) -> Sent {
        let (done, sent) = oneshot::channel();
        self.enter(name.into(), bytes, end, done);
        sent
    }

    fn enter(&mut self, name: Box<str>, bytes: usize, end: u64, done: Done) {
        let cost = name.len() + bytes + ENTRY_BYTES;
        self.cost += cost;
        self.entries.push_back(Entry { name, end, cost, done: Some(done) });
    }

    /// Holds a publication until there is a connection.
    pub fn hold(&mut self, name: &str, payload: &[u8], now: Instant) -> Sent {
        let (done, sent) = oneshot::channel();
        let held = Held { name: name.into(), payload: payload.into(), since: now, done };
        self.held_bytes += held.bytes();
        self.held.push_back(held);
        sent
    }

    /// There is a connection: `queue` gives it what is held, name and payload, and says where that
    /// ends, or why it may not have it. Says how many it did not take.
    pub fn release(
        &mut self,
        mut queue: impl FnMut(&str, &[u8]) -> Result<u64, PublishError>,
    ) -> usize {
        let mut refused = 0;
        for Held { name, payload, done, .. } in std::mem::take(&mut self.held) {
            match queue(&name, &payload) {
                Ok(end) => self.enter(name, payload.len(), end, done),
                Err(error) => {
                    refused += 1;
                    let _ = done.send(Err(error));
                }
            }
        }
        self.held_bytes = 0;
        refused
    }

    /// What has been held for `patience` fails.
    pub fn expire(&mut self, now: Instant, patience: Duration, error: &PublishError) {
        while self.next_expiry(patience).is_some_and(|at| at <= now) {
            let Some(held) = self.held.pop_front() else { break };
            self.held_bytes -= held.bytes();
            let _ = held.done.send(Err(error.clone()));
        }
    }

    /// When [`Flight::expire`] is to be called next.
    pub fn next_expiry(&self, patience: Duration) -> Option<Instant> {
        self.held.front().map(|held| held.since + patience)
    }

    /// The oldest publication has been answered. Says whether that was news.
    pub fn settle(&mut self, result: Result<(), PublishError>) -> bool {
        let Some(entry) = self.entries.pop_front() else { return false };
        self.cost -= entry.cost;
        let is_news = entry.done.is_some();
        if let Some(done) = entry.done {
            // Whoever has gone is not told.
            let _ = done.send(result);
        }
        if self.entries.is_empty() {
            self.entries.shrink_to(KEPT);
        }
        is_news
    }

    /// One of this name among the oldest `among` fails. Looks from `from` on; says where to look
    /// from next, or that there is none.
    pub fn fail(
        &mut self,
        name: &str,
        from: usize,
        among: usize,
        error: PublishError,
    ) -> Option<usize> {
        let among = among.min(self.entries.len());
        let from = from.min(among);
        let place = (from..among).chain(0..from).find(|place| {
            let entry = &self.entries[*place];
            entry.done.is_some() && *entry.name == *name
        })?;
        if let Some(done) = self.entries[place].done.take() {
            let _ = done.send(Err(error));
        }
        Some(place + 1)
    }

    /// The connection has broken, which had been given `sent` bytes: what may have been published
    /// fails by `doubt`, the rest by `down`. Says how many of each.
    pub fn disconnected(
        &mut self,
        sent: u64,
        doubt: &PublishError,
        down: &PublishError,
    ) -> (usize, usize) {
        let (mut doubts, all) = (0, self.entries.len());
        while let Some(entry) = self.entries.front() {
            let in_doubt = entry.end <= sent;
            doubts += usize::from(in_doubt);
            self.settle(Err(if in_doubt { doubt } else { down }.clone()));
        }
        (doubts, all - doubts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn error(text: &str) -> PublishError {
        PublishError::Broker(text.to_owned())
    }

    fn answer(sent: &mut Sent) -> Option<Result<(), PublishError>> {
        sent.try_recv().ok()
    }

    #[test]
    fn publications_are_answered_in_order() {
        let mut flight = Flight::default();
        let mut sent = ["a", "b"].map(|name| flight.push(name, 3, 3));
        flight.settle(Ok(()));
        assert_eq!(answer(&mut sent[1]), None);
        flight.settle(Err(error("no")));
        assert_eq!(answer(&mut sent[0]), Some(Ok(())));
        assert_eq!(answer(&mut sent[1]), Some(Err(error("no"))));
        flight.settle(Ok(()));
        assert_eq!((flight.cost, flight.len()), (0, 0));
    }

    #[test]
    fn one_of_a_name_fails_and_those_beside_it_do_not() {
        let mut flight = Flight::default();
        let mut sent = ["a", "b", "a", "b"].map(|name| flight.push(name, 3, 3));
        let no = || error("no");
        assert_eq!(flight.fail("b", 0, 3, no()), Some(2));
        // The other one is not among these.
        assert_eq!(flight.fail("b", 2, 3, no()), None);
        assert_eq!(flight.fail("a", 2, 3, no()), Some(3));
        assert_eq!(flight.fail("a", 3, 3, no()), Some(1), "from the beginning again");
        let settled = (0..4).filter(|_| flight.settle(Ok(()))).count();
        assert_eq!(settled, 1, "three were answered before");
        let answers = sent.each_mut().map(|sent| answer(sent).unwrap().is_ok());
        assert_eq!(answers, [false, false, false, true]);
    }

    #[test]
    fn what_was_sent_whole_is_in_doubt_and_of_the_rest_nobody_knows() {
        let mut flight = Flight::default();
        let mut sent = [10, 20, 30].map(|end| flight.push("a", 10, end));
        let (doubt, down) = (error("in doubt"), error("down"));
        assert_eq!(flight.disconnected(20, &doubt, &down), (2, 1));
        let answers = sent.each_mut().map(|sent| answer(sent).unwrap().unwrap_err());
        assert_eq!(answers, [doubt.clone(), doubt, down]);
        assert_eq!(flight.cost, 0);
    }

    #[test]
    fn what_is_held_goes_to_the_next_connection_or_fails_when_patience_ends() {
        let (mut flight, now) = (Flight::default(), Instant::now());
        let mut first = flight.hold("a", b"<a>", now);
        let mut second = flight.hold("b", b"<bb>", now + PATIENCE / 2);
        assert_eq!((flight.held_bytes(), flight.next_expiry(PATIENCE)), (9, Some(now + PATIENCE)));
        flight.expire(now + PATIENCE, PATIENCE, &error("down"));
        assert_eq!(answer(&mut first), Some(Err(error("down"))));
        let mut out = Vec::new();
        let refused = flight.release(|name, payload| {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(payload);
            Ok(out.len() as u64)
        });
        assert_eq!(refused, 0);
        assert_eq!((out.as_slice(), flight.held_bytes(), flight.len()), (&b"b<bb>"[..], 0, 1));
        flight.settle(Ok(()));
        assert_eq!(answer(&mut second), Some(Ok(())));
    }

    #[test]
    fn what_is_held_and_a_connection_may_not_have_fails_alone() {
        let (mut flight, now) = (Flight::default(), Instant::now());
        let mut sent = ["a", "long", "b"].map(|text| flight.hold("t", text.as_bytes(), now));
        let refused = flight.release(|_, payload| match payload.len() {
            0..4 => Ok(payload.len() as u64),
            _ => Err(error("too long")),
        });
        assert_eq!((refused, flight.len(), flight.held_bytes()), (1, 2, 0));
        assert_eq!(answer(&mut sent[1]), Some(Err(error("too long"))));
        assert!((0..2).all(|_| flight.settle(Ok(()))));
        assert_eq!((answer(&mut sent[0]), answer(&mut sent[2])), (Some(Ok(())), Some(Ok(()))));
    }

    #[test]
    fn there_is_room_up_to_a_bound_in_bytes() {
        let mut flight = Flight::default();
        let mut taken = 0;
        while flight.has_room() {
            drop(flight.push("a", 100_000, 0));
            taken += 1;
        }
        assert_eq!(taken, FLIGHT_BYTES_MAX.div_ceil(100_000 + 1 + ENTRY_BYTES));
        flight.settle(Ok(()));
        assert!(flight.has_room());
    }
}

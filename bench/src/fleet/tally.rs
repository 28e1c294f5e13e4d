//! What has arrived at a fleet, and what went wrong with it.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::flight::{Delivery, Flight};
use crate::order::{Arrival, Order};
use crate::stamp::{MARK, STAMP_BYTES, Stamp};

/// What must not happen, counted.
#[derive(Clone, Copy, Debug, Default, Serialize, PartialEq, Eq)]
pub struct Faults {
    /// Deliveries that never came.
    pub lost: u64,
    /// Messages that came twice.
    pub doubled: u64,
    /// Messages that came after a later one of their topic.
    pub reordered: u64,
    /// Messages of another topic, cut short, or otherwise not as published.
    pub damaged: u64,
    /// Connections that the server closed.
    pub closed: u64,
}

impl Faults {
    /// Adds up.
    pub fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.reordered += other.reordered;
        self.damaged += other.damaged;
        self.closed += other.closed;
    }

    /// Whether nothing went wrong.
    pub fn none(self) -> bool {
        self == Self::default()
    }
}

/// Counts of one slice.
#[derive(Debug)]
pub struct Tally {
    /// Messages that subscribers received.
    pub deliveries: u64,
    /// Publications that have reached every subscriber.
    pub completed: u64,
    /// Calls that were answered, refused ones included.
    pub answered: u64,
    /// Of these, calls that were refused for want of room.
    pub refused: u64,
    /// What went wrong.
    pub faults: Faults,
    /// From the moment a publication was due to each of its arrivals, in ticks.
    pub latency: Histogram<u64>,
    /// From the moment a publication was due to the answer of its call, in ticks.
    pub answer_latency: Histogram<u64>,
    /// From an upgrade request to its answer, in ticks.
    pub upgrade_latency: Histogram<u64>,
    /// From a first join to its answer, in ticks.
    pub join_latency: Histogram<u64>,
    /// Where the last stamp stood in its envelope.
    mark_at: usize,
}

impl Default for Tally {
    fn default() -> Self {
        // Three digits, from a tick to a minute.
        #[expect(clippy::expect_used, reason = "constant and tested by every run")]
        let latency = Histogram::new_with_bounds(1, 600_000_000, 3).expect("bounds of a histogram");
        Self {
            deliveries: 0,
            completed: 0,
            answered: 0,
            refused: 0,
            faults: Faults::default(),
            answer_latency: latency.clone(),
            upgrade_latency: latency.clone(),
            join_latency: latency.clone(),
            latency,
            mark_at: 0,
        }
    }
}

/// How messages are counted in.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// Bytes of every payload.
    pub payload: usize,
    /// Whether every publication is known from its departure; else only the order tells what was
    /// lost.
    pub departures: bool,
}

impl Tally {
    /// Books the stamps of a message that came at `now`.
    #[inline]
    pub fn message(
        &mut self,
        message: &[u8],
        topic: u32,
        order: &mut Order,
        flight: &mut Flight,
        expected: Expected,
        now: u32,
    ) {
        let mut rest = message;
        // What is shorter than a stamp is an envelope's end.
        while rest.len() >= STAMP_BYTES {
            // Envelopes of one server are alike, so the last place is nearly always this one's.
            let at = match rest.get(self.mark_at) {
                Some(&MARK) => self.mark_at,
                _ => match memchr::memchr(MARK, rest) {
                    Some(at) => at,
                    None => return,
                },
            };
            self.mark_at = at;
            let Some(stamp) = Stamp::read(&rest[at..]) else {
                self.faults.damaged += 1;
                return;
            };
            // Behind the last byte of the payload its string ends, in every envelope.
            if rest.get(at + expected.payload) != Some(&b'"') {
                self.faults.damaged += 1;
                return;
            }
            rest = &rest[at + expected.payload..];
            self.deliveries += 1;
            let _ = self.latency.record(u64::from(now.wrapping_sub(stamp.due)));
            self.book(stamp, topic, order, flight, expected);
        }
    }

    #[inline]
    fn book(
        &mut self,
        stamp: Stamp,
        topic: u32,
        order: &mut Order,
        flight: &mut Flight,
        expected: Expected,
    ) {
        match order.arrive(stamp.sequence) {
            Arrival::InOrder => {}
            Arrival::Ahead(skipped) => {
                if !expected.departures {
                    self.faults.lost += u64::from(skipped);
                }
            }
            Arrival::Overtaken => {
                self.faults.reordered += 1;
                if !expected.departures {
                    self.faults.lost = self.faults.lost.saturating_sub(1);
                }
            }
            Arrival::Doubled => {
                self.faults.doubled += 1;
                return;
            }
        }
        if expected.departures {
            match flight.deliver(stamp.publication, topic) {
                Delivery::Counted => {}
                Delivery::Completed => self.completed += 1,
                Delivery::Unknown => self.faults.damaged += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOAD: usize = 40;

    fn envelope(publication: u32, sequence: u32) -> Vec<u8> {
        let mut payload = [crate::stamp::FILLER; PAYLOAD];
        Stamp { publication, sequence, due: 0 }.write(&mut payload);
        let mut message = br#"{"topic":"t00000","payload":""#.to_vec();
        message.extend_from_slice(&payload);
        message.extend_from_slice(br#""}"#);
        message
    }

    /// Publishes as many, and books what arrives of them: (publication and sequence) in that order.
    fn faults(published: u32, arrivals: &[u32], departures: bool) -> Faults {
        let (mut tally, mut flight) = (Tally::default(), Flight::new(64));
        let mut order = Order::starting_at(0);
        (0..published).for_each(|_| assert!(flight.depart(0, 1).is_some()));
        let expected = Expected { payload: PAYLOAD, departures };
        for &number in arrivals {
            tally.message(&envelope(number, number), 0, &mut order, &mut flight, expected, 0);
        }
        if departures {
            tally.faults.lost += flight.give_up();
        }
        tally.faults
    }

    #[test]
    fn nothing_wrong_is_found_where_nothing_is() {
        assert!(faults(4, &[0, 1, 2, 3], true).none());
        assert!(faults(4, &[0, 1, 2, 3], false).none());
    }

    #[test]
    fn lost_doubled_and_reordered_messages_are_counted() {
        let fine = Faults::default();
        assert_eq!(faults(4, &[0, 2, 3], true), Faults { lost: 1, ..fine });
        assert_eq!(faults(4, &[0, 1, 2], true), Faults { lost: 1, ..fine }, "the last one too");
        assert_eq!(faults(4, &[0, 1, 1, 2, 3], true), Faults { doubled: 1, ..fine });
        assert_eq!(faults(4, &[0, 2, 1, 3], true), Faults { reordered: 1, ..fine });
        // Without departures only a gap tells.
        assert_eq!(faults(4, &[0, 2, 3], false), Faults { lost: 1, ..fine });
        assert_eq!(faults(4, &[0, 2, 1, 3], false), Faults { reordered: 1, ..fine });
    }

    #[test]
    fn a_message_cut_short_or_of_another_topic_is_damaged() {
        let (mut tally, mut flight) = (Tally::default(), Flight::new(4));
        flight.depart(0, 2);
        let expected = Expected { payload: PAYLOAD, departures: true };
        let message = envelope(0, 0);
        for broken in [&message[..message.len() - 3], &message[..50]] {
            tally.message(broken, 0, &mut Order::default(), &mut flight, expected, 0);
        }
        assert_eq!((tally.faults.damaged, tally.deliveries), (2, 0));
        tally.message(&message, 1, &mut Order::default(), &mut flight, expected, 0);
        assert_eq!(tally.faults.damaged, 3);
    }

    #[test]
    fn several_messages_in_one_frame_are_all_booked() {
        let (mut tally, mut flight) = (Tally::default(), Flight::new(4));
        (0..3).for_each(|_| assert!(flight.depart(0, 1).is_some()));
        let frame = [envelope(0, 0), envelope(1, 1), envelope(2, 2)].join(&b'\n');
        let expected = Expected { payload: PAYLOAD, departures: true };
        tally.message(&frame, 0, &mut Order::starting_at(0), &mut flight, expected, 0);
        assert_eq!((tally.deliveries, tally.completed), (3, 3));
        assert!(tally.faults.none());
    }
}

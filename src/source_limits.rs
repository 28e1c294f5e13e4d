//! Limits per source address: connections at a time, and handshakes a second. Counted over all
//! shards, since the kernel spreads one address over all of them.
//!
//! Invariants:
//! - **The count of connections is exact**: an address is in the table from its first connection to
//!   its last, so the table has at most as many of these as there are connections.
//! - **What only a rate must remember is bounded**: an address without a connection stays for a
//!   second at most, and [`FADING_MAX`] of them in all. Past that it is forgotten at once: its next
//!   handshakes count anew.
//! - One short lock a connection that comes, one that goes. Nothing else ever looks at the table.
//!
//! Time is an argument, in milliseconds since about the server's start; shards may be some
//! milliseconds apart.

use std::collections::hash_map::{Entry as Place, RandomState};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU64;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Addresses without a connection that are remembered for the rate of their handshakes, in all:
/// some 5 MiB, by the sizes of the table and of the line.
pub const FADING_MAX: usize = STRIPES * FADING_PER_STRIPE;

const STRIPES: usize = 64;
const FADING_PER_STRIPE: usize = 1024;
/// Faded addresses that one call forgets at most. More than it can add, so that they get fewer.
const FORGET_PER_CALL: usize = 4;
/// A bucket is full again after this time, whatever its rate.
const REFILL_MS: u64 = 1000;
/// One handshake, in what buckets hold: a rate of one a second adds one of these units each
/// millisecond.
const HANDSHAKE: u32 = 1000;

/// Whom a connection is counted for: an IPv4 address, or the /64 of an IPv6 address, which is what
/// one subscriber gets.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source(NonZeroU64);

/// Marks an IPv4 address: no IPv6 source begins so (ff00::/8 is multicast).
const V4: u64 = 0xFFFF_FFFF_0000_0000;

impl Source {
    /// The source that an address belongs to; an IPv4 address may be written as an IPv6 one
    /// (`::ffff:192.0.2.1`).
    pub fn of(address: IpAddr) -> Self {
        let packed = match address.to_canonical() {
            IpAddr::V4(v4) => V4 | u64::from(v4.to_bits()),
            IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
        };
        // `::1` and its /64 stand at 1, which is nobody's.
        Self(NonZeroU64::new(packed).unwrap_or(NonZeroU64::MIN))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.get() {
            1 => f.write_str("::/64"),
            packed if packed & V4 == V4 => Ipv4Addr::from_bits(packed as u32).fmt(f),
            packed => write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(packed) << 64)),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({self})")
    }
}

/// What a source has too many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// Connections at a time: `roadcast.limits.connections_per_address`.
    Connections,
    /// Handshakes a second: `roadcast.limits.handshakes_per_address`.
    Handshakes,
}

impl Exceeded {
    /// The key of the limit.
    pub fn key(self) -> &'static str {
        match self {
            Self::Connections => "roadcast.limits.connections_per_address",
            Self::Handshakes => "roadcast.limits.handshakes_per_address",
        }
    }

    /// When it is worth trying again, in seconds. A connection ends when it ends: its number is a
    /// guess.
    pub fn retry_after_s(self) -> u32 {
        match self {
            Self::Connections => 10,
            Self::Handshakes => 1,
        }
    }
}

/// The limits, and what each source has by now. One value, shared by all shards.
#[derive(Debug)]
pub struct SourceLimits {
    /// 0 = any number.
    connections_max: u32,
    /// A second; 0 = any number. A burst may be as large.
    handshakes_max: u32,
    hasher: RandomState,
    stripes: Box<[Mutex<Stripe>]>,
}

#[derive(Debug, Default)]
struct Stripe {
    entries: HashMap<Source, Entry>,
    /// Those whose last connection ended, by when: each is looked at a second later. May name one
    /// that is gone.
    fading: VecDeque<(Source, u64)>,
}

#[derive(Debug)]
struct Entry {
    open: u32,
    /// What is left of the rate, in [`HANDSHAKE`]ths, as of `at_ms`.
    bucket: u32,
    at_ms: u64,
    /// In line to be forgotten.
    fades: bool,
}

impl SourceLimits {
    /// `None` where both limits are 0: nothing is counted then.
    pub fn new(connections_max: usize, handshakes_max: usize) -> Option<Self> {
        if connections_max == 0 && handshakes_max == 0 {
            return None;
        }
        Some(Self {
            connections_max: u32::try_from(connections_max).unwrap_or(u32::MAX),
            handshakes_max: u32::try_from(handshakes_max)
                .unwrap_or(u32::MAX)
                .min(u32::MAX / HANDSHAKE),
            hasher: RandomState::new(),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
        })
    }

    /// Counts a handshake and a connection more, if the limits allow both; else nothing.
    pub fn admit(&self, source: Source, now_ms: u64) -> Result<(), Exceeded> {
        let stripe = &mut *self.stripe(source);
        stripe.forget(now_ms, self.handshakes_max);
        let new =
            || Entry { open: 0, bucket: full(self.handshakes_max), at_ms: now_ms, fades: false };
        let entry = stripe.entries.entry(source).or_insert_with(new);
        if self.connections_max != 0 && entry.open >= self.connections_max {
            return Err(Exceeded::Connections);
        }
        if self.handshakes_max != 0 {
            entry.refill(now_ms, self.handshakes_max);
            entry.bucket = entry.bucket.checked_sub(HANDSHAKE).ok_or(Exceeded::Handshakes)?;
        }
        entry.open += 1;
        Ok(())
    }

    /// A connection that was admitted has ended. False: its source had to be forgotten before its
    /// time.
    pub fn ended(&self, source: Source, now_ms: u64) -> bool {
        let stripe = &mut *self.stripe(source);
        stripe.forget(now_ms, self.handshakes_max);
        let full_line = stripe.fading.len() >= FADING_PER_STRIPE;
        let Place::Occupied(mut place) = stripe.entries.entry(source) else {
            debug_assert!(false, "a connection that ends was admitted");
            return true;
        };
        let entry = place.get_mut();
        entry.open -= 1;
        if entry.open > 0 || entry.fades {
            return true;
        }
        let remembers = !entry.is_full(now_ms, self.handshakes_max);
        if remembers && !full_line {
            entry.fades = true;
            stripe.fading.push_back((source, now_ms));
            return true;
        }
        place.remove();
        stripe.give_back_memory();
        !remembers
    }

    /// Sources in the table.
    pub fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| locked(stripe).entries.len()).sum()
    }

    /// Whether nobody is in the table.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn stripe(&self, source: Source) -> MutexGuard<'_, Stripe> {
        locked(&self.stripes[self.hasher.hash_one(source) as usize % STRIPES])
    }
}

fn locked(stripe: &Mutex<Stripe>) -> MutexGuard<'_, Stripe> {
    // A panic ends the process; until then the numbers are as good as before.
    stripe.lock().unwrap_or_else(PoisonError::into_inner)
}

fn full(rate: u32) -> u32 {
    rate * HANDSHAKE
}

impl Stripe {
    /// Forgets a few of those who have had no connection for a second.
    fn forget(&mut self, now_ms: u64, rate: u32) {
        for _ in 0..FORGET_PER_CALL {
            let Some(&(source, since_ms)) = self.fading.front() else { return };
            if now_ms < since_ms + REFILL_MS {
                return;
            }
            self.fading.pop_front();
            let Place::Occupied(mut place) = self.entries.entry(source) else { continue };
            let entry = place.get_mut();
            if entry.open > 0 {
                entry.fades = false;
            } else if entry.is_full(now_ms, rate) {
                place.remove();
                self.give_back_memory();
            } else {
                self.fading.push_back((source, now_ms));
            }
        }
    }

    /// After a crowd has gone its room goes too, half of it at a time.
    fn give_back_memory(&mut self) {
        let (used, room) = (self.entries.len(), self.entries.capacity());
        if room > 1024 && used < room / 8 {
            self.entries.shrink_to(room / 2);
        }
    }
}

impl Entry {
    fn refill(&mut self, now_ms: u64, rate: u32) {
        // Another shard's time may be a little ahead; what it has given is not given again.
        let passed = now_ms.saturating_sub(self.at_ms).min(REFILL_MS) as u32;
        self.bucket = self.bucket.saturating_add(passed * rate).min(full(rate));
        self.at_ms = self.at_ms.max(now_ms);
    }

    fn is_full(&mut self, now_ms: u64, rate: u32) -> bool {
        self.refill(now_ms, rate);
        self.bucket >= full(rate)
    }
}

#[cfg(test)]
mod tests;

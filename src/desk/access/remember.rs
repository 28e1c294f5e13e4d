//! Verdicts that may be given again without asking: those that came with `Roadcast-Remember`. So
//! when everyone comes back at once, those who were just asked about are not asked about twice.
//!
//! A verdict is remembered for all that was asked: the whole context, less what is different at
//! every connection (`Sec-WebSocket-Key`). It is found by those very bytes, not by a hash of them.
//!
//! Bounded in bytes; past the bound the one that was remembered first is forgotten.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::access::Identity;

/// What one costs beyond its key: places in the table and in the line, and who it is.
const VERDICT_BYTES: usize = 192;

/// A 200 that may be given again.
#[derive(Clone, Debug)]
struct Remembered {
    identity: Identity,
    until: Instant,
    /// Its place in the line.
    number: u64,
    cost: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Remember {
    bytes_max: usize,
    bytes: usize,
    verdicts: HashMap<Arc<[u8]>, Remembered>,
    /// The oldest first; no other than these.
    line: BTreeMap<u64, Arc<[u8]>>,
    numbers: u64,
    cleared: u64,
}

impl Remember {
    /// Remembers at most so much.
    pub fn new(bytes_max: usize) -> Self {
        let (verdicts, line) = (HashMap::new(), BTreeMap::new());
        Self { bytes_max, bytes: 0, verdicts, line, numbers: 0, cleared: 0 }
    }

    /// Whether nothing is remembered, so that nobody need make a key.
    pub fn is_empty(&self) -> bool {
        self.verdicts.is_empty()
    }

    /// What was said when this was asked, if it holds still.
    pub fn find(&mut self, asked: &[u8], now: Instant) -> Option<Identity> {
        let verdict = self.verdicts.get(asked)?;
        if verdict.until > now {
            return Some(verdict.identity.clone());
        }
        self.forget(asked);
        None
    }

    /// Remembers for so long that this was allowed.
    pub fn add(&mut self, asked: Vec<u8>, identity: Identity, lasts: Duration, now: Instant) {
        let cost = VERDICT_BYTES + asked.len() + identity.cost();
        if cost > self.bytes_max || lasts.is_zero() {
            return;
        }
        let asked: Arc<[u8]> = asked.into();
        self.forget(&asked);
        while self.bytes + cost > self.bytes_max
            && let Some((_, oldest)) = self.line.pop_first()
        {
            self.forget(&oldest);
        }
        self.numbers += 1;
        let number = self.numbers;
        let until = now + lasts;
        self.bytes += cost;
        self.line.insert(number, asked.clone());
        self.verdicts.insert(asked, Remembered { identity, until, number, cost });
    }

    /// Forgets everything: who was asked may say something else from now on.
    pub fn clear(&mut self) {
        *self = Self { cleared: self.cleared + 1, ..Self::new(self.bytes_max) };
    }

    /// How often all was forgotten.
    pub fn cleared(&self) -> u64 {
        self.cleared
    }

    /// What is remembered costs so much.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn forget(&mut self, asked: &[u8]) {
        if let Some(verdict) = self.verdicts.remove(asked) {
            self.line.remove(&verdict.number);
            self.bytes -= verdict.cost;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(user: &str) -> Identity {
        Identity { user: Some(user.into()), ..Identity::default() }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_verdict_is_given_again_to_the_same_question_as_long_as_it_holds() {
        let (mut remember, now) = (Remember::new(1 << 20), Instant::now());
        remember.add(b"may a?".to_vec(), who("a"), MINUTE, now);
        assert_eq!(remember.find(b"may a?", now + MINUTE / 2), Some(who("a")));
        assert_eq!(remember.find(b"may b?", now), None);
        assert_eq!(remember.find(b"may a?", now + MINUTE), None);
        assert!(remember.is_empty() && remember.bytes() == 0);
    }

    #[test]
    fn past_its_bound_the_oldest_is_forgotten() {
        let mut remember = Remember::new(3 * (VERDICT_BYTES + 1 + 1));
        let now = Instant::now();
        for asked in ["1", "2", "3", "1", "4"] {
            remember.add(asked.into(), who(asked), MINUTE, now);
        }
        let known: Vec<_> =
            ["1", "2", "3", "4"].map(|asked| remember.find(asked.as_bytes(), now).is_some()).into();
        assert_eq!(known, [true, false, true, true], "the first was said anew");
        remember.add(vec![b'x'; 4096], who("x"), MINUTE, now);
        assert_eq!(remember.find(&[b'x'; 4096], now), None, "larger than all that may be kept");
    }

    #[test]
    fn what_is_forgotten_or_said_anew_is_held_nowhere() {
        let (mut remember, now) = (Remember::new(1 << 20), Instant::now());
        for at in 0..100_u8 {
            remember.add(vec![at; 100], who("a"), MINUTE, now);
        }
        for _ in 0..50 {
            remember.add(vec![0; 100], who("a"), MINUTE, now);
        }
        assert_eq!(remember.line.len(), 100, "a question that is kept costs its bytes");
        assert!((0..100_u8).all(|at| remember.find(&[at; 100], now + MINUTE).is_none()));
        assert!(remember.line.is_empty() && remember.bytes() == 0);
    }

    #[test]
    fn a_reset_forgets_all() {
        let (mut remember, now) = (Remember::new(1 << 20), Instant::now());
        remember.add(b"may a?".to_vec(), who("a"), MINUTE, now);
        remember.clear();
        assert_eq!((remember.find(b"may a?", now), remember.bytes()), (None, 0));
        assert_eq!(remember.cleared(), 1);
    }
}

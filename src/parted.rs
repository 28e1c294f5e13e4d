//! A hash table in parts. Each grows and shrinks by itself, so that no step costs more than one
//! part, however large the whole is; and memory goes back when what it was for has gone.

use hashbrown::HashTable;

const PARTS: usize = 64;

/// Room that a part keeps although it holds far less by now.
const KEPT: usize = 16;

/// Numbers by the hash of what they stand for, which lies elsewhere.
#[derive(Debug)]
pub struct Parted {
    parts: Vec<HashTable<u32>>,
}

impl Default for Parted {
    fn default() -> Self {
        Self { parts: (0..PARTS).map(|_| HashTable::new()).collect() }
    }
}

/// The table itself looks at the lowest and highest bits.
fn part(hash: u64) -> usize {
    (hash >> 40) as usize % PARTS
}

impl Parted {
    /// The number with this hash for which `is` holds.
    pub fn find(&self, hash: u64, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        self.parts[part(hash)].find(hash, |&number| is(number)).copied()
    }

    /// Adds a number that is not there. `hash_of` is asked for numbers that are there when the
    /// table grows.
    pub fn insert(&mut self, hash: u64, number: u32, hash_of: impl Fn(u32) -> u64) {
        self.parts[part(hash)].insert_unique(hash, number, |&number| hash_of(number));
    }

    /// Removes a number. `hash_of` is asked for the others when the table shrinks.
    pub fn remove(&mut self, hash: u64, number: u32, hash_of: impl Fn(u32) -> u64) {
        let part = &mut self.parts[part(hash)];
        if let Ok(entry) = part.find_entry(hash, |&named| named == number) {
            entry.remove();
        }
        // Paid for by the removals since it was twice as full.
        if part.capacity() > KEPT && part.len() < part.capacity() / 4 {
            part.shrink_to(part.len() * 2, |&number| hash_of(number));
        }
    }

    /// Numbers in it. For tests.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.parts.iter().map(HashTable::len).sum()
    }

    /// Numbers that it has room for. For tests.
    #[cfg(test)]
    fn capacity(&self) -> usize {
        self.parts.iter().map(HashTable::capacity).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::hash::{BuildHasher, RandomState};

    use super::*;

    #[test]
    fn numbers_are_found_room_goes_back_and_no_step_costs_more_than_a_part() {
        let hasher = RandomState::new();
        let steps = Cell::new(0);
        let hash_of = |number: u32| {
            steps.set(steps.get() + 1);
            hasher.hash_one(number)
        };
        let (mut table, mut most) = (Parted::default(), 0);
        let count = 100_000;
        for number in 0..count {
            steps.set(0);
            table.insert(hasher.hash_one(number), number, hash_of);
            most = most.max(steps.get());
        }
        let find =
            |table: &Parted, number| table.find(hasher.hash_one(number), |named| named == number);
        assert!((0..count).all(|number| find(&table, number) == Some(number)));
        assert_eq!(find(&table, count), None);
        for number in 0..count - 10 {
            steps.set(0);
            table.remove(hasher.hash_one(number), number, hash_of);
            most = most.max(steps.get());
        }
        assert!((0..count).all(|number| find(&table, number).is_some() == (number >= count - 10)));
        assert_eq!(table.len(), 10);
        assert!(table.capacity() <= PARTS * KEPT * 2, "{}", table.capacity());
        assert!(most < 4 * count as usize / PARTS, "{most} numbers were moved in one step");
    }
}

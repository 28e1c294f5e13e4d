//! The table of a shard's connections and topics, and of the hub's channels: values by small
//! numbers, in pages that go back to the system when they are empty.
//!
//! Invariants worth naming:
//! - **Memory follows what is there, not what was there once**: a new value takes a free place of
//!   the lowest page, so that the others empty; of the empty ones one is kept.
//! - **No step costs more than a page**: nothing is ever moved.
//! - **A number is not a value**: its place is used again, and no other value, in that place or
//!   another, has its generation (until 2^32 have come). So the generation tells age, too.
//!
//! [`Beside`] keeps what belongs to the values of a table elsewhere: a connection's socket.

use std::collections::BTreeSet;

/// A page has more bytes than this, and at most twice as many. More than `ring::memory` leaves to
/// the allocator's heaps, so that each is a mapping of its own; it costs memory only as far as it
/// has been written to.
const PAGE_BYTES: usize = 512 * 1024;

/// See the module.
#[derive(Debug)]
pub struct Table<T> {
    pages: Vec<Page<T>>,
    /// Pages with a free place.
    roomy: BTreeSet<u32>,
    len: usize,
    /// Of the next value, over all places.
    generation: u32,
    /// The memory of an empty page.
    spare: Vec<Entry<T>>,
}

#[derive(Debug)]
struct Page<T> {
    entries: Vec<Entry<T>>,
    used: u32,
    /// A free place among the entries; [`NONE`]: further ones have never been used.
    free: u32,
}

#[derive(Debug)]
enum Entry<T> {
    /// With the next free place of the page.
    Free(u32),
    Used(u32, T),
}

const NONE: u32 = u32::MAX;

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { pages: Vec::new(), roomy: BTreeSet::new(), len: 0, generation: 0, spare: Vec::new() }
    }
}

impl<T> Table<T> {
    /// Places of a page, as a power of two.
    const SHIFT: u32 = (PAGE_BYTES / size_of::<Entry<T>>()).ilog2() + 1;
    const PLACES: u32 = 1 << Self::SHIFT;

    /// Values in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes of a place.
    pub const PLACE_BYTES: usize = size_of::<Entry<T>>();

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes a place: which one, and the generation of its use.
    pub fn insert(&mut self, value: T) -> (u32, u32) {
        let number = self.roomy.first().copied().unwrap_or(self.pages.len() as u32);
        if number as usize == self.pages.len() {
            self.pages.push(Page { entries: Vec::new(), used: 0, free: NONE });
            self.roomy.insert(number);
        }
        let page = &mut self.pages[number as usize];
        if page.entries.capacity() == 0 {
            page.entries = std::mem::take(&mut self.spare);
            page.entries.reserve_exact(Self::PLACES as usize);
        }
        let generation = self.generation;
        self.generation = generation.wrapping_add(1);
        self.len += 1;
        page.used += 1;
        if page.used == Self::PLACES {
            self.roomy.remove(&number);
        }
        let place = page.free;
        let index = match page.entries.get_mut(place as usize) {
            Some(entry) => {
                if let Entry::Free(next) = std::mem::replace(entry, Entry::Used(generation, value))
                {
                    page.free = next;
                }
                number << Self::SHIFT | place
            }
            None => {
                page.entries.push(Entry::Used(generation, value));
                number << Self::SHIFT | (page.entries.len() as u32 - 1)
            }
        };
        (index, generation)
    }

    /// Frees a place that is in use.
    pub fn remove(&mut self, index: u32) -> T {
        let number = index >> Self::SHIFT;
        let page = &mut self.pages[number as usize];
        let place = index & (Self::PLACES - 1);
        let Entry::Used(_, value) =
            std::mem::replace(&mut page.entries[place as usize], Entry::Free(page.free))
        else {
            panic!("a place is freed once");
        };
        page.free = place;
        if page.used == Self::PLACES {
            self.roomy.insert(number);
        }
        page.used -= 1;
        self.len -= 1;
        if page.used == 0 {
            let mut entries = std::mem::take(&mut page.entries);
            page.free = NONE;
            entries.clear();
            self.spare = entries;
            while self.pages.pop_if(|page| page.used == 0).is_some() {
                self.roomy.remove(&(self.pages.len() as u32));
            }
        }
        value
    }

    /// The value at a place, if it is in use.
    #[inline]
    pub fn get(&self, index: u32) -> Option<&T> {
        let page = self.pages.get((index >> Self::SHIFT) as usize)?;
        match page.entries.get((index & (Self::PLACES - 1)) as usize)? {
            Entry::Used(_, value) => Some(value),
            Entry::Free(_) => None,
        }
    }

    #[inline]
    fn entry_mut(&mut self, index: u32) -> Option<(u32, &mut T)> {
        let page = self.pages.get_mut((index >> Self::SHIFT) as usize)?;
        match page.entries.get_mut((index & (Self::PLACES - 1)) as usize)? {
            Entry::Used(generation, value) => Some((*generation, value)),
            Entry::Free(_) => None,
        }
    }

    /// The value at a place that is known to be in use.
    #[inline]
    pub fn at(&self, index: u32) -> &T {
        self.get(index).expect("a place in use")
    }

    /// As [`Table::at`], to change it.
    #[inline]
    pub fn at_mut(&mut self, index: u32) -> &mut T {
        self.entry_mut(index).expect("a place in use").1
    }

    /// The value at a place, if it is still the one of this generation.
    #[inline]
    pub fn live(&mut self, index: u32, generation: u32) -> Option<&mut T> {
        self.entry_mut(index).filter(|(of, _)| *of == generation).map(|(_, value)| value)
    }

    /// The generation of the value at a place that is known to be in use.
    #[inline]
    pub fn generation(&self, index: u32) -> u32 {
        let page = &self.pages[(index >> Self::SHIFT) as usize];
        match &page.entries[(index & (Self::PLACES - 1)) as usize] {
            Entry::Used(generation, _) => *generation,
            Entry::Free(_) => panic!("a place in use"),
        }
    }

    /// How many values have come since the one of this generation.
    pub fn age(&self, generation: u32) -> u32 {
        self.generation.wrapping_sub(generation)
    }

    /// Every value with its place and generation.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32, &T)> {
        self.pages.iter().enumerate().flat_map(|(number, page)| {
            let first = (number as u32) << Self::SHIFT;
            page.entries.iter().zip(first..).filter_map(|(entry, index)| match entry {
                Entry::Used(generation, value) => Some((index, *generation, value)),
                Entry::Free(_) => None,
            })
        })
    }
}

/// Values beside those of a [`Table`], each for one use of its place there.
#[derive(Debug)]
pub struct Beside<T> {
    /// With the generation.
    places: Vec<(u32, Option<T>)>,
}

impl<T> Default for Beside<T> {
    fn default() -> Self {
        Self { places: Vec::new() }
    }
}

impl<T> Beside<T> {
    /// Bytes of a place.
    pub const PLACE_BYTES: usize = size_of::<(u32, Option<T>)>();

    /// Puts a value beside the one of this place and generation.
    pub fn insert(&mut self, index: u32, generation: u32, value: T) {
        let index = index as usize;
        if index >= self.places.len() {
            self.places.resize_with(index + 1, || (0, None));
        }
        debug_assert!(self.places[index].1.is_none(), "a place holds one value");
        self.places[index] = (generation, Some(value));
    }

    /// Takes the value out of its place.
    pub fn remove(&mut self, index: u32, generation: u32) -> Option<T> {
        let place = self.places.get_mut(index as usize)?;
        if place.0 == generation { place.1.take() } else { None }
    }

    /// The value, if it is there.
    #[inline]
    pub fn live(&self, index: u32, generation: u32) -> Option<&T> {
        let (of, value) = self.places.get(index as usize)?;
        value.as_ref().filter(|_| *of == generation)
    }

    /// As [`Beside::live`], to change it.
    #[inline]
    pub fn live_mut(&mut self, index: u32, generation: u32) -> Option<&mut T> {
        let (of, value) = self.places.get_mut(index as usize)?;
        value.as_mut().filter(|_| *of == generation)
    }

    /// The generation of the value at this place, if there is one.
    #[inline]
    pub fn generation(&self, index: u32) -> Option<u32> {
        let (generation, value) = self.places.get(index as usize)?;
        value.is_some().then_some(*generation)
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::HashMap;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Large, so that a page has few places.
    type Large = [u8; 100_000];

    fn pages_in_memory<T>(table: &Table<T>) -> usize {
        let held = table.pages.iter().filter(|page| page.entries.capacity() > 0).count();
        held + usize::from(table.spare.capacity() > 0)
    }

    #[test]
    fn values_are_found_as_in_a_map_and_a_later_one_in_the_same_place_is_told_apart() {
        for seed in 0..20 {
            let mut rng = StdRng::seed_from_u64(seed);
            let (mut table, mut model) = (Table::default(), HashMap::new());
            let (mut beside, mut gone) = (Beside::default(), Vec::new());
            for step in 0..3_000u32 {
                let value = (step, [0u8; 20_000]);
                if rng.random_bool(if step % 1_000 < 500 { 0.6 } else { 0.4 }) {
                    let (index, generation) = table.insert(value);
                    assert_eq!(table.generation(index), generation, "seed {seed}");
                    let taken = model.insert(index, (step, generation));
                    assert!(taken.is_none(), "seed {seed}");
                    // Not every value has one beside it.
                    if step % 3 > 0 {
                        beside.insert(index, generation, Box::new(step));
                    }
                } else if let Some(&index) = model.keys().min_by_key(|index| *index * 7 % 31) {
                    let (step, generation) = model.remove(&index).unwrap();
                    assert_eq!(table.remove(index).0, step, "seed {seed}");
                    let taken = beside.remove(index, generation);
                    assert_eq!(taken, (step % 3 > 0).then(|| Box::new(step)), "seed {seed}");
                    gone.push((index, generation));
                }
                assert_eq!((table.len(), table.is_empty()), (model.len(), model.is_empty()));
            }
            for (&index, &(step, generation)) in &model {
                assert_eq!(table.at(index).0, step);
                assert_eq!(table.live(index, generation).map(|value| value.0), Some(step));
                let expected = (step % 3 > 0).then(|| Box::new(step));
                assert_eq!(beside.live(index, generation), expected.as_ref());
                assert_eq!(beside.live_mut(index, generation), expected.clone().as_mut());
                assert_eq!(beside.generation(index), expected.map(|_| generation));
            }
            for (index, generation) in gone {
                assert!(table.live(index, generation).is_none(), "seed {seed}");
                assert!(beside.live(index, generation).is_none(), "seed {seed}");
                assert!(beside.live_mut(index, generation).is_none(), "seed {seed}");
                assert!(beside.remove(index, generation).is_none(), "seed {seed}");
            }
            let mut listed: Vec<_> =
                table.iter().map(|(at, of, value)| (at, of, value.0)).collect();
            // The oldest first: the order in which they came.
            listed.sort_unstable_by_key(|(_, generation, _)| Reverse(table.age(*generation)));
            let mut expected: Vec<_> =
                model.iter().map(|(at, (step, of))| (*at, *of, *step)).collect();
            expected.sort_unstable_by_key(|(_, _, step)| *step);
            assert_eq!(listed, expected, "seed {seed}");
        }
    }

    #[test]
    fn ages_are_told_apart_also_when_the_generations_begin_anew() {
        let mut table = Table { generation: u32::MAX, ..Table::default() };
        let (_, older) = table.insert('a');
        let (_, newer) = table.insert('b');
        assert!(table.age(older) > table.age(newer));
    }

    #[test]
    fn empty_pages_go_back_and_new_values_fill_the_lowest() {
        let mut table = Table::<Large>::default();
        let per_page = Table::<Large>::PLACES;
        let all: Vec<u32> = (0..10 * per_page).map(|_| table.insert([0; 100_000]).0).collect();
        assert_eq!(pages_in_memory(&table), 10);
        // One is left in the last page, and one in the first.
        for &index in &all[1..all.len() - 1] {
            table.remove(index);
        }
        assert_eq!(pages_in_memory(&table), 3, "two in use, one kept");
        let next: Vec<u32> = (1..per_page).map(|_| table.insert([0; 100_000]).0).collect();
        assert!(next.iter().all(|index| *index < per_page), "the first page is filled up");
        table.remove(all[all.len() - 1]);
        assert_eq!((table.pages.len(), pages_in_memory(&table)), (1, 2));
        next.iter().chain(&all[..1]).for_each(|&index| {
            table.remove(index);
        });
        assert_eq!((table.len(), table.pages.len(), pages_in_memory(&table)), (0, 0, 1));
    }
}

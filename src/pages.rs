//! A table of values by small numbers, as a slab, in pages that go back to the system when they are
//! empty.
//!
//! Invariants worth naming:
//! - **Memory follows what is there, not what was there once**: a new value takes a free place of
//!   the lowest page, so that the others empty; of the empty ones one is kept.
//! - **No step costs more than a page**: nothing is ever moved.
//! - **A number is not a value**: its place is used again, and no other value, in that place or
//!   another, has its generation (until 2^32 have come).

use std::collections::BTreeSet;

/// A page has more bytes than this, and at most twice as many. More than `ring::memory` leaves to
/// the allocator's heaps, so that each is a mapping of its own; it costs memory only as far as it
/// has been written to.
const PAGE_BYTES: usize = 512 * 1024;

/// See the module.
#[derive(Debug)]
pub struct Pages<T> {
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

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self { pages: Vec::new(), roomy: BTreeSet::new(), len: 0, generation: 0, spare: Vec::new() }
    }
}

impl<T> Pages<T> {
    /// Places of a page, as a power of two.
    const SHIFT: u32 = (PAGE_BYTES / size_of::<Entry<T>>()).ilog2() + 1;
    const PLACES: u32 = 1 << Self::SHIFT;

    /// Values in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Takes a place.
    pub fn insert(&mut self, value: T) -> u32 {
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
        match page.entries.get_mut(place as usize) {
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
        }
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

    /// As [`Pages::at`], to change it.
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

    /// Every value with its place.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.pages.iter().enumerate().flat_map(|(number, page)| {
            let first = (number as u32) << Self::SHIFT;
            page.entries.iter().zip(first..).filter_map(|(entry, index)| match entry {
                Entry::Used(_, value) => Some((index, value)),
                Entry::Free(_) => None,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Large, so that a page has few places.
    type Large = [u8; 100_000];

    fn pages_in_memory<T>(pages: &Pages<T>) -> usize {
        let held = pages.pages.iter().filter(|page| page.entries.capacity() > 0).count();
        held + usize::from(pages.spare.capacity() > 0)
    }

    #[test]
    fn values_are_found_as_in_a_map_and_a_later_one_in_the_same_place_is_told_apart() {
        for seed in 0..20 {
            let mut rng = StdRng::seed_from_u64(seed);
            let (mut pages, mut model) = (Pages::default(), HashMap::new());
            let mut gone = Vec::new();
            for step in 0..3_000u32 {
                let value = (step, [0u8; 20_000]);
                if rng.random_bool(if step % 1_000 < 500 { 0.6 } else { 0.4 }) {
                    let index = pages.insert(value);
                    assert!(
                        model.insert(index, (step, pages.generation(index))).is_none(),
                        "seed {seed}"
                    );
                } else if let Some(&index) = model.keys().min_by_key(|index| *index * 7 % 31) {
                    let (step, generation) = model.remove(&index).unwrap();
                    assert_eq!(pages.remove(index).0, step, "seed {seed}");
                    gone.push((index, generation));
                }
                assert_eq!(pages.len(), model.len());
            }
            for (index, (step, generation)) in &model {
                assert_eq!(pages.at(*index).0, *step);
                assert_eq!(pages.live(*index, *generation).map(|value| value.0), Some(*step));
            }
            assert!(
                gone.iter().all(|(index, generation)| pages.live(*index, *generation).is_none())
            );
            let mut listed: Vec<_> = pages.iter().map(|(index, value)| (index, value.0)).collect();
            listed.sort_unstable();
            let mut expected: Vec<_> =
                model.iter().map(|(index, (step, _))| (*index, *step)).collect();
            expected.sort_unstable();
            assert_eq!(listed, expected, "seed {seed}");
        }
    }

    #[test]
    fn empty_pages_go_back_and_new_values_fill_the_lowest() {
        let mut pages = Pages::<Large>::default();
        let per_page = Pages::<Large>::PLACES;
        let all: Vec<u32> = (0..10 * per_page).map(|_| pages.insert([0; 100_000])).collect();
        assert_eq!(pages_in_memory(&pages), 10);
        // One is left in the last page, and one in the first.
        for &index in &all[1..all.len() - 1] {
            pages.remove(index);
        }
        assert_eq!(pages_in_memory(&pages), 3, "two in use, one kept");
        let next: Vec<u32> = (1..per_page).map(|_| pages.insert([0; 100_000])).collect();
        assert!(next.iter().all(|index| *index < per_page), "the first page is filled up");
        pages.remove(all[all.len() - 1]);
        assert_eq!((pages.pages.len(), pages_in_memory(&pages)), (1, 2));
        next.iter().chain(&all[..1]).for_each(|&index| {
            pages.remove(index);
        });
        assert_eq!((pages.len(), pages.pages.len(), pages_in_memory(&pages)), (0, 0, 1));
    }
}

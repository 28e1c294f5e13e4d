//! Counters: each is written by one thread without a lock and read by any.

use std::sync::atomic::{AtomicU64, Ordering, fence};

/// A count with a single writer. Reading from elsewhere sees some recent value.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the thread that owns the counter may call it: two adders would lose counts.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Replaces the value, for what is measured rather than counted.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value by now.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Numbers that belong together: one thread publishes them as a whole, any reads them as a whole (a
/// sequence lock). Neither waits for a lock; the reader tries again when it was overtaken.
#[derive(Debug)]
pub struct Snapshot<const N: usize> {
    /// Odd while the numbers are being replaced.
    version: AtomicU64,
    numbers: [AtomicU64; N],
}

impl<const N: usize> Default for Snapshot<N> {
    fn default() -> Self {
        Self { version: AtomicU64::new(0), numbers: [const { AtomicU64::new(0) }; N] }
    }
}

/// Tries of a reader, giving way between them, before it takes what it has: the writer's thread
/// then stands still in the middle of a few stores.
const TRIES: u32 = 100_000;

impl<const N: usize> Snapshot<N> {
    /// Replaces the numbers. Only the thread that owns them may call it.
    #[inline]
    pub fn publish(&self, numbers: &[u64; N]) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        // The odd version is seen before any of the new numbers.
        fence(Ordering::Release);
        for (place, number) in self.numbers.iter().zip(numbers) {
            place.store(*number, Ordering::Relaxed);
        }
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }

    /// The numbers as last published.
    pub fn read(&self) -> [u64; N] {
        let mut numbers = [0; N];
        for _ in 0..TRIES {
            let before = self.version.load(Ordering::Acquire);
            for (number, place) in numbers.iter_mut().zip(&self.numbers) {
                *number = place.load(Ordering::Relaxed);
            }
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == before {
                break;
            }
            std::thread::yield_now();
        }
        numbers
    }
}

/// How a count is shown as a metric. The log shows all of them, by their fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// A counter of this name, without prefix and `_total`.
    Counter(&'static str),
    /// A number by now, of this name without prefix.
    Gauge(&'static str),
    /// A part of the counter of the first name; its label has the second as its value. What the
    /// whole counts, and the name of the label, stand in `desk/http/exposition.rs`.
    Part(&'static str, &'static str),
    /// In the log alone.
    LogOnly,
}

/// One of the counts of a `T`.
#[derive(Debug)]
pub struct Count<T: 'static> {
    /// Its field.
    pub field: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// How it is shown as a metric.
    pub shown: Shown,
    /// Its value by now.
    pub value: fn(&T) -> u64,
}

/// Declares a struct of [`Counter`]s. A row is all that is to be written of a count in code: what
/// it counts, its field, and how it is [`Shown`], such as
///
/// ```text
/// /// Pings sent.
/// pings: Counter("pings"),
/// /// Connections terminated for a missing pong.
/// pongs_missing: Part("connections_ended", "silent"),
/// ```
///
/// What stands in `also` has a type of its own.
macro_rules! counters {
    ($(#[$meta:meta])* $name:ident { $(
        $(#[doc = $doc:literal])+
        $field:ident: $shown:ident $(($($metric:literal),+))?,
    )* } $(also { $($(#[$also_doc:meta])* $also:ident: $type:ty,)* })?) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $field: $crate::metrics::Counter,)*
            $($($(#[$also_doc])* pub $also: $type,)*)?
        }

        impl $name {
            /// Every count, in the order of declaration.
            pub const COUNTS: &[$crate::metrics::Count<Self>] = &[$($crate::metrics::Count {
                field: stringify!($field),
                // Each line begins with the blank behind its slashes.
                help: concat!($($doc),+).trim_ascii_start(),
                shown: $crate::metrics::Shown::$shown $(($($metric),+))?,
                value: |counters| counters.$field.value(),
            },)*];

            /// Every count by its field, in the order of declaration.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
                Self::COUNTS.iter().map(|count| (count.field, (count.value)(self)))
            }
        }
    };
}
pub(crate) use counters;

/// Declares a struct of [`Counter`]s by a code out of a fixed set; all other codes are counted
/// together.
macro_rules! counters_by_code {
    ($(#[$meta:meta])* $name:ident [$($code:literal),* $(,)?]) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        pub struct $name([$crate::metrics::Counter; Self::CODES.len() + 1]);

        impl $name {
            const CODES: &[u16] = &[$($code),*];
            const NAMES: &[&str] = &[$(stringify!($code),)* "other"];

            /// Counts one.
            pub fn count(&self, code: u16) {
                let place = Self::CODES.iter().position(|known| *known == code);
                self.0[place.unwrap_or(Self::CODES.len())].add(1);
            }

            /// Every code with its count; `other` is the last.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
                Self::NAMES.iter().copied().zip(self.0.iter().map($crate::metrics::Counter::value))
            }
        }
    };
}
pub(crate) use counters_by_code;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_never_sees_half_of_what_was_published() {
        let snapshot = Snapshot::<8>::default();
        std::thread::scope(|scope| {
            let writing = scope.spawn(|| (1..=200_000).for_each(|n| snapshot.publish(&[n; 8])));
            let mut last = 0;
            while !writing.is_finished() {
                let numbers = snapshot.read();
                assert!(numbers.iter().all(|number| *number == numbers[0]), "{numbers:?}");
                assert!(numbers[0] >= last);
                last = numbers[0];
            }
        });
        assert_eq!(snapshot.read(), [200_000; 8]);
    }

    counters! {
        /// For the test.
        Things {
            /// Things done, over
            /// two lines.
            done: Counter("things_done"),
            /// Things left.
            left: Part("things", "left"),
        }
    }

    #[test]
    fn a_row_says_field_meaning_and_metric() {
        let things = Things::default();
        things.left.add(2);
        assert_eq!(things.each().collect::<Vec<_>>(), [("done", 0), ("left", 2)]);
        let [done, left] = Things::COUNTS else { panic!("two rows") };
        assert_eq!(
            (done.help, done.shown),
            ("Things done, over two lines.", Shown::Counter("things_done"))
        );
        assert_eq!(left.shown, Shown::Part("things", "left"));
    }

    counters_by_code! {
        /// For the test.
        Codes [3, 7]
    }

    #[test]
    fn codes_outside_the_set_are_counted_together() {
        let codes = Codes::default();
        [7, 8, 9, 7].into_iter().for_each(|code| codes.count(code));
        assert_eq!(codes.each().collect::<Vec<_>>(), [("3", 0), ("7", 2), ("other", 2)]);
    }
}

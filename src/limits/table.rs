//! What the table of limits is made of.

use std::time::Duration;

use super::Limits;

/// What stands behind a number in the table. Durations count in milliseconds.
// Written as people write them: `64 KiB`, `25 s`.
#[allow(non_upper_case_globals)]
pub mod units {
    /// 1024 bytes.
    pub const KiB: u64 = 1 << 10;
    /// 1024 KiB.
    pub const MiB: u64 = 1 << 20;
    /// 1024 MiB.
    pub const GiB: u64 = 1 << 30;
    /// A millisecond.
    pub const ms: u64 = 1;
    /// A second.
    pub const s: u64 = 1000 * ms;
    /// An hour.
    pub const h: u64 = 3600 * s;
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Things.
    Count,
    /// Bytes.
    Bytes,
    /// Time, in milliseconds.
    Duration,
}

/// The types of the fields, by the names of their [`Kind`].
pub(super) mod types {
    pub type Count = usize;
    pub type Bytes = usize;
    pub type Duration = std::time::Duration;
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// The field of [`Limits`].
    pub name: &'static str,
    /// Its path in the configuration.
    pub path: &'static str,
    /// What it counts.
    pub kind: Kind,
    /// The least that may be set.
    pub min: u64,
    /// The most that may be set.
    pub max: u64,
    /// What it is by default, as a configuration would say it.
    pub default: &'static str,
    /// One line for the documentation.
    pub doc: &'static str,
    /// What is held under it at worst, if it bounds the memory of all.
    pub held: Option<Held>,
    /// Its value.
    pub value: fn(&Limits) -> u64,
    /// Its place, to set it.
    pub field: fn(&mut Limits) -> Field<'_>,
}

/// The place of a limit.
#[derive(Debug)]
pub enum Field<'a> {
    /// Of a number of things or bytes.
    Number(&'a mut usize),
    /// Of a time.
    Duration(&'a mut Duration),
}

/// Bytes of memory that a queue of bytes may hold for each byte queued: it doubles as it grows.
pub const QUEUE_HOLDS: u64 = 2;

/// What is held at worst under a limit of bytes.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// What it is, for people.
    pub what: &'static str,
    /// Bytes of memory for each byte that the limit counts.
    pub times: u64,
    /// Whether each shard holds as much; otherwise it is held once.
    pub in_each_shard: bool,
    /// Whether it is held only where somebody is asked who may connect or join.
    pub where_asked: bool,
    /// Whether it is held only where publications of some topic are kept.
    pub where_kept: bool,
    /// Where the default follows the memory there is: what other limits ask of it at least.
    pub least: Option<fn(&Limits) -> usize>,
}

impl Held {
    pub(super) const fn once(what: &'static str) -> Self {
        let (in_each_shard, where_asked, where_kept) = (false, false, false);
        Self { what, times: 1, in_each_shard, where_asked, where_kept, least: None }
    }

    pub(super) const fn in_each_shard(what: &'static str) -> Self {
        Self { in_each_shard: true, ..Self::once(what) }
    }

    pub(super) const fn in_queues(self) -> Self {
        Self { times: QUEUE_HOLDS, ..self }
    }

    pub(super) const fn where_asked(self) -> Self {
        Self { where_asked: true, ..self }
    }

    pub(super) const fn where_kept(self) -> Self {
        Self { where_kept: true, ..self }
    }

    /// The default is lowered where memory is short, to no less than that.
    pub(super) const fn follows_memory_down_to(self, least: fn(&Limits) -> usize) -> Self {
        Self { least: Some(least), ..self }
    }
}

/// A type that limits have.
pub(super) trait Value: Sized {
    fn of(number: u64) -> Self;
    fn number(&self) -> u64;
    fn field(&mut self) -> Field<'_>;
}

impl Value for usize {
    fn of(number: u64) -> Self {
        number as Self
    }

    fn number(&self) -> u64 {
        *self as u64
    }

    fn field(&mut self) -> Field<'_> {
        Field::Number(self)
    }
}

impl Value for Duration {
    fn of(number: u64) -> Self {
        Self::from_millis(number)
    }

    fn number(&self) -> u64 {
        self.as_millis() as u64
    }

    fn field(&mut self) -> Field<'_> {
        Field::Duration(self)
    }
}

/// Declares the struct of limits, its defaults and its table. The head of `limits.rs` says how a
/// row is written.
macro_rules! limits {
    ($(#[$meta:meta])* $name:ident $(in $section:literal { $(
        $(#[doc = $doc:literal])+
        $field:ident:
            $kind:ident($min:literal $($min_unit:ident)? ..= $max:literal $($max_unit:ident)?)
            = $default:literal $($unit:ident)? $(=> $held:expr)?;
    )* })*) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $($($(#[doc = $doc])+ pub $field: table::types::$kind,)*)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($($field: table::Value::of($default $(* units::$unit)?),)*)* }
            }
        }

        impl $name {
            /// Every limit, in the order of the documentation.
            pub const TABLE: &[Limit] = &[$($(Limit {
                name: stringify!($field),
                path: concat!($section, stringify!($field)),
                kind: Kind::$kind,
                min: $min $(* units::$min_unit)?,
                max: $max $(* units::$max_unit)?,
                default: concat!($default $(, stringify!($unit))?),
                // Each line begins with the blank behind its slashes.
                doc: concat!($($doc),+).trim_ascii_start(),
                held: [$(Some($held),)? None][0],
                value: |limits| table::Value::number(&limits.$field),
                field: |limits| table::Value::field(&mut limits.$field),
            },)*)*];
        }
    };
}
pub(super) use limits;

//! How far a list keeps its room: until it is a quarter full.

use smallvec::{Array, SmallVec};

/// Room that a list keeps although it is far shorter by now.
pub(super) const KEPT: usize = 64;

/// Gives room back where something has been removed from `list`, and says whether it did. Paid for
/// by the removals since it was twice as long.
pub(super) fn shrink<A: Array>(list: &mut SmallVec<A>) -> bool {
    let shrinks = list.capacity() > KEPT && list.len() < list.capacity() / 4;
    if shrinks {
        list.grow(list.len() * 2);
    }
    shrinks
}

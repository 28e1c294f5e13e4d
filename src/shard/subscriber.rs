//! A connection within a topic: 16 bytes for each subscription, whatever it asked for.

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Subscriber {
    /// Publications of the topic up to which it has been served.
    pub position: u64,
    /// Slot of its connection.
    pub connection: u32,
    /// Where the connection's list of memberships names this topic, and above it the marks.
    place: u32,
}

/// What is to be done about a subscriber that may have missed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Mark {
    /// It asked to be told.
    Heeds = 1 << 31,
    /// Its turn has not come yet: see the module `gaps`.
    Due = 1 << 30,
    /// It is to be told as soon as its outbox has room.
    Owed = 1 << 29,
}

const PLACE: u32 = Mark::Owed as u32 - 1;

impl Subscriber {
    /// A connection that has been served up to `position`.
    pub fn new(position: u64, connection: u32, place: u32) -> Self {
        debug_assert!(place <= PLACE);
        Self { position, connection, place }
    }

    /// Where the connection's list of memberships names this topic.
    pub fn place(&self) -> u32 {
        self.place & PLACE
    }

    /// The connection's list has moved.
    pub fn set_place(&mut self, place: u32) {
        debug_assert!(place <= PLACE);
        self.place = (self.place & !PLACE) | place;
    }

    /// Whether it has a mark.
    pub fn has(&self, mark: Mark) -> bool {
        self.place & mark as u32 != 0
    }

    /// Gives it a mark, or takes it.
    pub fn set(&mut self, mark: Mark, has: bool) {
        self.place = (self.place & !(mark as u32)) | if has { mark as u32 } else { 0 };
    }
}

const _: () = assert!(size_of::<Subscriber>() == 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_place_are_told_apart() {
        let mut record = Subscriber::new(3, 5, PLACE);
        for mark in [Mark::Heeds, Mark::Due, Mark::Owed] {
            assert!(!record.has(mark));
            record.set(mark, true);
            assert!(record.has(mark) && record.place() == PLACE);
        }
        record.set_place(7);
        record.set(Mark::Due, false);
        assert!(record.has(Mark::Heeds) && !record.has(Mark::Due) && record.has(Mark::Owed));
        assert_eq!((record.position, record.connection, record.place()), (3, 5, 7));
    }
}

//! Publications under way: how many deliveries each still lacks.

/// One publication under way.
#[derive(Clone, Copy, Debug, Default)]
struct Pending {
    publication: u32,
    topic: u32,
    lacks: u32,
}

/// What a delivery was to its publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// One of several.
    Counted,
    /// The last: the publication has reached everybody.
    Completed,
    /// Of no publication under way, or of one to another topic.
    Unknown,
}

/// The publications under way to one server, found by their number.
#[derive(Debug)]
pub struct Flight {
    pending: Vec<Pending>,
    next: u32,
    deliveries: u64,
}

impl Flight {
    /// Room for at least `window` publications under way.
    pub fn new(window: usize) -> Self {
        Self {
            pending: vec![Pending::default(); window.next_power_of_two()],
            next: 0,
            deliveries: 0,
        }
    }

    fn place(&self, publication: u32) -> usize {
        publication as usize & (self.pending.len() - 1)
    }

    /// Takes the next number for a publication that lacks `deliveries`; `None` while its place is
    /// taken by one that is still under way.
    pub fn depart(&mut self, topic: u32, deliveries: u32) -> Option<u32> {
        let (publication, place) = (self.next, self.place(self.next));
        if self.pending[place].lacks > 0 {
            return None;
        }
        self.pending[place] = Pending { publication, topic, lacks: deliveries };
        self.next = publication.wrapping_add(1);
        self.deliveries += u64::from(deliveries);
        Some(publication)
    }

    /// Books a delivery.
    #[inline]
    pub fn deliver(&mut self, publication: u32, topic: u32) -> Delivery {
        let place = self.place(publication);
        let pending = &mut self.pending[place];
        if pending.publication != publication || pending.topic != topic || pending.lacks == 0 {
            return Delivery::Unknown;
        }
        pending.lacks -= 1;
        self.deliveries -= 1;
        if pending.lacks == 0 { Delivery::Completed } else { Delivery::Counted }
    }

    /// Takes a publication back that was refused. Some of it may have been delivered all the same:
    /// that is unknown then.
    pub fn cancel(&mut self, publication: u32) {
        let place = self.place(publication);
        let pending = &mut self.pending[place];
        if pending.publication == publication {
            self.deliveries -= u64::from(std::mem::take(&mut pending.lacks));
        }
    }

    /// Deliveries that are still to come.
    pub fn lacking(&self) -> u64 {
        self.deliveries
    }

    /// Gives up what is still to come, and says how many deliveries that was.
    pub fn give_up(&mut self) -> u64 {
        self.pending.iter_mut().for_each(|pending| pending.lacks = 0);
        std::mem::take(&mut self.deliveries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publication_completes_with_its_last_delivery() {
        let mut flight = Flight::new(2);
        let first = flight.depart(0, 2).unwrap();
        let second = flight.depart(1, 1).unwrap();
        assert_eq!(flight.depart(0, 1), None, "the window is full");
        assert_eq!(flight.deliver(first, 1), Delivery::Unknown, "another topic's");
        assert_eq!(flight.deliver(first, 0), Delivery::Counted);
        assert_eq!(flight.deliver(second, 1), Delivery::Completed);
        assert_eq!(flight.deliver(second, 1), Delivery::Unknown, "doubled");
        assert_eq!(flight.lacking(), 1);
        assert_eq!(flight.deliver(first, 0), Delivery::Completed);
        assert!(flight.depart(0, 1).is_some());
    }

    #[test]
    fn what_was_refused_is_not_expected() {
        let mut flight = Flight::new(4);
        let (first, second) = (flight.depart(0, 3).unwrap(), flight.depart(0, 3).unwrap());
        flight.cancel(first);
        assert_eq!(flight.lacking(), 3);
        assert_eq!(flight.deliver(first, 0), Delivery::Unknown, "a false refusal shows");
        assert_eq!(flight.deliver(second, 0), Delivery::Counted);
    }

    #[test]
    fn what_is_given_up_is_unknown_afterwards() {
        let mut flight = Flight::new(4);
        let publication = flight.depart(0, 3).unwrap();
        flight.deliver(publication, 0);
        assert_eq!(flight.give_up(), 2);
        assert_eq!(flight.deliver(publication, 0), Delivery::Unknown);
        assert_eq!(flight.lacking(), 0);
    }
}

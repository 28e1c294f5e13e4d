//! What one subscriber has seen of its topic: everything once and in order, or what went wrong.

/// What a message was to the order of its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The next one.
    InOrder,
    /// One that leaves out so many before it.
    Ahead(u32),
    /// One that an earlier arrival had overtaken.
    Overtaken,
    /// One that was there before.
    Doubled,
}

/// Sequences remembered as overtaken. More are taken for doubled when they come.
const OVERTAKEN_MAX: usize = 4096;

/// The order of one topic as one subscriber sees it.
#[derive(Debug, Default)]
pub struct Order {
    /// The sequence expected; `None` before the first message, whichever it is.
    next: Option<u32>,
    overtaken: Vec<u32>,
}

impl Order {
    /// Expects the topic from `next` on; [`Order::default`] takes what comes first.
    pub fn starting_at(next: u32) -> Self {
        Self { next: Some(next), overtaken: Vec::new() }
    }

    /// The sequence expected next, once one is known.
    pub fn next(&self) -> Option<u32> {
        self.next
    }

    /// Books a message.
    #[inline]
    pub fn arrive(&mut self, sequence: u32) -> Arrival {
        let next = self.next.unwrap_or(sequence);
        if sequence == next {
            self.next = Some(next.wrapping_add(1));
            return Arrival::InOrder;
        }
        self.arrive_out_of_order(sequence, next)
    }

    #[cold]
    fn arrive_out_of_order(&mut self, sequence: u32, next: u32) -> Arrival {
        let ahead = sequence.wrapping_sub(next);
        if ahead < u32::MAX / 2 {
            let room = OVERTAKEN_MAX.saturating_sub(self.overtaken.len());
            self.overtaken.extend((0..ahead).take(room).map(|skipped| next.wrapping_add(skipped)));
            self.next = Some(sequence.wrapping_add(1));
            return Arrival::Ahead(ahead);
        }
        match self.overtaken.iter().position(|&overtaken| overtaken == sequence) {
            Some(place) => {
                self.overtaken.swap_remove(place);
                Arrival::Overtaken
            }
            None => Arrival::Doubled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(sequences: &[u32]) -> Vec<Arrival> {
        let mut order = Order::starting_at(0);
        sequences.iter().map(|&sequence| order.arrive(sequence)).collect()
    }

    #[test]
    fn overtaken_and_doubled_are_told_apart() {
        use Arrival::*;
        assert_eq!(arrivals(&[0, 1, 2]), [InOrder; 3]);
        assert_eq!(arrivals(&[0, 2, 1, 3]), [InOrder, Ahead(1), Overtaken, InOrder]);
        assert_eq!(arrivals(&[0, 0, 1]), [InOrder, Doubled, InOrder]);
        assert_eq!(arrivals(&[2, 0, 0, 1]), [Ahead(2), Overtaken, Doubled, Overtaken]);
    }

    #[test]
    fn without_a_start_the_first_message_is_in_order() {
        let mut order = Order::default();
        assert_eq!(order.arrive(7), Arrival::InOrder);
        assert_eq!(order.arrive(9), Arrival::Ahead(1));
    }

    #[test]
    fn the_sequence_may_wrap() {
        let mut order = Order::starting_at(u32::MAX);
        assert_eq!(order.arrive(u32::MAX), Arrival::InOrder);
        assert_eq!(order.arrive(0), Arrival::InOrder);
        assert_eq!(order.arrive(u32::MAX), Arrival::Doubled);
    }
}

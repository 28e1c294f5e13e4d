//! The questions that wait for a worker: first come, first served, within bounds.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Weak;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::access::{AskFailed, Judged};

/// How often a question is put: a worker may end before it has answered.
pub const TRIES_MAX: u8 = 3;

/// Questions looked at for one that finds no room, so that none costs a walk through all: 64 such
/// go once round a queue of 16,384.
const LOOKS: usize = 256;

/// What becomes of a question.
pub type Answer = Result<Judged, AskFailed>;

/// One that waits.
#[derive(Debug)]
pub struct Question {
    /// Its place in the order; it keeps it when it has to be put again.
    pub number: u64,
    /// The JSON.
    pub context: Vec<u8>,
    /// How often it was put so far.
    pub tries: u8,
    /// When it came.
    pub since: Instant,
    answer: oneshot::Sender<Answer>,
    /// Dead once whom it is about has gone.
    waits: Option<Weak<()>>,
}

impl Question {
    /// Answers it, where somebody is still there to hear.
    pub fn answer(self, answer: Answer) {
        let _ = self.answer.send(answer);
    }

    /// Nobody waits for the answer any more.
    pub fn is_abandoned(&self) -> bool {
        let gone = |waits: &Weak<()>| waits.strong_count() == 0;
        self.answer.is_closed() || self.waits.as_ref().is_some_and(gone)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Queue {
    waiting: RefCell<Waiting>,
    /// One call for each question that comes.
    came: Notify,
    count_max: usize,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    by_number: BTreeMap<u64, Question>,
    bytes: usize,
    next: u64,
    /// Those before it have been looked at last, whether anybody still waits for them.
    looked: u64,
}

impl Queue {
    /// Holds so many questions, of so many bytes together.
    pub fn new(count_max: usize, bytes_max: usize) -> Self {
        Self { waiting: RefCell::default(), came: Notify::new(), count_max, bytes_max }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.borrow().by_number.len()
    }

    /// Lets a question wait: its number, and where its answer comes. `None`: the queue is full.
    pub fn push(
        &self,
        context: Vec<u8>,
        waits: Option<Weak<()>>,
    ) -> Option<(u64, oneshot::Receiver<Answer>)> {
        let mut waiting = self.waiting.borrow_mut();
        if !self.has_room(&waiting, context.len()) {
            // In the place of those whose clients have gone.
            waiting.look_at(LOOKS);
            if !self.has_room(&waiting, context.len()) {
                return None;
            }
        }
        let (answer, answered) = oneshot::channel();
        let number = waiting.next;
        waiting.next += 1;
        let since = Instant::now();
        waiting.enter(Question { number, context, tries: 0, since, answer, waits });
        drop(waiting);
        self.came.notify_one();
        Some((number, answered))
    }

    fn has_room(&self, waiting: &Waiting, bytes: usize) -> bool {
        waiting.by_number.len() < self.count_max && waiting.bytes + bytes <= self.bytes_max
    }

    /// Lets a question that no worker has answered wait again, in its old place.
    pub fn push_again(&self, question: Question) {
        self.waiting.borrow_mut().enter(question);
        self.came.notify_one();
    }

    /// Takes a question out, if it waits.
    pub fn remove(&self, number: u64) -> Option<Question> {
        self.waiting.borrow_mut().leave(number)
    }

    /// Takes the first one, once there is one. May be dropped at any time.
    pub async fn first(&self) -> Question {
        loop {
            let called = self.came.notified();
            if let Some(question) = self.pop() {
                return question;
            }
            called.await;
        }
    }

    fn pop(&self) -> Option<Question> {
        let mut waiting = self.waiting.borrow_mut();
        loop {
            let number = *waiting.by_number.first_key_value()?.0;
            let question = waiting.leave(number)?;
            if !question.is_abandoned() {
                return Some(question);
            }
        }
    }

    /// Refuses all that wait; how many.
    pub fn refuse_all(&self, why: &AskFailed) -> u64 {
        let mut refused = 0;
        while let Some(question) = self.pop() {
            question.answer(Err(why.clone()));
            refused += 1;
        }
        refused
    }
}

impl Waiting {
    fn enter(&mut self, question: Question) {
        self.bytes += question.context.len();
        self.by_number.insert(question.number, question);
    }

    fn leave(&mut self, number: u64) -> Option<Question> {
        let question = self.by_number.remove(&number)?;
        self.bytes -= question.context.len();
        Some(question)
    }

    /// Looks at the next `count` questions, going round, and lets those go that nobody waits for.
    fn look_at(&mut self, count: usize) {
        let rest = self.by_number.range(self.looked..).chain(self.by_number.range(..self.looked));
        let mut abandoned = Vec::new();
        let mut looked = self.looked;
        for (&number, question) in rest.take(count) {
            looked = number + 1;
            if question.is_abandoned() {
                abandoned.push(number);
            }
        }
        self.looked = looked;
        for number in abandoned {
            self.leave(number);
        }
    }
}

/// When a question that finds no room may come again: when those before it should be through.
pub fn retry_after_s(waiting: usize, workers: usize, answer: Duration) -> u32 {
    let rounds = waiting.div_ceil(workers.max(1)) as f64;
    // Longer is a guess about too much; shorter than a second cannot be said.
    (rounds * answer.as_secs_f64()).ceil().clamp(1.0, 30.0) as u32
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn context(of: &Question) -> &str {
        std::str::from_utf8(&of.context).unwrap()
    }

    #[tokio::test]
    async fn the_first_to_come_is_the_first_to_be_taken_also_when_it_is_put_again() {
        let queue = Queue::new(10, 100);
        let _waiting = ["a", "b", "c"].map(|text| queue.push(text.into(), None).unwrap());
        let (a, b) = (queue.first().await, queue.first().await);
        assert_eq!((context(&a), context(&b)), ("a", "b"));
        queue.push_again(b);
        queue.push_again(a);
        for expected in ["a", "b", "c"] {
            assert_eq!(context(&queue.first().await), expected);
        }
        assert_eq!(queue.len(), 0);
    }

    #[tokio::test]
    async fn both_bounds_hold_and_what_leaves_makes_room() {
        let queue = Queue::new(2, 100);
        let (number, _answered) = queue.push(vec![0; 60], None).unwrap();
        assert!(queue.push(vec![0; 41], None).is_none());
        let _second = queue.push(vec![0; 40], None).unwrap();
        assert!(queue.push(Vec::new(), None).is_none());
        assert!(queue.remove(number).is_some() && queue.remove(number).is_none());
        let _third = queue.push(vec![0; 60], None).unwrap();
        assert_eq!(queue.len(), 2);
    }

    #[tokio::test]
    async fn a_question_that_nobody_waits_for_is_not_put() {
        let queue = Queue::new(2, 100);
        drop(queue.push(b"a".into(), None));
        let (_, mut answered) = queue.push(b"b".into(), None).unwrap();
        let taken = queue.first().await;
        assert_eq!(context(&taken), "b");
        let failed = || Err(AskFailed::Busy { retry_after_s: 1 });
        taken.answer(failed());
        assert_eq!(answered.try_recv().unwrap(), failed());
    }

    #[tokio::test]
    async fn a_full_queue_takes_a_question_in_the_place_of_one_whose_client_has_gone() {
        let queue = Queue::new(1_000, 3_000);
        let (live, gone) = (Arc::new(()), Arc::new(()));
        let mut answered = Vec::new();
        for number in 0..1_000 {
            let who = if number < 600 { &live } else { &gone };
            answered.push(queue.push(vec![0; 3], Some(Arc::downgrade(who))).unwrap());
        }
        let mut push = || {
            let pushed = queue.push(vec![0; 3], Some(Arc::downgrade(&live)));
            pushed.map(|pushed| answered.push(pushed)).is_some()
        };
        assert!(!push(), "all are still there");
        drop(gone);
        // It looks at a part of them each time, from where it has looked last.
        assert_eq!([push(), push(), push()], [false, true, true]);
        assert_eq!((1..400).filter(|_| push()).count(), 398);
        assert!(!push() && queue.len() == 1_000);
        assert!(futures_poll(Box::pin(queue.first()).as_mut()).is_ready());
    }

    #[tokio::test]
    async fn whoever_waits_is_called_and_a_call_is_not_lost_when_it_has_gone() {
        let queue = Queue::new(9, 100);
        let (mut one, mut two) = (Box::pin(queue.first()), Box::pin(queue.first()));
        for waits in [&mut one, &mut two] {
            assert!(futures_poll(waits.as_mut()).is_pending());
        }
        let _answered = queue.push(b"a".into(), None);
        drop(one);
        assert_eq!(context(&two.await), "a");
    }

    fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
        future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }

    #[test]
    fn the_more_wait_the_later_to_come_again() {
        let ms = Duration::from_millis;
        let of = |waiting, workers, answer| retry_after_s(waiting, workers, answer);
        assert_eq!([of(0, 2, ms(1)), of(10_000, 2, ms(1)), of(10_000, 2, ms(50))], [1, 5, 30]);
        assert_eq!([of(9, 0, ms(500)), of(9, 4, ms(500))], [5, 2]);
    }
}

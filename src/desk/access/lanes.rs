//! The desk's ends of the lanes: questions come in, answers go out. What a lane has no room for
//! waits here; it is bounded as the questions under way are.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::unix::pipe;
use tokio::task::yield_now;

use crate::lane::{Receiver, Sender, Wake};
use crate::mesh::desk::{Ask, DeskEnd, Word};

/// Questions taken from one lane before others get their turn, and whatever else the desk does.
const TURN_ASKS: usize = 64;

/// Where answers go. Any task of the desk may have it.
#[derive(Debug)]
pub struct Words {
    shards: RefCell<Vec<ToShard>>,
}

#[derive(Debug)]
struct ToShard {
    lane: Sender<Word>,
    waiting: VecDeque<Word>,
}

/// Where questions come from.
pub struct Asks {
    lanes: Vec<Receiver<Ask>>,
    words: Rc<Words>,
    wake: Arc<Wake>,
    /// The eventfd, under the one safe type of tokio that takes any readable descriptor.
    eventfd: pipe::Receiver,
}

/// Both ends. Fails when the wake-up cannot be watched.
pub fn open(end: DeskEnd) -> io::Result<(Asks, Rc<Words>)> {
    let DeskEnd { asks, words, wake } = end;
    let shards = words.into_iter().map(|lane| ToShard { lane, waiting: VecDeque::new() });
    let words = Rc::new(Words { shards: RefCell::new(shards.collect()) });
    let eventfd = pipe::Receiver::from_owned_fd_unchecked(wake.as_fd().try_clone_to_owned()?)?;
    Ok((Asks { lanes: asks, words: words.clone(), wake, eventfd }, words))
}

impl Words {
    /// Says something to a shard.
    pub fn say(&self, shard: usize, word: Word) {
        let shard = &mut self.shards.borrow_mut()[shard];
        shard.waiting.push_back(word);
        shard.advance();
    }

    /// Moves on what waits for room.
    fn advance(&self) {
        self.shards.borrow_mut().iter_mut().for_each(ToShard::advance);
    }

    /// Asks to be woken when there is room for what waits. It must be looked for once more
    /// afterwards.
    fn want_room(&self) {
        let shards = self.shards.borrow();
        let waiting = shards.iter().filter(|shard| !shard.waiting.is_empty());
        waiting.for_each(|shard| shard.lane.want_room());
    }
}

impl ToShard {
    fn advance(&mut self) {
        let before = self.waiting.len();
        while let Some(word) = self.waiting.pop_front() {
            if let Err(word) = self.lane.push(0, word) {
                self.waiting.push_front(word);
                break;
            }
        }
        if self.waiting.len() < before {
            self.lane.wake();
        }
    }
}

impl Asks {
    /// Hands each question to `asked`, with the shard that asks. Runs for ever.
    pub async fn run(mut self, asked: impl Fn(usize, Ask)) {
        loop {
            self.words.advance();
            if self.take(&asked) {
                self.wake.stay_awake();
                yield_now().await;
                continue;
            }
            self.wake.fall_asleep();
            self.words.want_room();
            self.words.advance();
            if self.lanes.iter().any(|lane| !lane.is_empty()) {
                self.wake.stay_awake();
                continue;
            }
            // An error here is an error of the runtime; the lanes are looked at all the same.
            let _ = self.eventfd.readable().await;
            // Until it would block: only then does the runtime watch for the next one.
            while self.eventfd.try_read(&mut [0; 8]).is_ok() {}
            self.wake.stay_awake();
        }
    }

    /// Takes some. Says whether there were any.
    fn take(&mut self, asked: &impl Fn(usize, Ask)) -> bool {
        let mut taken = false;
        for (shard, lane) in self.lanes.iter_mut().enumerate() {
            for _ in 0..TURN_ASKS {
                let Some(ask) = lane.pop() else { break };
                asked(shard, ask);
                taken = true;
            }
        }
        taken
    }
}

//! The socket between a publisher and the hub: it delivers in pieces, takes answers as far as it
//! has room, and breaks.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use roadcast::hub::{Caller, Calls};

/// How the hub has ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// All has been read, and answered as far as the publisher reads.
    End,
    /// What was sent is no goridge.
    Violation,
    /// Answers could not be written any more.
    Broken,
}

/// Both directions.
pub struct Pipe {
    /// Sent by the publisher, not read.
    pub calls: Vec<u8>,
    /// Written by the hub, not read.
    pub answers: Vec<u8>,
    /// Bytes that the socket holds for the publisher.
    pub capacity: usize,
    /// The publisher has ended its direction.
    pub ended: bool,
    /// The publisher has reset the connection.
    pub reset: bool,
    pub closed: Option<Closed>,
    pub now: Duration,
    reader: Option<Waker>,
    writer: Option<Waker>,
    rng: SmallRng,
}

impl Pipe {
    pub fn new(rng: &mut SmallRng, capacity: usize) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            calls: Vec::new(),
            answers: Vec::new(),
            capacity,
            ended: false,
            reset: false,
            closed: None,
            now: Duration::ZERO,
            reader: None,
            writer: None,
            rng: SmallRng::seed_from_u64(rng.random()),
        }))
    }

    /// Something has changed: whoever waits shall look.
    pub fn wake(&mut self) {
        [self.reader.take(), self.writer.take()].into_iter().flatten().for_each(Waker::wake);
    }

    /// `None`: reset. No bytes: the end.
    fn read(&mut self, context: &Context<'_>) -> Poll<Option<Vec<u8>>> {
        if self.reset {
            return Poll::Ready(None);
        }
        if self.calls.is_empty() && !self.ended {
            self.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let most = [1, 5, 30, 400, 65_536, 65_536][self.rng.random_range(0..6)];
        let piece = self.calls.drain(..most.min(self.calls.len())).collect();
        Poll::Ready(Some(piece))
    }

    /// Takes what it has room for of `answers`, from `written` on.
    fn write(
        &mut self,
        answers: &[u8],
        written: &mut usize,
        deadline: &mut Duration,
        timeout: Duration,
        context: &Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let room = self.capacity.saturating_sub(self.answers.len()).min(answers.len() - *written);
        let taken = if self.rng.random_bool(0.2) { room.div_ceil(2) } else { room };
        if taken > 0 {
            self.answers.extend_from_slice(&answers[*written..*written + taken]);
            *written += taken;
            *deadline = self.now + timeout;
        }
        if *written == answers.len() && self.rng.random_bool(0.7) {
            return Poll::Ready(Ok(()));
        }
        if self.now >= *deadline {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.writer = Some(context.waker().clone());
        Poll::Pending
    }

    /// Whether a task waits for this end to read.
    pub fn is_full(&self) -> bool {
        self.writer.is_some()
    }
}

/// The hub's end.
#[derive(Clone)]
pub struct Socket(pub Rc<RefCell<Pipe>>);

impl Caller for Socket {
    async fn write_answers(
        &self,
        answers: Vec<u8>,
        timeout: Duration,
    ) -> (io::Result<()>, Vec<u8>) {
        let (mut written, mut deadline) = (0, self.0.borrow().now + timeout);
        let result = poll_fn(|context| {
            self.0.borrow_mut().write(&answers, &mut written, &mut deadline, timeout, context)
        });
        (result.await, answers)
    }

    async fn give_way(&self) {
        let mut given = false;
        poll_fn(|context| {
            if std::mem::replace(&mut given, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

/// The task of a connection: reads pieces and has their calls worked through.
pub async fn serve(mut calls: Calls<Socket>, socket: Socket) {
    let mut input = Vec::new();
    let closed = loop {
        match poll_fn(|context| socket.0.borrow_mut().read(context)).await {
            None => break Closed::Broken,
            Some(piece) if piece.is_empty() => break Closed::End,
            Some(piece) => input.extend_from_slice(&piece),
        }
        match calls.take(&input).await {
            Ok((consumed, Ok(_))) => drop(input.drain(..consumed)),
            Ok((_, Err(_))) => break Closed::Violation,
            Err(_) => break Closed::Broken,
        }
    };
    socket.0.borrow_mut().closed = Some(closed);
}

//! What a server sends to subscribers: the answer to the upgrade, replies, messages.

use anyhow::{Result, bail};
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::subscriber::{Stage, upgrade_answer};
use super::tally::Expected;
use super::{Fleet, SCRATCH_BYTES};
use crate::frame;
use crate::stamp::MARK;

impl Fleet {
    /// Deals with an event of the subscriber at `place`.
    pub(super) fn subscriber_event(
        &mut self,
        place: usize,
        flags: epoll::EventFlags,
    ) -> Result<()> {
        let Some(subscriber) = self.subscribers.get_mut(place) else { return Ok(()) };
        if subscriber.stage == Stage::Connecting && flags.contains(epoll::EventFlags::OUT) {
            subscriber.stage = Stage::Upgrading;
            subscriber.asked = self.clock.ticks();
            // A refused connection shows when it is read.
            let _ = subscriber.send(&self.upgrade);
        }
        let end = epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
        if !flags.intersects(epoll::EventFlags::IN | end) {
            return Ok(());
        }
        loop {
            let (received, room) = self.receive(place, usize::MAX)?;
            // An end comes without another edge.
            if received == 0 || (received < room && !flags.intersects(end)) {
                return Ok(());
            }
        }
    }

    /// Reads once, at most so many bytes, and deals with them. Says how many came, 0 if none or the
    /// end, and how many could have.
    pub(super) fn receive(&mut self, place: usize, bytes_max: usize) -> Result<(usize, usize)> {
        let subscriber = &mut self.subscribers[place];
        let Some(socket) = &subscriber.socket else { return Ok((0, 0)) };
        let kept = subscriber.partial.len();
        if self.scratch.len() < kept + SCRATCH_BYTES / 2 {
            self.scratch.resize(kept + SCRATCH_BYTES, 0);
        }
        self.scratch[..kept].copy_from_slice(&subscriber.partial);
        subscriber.partial.clear();
        let room = bytes_max.min(self.scratch.len() - kept);
        match recv(socket, &mut self.scratch[kept..kept + room], RecvFlags::empty()) {
            Ok((received @ 1.., _)) => {
                self.input(place, kept + received)?;
                return Ok((received, room));
            }
            Err(Errno::AGAIN) => {
                self.subscribers[place].partial.extend_from_slice(&self.scratch[..kept])
            }
            Ok(_) | Err(_) => self.ended(place)?,
        }
        Ok((0, room))
    }

    fn ended(&mut self, place: usize) -> Result<()> {
        let subscriber = &mut self.subscribers[place];
        match subscriber.stage {
            Stage::Closed => return Ok(()),
            Stage::Leaving | Stage::Left => {}
            Stage::Ready => self.audience[subscriber.topic as usize] -= 1,
            _ => self.pending -= 1,
        }
        self.tally.faults.closed += 1;
        subscriber.close(false);
        Ok(())
    }

    /// Reads the frames in the first `bytes` of the scratch, and keeps the head of the last.
    fn input(&mut self, place: usize, bytes: usize) -> Result<()> {
        let Self { scratch, subscribers, dialect, command, tally, flight, plan, clock, .. } = self;
        let subscriber = &mut subscribers[place];
        let input = &scratch[..bytes];
        let mut at = 0;
        let now = clock.ticks();
        let waited = u64::from(now.wrapping_sub(subscriber.asked));
        if subscriber.stage == Stage::Upgrading {
            match upgrade_answer(input)? {
                Some(head) => {
                    at = head;
                    let _ = tally.upgrade_latency.record(waited);
                    subscriber.stage = Stage::Joining;
                    subscriber.asked = now;
                    command.clear();
                    dialect.join(&self.topics[subscriber.topic as usize], command);
                    subscriber.send(command)?;
                }
                None => {
                    subscriber.partial.extend_from_slice(input);
                    return Ok(());
                }
            }
        }
        let expected = Expected { payload: plan.payload, departures: plan.publishers > 0 };
        loop {
            let frame = match frame::head(&input[at..]) {
                frame::Head::Frame(frame) => frame,
                frame::Head::Partial => break,
                frame::Head::Invalid => {
                    bail!("a frame that is none: {:?}", &input[at..input.len().min(at + 16)])
                }
            };
            at += frame.bytes;
            match (frame.opcode, subscriber.stage) {
                (frame::PING, _) => {
                    command.clear();
                    frame::encode_masked(command, frame::PONG, frame.payload);
                    if let Some(socket) = &subscriber.socket {
                        // A pong that finds no room is not missed: the next one will do.
                        let _ = send(socket, command, SendFlags::NOSIGNAL);
                    }
                }
                (frame::PONG, _) => {}
                (frame::CLOSE, _) => {
                    subscriber.close = Some(frame::close_code(frame.payload));
                    return self.ended(place);
                }
                (_, Stage::Ready) => {
                    let (topic, order) = (subscriber.topic, &mut subscriber.order);
                    tally.message(frame.payload, topic, order, flight, expected, now);
                }
                (_, stage) => {
                    let stamped = memchr::memchr(MARK, frame.payload).is_some();
                    // Some servers send a reply and what follows it in one frame.
                    let reply = match stage {
                        Stage::Joining => dialect.joined(frame.payload),
                        Stage::Leaving => dialect.left(frame.payload).then_some(true),
                        _ => None,
                    };
                    match (stage, reply) {
                        (Stage::Joining, Some(true)) => {
                            subscriber.stage = Stage::Ready;
                            let _ = tally.join_latency.record(waited);
                            self.pending -= 1;
                            self.audience[subscriber.topic as usize] += 1;
                        }
                        (Stage::Joining, Some(false)) => self.refused += 1,
                        (Stage::Leaving, Some(_)) => {
                            subscriber.stage = Stage::Left;
                            self.audience[subscriber.topic as usize] -= 1;
                        }
                        // Before its join is answered, and after its leave is, a subscriber gets
                        // nothing.
                        (Stage::Joining | Stage::Left, None) if stamped => {
                            tally.faults.damaged += 1
                        }
                        _ => {}
                    }
                    if stamped && matches!(subscriber.stage, Stage::Ready | Stage::Leaving) {
                        let (topic, order) = (subscriber.topic, &mut subscriber.order);
                        tally.message(frame.payload, topic, order, flight, expected, now);
                    }
                }
            }
        }
        subscriber.partial.extend_from_slice(&input[at..]);
        Ok(())
    }
}

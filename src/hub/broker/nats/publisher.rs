//! The connection that publishes.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

use super::session::{self, NoSession, Session, describe, said};
use super::shared::{Probe, Shared, Stands, Way};
use super::subscriber::LOOK;
use crate::hub::broker::backoff::{Backoff, random_fraction};
use crate::hub::broker::flight::Flight;
use crate::hub::broker::link::{Address, Outbound};
use crate::hub::broker::terms::PROBE;
use crate::hub::sequencer::{PublishError, Publishing, Sent};
use crate::nats::{self, Info, LINE_BYTES_MAX, PING, PONG, Refusal, Said};
use crate::publication::{Payload, TooLarge};
use crate::rpc::IN_DOUBT;

/// For which a connection to a server that is left waits for its last answers.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Takes a publication, in order.
pub(super) fn publish(shared: &Rc<Shared>, topic: &str, payload: &Payload<'_>) -> Publishing {
    let bytes_max = shared.terms.publication_bytes;
    if let Err(TooLarge { bytes }) = payload.frame_len(topic, bytes_max) {
        return Publishing::Now(Err(PublishError::TooLarge { bytes, bytes_max }));
    }
    let subject = match nats::subject(&shared.settings.prefix, topic) {
        Ok(subject) => subject,
        Err(error) => {
            let error = format!("cannot have the topic: {error}");
            let error = shared.over(&shared.address(), &error);
            return Publishing::Now(Err(error));
        }
    };
    let full = shared.waiting.get() > 0 || !shared.flight.borrow().has_room();
    if full && shared.is_up() {
        return wait(shared.clone(), subject, payload.bytes().into());
    }
    match give(shared, &subject, payload.bytes()) {
        Ok(sent) => Publishing::Sent(sent),
        Err(error) => Publishing::Now(Err(error)),
    }
}

/// Gives a publication to the connection, or holds it for the next one.
fn give(shared: &Shared, subject: &str, payload: &[u8]) -> Result<Sent, PublishError> {
    let mut flight = shared.flight.borrow_mut();
    let refused = |error| {
        shared.status.publish_errors.add(1);
        Err(error)
    };
    let way = shared.way.borrow();
    let Some(way) = way.as_ref().filter(|_| shared.is_up()) else {
        if flight.held_bytes() + subject.len() + payload.len() > shared.terms.buffer_bytes {
            return refused(shared.is_down());
        }
        shared.status.published_bytes.add(payload.len() as u64);
        shared.timers.notify_one();
        return Ok(flight.hold(subject, payload, Instant::now()));
    };
    // What came before goes first, also if it is up only since now.
    release(shared, &mut flight, way);
    shared.published.notify_one();
    let end = match queue(shared, way, subject, payload) {
        Ok(end) => end,
        Err(error) => return refused(error),
    };
    shared.status.published_bytes.add(payload.len() as u64);
    Ok(flight.push(subject, payload.len(), end))
}

/// Gives what is held to the connection.
fn release(shared: &Shared, flight: &mut Flight, way: &Way) {
    if flight.held_bytes() > 0 {
        let refused = flight.release(|subject, payload| queue(shared, way, subject, payload));
        shared.status.publish_errors.add(refused as u64);
    }
}

/// Queues a publication, and says where it ends. One that is too long would end the connection.
fn queue(shared: &Shared, way: &Way, subject: &str, payload: &[u8]) -> Result<u64, PublishError> {
    let (bytes, bytes_max) = (payload.len(), way.payload_bytes_max);
    if bytes > bytes_max {
        let error = format!(
            "takes payloads of {bytes_max} bytes at most (max_payload of the server), and this one \
             has {bytes}"
        );
        return Err(shared.over(&way.address, &error));
    }
    Ok(way.out.queue(|out| nats::publish(out, subject, payload)))
}

/// The connection is full: whoever publishes waits, first come, first served.
fn wait(shared: Rc<Shared>, subject: String, payload: Vec<u8>) -> Publishing {
    let (done, answer) = oneshot::channel();
    shared.waiting.set(shared.waiting.get() + 1);
    tokio::task::spawn_local(async move {
        loop {
            shared.room.notified().await;
            if shared.flight.borrow().has_room() {
                break;
            }
        }
        shared.waiting.set(shared.waiting.get() - 1);
        let given = give(&shared, &subject, &payload);
        drop((subject, payload));
        if shared.flight.borrow().has_room() {
            shared.room.notify_one();
        }
        let result = match given {
            Ok(sent) => sent.await.unwrap_or(Err(PublishError::ShuttingDown)),
            Err(error) => Err(error),
        };
        let _ = done.send(result);
    });
    Publishing::Later(Box::pin(async { answer.await.unwrap_or(Err(PublishError::ShuttingDown)) }))
}

/// Connects to where the subscriber is, publishes, and connects again, for ever.
pub(super) async fn run(shared: Rc<Shared>) {
    let settings = &shared.settings;
    let mut backoff = Backoff::new(settings.min_retry_backoff, settings.max_retry_backoff);
    loop {
        let home = shared.home.borrow().clone();
        let Some(server) = home else {
            shared.moved.notified().await;
            continue;
        };
        let name = format!("roadcast {} (publishes)", shared.name);
        match session::dial(&shared.settings, &shared.tls, &server, &name, 0).await {
            Ok(session) => {
                backoff.connected(Instant::now());
                let out = session.link.out().clone();
                let ended = serve(&shared, session).await;
                *shared.way.borrow_mut() = None;
                let stands = match ended {
                    Ok(()) => Stands::Coming,
                    Err(why) => Stands::Down(why),
                };
                end(&shared, &server.address, out.sent(), stands.clone());
                if stands == Stands::Coming {
                    continue;
                }
            }
            Err(NoSession::Away(why)) => {
                shared.publisher_fails(&server.address, why);
                shared.started(&server.address, Ok(()));
            }
            Err(NoSession::Hopeless(why)) => {
                shared.publisher_fails(&server.address, why.clone());
                shared.started(&server.address, Err(why));
            }
        }
        tokio::select! {
            () = sleep(backoff.pause(Instant::now(), random_fraction())) => {}
            () = shared.moved.notified() => {}
        }
    }
}

/// A connection has ended that had been given `sent` bytes.
fn end(shared: &Shared, address: &Address, sent: u64, stands: Stands) {
    let why = match stands {
        Stands::Down(why) => {
            shared.publisher_fails(address, why.clone());
            why
        }
        Stands::Coming | Stands::Up => {
            shared.publisher_stands(Stands::Coming);
            "the server is about to end".to_owned()
        }
    };
    let doubt = format!("went away before it answered ({why}): {IN_DOUBT}");
    let doubt = shared.error(address, &doubt);
    let (doubts, rest) = shared.flight.borrow_mut().disconnected(sent, &doubt, &shared.is_down());
    shared.status.publish_errors.add((doubts + rest) as u64);
    shared.room.notify_one();
}

struct Serving {
    session: Session,
    shared: Rc<Shared>,
    out: Outbound,
    /// For each PING under way, since when, and how many publications stand before it.
    asked: VecDeque<(Instant, usize)>,
    /// Publications that stand before some PING.
    asked_for: usize,
    /// Where to look for the next one that is refused.
    refused: usize,
    next_probe: Instant,
    next_look: Instant,
    /// The server lets us publish probes.
    probes: bool,
    probe: u64,
    /// What the server said last that was wrong.
    why: Option<String>,
    /// Since when another server is to be published to.
    leaving: Option<Instant>,
}

/// Ends with why the connection is of no use any more; with nothing when another server is to be
/// published to.
async fn serve(shared: &Rc<Shared>, session: Session) -> Result<(), String> {
    let out = session.link.out().clone();
    let way = Way {
        out: out.clone(),
        address: session.server.address.clone(),
        payload_bytes_max: session.info.payload_bytes_max(),
    };
    *shared.way.borrow_mut() = Some(way);
    shared.publisher_stands(Stands::Up);
    let mut serving = Serving {
        session,
        shared: shared.clone(),
        out,
        asked: VecDeque::new(),
        asked_for: 0,
        refused: 0,
        next_probe: Instant::now(),
        next_look: Instant::now() + LOOK,
        probes: true,
        probe: 0,
        why: None,
        leaving: None,
    };
    let ended = serving.run().await;
    ended.map_err(|why| serving.why.take().unwrap_or(why))
}

impl Serving {
    async fn run(&mut self) -> Result<(), String> {
        let shared = self.shared.clone();
        loop {
            let now = Instant::now();
            if self.is_left(now) {
                return Ok(());
            }
            self.send(now);
            tokio::select! {
                biased;
                () = shared.published.notified() => continue,
                () = shared.moved.notified() => continue,
                read = self.session.link.read(2 * LINE_BYTES_MAX) => {
                    read.map_err(|error| describe(&error))?;
                }
                () = sleep_until(self.next_look) => {
                    self.look(Instant::now())?;
                    continue;
                }
            }
            self.hear()?;
            self.look(Instant::now())?;
            shared.terms.runtime.give_way().await;
        }
    }

    /// Whether another server is to be published to, and this one has nothing more to say.
    fn is_left(&mut self, now: Instant) -> bool {
        let home = self.shared.home.borrow();
        let here = home.as_ref().map(|home| home.address == self.session.server.address);
        if here != Some(false) {
            self.leaving = None;
            if here.is_some() {
                self.shared.publisher_stands(Stands::Up);
            }
            return false;
        }
        // What is published from here on waits for the other one.
        self.shared.publisher_stands(Stands::Coming);
        let since = *self.leaving.get_or_insert(now);
        self.shared.flight.borrow().len() == 0 || now.duration_since(since) > LAST_ANSWERS
    }

    /// What has been held, a PING behind what was published since the last one, a probe.
    fn send(&mut self, now: Instant) {
        let mut flight = self.shared.flight.borrow_mut();
        if self.shared.is_up()
            && let Some(way) = &*self.shared.way.borrow()
        {
            release(&self.shared, &mut flight, way);
        }
        let new = flight.len() - self.asked_for;
        let probes = self.next_probe <= now;
        if probes {
            self.next_probe = now + PROBE;
            if self.probes {
                self.probe += 1;
                let number = self.probe.to_string();
                let subject = &self.shared.probe_subject;
                self.out.queue(|out| nats::publish(out, subject, number.as_bytes()));
                self.shared.probe.set(Some(Probe { number: self.probe, sent: now }));
            }
        }
        if new > 0 || probes {
            self.out.queue(|out| out.extend_from_slice(PING));
            self.asked.push_back((now, new));
            self.asked_for += new;
        }
    }

    /// Whether the server is there. Asked behind what it said, now and then.
    fn look(&mut self, now: Instant) -> Result<(), String> {
        if now < self.next_look {
            return Ok(());
        }
        self.next_look = now + LOOK;
        let asked = self.asked.front().map(|(at, _)| *at);
        self.session.is_silent(&self.shared.settings, asked, now)
    }

    /// Works through what has come.
    fn hear(&mut self) -> Result<(), String> {
        loop {
            let heard = self.session.decoder.next(self.session.link.bytes());
            let (bytes, heard) = heard.map_err(|error| error.to_string())?;
            match heard {
                None if bytes == 0 => break,
                None | Some(Said::Ok | Said::Message { .. } | Said::TooLong { .. }) => {}
                Some(Said::Ping) => drop(self.out.queue(|out| out.extend_from_slice(PONG))),
                Some(Said::Pong) => self.answered(),
                Some(Said::Info(json)) => {
                    if let (Some(info), Some(way)) =
                        (Info::parse(json), self.shared.way.borrow_mut().as_mut())
                    {
                        way.payload_bytes_max = info.payload_bytes_max();
                    }
                }
                Some(Said::Error(text)) => {
                    let (about, text) = (Refusal::of(text), said(text));
                    self.is_refused(about, text);
                }
            }
            self.session.link.consume(bytes);
        }
        Ok(())
    }

    /// All that stands before the oldest PING is published, but what was refused.
    fn answered(&mut self) {
        let Some((_, publications)) = self.asked.pop_front() else { return };
        let mut flight = self.shared.flight.borrow_mut();
        let taken = (0..publications).filter(|_| flight.settle(Ok(()))).count();
        self.shared.status.published.add(taken as u64);
        self.asked_for -= publications;
        self.refused = 0;
        if flight.has_room() {
            self.shared.room.notify_one();
        }
    }

    fn is_refused(&mut self, about: Refusal, text: String) {
        let Refusal::Publish(subject) = about else {
            // Most of these end the connection, and are why.
            self.why = Some(text);
            return;
        };
        if subject == self.shared.probe_subject {
            self.probes = false;
            return;
        }
        let among = self.asked.front().map_or(0, |(_, publications)| *publications);
        let error = format!("refuses the publication: {text}");
        let error = self.shared.error(&self.session.server.address, &error);
        let mut flight = self.shared.flight.borrow_mut();
        if let Some(next) = flight.fail(&subject, self.refused, among, error) {
            self.refused = next;
            self.shared.status.publish_errors.add(1);
        }
    }
}

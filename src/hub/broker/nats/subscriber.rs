//! The connection that subscribes and receives.

use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::arrivals;
use super::session::{self, NoSession, Session, describe, said};
use super::shared::{Shared, Stands};
use super::topics::TopicId;
use crate::hub::broker::backoff::{Backoff, random_fraction};
use crate::hub::broker::terms::PROBE;
use crate::hub::sequencer::Later;
use crate::nats::{self, Info, LINE_BYTES_MAX, PING, PONG, Refusal, Said};

/// Topics that one PING is for.
const BATCH_TOPICS: usize = 1_000;
/// Bytes of their lines.
const BATCH_BYTES: usize = 64 * 1024;
/// Bytes that are queued at a time.
const QUEUED_BYTES: usize = 256 * 1024;
/// Between two looks at whether it takes and answers what it is given.
pub(super) const LOOK: Duration = Duration::from_millis(250);
/// The subscription of probes: no topic has that number.
const PROBE_SID: u64 = u64::MAX;

/// A PING that has not been answered.
struct Asked {
    at: Instant,
    /// But for those that the server has refused by name.
    topics: Vec<TopicId>,
    /// How often it has said that there are too many, and how.
    too_many: usize,
    why: String,
}

/// How serving ended.
enum Ended {
    Broken(String),
    /// The server is about to end, and this is a session with another.
    Moved(Box<Session>),
}

/// Connects, serves, and connects again, for ever.
pub(super) async fn run(shared: Rc<Shared>) {
    let settings = &shared.settings;
    let mut backoff = Backoff::new(settings.min_retry_backoff, settings.max_retry_backoff);
    let (mut next, mut failed, mut ever) = (None, 0, false);
    loop {
        let mut address = shared.servers.borrow().current().address.clone();
        let dialled = match next.take() {
            Some(session) => Ok(session),
            None => dial(&shared).await,
        };
        match dialled {
            Ok(session) => {
                address.clone_from(&session.server.address);
                backoff.connected(Instant::now());
                if std::mem::replace(&mut ever, true) {
                    shared.status.reconnects.add(1);
                }
                match serve(&shared, *session).await {
                    Ended::Moved(session) => {
                        shared.subscriber_stands(Stands::Coming);
                        next = Some(session);
                    }
                    Ended::Broken(why) => shared.subscriber_fails(&address, why),
                }
                *shared.said.borrow_mut() = None;
                *shared.home.borrow_mut() = None;
                shared.topics.borrow_mut().disconnected();
                if next.is_some() {
                    continue;
                }
            }
            Err(NoSession::Hopeless(why)) => {
                shared.subscriber_fails(&address, why.clone());
                shared.started(&address, Err(why));
                shared.servers.borrow_mut().advance();
            }
            Err(NoSession::Away(why)) => {
                shared.subscriber_fails(&address, why);
                shared.servers.borrow_mut().advance();
                failed += 1;
                if failed >= shared.settings.servers.len() {
                    // Nothing but waiting helps: the start need not wait for it.
                    shared.started(&address, Ok(()));
                }
            }
        }
        sleep(backoff.pause(Instant::now(), random_fraction())).await;
    }
}

async fn dial(shared: &Shared) -> Result<Box<Session>, NoSession> {
    let server = shared.servers.borrow().current().clone();
    let name = format!("roadcast {}", shared.name);
    let bytes = shared.terms.publication_bytes;
    session::dial(&shared.settings, &shared.tls, &server, &name, bytes).await.map(Box::new)
}

async fn serve(shared: &Rc<Shared>, session: Session) -> Ended {
    let server = session.server.clone();
    shared.status.reached(&server.address.to_string(), &format!("nats {}", session.info.version));
    shared.servers.borrow_mut().learn(session.info.urls());
    *shared.said.borrow_mut() = Some(session.link.out().clone());
    shared.subscriber_stands(Stands::Coming);
    shared.is_at(server);
    let now = Instant::now();
    let mut serving = Serving {
        lame: session.info.ldm,
        session,
        shared: shared.clone(),
        asked: VecDeque::new(),
        reading_since: now,
        next_ping: now,
        next_look: now + LOOK,
        why: None,
        moving: None,
    };
    shared.say(|out| nats::subscribe(out, &shared.probe_subject, PROBE_SID));
    match serving.run().await {
        Ok(session) => Ended::Moved(session),
        Err(error) => Ended::Broken(match (serving.why.take(), error) {
            (Some(said), _) => said,
            (None, why) => why,
        }),
    }
}

type Moving = Pin<Box<dyn Future<Output = Result<Box<Session>, NoSession>>>>;

struct Serving {
    session: Session,
    shared: Rc<Shared>,
    asked: VecDeque<Asked>,
    /// Silence counts from here: before, nobody listened.
    reading_since: Instant,
    next_ping: Instant,
    next_look: Instant,
    /// What the server said last that was wrong.
    why: Option<String>,
    /// The server is about to end.
    lame: bool,
    moving: Option<Moving>,
}

impl Serving {
    /// Ends with why the connection is of no use any more, or with one to another server.
    async fn run(&mut self) -> Result<Box<Session>, String> {
        loop {
            self.ask();
            let now = Instant::now();
            if self.next_ping <= now && self.asked.is_empty() {
                self.ping(Vec::new());
            }
            if self.lame && self.moving.is_none() {
                self.moving = self.begin_to_move();
            }
            let bytes_max = self.shared.terms.publication_bytes + 2 * LINE_BYTES_MAX;
            let shared = self.shared.clone();
            let moved = async {
                match &mut self.moving {
                    Some(moving) => moving.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = shared.wanted.notified() => continue,
                moved = moved => {
                    self.moving = None;
                    match moved {
                        Ok(session) => return Ok(session),
                        Err(_) => shared.servers.borrow_mut().advance(),
                    }
                    continue;
                }
                read = self.session.link.read(bytes_max) => read.map_err(|error| describe(&error))?,
                () = sleep_until(self.next_look) => {
                    self.look(Instant::now())?;
                    continue;
                }
            }
            self.hear().await?;
            self.look(Instant::now())?;
            // Bytes may be there already: everyone else has a turn all the same.
            shared.terms.runtime.give_way().await;
        }
    }

    /// Asks for topics, as many as may be asked for now.
    fn ask(&mut self) {
        let (shared, out) = (self.shared.clone(), self.session.link.out().clone());
        let prefix = &shared.settings.prefix;
        while out.queued() < QUEUED_BYTES && shared.topics.borrow().are_queued() {
            let (mut topics, mut bytes) = (Vec::new(), 0);
            while topics.len() < BATCH_TOPICS && bytes < BATCH_BYTES {
                let Some((id, name)) = shared.topics.borrow_mut().take() else { break };
                match nats::subject(prefix, &name) {
                    Ok(subject) => {
                        out.queue(|out| nats::subscribe(out, &subject, id.number()));
                        bytes += subject.len();
                        topics.push(id);
                    }
                    Err(error) => {
                        arrivals::refuse(&shared, id, &error.to_string());
                        shared.inlet.wake_shards();
                    }
                }
            }
            self.ping(topics);
        }
        self.settled();
    }

    fn ping(&mut self, topics: Vec<TopicId>) {
        let now = Instant::now();
        self.session.link.out().queue(|out| out.extend_from_slice(PING));
        self.asked.push_back(Asked { at: now, topics, too_many: 0, why: String::new() });
        self.next_ping = now + PROBE;
    }

    /// All topics are back that were there before.
    fn settled(&self) {
        if !self.shared.topics.borrow().are_resuming() {
            self.shared.subscriber_stands(Stands::Up);
        }
    }

    /// Whether the server is there. Asked behind what it said, now and then.
    fn look(&mut self, now: Instant) -> Result<(), String> {
        if now < self.next_look {
            return Ok(());
        }
        self.next_look = now + LOOK;
        let asked = self.asked.front().map(|asked| asked.at.max(self.reading_since));
        self.session.is_silent(&self.shared.settings, asked, now)
    }

    /// Works through what has come.
    async fn hear(&mut self) -> Result<(), String> {
        loop {
            let heard = self.session.decoder.next(self.session.link.bytes());
            let (bytes, heard) = heard.map_err(|error| error.to_string())?;
            let mut later = None;
            match heard {
                None if bytes == 0 => break,
                None | Some(Said::Ok) => {}
                Some(Said::Message { sid: PROBE_SID, payload }) => {
                    arrivals::come_back(&self.shared, payload)
                }
                Some(Said::Message { sid, payload }) => {
                    later = arrivals::deliver(&self.shared, sid, payload)
                }
                Some(Said::TooLong { sid, bytes }) => arrivals::too_long(&self.shared, sid, bytes),
                Some(Said::Ping) => {
                    self.session.link.out().queue(|out| out.extend_from_slice(PONG));
                }
                Some(Said::Pong) => {
                    if let Some(asked) = self.asked.pop_front() {
                        let Asked { topics, too_many, why, .. } = asked;
                        arrivals::confirm(&self.shared, &topics, too_many, &why);
                        self.settled();
                    }
                }
                Some(Said::Info(json)) => {
                    if let Some(info) = Info::parse(json) {
                        self.lame |= info.ldm;
                        self.shared.servers.borrow_mut().learn(info.urls());
                        self.session.info = info;
                    }
                }
                Some(Said::Error(text)) => {
                    let about = Refusal::of(text);
                    let text = said(text);
                    self.refused(about, text);
                }
            }
            self.session.link.consume(bytes);
            if let Some(later) = later {
                self.wait_for_room(later).await?;
            }
        }
        self.shared.inlet.wake_shards();
        Ok(())
    }

    /// A lane is full: nothing is read until it has room. That is what slows the server down.
    async fn wait_for_room(&mut self, later: Later) -> Result<(), String> {
        self.shared.inlet.wake_shards();
        tokio::select! {
            _ = later => {}
            error = self.session.link.drive() => return Err(describe(&error)),
        }
        self.reading_since = Instant::now();
        Ok(())
    }

    fn refused(&mut self, about: Refusal, text: String) {
        let shared = self.shared.clone();
        match about {
            Refusal::Subscribe(subject) => {
                if subject == shared.probe_subject {
                    return;
                }
                let topic = nats::topic(&shared.settings.prefix, &subject);
                let id = topic.and_then(|topic| shared.topics.borrow().find(&topic));
                if let Some(id) = id {
                    self.is_refused(id);
                    arrivals::refuse(&shared, id, &text);
                }
            }
            Refusal::TooManySubscriptions => {
                if let Some(asked) = self.asked.front_mut() {
                    (asked.too_many, asked.why) = (asked.too_many + 1, text);
                }
            }
            // Most of these end the connection, and are why.
            _ => self.why = Some(text),
        }
    }

    /// The answer to the oldest question is not about it any more: it may be asked for anew before.
    fn is_refused(&mut self, id: TopicId) {
        let Some(asked) = self.asked.front_mut() else { return };
        if let Some(at) = asked.topics.iter().position(|topic| *topic == id) {
            asked.topics.remove(at);
        }
    }

    /// To another server, if there is any, while this one serves.
    fn begin_to_move(&self) -> Option<Moving> {
        let mut servers = self.shared.servers.borrow_mut();
        if servers.len() < 2 {
            return None;
        }
        if servers.current().address == self.session.server.address {
            servers.advance();
            tracing::info!(
                broker = self.shared.name,
                from = %self.session.server.address,
                to = %servers.current().address,
                "the server is about to end (lame duck mode); moving to another"
            );
        }
        let shared = self.shared.clone();
        Some(Box::pin(async move {
            sleep(PROBE / 10).await;
            dial(&shared).await
        }))
    }
}

//! Answers to what shards ask about clients.
//!
//! Who connects: first its token, where tokens are read; then workers or the callback, where they
//! are asked, unless the token suffices; then the limit of its user. Who joins: workers or the
//! callback, about all topics at once. Each question has a task of its own, so a slow answer holds
//! up nobody else; how many there are at a time the shards bound.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::task::spawn_local;

use super::callback::Callback;
use super::counters::AccessCounters;
use super::jwks::KeyTelemetry;
use super::lanes::{Asks, Words};
use super::remember::Remember;
use super::tokens::Tokens;
use super::users::{Place, TooMany, Users};
use super::workers::Pool;
use crate::access::token::TokenFault;
use crate::access::verdict::{AskFailed, Judged};
use crate::access::{About, AccessRequest, Grant, Identity, context};
use crate::http::Head;
use crate::http::head::Room;
use crate::log_rate::CauseRate;
use crate::mesh::desk::{self, Answer, Ask, Denial, Why, Word};
use crate::ws::close::CloseCode;
use crate::ws::upgrade;

/// The reason in the Close of a connection that a newer one has replaced.
const REPLACED: &str = "replaced by a newer connection of this user";

/// Who is asked beside a token.
pub enum Asker {
    /// Nobody.
    Nobody,
    /// PHP workers.
    Workers(Rc<Pool>),
    /// A server, over HTTP.
    Callback(Rc<Callback>),
}

/// See the module.
pub struct Access {
    pub(super) tokens: Option<Tokens>,
    pub(super) asker: Asker,
    pub(super) remember: RefCell<Remember>,
    pub(super) users: RefCell<Users>,
    /// Whether a rule may say that a join is to be asked about.
    pub(super) asks_joins: bool,
    /// Whether each topic of a join is a question of its own.
    pub(super) one_by_one: bool,
    pub(super) words: Rc<Words>,
    pub(super) counters: Arc<AccessCounters>,
    pub(super) said: RefCell<CauseRate<()>>,
    pub(super) started: Instant,
}

/// Why somebody is refused who was asked about.
enum Refusal {
    /// The verdict.
    Judged(Judged),
    /// All who could be asked were busy.
    Busy(u32),
    /// There was nobody to ask: for this.
    Down(&'static str, u32),
    /// There was no answer, or none that makes sense.
    NoAnswer,
}

impl Access {
    /// Answers what comes. Runs for ever, on the thread of a `LocalSet`.
    pub async fn serve(self: Rc<Self>, asks: Asks) {
        asks.run(|shard, ask| {
            spawn_local(self.clone().answer(shard, ask));
        })
        .await;
    }

    /// The workers that are asked, if there are any.
    pub fn workers(&self) -> Option<&Rc<Pool>> {
        match &self.asker {
            Asker::Workers(pool) => Some(pool),
            Asker::Nobody | Asker::Callback(_) => None,
        }
    }

    /// The callback that is asked, if there is one.
    pub fn callback(&self) -> Option<&Callback> {
        match &self.asker {
            Asker::Callback(callback) => Some(callback),
            Asker::Nobody | Asker::Workers(_) => None,
        }
    }

    /// The keys of tokens, if they are fetched.
    pub fn keys(&self) -> Option<Arc<KeyTelemetry>> {
        self.tokens.as_ref().and_then(Tokens::telemetry)
    }

    /// Has new workers started in the place of the old ones, and forgets all verdicts that were to
    /// be remembered, also where that failed: whoever asked for it wants them judged anew.
    pub async fn reset(&self) -> Result<(), String> {
        let done = match self.workers() {
            Some(pool) => pool.reset().await,
            None => Ok(()),
        };
        self.remember.borrow_mut().clear();
        self.counters.remembered_bytes.set(0);
        match done {
            Ok(()) => self.counters.resets.add(1),
            Err(_) => self.counters.resets_failed.add(1),
        }
        done
    }

    async fn answer(self: Rc<Self>, shard: usize, ask: Ask) {
        let Ask { ticket, waits, about } = ask;
        let place = Place { shard, connection: ticket.connection };
        let answer = match about {
            // Whoever has gone hears no answer; its shard waits for it all the same.
            _ if waits.strong_count() == 0 => Answer::Refused(Why::Gone),
            desk::About::Connect(request) => self.connect(place, &waits, request).await,
            desk::About::Join { grant, topics } => self.join(&waits, &grant, &topics).await,
            desk::About::Token { grant, token } => self.renew(place, &grant, &token).await,
        };
        self.words.say(shard, Word::Answer(ticket, answer));
    }

    async fn connect(&self, place: Place, waits: &Weak<()>, request: AccessRequest) -> Answer {
        let mut grant = Grant::default();
        let mut suffices = false;
        if let Some(tokens) = &self.tokens {
            match tokens.of_request(&request).await {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    suffices = tokens.suffices;
                    grant.subject = accepted.identity.user.clone();
                    grant.identity = accepted.identity;
                    grant.expires_in = accepted.expires_in;
                }
                Err(fault) => return self.token_refused(tokens, fault),
            }
        }
        let began = Instant::now();
        if !suffices {
            match self.judge(waits, &request, About::Server).await {
                Ok(said) => grant.identity.learn(said),
                // Nobody is refused, and none of the counts of refusals is its own.
                Err(_) if waits.strong_count() == 0 => return Answer::Refused(Why::Gone),
                Err(refusal) => return self.denied(refusal, grant.identity.user),
            }
        }
        // What has passed meanwhile is gone of its time.
        let left = |time: Duration| time.saturating_sub(began.elapsed());
        grant.expires_in = grant.expires_in.map(left);
        grant.request = self.asks_joins.then_some(request);
        // Whoever has gone takes nobody's place.
        if waits.strong_count() == 0 {
            return Answer::Refused(Why::Gone);
        }
        let grant = Arc::new(grant);
        let seated = self.users.borrow_mut().admit(place, &grant);
        if self.seated(seated).is_err() {
            let (user, response) = (grant.identity.user.clone(), upgrade::too_many_of_user());
            return Answer::Denied(Denial { why: Why::User, user, response });
        }
        self.counters.granted.add(1);
        Answer::Granted(grant)
    }

    /// Has the connection closed that a newer one replaces.
    fn seated(&self, seated: Result<Option<Place>, TooMany>) -> Result<(), TooMany> {
        let replaced = seated.inspect_err(|TooMany| self.counters.refused_user.add(1))?;
        if let Some(Place { shard, connection }) = replaced {
            self.counters.replaced.add(1);
            let word = Word::Close { connection, code: CloseCode::REPLACED, reason: REPLACED };
            self.words.say(shard, word);
        }
        Ok(())
    }

    async fn join(&self, waits: &Weak<()>, grant: &Grant, topics: &[Box<str>]) -> Answer {
        let Some(request) = &grant.request else { return Answer::Refused(Why::NoAnswer) };
        let topics: Vec<&str> = topics.iter().map(AsRef::as_ref).collect();
        let questions = topics.chunks(if self.one_by_one { 1 } else { topics.len().max(1) });
        for topics in questions {
            if let Err(refusal) = self.judge(waits, request, About::Topics(topics)).await {
                self.counters.joins_refused.add(1);
                return Answer::Refused(match refusal {
                    Refusal::Judged(_) => Why::Judged,
                    Refusal::Busy(_) => Why::Busy,
                    Refusal::Down(why, _) => Why::Down(why),
                    Refusal::NoAnswer => Why::NoAnswer,
                });
            }
        }
        self.counters.joins_allowed.add(1);
        Answer::Allowed
    }

    /// Another token of a client that is connected: it must be the same user's.
    async fn renew(&self, place: Place, before: &Grant, token: &str) -> Answer {
        let Some(tokens) = &self.tokens else { return Answer::Refused(Why::NoAnswer) };
        let accepted = match tokens.check(token.as_bytes()).await {
            Ok(accepted) => accepted,
            Err(fault) => {
                self.count(fault);
                return Answer::Refused(Why::Token(fault.why()));
            }
        };
        let subject = accepted.identity.user.clone();
        if before.subject.is_some() && subject != before.subject {
            self.counters.refused_token.add(1);
            return Answer::Refused(Why::Token("the token is another user's"));
        }
        let mut identity = accepted.identity;
        // What workers or the callback have said of it stands.
        if before.identity.user != before.subject {
            identity.user.clone_from(&before.identity.user);
        }
        if identity.info.is_none() {
            identity.info.clone_from(&before.identity.info);
        }
        let request = before.request.clone();
        let grant = Arc::new(Grant { identity, subject, request, expires_in: accepted.expires_in });
        let seated = self.users.borrow_mut().renew(place, &grant);
        if self.seated(seated).is_err() {
            return Answer::Refused(Why::User);
        }
        self.counters.renewed.add(1);
        Answer::Granted(grant)
    }

    /// Has workers or the callback judge, unless they have done so before and it holds still. What
    /// they say of who it is.
    async fn judge(
        &self,
        waits: &Weak<()>,
        request: &AccessRequest,
        about: About<'_>,
    ) -> Result<Identity, Refusal> {
        if !self.remember.borrow().is_empty() {
            let found = self.remember.borrow_mut().find(&self.key(request, about), Instant::now());
            if let Some(identity) = found {
                self.counters.remembered.add(1);
                return Ok(identity);
            }
        }
        let resets = self.remember.borrow().cleared();
        let answer = match &self.asker {
            Asker::Nobody => return Ok(Identity::default()),
            Asker::Workers(pool) => {
                let context = context::encode(request, about, None);
                pool.ask_about(Some(waits.clone()), context).await
            }
            // By itself: whoever is asked otherwise shall not carry the room for it.
            Asker::Callback(callback) => Box::pin(callback.ask(Some(waits), request, about)).await,
        };
        let judged = match answer {
            Ok(judged) if judged.allows() => judged,
            Ok(judged) => return Err(Refusal::Judged(judged)),
            Err(AskFailed::Busy { retry_after_s }) => return Err(Refusal::Busy(retry_after_s)),
            Err(AskFailed::Down { why, retry_after_s }) => {
                return Err(Refusal::Down(why, retry_after_s));
            }
            Err(AskFailed::Failed(why)) => return Err(self.failed(&why)),
        };
        let said = judged.identity().and_then(|said| Ok((said, judged.remember()?)));
        let (identity, remember) = said.map_err(|why| self.failed(&why.to_string()))?;
        // What was said before a reset does not hold behind it.
        if let Some(lasts) = remember.filter(|_| resets == self.remember.borrow().cleared()) {
            let key = self.key(request, about);
            let mut remember = self.remember.borrow_mut();
            remember.add(key, identity.clone(), lasts, Instant::now());
            self.counters.remembered_bytes.set(remember.bytes() as u64);
        }
        Ok(identity)
    }

    /// What a verdict is remembered for: all that was asked, but what is different at every
    /// connection.
    fn key(&self, request: &AccessRequest, about: About<'_>) -> Vec<u8> {
        let mut room = Room::new();
        let Ok(head) = Head::parse(&request.head, &mut room) else { return Vec::new() };
        let names = head.headers().map(|(name, _)| name);
        let passed = |name: &&str| self.callback().is_none_or(|callback| callback.passes(name));
        let same = |name: &&str| !name.eq_ignore_ascii_case("Sec-WebSocket-Key") && passed(name);
        let same: Vec<&str> = names.filter(same).collect();
        context::encode(request, about, Some(&same))
    }

    fn failed(&self, why: &str) -> Refusal {
        if let Some(unsaid) = self.said.borrow_mut().admit((), why, self.started.elapsed()) {
            tracing::warn!("who was asked about a client has not judged it: {why}{unsaid}");
        }
        Refusal::NoAnswer
    }

    /// Counts a token that is refused. What the answer does not say of it the log does.
    fn count(&self, fault: TokenFault) {
        self.counters.refused_token.add(1);
        if let Some(entry) = fault.entry()
            && let Some(unsaid) = self.said.borrow_mut().admit((), &entry, self.started.elapsed())
        {
            tracing::info!("a token is refused: {entry}{unsaid}");
        }
    }

    fn token_refused(&self, tokens: &Tokens, fault: TokenFault) -> Answer {
        self.count(fault);
        let response = fault.response(tokens.retry_after_s());
        Answer::Denied(Denial { why: Why::Token(fault.why()), user: None, response })
    }

    fn denied(&self, refusal: Refusal, user: Option<Box<str>>) -> Answer {
        let (why, response) = match refusal {
            Refusal::Judged(judged) => {
                self.counters.refused_judged.add(1);
                (Why::Judged, judged.response())
            }
            Refusal::Busy(retry_after_s) => {
                self.counters.refused_busy.add(1);
                (Why::Busy, upgrade::busy(retry_after_s))
            }
            Refusal::Down(why, retry_after_s) => {
                self.counters.refused_down.add(1);
                (Why::Down(why), upgrade::nobody_to_ask(why, retry_after_s))
            }
            Refusal::NoAnswer => {
                self.counters.refused_no_answer.add(1);
                (Why::NoAnswer, upgrade::no_verdict())
            }
        };
        Answer::Denied(Denial { why, user, response })
    }
}

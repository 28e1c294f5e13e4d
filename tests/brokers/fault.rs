//! What must hold in every fault of a broker, whatever it is: [`Fault`] publishes and listens
//! meanwhile, and looks at all of it afterwards.
//!
//! - Nothing is lost without a gap: of what was published ok, here or by another program at the
//!   broker's server, all arrives once and in order, or `@gap` stands where it is missing.
//! - Gaps are counted, and told before the next message.
//! - While the broker is away, `/ready` is off and names it; a memory broker beside goes on.
//! - Afterwards `/ready` is on, publications arrive, and memory is as before, but for
//!   [`RESIDENT_MORE_KIB`].
//!
//! What was seen is printed: `scripts/broker-faults` gathers these lines.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::common::{
    Client, PROTO, Publisher, Received, Scrape, Server, eventually, field, figure, http, messages,
};
use crate::plain::Plain;

/// What the allocator may have kept for its next use.
const RESIDENT_MORE_KIB: u64 = 32 * 1024;
/// Between two publications.
const PACE: Duration = Duration::from_millis(2);
/// Behind everything that is published.
const END: &str = "end";

/// What became of a publication, as its publisher was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Taken,
    NotPublished,
    InDoubt,
}

/// A publication: when it began, and what its publisher was told.
type Published = (Instant, Told);

/// What the listener read, and when.
enum Heard {
    Gap,
    /// Whose, and which of them.
    Message(String, usize, Instant),
}

#[derive(Default)]
struct Shared {
    /// Publishers may end.
    over: AtomicBool,
    /// How many have begun, of those by the server.
    begun: AtomicUsize,
    /// How many came up to the last one that was read of these.
    heard: AtomicUsize,
    /// How many passed through the memory broker.
    beside: AtomicUsize,
}

/// See the module. A fault, from before it on.
pub struct Fault<'a> {
    node: &'a Server,
    broker: &'static str,
    resident_kib: u64,
    gaps: u64,
    shared: Arc<Shared>,
    listening: JoinHandle<Vec<Heard>>,
    publishing: JoinHandle<Vec<Published>>,
    others: Option<JoinHandle<Vec<Published>>>,
    beside: JoinHandle<()>,
}

impl<'a> Fault<'a> {
    /// Of the broker of that name, as seen in a topic that nobody else publishes to. A second
    /// program publishes at its server, if one is given.
    pub fn of(
        node: &'a Server,
        broker: &'static str,
        topic: &'static str,
        plain: Option<Plain>,
    ) -> Self {
        eventually("/ready is on", || ready(node).0 == 200);
        let mut client = node.client();
        client.send(&format!(r#"{{"command":"join","topics":["{topic}"],"gaps":true}}"#));
        client.expect_reply("@join", &[topic]);
        let shared = Arc::new(Shared::default());
        let (gaps, resident_kib) = (gaps(node, broker), node.resident_kib());
        let listening = thread::spawn({
            let shared = shared.clone();
            move || listen(client, &shared)
        });
        let publishing = thread::spawn({
            let (shared, mut publisher) = (shared.clone(), node.publisher());
            move || publish(&mut publisher, topic, &shared)
        });
        let others = plain.map(|mut plain| {
            let shared = shared.clone();
            thread::spawn(move || publish_plainly(&mut plain, topic, &shared))
        });
        let beside = thread::spawn({
            let (shared, client, mut publisher) = (shared.clone(), node.client(), node.publisher());
            move || be_beside(client, &mut publisher, &shared)
        });
        let fault = Self {
            node,
            broker,
            resident_kib,
            gaps,
            shared,
            listening,
            publishing,
            others,
            beside,
        };
        fault.next_arrives();
        fault
    }

    /// Meanwhile the broker is away.
    pub fn is_away(&self) {
        let named = format!("broker {} has been ", self.broker);
        eventually("/ready is off and names the broker", || {
            let (status, text) = ready(self.node);
            status == 503 && text.starts_with(&named)
        });
        self.others_go_on();
    }

    /// It has been over since then: all is as before, and so many topics had a gap.
    #[track_caller]
    pub fn ends(self, what: &str, since: Instant, topics: RangeInclusive<u64>) {
        eventually("/ready is on", || ready(self.node).0 == 200);
        let ready_at = Instant::now();
        self.next_arrives();
        self.others_go_on();
        self.shared.over.store(true, Ordering::Relaxed);
        let own = self.publishing.join().expect("publications are answered");
        let others = self.others.map(|others| others.join().expect("it publishes"));
        self.beside.join().expect("the memory broker serves");
        let heard = self.listening.join().expect("publications arrive");

        let counted = gaps(self.node, self.broker) - self.gaps;
        assert!(topics.contains(&counted), "{what}: {counted} gaps counted");
        let told = heard.iter().filter(|heard| matches!(heard, Heard::Gap)).count();
        assert!(told as u64 <= counted && (told > 0) == (counted > 0), "{what}: {told} gaps told");
        let more_kib = self.node.resident_kib().saturating_sub(self.resident_kib);
        assert!(more_kib <= RESIDENT_MORE_KIB, "{what}: {more_kib} KiB more");

        let lost_of_own = lost(what, "own", &own, &heard);
        let lost_of_others = others.as_ref().map(|others| lost(what, "other", others, &heard));
        let (place, served) = first_since(since, &own, &heard);
        let gap = heard.iter().position(|heard| matches!(heard, Heard::Gap));
        assert!(gap.is_none_or(|gap| gap < place), "{what}: told of the gap behind a message");
        let served = served.max(ready_at);
        let of = |told| own.iter().filter(|(_, of)| *of == told).count();
        figure(
            "fault",
            format_args!(
                "{what} | {:.2} | {} | {} | {} | {lost_of_own} | {} | {} | {counted} | {told} \
                 | {more_kib}",
                (served - since).as_secs_f64(),
                of(Told::Taken),
                of(Told::NotPublished),
                of(Told::InDoubt),
                others.map_or("-".to_owned(), |others| others.len().to_string()),
                lost_of_others.map_or("-".to_owned(), |lost| lost.to_string()),
            ),
        );
    }

    /// The memory broker takes and delivers.
    fn others_go_on(&self) {
        let passed = || self.shared.beside.load(Ordering::Relaxed);
        // The next may be under way already.
        let enough = passed() + 2;
        eventually("a message of the memory broker beside", || passed() >= enough);
    }

    /// Something that is published from now on arrives.
    fn next_arrives(&self) {
        let begun = self.shared.begun.load(Ordering::Relaxed);
        eventually("a publication that arrives", || {
            self.shared.heard.load(Ordering::Relaxed) > begun
        });
    }
}

/// What `/ready` says.
fn ready(node: &Server) -> (u16, String) {
    let answer = http(node.endpoint("status"), b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n");
    (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
}

fn gaps(node: &Server, broker: &str) -> u64 {
    Scrape::of(node.endpoint("metrics")).sample("broker_gaps_total", &[broker])
}

/// Publishes to the memory broker `local` and reads it, until it is over.
fn be_beside(mut client: Client, publisher: &mut Publisher, shared: &Shared) {
    client.send(r#"{"command":"join","broker":"local","topics":["beside"]}"#);
    client.expect_reply("@join", &["beside"]);
    let mut message = Vec::new();
    for (number, value) in [(2, "local"), (3, "beside"), (4, "x")] {
        field(&mut message, number, value.as_bytes());
    }
    let mut body = Vec::new();
    field(&mut body, 1, &message);
    while !shared.over.load(Ordering::Relaxed) {
        // A test that has failed ends its server.
        let sent = publisher.call("websockets.Publish", PROTO, &body);
        let Ok(answer) = sent.and_then(|_| publisher.answer()) else { return };
        assert!(answer.is_ok(), "{answer:?}");
        client.expect("beside", "x");
        shared.beside.fetch_add(1, Ordering::Relaxed);
        thread::sleep(PACE);
    }
}

/// Reads up to the end.
fn listen(mut client: Client, shared: &Shared) -> Vec<Heard> {
    let mut heard = Vec::new();
    loop {
        match client.next() {
            Received::Reply(kind, _) if kind == "@gap" => heard.push(Heard::Gap),
            Received::Message(_, payload) if payload == END => break,
            Received::Message(_, payload) => {
                let (whose, number) = payload.split_once(' ').expect("a numbered publication");
                let number = number.parse().expect("a number");
                if whose == "own" {
                    shared.heard.store(number + 1, Ordering::Relaxed);
                }
                heard.push(Heard::Message(whose.to_owned(), number, Instant::now()));
            }
            other => panic!("{other:?}"),
        }
    }
    shared.heard.store(usize::MAX, Ordering::Relaxed);
    heard
}

/// Publishes through the server until it is over, then the end until that is heard.
fn publish(publisher: &mut Publisher, topic: &str, shared: &Shared) -> Vec<Published> {
    let mut published = Vec::new();
    let mut ask = |payload: &str| {
        let body = messages(&[(&[topic], payload.as_bytes())]);
        // A test that has failed ends its server.
        let sent = publisher.call("broadcast.Publish", PROTO, &body);
        let Ok(answer) = sent.and_then(|_| publisher.answer()) else { return None };
        Some(match answer.is_ok() {
            true => Told::Taken,
            false if answer.error().contains("may or may not have been published") => Told::InDoubt,
            false => Told::NotPublished,
        })
    };
    while !shared.over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let number = shared.begun.fetch_add(1, Ordering::Relaxed);
        let Some(told) = ask(&format!("own {number}")) else { return published };
        published.push((begun, told));
        thread::sleep(PACE);
    }
    while shared.heard.load(Ordering::Relaxed) < usize::MAX && ask(END).is_some() {
        thread::sleep(PACE);
    }
    published
}

/// Publishes at the broker's server until it is over.
fn publish_plainly(plain: &mut Plain, topic: &str, shared: &Shared) -> Vec<Published> {
    let mut published = Vec::new();
    while !shared.over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let taken = plain.publish(topic, &format!("other {}", published.len()));
        published.push((begun, if taken { Told::Taken } else { Told::InDoubt }));
        thread::sleep(PACE);
    }
    published
}

/// The first message that was published by the server since then: its place, and when it was read.
fn first_since(since: Instant, own: &[Published], heard: &[Heard]) -> (usize, Instant) {
    let places = heard.iter().enumerate();
    let mut found = places.filter_map(|(place, heard)| match heard {
        Heard::Message(whose, number, at) if whose == "own" => {
            (own[*number].0 >= since).then_some((place, *at))
        }
        _ => None,
    });
    found.next().expect("what was published since then arrives")
}

/// How many of those that were taken did not arrive. Where they are missing, there must be a gap.
#[track_caller]
fn lost(what: &str, whose: &str, published: &[Published], heard: &[Heard]) -> usize {
    let (mut next, mut lost, mut gap) = (0, 0, false);
    let mut seen = HashSet::new();
    for heard in heard {
        let number = match heard {
            Heard::Gap => {
                gap = true;
                continue;
            }
            Heard::Message(of, number, _) if of == whose => *number,
            Heard::Message(..) => continue,
        };
        assert!(seen.insert(number), "{what}: {whose} {number} came twice");
        match published.get(number).map(|(_, told)| told) {
            Some(Told::Taken) => {}
            Some(Told::NotPublished) => panic!("{what}: {whose} {number} came, and was refused"),
            // Nobody knows what becomes of it, or when it comes.
            Some(Told::InDoubt) | None => continue,
        }
        assert!(number >= next, "{what}: {whose} {number} came behind {next}");
        let missing = published[next..number].iter().filter(|(_, told)| *told == Told::Taken);
        let missing = missing.count();
        assert!(missing == 0 || gap, "{what}: {missing} lost before {whose} {number}, no gap");
        (next, lost, gap) = (number + 1, lost + missing, false);
    }
    // The others' last ones may come behind the end.
    let missing = published[next..].iter().any(|(_, told)| *told == Told::Taken);
    assert!(whose != "own" || !missing, "{what}: those before the end are missing");
    lost
}

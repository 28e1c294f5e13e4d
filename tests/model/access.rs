//! Who may connect and who may join: what a shard asks the desk, and what waits meanwhile.

use std::sync::Arc;
use std::time::Duration;

use roadcast::access::{Grant, Identity, Join, Pattern, Rule, Rules};
use roadcast::limits::Limits;
use roadcast::mesh::ConnId;
use roadcast::mesh::desk::{self, Answer, Ask, Denial, Ticket, Why, Word};
use roadcast::shard::Task;
use roadcast::ws::close::CloseCode;
use roadcast::ws::frame::Opcode;

use super::rig::{Rig, asking, frame_of, quiet};
use super::wire;

mod bounds;

fn rules(rules: &[(&str, Join)]) -> Rules {
    let rule = |(topics, join): &(&str, Join)| Rule {
        topics: vec![Pattern::parse(topics).unwrap()],
        join: *join,
        place: String::new(),
    };
    Rules { rules: rules.iter().map(rule).collect(), default: Join::Allow, one_by_one: false }
}

/// A shard that asks about everyone, and about all of `ask.*`.
fn rig() -> Rig {
    rig_with(quiet())
}

fn rig_with(limits: Limits) -> Rig {
    let all = [("ask.*", Join::Ask), ("no.*", Join::Deny), ("user.{user}", Join::Allow)];
    let all = [&all[..], &[("user.*", Join::Deny)]].concat();
    Rig::with_config(asking(limits, rules(&all)))
}

fn grant(user: &str, expires_in: Option<u64>) -> Arc<Grant> {
    let identity = Identity { user: Some(user.into()), ..Identity::default() };
    Arc::new(Grant {
        identity,
        expires_in: expires_in.map(Duration::from_secs),
        ..Grant::default()
    })
}

/// The one question that the shard asks.
fn asked(rig: &mut Rig) -> Ask {
    let ask = rig.shard.next_ask().expect("a question");
    assert!(rig.shard.next_ask().is_none(), "one alone");
    ask
}

fn answer(rig: &mut Rig, ticket: Ticket, answer: Answer) {
    rig.shard.hear(Word::Answer(ticket, answer));
    rig.shard.check_invariants();
    rig.sweep();
}

/// A client that has sent its request and waits.
fn knock(rig: &mut Rig) -> ConnId {
    let id = rig.accept();
    rig.bytes(id, &wire::upgrade_request("/ws"));
    rig.sweep();
    id
}

/// A client that has been let in with this.
fn admitted(rig: &mut Rig, grant: Arc<Grant>) -> ConnId {
    let id = knock(rig);
    let ask = asked(rig);
    answer(rig, ask.ticket, Answer::Granted(grant));
    assert!(rig.taken(id).starts_with(b"HTTP/1.1 101 "));
    id
}

fn token(rig: &mut Rig, id: ConnId, token: &str) {
    let command = serde_json::json!({ "command": "token", "payload": token }).to_string();
    rig.bytes(id, &wire::masked(Opcode::Text, command.as_bytes()));
}

fn denial(response: &str) -> Answer {
    Answer::Denied(Denial { why: Why::Judged, user: None, response: response.into() })
}

#[test]
fn a_client_that_is_asked_about_reads_nothing_before_the_answer_and_its_messages_are_kept() {
    let mut rig = rig();
    let id = knock(&mut rig);
    assert!(rig.taken(id).is_empty());
    rig.join(id, &["news"]);
    let ask = asked(&mut rig);
    let desk::About::Connect(request) = &ask.about else { panic!("{ask:?}") };
    assert_eq!(&request.head[..], wire::upgrade_request("/ws"));
    answer(&mut rig, ask.ticket, Answer::Granted(Arc::default()));
    assert!(rig.taken(id).starts_with(b"HTTP/1.1 101 "));
    rig.answer();
    rig.sweep();
    assert_eq!(rig.texts(id), [wire::reply("@join", &["news"])]);
}

#[test]
fn a_refusal_is_passed_on_as_it_stands_and_nothing_follows_it() {
    let mut rig = rig();
    let id = knock(&mut rig);
    let ask = asked(&mut rig);
    answer(&mut rig, ask.ticket, denial("HTTP/1.1 401 \r\nContent-Length: 0\r\n\r\n"));
    assert_eq!(rig.taken(id), b"HTTP/1.1 401 \r\nContent-Length: 0\r\n\r\n");
    assert!(rig.tasks().contains(&Task::FinishSending(id)));
    rig.join(id, &["news"]);
    rig.sweep();
    assert!(rig.taken(id).is_empty());
    assert_eq!((rig.counters.denied.value(), rig.counters.upgraded.value()), (1, 0));
}

#[test]
fn whoever_waits_has_no_deadline_of_the_shards() {
    let mut rig = rig();
    let id = knock(&mut rig);
    rig.pass(Duration::from_secs(3600));
    let ask = asked(&mut rig);
    answer(&mut rig, ask.ticket, Answer::Granted(Arc::default()));
    assert!(rig.taken(id).starts_with(b"HTTP/1.1 101 "));
}

#[test]
fn who_has_gone_is_not_asked_about_any_more_and_its_answer_is_for_nobody() {
    let mut rig = rig();
    let id = knock(&mut rig);
    let ask = asked(&mut rig);
    assert_eq!(ask.waits.strong_count(), 1);
    rig.shard.ended(id);
    assert_eq!(ask.waits.strong_count(), 0);
    rig.tasks();
    rig.shard.released(id);
    let next = rig.accept();
    assert_eq!(next.index, id.index, "in its place");
    answer(&mut rig, ask.ticket, Answer::Granted(Arc::default()));
    assert!(rig.taken(next).is_empty() && rig.counters.upgraded.value() == 0);
}

#[test]
fn a_join_that_is_asked_about_waits_alone_and_asks_the_hub_once_it_is_allowed() {
    let mut rig = rig();
    let (id, other) = (admitted(&mut rig, Arc::default()), admitted(&mut rig, Arc::default()));
    rig.join(id, &["free", "ask.a", "ask.b", "ask.a"]);
    rig.leave(id, &["none"]);
    rig.bytes(id, &wire::masked(Opcode::Ping, b"!"));
    rig.join(other, &["free"]);
    rig.answer();
    rig.sweep();
    assert_eq!(rig.texts(other), [wire::reply("@join", &["free"])]);
    assert_eq!(rig.taken(id), frame_of(Opcode::Pong, b"!"), "a ping waits for nothing");
    assert!(rig.questions.is_empty() && rig.counters.topics.value() == 1, "verdict first");
    let ask = asked(&mut rig);
    let desk::About::Join { topics, .. } = &ask.about else { panic!("{ask:?}") };
    assert_eq!(
        topics.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
        ["ask.a", "ask.b", "ask.a"]
    );
    answer(&mut rig, ask.ticket, Answer::Allowed);
    assert!(rig.taken(id).is_empty(), "now it waits for the hub");
    rig.answer();
    rig.sweep();
    let joined = wire::reply("@join", &["free", "ask.a", "ask.b", "ask.a"]);
    assert_eq!(rig.texts(id), [joined, wire::reply("@leave", &["none"])]);
}

#[test]
fn a_join_that_is_refused_subscribes_to_nothing_and_the_connection_lives() {
    let mut rig = rig();
    let id = admitted(&mut rig, Arc::default());
    rig.join(id, &["free", "ask.a"]);
    rig.join(id, &["free"]);
    let ask = asked(&mut rig);
    answer(&mut rig, ask.ticket, Answer::Refused(Why::Judged));
    rig.answer();
    rig.sweep();
    let expected = [wire::reply("#join", &["free", "ask.a"]), wire::reply("@join", &["free"])];
    assert_eq!(rig.texts(id), expected);
}

#[test]
fn rules_decide_at_once_by_who_the_client_is() {
    let mut rig = rig();
    let id = admitted(&mut rig, grant("7", None));
    for topics in [&["user.7", "free"][..], &["user.8"], &["free", "no.x", "ask.a"], &[]] {
        rig.join(id, topics);
    }
    rig.answer();
    rig.sweep();
    let expected = [
        wire::reply("@join", &["user.7", "free"]),
        wire::reply("#join", &["user.8"]),
        wire::reply("#join", &["free", "no.x", "ask.a"]),
        wire::reply("@join", &[""; 0]),
    ];
    assert_eq!(rig.texts(id), expected);
    assert!(rig.shard.next_ask().is_none());
}

#[test]
fn nobody_is_asked_about_a_join_over_a_limit_and_limits_are_looked_at_again_behind_the_verdict() {
    let mut rig = rig_with(Limits { topic_bytes: 20, topics_per_connection: 2, ..quiet() });
    let id = admitted(&mut rig, Arc::default());
    let long = format!("ask.{}", "x".repeat(17));
    for topics in [&["ask.a", "ask.b", "ask.c"][..], &["ask.a", &long]] {
        rig.join(id, topics);
        rig.sweep();
        assert!(rig.shard.next_ask().is_none(), "{topics:?}");
        assert_eq!(rig.texts(id), [wire::reply("#join", topics)]);
    }
    // Another connection takes the last topic that the shard may have while this one waits.
    let mut rig = rig_with(Limits { topics: 1, ..quiet() });
    let (id, other) = (admitted(&mut rig, Arc::default()), admitted(&mut rig, Arc::default()));
    rig.join(id, &["ask.a"]);
    rig.join(other, &["free"]);
    let ask = asked(&mut rig);
    answer(&mut rig, ask.ticket, Answer::Allowed);
    assert_eq!(rig.texts(id), [wire::reply("#join", &["ask.a"])]);
    assert_eq!(rig.counters.joins_refused.value(), 1);
}

#[test]
fn a_token_that_runs_out_closes_its_connection() {
    let mut rig = rig();
    let id = admitted(&mut rig, grant("7", Some(5)));
    rig.pass(Duration::from_millis(4_900));
    rig.sweep();
    assert!(rig.taken(id).is_empty());
    rig.pass(Duration::from_millis(300));
    rig.sweep();
    let expected = [&4401u16.to_be_bytes()[..], b"token expired"].concat();
    assert_eq!(rig.taken(id), frame_of(Opcode::Close, &expected));
}

#[test]
fn a_new_token_goes_on_where_the_old_one_ends_and_commands_wait_for_its_answer() {
    let mut rig = rig();
    let id = admitted(&mut rig, grant("7", Some(5)));
    token(&mut rig, id, "the new one");
    rig.join(id, &["free"]);
    let ask = asked(&mut rig);
    let desk::About::Token { token, .. } = &ask.about else { panic!("{ask:?}") };
    assert_eq!(&**token, "the new one");
    // It runs out while the new one is looked at.
    rig.pass(Duration::from_secs(6));
    rig.sweep();
    assert!(rig.taken(id).is_empty());
    answer(&mut rig, ask.ticket, Answer::Granted(grant("7", Some(60))));
    rig.answer();
    rig.pass(Duration::from_secs(50));
    rig.sweep();
    let answered = r#"{"topic":"@token","payload":[]}"#.to_owned();
    assert_eq!(rig.texts(id), [answered, wire::reply("@join", &["free"])]);
}

#[test]
fn a_new_token_that_is_not_good_changes_nothing() {
    let mut rig = rig();
    let id = admitted(&mut rig, grant("7", Some(5)));
    for expected in [r##"{"topic":"#token","payload":[]}"##; 2] {
        token(&mut rig, id, "a bad one");
        let ask = asked(&mut rig);
        answer(&mut rig, ask.ticket, Answer::Refused(Why::Token("signature")));
        assert_eq!(rig.texts(id), [expected]);
        rig.pass(Duration::from_secs(2));
    }
    // The third is under way when the first one runs out.
    token(&mut rig, id, "a bad one");
    rig.pass(Duration::from_secs(2));
    let ask = asked(&mut rig);
    answer(&mut rig, ask.ticket, Answer::Refused(Why::Token("signature")));
    let frames = wire::frames(&rig.taken(id));
    assert_eq!(frames[0].1, br##"{"topic":"#token","payload":[]}"##);
    assert_eq!((frames[1].0, &frames[1].1[..2]), (Opcode::Close, &4401u16.to_be_bytes()[..]));
}

#[test]
fn where_tokens_are_not_configured_the_command_is_unknown() {
    let mut rig = Rig::new(quiet());
    let id = rig.connect();
    token(&mut rig, id, "any");
    rig.sweep();
    assert!(rig.taken(id).is_empty());
    assert_eq!(rig.counters.malformed.value(), 1);
}

#[test]
fn a_connection_that_has_lost_its_place_is_closed() {
    let mut rig = rig();
    let id = admitted(&mut rig, grant("7", None));
    let word = |connection| Word::Close { connection, code: CloseCode::REPLACED, reason: "newer" };
    rig.shard.hear(word(id));
    rig.shard.hear(word(id));
    rig.sweep();
    let expected = [&4409u16.to_be_bytes()[..], b"newer"].concat();
    assert_eq!(rig.taken(id), frame_of(Opcode::Close, &expected), "once");
}

#[test]
fn whoever_waits_when_the_server_shuts_down_is_told_to_come_again() {
    let mut rig = rig();
    let (early, late) = (knock(&mut rig), knock(&mut rig));
    let ask = rig.shard.next_ask().unwrap();
    rig.take(roadcast::mesh::Down::StopAccepting);
    answer(&mut rig, ask.ticket, Answer::Granted(Arc::default()));
    assert!(rig.taken(early).starts_with(b"HTTP/1.1 503 "));
    rig.take(roadcast::mesh::Down::Drain);
    rig.sweep();
    assert!(rig.taken(late).starts_with(b"HTTP/1.1 503 "));
}

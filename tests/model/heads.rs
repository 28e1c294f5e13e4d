//! Requests that arrive in part: what they hold is bounded in sum, and whoever is slowest pays.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use roadcast::http::Fault;
use roadcast::limits::Limits;
use roadcast::log_rate::Unsaid;
use roadcast::mesh::Down;
use roadcast::shard::{About, ConnId, Reason, Refusal, Report, Task};

use super::rig::{Rig, quiet};
use super::wire;

fn status(rig: &mut Rig, id: ConnId) -> Option<u16> {
    rig.sweep();
    let answer = String::from_utf8(rig.taken(id)).unwrap();
    answer.split(' ').nth(1).map(|status| status.parse().unwrap())
}

#[test]
fn past_their_sum_the_oldest_unfinished_request_is_given_up_and_newcomers_are_served() {
    let mut rig = Rig::new(Limits { heads_bytes: 20_000, ..quiet() });
    let request = wire::upgrade_request("/ws");
    let (begin, end) = request.split_at(request.len() - 2);
    let slow: Vec<ConnId> = (0..300)
        .map(|_| {
            let id = rig.accept();
            rig.bytes(id, begin);
            id
        })
        .collect();
    let given_up = slow.iter().filter(|id| status(&mut rig, **id) == Some(503)).count();
    let kept = slow.len() - given_up;
    assert!(kept > 0 && kept * begin.len() <= 20_000, "{kept} are kept");
    rig.pass(Duration::ZERO);
    let said: Vec<Report> = rig
        .tasks()
        .into_iter()
        .filter_map(|task| if let Task::Report(_, report) = task { Some(report) } else { None })
        .collect();
    let reason = Reason::Refused(Refusal::Request(Fault::GivenUp));
    let once = Report { reason, about: About::Sent(String::new()), unsaid: Unsaid(0) };
    assert_eq!(said, [once], "said once");
    let counted =
        rig.counters.refusals.each().find(|(code, _)| *code == "503").map(|(_, count)| count);
    assert_eq!(counted, Some(given_up as u64));
    // The oldest have gone; those that are left, and whoever comes, may finish.
    for id in &slow[given_up..] {
        rig.bytes(*id, end);
        assert_eq!(status(&mut rig, *id), Some(101));
    }
    rig.connect();
}

#[test]
fn one_request_may_be_as_large_as_the_sum() {
    let mut rig = Rig::new(Limits { heads_bytes: 1024, head_bytes: 1024, ..quiet() });
    let id = rig.accept();
    let request = String::from_utf8(wire::upgrade_request("/ws")).unwrap();
    let cookie = format!("Cookie: {}\r\n\r\n", "c".repeat(1024 - request.len() - 10));
    let request = request.strip_suffix("\r\n").unwrap().to_owned() + &cookie;
    assert_eq!(request.len(), 1024);
    for byte in request.as_bytes() {
        rig.bytes(id, &[*byte]);
    }
    assert_eq!(status(&mut rig, id), Some(101));
}

#[test]
fn a_probe_is_told_whether_connections_are_taken() {
    let mut rig = Rig::new(Limits { connections: 2, ..quiet() });
    let probe = |rig: &mut Rig| {
        let id = rig.accept();
        rig.bytes(id, b"GET /up HTTP/1.0\r\n\r\n");
        let answer = status(rig, id);
        rig.shard.ended(id);
        rig.shard.released(id);
        answer
    };
    assert_eq!(probe(&mut rig), Some(200));
    let held = [rig.connect(), rig.connect()];
    assert_eq!(probe(&mut rig), Some(503), "it can take no more");
    rig.shard.ended(held[0]);
    rig.shard.released(held[0]);
    assert_eq!(probe(&mut rig), Some(200));
    rig.take(Down::StopAccepting);
    assert_eq!(probe(&mut rig), Some(503), "it shuts down");
    assert_eq!(rig.counters.refused_shutdown.value(), 0, "a probe is no client");
}

/// Goal: whatever comes, finishes, ends or is too slow in whatever order, nothing is kept of a
/// request that has ended.
#[test]
fn nothing_is_left_of_requests_that_have_ended() {
    for seed in 0..30 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut rig = Rig::new(Limits { heads_bytes: 4_000, ..quiet() });
        let request = wire::upgrade_request("/ws");
        let mut open: Vec<(ConnId, usize)> = Vec::new();
        for _ in 0..400 {
            match rng.random_range(0..5) {
                0 => open.push((rig.accept(), 0)),
                1 => rig.pass(Duration::from_millis(rng.random_range(0..300))),
                2 if !open.is_empty() => {
                    let (id, _) = open.swap_remove(rng.random_range(0..open.len()));
                    rig.shard.ended(id);
                }
                _ if !open.is_empty() => {
                    let place = rng.random_range(0..open.len());
                    let (id, sent) = &mut open[place];
                    let until = (*sent + rng.random_range(1..120)).min(request.len());
                    rig.bytes(*id, &request[*sent..until]);
                    *sent = until;
                }
                _ => {}
            }
            rig.sweep();
            for task in rig.tasks() {
                if let Task::Terminate { id, .. } = task {
                    rig.shard.released(id);
                    open.retain(|(known, _)| *known != id);
                }
            }
            rig.shard.check_invariants();
        }
    }
}

#[test]
fn whoever_has_not_asked_by_the_goodbye_or_comes_behind_it_is_answered_all_the_same() {
    let mut rig = Rig::new(quiet());
    let (silent, asking) = (rig.accept(), rig.accept());
    let request = wire::upgrade_request("/ws");
    rig.bytes(asking, &request[..20]);
    rig.take(Down::StopAccepting);
    rig.take(Down::Drain);
    let late = rig.accept();
    rig.bytes(late, &request);
    rig.bytes(asking, &request[20..]);
    rig.sweep();
    let tasks = rig.tasks();
    for id in [silent, asking, late] {
        let answer = String::from_utf8(rig.taken(id)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("\r\nRetry-After: 1\r\n"), "{answer}");
        assert!(tasks.contains(&Task::FinishSending(id)), "{tasks:?}");
        assert!(!rig.shard.is_done());
        rig.shard.ended(id);
        assert_eq!(rig.tasks(), [Task::Terminate { id, abort: false }]);
        rig.shard.released(id);
    }
    assert_eq!(rig.counters.refused_shutdown.value(), 3);
    assert!(rig.shard.is_done());
}

//! What the server does when the machine has no more to give: descriptors.
//!
//! Goal: accepting pauses and resumes, nothing spins, the log says so once, and whoever is
//! connected is served on. Method: the server starts with descriptors open that it knows nothing
//! of, as a careless supervisor leaves them, so what it has set aside is not there.

use std::time::Instant;

use crate::common::{
    Client, PROTO, RawClient, Server, eventually, figure, masked, messages, roadcast_after,
    upgrade_request,
};

/// What the server may have open, and of these what it has inherited.
const LIMIT: usize = 210;
const INHERITED: usize = 150;

/// Clients that come: more than the rest allows, fewer than `limits.connections`.
const KNOCKS: usize = 58;

fn starved() -> Server {
    let last = 40 + INHERITED;
    let mut command = roadcast_after(&format!(
        "ulimit -n {LIMIT}\nfor ((fd = 40; fd < {last}; fd++)); do eval \"exec $fd</dev/null\"; done"
    ));
    command.arg("serve");
    Server::start_by(
        command,
        &[
            "roadcast.shards=1",
            "roadcast.limits.connections=60",
            "roadcast.limits.rpc_connections=4",
            "roadcast.ping_interval=0",
        ],
    )
}

/// Connected as far as the kernel is concerned, with everything sent that makes a subscriber.
fn knock(server: &Server) -> RawClient {
    let mut client = RawClient::open(server.clients);
    let join = masked(0x81, br#"{"command":"join","topics":["news"]}"#);
    client.send(&[upgrade_request("/ws", &[]).as_bytes(), &join].concat());
    client
}

fn expect_joined(client: &mut RawClient) {
    client.expect_upgraded();
    let (first, reply) = client.frame().expect("a reply");
    assert_eq!(
        (first, reply.as_slice()),
        (0x81, br#"{"topic":"@join","payload":["news"]}"#.as_slice())
    );
}

fn expect_news(client: &mut RawClient, payload: &str) {
    let (_, text) = client.frame().expect("a publication");
    assert_eq!(
        String::from_utf8_lossy(&text),
        format!("{{\"topic\":\"news\",\"payload\":\"{payload}\"}}")
    );
}

#[test]
fn without_descriptors_accepting_rests_without_spinning_and_goes_on_when_there_are_some() {
    let server = starved();
    let mut publisher = server.publisher();
    publisher.publish(&["nobody"], b"connected");
    let own = server.descriptors();
    // More than there are descriptors for; the first come first.
    let mut clients: Vec<RawClient> = (0..KNOCKS).map(|_| knock(&server)).collect();
    let rests = || server.counts(0).get("accept_rests").copied().unwrap_or(0);
    eventually("accepting rests", || rests() > 0);
    let accepted = server.counts(0)["accepted"] as usize;
    assert!((20..KNOCKS).contains(&accepted), "{accepted} of {KNOCKS}");
    let mut waiting = clients.split_off(accepted);
    clients.iter_mut().for_each(expect_joined);

    // Whoever is there notices nothing.
    publisher.publish(&["news"], b"one");
    clients.iter_mut().for_each(|client| expect_news(client, "one"));
    // One goes: its place is taken at once by one of those who wait.
    clients.pop();
    eventually("its place is taken", || server.counts(0)["joins"] as usize == accepted + 1);
    publisher.publish(&["news"], b"two");
    clients.iter_mut().for_each(|client| expect_news(client, "two"));
    // A publisher that comes now waits as well.
    let mut late = server.publisher();
    let three = messages(&[(&["news"], b"three")]);
    late.call("broadcast.Publish", PROTO, &three).expect("the kernel takes it");

    // Nothing spins: some turns for each time that it tries again, and for what else may wake it; a
    // spin takes hundreds of thousands.
    let threads = ["hub", "shard-0"].map(|name| server.thread(name));
    let (before, begin) = (server.counts(0), Instant::now());
    let cpu = threads.map(|thread| thread.cpu_time());
    eventually("it tries again", || rests() >= before["accept_rests"] + 4);
    let (after, elapsed) = (server.counts(0), begin.elapsed());
    let turns = after["turns"] - before["turns"];
    let tries = after["accept_rests"] - before["accept_rests"];
    figure(
        "no descriptors: turns of the shard",
        format!("{turns} in {elapsed:.1?}, in which it tried {tries} times"),
    );
    for (thread, (name, before)) in threads.iter().zip(["hub", "shard"].into_iter().zip(cpu)) {
        figure(
            &format!("no descriptors: CPU of the {name}"),
            format!("{:?} in {elapsed:.1?}", thread.cpu_time() - before),
        );
    }
    assert!(turns <= 50 * tries, "{turns} turns for {tries} tries");
    assert!(threads[0].cpu_time() - cpu[0] < elapsed / 4, "the hub spins");
    let lines = |words: &str| -> Vec<String> {
        eventually(words, || server.log().contains(words));
        server.log().lines().filter(|line| line.contains(words)).map(str::to_owned).collect()
    };
    let said = lines("accepting rests");
    assert!(said[0].contains("os error 24") && said[0].contains("ulimit -n"), "{said:?}");
    assert!(
        said.len() < 10 && lines("cannot accept RPC connections").len() < 10,
        "{}",
        server.log()
    );

    // Some more go: everyone else gets in, the publisher too, which needs two descriptors. If there
    // was but one when it was accepted, it has been closed without an answer, and comes again.
    clients.truncate(clients.len() - waiting.len() - 2);
    waiting.iter_mut().for_each(expect_joined);
    let answer = late.answer().unwrap_or_else(|_| {
        late = server.publisher();
        late.ask("broadcast.Publish", PROTO, &three)
    });
    assert!(answer.is_ok());
    assert_eq!(server.counts(0)["joins"] as usize, KNOCKS);
    publisher.publish(&["news"], b"end");
    for client in clients.iter_mut().chain(&mut waiting) {
        while client.frame().expect("publications").1 != br#"{"topic":"news","payload":"end"}"# {}
    }
    assert_eq!(server.log().matches("accepting rests").count(), 1, "said once");
    drop((clients, waiting, late));
    eventually("all given back", || server.descriptors() == own);
    let mut client: Client = server.client();
    client.join(&["news"]);
    client.close();
}

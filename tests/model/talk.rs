//! What clients say: requests, commands, pings, echoes, nonsense, goodbyes.

use std::collections::BTreeMap;

use rand::RngExt;
use roadcast::position::{Epoch, Position};
use roadcast::ws::frame::Opcode;

use super::book::KEPT;
use super::client::{Client, Command, Expected, Goodbye, Recovery};
use super::desk;
use super::wire;
use super::world::World;

impl World {
    pub fn connect(&mut self) {
        let host = self.rng.random_range(0..self.hosts.len());
        let place = self.clients.len();
        if !self.hosts[host].is_listening() {
            return;
        }
        self.hosts[host].connect(place);
        let mut client = Client::new(host);
        client.echo = self.rng.random_bool(0.15);
        client.refused = self.rng.random_bool(0.03);
        client.expiring = self.desk.is_some() && self.rng.random_bool(0.2);
        match self.rng.random_range(0..10) {
            0..4 => {}
            4 => client.reads = 0,
            5 => client.answers_pings = false,
            _ => client.reads = [10, 1_000, 100_000][self.rng.random_range(0..3)],
        }
        if !client.is_steady() {
            client.capacity = [1, 100, 9_999, 30_000, usize::MAX][self.rng.random_range(0..5)];
            client.short = [0.0, 0.1, 0.6][self.rng.random_range(0..3)];
        }
        let path = match (client.refused, client.echo) {
            (true, _) if self.desk.is_some() && place.is_multiple_of(2) => desk::DENIED,
            (true, _) => "/nowhere",
            (_, true) => "/echo",
            _ if client.expiring => desk::EXPIRING,
            _ => "/ws",
        };
        client.send(&wire::upgrade_request(path));
        if self.rng.random_bool(0.03) {
            let sent = self.rng.random_range(0..client.outgoing.len());
            client.outgoing.truncate(sent);
        }
        self.clients.push(client);
    }

    /// One to a few things at once.
    pub fn say_something(&mut self, place: usize) {
        for _ in 0..[1, 1, 1, 2, 6][self.rng.random_range(0..5)] {
            match self.rng.random_range(0..100) {
                0..3 => return self.say_goodbye(place),
                3..15 => {
                    let ping = self.clients[place].ping();
                    self.clients[place].send(&ping);
                }
                15..18 => self.speak_nonsense(place),
                18..22 if self.desk.is_some() && !self.clients[place].echo => self.renew(place),
                _ if self.clients[place].echo => self.say_echo(place),
                _ => self.say_command(place),
            }
        }
    }

    fn say_command(&mut self, place: usize) {
        let join = self.rng.random_bool(0.6);
        let broker = match self.rng.random_range(0..20) {
            0 => "nowhere",
            1..7 => "bus",
            7..11 => "memory",
            _ => "",
        };
        let number = u16::from(broker == "bus");
        let mut topics: Vec<String> = (0..[1, 1, 1, 2, 4][self.rng.random_range(0..5)])
            .map(|_| self.random_topic(number))
            .collect();
        match self.rng.random_range(0..20) {
            0 => topics.push("t1-with-a-name-that-is-too-long".into()),
            1 => topics.push(String::new()),
            2 => topics.clear(),
            3 => topics.extend_from_slice(&topics.clone()),
            _ => {}
        }
        let (gaps, sent) = (join && self.rng.random_bool(0.4), self.hub.book.now());
        let counts = join && self.rng.random_bool(0.5);
        let recovery = counts.then(|| self.recovery(&topics));
        self.command(place, Command { join, gaps, recovery, sent, broker: broker.into(), topics });
    }

    /// What somebody who joins has read of some of the topics: what anybody was told of them, or
    /// what nobody was.
    fn recovery(&mut self, topics: &[String]) -> Recovery {
        let mut recovery = Recovery::default();
        for topic in topics.iter().filter(|topic| !topic.is_empty()) {
            let seen = self.clients.iter().flat_map(|client| &client.seen);
            let seen: Vec<_> = seen.filter(|(of, _)| of == topic).map(|(_, at)| *at).collect();
            if self.rng.random_bool(0.3) {
                continue;
            }
            let mut position = match seen.len() {
                0 => Position { offset: 1, epoch: Epoch(36u64.pow(11)) },
                known => seen[self.rng.random_range(0..known)],
            };
            match self.rng.random_range(0..20) {
                0 => position.epoch.0 ^= 1,
                1 => position.offset += 1_000_000,
                _ => position.offset += self.rng.random_range(0..4),
            }
            recovery.since.insert(topic.clone(), position);
        }
        recovery.last = self.rng.random_bool(0.3).then(|| self.rng.random_range(0..6));
        recovery
    }

    /// Sends another token.
    fn renew(&mut self, place: usize) {
        let good = self.rng.random_bool(0.7);
        let token = desk::TOKENS[usize::from(!good)];
        let message = serde_json::json!({ "command": "token", "payload": token }).to_string();
        self.message(place, Opcode::Text, message.as_bytes());
        let client = &mut self.clients[place];
        client.expiring |= good;
        client.expect(Expected::Token(good));
    }

    pub fn leave_everything(&mut self, place: usize) {
        for (number, name) in ["memory", "bus"].into_iter().enumerate() {
            let of_broker = |key: &&(u16, String)| usize::from(key.0 % KEPT) == number;
            let client = &self.clients[place];
            let topics: Vec<String> =
                client.topics().filter(of_broker).map(|key| key.1.clone()).collect();
            let (join, gaps, recovery, sent) = (false, false, None, self.hub.book.now());
            let broker = name.into();
            self.command(place, Command { join, gaps, recovery, sent, broker, topics });
        }
    }

    fn command(&mut self, place: usize, command: Command) {
        let name = if command.join { "join" } else { "leave" };
        let mut fields = serde_json::json!({});
        if command.gaps {
            fields["gaps"] = true.into();
        }
        if let Some(Recovery { since, last }) = &command.recovery {
            let position = |at: &Position| {
                let epoch = at.epoch.to_string();
                serde_json::json!({ "offset": at.offset, "epoch": epoch })
            };
            let since: BTreeMap<_, _> =
                since.iter().map(|(topic, at)| (topic, position(at))).collect();
            fields["recover"] = true.into();
            fields["since"] = serde_json::json!(since);
            if let Some(last) = last {
                fields["history"] = (*last).into();
            }
        }
        let message = match command.join {
            true => wire::join_with(&command.broker, &command.topics, &fields),
            false => wire::command(name, &command.broker, &command.topics),
        };
        let opcode = [Opcode::Text, Opcode::Binary][self.rng.random_range(0..2)];
        self.message(place, opcode, message.as_bytes());
        self.clients[place].expect(Expected::Reply(command));
    }

    fn say_echo(&mut self, place: usize) {
        let most = [10, 1_000, 60_000][self.rng.random_range(0..3)].min(self.limits.message_bytes);
        let message = vec![b'a' + self.rng.random_range(0..26u8); self.rng.random_range(0..=most)];
        let opcode = [Opcode::Text, Opcode::Binary][self.rng.random_range(0..2)];
        self.message(place, opcode, &message);
        self.clients[place].expect(Expected::Echo(opcode, message));
    }

    /// A message in one frame or a few, with pings between them.
    fn message(&mut self, place: usize, opcode: Opcode, message: &[u8]) {
        let mut rest = message;
        let mut opcode = opcode;
        while self.rng.random_bool(0.2) {
            let (first, second) = rest.split_at(self.rng.random_range(0..=rest.len()));
            self.clients[place].send(&wire::fragment(false, opcode, first));
            if self.rng.random() {
                let ping = self.clients[place].ping();
                self.clients[place].send(&ping);
            }
            (rest, opcode) = (second, Opcode::Continuation);
        }
        self.clients[place].send(&wire::fragment(true, opcode, rest));
    }

    /// Messages that are no commands are ignored.
    fn speak_nonsense(&mut self, place: usize) {
        let nonsense =
            ["{", "[]", "{\"command\":\"headers\"}", "{\"command\":\"dance\"}", "{\"command\":1}"];
        let message = nonsense[self.rng.random_range(0..nonsense.len())].as_bytes();
        self.message(place, Opcode::Text, message);
        if self.clients[place].echo {
            self.clients[place].expect(Expected::Echo(Opcode::Text, message.to_vec()));
        }
    }

    fn say_goodbye(&mut self, place: usize) {
        let goodbye = match self.rng.random_range(0..6) {
            0 => Goodbye::End,
            1 => Goodbye::Reset,
            2 => Goodbye::Close(None),
            3 => Goodbye::Close(Some(3000)),
            4 => Goodbye::Violation(1002),
            _ => Goodbye::Violation([1007, 1009][self.rng.random_range(0..2)]),
        };
        let client = &mut self.clients[place];
        match goodbye {
            Goodbye::Close(None) => client.send(&wire::masked(Opcode::Close, b"")),
            Goodbye::Close(Some(code)) => {
                client.send(&wire::masked(Opcode::Close, &code.to_be_bytes()))
            }
            // Not masked; text that is none; a length over the limit.
            Goodbye::Violation(1002) => client.send(b"\x81\x01x"),
            Goodbye::Violation(1007) => client.send(&wire::masked(Opcode::Text, b"\xFF\xFF")),
            Goodbye::Violation(_) => {
                client.send(b"\x82\xFF\x00\x00\x00\x00\x00\x10\x00\x00\x01\x02\x03\x04");
            }
            Goodbye::End | Goodbye::Reset => {}
        }
        let last_word = matches!(goodbye, Goodbye::Close(_) | Goodbye::Violation(_));
        if last_word && self.rng.random_bool(0.3) {
            self.clients[place].send(b"what nobody reads any more");
        }
        self.clients[place].goodbye = Some(goodbye);
    }
}

//! What happens on the fake sockets, one thing at a time.

use std::io;

use rand::RngExt;
use roadcast::engine::Happened;
use roadcast::shard::ConnId;

use super::super::client::Goodbye;
use super::{FakeBackend, Knock};

/// How far handing in has come since the last look: sockets one by one, input before room; then
/// those that are closed; then, now and then, one that has gone.
#[derive(Clone, Copy)]
pub(super) enum Look {
    Calls,
    Backlog,
    Input(usize),
    Room(usize),
    Closed(usize),
    Former,
    Over,
}

enum Heard {
    Input(ConnId),
    End(ConnId),
}

impl FakeBackend {
    pub(super) fn next_happened(&mut self) -> Option<Happened<'_, Knock>> {
        loop {
            match self.look {
                Look::Calls => {
                    self.look = Look::Backlog;
                    if std::mem::take(&mut self.woken) {
                        return Some(Happened::Woken);
                    }
                }
                Look::Backlog => match self.next_knock() {
                    None => self.look = Look::Input(0),
                    knock => return knock,
                },
                Look::Input(place) if place == self.sockets.len() => {
                    self.look = Look::Closed(place);
                }
                Look::Input(place) => {
                    self.look = Look::Room(place);
                    match self.hear(place) {
                        None => {}
                        Some(Heard::Input(id)) => {
                            return Some(Happened::Received(id, &mut self.input));
                        }
                        Some(Heard::End(id)) => return Some(Happened::Ended(id)),
                    }
                }
                Look::Room(place) => {
                    self.look = Look::Input(place + 1);
                    if let Some(id) = self.finds_room(place) {
                        return Some(Happened::Writable(id));
                    }
                }
                Look::Closed(0) => self.look = Look::Former,
                Look::Closed(place) => {
                    self.look = Look::Closed(place - 1);
                    if let Some(id) = self.close(place - 1) {
                        return Some(Happened::Released(id));
                    }
                }
                Look::Former => {
                    self.look = Look::Over;
                    if let Some(id) = self.late() {
                        return Some(self.happened_late(id));
                    }
                }
                Look::Over => {
                    self.asked_for_more = true;
                    return None;
                }
            }
        }
    }

    /// Whoever has come, one by one.
    fn next_knock(&mut self) -> Option<Happened<'static, Knock>> {
        // Once nobody listens, those who have been accepted already still come.
        if self.backlog.is_empty() || (self.listening && !self.accepting) {
            return None;
        }
        if self.listening && self.rng.random_bool(0.003) {
            self.accepting = false;
            return Some(Happened::AcceptingFailed(io::Error::from_raw_os_error(libc::EMFILE)));
        }
        self.nameless = self.backlog.pop_front();
        self.nameless.map(|client| Happened::Accepted(Knock(client)))
    }

    /// Input of the socket at a place, or its end.
    fn hear(&mut self, place: usize) -> Option<Heard> {
        let socket = &mut self.sockets[place];
        let client = &mut self.clients[socket.client];
        let reset = client.goodbye == Some(Goodbye::Reset);
        let ended = reset || client.goodbye == Some(Goodbye::End) && client.outgoing.is_empty();
        let hears = socket.receiving || socket.on_their_way > 0 || socket.closing.is_some();
        if hears && !client.outgoing.is_empty() && self.rng.random_bool(0.8) {
            socket.on_their_way = socket.on_their_way.saturating_sub(1);
            let most = [1, 3, 17, 200, 4096, 65_536][self.rng.random_range(0..6)];
            let piece = most.min(client.outgoing.len());
            self.input.clear();
            self.input.extend(client.outgoing.drain(..piece));
            return Some(Heard::Input(socket.id));
        }
        if socket.receiving && ended && !socket.end_told && self.rng.random_bool(0.5) {
            socket.end_told = true;
            return Some(Heard::End(socket.id));
        }
        None
    }

    /// Whether the look-out of the socket at a place ends.
    fn finds_room(&mut self, place: usize) -> Option<ConnId> {
        let socket = &mut self.sockets[place];
        let client = &self.clients[socket.client];
        let dead = client.goodbye == Some(Goodbye::Reset) || socket.closing.is_some();
        let room = dead || client.kernel.len() < client.capacity;
        if !(socket.watching && room && (dead || self.rng.random_bool(0.5))) {
            return None;
        }
        socket.watching = false;
        socket.refused = false;
        socket.had_room = self.step;
        Some(socket.id)
    }

    /// Closes the socket at a place, if its last completion has come.
    fn close(&mut self, place: usize) -> Option<ConnId> {
        let socket = &mut self.sockets[place];
        match &mut socket.closing {
            Some(0) if !socket.watching => {}
            Some(looks) => {
                *looks = looks.saturating_sub(self.rng.random_range(0..2));
                return None;
            }
            None => return None,
        }
        let socket = self.sockets.swap_remove(place);
        self.clients[socket.client].gone = true;
        self.former.push(socket.id);
        Some(socket.id)
    }

    /// A connection that has gone, and of which a completion comes late.
    fn late(&mut self) -> Option<ConnId> {
        let drawn = self.rng.random_range(0..self.former.len().max(8));
        self.former.get(drawn).copied()
    }

    fn happened_late(&mut self, id: ConnId) -> Happened<'_, Knock> {
        match self.rng.random_range(0..3) {
            0 => {
                self.input = vec![0; 100];
                Happened::Received(id, &mut self.input)
            }
            1 => Happened::Writable(id),
            _ => Happened::Ended(id),
        }
    }
}

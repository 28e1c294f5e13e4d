//! The floor: a loop of plain blocking `write()` calls that copies a ready frame to each socket of
//! a topic.
//!
//! It does nothing else that a server does: it checks no handshake, knows no slow reader, answers
//! no publisher.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;

use anyhow::{Result, bail};
use rustix::event::epoll;

use super::say_ready;
use crate::dialect::{JOINED, LEFT, TopicName};
use crate::frame;

const CLIENTS: u64 = u64::MAX;
const PUBLISHES: u64 = u64::MAX - 1;
const PUBLISHER: u64 = u64::MAX - 2;

/// One WebSocket client.
struct Client {
    stream: Rc<TcpStream>,
    input: Vec<u8>,
    upgraded: bool,
    topic: Option<u32>,
}

struct Floor {
    /// Whether the frames of one read leave in one write a socket; else each frame in a write of
    /// its own.
    batch: bool,
    epoll: std::os::fd::OwnedFd,
    clients: HashMap<u64, Client>,
    named: u64,
    topics: HashMap<u32, Vec<(u64, Rc<TcpStream>)>>,
    publisher: Option<TcpStream>,
    /// What the publisher has sent, and how much of the buffer that fills.
    publishes: Vec<u8>,
    filled: usize,
}

/// Serves for ever.
pub fn serve(clients: TcpListener, publishes: TcpListener, batch: bool) -> Result<()> {
    // std listens with a backlog of 128; a storm of connections needs more.
    rustix::net::listen(&clients, 4096)?;
    clients.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &clients, epoll::EventData::new_u64(CLIENTS), epoll::EventFlags::IN)?;
    epoll::add(&epoll, &publishes, epoll::EventData::new_u64(PUBLISHES), epoll::EventFlags::IN)?;
    let mut floor = Floor {
        batch,
        epoll,
        clients: HashMap::new(),
        named: 0,
        topics: HashMap::new(),
        publisher: None,
        publishes: vec![0; 1 << 20],
        filled: 0,
    };
    say_ready()?;
    let mut events = Vec::with_capacity(1024);
    loop {
        events.clear();
        match epoll::wait(&floor.epoll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => bail!(error),
        }
        for event in &events {
            match event.data.u64() {
                CLIENTS => floor.accept(&clients)?,
                PUBLISHES => {
                    let (stream, _) = publishes.accept()?;
                    let data = epoll::EventData::new_u64(PUBLISHER);
                    epoll::add(&floor.epoll, &stream, data, epoll::EventFlags::IN)?;
                    floor.filled = 0;
                    floor.publisher = Some(stream);
                }
                PUBLISHER => floor.publish()?,
                name => floor.command(name)?,
            }
        }
    }
}

impl Floor {
    fn accept(&mut self, listener: &TcpListener) -> Result<()> {
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => bail!(error),
            };
            stream.set_nodelay(true)?;
            let flags = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
            epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(self.named), flags)?;
            let client =
                Client { stream: Rc::new(stream), input: Vec::new(), upgraded: false, topic: None };
            self.clients.insert(self.named, client);
            self.named += 1;
        }
    }

    fn command(&mut self, name: u64) -> Result<()> {
        let Some(client) = self.clients.get_mut(&name) else { return Ok(()) };
        let mut bytes = [0; 4096];
        let received = (&*client.stream).read(&mut bytes).unwrap_or(0);
        if received == 0 {
            self.forget(name);
            return Ok(());
        }
        client.input.extend_from_slice(&bytes[..received]);
        if !client.upgraded {
            let Some(end) = memchr::memmem::find(&client.input, b"\r\n\r\n") else { return Ok(()) };
            client.input.drain(..end + 4);
            client.upgraded = true;
            let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
            if (&*client.stream).write_all(answer.as_bytes()).is_err() {
                self.forget(name);
                return Ok(());
            }
        }
        let Some(client) = self.clients.get_mut(&name) else { return Ok(()) };
        while let Some((_, text, len)) = frame::head_masked(&client.input) {
            client.input.drain(..len);
            let Some(topic) = TopicName::index_of(text.get(1..).unwrap_or_default()) else {
                continue;
            };
            let subscribers = self.topics.entry(topic).or_default();
            let answer = if text.first() == Some(&b'J') {
                client.topic = Some(topic);
                subscribers.push((name, client.stream.clone()));
                JOINED
            } else {
                client.topic = None;
                subscribers.retain(|(subscriber, _)| *subscriber != name);
                LEFT
            };
            let mut reply = Vec::new();
            frame::encode_plain(&mut reply, frame::TEXT, answer);
            let _ = (&*client.stream).write_all(&reply);
        }
        Ok(())
    }

    fn forget(&mut self, name: u64) {
        let Some(client) = self.clients.remove(&name) else { return };
        if let Some(subscribers) = client.topic.and_then(|topic| self.topics.get_mut(&topic)) {
            subscribers.retain(|(subscriber, _)| *subscriber != name);
        }
    }

    fn publish(&mut self) -> Result<()> {
        let Some(publisher) = &mut self.publisher else { return Ok(()) };
        let received = publisher.read(&mut self.publishes[self.filled..]).unwrap_or(0);
        self.filled += received;
        if received == 0 {
            self.publisher = None;
            return Ok(());
        }
        // What each topic gets, in the order of its first frame.
        let mut batches: Vec<(u32, Vec<u8>)> = Vec::new();
        let mut place: HashMap<u32, usize> = HashMap::new();
        let mut at = 0;
        while let Some(head) = self.publishes[at..self.filled].first_chunk::<8>() {
            let [a, b, c, d, e, f, g, h] = *head;
            let (len, topic) =
                (u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]));
            let Some(frame) = self.publishes[..self.filled].get(at + 8..at + 8 + len) else {
                break;
            };
            if self.batch {
                let place = *place.entry(topic).or_insert_with(|| {
                    batches.push((topic, Vec::new()));
                    batches.len() - 1
                });
                batches[place].1.extend_from_slice(frame);
            } else {
                self.copy_to_all(topic, frame);
            }
            at += 8 + len;
        }
        for (topic, frames) in &batches {
            self.copy_to_all(*topic, frames);
        }
        self.publishes.copy_within(at..self.filled, 0);
        self.filled -= at;
        if self.filled == self.publishes.len() {
            self.publishes.resize(2 * self.filled, 0);
        }
        Ok(())
    }

    fn copy_to_all(&self, topic: u32, frames: &[u8]) {
        for (_, stream) in self.topics.get(&topic).into_iter().flatten() {
            // A client that has gone is forgotten when its socket says so.
            let _ = (&**stream).write_all(frames);
        }
    }
}

//! RPC connections are taken here, each gets a task, and at the end all of them are closed.

use std::cell::RefCell;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use slab::Slab;
use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::warn;

use super::input::Spare;
use super::said::Said;
use super::socket;
use super::stream::{Accepting, Peer, Stream};
use crate::hub::core::Core;

/// How long accepting pauses when descriptors are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The open RPC connections, and what they share.
pub(in crate::hub) struct Connections {
    core: Rc<Core>,
    said: Rc<Said>,
    /// Large buffers for whoever is busy.
    spare: Rc<Spare>,
    /// To end them all.
    open: RefCell<Slab<Rc<Stream>>>,
    /// Says that one has ended.
    ended: Notify,
}

impl Connections {
    pub(in crate::hub) fn new(core: Rc<Core>) -> Self {
        Self {
            core,
            said: Rc::default(),
            spare: Rc::default(),
            open: RefCell::default(),
            ended: Notify::new(),
        }
    }

    pub(in crate::hub) fn is_empty(&self) -> bool {
        self.open.borrow().is_empty()
    }

    /// Accepts connections for ever; the listener is closed when this future is dropped.
    pub(in crate::hub) async fn accept(self: Rc<Self>, listener: Accepting) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => self.take(stream, peer),
                Err(error) if is_the_peers(&error) => {}
                Err(error) => {
                    const LINE: &str = "cannot accept RPC connections, trying again";
                    if let Some(unsaid) = self.said.due(LINE, "accept") {
                        warn!(%error, "{LINE}{unsaid}");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn take(self: &Rc<Self>, stream: Stream, peer: Peer) {
        let (limit, counters) = (self.core.limits.rpc_connections, &self.core.counters);
        let mut open = self.open.borrow_mut();
        if open.len() >= limit {
            counters.rpc_refused.add(1);
            const LINE: &str = "RPC connection refused: roadcast.limits.rpc_connections reached";
            if let Some(unsaid) = self.said.due(LINE, "limit") {
                warn!(%peer, limit, "{LINE}{unsaid}");
            }
            return;
        }
        counters.rpc_accepted.add(1);
        let stream = Rc::new(stream);
        let place = open.insert(stream.clone());
        counters.rpc_open.set(open.len() as u64);
        drop(open);
        let all = self.clone();
        counters.spawn(async move {
            let (core, said) = (all.core.clone(), all.said.clone());
            socket::serve(core, said, all.spare.clone(), stream, peer).await;
            all.forget(place);
        });
    }

    /// A connection has ended.
    fn forget(&self, place: usize) {
        let mut open = self.open.borrow_mut();
        open.remove(place);
        self.core.counters.rpc_open.set(open.len() as u64);
        self.ended.notify_one();
    }

    /// Closes every connection and waits until their operations have ended.
    pub(in crate::hub) async fn close(&self) {
        for (_, stream) in &*self.open.borrow() {
            stream.shutdown(Shutdown::Both);
        }
        while !self.is_empty() {
            self.ended.notified().await;
        }
        self.said.say_left_out();
    }
}

/// Whether an accept failed for the connection that it was about, and only for that.
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, Interrupted, InvalidInput, NotConnected,
    };
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted | InvalidInput | NotConnected
    )
}

//! The RPC socket: one task a connection, which reads calls, has them worked through ([`Calls`])
//! and writes their answers.
//!
//! Invariants worth naming:
//! - **A connection holds what it reads, bounded**: at most a frame and a read, and next to nothing
//!   while it pauses. Who does not read answers is not read from.

use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, warn};

use super::calls::{Caller, Calls};
use super::input::{Input, Spare};
use super::said::Said;
use super::stream::{Peer, Stream};
use crate::hub::core::Core;
use crate::rpc::FrameError;

/// Bytes of what a violator still sends that are discarded at a time.
const DISCARD_BYTES: usize = 4 * 1024;
/// How long a violator may go on sending before its connection is closed with its input unread.
const LINGER: Duration = Duration::from_secs(1);

/// Serves one connection to its end.
pub(super) async fn serve(
    core: Rc<Core>,
    said: Rc<Said>,
    spare: Rc<Spare>,
    stream: Rc<Stream>,
    peer: Peer,
) {
    let calls = Calls::new(core.clone(), said.clone(), stream.clone(), peer);
    let mut connection = Connection { calls, stream, spare, rpc_timeout: core.limits.rpc_timeout };
    let counters = &core.counters;
    match connection.run().await {
        End::Closed => {}
        End::Violation(violation) => {
            counters.rpc_violations.add(1);
            const LINE: &str = "RPC connection closed";
            if let Some(unsaid) = said.due(LINE, violation.kind()) {
                warn!(%peer, %violation, "{LINE}{unsaid}");
            }
            connection.linger().await;
        }
        End::Broken(error) if error.kind() == io::ErrorKind::TimedOut => {
            counters.rpc_timeouts.add(1);
            const LINE: &str = "RPC connection closed: a frame or the reading of answers took longer than roadcast.limits.rpc_timeout";
            if let Some(unsaid) = said.due(LINE, "timeout") {
                warn!(%peer, "{LINE}{unsaid}");
            }
        }
        End::Broken(error) => {
            const LINE: &str = "RPC connection broke";
            if let Some(unsaid) = said.due(LINE, "broken") {
                debug!(%peer, %error, "{LINE}{unsaid}");
            }
        }
    }
}

/// Why a connection ends.
enum End {
    /// The peer has said all, or the server closes.
    Closed,
    Violation(FrameError),
    Broken(io::Error),
}

impl Caller for Rc<Stream> {
    async fn write_answers(
        &self,
        answers: Vec<u8>,
        timeout: Duration,
    ) -> (io::Result<()>, Vec<u8>) {
        self.write_all(answers, timeout).await
    }

    async fn give_way(&self) {
        Stream::give_way(self).await;
    }
}

struct Connection {
    calls: Calls<Rc<Stream>>,
    stream: Rc<Stream>,
    spare: Rc<Spare>,
    rpc_timeout: Duration,
}

impl Connection {
    async fn run(&mut self) -> End {
        let mut input = Input::new(self.spare.clone());
        // Bytes of the frame under way, and when it must be there.
        let mut frame_bytes = 0;
        let mut deadline = None;
        loop {
            match self.read(&mut input, frame_bytes, deadline).await {
                Ok(0) => return End::Closed,
                Ok(_) => {}
                Err(error) => return End::Broken(error),
            }

            let consumed = match self.calls.take(&input.bytes).await {
                Ok((consumed, Ok(bytes))) => {
                    frame_bytes = bytes;
                    consumed
                }
                Ok((_, Err(violation))) => return End::Violation(violation),
                Err(error) => return End::Broken(error),
            };
            input.bytes.drain(..consumed);
            if input.bytes.is_empty() {
                deadline = None;
            } else if consumed > 0 || deadline.is_none() {
                deadline = Some(Instant::now() + self.rpc_timeout);
            }
        }
    }

    /// Reads what is there at once from a caller that is busy, and waits for more from any other.
    async fn read(
        &mut self,
        input: &mut Input,
        frame_bytes: usize,
        deadline: Option<Instant>,
    ) -> io::Result<usize> {
        let busy = self.stream.is_busy();
        if busy {
            input.make_room(frame_bytes);
            if let Some(bytes) = self.stream.read_at_once(&mut input.bytes) {
                return Ok(bytes);
            }
        }
        input.make_room_to_wait(frame_bytes, busy);
        self.calls.rest();
        let (result, bytes) = self.stream.read(std::mem::take(&mut input.bytes), deadline).await;
        input.bytes = bytes;
        if self.stream.is_busy() && input.is_filled() {
            // All that is there, before any of it is answered: answers in two parts cost the caller
            // and us a call more each.
            input.enlarge();
            self.stream.read_at_once(&mut input.bytes);
        }
        result
    }

    /// Closing while input is unread would reset the connection and destroy answers that are under
    /// way.
    async fn linger(&mut self) {
        self.stream.shutdown(Shutdown::Write);
        let deadline = Instant::now() + LINGER;
        let mut discarded = Vec::with_capacity(DISCARD_BYTES);
        while Instant::now() < deadline {
            let result;
            (result, discarded) = self.stream.read(discarded, Some(deadline)).await;
            if !matches!(result, Ok(bytes) if bytes > 0) {
                return;
            }
            discarded.clear();
        }
    }
}

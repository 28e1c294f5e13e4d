//! Where the messages come from: the command line, or standard input, a message a line.

use std::io::{self, BufRead, BufReader, Read, Stdin};

/// Bytes of one line. The default bound of a goridge frame is 16 MiB; no server takes more without
/// being told to.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// Where messages come from.
pub enum Input {
    /// The command line.
    One(Option<Vec<u8>>),
    /// Standard input, a message a line.
    Lines(BufReader<Stdin>),
}

/// What comes next.
pub enum Next {
    /// A message.
    Message(Vec<u8>),
    /// A line that is longer than [`LINE_BYTES_MAX`], and has been skipped.
    TooLong,
    /// No more.
    End,
}

impl Input {
    /// The next message. Waits for it.
    pub fn next(&mut self) -> io::Result<Next> {
        let input = match self {
            Self::One(message) => return Ok(message.take().map_or(Next::End, Next::Message)),
            Self::Lines(input) => input,
        };
        let mut line = Vec::new();
        input.take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(Next::End);
        }
        if line.last() == Some(&b'\n') {
            line.pop();
            // Files of other systems end their lines with both.
            line.pop_if(|last| *last == b'\r');
        } else if line.len() as u64 > LINE_BYTES_MAX {
            input.skip_until(b'\n')?;
            return Ok(Next::TooLong);
        }
        Ok(Next::Message(line))
    }

    /// Whether the next message may be long in coming.
    pub fn awaited(&self) -> bool {
        match self {
            Self::One(_) => true,
            Self::Lines(input) => !input.buffer().contains(&b'\n'),
        }
    }
}

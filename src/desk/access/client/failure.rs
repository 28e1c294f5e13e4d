//! Why there is no answer.

use std::error::Error;
use std::io;
use std::time::Duration;

use http_body_util::LengthLimitError;

/// The kinds: a closed set, for counts and the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No connection: nobody listens, no such name.
    Connect,
    /// TLS failed: a certificate that is not trusted, most likely.
    Tls,
    /// It took too long.
    Late,
    /// The connection ended before the answer did.
    Closed,
    /// What came is no HTTP.
    Garbled,
    /// More came than is allowed.
    Large,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its kind.
    pub fault: Fault,
    /// In words, for the log.
    pub why: String,
}

/// Of a message: a certificate may name many names.
const WHY_CHARS_MAX: usize = 300;

impl Failure {
    /// No answer in time.
    pub fn late(limit: Duration) -> Self {
        Self { fault: Fault::Late, why: format!("no answer within {limit:?}") }
    }

    /// A request failed; `connecting`: before it was sent.
    pub fn of(error: &(dyn Error + 'static), connecting: bool) -> Self {
        let is_large = |error: &hyper::Error| error.is_parse_too_large();
        let is_parse = |error: &hyper::Error| error.is_parse();
        let fault = if is(error, |_: &rustls::Error| true) {
            Fault::Tls
        } else if is(error, |error: &io::Error| error.kind() == io::ErrorKind::TimedOut) {
            Fault::Late
        } else if connecting {
            Fault::Connect
        } else if is(error, is_large) {
            Fault::Large
        } else if is(error, is_parse) || is(error, is_invalid) {
            Fault::Garbled
        } else {
            Fault::Closed
        };
        Self { fault, why: deepest(error) }
    }

    /// The body of an answer failed.
    pub fn of_body(error: &(dyn Error + 'static), bytes_max: usize) -> Self {
        if is(error, |_: &LengthLimitError| true) {
            let why = format!("the answer has more than {} KiB", bytes_max / 1024);
            return Self { fault: Fault::Large, why };
        }
        Self::of(error, false)
    }
}

/// A chunk that is none.
fn is_invalid(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput)
}

/// An error and what caused it, one behind the other.
fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        // What an `io::Error` is made of is not its source.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source())
    })
}

fn is<E: Error + 'static>(error: &(dyn Error + 'static), holds: impl Fn(&E) -> bool) -> bool {
    chain(error).filter_map(|error| error.downcast_ref::<E>()).any(holds)
}

/// The first cause: those above it say in which part of a library it was seen.
fn deepest(error: &(dyn Error + 'static)) -> String {
    let text = chain(error).last().map_or_else(String::new, ToString::to_string);
    text.chars().take(WHY_CHARS_MAX).collect()
}

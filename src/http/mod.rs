//! HTTP as far as a WebSocket server needs it: the head of a request, and what is read from it.
//! Pure codecs without I/O, clock or connection state.
//!
//! A request's head is read once, in two steps. [`arrival`] says whether its end has come; then
//! [`head`] parses it into a [`Head`], and everything else reads that value.
//!
//! | module | what |
//! |---|---|
//! | [`arrival`] | how far a head has come, and what can never become one |
//! | [`head`] | method, target, headers: parsed once |
//! | [`fault`] | why a request is refused: its status, and words for the log |
//! | [`origin`] | which web pages may connect |
//! | [`forwarded`] | whom a proxy names by `X-Forwarded-For`, `Forwarded` or `X-Real-IP` |
//! | [`proxy_protocol`] | whom a proxy names before the request |
//! | [`proxies`] | which proxies are believed |
//!
//! Deliberately absent: bodies. A request that has one is refused.

pub mod arrival;
pub mod fault;
pub mod forwarded;
pub mod head;
pub mod origin;
pub mod proxies;
pub mod proxy_protocol;

pub use fault::Fault;
pub use head::Head;

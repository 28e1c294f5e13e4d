//! The WebSocket protocol (RFC 6455) as seen by a server: pure codecs without I/O, clock or
//! connection state of their own.
//!
//! A connection begins with [`upgrade`], which reads the HTTP request head and writes the answer;
//! [`reader`] then turns the bytes a client sends into messages and control frames, and [`frame`]
//! and [`close`] write what goes back.
//!
//! Deliberately absent: extensions (permessage-deflate); none is ever agreed.

pub mod close;
pub mod forwarded;
pub mod frame;
pub mod origin;
pub mod proxies;
pub mod proxy_protocol;
pub mod reader;
pub mod upgrade;

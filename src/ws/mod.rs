//! The WebSocket protocol (RFC 6455) as seen by a server: pure codecs without I/O, clock or
//! connection state of their own.
//!
//! A connection begins with [`upgrade`], which answers the HTTP request that [`crate::http`] has
//! read; [`reader`] then turns the bytes a client sends into messages and control frames, and
//! [`frame`] and [`close`] write what goes back.
//!
//! Deliberately absent: extensions (permessage-deflate); none is ever agreed.

pub mod close;
pub mod frame;
pub mod reader;
pub mod upgrade;

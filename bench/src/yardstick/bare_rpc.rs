//! The bare RPC loop: reads goridge frames, answers each with a ready-made reply, publishes
//! nothing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::Result;

use super::say_ready;
use crate::dialect::goridge;

/// Serves one connection after the other, for ever.
pub fn serve(listen: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(listen)?;
    say_ready()?;
    for connection in listener.incoming() {
        if let Err(error) = answer_all(connection?) {
            eprintln!("bare-rpc: {error}");
        }
    }
    Ok(())
}

fn answer_all(mut connection: TcpStream) -> Result<()> {
    const METHOD: &[u8] = b"broadcast.Publish";
    const OK: &[u8] = &[0x08, 0x01];
    connection.set_nodelay(true)?;
    let mut reply = Vec::new();
    goridge::encode_header(&mut reply, 0, METHOD.len(), METHOD.len() + OK.len());
    reply.extend_from_slice(METHOD);
    reply.extend_from_slice(OK);

    let mut input = vec![0; 256 * 1024];
    let mut filled = 0;
    let mut replies = Vec::new();
    loop {
        let received = connection.read(&mut input[filled..])?;
        if received == 0 {
            return Ok(());
        }
        filled += received;
        let mut at = 0;
        while let Some((len, _)) = goridge::measure(&input[at..filled]) {
            let Some(call) = input[at..filled].get(..len) else { break };
            // The call's number: the first option.
            reply[12..16].copy_from_slice(&call[12..16]);
            replies.extend_from_slice(&reply);
            at += len;
        }
        input.copy_within(at..filled, 0);
        filled -= at;
        if filled == input.len() {
            input.resize(2 * filled, 0);
        }
        connection.write_all(&replies)?;
        replies.clear();
    }
}

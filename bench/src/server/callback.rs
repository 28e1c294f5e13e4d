//! A callback that lets everybody in, in a thread of the generator's: its CPU is not the server's.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use anyhow::Result;

const ALLOWED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Serves as long as this process lives; says where.
pub fn start() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::Builder::new().name("callback".into()).spawn(move || {
        for stream in listener.incoming().flatten() {
            // One a connection of the server's pool.
            thread::spawn(move || serve(stream));
        }
    })?;
    Ok(address)
}

/// Answers each request of a connection. What ends it needs no word.
fn serve(mut stream: TcpStream) {
    let (mut input, mut piece) = (Vec::new(), [0; 16 * 1024]);
    while let Ok(bytes @ 1..) = stream.read(&mut piece) {
        input.extend_from_slice(&piece[..bytes]);
        while let Some(request) = request_bytes(&input) {
            input.drain(..request);
            if stream.write_all(ALLOWED).is_err() {
                return;
            }
        }
    }
}

/// Bytes of the first request, if it is whole.
fn request_bytes(input: &[u8]) -> Option<usize> {
    let head = memchr::memmem::find(input, b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&input[..head]).ok()?.to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let whole = head + length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
    (input.len() >= whole).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_whole_with_its_content() {
        let request = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcPOST";
        assert_eq!(request_bytes(request), Some(request.len() - 4));
        assert_eq!(request_bytes(&request[..request.len() - 5]), None);
    }
}

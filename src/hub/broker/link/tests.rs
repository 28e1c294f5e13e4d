use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::time::timeout;

use super::*;

const MAX: usize = 1 << 20;

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let limit = Duration::from_secs(20);
    runtime.block_on(async { timeout(limit, test).await.expect("in time") });
}

async fn pair() -> (Link, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let address = Address::parse(&format!("127.0.0.1:{port}"), None).unwrap();
    let (link, accepted) = tokio::join!(Link::dial(&address), listener.accept());
    (link.unwrap(), accepted.unwrap().0)
}

#[test]
fn what_is_queued_while_it_reads_is_sent() {
    run(async {
        let (mut link, mut server) = pair().await;
        let out = link.out().clone();
        let talk = async {
            // The link has begun to read and has nothing to send by now.
            tokio::task::yield_now().await;
            out.queue(|bytes| bytes.extend(b"ping"));
            let mut ping = [0; 4];
            server.read_exact(&mut ping).await.unwrap();
            server.write_all(b"pong").await.unwrap();
            ping
        };
        let (read, ping) = tokio::join!(link.read(MAX), talk);
        read.unwrap();
        assert_eq!((link.bytes(), &ping), (&b"pong"[..], b"ping"));
        assert_eq!((out.queued(), out.sent(), link.stuck()), (0, 4, None));
    });
}

#[test]
fn a_server_that_takes_nothing_is_seen_to_be_stuck_while_the_link_is_driven() {
    run(async {
        let (mut link, mut server) = pair().await;
        let out = link.out().clone();
        out.queue(|bytes| bytes.resize(64 << 20, b'x'));
        assert!(timeout(Duration::from_millis(50), link.drive()).await.is_err());
        assert!(link.stuck().is_some() && out.queued() > 0);
        let taken = async {
            let mut buffer = vec![0; 1 << 20];
            while out.queued() > 0 {
                assert!(server.read(&mut buffer).await.unwrap() > 0);
            }
        };
        tokio::select! { () = taken => {}, error = link.drive() => panic!("{error}") }
        assert_eq!(link.stuck(), None);
    });
}

#[test]
fn a_connection_that_ends_is_an_error_also_for_who_only_writes() {
    run(async {
        let (mut link, mut server) = pair().await;
        server.write_all(b"last").await.unwrap();
        drop(server);
        link.read(MAX).await.unwrap();
        assert_eq!(link.bytes(), b"last");
        assert_eq!(link.read(MAX).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        link.out().queue(|bytes| bytes.extend(b"x"));
        let out = link.out().clone();
        let more = async {
            loop {
                tokio::task::yield_now().await;
                out.queue(|bytes| bytes.extend(b"x"));
            }
        };
        tokio::select! { _ = link.drive() => {}, () = more => {} }
    });
}

#[test]
fn a_message_that_is_longer_than_allowed_ends_it_before_it_is_held() {
    run(async {
        let (mut link, mut server) = pair().await;
        let send = async {
            server.write_all(&[b'x'; 300_000]).await.unwrap();
        };
        let read = async {
            loop {
                if let Err(error) = link.read(100_000).await {
                    break error;
                }
            }
        };
        let (error, ()) = tokio::join!(read, send);
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(link.bytes().len() <= 100_000 + 64 * 1024);
    });
}

#[test]
fn a_socket_in_the_file_system_is_an_address_too() {
    let path = std::env::temp_dir().join(format!("roadcast-link-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    run(async {
        let listener = UnixListener::bind(&path).unwrap();
        let address = Address::parse(path.to_str().unwrap(), None).unwrap();
        let (link, accepted) = tokio::join!(Link::dial(&address), listener.accept());
        let (mut link, mut server) = (link.unwrap(), accepted.unwrap().0);
        server.write_all(b"hello").await.unwrap();
        link.read(MAX).await.unwrap();
        assert_eq!(link.bytes(), b"hello");
    });
    std::fs::remove_file(&path).unwrap();
}

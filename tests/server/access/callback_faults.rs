//! A callback that is slow, down, or answers what it should not.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::callback::{asking, failures, guarded, upgrade};
use super::{connect, metric, ready};
use crate::common::{eventually, upgrade_request};

#[test]
fn a_callback_that_is_slow_is_given_up_on_and_the_client_may_come_again() {
    let more = ["roadcast.access.http.timeout=300ms"];
    let Some((server, _service)) = guarded(&more) else { return };
    let answer = upgrade(&server, "/ws?slow_in=60000");
    assert_eq!((answer.status, answer.header("Retry-After")), (503, Some("1")));
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.contains("the callback has not answered in time"), "{text}");
    assert_eq!(failures(&server, "late"), 1);
    assert_eq!(metric(&server, "access_refused_total", &["down"]), 1);
    server.says("no answer within 300ms", 1);
    server.says("may not connect: the callback has not answered in time", 1);
}

#[test]
fn a_callback_that_answers_10_mb_is_cut_off_and_judges_nobody() {
    let Some((server, _service)) = guarded(&[]) else { return };
    for path in ["/ws?large=10000000", "/ws?large=10000000&status=403"] {
        assert_eq!(upgrade(&server, path).status, 400);
    }
    assert_eq!((failures(&server, "large"), metric(&server, "callback_open", &[])), (2, 0));
    server.says("more than 512 KiB", 1);
    let answer = upgrade(&server, "/ws?large=524288&status=403");
    assert_eq!((answer.status, answer.body.len()), (403, 524_288));
}

#[test]
fn a_callback_whose_head_is_too_large_judges_nobody() {
    let Some((server, _service)) = guarded(&[]) else { return };
    assert_eq!(upgrade(&server, "/ws?head=60000").status, 101);
    for head in [66_000, 100_000, 10_000_000] {
        assert_eq!(upgrade(&server, &format!("/ws?head={head}")).status, 400, "{head}");
    }
    let refused = failures(&server, "large") + failures(&server, "verdict");
    assert_eq!((refused, metric(&server, "callback_open", &[])), (3, 0));
}

/// A server that says what it is told to: `says` is called with the number of the connection, that
/// of the request on it, and what to write to. How many connections it has had.
fn raw(
    says: impl Fn(usize, usize, &mut TcpStream) -> bool + Send + Sync + 'static,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (count, says) = (Arc::new(AtomicUsize::new(0)), Arc::new(says));
    let connections = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, says) = (stream.unwrap(), says.clone());
            let connection = connections.fetch_add(1, Ordering::Relaxed);
            std::thread::spawn(move || {
                let mut request = 0;
                while read_question(&mut stream) && says(connection, request, &mut stream) {
                    request += 1;
                }
            });
        }
    });
    (address, count)
}

/// Reads one POST. `false`: the connection has ended.
fn read_question(stream: &mut TcpStream) -> bool {
    let mut read = Vec::new();
    loop {
        let mut bytes = [0; 4096];
        match stream.read(&mut bytes) {
            Ok(0) | Err(_) => return false,
            Ok(count) => read.extend_from_slice(&bytes[..count]),
        }
        // The last of the JSON.
        if read.ends_with(b"}}") {
            return true;
        }
    }
}

const YES: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

#[test]
fn a_question_on_a_kept_connection_that_has_ended_is_put_again_once() {
    // The second request on the first connection ends it, without a byte.
    let (address, connections) = raw(|connection, request, stream| {
        (connection, request) != (0, 1) && stream.write_all(YES).is_ok()
    });
    let server = asking(&format!("http://{address}"), &[]);
    connect(&server, "/ws").unwrap().join(&["news"]);
    assert_eq!(metric(&server, "callback_questions_put_again_total", &[]), 1);
    assert_eq!(connections.load(Ordering::Relaxed), 2);
    assert_eq!(failures(&server, "closed"), 0);
}

#[test]
fn a_question_whose_answer_has_begun_is_not_put_again_nor_one_on_a_fresh_connection() {
    // The first connection ends within its second answer; the others without a byte.
    let (address, connections) = raw(|connection, request, stream| {
        let all = connection == 0 && request == 0;
        stream
            .write_all(if connection == 0 { &YES[..if all { YES.len() } else { 20 }] } else { b"" })
            .is_ok()
            && all
    });
    let server = asking(&format!("http://{address}"), &[]);
    let mut client = connect(&server, "/ws").unwrap();
    client.command("join", &["news"]);
    client.expect_reply("#join", &["news"]);
    assert_eq!((connections.load(Ordering::Relaxed), failures(&server, "closed")), (1, 1));
    assert_eq!(upgrade(&server, "/ws").status, 503);
    assert_eq!((connections.load(Ordering::Relaxed), failures(&server, "closed")), (2, 2));
    assert_eq!(metric(&server, "callback_questions_put_again_total", &[]), 0);
}

#[test]
fn half_an_answer_is_none() {
    let (address, _) = raw(|_, _, stream| {
        let half = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
        stream.write_all(half).unwrap();
        false
    });
    let server = asking(&format!("http://{address}"), &[]);
    assert_eq!(upgrade(&server, "/ws").status, 503);
    assert_eq!(failures(&server, "closed"), 1);
}

#[test]
fn what_is_no_http_or_no_end_of_it_lets_nobody_in() {
    for (says, reason) in [
        (&b"SSH-2.0-OpenSSH_9.6\r\n"[..], "garbled"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "garbled"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "garbled"),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
            "verdict",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nRoadcast-Info: Ann\r\n\r\n", "verdict"),
    ] {
        let (address, _) = raw(|_, _, stream| {
            stream.write_all(says).unwrap();
            false
        });
        let server = asking(&format!("http://{address}"), &[]);
        let shown = String::from_utf8_lossy(says);
        assert_eq!(upgrade(&server, "/ws").status, 400, "{shown}: {}", server.log());
        assert_eq!(failures(&server, reason), 1, "{shown}: {}", server.log());
        let what = if reason == "garbled" { "is no HTTP" } else { "is no verdict" };
        server.says(&format!("the callback's answer {what}"), 1);
    }
}

#[test]
fn a_callback_that_says_nothing_but_that_it_goes_on_is_late() {
    let (address, _) = raw(|_, _, stream| {
        while stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        false
    });
    let server = asking(&format!("http://{address}"), &["roadcast.access.http.timeout=300ms"]);
    assert_eq!(upgrade(&server, "/ws").status, 503);
    assert_eq!(failures(&server, "late"), 1);
}

#[test]
fn a_callback_that_is_down_is_left_alone_and_found_again() {
    // A port that nobody listens on, though it is ours.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let server = asking(&format!("http://{address}"), &[]);
    assert_eq!(ready(&server).0, 200);
    eventually("it says so", || {
        assert_eq!(upgrade(&server, "/ws").status, 503);
        let (status, why) = ready(&server);
        status == 503 && why.contains("the callback does not answer")
    });
    assert_eq!(metric(&server, "callback_open", &[]), 1);
    assert!(failures(&server, "connect") >= 5);
    let answer = upgrade(&server, "/ws");
    assert_eq!(answer.status, 503);
    assert!(answer.header("Retry-After").is_some(), "{}", answer.head);

    socket.listen(16).unwrap();
    let listener: TcpListener = socket.into();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            while read_question(&mut stream) && stream.write_all(YES).is_ok() {}
        }
    });
    eventually("it lets one through, to see", || connect(&server, "/ws").is_ok());
    assert_eq!((ready(&server).0, metric(&server, "callback_open", &[])), (200, 0));
    assert!(metric(&server, "callback_questions_refused_total", &["open"]) > 0);
    for said in ["the callback does not answer (", "the callback answers again ("] {
        server.says(said, 1);
    }
}

#[test]
fn a_server_whose_callback_hangs_delivers_and_ends() {
    let asked = AtomicUsize::new(0);
    let (address, _) = raw(move |_, _, stream| {
        asked.fetch_add(1, Ordering::Relaxed) >= 2 || stream.write_all(YES).is_ok()
    });
    let mut server = asking(&format!("http://{address}"), &[]);
    let mut client = connect(&server, "/ws").unwrap();
    client.join(&["news"]);
    let mut waits = TcpStream::connect(server.clients).unwrap();
    waits.write_all(upgrade_request("/ws", &[]).as_bytes()).unwrap();
    client.command("join", &["other"]);
    eventually("they wait", || metric(&server, "callback_questions_under_way", &[]) == 2);
    server.publisher().publish(&["news"], b"meanwhile");
    client.expect("news", "meanwhile");
    server.signal(libc::SIGTERM);
    assert!(server.wait().success());
}

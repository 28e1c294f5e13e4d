//! Goal: however little memory a user may lock (`ulimit -l`), which some kernels count rings
//! against, the server starts, on io_uring where that works with all its threads, else on epoll,
//! and says why. Method: the real server, as a user of its own, under limits from nothing to more
//! than enough.

use crate::common::{Received, Server, User, figure, on_epoll, only_epoll};

/// KiB. From none on, for one ring, for some but not all of them, to what systemd allows.
const LIMITS: [usize; 7] = [0, 64, 120, 200, 260, 400, 8192];

#[test]
fn with_little_memory_to_lock_it_serves_by_what_there_is_memory_for_and_says_why() {
    if only_epoll() {
        return;
    }
    let Some(user) = User::create() else { return };
    let mut ran = Vec::new();
    for kib in LIMITS {
        let mut command = user.roadcast_after(&format!("ulimit -l {kib}"));
        command.arg("serve");
        // Started at once behind the one before, whose rings may be counted still.
        let mut server = Server::start_by(command, &["roadcast.backend=auto"]);
        let said = server.says("running on ", 1);
        let epoll = said.contains("running on epoll");
        if epoll && !on_epoll() {
            assert!(said.contains("ulimit -l") && said.contains("by 288 KiB"), "{said}");
        }
        let mut client = server.client();
        client.join(&["news"]);
        server.publisher().publish(&["news"], b"hello");
        assert_eq!(client.next(), Received::Message("news".to_owned(), "hello".to_owned()));
        server.signal(15);
        assert_eq!(client.next(), Received::Close(1001));
        drop(client);
        assert_eq!(server.wait().code(), Some(0));
        ran.push(epoll);
    }
    figure("epoll for want of locked memory", format!("{ran:?} under {LIMITS:?} KiB"));
    // More memory is never worse, and enough is enough.
    assert!(ran.is_sorted_by(|less, more| less >= more), "{ran:?}");
    assert_eq!(ran.last(), Some(&on_epoll()), "{ran:?}");
}

#[test]
fn io_uring_that_is_asked_for_and_has_no_locked_memory_is_told_with_the_limit_to_raise() {
    if on_epoll() {
        return;
    }
    let Some(user) = User::create() else { return };
    let mut command = user.roadcast_after("ulimit -l 0");
    command.args(["check", "-c", "/dev/null", "-o", "roadcast.backend=io_uring"]);
    command.args(["-o", "roadcast.shards=2"]);
    let output = command.output().expect("check runs");
    let said = String::from_utf8_lossy(&output.stderr);
    // Kernels that count no rings find nothing wrong.
    match output.status.code() {
        Some(0) => figure("rings count against locked memory", false),
        _ => assert!(said.contains("there is no memory for 3 rings"), "{said}"),
    }
}

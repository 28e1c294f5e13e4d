//! RPC connections: their bounds and their deadlines.

use super::*;

fn short() -> Limits {
    Limits { rpc_timeout: Duration::from_millis(50), ..Limits::default() }
}

over_both!(a_frame_that_stops_half_way_times_out_and_an_idle_connection_does_not);
fn a_frame_that_stops_half_way_times_out_and_an_idle_connection_does_not(runtime: Runtime) {
    let hub = start(runtime, 1, short());
    let mut idle = hub.connect();
    idle.write_all(&publish(1, &["a"], b"x")).unwrap();
    assert_eq!(answer(&mut idle), (1, Ok(true)));
    let whole = publish(2, &["a"], b"x");
    for bytes in [1, 12, whole.len() - 1] {
        let mut half = hub.connect();
        half.write_all(&[&whole[..], &whole[..bytes]].concat()).unwrap();
        assert_eq!(answer(&mut half), (2, Ok(true)));
        assert!(is_closed(&mut half));
    }
    hub.counts("rpc_timeouts", 3);
    idle.write_all(&publish(3, &["a"], b"x")).unwrap();
    assert_eq!(answer(&mut idle), (3, Ok(true)));
}

over_both!(one_connection_more_than_allowed_is_closed_and_counted);
fn one_connection_more_than_allowed_is_closed_and_counted(runtime: Runtime) {
    let hub = start(runtime, 1, Limits { rpc_connections: 2, ..Limits::default() });
    let mut streams = vec![hub.connect(), hub.connect()];
    for stream in &mut streams {
        stream.write_all(&publish(1, &["a"], b"x")).unwrap();
        assert_eq!(answer(stream), (1, Ok(true)));
    }
    assert!(is_closed(&mut hub.connect()));
    hub.counts("rpc_refused", 1);
    streams.pop();
    hub.counts("rpc_open", 1);
    let mut next = hub.connect();
    next.write_all(&publish(2, &["a"], b"x")).unwrap();
    assert_eq!(answer(&mut next), (2, Ok(true)));
    hub.counts("rpc_accepted", 3);
}

over_both!(who_does_not_read_answers_is_read_no_more_and_closed);
fn who_does_not_read_answers_is_read_no_more_and_closed(runtime: Runtime) {
    let hub = start(runtime, 1, short());
    let mut stream = hub.connect();
    // Each answer repeats its long method name.
    let calls = call(1, &"x".repeat(900), Codec::Proto, b"").repeat(100);
    let error = eventually("refused writes", || stream.write_all(&calls).err());
    assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
    hub.counts("rpc_timeouts", 1);
    hub.counts("rpc_open", 0);
}

over_both!(what_was_sent_before_closing_at_once_is_published);
fn what_was_sent_before_closing_at_once_is_published(runtime: Runtime) {
    let mut hub = start(runtime, 1, Limits::default());
    hub.interest(0, 0, BUS, "foo");
    let mut stream = hub.connect();
    for number in 0..200 {
        stream.write_all(&publish(number, &["foo"], b"x")).unwrap();
    }
    stream.shutdown(Shutdown::Write).unwrap();
    for sequence in 1..=200 {
        assert_eq!(hub.published(0).1, sequence);
    }
    hub.counts("rpc_open", 0);
}

over_both!(a_frame_of_the_largest_size_is_taken);
fn a_frame_of_the_largest_size_is_taken(runtime: Runtime) {
    let limits = Limits { rpc_frame_bytes: 1 << 20, ..Limits::default() };
    let mut hub = start(runtime, 1, limits);
    hub.interest(0, 0, BUS, "foo");
    let mut stream = hub.connect();
    let around = publish(1, &["foo"], &[b'x'; 1 << 19]).len() - (1 << 19);
    let one_message = |bytes: usize| rpc::publish_body(["foo"], &vec![b'x'; bytes]);
    let body = [one_message(1 << 19), one_message((1 << 19) - 2 * around + 28)].concat();
    let mut frame = call(1, "broadcast.Publish", Codec::Proto, &body);
    assert!(frame.len() <= 1 << 20 && frame.len() > (1 << 20) - 64, "{}", frame.len());
    frame.extend(publish(2, &["foo"], b"small"));
    stream.write_all(&frame).unwrap();
    assert_eq!((answer(&mut stream), answer(&mut stream)), ((1, Ok(true)), (2, Ok(true))));
    let lengths: Vec<usize> = (0..3).map(|_| hub.published(0).2.len()).collect();
    assert!(lengths[0] > 1 << 19 && lengths[1] > 500_000 && lengths[2] < 100, "{lengths:?}");
}

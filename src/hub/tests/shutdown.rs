//! Shutting down in stages: never a false ok, nothing that was answered ok is missing in the lanes.

use super::*;

const SHUTTING_DOWN: &str = "roadcast is shutting down";

fn refused<T>(sequence: T) -> (T, Result<bool, String>) {
    (sequence, Err(SHUTTING_DOWN.into()))
}

over_both!(calls_get_errors_and_the_lanes_their_last_entry);
fn calls_get_errors_and_the_lanes_their_last_entry(runtime: Runtime) {
    let mut hub = start(runtime, 2, Limits::default());
    hub.interest(0, 0, BUS, "foo");
    let mut stream = hub.connect();
    stream.write_all(&publish(1, &["foo"], b"x")).unwrap();
    assert_eq!(answer(&mut stream), (1, Ok(true)));
    hub.shutdown.begin(StdInstant::now());
    hub.shutdown.begin(StdInstant::now());
    assert_eq!(hub.published(0).1, 1);
    for shard in 0..2 {
        assert!(matches!(hub.next(shard), Down::StopAccepting));
        assert!(matches!(hub.next(shard), Down::Drain));
    }
    for method in ["broadcast.Publish", "broadcast.PublishAsync", "nonsense"] {
        stream
            .write_all(&call(2, method, Codec::Proto, &rpc::publish_body(["foo"], b"x")))
            .unwrap();
        assert_eq!(answer(&mut stream), refused(2));
    }
    // A shard that is still closing its connections gives its topics up; that goes nowhere any
    // more.
    let topic = TopicId { index: 0, generation: 0 };
    hub.shards[0].up.push(0, Up::Uninterest { topic }).unwrap();
    hub.shards[0].up.wake();
    let up = &hub.shards[0].up;
    eventually("the up lane drained", || {
        (up.queued_cost() == 0 && up.free_entries() > 0).then_some(())
    });
    assert!(hub.shards.iter().all(|shard| shard.down.is_empty()));
    hub.stop();
    assert!(is_closed(&mut stream));
    assert!(TcpStream::connect(hub.address).is_err());
}

over_both!(a_publisher_that_waits_for_room_gets_an_error_when_the_time_for_it_is_over);
fn a_publisher_that_waits_for_room_gets_an_error_when_the_time_for_it_is_over(runtime: Runtime) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let limits = Limits { lane_entries: 1, ..Limits::default() };
    let grace = Duration::from_millis(200);
    let mut hub = start_on(runtime, RpcListener::Tcp(listener), address, 1, limits, grace);
    hub.interest(0, 0, BUS, "foo");
    let mut stream = hub.connect();
    let body = rpc::publish_body(["foo"], b"x");
    stream.write_all(&publish(1, &["foo"], b"x").repeat(3)).unwrap();
    stream.write_all(&call(2, "broadcast.PublishAsync", Codec::Proto, &body)).unwrap();
    assert_eq!(answer(&mut stream), (1, Ok(true)));
    hub.counts("publications_waited", 1);
    hub.shutdown.begin(StdInstant::now());
    assert_eq!((answer(&mut stream), answer(&mut stream)), (refused(1), refused(1)));
    assert_eq!(hub.published(0).1, 1);
    assert!(matches!(hub.next(0), Down::StopAccepting));
    assert!(matches!(hub.next(0), Down::Drain));
    // This shard never lets go: the deadline ends it.
    hub.thread.take().unwrap().join().unwrap().unwrap();
    assert!(is_closed(&mut stream));
    assert!(hub.shards[0].down.is_empty());
}

over_both!(a_publisher_that_waits_for_room_is_finished_if_room_comes);
fn a_publisher_that_waits_for_room_is_finished_if_room_comes(runtime: Runtime) {
    let mut hub = start(runtime, 1, Limits { lane_entries: 1, ..Limits::default() });
    hub.interest(0, 0, BUS, "foo");
    let mut stream = hub.connect();
    stream.write_all(&publish(1, &["foo"], b"x").repeat(3)).unwrap();
    assert_eq!(answer(&mut stream), (1, Ok(true)));
    hub.counts("publications_waited", 1);
    hub.shutdown.begin(StdInstant::now());
    let mut seen = Vec::new();
    while seen.last() != Some(&"drain".to_string()) {
        seen.push(match hub.next(0) {
            Down::Publish { sequence, .. } => sequence.to_string(),
            Down::StopAccepting => "stop".into(),
            Down::Drain => "drain".into(),
            entry => panic!("{entry:?}"),
        });
    }
    seen.retain(|entry| entry != "stop");
    assert_eq!(seen, ["1", "2", "3", "drain"]);
    assert_eq!((answer(&mut stream), answer(&mut stream)), ((1, Ok(true)), (1, Ok(true))));
}

over_both!(under_load_every_ok_is_in_the_lane);
/// Publishers at full speed while the hub goes down: every ok is a publication in the lane, and no
/// other is there.
fn under_load_every_ok_is_in_the_lane(runtime: Runtime) {
    let mut hub = start(runtime, 1, Limits { lane_entries: 64, ..Limits::default() });
    hub.interest(0, 0, BUS, "foo");
    let publishers: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = hub.connect();
            std::thread::spawn(move || {
                let (mut oks, mut errors) = (0u64, 0u64);
                loop {
                    if stream.write_all(&publish(1, &["foo"], b"x").repeat(10)).is_err() {
                        return (oks, errors);
                    }
                    for _ in 0..10 {
                        let mut header = [0; 12];
                        if stream.read_exact(&mut header).is_err() {
                            return (oks, errors);
                        }
                        let length = u32::from_le_bytes(header[2..6].try_into().unwrap()) as usize;
                        if stream.read_exact(&mut vec![0; 8 + length]).is_err() {
                            return (oks, errors);
                        }
                        match header[1] & rpc::flag::ERROR {
                            0 => oks += 1,
                            _ => errors += 1,
                        }
                    }
                }
            })
        })
        .collect();
    let mut delivered = 0;
    loop {
        match hub.next(0) {
            Down::Publish { .. } => delivered += 1,
            Down::StopAccepting => {}
            Down::Drain => break,
            entry => panic!("{entry:?}"),
        }
        if delivered == 1000 {
            hub.shutdown.begin(StdInstant::now());
        }
    }
    hub.stop();
    let (oks, errors) = publishers
        .into_iter()
        .map(|publisher| publisher.join().unwrap())
        .fold((0, 0), |sum, each| (sum.0 + each.0, sum.1 + each.1));
    assert_eq!(oks, delivered);
    assert!(errors > 0, "some calls came too late and were told so");
}

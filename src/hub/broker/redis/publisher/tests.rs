use super::*;

const WAIT: Duration = Duration::from_secs(5);

fn publisher(bytes_max: usize) -> Publisher {
    let shelter = Shelter { bytes_max, wait: WAIT };
    let name = "broker \"main\" (redis at r:1)".to_owned();
    let status = Arc::new(BrokerStatus::new("main"));
    Publisher::new(name, "PUBLISH", String::new(), shelter, status)
}

/// What is to be waited for of a publication.
enum Told {
    At(Result<(), PublishError>),
    Sent(oneshot::Receiver<Result<(), PublishError>>),
    Waits,
}

fn publish(publisher: &Publisher, topic: &str, payload: &[u8], now: Instant) -> Told {
    match publisher.publish(topic, payload, None, now) {
        Publishing::Now(result) => Told::At(result),
        Publishing::Sent(sent) => Told::Sent(sent),
        Publishing::Later(_) => Told::Waits,
        Publishing::Left(_) => unreachable!("no account is charged"),
    }
}

fn sent(
    publisher: &Publisher,
    topic: &str,
    now: Instant,
) -> oneshot::Receiver<Result<(), PublishError>> {
    match publish(publisher, topic, b"x", now) {
        Told::Sent(sent) => sent,
        _ => panic!("{topic} is not sent"),
    }
}

fn text(result: Result<(), PublishError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn answers_belong_to_publications_in_their_order() {
    let (publisher, out, now) = (publisher(0), Outbound::default(), Instant::now());
    publisher.connected(&out, now);
    let mut first = sent(&publisher, "a", now);
    let mut second = sent(&publisher, "b", now);
    assert_eq!(publisher.answered(None, now), Answered::Publication);
    assert_eq!(first.try_recv(), Ok(Ok(())));
    publisher.probe("own", b"1", now);
    assert_eq!(publisher.answered(Some("NOPERM no"), now), Answered::Publication);
    let error = text(second.try_recv().unwrap());
    assert_eq!(error, "broker \"main\" (redis at r:1): NOPERM no: not published");
    assert_eq!(publisher.answered(None, now), Answered::Probe);
    assert_eq!(publisher.answered(None, now), Answered::Unasked);
    assert_eq!(publisher.state.borrow().in_flight, 0);
}

#[test]
fn while_the_server_is_away_an_error_says_so_and_since_when() {
    let (publisher, now) = (publisher(0), Instant::now());
    let Told::At(result) = publish(&publisher, "a", b"x", now) else { panic!() };
    assert!(text(result).contains("has not been reached yet"));
    publisher.disconnected("connection refused", now);
    publisher.disconnected("timed out", now + WAIT);
    let Told::At(result) = publish(&publisher, "a", b"x", now + 2 * WAIT) else { panic!() };
    let error = text(result);
    assert!(error.ends_with("is down since 10.0 s: timed out: not published"), "{error}");
}

#[test]
fn what_was_sent_and_not_answered_is_in_doubt_and_what_was_not_sent_is_not() {
    let (publisher, out, now) = (publisher(1 << 20), Outbound::default(), Instant::now());
    publisher.connected(&out, now);
    let mut known = sent(&publisher, "a", now);
    let mut in_doubt = sent(&publisher, "b", now);
    let command = out.queued() / 2;
    let mut in_part = sent(&publisher, "c", now);
    let mut unsent = sent(&publisher, "d", now);
    out.taken(2 * command + 1);
    publisher.answered(None, now);
    publisher.disconnected("closed", now);
    assert_eq!(known.try_recv(), Ok(Ok(())));
    let texts =
        [&mut in_doubt, &mut in_part, &mut unsent].map(|said| text(said.try_recv().unwrap()));
    assert!(texts[0].ends_with("closed: may or may not have been published"), "{texts:?}");
    assert!(texts[1].ends_with("closed: not published"), "{texts:?}");
    assert!(texts[2].ends_with("closed: not published"), "{texts:?}");
    assert_eq!(publisher.status.publish_errors.value(), 3);
    // Nothing of it is sent to the next server.
    let next = Outbound::default();
    publisher.connected(&next, now);
    assert_eq!((next.queued(), publisher.oldest()), (0, None));
}

#[test]
fn what_may_wait_for_a_server_is_published_in_order_or_told_in_time() {
    let (publisher, now) = (publisher(1_000), Instant::now());
    publisher.disconnected("closed", now);
    let mut early = sent(&publisher, "early", now);
    let mut kept = sent(&publisher, "kept", now + WAIT / 2);
    let Told::At(over) = publish(&publisher, "over", &[b'x'; 1_000], now) else { panic!() };
    assert!(over.is_err());
    publisher.expire(now + WAIT);
    assert!(text(early.try_recv().unwrap()).ends_with("not published"));
    let out = Outbound::default();
    publisher.connected(&out, now + WAIT);
    let mut later = sent(&publisher, "later", now + WAIT);
    let queued = out.with(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
    assert!(queued.find("kept").unwrap() < queued.find("later").unwrap(), "{queued}");
    publisher.answered(None, now);
    publisher.answered(None, now);
    assert_eq!((kept.try_recv(), later.try_recv()), (Ok(Ok(())), Ok(Ok(()))));
}

#[test]
fn what_is_under_way_is_bounded_and_who_waits_keeps_its_place() {
    let (publisher, out, now) = (publisher(0), Outbound::default(), Instant::now());
    publisher.connected(&out, now);
    let megabyte = vec![b'x'; 1 << 20];
    let mut taken = Vec::new();
    let waits = loop {
        match publisher.publish("t", &megabyte, None, now) {
            Publishing::Sent(sent) => taken.push(sent),
            Publishing::Later(later) => break later,
            _ => panic!(),
        }
    };
    assert_eq!(taken.len(), 8);
    assert!(matches!(publish(&publisher, "behind", b"x", now), Told::Waits));
    publisher.answered(None, now);
    let queued = out.queued();
    publisher.answered(None, now);
    assert!(out.queued() >= queued && publisher.state.borrow().waiting.is_empty());
    for _ in 0..8 {
        publisher.answered(None, now);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(waits), Ok(()));
    assert_eq!(publisher.state.borrow().in_flight, 0);
}

#[test]
fn what_a_node_of_a_cluster_cannot_take_for_now_is_not_put_behind_what_came_later() {
    let (publisher, out, now) = (publisher(1000), Outbound::default(), Instant::now());
    publisher.connected(&out, now);
    for (why, answered) in [
        ("MOVED 1 r:2", Answered::Elsewhere),
        ("ASK 1 r:2", Answered::Elsewhere),
        ("CLUSTERDOWN no", Answered::Publication),
        ("TRYAGAIN no", Answered::Publication),
    ] {
        let Publishing::Sent(mut told) = publisher.publish("a", b"x", Some(1), now) else {
            panic!("{why}: not sent");
        };
        assert_eq!(publisher.answered(Some(why), now), answered, "{why}");
        assert_eq!(publisher.take_returned().len(), usize::from(answered == Answered::Elsewhere));
        if answered == Answered::Publication {
            let error = text(told.try_recv().unwrap());
            assert_eq!(error, format!("broker \"main\" (redis at r:1): {why}: not published"));
        }
    }
}

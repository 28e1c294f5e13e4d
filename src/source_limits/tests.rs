use super::*;

fn source(text: &str) -> Source {
    Source::of(text.parse().unwrap())
}

fn limits(connections: usize, handshakes: usize) -> SourceLimits {
    SourceLimits::new(connections, handshakes).expect("there is a limit")
}

#[test]
fn a_source_is_an_ipv4_address_or_the_64_of_an_ipv6_one() {
    assert_eq!(source("192.0.2.1"), source("::ffff:192.0.2.1"));
    assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
    assert_eq!(source("2001:db8:1:2::3"), source("2001:db8:1:2:ffff::"));
    assert_ne!(source("2001:db8:1:2::3"), source("2001:db8:1:3::3"));
    assert_ne!(source("::1"), source("0.0.0.0"));
    assert_ne!(source("0.0.0.1"), source("::1"));
    for (address, shown) in [
        ("192.0.2.1", "192.0.2.1"),
        ("0.0.0.0", "0.0.0.0"),
        ("255.255.255.255", "255.255.255.255"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1", "fe80::/64"),
        ("::1", "::/64"),
    ] {
        assert_eq!(source(address).to_string(), shown);
    }
    assert_eq!((size_of::<Option<Source>>(), size_of::<(Source, Entry)>()), (8, 32));
}

#[test]
fn without_a_limit_there_is_no_table() {
    assert!(SourceLimits::new(0, 0).is_none());
}

#[test]
fn a_limit_of_connections_is_of_those_open_at_a_time() {
    let limits = limits(2, 0);
    let (one, other) = (source("192.0.2.1"), source("192.0.2.2"));
    assert_eq!(
        [0, 0, 0].map(|now| limits.admit(one, now)),
        [Ok(()), Ok(()), Err(Exceeded::Connections)]
    );
    assert_eq!(limits.admit(other, 0), Ok(()));
    assert!(limits.ended(one, 0));
    assert_eq!([0, 0].map(|now| limits.admit(one, now)), [Ok(()), Err(Exceeded::Connections)]);
    assert!(limits.ended(one, 0) && limits.ended(one, 0) && limits.ended(other, 0));
    assert!(limits.is_empty(), "without a rate nothing is remembered of who has gone");
}

#[test]
fn a_rate_lets_a_second_s_worth_through_at_once_and_then_one_after_another() {
    let limits = limits(0, 4);
    let one = source("192.0.2.1");
    let mut admitted = |now_ms| {
        let admitted = limits.admit(one, now_ms).is_ok();
        if admitted {
            assert!(limits.ended(one, now_ms));
        }
        admitted
    };
    assert_eq!([0; 5].map(&mut admitted), [true, true, true, true, false]);
    assert_eq!([249, 250, 251].map(&mut admitted), [false, true, false]);
    // Another shard that is a little behind takes nothing away and gives nothing twice.
    assert_eq!([240, 499, 500].map(&mut admitted), [false, false, true]);
    assert_eq!([5000; 5].map(&mut admitted), [true, true, true, true, false]);
}

#[test]
fn what_is_refused_costs_its_source_nothing() {
    let limits = limits(1, 2);
    let one = source("192.0.2.1");
    assert!(limits.admit(one, 0).is_ok());
    (0..100).for_each(|_| assert_eq!(limits.admit(one, 0), Err(Exceeded::Connections)));
    assert!(limits.ended(one, 0));
    assert!(limits.admit(one, 0).is_ok(), "the second handshake of this second");
    assert!(limits.ended(one, 0));
    (0..100).for_each(|_| assert_eq!(limits.admit(one, 0), Err(Exceeded::Handshakes)));
    assert!(limits.admit(one, 500).is_ok(), "half a second gives one back");
}

#[test]
fn the_table_has_at_most_those_who_are_there_and_a_bounded_number_who_were() {
    let limits = limits(10, 10);
    let crowd = |n: u32| Source::of(Ipv4Addr::from_bits(n).into());
    let (stays, mut forgotten) = (crowd(u32::MAX), 0);
    assert!(limits.admit(stays, 0).is_ok());
    for n in 0..2 * FADING_MAX as u32 {
        assert!(limits.admit(crowd(n), 0).is_ok());
        forgotten += usize::from(!limits.ended(crowd(n), 0));
    }
    assert!(limits.len() <= FADING_MAX + 1, "{}", limits.len());
    assert_eq!(
        limits.len() + forgotten,
        2 * FADING_MAX + 1,
        "each is remembered, or said to be forgotten"
    );
    // A second later they make room for others.
    for at in [2000, 4000] {
        for n in 0..FADING_MAX as u32 / 2 {
            assert!(limits.admit(crowd(n), at).is_ok());
            assert!(limits.ended(crowd(n), at), "there is room again");
        }
    }
    for stripe in &limits.stripes {
        let mut stripe = locked(stripe);
        (0..FADING_MAX).for_each(|_| stripe.forget(10_000, 10));
        assert!(
            stripe.fading.is_empty() && stripe.entries.capacity() < 4096,
            "{}",
            stripe.entries.capacity()
        );
    }
    assert_eq!(limits.len(), 1, "who is still there is never forgotten");
    assert!(limits.ended(stays, 10_000));
    assert!(limits.is_empty());
}

#[test]
fn threads_that_come_and_go_never_pass_the_limit() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let limits = limits(3, 0);
    let (open, admitted) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let one = source("192.0.2.1");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    if limits.admit(one, 0).is_ok() {
                        assert!(open.fetch_add(1, Ordering::SeqCst) < 3);
                        admitted.fetch_add(1, Ordering::SeqCst);
                        open.fetch_sub(1, Ordering::SeqCst);
                        limits.ended(one, 0);
                    }
                }
            });
        }
    });
    assert!(admitted.into_inner() >= 20_000, "one thread alone is always let in");
    assert!(limits.is_empty());
}

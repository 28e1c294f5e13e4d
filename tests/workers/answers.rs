//! What workers are told, and what they answer.

use serde_json::Value;

use crate::bed::*;

#[test]
fn a_worker_is_told_of_the_client_and_its_verdict_comes_back() {
    with_php(async |_| {
        let pool = start(settings());
        let judged = judged(&pool, "allow").await;
        assert_eq!((judged.status, judged.allows(), judged.body.len()), (200, true, 0));
        let (status, body) = ask(&pool, "echo").await;
        let context: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &context["attributes"]["ws:joinServer"]), (403, &true.into()));
        assert_eq!(
            (&context["cookies"]["a"], &context["remoteAddr"]),
            (&"b c".into(), &"203.0.113.7".into())
        );
    });
}

#[test]
fn a_refusal_has_status_headers_and_body_of_the_worker() {
    with_php(async |_| {
        let pool = start(settings());
        let refused = judged(&pool, "echo").await;
        let named: Vec<_> = refused.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(named, [("X-Got", "yes"), ("X-Got", "it did")]);
        for status in [201, 204, 302, 401, 599, 999] {
            let judged = judged(&pool, &format!("status&status={status}")).await;
            assert_eq!((judged.status, judged.allows()), (status, false), "and \"headers\":[]");
        }
        let crlf = judged(&pool, "crlf").await.response();
        let text = String::from_utf8(crlf).unwrap();
        let heads = text.split("\r\n\r\n").collect::<Vec<_>>();
        assert_eq!(heads[1..], ["no"], "one head, one body: {text}");
        assert!(!heads[0].contains("\r\nSet-Cookie"), "{text}");
    });
}

#[test]
fn an_answer_that_is_no_verdict_fails_and_the_worker_stays() {
    with_php(async |log| {
        let pool = start(settings());
        let first = pid(&pool).await;
        for status in [0, 99, 101, 1000] {
            let why = failure(&pool, &format!("status&status={status}")).await;
            assert_eq!(why, format!("status {status}, expected 200 to 999"));
        }
        assert!(failure(&pool, "json").await.contains("expected {\"status\":200"));
        assert!(failure(&pool, "long").await.contains("headers of 1048577 bytes"));
        assert_eq!(pid(&pool).await, first);
        assert_eq!(log.count("is no verdict"), 3, "a line for each cause: {}", log.text());
    });
}

#[test]
fn the_parts_of_a_streamed_answer_are_joined_and_its_pings_answered() {
    with_php(async |_| {
        let pool = start(settings());
        assert_eq!(ask(&pool, "parts").await, (403, "one two pong three".to_owned()));
        assert_eq!(ask(&pool, "allow").await.0, 200);
    });
}

#[test]
fn a_large_question_and_a_large_answer_pass() {
    with_php(async |_| {
        let pool = start(settings());
        let long = format!("echo&x={}", "y".repeat(500_000));
        let (_, body) = ask(&pool, &long).await;
        assert!(body.len() > 1_000_000, "the query is in it twice");
        let why = failure(&pool, "huge").await;
        assert!(why.contains("an answer of over 4 MiB"), "{why}");
        assert_eq!(ask(&pool, "allow").await.0, 200);
    });
}

//! Workers that fail at a question: what becomes of it, of them and of the next.

use std::time::Duration;

use roadcast::desk::access::workers::{Supervision, WorkerSettings};

use crate::bed::*;

/// Asks for trouble; then another worker answers, and the first has gone.
async fn fails_and_is_replaced(query: &str, expected: &str, log: &Log) {
    let pool = start(settings());
    let first = pid(&pool).await;
    let why = failure(&pool, query).await;
    assert!(why.contains(expected), "{query}: {why}");
    let second = pid(&pool).await;
    assert_ne!(first, second, "{query}");
    gone(first).await;
    // The log quotes what it shows.
    log.says(expected.split('\\').next().unwrap()).await;
    pool.stop(Duration::from_secs(10)).await;
}

#[test]
fn a_worker_that_ends_while_it_is_asked_fails_the_question_and_is_replaced() {
    with_php(async |log| {
        fails_and_is_replaced("fail", "it ended (exit status: 3)", &log).await;
        fails_and_is_replaced("kill", "it ended (signal: 9 (SIGKILL))", &log).await;
        fails_and_is_replaced("cut", "it ended in the middle of an answer", &log).await;
    });
}

#[test]
fn what_stands_on_stdout_instead_of_a_frame_is_named_with_its_text() {
    with_php(async |log| {
        let text = "Notice: Undefined variable $user\\nand a second line";
        fails_and_is_replaced("text", text, &log).await;
        fails_and_is_replaced("option", "whose context does not fit", &log).await;
    });
}

#[test]
fn an_error_frame_fails_the_question_and_the_worker_is_replaced() {
    with_php(async |log| {
        fails_and_is_replaced("error", "an error: boom: it failed", &log).await;
        // As Laravel Octane does it; the stop frame is not taken for the next answer.
        fails_and_is_replaced("error-stop", "an error: boom", &log).await;
    });
}

#[test]
fn a_worker_that_asks_to_be_replaced_after_its_answer_costs_no_question() {
    with_php(async |_| {
        let pool = start(settings());
        for _ in 0..5 {
            assert_eq!(ask(&pool, "answer-stop").await.0, 200);
            assert_eq!(ask(&pool, "answer-exit").await.0, 200);
        }
        assert_eq!(pool.telemetry().counts.answer_time.buckets().map(|(_, n)| n).sum::<u64>(), 10);
    });
}

#[test]
fn a_question_that_a_worker_leaves_without_an_answer_is_put_to_another() {
    with_php(async |_| {
        for query in ["restart-once", "exit-once"] {
            let pool = start(settings());
            let file = free_path(query);
            let query = format!("{query}&file={}", file.display());
            assert_eq!(ask(&pool, &query).await.0, 200);
            assert!(file.exists(), "the first worker had it");
            assert_eq!(pool.telemetry().counts.put_again.value(), 1);
            std::fs::remove_file(file).unwrap();
        }
    });
}

#[test]
fn a_question_that_ends_every_worker_is_put_three_times_at_most() {
    with_php(async |_| {
        let pool = start(settings());
        for query in ["restart", "exit"] {
            let why = failure(&pool, query).await;
            assert_eq!(why, "3 workers ended, or were replaced, without an answer to it");
        }
        assert_eq!(pool.telemetry().counts.put_again.value(), 4);
        assert_eq!(ask(&pool, "allow").await.0, 200);
    });
}

#[test]
fn an_answer_that_nobody_asked_for_is_not_taken_for_the_next_one() {
    with_php(async |log| {
        let pool = start(settings());
        for query in ["twice", "late"] {
            let first = pid(&pool).await;
            assert_eq!(ask(&pool, query).await.0, 200);
            // Not before a question that came at once: nobody could tell whose answer it is.
            gone(first).await;
            assert_eq!(ask(&pool, "status&status=401").await.0, 401, "{query}");
        }
        log.says("not asked for").await;
    });
}

#[test]
fn an_answer_that_takes_longer_than_exec_ttl_fails_and_kills() {
    with_php(async |log| {
        let supervisor = Supervision {
            watch_tick: Duration::from_secs(1),
            ttl: None,
            idle_ttl: None,
            exec_ttl: Some(Duration::from_millis(500)),
            memory_bytes_max: None,
        };
        let pool = start(WorkerSettings { supervisor: Some(supervisor), ..settings() });
        let first = pid(&pool).await;
        let why = failure(&pool, "slow&ms=600000").await;
        assert!(why.contains("exec_ttl (500ms)"), "{why}");
        gone(first).await;
        assert_ne!(pid(&pool).await, first);
        log.says("exec_ttl").await;
    });
}

#[test]
fn a_client_that_leaves_costs_the_call_under_way_at_most() {
    with_php(async |_| {
        let pool = start(settings());
        let first = pid(&pool).await;
        let answers = || pool.states().iter().map(|state| state.answers).sum::<u64>();
        {
            let (mut slow, mut waits) =
                (Box::pin(pool.ask(upgrade("slow&ms=300"))), Box::pin(pool.ask(upgrade("fail"))));
            let left = tokio::time::timeout(Duration::from_millis(100), async {
                tokio::select! {
                    biased;
                    _ = &mut slow => {}
                    _ = &mut waits => {}
                }
            });
            assert!(left.await.is_err(), "both wait");
        }
        // The one that had been put is finished; the other is never put: it would end the worker.
        until("the call is over", || answers() == 2, || format!("{:?}", pool.states())).await;
        assert_eq!(pid(&pool).await, first);
    });
}

//! Order and bounds of what waits; replacement, reset, stop.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use roadcast::access::{AskFailed, Judged};
use roadcast::desk::access::workers::{Pool, Supervision, WorkerSettings};
use tokio::task::JoinHandle;

use crate::bed::*;

const NONE: Supervision = Supervision {
    watch_tick: Duration::from_millis(20),
    ttl: None,
    idle_ttl: None,
    exec_ttl: None,
    memory_bytes_max: None,
};

fn supervised(supervisor: Supervision) -> WorkerSettings {
    WorkerSettings { supervisor: Some(supervisor), ..settings() }
}

/// Asks in a task of its own.
fn asking(pool: &Rc<Pool>, query: &'static str) -> JoinHandle<Result<Judged, AskFailed>> {
    let pool = pool.clone();
    tokio::task::spawn_local(async move { pool.ask(upgrade(query)).await })
}

#[test]
fn questions_are_put_in_the_order_in_which_they_came() {
    with_php(async |_| {
        let pool = start(settings());
        let order = Rc::new(RefCell::new(Vec::new()));
        let all: Vec<_> = (0..50)
            .map(|number| {
                let (pool, order) = (pool.clone(), order.clone());
                tokio::task::spawn_local(async move {
                    let (_, said) = ask(&pool, "pid").await;
                    let count: usize = said.split(' ').nth(1).unwrap().parse().unwrap();
                    order.borrow_mut().push((number + 1, count));
                })
            })
            .collect();
        for one in all {
            one.await.unwrap();
        }
        let order = order.borrow();
        assert!(order.iter().all(|(number, count)| number == count), "{order:?}");
    });
}

#[test]
fn as_many_are_asked_at_once_as_there_are_workers() {
    with_php(async |_| {
        let pool = start(WorkerSettings { num_workers: 2, ..settings() });
        idle(&pool, 2).await;
        let all = [(); 3].map(|()| asking(&pool, "slow&ms=1000"));
        let counts = &pool.telemetry().counts;
        let working = || (counts.working.value(), counts.waiting.value());
        until("two work and one waits", || working() == (2, 1), || format!("{:?}", working()))
            .await;
        for one in all {
            assert!(one.await.unwrap().unwrap().allows());
        }
        assert_eq!(working(), (0, 0));
    });
}

#[test]
fn whoever_waits_longer_than_allocate_timeout_is_told_to_come_again() {
    with_php(async |_| {
        let timeout = Duration::from_millis(1500);
        let pool = start(WorkerSettings { allocate_timeout: timeout, ..settings() });
        idle(&pool, 1).await;
        let busy = asking(&pool, "slow&ms=4000");
        tokio::task::yield_now().await;
        let refused = pool.ask(upgrade("allow")).await;
        assert!(matches!(refused, Err(AskFailed::Busy { retry_after_s: 1.. })), "{refused:?}");
        assert_eq!(
            busy.await.unwrap().unwrap().status,
            200,
            "a long answer is none of its business"
        );
        assert_eq!(pool.telemetry().counts.refused_late.value(), 1);
    });
}

#[test]
fn a_queue_that_is_full_refuses_and_goes_on() {
    with_php(async |_| {
        let pool = start(WorkerSettings { waiting_max: 3, ..settings() });
        idle(&pool, 1).await;
        let all = [(); 10].map(|()| asking(&pool, "slow&ms=20"));
        let mut answered = 0;
        for one in all {
            match one.await.unwrap() {
                Ok(judged) => answered += u64::from(judged.allows()),
                Err(failed) => assert_eq!(failed, AskFailed::Busy { retry_after_s: 1 }),
            }
        }
        assert!((3..10).contains(&answered), "{answered}");
        assert_eq!(pool.telemetry().counts.refused_full.value(), 10 - answered);
        assert_eq!(ask(&pool, "allow").await.0, 200);
    });
}

#[test]
fn a_worker_is_replaced_after_max_jobs() {
    with_php(async |_| {
        let pool = start(WorkerSettings { max_jobs: 2, ..settings() });
        let mut pids = Vec::new();
        for _ in 0..6 {
            pids.push(pid(&pool).await);
        }
        assert!(pids.chunks(2).all(|two| two[0] == two[1]), "{pids:?}");
        pids.dedup();
        assert_eq!(pids.len(), 3);
        gone(pids[0]).await;
    });
}

#[test]
fn workers_that_are_old_idle_or_large_are_replaced_and_no_question_fails() {
    with_php(async |_| {
        let ms = |ms| Some(Duration::from_millis(ms));
        let each = [
            Supervision { ttl: ms(300), ..NONE },
            Supervision { idle_ttl: ms(300), ..NONE },
            Supervision { memory_bytes_max: Some(128 << 20), ..NONE },
        ];
        for supervisor in each {
            let pool = start(supervised(supervisor));
            let first = pid(&pool).await;
            assert_eq!(ask(&pool, "grow&mib=100").await.0, 200);
            let _ = ask(&pool, "grow&mib=20").await;
            gone(first).await;
            assert_ne!(pid(&pool).await, first, "{supervisor:?}");
        }
        let pool = start(supervised(Supervision { idle_ttl: ms(100), ..NONE }));
        let first = idle(&pool, 1).await[0].pid;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(exists(first), "idleness counts from the first question on");
    });
}

#[test]
fn a_reset_loads_changed_code_and_nobody_notices() {
    with_php(async |_| {
        let pool = start(WorkerSettings { num_workers: 2, ..settings() });
        let old: Vec<_> = idle(&pool, 2).await.iter().map(|state| state.pid).collect();
        let slow = asking(&pool, "slow&ms=500");
        tokio::task::yield_now().await;
        pool.reset().await.expect("new workers start");
        assert!(!old.contains(&pid(&pool).await));
        assert_eq!(slow.await.unwrap().unwrap().status, 200, "the old one finishes");
        for pid in old {
            gone(pid).await;
        }
        idle(&pool, 2).await;
        assert_eq!(pool.telemetry().counts.replaced.value(), 0);
    });
}

#[test]
fn a_reset_whose_new_workers_do_not_start_leaves_the_old_ones() {
    with_php(async |log| {
        let file = free_path("deployed");
        std::fs::write(&file, "").unwrap();
        let env = vec![
            ("WORKER_BOOT".to_owned(), "once".to_owned()),
            ("WORKER_FILE".to_owned(), file.display().to_string()),
        ];
        let pool = start(WorkerSettings { env, ..settings() });
        let first = pid(&pool).await;
        std::fs::remove_file(&file).unwrap();
        let why = pool.reset().await.unwrap_err();
        assert!(why.contains("the old workers stay") && why.contains("exit status: 1"), "{why}");
        assert_eq!((pid(&pool).await, pool.ready()), (first, Ok(())));
        log.says("cannot start a worker for a reset").await;
        assert_eq!(log.count("trying again for ever"), 0, "{}", log.text());
        std::fs::write(&file, "").unwrap();
        pool.reset().await.unwrap();
        assert_ne!(pid(&pool).await, first);
        std::fs::remove_file(&file).unwrap();
    });
}

#[test]
fn in_debug_mode_each_question_has_a_process_of_its_own() {
    with_php(async |_| {
        let pool = start(WorkerSettings { debug: true, num_workers: 2, ..settings() });
        assert_eq!((pool.ready(), pool.states().len()), (Ok(()), 0));
        let (first, second) = (pid(&pool).await, pid(&pool).await);
        assert_ne!(first, second);
        gone(first).await;
        assert!(failure(&pool, "text").await.contains("Undefined variable"));
        assert_eq!(pool.reset().await, Ok(()));
    });
}

#[test]
fn stopping_lets_workers_finish_and_kills_those_that_do_not() {
    with_php(async |log| {
        let pool = start(WorkerSettings { num_workers: 2, ..settings() });
        let pids: Vec<_> = idle(&pool, 2).await.iter().map(|state| state.pid).collect();
        let slow = asking(&pool, "slow&ms=300");
        tokio::task::yield_now().await;
        pool.stop(Duration::from_secs(20)).await;
        assert_eq!(slow.await.unwrap().unwrap().status, 200);
        assert!(pids.iter().all(|pid| !exists(*pid)), "reaped");
        let refused = pool.ask(upgrade("allow")).await;
        let why = "the server is shutting down";
        assert_eq!(refused, Err(AskFailed::Down { why, retry_after_s: 1 }));

        let pool = start(with_env("WORKER_STOP", "ignore"));
        let deaf = pid(&pool).await;
        pool.stop(Duration::from_millis(300)).await;
        assert!(!exists(deaf));

        let pool = start(settings());
        let hanging = pid(&pool).await;
        let asked = asking(&pool, "slow&ms=600000");
        tokio::task::yield_now().await;
        pool.stop(Duration::from_millis(300)).await;
        assert!(matches!(asked.await.unwrap(), Err(AskFailed::Failed(_))));
        assert!(!exists(hanging));
        assert_eq!(log.count("it had not answered when the server ended"), 1, "{}", log.text());
        assert_eq!(log.count("is replaced"), 0, "nobody comes after it: {}", log.text());
    });
}

#[test]
fn operators_see_each_worker() {
    with_php(async |_| {
        let pool = start(settings());
        let worker = pid(&pool).await;
        let states = idle(&pool, 1).await;
        assert_eq!((states[0].pid, states[0].answers), (worker, 1));
        assert!(states[0].memory_bytes > 1 << 20 && states[0].cpu_percent >= 0.0);
        assert_eq!(pool.command(), "php worker.php");
    });
}

//! Workers that do not start, or not at once; relays, environment, output.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use roadcast::access::AskFailed;
use roadcast::desk::access::workers::{OnInit, Relay, WorkerSettings, user};
use rustix::process::geteuid;

use crate::bed::*;
use crate::skip::skip;

/// A pool that cannot start says so once, is not ready, and refuses whoever asks.
async fn does_not_start(settings: WorkerSettings, expected: &str, log: &Log) {
    let pool = start(settings);
    assert_eq!(pool.ready(), Err("the workers are starting".to_owned()));
    let waits = pool.ask(upgrade("allow")).await;
    assert!(matches!(waits, Err(AskFailed::Down { retry_after_s: 1.., .. })), "{waits:?}");
    let why = pool.ready().unwrap_err();
    assert!(why.starts_with("no worker: ") && why.contains(expected), "{why}");
    let attempts = || pool.telemetry().counts.starts_failed.value();
    until("it is tried again", || attempts() >= 3, || attempts().to_string()).await;
    let refused = pool.ask(upgrade("allow")).await;
    assert!(matches!(refused, Err(AskFailed::Down { retry_after_s: 1.., .. })), "{refused:?}");
    assert_eq!(log.count("cannot start a worker"), 1, "{}", log.text());
    assert_eq!(log.count("trying again for ever"), 1, "{}", log.text());
    let why = pool.reset().await.unwrap_err();
    assert!(why.starts_with("there are no workers still, since no new one starts: "), "{why}");
}

#[test]
fn a_command_or_script_that_there_is_not_is_named() {
    with_php(async |log| {
        let command = words("no-such-command worker.php");
        let expected = "cannot start `no-such-command worker.php`: No such file or directory";
        does_not_start(WorkerSettings { command, ..settings() }, expected, &log).await;
    });
    with_php(async |log| {
        let command = words("php no-such-script.php");
        let expected = "it said: Could not open input file: no-such-script.php";
        does_not_start(WorkerSettings { command, ..settings() }, expected, &log).await;
    });
}

#[test]
fn a_worker_that_ends_or_says_something_else_at_its_start_is_told_apart() {
    with_php(async |log| {
        let expected = "ended (exit status: 3) before it had said its pid";
        does_not_start(with_env("WORKER_BOOT", "exit"), expected, &log).await;
        log.says("worker: cannot boot").await;
    });
    with_php(async |log| {
        let expected = "it said: PHP Warning:  Module \"x\" is already loaded";
        does_not_start(with_env("WORKER_BOOT", "noise"), expected, &log).await;
    });
    with_php(async |log| {
        let timeout = Duration::from_millis(200);
        let settings =
            WorkerSettings { allocate_timeout: timeout, ..with_env("WORKER_BOOT", "slow") };
        let pool = start(settings);
        until(
            "it gives up",
            || {
                pool.ready().is_err_and(|why| {
                    why.contains("within websockets.pool.allocate_timeout (200ms)")
                })
            },
            || log.text(),
        )
        .await;
    });
}

#[test]
fn a_worker_that_goes_right_after_its_start_is_not_started_without_a_pause() {
    with_php(async |log| {
        let pool = start(with_env("WORKER_BOOT", "gone"));
        log.says("cannot start a worker").await;
        // 0.1 + 0.2 + 0.4 + 0.8 s of pauses come before the fifth.
        let until = tokio::time::Instant::now() + Duration::from_millis(1400);
        tokio::time::sleep_until(until).await;
        let started = pool.telemetry().counts.started.value();
        assert!((1..=5).contains(&started), "{started}");
        assert!(pool.ready().is_err());
    });
}

#[test]
fn a_pool_that_could_not_start_works_once_the_script_is_mended() {
    with_php(async |log| {
        let file = free_path("mended");
        let env = vec![
            ("WORKER_BOOT".to_owned(), "once".to_owned()),
            ("WORKER_FILE".to_owned(), file.display().to_string()),
        ];
        let pool = start(WorkerSettings { env, ..settings() });
        until(
            "it is down",
            || pool.ready().is_err_and(|why| why.contains("no worker")),
            || log.text(),
        )
        .await;
        std::fs::write(&file, "").unwrap();
        until("it is up", || pool.ready().is_ok(), || log.text()).await;
        assert_eq!(ask(&pool, "allow").await.0, 200);
        assert_eq!(log.count("workers are there again"), 1);
        std::fs::remove_file(file).unwrap();
    });
}

#[test]
fn the_environment_is_ours_and_roadrunner_s_and_the_later_wins() {
    with_php(async |log| {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let env = vec![pair("RR_RPC", "tcp://127.0.0.1:6001"), pair("A", "1"), pair("A", "2")];
        let pool = start(WorkerSettings { env, ..settings() });
        let env: serde_json::Value = serde_json::from_str(&ask(&pool, "env").await.1).unwrap();
        let expected = [("RR_RELAY", "pipes"), ("RR_RPC", "tcp://127.0.0.1:6001"), ("A", "2")];
        for (name, value) in expected {
            assert_eq!(env[name], value);
        }
        assert_eq!(env["PATH"], std::env::var("PATH").unwrap());
        let directory = settings().directory;
        log.says(&format!("worker: booted in {}", directory.display())).await;
        let group = |pid: u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            stat.rsplit_once(") ").unwrap().1.split(' ').nth(2).unwrap().parse::<u32>().unwrap()
        };
        let worker = pid(&pool).await;
        assert_eq!(group(worker), worker, "signals to us do not reach it");
    });
}

#[test]
fn lines_on_stderr_are_lines_of_the_log_with_the_pid_and_bounded() {
    with_php(async |log| {
        let pool = start(settings());
        let worker = pid(&pool).await;
        assert_eq!(ask(&pool, "stderr&lines=1000").await.0, 200);
        log.says("more lines on stderr of a worker, left out").await;
        let said = log.count("of many");
        assert!((150..=400).contains(&said), "{said}");
        let first =
            log.text().lines().find(|line| line.contains("line 0 of many")).unwrap().to_owned();
        assert!(first.contains(&format!("pid={worker}")), "{first}");
    });
}

#[test]
fn workers_may_connect_to_a_socket_and_strangers_there_do_no_harm() {
    with_php(async |log| {
        let path = free_path("relay.sock");
        let address = {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap()
        };
        for relay in [Relay::Tcp(address), Relay::Unix(path.clone())] {
            let pool = start(WorkerSettings { relay: relay.clone(), num_workers: 2, ..settings() });
            let pids: Vec<_> = idle(&pool, 2).await.iter().map(|state| state.pid).collect();
            assert!(pids.contains(&pid(&pool).await), "{relay:?}");
            if relay == Relay::Tcp(address) {
                let mut stranger = TcpStream::connect(address).unwrap();
                stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
                drop(TcpStream::connect(address).unwrap());
            }
            // The next worker connects past them.
            assert!(failure(&pool, "fail").await.contains("exit status: 3"));
            idle(&pool, 2).await;
            assert_eq!(ask(&pool, "allow").await.0, 200);
            pool.stop(Duration::from_secs(10)).await;
        }
        drop(log);
    });
}

/// Goal: workers of another user (`server.user`) can open the socket that they are to connect to,
/// the first ones and those that come later; a third user cannot. Needs root.
#[test]
fn workers_of_another_user_connect_to_the_unix_relay_and_a_third_user_cannot() {
    if !geteuid().is_root() {
        return skip("a worker as another user takes root");
    }
    with_php(async |_| {
        // Where any user may go, whoever the directory of the tests belongs to.
        let name = format!("roadcast-workers-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let may_read = |path, mode| {
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        };
        std::fs::create_dir(&directory).unwrap();
        may_read(&directory, 0o755);
        let script = directory.join("worker.php");
        std::fs::copy(settings().directory.join("worker.php"), &script).unwrap();
        may_read(&script, 0o644);
        let (path, nobody) = (directory.join("relay.sock"), user("nobody").unwrap());
        let pool = start(WorkerSettings {
            directory: directory.clone(),
            relay: Relay::Unix(path.clone()),
            user: Some(nobody),
            num_workers: 2,
            ..settings()
        });
        let run_as_nobody = async || {
            for state in idle(&pool, 2).await {
                let process = std::fs::metadata(format!("/proc/{}", state.pid)).unwrap();
                assert_eq!((process.uid(), process.gid()), (nobody.uid, nobody.gid));
            }
        };
        run_as_nobody().await;
        assert_eq!(ask(&pool, "allow").await.0, 200);
        assert!(failure(&pool, "fail").await.contains("exit status: 3"));
        run_as_nobody().await;
        pool.reset().await.unwrap();
        run_as_nobody().await;
        assert_eq!(ask(&pool, "allow").await.0, 200);

        let connects = |uid: u32| {
            let open = "exit(@stream_socket_client($argv[1]) ? 0 : 3);";
            let url = format!("unix://{}", path.display());
            let mut php = Command::new("php");
            php.args(["-r", open, &url]).current_dir("/").uid(uid).gid(uid);
            php.status().unwrap().code()
        };
        assert_eq!([nobody.uid, 20_001].map(connects), [Some(0), Some(3)]);
        pool.stop(Duration::from_secs(10)).await;
        std::fs::remove_dir_all(directory).unwrap();
    });
}

#[test]
fn a_wrapper_around_php_may_have_a_pid_of_its_own_over_pipes() {
    with_php(async |_| {
        let pool = start(with_env("WORKER_PID", "7"));
        let child = idle(&pool, 1).await[0].pid;
        assert_ne!(child, 7);
        assert_eq!(pid(&pool).await, child);
    });
}

#[test]
fn on_init_runs_once_before_the_first_worker() {
    with_php(async |log| {
        let file = free_path("on-init");
        let env = vec![("WORKER_FILE".to_owned(), file.display().to_string())];
        let on_init = OnInit {
            command: words("php init.php"),
            timeout: Duration::from_secs(60),
            env: vec![("INIT".to_owned(), "yes".to_owned())],
        };
        let boot = ("WORKER_BOOT".to_owned(), "once".to_owned());
        let env = [env, vec![boot]].concat();
        let settings = WorkerSettings { env, on_init: Some(on_init), num_workers: 2, ..settings() };
        let pool = start(settings);
        // They start at the first attempt: what `init.php` left is there.
        idle(&pool, 2).await;
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "yes\n");
        assert_eq!(log.count("cannot start"), 0);
        log.says("server.on_init has run").await;
        log.says("worker: initialised").await;
        std::fs::remove_file(file).unwrap();
    });
}

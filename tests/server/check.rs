//! Goal: whatever keeps the server from starting is told in words, with exit code 1, by the real
//! binary. Method: the binary in a directory and an environment of the test's own; limits and
//! filters on the child alone.

use std::net::TcpListener;
use std::process::{Command, Output};

use crate::common::{Site, User, io_uring_allowed, io_uring_denied, under};

/// What `arguments` come to.
fn run(site: &Site, arguments: &[&str]) -> Output {
    site.roadcast(arguments).output().unwrap()
}

/// What `arguments` come to where no more files may be open.
fn run_with_descriptors(site: &Site, limits: &str, arguments: &[&str]) -> Output {
    site.roadcast_after(limits, arguments).output().unwrap()
}

/// What `arguments` say on stderr, having failed to start.
fn refused(site: &Site, arguments: &[&str]) -> String {
    refusal(run(site, arguments))
}

fn refusal(output: Output) -> String {
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    stderr
}

/// Both ways to start tell the same.
fn refused_by_both(site: &Site, more: &[&str], expected: &str) {
    for word in ["check", "serve"] {
        let text = refused(site, &[&[word], more].concat());
        assert!(text.starts_with("roadcast: ") && text.contains(expected), "{word}: {text}");
    }
}

#[test]
fn check_prints_what_would_run_and_binds_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let site = Site::new(&format!(
        "http: {{ address: \"{address}\" }}\nhtpp: {{}}\nwebsockets: {{ path: /live }}\n"
    ));
    let output =
        run(&site, &["check", "-o", "roadcast.shards=3", "-o", "roadcast.limits.connections=500"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    for part in [
        "configuration  .rr.yaml\n",
        &format!("clients        ws://{address}/live (origin *)\n"),
        "publishers     tcp://127.0.0.1:6001\n",
        "brokers        default (memory, default)\n",
        "shards         3, each bound to a CPU\n",
        "connections 500; RPC connections 1024\n",
        "message 64KiB, publication 1MiB, RPC frame 16MiB\n",
        "memory         ",
        " at worst of ",
        "machine        Linux ",
        "warning: .rr.yaml:2:1: htpp: no section that is read; did you mean http?",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn every_url_that_is_printed_can_be_opened_and_the_demo_page_has_a_line_of_its_own() {
    let of = |all: &str| {
        let site = Site::new(&format!(
            "http: {{ address: '{all}:8080' }}\nrpc: {{ listen: 'tcp://{all}:6001' }}\nmetrics: {{ address: '{all}:2112' }}\n\
             status: {{ address: '{all}:2114' }}\nroadcast: {{ demo: true }}\n"
        ));
        let output = run(&site, &["check"]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{all}: {text}");
        text.lines()
            .filter(|line| line.contains("://"))
            .take(5)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    for all in ["", "0.0.0.0", "[::]"] {
        let expected = [
            "clients        ws://localhost:8080/ws (all addresses, origin *)",
            "demo page      http://localhost:8080/",
            "publishers     tcp://localhost:6001 (all addresses)",
            "metrics        http://localhost:2112/metrics (all addresses)",
            "status         http://localhost:2114/health and /ready (all addresses)",
        ];
        assert_eq!(of(all), expected, "{all}");
    }
    assert_eq!(
        of("127.0.0.1")[..2].join("\n"),
        "clients        ws://127.0.0.1:8080/ws (origin *)\ndemo page      http://127.0.0.1:8080/"
    );
}

#[test]
fn check_names_the_number_of_connections_that_descriptors_allow() {
    let site = Site::new("roadcast: { shards: 2 }");
    for (backend, publishers) in [("epoll", 432), ("io_uring", 216)] {
        if backend == "io_uring" && !io_uring_allowed() {
            continue;
        }
        let wish = format!("roadcast.backend={backend}");
        let output = run_with_descriptors(&site, "ulimit -n 2000", &["check", "-o", &wish]);
        let text = String::from_utf8(output.stdout).unwrap();
        let expected = format!("connections 1360; RPC connections {publishers}\n");
        assert!(text.contains(&expected) && text.contains("2000 open files"), "{backend}: {text}");
    }
}

#[test]
fn a_missing_file_is_named() {
    refused_by_both(
        &Site::new(""),
        &["-c", "none.yaml"],
        "configuration file none.yaml: does not exist",
    );
}

#[test]
fn a_syntax_error_is_told_with_its_line() {
    refused_by_both(&Site::new("http:\n  address: \"x\n"), &[], ".rr.yaml:");
}

#[test]
fn a_bad_value_is_told_with_line_key_value_and_what_is_allowed() {
    let expected = ".rr.yaml:2:10: logs.level: \"loud\" is not known; allowed: debug, info";
    refused_by_both(&Site::new("logs:\n  level: loud\n"), &[], expected);
}

#[test]
fn an_unknown_driver_is_told_with_those_that_are_supported() {
    let expected =
        "broadcast.bus.driver: \"rabbit\" is no known driver; supported: memory, redis, nats";
    refused_by_both(&Site::new("broadcast: { bus: { driver: rabbit } }"), &[], expected);
}

#[test]
fn a_misspelling_in_our_own_section_is_told_with_the_nearest_key() {
    let expected = "roadcast.shard: no such key; did you mean roadcast.shards?";
    refused_by_both(&Site::new("roadcast: { shard: 1 }"), &[], expected);
}

#[test]
fn all_that_is_wrong_is_told_at_once_a_line_each() {
    let site = Site::new(
        "logs: { level: loud }\nhttp: { address: 8080 }\nhtpp: {}\nbroadcast: { bus: { driver: rabbit } }\n",
    );
    for word in ["check", "serve"] {
        let output = run(&site, &[word, "-o", "rpc.listn=x"]);
        let warned =
            String::from_utf8_lossy(&output.stdout).contains("warning: .rr.yaml:3:1: htpp");
        assert_eq!(warned, word == "check", "{output:?}");
        let told = refusal(output);
        let begins = [
            "roadcast: .rr.yaml:1:16: logs.level: ",
            "roadcast: .rr.yaml:2:18: http.address: ",
            "roadcast: .rr.yaml:4:29: broadcast.bus.driver: ",
            "roadcast: -o: rpc.listn: ",
        ];
        let lines: Vec<_> = told.lines().collect();
        assert_eq!(lines.len(), begins.len(), "{told}");
        assert!(lines.iter().zip(begins).all(|(line, begin)| line.starts_with(begin)), "{told}");
    }
}

#[test]
fn a_variable_that_is_not_set_opens_no_address_to_the_world() {
    let site = Site::new("rpc: { listen: \"tcp://${NOPE}:16001\" }");
    refused_by_both(&site, &[], ".rr.yaml:1:16: rpc.listen: ${NOPE} is not set");
}

#[test]
fn who_is_asked_is_told_and_whether_anybody_is() {
    let site = Site::new("server: { command: php worker.php }\nwebsockets: {}\n");
    let told = |arguments: &[&str]| String::from_utf8(run(&site, arguments).stdout).unwrap();
    let guarded = told(&["check"]);
    assert!(guarded.contains("access         connect: the workers of server.command"), "{guarded}");
    let open = told(&["check", "-o", "roadcast.access=open"]);
    assert!(open.contains("access         open: everyone may connect and join\n"), "{open}");
}

#[test]
fn check_says_what_would_become_of_a_join_and_which_rule_decides() {
    let site = Site::new("");
    let output = run(&site, &["check", "--topic", "news"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    for part in [
        "access         open: everyone may connect and join\n",
        "join           news: allow, by default: nobody is asked\n",
        "as a whole, by nobody in particular: allowed\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let site = Site::new(
        "server: { command: php w.php }\nroadcast: { access: { rules: [{ topics: 'user.{user}', join: allow }] } }",
    );
    let output = run(&site, &["check", "--topic", "user.7", "--topic", "x", "--user", "7"]);
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "join           user.7: allow, by rule 1 (.rr.yaml:2:31)\n",
        "               x: ask, by default: no rule matches it\n",
        "as a whole, by the user \"7\": the workers are asked about x\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(run(&site, &["check", "--user", "7"]).status.code(), Some(2));
}

#[test]
fn check_reads_a_token_and_never_tells_it() {
    let secret = "0123456789abcdef0123456789abcdef";
    let site = Site::new(&format!("roadcast: {{ access: {{ jwt: {{ secret: {secret} }} }} }}"));
    // HS256 with that secret: {"sub":"7","topics":["news"]}
    let signed = [
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
        "eyJzdWIiOiI3IiwidG9waWNzIjpbIm5ld3MiXX0",
        "gvBPff51exE8ePY2smD0jWjrCGEnrTSBNl3DCuQa_Og",
    ]
    .join(".");
    let check = |token: &str| {
        let output = run(&site, &["check", "--topic", "news", "--token", token]);
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let text = check(&signed);
    for part in [
        "token          is accepted, and never expires: it has no exp\n",
        "join           news: token, by default: no rule matches it; the token has it\n",
        "as a whole, by the user \"7\": allowed\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let text = check(&signed.replace("eyJzdWI", "eyJzdWX"));
    let expected = "token          would not connect: 401, the token's signature is wrong. Sign it";
    assert!(text.contains(expected) && !text.contains("as a whole"), "{text}");
    assert!(!text.contains("eyJ") && !text.contains(secret), "{text}");
    let alone = |token: &str| run(&site, &["check", "--token", token]);
    assert_eq!(alone(&signed).status.code(), Some(0));
    assert_eq!(alone("x").status.code(), Some(1));
    let empty = alone("-");
    let text = String::from_utf8(empty.stdout).unwrap();
    assert!(text.contains("token          is missing: standard input is empty\n"), "{text}");
    assert_eq!(empty.status.code(), Some(1));
}

#[test]
fn check_looks_for_the_program_of_workers_and_its_script_and_runs_neither() {
    let check = |command: &str| {
        let site = Site::new(&format!("server: {{ command: {command:?} }}"));
        let script = |name: &str, text: &str, mode| {
            let path = site.path().join(name);
            std::fs::write(&path, text).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(&path, mode).unwrap();
        };
        script("worker", "#!/bin/sh\ntouch ran\n", 0o755);
        script("plain", "#!/bin/sh\n", 0o644);
        script("broken", "#!/usr/bin/php\r\n", 0o755);
        let output = run(&site, &["check"]);
        assert!(!site.path().join("ran").exists(), "it was run");
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for command in ["./worker", "sh worker", "env A=1 sh worker", "sh -c 'exit 1'"] {
        assert_eq!(check(command), (Some(0), String::new()), "{command}");
    }
    for (command, expected) in [
        ("no-such-program worker.php", "there is no program \"no-such-program\" in the PATH (/"),
        ("./missing", "/missing; names count from the directory of the configuration file"),
        ("./plain", "/plain may not be run: it is not executable (chmod +x)"),
        ("./broken", "there is no file \"/usr/bin/php\\r\""),
        ("sh missing.sh", "/missing.sh; names count from the directory"),
        ("env A=1 sh missing.sh", "/missing.sh; names count from the directory"),
    ] {
        let (code, text) = check(command);
        assert!(text.starts_with("roadcast: server.command: "), "{command}: {text}");
        assert!(code == Some(1) && text.contains(expected), "{command}: {text}");
    }
}

#[test]
fn a_user_of_workers_that_there_is_not_is_told_by_both() {
    let site = Site::new("server: { command: sh, user: no-such-user }");
    for word in ["check", "serve"] {
        let text = refused(&site, &[word]);
        let expected = "roadcast: server.user: there is no user \"no-such-user\"";
        assert!(text.contains(expected), "{word}: {text}");
    }
}

#[test]
fn a_user_that_may_not_be_switched_to_is_told_by_both() {
    let Some(user) = User::create() else { return };
    for word in ["check", "serve"] {
        let mut command = user.roadcast_after("true");
        command.args([word, "-o", "server.command=sh", "-o", "server.user=root"]);
        let text = refusal(command.output().unwrap());
        assert!(text.contains("server.user: workers cannot run as \"root\": this"), "{text}");
    }
}

#[test]
fn too_few_descriptors_are_told_with_numbers() {
    let site = Site::new("roadcast: { shards: 1, limits: { connections: 3000 } }");
    let epoll = ["-o", "roadcast.backend=epoll"];
    for word in ["check", "serve"] {
        let arguments = [&[word], &epoll[..]].concat();
        let text = refusal(run_with_descriptors(&site, "ulimit -n 2000", &arguments));
        assert!(text.contains("limit of open files is 2000, and 3152 are needed"), "{text}");
        assert!(text.contains("LimitNOFILE=3152"), "{text}");
    }
    let many = [&["check", "-o", "roadcast.shards=40"], &epoll[..]].concat();
    let text = refusal(run_with_descriptors(&site, "ulimit -n 2000", &many));
    assert!(text.contains("2880 for roadcast.shards (72 each)"), "{text}");
}

#[test]
fn the_number_of_descriptors_that_is_asked_for_is_enough() {
    let site = Site::new("roadcast: { shards: 2 }");
    let check = |limit: u64| run_with_descriptors(&site, &format!("ulimit -n {limit}"), &["check"]);
    let told = refusal(check(100));
    let (_, needed) = told.split_once("is 100, and ").unwrap();
    let needed: u64 = needed.split(' ').next().unwrap().parse().unwrap();
    assert!(refusal(check(needed - 1)).contains(&format!("and {needed} are needed")));
    let output = check(needed);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_soft_limit_of_descriptors_is_raised() {
    let site = Site::new("roadcast: { limits: { connections: 500 } }");
    let output = run_with_descriptors(&site, "ulimit -n 3000; ulimit -Sn 100", &["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_client_port_in_use_is_told_with_its_key() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for key in ["http.address", "roadcast.http.address"] {
        let text = refused(&Site::new(""), &["serve", "-o", &format!("{key}={address}")]);
        assert!(text.contains(&format!("roadcast: {key}: {address}: is in use")), "{text}");
    }
}

#[test]
fn an_rpc_port_in_use_is_told_with_its_key() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", taken.local_addr().unwrap());
    let site = Site::new("http: { address: \"127.0.0.1:0\" }");
    let text = refused(&site, &["serve", "-o", &format!("rpc.listen={address}")]);
    assert!(text.contains(&format!("roadcast: rpc.listen: {address}: is in use")), "{text}");
}

#[test]
fn rpc_that_others_may_reach_is_warned_of_by_check_and_in_the_log() {
    let site = Site::new("rpc: { listen: \"tcp://0.0.0.0:6001\" }");
    let output = run(&site, &["check"]);
    let told = String::from_utf8(output.stdout).unwrap();
    let warning =
        ".rr.yaml:1:16: rpc.listen: tcp://0.0.0.0:6001 can be reached from other machines";
    assert!(output.status.success() && told.contains(&format!("warning: {warning}")), "{told}");
    // It does not come to listen there: its client port is taken.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http.address={}", taken.local_addr().unwrap());
    let text = refusal(run(&site, &["serve", "-o", &address]));
    assert!(text.contains(&format!("WARN   configuration: {warning}")), "{text}");
}

/// What `command` puts out where `io_uring_setup` fails with `errno`.
fn without_io_uring(mut command: Command, errno: i32) -> Output {
    under(io_uring_denied(errno), move || command.output().unwrap())
}

const DENIED: [(i32, &str); 2] = [
    (libc::EPERM, "allow io_uring_setup, io_uring_enter and io_uring_register"),
    (libc::ENOSYS, "the kernel was built without it, or a seccomp profile denies it"),
];

#[test]
fn io_uring_that_is_asked_for_and_denied_by_seccomp_is_told_with_the_calls_to_allow() {
    let site = Site::new("");
    for (errno, expected) in DENIED {
        for word in ["check", "serve"] {
            let command = site.roadcast(&[word, "-o", "roadcast.backend=io_uring"]);
            let text = refusal(without_io_uring(command, errno));
            let begin = "roadcast: roadcast.backend: io_uring cannot be used";
            assert!(text.contains(begin) && text.contains(expected), "{text}");
            assert!(text.ends_with("or set `auto`, which runs on epoll then\n"), "{text}");
        }
    }
}

#[test]
fn check_says_which_backend_it_would_be_and_why_it_is_not_io_uring() {
    let site = Site::new("");
    let backend = |output: Output| {
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{text}");
        let line = text.lines().find_map(|line| line.strip_prefix("backend        "));
        line.unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    let check = |wish: &str| site.roadcast(&["check", "-o", &format!("roadcast.backend={wish}")]);
    for (errno, expected) in DENIED {
        let told = backend(without_io_uring(check("auto"), errno));
        assert!(
            told.starts_with("epoll, usually at more CPU: io_uring cannot be used")
                && told.contains(expected),
            "{told}"
        );
    }
    assert_eq!(backend(check("epoll").output().unwrap()), "epoll");
    assert_eq!(backend(without_io_uring(check("epoll"), libc::EPERM)), "epoll");
    if io_uring_allowed() {
        assert_eq!(backend(check("io_uring").output().unwrap()), "io_uring");
        assert_eq!(backend(check("auto").output().unwrap()), "io_uring");
    }
}

#[test]
fn a_command_line_that_is_not_understood_exits_with_2() {
    for arguments in [&["serve", "--nonsense"][..], &["publish"], &[]] {
        assert_eq!(run(&Site::new(""), arguments).status.code(), Some(2), "{arguments:?}");
    }
    let version = run(&Site::new(""), &["--version"]);
    assert_eq!((version.status.code(), version.stdout.starts_with(b"roadcast ")), (Some(0), true));
}

//! Goal: a test that cannot run on this machine is not taken for one that passed. Method: this
//! binary runs a test of its own that skips, as `cargo test` does: with its output captured.

#[macro_use]
mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{installed, io_uring_allowed, io_uring_denied, skip, under};

/// Runs one of the tests below in a process of its own, started by `start`; what it left in the
/// file of skipped tests.
fn skipped(test: &str, ci: &str, start: impl FnOnce(Command) -> Output) -> (Output, String) {
    let unique = format!("{}-{test}-{ci}", std::process::id()).replace(':', "-");
    let file = format!("{}/skipped-{unique}", env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(&file, "another::test: another reason\n").unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test]);
    command.env("CI", ci).env("ROADCAST_SKIPPED", &file).env("SKIP", "yes");
    let output = start(command);
    let lines = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    (output, lines)
}

#[test]
fn a_test_that_skips() {
    if std::env::var_os("SKIP").is_some() {
        assert!(installed("sh"), "no reason to skip");
        if !installed("a-program-that-nobody-has") {
            skip("and for another reason");
        }
    }
}

#[test]
fn what_is_skipped_is_said_and_gathered_with_its_reason() {
    let (output, lines) = skipped("a_test_that_skips", "", |mut command| command.output().unwrap());
    assert!(output.status.success(), "{output:?}");
    let expected = "another::test: another reason\n\
                    skip::a_test_that_skips: `a-program-that-nobody-has` is not installed\n\
                    skip::a_test_that_skips: and for another reason\n";
    assert_eq!(lines, expected);
    let said = String::from_utf8(output.stderr).unwrap();
    let line =
        "NOT TESTED: skip::a_test_that_skips: `a-program-that-nobody-has` is not installed\n";
    assert!(said.contains(line), "{said}");
}

fn io_uring() -> Option<&'static str> {
    io_uring_allowed().then_some("io_uring")
}

fn epoll() -> &'static str {
    "epoll"
}

over_both!(a_test_over_both);
fn a_test_over_both(backend: &str) {
    assert!(backend == "epoll" || std::env::var_os("SKIP").is_none(), "it was to be skipped");
}

#[test]
fn where_io_uring_is_denied_what_runs_over_it_is_skipped_and_the_rest_is_not() {
    let denied = |mut command: Command| {
        under(io_uring_denied(libc::EPERM), move || command.output().unwrap())
    };
    let (output, lines) = skipped("a_test_over_both::io_uring", "", denied);
    assert!(output.status.success(), "{output:?}");
    let why = "skip::a_test_over_both::io_uring: io_uring cannot be used here: Operation not";
    assert!(lines.contains(why), "{lines}");
    let (output, lines) = skipped("a_test_over_both::epoll", "", denied);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(lines, "another::test: another reason\n");
}

#[test]
fn in_ci_nothing_may_be_skipped() {
    let (output, lines) =
        skipped("a_test_that_skips", "true", |mut command| command.output().unwrap());
    assert_eq!(output.status.code(), Some(101), "{output:?}");
    assert_eq!(lines, "another::test: another reason\n");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("with CI=true nothing may be left out") && said.contains("is not installed"),
        "{said}"
    );
}

/// `scripts/test` on a machine that has no program but a few of its own, a cargo of which one test
/// was skipped, and an apt that installs nothing; goes with the value.
struct Machine(PathBuf);

impl Machine {
    fn new(name: &str) -> Self {
        let directory =
            format!("{}/test-command-{}-{name}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
        let machine = Self(directory.into());
        fs::create_dir_all(&machine.0).unwrap();
        for tool in ["bash", "dirname", "basename", "mktemp", "sort", "sed", "grep", "rm", "nproc"]
        {
            let paths = std::env::var_os("PATH").unwrap();
            let place = std::env::split_paths(&paths)
                .map(|path| path.join(tool))
                .find(|file| file.exists());
            symlink(place.expect(tool), machine.0.join(tool)).unwrap();
        }
        let cargo = "backend=$ROADCAST_TEST_BACKEND$RR_ROADCAST_BACKEND
            echo \"${backend:+$backend: }cargo $*\"
            case $* in
                test*) echo 'veth::one: it takes root' >>\"$ROADCAST_SKIPPED\"; exit $FAILURE ;;
                run*check*) [ -z \"$REFUSAL\" ] || { echo \"roadcast: $REFUSAL\" >&2; exit 1; } ;;
            esac";
        machine.tool("cargo", cargo);
        machine.tool("apt-get", "echo \"apt-get $*\" >&2");
        machine
    }

    fn tool(&self, name: &str, script: &str) {
        let file = self.0.join(name);
        fs::write(&file, format!("#!{}\n{script}\n", self.0.join("bash").display())).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Exit code and what was said.
    fn run(&self, ci: &str, failure: &str, refusal: &str) -> (Option<i32>, String) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/test");
        let mut command = Command::new(self.0.join("bash"));
        command.arg(script).env("PATH", &self.0).env("TMPDIR", &self.0);
        // As this test may run in the second pass itself.
        command.env_remove("ROADCAST_TEST_BACKEND").env_remove("RR_ROADCAST_BACKEND");
        let output = command
            .envs([("CI", ci), ("FAILURE", failure), ("REFUSAL", refusal)])
            .output()
            .unwrap();
        let said =
            [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
        (output.status.code(), said)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_test_command_ends_with_the_list_of_what_did_not_run_and_installs_nothing() {
    let machine = Machine::new("list");
    for failure in ["0", "101"] {
        let (code, said) = machine.run("", failure, "");
        assert_eq!(code, Some(failure.parse().unwrap()), "{said}");
        let list = "\nDid not run here:\n  veth::one: it takes root\nMissing programs are in these packages of Debian: ";
        assert!(
            said.contains(list) && said.contains("iproute2") && said.contains("php-cli"),
            "{said}"
        );
        assert!(said.contains("cargo test --workspace --lib --bins --tests --locked"), "{said}");
        assert!(!said.contains("apt-get"), "{said}");
    }
}

#[test]
fn the_test_command_runs_what_starts_a_server_once_more_over_epoll() {
    let (code, said) = Machine::new("twice").run("", "0", "");
    assert_eq!(code, Some(0), "{said}");
    let (_, behind) =
        said.split_once("cargo test --workspace --lib --bins --tests --locked\n").expect(&said);
    let again = behind.lines().find(|line| line.starts_with("epoll: cargo test")).expect(&said);
    let expected = "epoll: cargo test --workspace --locked --test server --test system_faults";
    assert_eq!(again, expected);
}

/// What the test command says of the soaks, in their order.
fn soaks(said: &str) -> Vec<&str> {
    said.lines().filter(|line| line.contains("cargo run") && line.contains(" soak ")).collect()
}

#[test]
fn the_test_command_has_faults_at_random_over_each_backend() {
    let (_, said) = Machine::new("soak").run("", "0", "");
    let soaks = soaks(&said);
    assert!(soaks.len() == 2 && soaks[0].starts_with("io_uring: "), "{said}");
    assert!(soaks[1].starts_with("epoll: "), "{said}");
    let machine = Machine::new("one-core");
    fs::remove_file(machine.0.join("nproc")).unwrap();
    machine.tool("nproc", "echo 1");
    let (code, said) = machine.run("", "0", "");
    assert!(code == Some(0) && self::soaks(&said).is_empty(), "{said}");
    assert!(said.contains("  faults under load, over epoll: it takes two cores\n"), "{said}");
}

#[test]
fn where_io_uring_is_denied_the_test_command_runs_what_runs_over_epoll() {
    let refusal = "io_uring cannot be used (Operation not permitted): a seccomp profile denies it";
    let machine = Machine::new("denied");
    let (code, said) = machine.run("", "0", refusal);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("\n  all that runs over io_uring: {refusal}\n")), "{said}");
    let tests: Vec<&str> = said.lines().filter(|line| line.contains("cargo test")).collect();
    // All of them: those over io_uring skip by themselves.
    assert_eq!(tests, ["epoll: cargo test --workspace --lib --bins --tests --locked"], "{said}");
    let soaks = soaks(&said);
    assert!(soaks.len() == 1 && soaks[0].starts_with("epoll: "), "{said}");
    let (code, said) = machine.run("true", "0", refusal);
    assert!(
        code == Some(1) && said.contains("nothing may be left out") && !said.contains("cargo test"),
        "{said}"
    );
}

#[test]
fn in_ci_the_test_command_installs_what_is_missing() {
    let (code, said) = Machine::new("ci").run("true", "0", "");
    assert_eq!(code, Some(0), "{said}");
    let install =
        said.lines().find(|line| line.starts_with("apt-get install")).expect("it installs");
    for package in ["chromium", "iproute2", "gcc", "php-cli", "python3", "golang-go"] {
        assert!(install.contains(package), "{install}");
    }
}

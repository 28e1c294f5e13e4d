//! Goal: a test that cannot run on this machine is not taken for one that passed.
//! Method: this binary runs a test of its own that skips, as `cargo test` does: with its output captured.

mod common;

use std::process::{Command, Output};

use common::{installed, skip};

/// Runs `a_test_that_skips` in a process of its own; what it left in the file of skipped tests.
fn skipped(ci: &str) -> (Output, String) {
    let file = format!("{}/skipped-{}-{ci}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    std::fs::write(&file, "another::test: another reason\n").unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "a_test_that_skips"]);
    let output = command.env("CI", ci).env("ROADCAST_SKIPPED", &file).env("SKIP", "yes").output().unwrap();
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
    let (output, lines) = skipped("");
    assert!(output.status.success(), "{output:?}");
    let expected = "another::test: another reason\n\
                    skip::a_test_that_skips: `a-program-that-nobody-has` is not installed\n\
                    skip::a_test_that_skips: and for another reason\n";
    assert_eq!(lines, expected);
    let said = String::from_utf8(output.stderr).unwrap();
    let line = "NOT TESTED: skip::a_test_that_skips: `a-program-that-nobody-has` is not installed\n";
    assert!(said.contains(line), "{said}");
}

#[test]
fn in_ci_nothing_may_be_skipped() {
    let (output, lines) = skipped("true");
    assert_eq!(output.status.code(), Some(101), "{output:?}");
    assert_eq!(lines, "another::test: another reason\n");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("with CI=true nothing may be left out") && said.contains("is not installed"),
        "{said}"
    );
}

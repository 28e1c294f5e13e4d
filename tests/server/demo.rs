//! Goal: what the demo page shows is true for whoever opens it: lines run as they stand, and
//! fingers find what they look for. Method: a real browser opens the page of a real server; what it
//! shows is run, and measured.

use std::process::Command;

use crate::common::{Browser, Server, installed};
use serde_json::json;

/// A topic as a link could carry it: quotes, what a shell would expand, and a key that would clear
/// the line.
const HOSTILE: &str = "it's \"$HOME\" `id` \\ !! ü\u{15}\u{1b}[201~\n;";

/// The page of this server with these topics joined.
fn page(server: &Server, topics: &[&str], (width, height): (u32, u32)) -> Browser {
    let escaped =
        |topic: &&str| topic.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let topics: Vec<String> = topics.iter().map(escaped).collect();
    let url = format!("http://{}/#{}", server.clients, topics.join(","));
    let mut browser = Browser::open(&url, width, height);
    let joined =
        format!("document.getElementById('topics-sum')?.textContent === '{} joined'", topics.len());
    browser.await_true(&joined);
    browser
}

/// Runs the page's shell line, in a directory where nothing is found by chance.
fn run(browser: &mut Browser) {
    let line = browser.value("document.getElementById('shell-line').textContent");
    let line = line.as_str().expect("a line");
    assert!(!line.contains(|c: char| c.is_control()), "pasted, it would press keys: {line:?}");
    let output = Command::new("bash").args(["-c", line]).current_dir("/").output().expect("bash");
    assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_shell_line_that_the_page_shows_publishes_as_it_stands() {
    if !installed("chromium") {
        return;
    }
    let server = Server::start_with(&["--demo"], &[]);
    let mut browser = page(&server, &["news", HOSTILE], (1280, 800));
    for (place, topic) in ["news", HOSTILE].into_iter().enumerate() {
        for message in ["Hello, Roadcast", "--it's `$HOME` \\ \"!\"", "-", ""] {
            let set = format!(
                "const [target, message] = ['target', 'message'].map((id) => document.getElementById(id));
                 document.getElementById('clear').click();
                 target.selectedIndex = {place}; message.value = {}; message.dispatchEvent(new Event('input'));",
                json!(message)
            );
            browser.value(&format!("{{ {set} }}"));
            run(&mut browser);
            let shown = format!(
                "document.querySelector('.payload')?.textContent === {} && \
                 document.querySelector('.topic-name').textContent === {}",
                json!(message),
                json!(topic)
            );
            browser.await_true(&shown);
        }
    }
}

#[test]
fn the_php_file_that_the_page_shows_is_the_one_of_the_readme() {
    if !installed("chromium") {
        return;
    }
    let server = Server::start_with(&["--demo"], &[]);
    let mut browser = page(&server, &["news"], (1280, 800));
    browser.value("{ const m = document.getElementById('message'); m.value = 'hello, browser'; m.dispatchEvent(new Event('input')); }");
    let shown = browser.value("document.getElementById('php-lines').textContent");
    let shown = shown.as_str().expect("PHP").replace(&server.publish, "tcp://127.0.0.1:6001");
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"))
        .expect("the README");
    let block = readme
        .split("```php\n")
        .nth(1)
        .and_then(|rest| rest.split("\n```").next())
        .expect("a block of PHP");
    // The page tells above the code what the README tells in a block of its own.
    let shown: Vec<&str> = shown.lines().filter(|line| !line.starts_with("//")).collect();
    assert_eq!(shown, block.lines().collect::<Vec<_>>());
}

#[test]
fn on_a_phone_messages_come_right_under_the_topics_and_all_targets_can_be_touched() {
    if !installed("chromium") {
        return;
    }
    let server = Server::start_with(&["--demo"], &[]);
    for window in [(390, 844), (1280, 800)] {
        let mut browser = page(&server, &["news"], window);
        server.publisher().publish(&["news"], b"hello");
        browser.await_true("document.querySelector('.payload')?.textContent === 'hello'");
        let width = browser.value("document.documentElement.scrollWidth");
        assert!(width.as_i64() <= Some(window.0.into()), "nothing sticks out: {width}");
        let sides = browser.value(
            "['topics', 'messages', 'publish'].map((name) => document.querySelector(`.${name}-card`).getBoundingClientRect())
             .map(({ left, top, bottom }) => [left, top, bottom])",
        );
        let side = |card: usize, side: usize| sides[card][side].as_f64().expect("pixels");
        if window.0 < 600 {
            assert!(side(0, 2) <= side(1, 1) && side(1, 2) <= side(2, 1), "{sides}");
        } else {
            assert!(
                side(0, 0) < side(1, 0) && side(0, 1) == side(1, 1) && side(2, 0) == side(0, 0),
                "{sides}"
            );
            assert!(side(2, 1) - side(0, 2) < 40.0, "no gap in the left column: {sides}");
        }
        let seen =
            browser.value("document.querySelector('.payload').getBoundingClientRect().bottom");
        assert!(
            seen.as_f64() < Some(f64::from(window.1)),
            "the message is seen without scrolling: {seen}"
        );
        let small = browser.value(
            "[...document.querySelectorAll('button, input, select, a, summary')].map((one) => [one.id || one.textContent,
             one.getBoundingClientRect().width, one.getBoundingClientRect().height]).filter(([, w, h]) => w < 44 || h < 44)",
        );
        assert_eq!(small, json!([]), "targets of less than 44 pixels at {window:?}");
    }
}

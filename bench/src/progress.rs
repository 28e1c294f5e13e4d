//! The progress line, on standard error and only where somebody looks.

use indicatif::{ProgressBar, ProgressStyle};

/// The line.
pub struct Progress {
    bar: ProgressBar,
    cases: usize,
    done: std::cell::Cell<usize>,
}

impl Progress {
    /// For so many cases.
    pub fn new(cases: usize) -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} [{elapsed}] {prefix} {msg}") {
            bar.set_style(style);
        }
        Self { bar, cases, done: std::cell::Cell::new(0) }
    }

    /// Begins a case.
    pub fn case(&self, name: &str) {
        self.done.set(self.done.get() + 1);
        self.bar.set_prefix(format!("{}/{} {name}:", self.done.get(), self.cases));
    }

    /// Says what happens.
    pub fn say(&self, what: &str) {
        self.bar.set_message(what.to_owned());
        self.bar.tick();
    }

    /// Says which round runs; 0 is the warm-up.
    pub fn step(&self, round: usize, rounds: usize, server: &str) {
        match round {
            0 => self.say(&format!("warm-up, {server}")),
            _ => self.say(&format!("round {round} of {rounds}, {server}")),
        }
    }

    /// Prints something above the line.
    pub fn print(&self, text: &str) {
        self.bar.suspend(|| println!("{text}"));
    }

    /// Takes the line away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

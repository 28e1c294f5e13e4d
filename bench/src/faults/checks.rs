//! What must hold under a fault, and whether it did.

use comfy_table::{Table, presets};
use serde::Serialize;

/// One thing that must hold.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// The fault.
    pub fault: String,
    /// What is done.
    pub done: String,
    /// What must hold.
    pub must: String,
    /// What was measured or counted.
    pub figure: String,
    /// Whether it held.
    pub held: bool,
}

/// All that was checked.
#[derive(Debug, Default)]
pub struct Checks {
    list: Vec<Check>,
    fault: String,
    done: String,
}

impl Checks {
    /// What follows is about this fault.
    pub fn begin(&mut self, fault: &str, done: String) {
        self.fault = fault.to_owned();
        self.done = done;
    }

    /// Books one thing that must hold.
    pub fn add(&mut self, must: impl Into<String>, figure: impl Into<String>, held: bool) {
        self.list.push(Check {
            fault: self.fault.clone(),
            done: self.done.clone(),
            must: must.into(),
            figure: figure.into(),
            held,
        });
    }

    /// Everything so far.
    pub fn all(&self) -> &[Check] {
        &self.list
    }

    /// Whether everything held.
    pub fn held(&self) -> bool {
        self.list.iter().all(|check| check.held)
    }

    /// The rows from `from` on, for people: one table a fault.
    pub fn table(&self, from: usize) -> String {
        let Some(first) = self.list.get(from) else { return String::new() };
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(["must hold", "figure", ""]);
        for check in &self.list[from..] {
            let verdict = if check.held { "held" } else { "NOT held" };
            table.add_row([check.must.as_str(), check.figure.as_str(), verdict]);
        }
        format!("\n{}: {}\n{table}", first.fault, first.done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_check_that_did_not_hold_is_enough() {
        let mut checks = Checks::default();
        checks.begin("fault", "something".into());
        checks.add("this", "1", true);
        assert!(checks.held());
        checks.begin("other", "more".into());
        checks.add("that", "2", false);
        assert!(!checks.held());
        let table = checks.table(1);
        assert!(
            table.contains("other: more") && table.contains("NOT held") && !table.contains("this")
        );
    }
}

//! What has become of the calls, told in the end.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;

use crate::rpc::IN_DOUBT;

/// Runs of lines that are named; of more there is the number.
const RUNS_MAX: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub struct Account {
    /// Calls answered ok.
    pub confirmed: u64,
    /// Calls answered otherwise, and lines that were not sent for their length.
    pub refused: u64,
    /// Calls answered with an error that says that nobody knows whether they were published.
    pub in_doubt: u64,
    /// Calls that were sent, or about to be, and have no answer.
    pub open: BTreeSet<u32>,
}

impl Account {
    /// Neighbours among the open calls.
    fn runs(&self) -> Vec<RangeInclusive<u32>> {
        let mut runs: Vec<RangeInclusive<u32>> = Vec::new();
        for &line in &self.open {
            match runs.last_mut() {
                Some(run) if run.end() + 1 == line => *run = *run.start()..=line,
                _ => runs.push(line..=line),
            }
        }
        runs
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = |count| if count == 1 { "was" } else { "were" };
        let noun = if self.confirmed == 1 { "line" } else { "lines" };
        write!(f, "{} {noun} {} confirmed", self.confirmed, verb(self.confirmed))?;
        if self.refused > 0 {
            write!(f, ", {} {} refused", self.refused, verb(self.refused))?;
        }
        if self.in_doubt > 0 {
            write!(f, ", {} {IN_DOUBT}", self.in_doubt)?;
        }
        let runs = self.runs();
        if runs.is_empty() {
            return Ok(());
        }
        let name = |run: &RangeInclusive<u32>| match (run.start(), run.end()) {
            (first, last) if first == last => format!("line {first}"),
            (first, last) => format!("lines {first} to {last}"),
        };
        let mut named: Vec<String> = runs.iter().take(RUNS_MAX).map(name).collect();
        let others: usize = runs.iter().skip(RUNS_MAX).map(|run| run.clone().count()).sum();
        if others > 0 {
            named.push(format!("{others} more behind those"));
        }
        write!(f, "; {} got no answer, so {IN_DOUBT}", named.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(confirmed: u64, refused: u64, open: &[u32]) -> String {
        let open = open.iter().copied().collect();
        Account { confirmed, refused, in_doubt: 0, open }.to_string()
    }

    #[test]
    fn what_became_of_each_line_is_told() {
        assert_eq!(said(2, 0, &[]), "2 lines were confirmed");
        assert_eq!(said(1, 1, &[]), "1 line was confirmed, 1 was refused");
        let in_doubt = Account { confirmed: 2, refused: 3, in_doubt: 4, open: BTreeSet::new() };
        assert_eq!(
            in_doubt.to_string(),
            "2 lines were confirmed, 3 were refused, 4 may or may not have been published"
        );
        assert_eq!(
            said(0, 2, &[7, 3, 4, 5]),
            "0 lines were confirmed, 2 were refused; lines 3 to 5, line 7 got no answer, so may or may not have been published"
        );
    }

    #[test]
    fn of_many_gaps_the_first_are_named() {
        let odd: Vec<u32> = (0..100).map(|n| 2 * n + 1).collect();
        let said = said(5, 0, &odd);
        assert!(
            said.contains("line 1, line 3,")
                && said.contains("line 15, 92 more behind those got no answer"),
            "{said}"
        );
    }
}

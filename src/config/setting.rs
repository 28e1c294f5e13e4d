//! One value that was written, and how an error tells it.

use super::error::Origin;
use super::key::{Key, Kind};

/// A value as written; of lists, each item.
#[derive(Clone, Debug)]
pub struct Setting {
    /// What it is for.
    pub key: &'static Key,
    /// With variables replaced.
    pub words: Vec<String>,
    /// Whether it was a list.
    pub list: bool,
    /// Where it was written.
    pub origin: Origin,
    /// What stood in the file where `words` come from the environment: they may hold a secret, and
    /// are told by this.
    pub written: Option<Vec<String>>,
    /// A variable without a value, where the key is one of those that [keep people
    /// out](super::guards::keep_out).
    pub unset: Option<String>,
}

impl Setting {
    /// Fails where a variable in it has no value and must have one.
    pub fn is_set(&self) -> Result<(), String> {
        let Some(name) = &self.unset else { return Ok(()) };
        // A default would stand in the file, where others read it.
        let or = match self.key.kind {
            Kind::Secret => String::new(),
            _ => format!(", or give a default: ${{{name}:-…}}"),
        };
        Err(format!(
            "${{{name}}} is not set, or empty, and this key decides who gets in; set it{or}"
        ))
    }

    /// A problem with the value as it was written: `"${VAR}"` rather than what stands in the
    /// variable.
    pub fn hidden(&self, problem: String) -> String {
        let Some(written) = &self.written else { return problem };
        let words = self.words.iter().zip(written).filter(|(word, written)| word != written);
        words.fold(problem, |problem, (word, written)| {
            // A scheme may have been taken off, and of a list with commas one piece be meant.
            let rest = word.split_once("://").map(|(_, rest)| rest);
            let told = [Some(word.as_str()), rest]
                .into_iter()
                .flatten()
                .chain(word.split(',').map(str::trim));
            told.filter(|told| !told.is_empty()).fold(problem, |problem, told| {
                problem.replace(&format!("\"{told}\""), &format!("\"{written}\""))
            })
        })
    }
}

/// A map of a list of maps (`tables.rs`).
#[derive(Clone, Debug)]
pub struct Row {
    /// Where it begins.
    pub origin: Origin,
    /// What it holds, in its order.
    pub cells: Vec<(String, Setting)>,
}

//! Settings as the types that their keys have.
//!
//! A value that will not do is booked as a problem, and what its key has by default stands in its
//! place, so that one reading finds all problems there are.

use std::cell::RefCell;
use std::time::Duration;

use super::error::{ConfigError, Origin};
use super::key::Value;
use super::schema::{self};
use super::settings::Settings;

/// Reads settings, and keeps what is wrong with them.
pub struct Reader<'a> {
    /// What is read.
    pub settings: &'a Settings,
    problems: RefCell<Vec<ConfigError>>,
}

impl<'a> Reader<'a> {
    /// With the problems that are known already.
    pub fn new(settings: &'a Settings, problems: Vec<ConfigError>) -> Self {
        Self { settings, problems: RefCell::new(problems) }
    }

    /// Books a problem.
    pub fn refuse(&self, problem: ConfigError) {
        let problem = self.settings.hidden(problem);
        let mut problems = self.problems.borrow_mut();
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }

    /// Whether nothing is wrong with these keys: only then do they say something about each other.
    pub fn sound(&self, keys: &[&str]) -> bool {
        let named = |problem: &ConfigError| match problem {
            ConfigError::Value { key, .. } => keys.contains(&key.as_str()),
            _ => false,
        };
        !self.problems.borrow().iter().any(named)
    }

    /// What was found.
    pub fn into_problems(self) -> Vec<ConfigError> {
        self.problems.into_inner()
    }

    /// The value in force, and where it was written.
    pub fn value(&self, path: &str) -> (Option<Value>, Origin) {
        self.settings.value(path).unwrap_or_else(|problem| {
            self.refuse(problem);
            (schema::known(path).default_value(), Origin::Default)
        })
    }

    /// Where the value in force was written.
    pub fn origin(&self, path: &str) -> Origin {
        self.value(path).1
    }

    pub fn text(&self, path: &str) -> Option<String> {
        match self.value(path).0 {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub fn flag(&self, path: &str) -> bool {
        self.value(path).0 == Some(Value::Flag(true))
    }

    pub fn number(&self, path: &str) -> usize {
        match self.value(path).0 {
            Some(Value::Number(number)) => usize::try_from(number).unwrap_or(usize::MAX),
            _ => 0,
        }
    }

    pub fn duration(&self, path: &str) -> Duration {
        match self.value(path).0 {
            Some(Value::Duration(duration)) => duration,
            _ => Duration::ZERO,
        }
    }

    /// The words of a list, each read by `parse`; those that it refuses are problems.
    pub fn words<T>(&self, path: &str, parse: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let (Some(Value::Words(words)), origin) = self.value(path) else { return Vec::new() };
        let parse = |word: &String| {
            parse(word)
                .map_err(|problem| self.refuse(ConfigError::value(&origin, path, problem)))
                .ok()
        };
        words.iter().filter_map(parse).collect()
    }

    /// The first of two keys that has a value, and the value.
    ///
    /// # Panics
    /// When neither has a default.
    pub fn first(&self, keys: [&'static str; 2]) -> (Value, &'static str) {
        let found = keys.into_iter().find_map(|key| Some((self.value(key).0?, key)));
        found.unwrap_or_else(|| panic!("{} has no default", keys[1]))
    }
}

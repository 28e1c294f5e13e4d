//! What the operator wrote, from all its places, by precedence: file, environment, `-o`.
//!
//! Layers are added in that order (`layers.rs`) and replace each other key by key; only what is
//! left in the end is parsed.

use std::collections::{BTreeMap, BTreeSet};

use super::environment::{self, Environment};
use super::error::{ConfigError, Notice, Origin};
use super::guards;
use super::key::{Key, Kind, Value};
use super::schema::{self};
use super::setting::{Row, Setting};

/// All settings, by path.
#[derive(Debug, Default)]
pub struct Settings {
    values: BTreeMap<Vec<String>, Setting>,
    /// Lists of maps, by the path of their key.
    pub(super) tables: BTreeMap<&'static str, Vec<Row>>,
    /// Sections that a file has, also empty ones, by their paths in lower case.
    pub(super) written: BTreeMap<String, Origin>,
    /// Root sections that are read because a broker is called so, by the broker's name.
    pub(super) roots: Vec<String>,
    /// Names below `broadcast`, in the order written.
    pub(super) names: Vec<(String, Origin)>,
    /// Top-level sections that anyone wrote, in lower case.
    pub(super) sections: BTreeSet<String>,
    pub(super) unused: BTreeSet<&'static str>,
    pub(super) elsewhere: BTreeSet<String>,
    pub(super) notices: Vec<Notice>,
    /// What is wrong with keys; what is wrong with values is told as they are read.
    pub(super) problems: Vec<ConfigError>,
}

impl Settings {
    /// Books the section of a path, and the name within it.
    pub(super) fn enter(&mut self, path: &[String], origin: &Origin) {
        self.sections.extend(path.first().cloned());
        if let [section, name, _, ..] = path
            && section == "broadcast"
        {
            self.name(name, origin.clone());
        }
    }

    pub(super) fn name(&mut self, name: &str, origin: Origin) {
        if !self.names.iter().any(|(known, _)| known == name) {
            self.names.push((name.to_owned(), origin));
        }
    }

    pub(super) fn set(&mut self, path: Vec<String>, setting: Setting) {
        self.values.insert(path, setting);
    }

    /// Sets a key outside a file, where a value is one word.
    pub(super) fn set_word(
        &mut self,
        key: &'static Key,
        path: Vec<String>,
        word: &str,
        origin: Origin,
        env: &Environment,
    ) {
        match key.kind {
            Kind::Pairs | Kind::Maps(_) => self.problems.extend(
                key.parse(word).err().map(|why| ConfigError::value(&origin, key.path, why)),
            ),
            _ => {
                let word = vec![word.to_owned()];
                let setting = self.setting(key, &path.join("."), word, false, origin, env);
                self.set(path, setting);
            }
        }
    }

    /// What was written for a key, at the path `at`, with its variables replaced.
    pub(super) fn setting(
        &mut self,
        key: &'static Key,
        at: &str,
        written: Vec<String>,
        list: bool,
        origin: Origin,
        env: &Environment,
    ) -> Setting {
        let guarded = guards::keep_out(key);
        let mut empty = Vec::new();
        let mut unclosed = false;
        let words = written
            .iter()
            .map(|word| {
                unclosed |= environment::is_unclosed(word);
                environment::expand(word, env, &mut empty)
            })
            .collect();
        if unclosed {
            let text = format!("{origin}: {at}: a `${{` without its `}}` is taken as it stands");
            self.notices.push(Notice::warning(text));
        }
        for name in empty.iter().filter(|name| !guarded && !env.contains_key(*name)) {
            let or = match key.kind {
                Kind::Secret => "set it".to_owned(),
                _ => format!("${{{name}:-…}} gives a default"),
            };
            let text = format!("{origin}: {at}: ${{{name}}} is not set and counts as empty; {or}");
            self.notices.push(Notice::warning(text));
        }
        let unset = empty.into_iter().next().filter(|_| guarded);
        let written = written.iter().any(|word| word.contains("${")).then_some(written);
        Setting { key, words, written, list, origin, unset }
    }

    /// What was wrong with keys, taken out.
    pub fn take_problems(&mut self) -> Vec<ConfigError> {
        std::mem::take(&mut self.problems)
    }

    /// Whether anyone wrote this top-level section, also an empty one.
    pub fn has_section(&self, section: &str) -> bool {
        self.sections.contains(section)
    }

    /// Where this path, or anything below it, was written, by whatever layer; the last of them.
    pub fn below(&self, path: &str) -> Option<&Origin> {
        let is_below = |found: &str| {
            found.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let values = self.values.iter().filter(|(at, setting)| {
            let empty = setting.words.iter().all(String::is_empty) && setting.unset.is_none();
            !empty && is_below(&at.join("."))
        });
        let values = values.map(|(_, setting)| &setting.origin);
        let tables = self.tables.iter().filter(|(at, rows)| is_below(at) && !rows.is_empty());
        let tables = tables.map(|(_, rows)| &rows[0].origin);
        let sections = self.written.iter().filter(|(at, _)| is_below(at));
        let sections = sections.map(|(_, origin)| origin);
        values.chain(tables).chain(sections).max_by_key(|origin| origin.rank())
    }

    /// What is wrong with the values of these keys, also where they decide nothing.
    pub fn mistaken(&self, of: impl Fn(&Key) -> bool) -> impl Iterator<Item = ConfigError> {
        let values = self.values.iter().filter(move |(_, setting)| of(setting.key));
        values.filter_map(|(path, _)| self.written(path).err())
    }

    /// Whether a path, or anything below it, was written, also an empty section.
    pub fn holds(&self, path: &[String]) -> bool {
        self.first_below(path).is_some()
    }

    /// Where a path, or what stands first below it, was written.
    pub fn first_below(&self, path: &[String]) -> Option<&Origin> {
        let values = self.values.iter().filter(|(at, setting)| {
            at.starts_with(path) && !setting.words.iter().all(String::is_empty)
        });
        let values = values.map(|(_, setting)| &setting.origin);
        let section = self.written.get(&path.join(".").to_ascii_lowercase());
        values.chain(section).next()
    }

    /// The names below `broadcast`, with where each was written first.
    pub fn broker_names(&self) -> &[(String, Origin)] {
        &self.names
    }

    /// The value in force for a path without names: what was written last, or the table's default.
    /// An empty value is the default.
    pub fn value(&self, path: &str) -> Result<(Option<Value>, Origin), ConfigError> {
        let key = schema::known(path);
        let segments: Vec<String> = path.split('.').map(str::to_owned).collect();
        if let Some((value, origin)) = self.written(&segments)? {
            return Ok((Some(value), origin));
        }
        Ok((key.default_value(), Origin::Default))
    }

    /// The value that was written for a path.
    pub fn written(&self, path: &[String]) -> Result<Option<(Value, Origin)>, ConfigError> {
        let Some(setting @ Setting { key, words, list, origin, written, .. }) =
            self.values.get(path)
        else {
            return Ok(None);
        };
        let error =
            |problem: String| ConfigError::value(origin, path.join("."), setting.hidden(problem));
        setting.is_set().map_err(&error)?;
        let value = match words.as_slice() {
            _ if *list => key.parse_list(words),
            [word] => key.parse_written(word, written.as_ref().map_or(word, |written| &written[0])),
            _ => Ok(None),
        };
        value.map(|value| value.map(|value| (value, origin.clone()))).map_err(error)
    }

    /// An error about a value, told as the value was written.
    pub fn hidden(&self, error: ConfigError) -> ConfigError {
        let ConfigError::Value { origin, key, problem } = error else { return error };
        let problem = self.told(&key, problem);
        ConfigError::Value { origin, key, problem }
    }

    /// What is said of a key, with its value as it was written.
    pub fn told(&self, key: &str, text: String) -> String {
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        match self.values.get(&path) {
            Some(setting) => setting.hidden(text),
            None => text,
        }
    }
}

pub(super) fn expected(key: &Key) -> &'static str {
    if matches!(key.kind, Kind::Words | Kind::Origins | Kind::Command) {
        "a list of words"
    } else {
        "one value"
    }
}

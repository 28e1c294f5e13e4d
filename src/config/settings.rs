//! What the operator wrote, from all its places, by precedence: file, environment, `-o`.
//!
//! Layers are added in that order and replace each other key by key; only what is left in the end is parsed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::environment::{self, Environment};
use super::error::{ConfigError, Notice, Origin};
use super::guards;
use super::schema::{self, Found, Key, Kind, Status, Value};
use super::setting::Setting;
use super::yaml::{self, Data, Node};

/// The section that is Roadcast's own: a typo there must not silently change what runs.
const OWN_SECTION: &str = "roadcast";
/// Top-level keys that describe the file itself.
const FILE_KEYS: [&str; 2] = ["version", "include"];

/// All settings, by path.
#[derive(Debug, Default)]
pub struct Settings {
    values: BTreeMap<Vec<String>, Setting>,
    /// Names below `broadcast`, in the order written.
    names: Vec<(String, Origin)>,
    /// Top-level sections that anyone wrote, in lower case.
    sections: BTreeSet<String>,
    unused: BTreeMap<&'static str, Status>,
    elsewhere: BTreeSet<String>,
    notices: Vec<Notice>,
}

impl Settings {
    /// Adds a file's tree.
    pub fn add_file(
        &mut self,
        root: &Node,
        path: &Arc<PathBuf>,
        env: &Environment,
    ) -> Result<(), ConfigError> {
        let at = |node: &Node| Origin::File { path: Arc::clone(path), line: node.line, column: node.column };
        match &root.data {
            Data::Null => Ok(()),
            Data::Map(pairs) => {
                let pairs = pairs.iter().filter(|(key, _)| !FILE_KEYS.contains(&key.text.as_str()));
                for (key, value) in pairs {
                    self.descend(&mut vec![key.text.clone()], (key.line, key.column), value, &at, env)?;
                }
                Ok(())
            }
            Data::Scalar(_) | Data::List(_) => {
                let message = "a configuration holds sections, such as `http:` and `websockets:`".to_owned();
                Err(ConfigError::Syntax { origin: at(root), message })
            }
        }
    }

    fn descend(
        &mut self,
        path: &mut Vec<String>,
        (line, column): (usize, usize),
        node: &Node,
        at: &dyn Fn(&Node) -> Origin,
        env: &Environment,
    ) -> Result<(), ConfigError> {
        if let [section] = path.as_slice() {
            self.sections.insert(section.to_ascii_lowercase());
        }
        match schema::find(path) {
            Found::Key(key, spelled) if key.status == Status::Used => {
                let text = |item: &Node| match &item.data {
                    Data::Scalar(text) => Some(text.clone()),
                    Data::Null => Some(String::new()),
                    Data::List(_) | Data::Map(_) => None,
                };
                let (items, list) = match &node.data {
                    Data::List(items) => (items.iter().map(text).collect::<Option<Vec<_>>>(), true),
                    _ => (text(node).map(|word| vec![word]), false),
                };
                let Some(words) = items else {
                    let problem = format!("holds a section or a nested list; expected {}", expected(key));
                    return Err(ConfigError::value(&at(node), spelled.join("."), problem));
                };
                self.set(key, spelled, words, list, at(node), env);
            }
            Found::Key(key, _) => self.note_unused(key, node),
            Found::Section { named } => {
                if named {
                    self.name(path.last().map(String::as_str).unwrap_or_default(), at(node));
                }
                match &node.data {
                    Data::Null => {}
                    Data::Map(pairs) => {
                        for (key, value) in pairs {
                            path.push(key.text.clone());
                            self.descend(path, (key.line, key.column), value, at, env)?;
                            path.pop();
                        }
                    }
                    Data::Scalar(_) | Data::List(_) => {
                        let problem = "is a section: it holds keys, not a value";
                        return Err(ConfigError::value(&at(node), path.join("."), problem));
                    }
                }
            }
            Found::Unknown => self.unknown(path, &at(&Node { line, column, data: Data::Null }))?,
            Found::Elsewhere => self.elsewhere(path, &at(&Node { line, column, data: Data::Null }))?,
        }
        Ok(())
    }

    /// Adds the overrides among the variables of `env`.
    pub fn add_environment(&mut self, env: &Environment) -> Result<(), ConfigError> {
        for (name, value) in env {
            let Some(rest) = name.strip_prefix(environment::PREFIX) else { continue };
            if environment::NEVER_OVERRIDES.contains(&name.as_str()) {
                continue;
            }
            let origin = Origin::Environment(name.clone());
            match self.overridden(rest) {
                Some((key, path)) if key.status == Status::Used => {
                    self.enter(&path, &origin);
                    self.set(key, path, vec![value.clone()], false, origin, env);
                }
                Some((key, _)) => {
                    self.unused.insert(key.path, key.status);
                }
                None => {
                    let path: Vec<String> =
                        rest.to_ascii_lowercase().splitn(2, '_').map(str::to_owned).collect();
                    let section = path.first().map(String::as_str).unwrap_or_default();
                    if path.len() == 2 && matches!(schema::find(&path[..1]), Found::Section { .. }) {
                        self.unknown(&path, &origin)?;
                    } else if let [_, key] = path.as_slice()
                        && let Some(near) = guards::section(section)
                        && guards::misspelt(&[near.to_owned(), key.clone()])
                    {
                        // Most variables are anybody's; this one was meant to keep people out.
                        self.elsewhere(&path, &origin)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The key that a variable's name (without prefix) means. A name within it is one that was written already, or a
    /// new one, in lower case.
    fn overridden(&self, rest: &str) -> Option<(&'static Key, Vec<String>)> {
        schema::KEYS.iter().find_map(|key| {
            let below = key.status != Status::Used;
            let fits = |spelled: &str, rest: &str| match rest.strip_prefix(spelled) {
                Some("") => true,
                Some(more) => below && more.starts_with('_'),
                None => false,
            };
            let segments = |text: &str| text.split('.').map(str::to_owned).collect();
            let Some((before, after)) = key.path.split_once('*') else {
                return fits(&environment::spelled(key.path), rest).then(|| (key, segments(key.path)));
            };
            let inside = rest.strip_prefix(&environment::spelled(before))?;
            let after = environment::spelled(after);
            let written = self.names.iter().map(|(name, _)| name.as_str());
            let known = written.into_iter().find(|name| {
                inside.strip_prefix(&environment::spelled(name)).is_some_and(|rest| fits(&after, rest))
            });
            let new =
                || inside.strip_suffix(&after).filter(|name| !name.is_empty()).map(str::to_ascii_lowercase);
            let name = known.map(str::to_owned).or_else(new)?;
            let path = key
                .path
                .split('.')
                .map(|segment| if segment == "*" { name.clone() } else { segment.to_owned() });
            Some((key, path.collect()))
        })
    }

    /// Adds one `-o key=value`. Quotes around the value are taken off, as RoadRunner does.
    pub fn add_override(&mut self, argument: &str, env: &Environment) -> Result<(), ConfigError> {
        let origin = Origin::Override;
        let Some((key, value)) = argument.split_once('=').filter(|(key, _)| !key.trim().is_empty()) else {
            let problem = "expected key=value, for example -o http.address=127.0.0.1:8080";
            // What follows the key may be a secret.
            let other = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-');
            let key = argument.find(other).map_or(argument, |end| &argument[..end]);
            return Err(ConfigError::value(&origin, key, problem));
        };
        let path: Vec<String> = key.trim().split('.').map(str::to_owned).collect();
        match schema::find(&path) {
            Found::Key(key, path) if key.status == Status::Used => {
                self.enter(&path, &origin);
                self.set(key, path, vec![unquoted(value.trim()).to_owned()], false, origin, env);
            }
            Found::Key(key, _) => {
                self.unused.insert(key.path, key.status);
            }
            Found::Section { .. } => {
                return Err(ConfigError::value(&origin, key, "is a section: name one of its keys"));
            }
            Found::Unknown => self.unknown(&path, &origin)?,
            Found::Elsewhere => self.elsewhere(&path, &origin)?,
        }
        Ok(())
    }

    /// Books the section of a path, and the name within it.
    fn enter(&mut self, path: &[String], origin: &Origin) {
        self.sections.extend(path.first().cloned());
        if let [section, name, _] = path
            && section == "broadcast"
        {
            self.name(name, origin.clone());
        }
    }

    fn name(&mut self, name: &str, origin: Origin) {
        if !self.names.iter().any(|(known, _)| known == name) {
            self.names.push((name.to_owned(), origin));
        }
    }

    fn set(
        &mut self,
        key: &'static Key,
        path: Vec<String>,
        written: Vec<String>,
        list: bool,
        origin: Origin,
        env: &Environment,
    ) {
        let mut unset = Vec::new();
        let mut unclosed = false;
        let words = written
            .iter()
            .map(|word| {
                unclosed |= environment::is_unclosed(word);
                environment::expand(word, env, &mut unset)
            })
            .collect();
        let at = path.join(".");
        if unclosed {
            let text = format!("{origin}: {at}: a `${{` without its `}}` is taken as it stands");
            self.notices.push(Notice::warning(text));
        }
        let guards = guards::KEYS.contains(&key.path);
        for name in unset.iter().filter(|_| !guards) {
            let text = format!(
                "{origin}: {at}: ${{{name}}} is not set and counts as empty; ${{{name}:-…}} gives a default"
            );
            self.notices.push(Notice::warning(text));
        }
        if guards {
            // Also one that is set to nothing: whoever means that writes `${…:-}`.
            let emptied = |word: &&String| environment::expand(word, env, &mut Vec::new()).is_empty();
            let name = |word: &String| Some(word.split_once("${")?.1.split_once('}')?.0.to_owned());
            unset.extend(written.iter().filter(emptied).filter_map(name).filter(|name| !name.contains(":-")));
        }
        let unset = unset.into_iter().next().filter(|_| guards);
        let written = written.iter().any(|word| word.contains("${")).then_some(written);
        self.values.insert(path, Setting { key, words, written, list, origin, unset });
    }

    fn note_unused(&mut self, key: &'static Key, node: &Node) {
        // `config: {}` and `pool:` say nothing that could be missed.
        let empty = match &node.data {
            Data::Null => true,
            Data::Map(pairs) => pairs.is_empty(),
            Data::List(items) => items.is_empty(),
            Data::Scalar(_) => false,
        };
        if !empty {
            self.unused.insert(key.path, key.status);
        }
    }

    fn unknown(&mut self, path: &[String], origin: &Origin) -> Result<(), ConfigError> {
        let nearest = schema::nearest(path).map(|key| format!("; did you mean {key}?")).unwrap_or_default();
        let problem = format!("no such key{nearest}");
        let own = path.first().is_some_and(|section| section.eq_ignore_ascii_case(OWN_SECTION));
        if own || *origin == Origin::Override || guards::misspelt(path) {
            return Err(ConfigError::value(origin, path.join("."), problem));
        }
        self.notices.push(Notice::warning(format!("{origin}: {}: {problem}", path.join("."))));
        Ok(())
    }

    fn elsewhere(&mut self, path: &[String], origin: &Origin) -> Result<(), ConfigError> {
        let Some(section) = path.first() else { return Ok(()) };
        let lower = section.to_ascii_lowercase();
        let guard = guards::section(&lower);
        let near = guard.or_else(|| schema::nearest_section(&lower));
        let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        let problem = format!("no section that is read{hint}");
        let given = *origin == Origin::Override && !schema::is_other_plugin(&lower);
        if given || guard.is_some() {
            return Err(ConfigError::value(origin, section, problem));
        }
        if near.is_some() {
            self.notices.push(Notice::warning(format!("{origin}: {section}: {problem}")));
        } else {
            self.elsewhere.insert(section.clone());
        }
        Ok(())
    }

    /// Whether anyone wrote this top-level section, also an empty one.
    pub fn has_section(&self, section: &str) -> bool {
        self.sections.contains(section)
    }

    /// The names below `broadcast`, with where each was written first.
    pub fn broker_names(&self) -> &[(String, Origin)] {
        &self.names
    }

    /// The value in force for a path without names: what was written last, or the table's default. An empty value is
    /// the default.
    pub fn value(&self, path: &str) -> Result<(Option<Value>, Origin), ConfigError> {
        let key = schema::known(path);
        let segments: Vec<String> = path.split('.').map(str::to_owned).collect();
        if let Some((value, origin)) = self.written(&segments)? {
            return Ok((Some(value), origin));
        }
        let default = (!key.default.is_empty()).then(|| key.parse(key.default));
        let default =
            default.transpose().map_err(|problem| ConfigError::value(&Origin::Default, path, problem))?;
        Ok((default, Origin::Default))
    }

    /// The value that was written for a path.
    pub fn written(&self, path: &[String]) -> Result<Option<(Value, Origin)>, ConfigError> {
        let Some(setting @ Setting { key, words, list, origin, unset, .. }) = self.values.get(path) else {
            return Ok(None);
        };
        let error = |problem: String| ConfigError::value(origin, path.join("."), setting.hidden(problem));
        if let Some(name) = unset {
            return Err(error(format!(
                "${{{name}}} is not set, or empty, and this key keeps people out; set it, or give a default: ${{{name}:-…}}"
            )));
        }
        if *list && matches!(key.kind, Kind::Words) {
            let words: Vec<String> = words.iter().filter(|word| !word.is_empty()).cloned().collect();
            return Ok((!words.is_empty()).then(|| (Value::Words(words), origin.clone())));
        }
        match words.as_slice() {
            [word] if !*list && word.is_empty() => Ok(None),
            [word] if !*list => key.parse(word).map(|value| Some((value, origin.clone()))).map_err(error),
            _ => Err(error(format!("holds a list; expected {}", expected(key)))),
        }
    }

    /// An error about a value, told as the value was written.
    pub fn hidden(&self, error: ConfigError) -> ConfigError {
        let ConfigError::Value { origin, key, problem } = error else { return error };
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        let problem = match self.values.get(&path) {
            Some(setting) => setting.hidden(problem),
            None => problem,
        };
        ConfigError::Value { origin, key, problem }
    }

    /// What is worth saying about keys and sections that have no effect.
    pub fn into_notices(mut self) -> Vec<Notice> {
        if self.unused.remove("http.ssl").is_some() {
            let text = "http.ssl: Roadcast does not serve TLS: clients that connect by wss:// lose their connection \
                        unless a proxy in front of it ends TLS";
            self.notices.insert(0, Notice::warning(text));
        }
        for (status, what) in [
            (Status::Later, "known, not used yet"),
            (Status::Foreign, "RoadRunner's own, without effect here"),
        ] {
            let keys: Vec<_> =
                self.unused.iter().filter(|(_, of)| **of == status).map(|(key, _)| *key).collect();
            if !keys.is_empty() {
                self.notices.push(Notice::info(format!("{what}: {}", keys.join(", "))));
            }
        }
        if !self.elsewhere.is_empty() {
            let sections: Vec<_> = self.elsewhere.into_iter().collect();
            self.notices
                .push(Notice::info(format!("sections of other plugins, ignored: {}", sections.join(", "))));
        }
        self.notices
    }
}

fn expected(key: &Key) -> &'static str {
    if matches!(key.kind, Kind::Words) { "a list of words" } else { "one value" }
}

fn unquoted(value: &str) -> &str {
    let quoted =
        ['"', '\'', '`'].iter().find_map(|q| value.strip_prefix(*q).and_then(|rest| rest.strip_suffix(*q)));
    quoted.unwrap_or(value)
}

/// Reads a file's text into its tree.
pub fn read(path: &Arc<PathBuf>) -> Result<Node, ConfigError> {
    let unreadable = |reason: String| ConfigError::File { path: path.to_path_buf(), reason };
    let bytes = std::fs::read(path.as_path()).map_err(|error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        unreadable(if missing {
            "does not exist (named by -c, or by include)".to_owned()
        } else {
            error.to_string()
        })
    })?;
    if bytes.len() > yaml::FILE_BYTES_MAX {
        return Err(unreadable(format!("has more than {}", schema::show_bytes(yaml::FILE_BYTES_MAX as u64))));
    }
    let text = String::from_utf8(bytes).map_err(|error| unreadable(format!("is not UTF-8: {error}")))?;
    yaml::parse(&text).map_err(|error| {
        let origin = Origin::File { path: Arc::clone(path), line: error.line, column: error.column };
        ConfigError::Syntax { origin, message: error.message }
    })
}

//! The places where settings are written, each added as a layer over those before: files,
//! environment, `-o`.

use std::path::PathBuf;
use std::sync::Arc;

use super::environment::{self, Environment};
use super::error::{ConfigError, Origin};
use super::guards;
use super::key::{Key, Kind, Status};
use super::schema::{self, Found};
use super::settings::{Settings, expected};
use super::yaml::{Data, Node};

/// Top-level keys that describe the file itself.
const FILE_KEYS: [&str; 2] = ["version", "include"];

impl Settings {
    /// Adds a file's tree.
    pub fn add_file(&mut self, root: &Node, path: &Arc<PathBuf>, env: &Environment) {
        let at = |node: &Node| Origin::File {
            path: Arc::clone(path),
            line: node.line,
            column: node.column,
        };
        match &root.data {
            Data::Null => {}
            Data::Map(pairs) => {
                let pairs = pairs.iter().filter(|(key, _)| !FILE_KEYS.contains(&key.text.as_str()));
                for (key, value) in pairs {
                    self.descend(
                        &mut vec![key.text.clone()],
                        (key.line, key.column),
                        value,
                        &at,
                        env,
                    );
                }
            }
            Data::Scalar(_) | Data::List(_) => {
                let message =
                    "a configuration holds sections, such as `http:` and `websockets:`".to_owned();
                self.problems.push(ConfigError::Syntax { origin: at(root), message });
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
    ) {
        if let [section] = path.as_slice() {
            self.sections.insert(section.to_ascii_lowercase());
        }
        match self.find(path) {
            Found::Key(Key { path: whole, .. }, _)
                if matches!(node.data, Data::Map(_)) && schema::is_section(whole) =>
            {
                self.section(path, node, at, env);
            }
            Found::Key(key, _) if matches!(key.kind, Kind::Pairs | Kind::Maps(_)) => {
                self.set_table(key, node, at, env);
            }
            Found::Key(key, spelled) if key.status == Status::Used => {
                let Some((words, list)) = node.words() else {
                    let problem =
                        format!("holds a section or a nested list; expected {}", expected(key));
                    return self.problems.push(ConfigError::value(
                        &at(node),
                        spelled.join("."),
                        problem,
                    ));
                };
                let at = at(node);
                let setting = self.setting(key, &spelled.join("."), words, list, at, env);
                self.set(spelled, setting);
            }
            Found::Key(key, _) => self.note_unused(key, node),
            Found::Section { named } => {
                // `config:` with nothing behind it says no more than its absence.
                let options = matches!(path.as_slice(), [_, _, leaf] if leaf == "config");
                if options && matches!(node.data, Data::Null) {
                    return;
                }
                if named && matches!(node.data, Data::Null | Data::Map(_)) {
                    self.name(path.last().map(String::as_str).unwrap_or_default(), at(node));
                }
                self.section(path, node, at, env);
            }
            Found::Unknown => self.unknown(path, &at(&Node { line, column, data: Data::Null })),
            Found::Elsewhere => self.elsewhere(path, &at(&Node { line, column, data: Data::Null })),
        }
    }

    fn section(
        &mut self,
        path: &mut Vec<String>,
        node: &Node,
        at: &dyn Fn(&Node) -> Origin,
        env: &Environment,
    ) {
        match &node.data {
            Data::Null | Data::Map(_) => {
                self.written.insert(path.join(".").to_ascii_lowercase(), at(node));
            }
            Data::Scalar(_) | Data::List(_) => {
                let instead = instead(path, node);
                let problem = format!("is a section: it holds keys, not a value{instead}");
                self.problems.push(ConfigError::value(&at(node), path.join("."), problem));
            }
        }
        let Data::Map(pairs) = &node.data else { return };
        for (key, value) in pairs {
            path.push(key.text.clone());
            self.descend(path, (key.line, key.column), value, at, env);
            path.pop();
        }
    }

    /// Adds the overrides among the variables of `env`. Empty ones say nothing, as in RoadRunner:
    /// what hands on a variable that is not set (a compose file, a unit) sets it to nothing, and
    /// must not open what the file has closed.
    pub fn add_environment(&mut self, env: &Environment) {
        for (name, value) in env.iter().filter(|(_, value)| !value.is_empty()) {
            let Some(rest) = name.strip_prefix(environment::PREFIX) else { continue };
            if environment::NEVER_OVERRIDES.contains(&name.as_str())
                || environment::is_service_link(name, value)
            {
                continue;
            }
            let origin = Origin::Environment(name.clone());
            match self.overridden(rest) {
                Some((key, path)) if key.status == Status::Used => {
                    self.enter(&path, &origin);
                    self.set_word(key, path, value, origin, env);
                }
                Some((key, _)) => {
                    self.unused.insert(key.path);
                }
                None => {
                    let path: Vec<String> =
                        rest.to_ascii_lowercase().splitn(2, '_').map(str::to_owned).collect();
                    let section = path.first().map(String::as_str).unwrap_or_default();
                    if path.len() == 2 && matches!(schema::find(&path[..1]), Found::Section { .. })
                    {
                        self.unknown(&path, &origin);
                    } else if guards::misplaced(rest) {
                        self.elsewhere(&path, &origin);
                    } else if let [_, key] = path.as_slice()
                        && let Some(near) = guards::section(section)
                        && guards::misspelt(&[near.to_owned(), key.clone()])
                    {
                        // Most variables are anybody's; this one was meant to keep people out.
                        self.elsewhere(&path, &origin);
                    }
                }
            }
        }
    }

    /// The key that a variable's name (without prefix) means. A name within it is one that was
    /// written already, or a new one, in lower case.
    fn overridden(&self, rest: &str) -> Option<(&'static Key, Vec<String>)> {
        let segments = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        let named = |key: &'static Key, name: &str| {
            let own = |segment: String| if segment == "*" { name.to_owned() } else { segment };
            (key, segments(key.path).into_iter().map(own).collect())
        };
        let fits = |key: &Key, spelled: &str, rest: &str| match rest.strip_prefix(spelled) {
            Some("") => true,
            Some(more) => key.status != Status::Used && more.starts_with('_'),
            None => false,
        };
        let plain = schema::KEYS.iter().filter(|key| !key.path.contains('*'));
        let mut plain = plain.filter(|key| fits(key, &environment::spelled(key.path), rest));
        if let Some(key) = plain.next() {
            return Some((key, segments(key.path)));
        }
        let parts = |key: &'static Key| {
            let (before, after) = key.path.split_once('*')?;
            let inside = rest.strip_prefix(&environment::spelled(before))?;
            Some((key, inside, environment::spelled(after)))
        };
        let with_names = || schema::KEYS.iter().filter_map(parts);
        let known = with_names().find_map(|(key, inside, after)| {
            let is = |name: &&(String, Origin)| {
                let rest = inside.strip_prefix(&environment::spelled(&name.0));
                rest.is_some_and(|rest| fits(key, &after, rest))
            };
            self.names.iter().find(is).map(|(name, _)| named(key, name))
        });
        let new = || {
            let name = |(key, inside, after): (&'static Key, &str, String)| {
                let name = inside.strip_suffix(&after).filter(|name| !name.is_empty())?;
                Some((key, name.to_ascii_lowercase()))
            };
            // `PASSWORD` ends `SENTINEL_PASSWORD`, too.
            let shortest = with_names().filter_map(name).min_by_key(|(_, name)| name.len());
            shortest.map(|(key, name)| named(key, &name))
        };
        known.or_else(|| self.rooted(rest)).or_else(new)
    }

    /// Adds one `-o key=value`. Quotes around the value are taken off, as RoadRunner does.
    pub fn add_override(&mut self, argument: &str, env: &Environment) {
        let origin = Origin::Override;
        let Some((key, value)) = argument.split_once('=').filter(|(key, _)| !key.trim().is_empty())
        else {
            let problem = "expected key=value, for example -o http.address=127.0.0.1:8080";
            // What follows the key may be a secret.
            let other = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-');
            let key = argument.find(other).map_or(argument, |end| &argument[..end]);
            return self.problems.push(ConfigError::value(&origin, key, problem));
        };
        let path: Vec<String> = key.trim().split('.').map(str::to_owned).collect();
        match self.find(&path) {
            Found::Key(key, path) if key.status == Status::Used => {
                self.enter(&path, &origin);
                let value = value.trim();
                if value.is_empty() && guards::keep_out(key) {
                    // As with variables: `-o key=$VAR`, and none is set.
                    let problem = "is empty, and this key decides who gets in; give it a value, or leave it off";
                    return self.problems.push(ConfigError::value(
                        &origin,
                        path.join("."),
                        problem,
                    ));
                }
                self.set_word(key, path, unquoted(value), origin, env);
            }
            Found::Key(key, _) => {
                self.unused.insert(key.path);
            }
            Found::Section { .. } => {
                let problem = "is a section: name one of its keys";
                self.problems.push(ConfigError::value(&origin, key, problem));
            }
            Found::Unknown => self.unknown(&path, &origin),
            Found::Elsewhere => self.elsewhere(&path, &origin),
        }
    }
}

/// What to write for a value that stands where a section does. Of the value a port is repeated and
/// nothing else: it may be a secret.
fn instead(path: &[String], node: &Node) -> String {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let port = match &node.data {
        Data::Scalar(text) => text.parse::<u16>().ok(),
        _ => None,
    };
    let section = path[0].to_ascii_lowercase();
    match (section.as_str(), &path[1..], port) {
        ("broadcast", [key], _) if key.eq_ignore_ascii_case("driver") => {
            "; write `broadcast: { default: { driver: memory } }`".to_owned()
        }
        ("broadcast", [name], _) => {
            format!("; write `broadcast: {{ {name}: {{ driver: memory }} }}`")
        }
        ("http", [], Some(port)) => format!("; write `http: {{ address: \":{port}\" }}`"),
        ("metrics" | "status", [], Some(port)) => {
            format!("; write `{section}: {{ address: \"127.0.0.1:{port}\" }}`")
        }
        ("rpc", [], Some(port)) => {
            format!("; write `rpc: {{ listen: \"tcp://127.0.0.1:{port}\" }}`")
        }
        _ => String::new(),
    }
}

fn unquoted(value: &str) -> &str {
    let quoted = ['"', '\'', '`']
        .iter()
        .find_map(|q| value.strip_prefix(*q).and_then(|rest| rest.strip_suffix(*q)));
    quoted.unwrap_or(value)
}

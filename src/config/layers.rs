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
        match schema::find(path) {
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
                let setting = self.setting(key, words, list, at(node), env);
                self.set(spelled, setting);
            }
            Found::Key(key, _) => self.note_unused(key, node),
            Found::Section { named } => {
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
                    self.unused.insert(key.path, key.status);
                }
                None => {
                    let path: Vec<String> =
                        rest.to_ascii_lowercase().splitn(2, '_').map(str::to_owned).collect();
                    let section = path.first().map(String::as_str).unwrap_or_default();
                    if path.len() == 2 && matches!(schema::find(&path[..1]), Found::Section { .. })
                    {
                        self.unknown(&path, &origin);
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
        schema::KEYS.iter().find_map(|key| {
            let below = key.status != Status::Used;
            let fits = |spelled: &str, rest: &str| match rest.strip_prefix(spelled) {
                Some("") => true,
                Some(more) => below && more.starts_with('_'),
                None => false,
            };
            let segments = |text: &str| text.split('.').map(str::to_owned).collect();
            let Some((before, after)) = key.path.split_once('*') else {
                return fits(&environment::spelled(key.path), rest)
                    .then(|| (key, segments(key.path)));
            };
            let inside = rest.strip_prefix(&environment::spelled(before))?;
            let after = environment::spelled(after);
            let written = self.names.iter().map(|(name, _)| name.as_str());
            let known = written.into_iter().find(|name| {
                inside
                    .strip_prefix(&environment::spelled(name))
                    .is_some_and(|rest| fits(&after, rest))
            });
            let new = || {
                inside
                    .strip_suffix(&after)
                    .filter(|name| !name.is_empty())
                    .map(str::to_ascii_lowercase)
            };
            let name = known.map(str::to_owned).or_else(new)?;
            let path = key
                .path
                .split('.')
                .map(|segment| if segment == "*" { name.clone() } else { segment.to_owned() });
            Some((key, path.collect()))
        })
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
        match schema::find(&path) {
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
                self.unused.insert(key.path, key.status);
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

//! Root sections that are named after brokers: where an entry of `broadcast` holds no options,
//! RoadRunner reads them from the root section of the entry's name.
//!
//! Which sections those are has to be known before the first of them is read.

use super::LoadOptions;
use super::brokers::keys;
use super::environment::{self, Environment};
use super::key::Key;
use super::schema::{self, Found};
use super::settings::Settings;
use super::yaml::{self, Data, Node};

/// What a key of such a section is looked up as.
const OPTIONS: [&str; 2] = ["broadcast", "config"];

impl Settings {
    /// Has the sections read that are called as the brokers of these files, of the environment and
    /// of `-o`; not those that are read anyway.
    pub(super) fn expect_brokers<'a>(
        &mut self,
        files: impl Iterator<Item = &'a Node>,
        options: &LoadOptions,
    ) {
        let in_files = files.flat_map(brokers).cloned();
        let in_overrides = options.overrides.iter().filter_map(|argument| {
            let mut path = argument.split_once('=')?.0.trim().split('.');
            let section = path.next()?;
            let name = path.next().filter(|_| path.next().is_some())?;
            section.eq_ignore_ascii_case(OPTIONS[0]).then(|| name.to_owned())
        });
        let in_variables = variables(&options.env);
        for name in in_files.chain(in_variables).chain(in_overrides) {
            let elsewhere = matches!(schema::find(std::slice::from_ref(&name)), Found::Elsewhere);
            if elsewhere && !name.is_empty() && self.root(&name).is_none() {
                self.roots.push(name);
            }
        }
    }

    /// The broker that a root section is called as.
    fn root(&self, section: &str) -> Option<&str> {
        let called = |name: &&String| name.eq_ignore_ascii_case(section);
        self.roots.iter().find(called).map(String::as_str)
    }

    /// Whether the section of this broker's name is read for its options.
    pub fn is_root(&self, name: &str) -> bool {
        self.roots.iter().any(|root| root == name)
    }

    /// Looks a path up, in the table and in these sections.
    pub(super) fn find(&self, path: &[String]) -> Found {
        let found = schema::find(path);
        let (Found::Elsewhere, [section, leaf @ ..]) = (&found, path) else { return found };
        let Some(name) = self.root(section) else { return found };
        let [broadcast, config] = OPTIONS.map(str::to_owned);
        let inside = [&[broadcast, name.to_owned(), config], leaf].concat();
        match schema::find(&inside) {
            Found::Key(key, spelled) => {
                Found::Key(key, [&[name.to_owned()], &spelled[3..]].concat())
            }
            found => found,
        }
    }

    /// The key in one of these sections that a variable's name (without prefix) means.
    pub(super) fn rooted(&self, rest: &str) -> Option<(&'static Key, Vec<String>)> {
        let within = |name: &String| {
            let leaf = rest.strip_prefix(&environment::spelled(name))?;
            let before = format!("{}.*.{}", OPTIONS[0], OPTIONS[1]);
            let key = schema::KEYS.iter().find(|key| {
                let after = key.path.strip_prefix(&before);
                after.is_some_and(|after| environment::spelled(after) == leaf)
            })?;
            let leaf = key.path[before.len()..].split('.').skip(1).map(str::to_owned);
            Some((key, std::iter::once(name.clone()).chain(leaf).collect()))
        };
        self.roots.iter().find_map(within)
    }

    /// The key that was perhaps meant by a path that leads nowhere.
    pub(super) fn nearest(&self, path: &[String]) -> Option<String> {
        let Some(name) = path.first().and_then(|section| self.root(section)) else {
            return schema::nearest(path);
        };
        let inside = [&[keys::REDIS.to_owned()], &path[1..]].concat();
        schema::nearest(&inside).map(|key| key.replacen(keys::REDIS, name, 1))
    }
}

/// The names below `broadcast` in a file.
fn brokers(root: &Node) -> impl Iterator<Item = &String> {
    let named = pairs(root).filter(|(key, _)| key.text.eq_ignore_ascii_case(OPTIONS[0]));
    named.flat_map(|(_, node)| pairs(node)).map(|(key, _)| &key.text)
}

fn pairs(node: &Node) -> impl Iterator<Item = &(yaml::Key, Node)> {
    let pairs = if let Data::Map(pairs) = &node.data { pairs.as_slice() } else { &[] };
    pairs.iter()
}

/// The names of brokers whose drivers variables say.
fn variables(env: &Environment) -> impl Iterator<Item = String> {
    env.keys().filter_map(|variable| {
        let rest = variable.strip_prefix(environment::PREFIX)?.strip_prefix("BROADCAST_")?;
        Some(rest.strip_suffix("_DRIVER")?.to_ascii_lowercase())
    })
}

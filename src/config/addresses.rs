//! The addresses that clients of the server find in its configuration.
//!
//! Read for themselves: a file that only the server would refuse (a driver not served, a misspelt
//! limit) still says where it listens. What was given for this one command, `-c` and `-o`, is held
//! to the letter.

use std::path::PathBuf;
use std::sync::Arc;

use super::environment::{self, Environment};
use super::error::Problems;
use super::reader::Reader;
use super::settings::Settings;
use super::yaml::{Data, Node};
use super::{LoadOptions, build, files};

/// The keys that are read.
const KEYS: [&str; 5] = [
    "http.address",
    "rpc.listen",
    "websockets.path",
    "roadcast.http.address",
    "roadcast.rpc.listen",
];

/// Where the server is found.
#[derive(Debug)]
pub struct Addresses(Settings);

impl Addresses {
    /// Reads the places of a configuration. An error: a file that cannot be read as YAML, or a
    /// wrong `-o`.
    pub fn load(options: &LoadOptions) -> Result<Self, Problems> {
        let mut settings = Settings::default();
        let mut problems = Vec::new();
        let mut trees = Vec::new();
        if let Some(file) = files::first(options) {
            let mut add = |root: Node, path: &Arc<PathBuf>| trees.push((root, path.clone()));
            problems = files::read(&options.cwd.join(file), &mut add, &mut Vec::new());
        }
        settings.expect_brokers(trees.iter().map(|(root, _)| root), options);
        for (mut root, path) in trees {
            keep(&mut root, "");
            settings.add_file(&root, &path, &options.env);
        }
        let overrides = |(name, _): &(&String, &String)| {
            let key = name.strip_prefix(environment::PREFIX);
            key.is_none_or(|key| KEYS.iter().any(|known| environment::spelled(known) == *key))
        };
        let env: Environment = options
            .env
            .iter()
            .filter(overrides)
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        settings.add_environment(&env);
        for argument in &options.overrides {
            settings.add_override(argument, &options.env);
        }
        problems.extend(settings.take_problems());
        Problems::none(problems)?;
        Ok(Self(settings))
    }

    /// Where publishers connect: `tcp://…` or `unix://…`.
    pub fn publish(&self) -> Result<String, Problems> {
        self.sound(|read| build::rpc_address(read).0.to_string())
    }

    /// Where clients connect: `ws://…`.
    pub fn url(&self) -> Result<String, Problems> {
        self.sound(|read| {
            let (address, _) = build::http_address(read);
            format!("ws://{address}{}", read.text("websockets.path").unwrap_or_default())
        })
    }

    fn sound(&self, read: impl Fn(&Reader<'_>) -> String) -> Result<String, Problems> {
        let reader = Reader::new(&self.0, Vec::new());
        let address = read(&reader);
        Problems::none(reader.into_problems())?;
        Ok(address)
    }
}

/// Takes everything out of a tree that does not lead to one of [`KEYS`].
fn keep(node: &mut Node, above: &str) {
    let Data::Map(pairs) = &mut node.data else { return };
    pairs.retain_mut(|(key, value)| {
        let path = format!("{above}{}", key.text.to_ascii_lowercase());
        let below = format!("{path}.");
        keep(value, &below);
        KEYS.iter().any(|known| *known == path || known.starts_with(&below))
    });
}

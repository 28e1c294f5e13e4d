//! Goal: each way to write a setting means what the documentation says, and each mistake is told
//! with its place. Method: configurations in a directory of the test's own, with an environment of
//! its own.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

mod access;
mod access_doubts;
mod broker_options;
mod brokers;
mod doubts;
mod endpoints;
mod layers;
mod limits;
mod mistakes;
mod roadrunner;
mod shared_servers;
mod strangers;
mod topics;

/// A directory that goes with the value.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let unique = format!(
            "roadcast-config-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(unique);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// What is read by a process that was started in it.
    fn options(&self, env: &[(&str, &str)], overrides: &[&str]) -> LoadOptions {
        LoadOptions {
            path: None,
            overrides: overrides.iter().map(|text| (*text).to_owned()).collect(),
            env: env
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            cwd: self.0.clone(),
            ..LoadOptions::default()
        }
    }

    /// An error's text, with paths as counted from here.
    fn shown(&self, error: &impl ToString) -> String {
        error.to_string().replace(&format!("{}/", self.0.display()), "")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn load_with(
    files: &[(&str, &str)],
    env: &[(&str, &str)],
    overrides: &[&str],
) -> Result<(Config, Vec<Notice>), String> {
    let directory = Directory::new();
    for (name, text) in files {
        std::fs::write(directory.0.join(name), text).unwrap();
    }
    let options = directory.options(env, overrides);
    let (config, notices) = Config::load(&options).map_err(|error| directory.shown(&error))?;
    let shown = |notice: Notice| Notice { text: directory.shown(&notice.text), ..notice };
    Ok((config, notices.into_iter().map(shown).collect()))
}

fn load(file: &str) -> Result<(Config, Vec<Notice>), String> {
    load_with(&[(".rr.yaml", file)], &[], &[])
}

fn config(file: &str) -> Config {
    load(file).unwrap().0
}

fn notices(file: &str) -> String {
    load(file).unwrap().1.iter().map(|notice| notice.to_string() + "\n").collect()
}

fn names(config: &Config) -> Vec<&str> {
    config.brokers.iter().map(|broker| broker.name.as_str()).collect()
}

fn addresses(
    file: &str,
    env: &[(&str, &str)],
    overrides: &[&str],
) -> Result<(String, String), String> {
    let directory = Directory::new();
    std::fs::write(directory.0.join(".rr.yaml"), file).unwrap();
    let options = directory.options(env, overrides);
    let found = Addresses::load(&options).and_then(|found| Ok((found.publish()?, found.url()?)));
    found.map_err(|error| directory.shown(&error))
}

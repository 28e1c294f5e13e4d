//! Where a setting came from, what is wrong with it, and what is merely worth saying.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a setting was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A configuration file; line and column from 1.
    File {
        /// The file as it was named.
        path: Arc<PathBuf>,
        /// Line of the value.
        line: usize,
        /// Column of the value, in characters.
        column: usize,
    },
    /// An environment variable, by name.
    Environment(String),
    /// `-o key=value`.
    Override,
    /// Nobody wrote it.
    Default,
}

impl Origin {
    /// Later layers win over earlier ones.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::File { .. } => 1,
            Self::Environment(_) => 2,
            Self::Override => 3,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Override => write!(f, "-o"),
            Self::Default => write!(f, "default"),
        }
    }
}

/// A configuration that cannot be run: the fault is in what the operator wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A configuration file that cannot be read.
    #[error("configuration file {}: {reason}", path.display())]
    File {
        /// The file as it was named.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// A file that is not YAML, or outside the bounds of `config::yaml`.
    #[error("{origin}: {message}")]
    Syntax {
        /// Where the reader stopped.
        origin: Origin,
        /// What is wrong there.
        message: String,
    },
    /// A value that its key does not take.
    #[error("{origin}: {key}: {problem}")]
    Value {
        /// Where the value was written.
        origin: Origin,
        /// The key, with dots.
        key: String,
        /// The value, what is allowed, what to do.
        problem: String,
    },
}

impl ConfigError {
    /// A value that `key` does not take.
    pub fn value(origin: &Origin, key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Value { origin: origin.clone(), key: key.into(), problem: problem.into() }
    }

    /// Where it is told: by file, line and column, then the environment, then `-o`.
    pub(super) fn place(&self) -> (u8, &Path, usize, usize) {
        let none = Path::new("");
        match self {
            Self::File { path, .. } => (0, path, 0, 0),
            Self::Syntax { origin, .. } | Self::Value { origin, .. } => match origin {
                Origin::File { path, line, column } => (0, path, *line, *column),
                Origin::Environment(name) => (1, Path::new(name), 0, 0),
                Origin::Override => (2, none, 0, 0),
                Origin::Default => (3, none, 0, 0),
            },
        }
    }
}

/// All that keeps a configuration from running: one or more, a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<ConfigError>);

impl Problems {
    /// An error where there is at least one.
    pub fn none(problems: Vec<ConfigError>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self(problems)) }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.0.iter().enumerate() {
            if place > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Something the operator should know about a configuration that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether it may be a mistake, or takes something away from clients.
    pub warning: bool,
    /// One line, with where it was found.
    pub text: String,
}

impl Notice {
    /// Something that may be a mistake.
    pub fn warning(text: impl Into<String>) -> Self {
        Self { warning: true, text: text.into() }
    }

    /// Something that is as it should be and still worth a line.
    pub fn info(text: impl Into<String>) -> Self {
        Self { warning: false, text: text.into() }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", if self.warning { "warning" } else { "note" }, self.text)
    }
}

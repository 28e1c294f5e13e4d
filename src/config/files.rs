//! The files of a configuration: which one is read, and those that it includes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::LoadOptions;
use super::error::{ConfigError, Notice, Origin};
use super::key;
use super::yaml::{self, Data, Node};

/// The files that are looked for in the working directory when none is named, in this order.
/// RoadRunner reads the first.
pub const DEFAULT_FILES: [&str; 2] = [".rr.yaml", ".rr.yml"];

/// What becomes of a file's tree.
type AddFile<'a> = dyn FnMut(Node, &Arc<PathBuf>) + 'a;

/// The file to read, if there is one.
pub fn first(options: &LoadOptions) -> Option<PathBuf> {
    options.path.clone().or_else(|| present(options).next().map(PathBuf::from))
}

/// What is worth saying about the choice of [`first`].
pub fn doubt(options: &LoadOptions) -> Option<Notice> {
    let mut found = present(options).filter(|_| options.path.is_none());
    let (read, other) = (found.next()?, found.next()?);
    Some(Notice::warning(format!(
        "{other} is not read, since {read} is there; name the one you mean with -c"
    )))
}

fn present(options: &LoadOptions) -> impl Iterator<Item = &'static str> {
    // Also a link to nowhere is meant to be read: better an error than the defaults.
    DEFAULT_FILES.into_iter().filter(|name| options.cwd.join(name).symlink_metadata().is_ok())
}

/// Reads a file and the files that it includes; their keys win, as in RoadRunner. Included files
/// include no others. Answers with what could not be read, and adds what is worth saying.
pub fn read(path: &Path, add: &mut AddFile<'_>, notices: &mut Vec<Notice>) -> Vec<ConfigError> {
    let path = Arc::new(path.to_path_buf());
    let root = match tree(&path, notices) {
        Ok(root) => root,
        Err(error) => return vec![error],
    };
    let (included, mut problems) = includes(&root, &path);
    add(root, &path);
    for Included { path, at } in included {
        match tree(&path, notices) {
            Ok(root) => add(root, &path),
            Err(ConfigError::File { path, reason }) => {
                let problem = format!(
                    "{} {reason}; names count from the directory of this file",
                    path.display()
                );
                problems.push(ConfigError::value(&at, "include", problem));
            }
            Err(error) => problems.push(error),
        }
    }
    problems
}

/// A file that another one includes.
struct Included {
    path: Arc<PathBuf>,
    /// Where it was named.
    at: Origin,
}

/// Files that a tree includes; and what names none.
fn includes(root: &Node, path: &Arc<PathBuf>) -> (Vec<Included>, Vec<ConfigError>) {
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    let at =
        |node: &Node| Origin::File { path: Arc::clone(path), line: node.line, column: node.column };
    let Data::Map(pairs) = &root.data else { return (files, problems) };
    let Some((_, include)) = pairs.iter().find(|(key, _)| key.text == "include") else {
        return (files, problems);
    };
    let items = match &include.data {
        Data::Null => &[][..],
        Data::List(items) => items,
        Data::Scalar(_) => std::slice::from_ref(include),
        Data::Map(_) => {
            let problem =
                "holds a section; write a list of files, for example [\".rr.websockets.yaml\"]";
            problems.push(ConfigError::value(&at(include), "include", problem));
            &[]
        }
    };
    for item in items {
        match &item.data {
            Data::Scalar(name) => {
                files.push(Included { path: Arc::new(path.with_file_name(name)), at: at(item) });
            }
            _ => problems.push(ConfigError::value(
                &at(item),
                "include",
                "expected the name of a file",
            )),
        }
    }
    (files, problems)
}

/// Reads a file's text into its tree.
fn tree(path: &Arc<PathBuf>, notices: &mut Vec<Notice>) -> Result<Node, ConfigError> {
    let unreadable = |reason: String| ConfigError::File { path: path.to_path_buf(), reason };
    let bytes = std::fs::read(path.as_path()).map_err(|error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        unreadable(if missing {
            "does not exist".to_owned()
        } else {
            format!("cannot be read: {error}")
        })
    })?;
    if bytes.len() > yaml::FILE_BYTES_MAX {
        return Err(unreadable(format!(
            "has more than {}",
            key::show_bytes(yaml::FILE_BYTES_MAX as u64)
        )));
    }
    let text =
        String::from_utf8(bytes).map_err(|error| unreadable(format!("is not UTF-8: {error}")))?;
    let at = |line, column| Origin::File { path: Arc::clone(path), line, column };
    let document = yaml::parse(&text).map_err(|error| ConfigError::Syntax {
        origin: at(error.line, error.column),
        message: error.message,
    })?;
    if let Some((line, column)) = document.another {
        let origin = at(line, column);
        notices.push(Notice::warning(format!(
            "{origin}: a second document (behind `---`) is not read, as RoadRunner does not read it; put it in a file of its own"
        )));
    }
    Ok(document.root)
}

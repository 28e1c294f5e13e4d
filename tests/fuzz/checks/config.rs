//! The configuration: any text, any variables, any overrides are read or refused, within bounds,
//! always alike.

use std::path::PathBuf;
use std::sync::Arc;

use roadcast::config::Environment;
use roadcast::config::key::{Kind, Status, Value};
use roadcast::config::schema::KEYS;
use roadcast::config::settings::Settings;
use roadcast::config::yaml::{self, Data, Node};

/// The file; behind its first NUL, lines with arguments of `-o`; those that begin with `$` are
/// variables.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (file, lines) = text.split_once('\0').unwrap_or((text, ""));
    let (variables, overrides): (Vec<_>, Vec<_>) =
        lines.lines().partition(|line| line.starts_with('$'));
    let env: Environment = variables
        .iter()
        .filter_map(|line| line[1..].split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let outcome = load(file, &env, &overrides);
    assert_eq!(outcome, load(file, &env, &overrides), "twice the same");
    if let Err(reason) = outcome {
        assert!(!reason.is_empty());
    }
}

fn load(file: &str, env: &Environment, overrides: &[&str]) -> Result<Vec<Option<Value>>, String> {
    let root = yaml::parse(file).map(|document| document.root).map_err(|error| {
        assert!(error.line > 0 && error.column > 0, "{error:?}");
        error.to_string()
    })?;
    bounded(&root, 0);
    let mut settings = Settings::default();
    let told = |error: roadcast::config::ConfigError| error.to_string();
    settings.add_file(&root, &Arc::new(PathBuf::from("fuzzed.yaml")), env);
    settings.add_environment(env);
    for argument in overrides {
        settings.add_override(argument, env);
    }
    if let Some(problem) = settings.take_problems().into_iter().next() {
        return Err(told(problem));
    }
    let mut values = Vec::new();
    for key in KEYS.iter().filter(|key| key.status == Status::Used && !key.path.contains('*')) {
        // A host's name would be looked up.
        if !matches!(key.kind, Kind::Address(_) | Kind::Rpc(_)) {
            values.push(settings.value(key.path).map_err(told)?.0);
        }
    }
    settings.into_notices();
    Ok(values)
}

fn bounded(node: &Node, depth: usize) {
    assert!(depth <= 64);
    match &node.data {
        Data::Null | Data::Scalar(_) => {}
        Data::List(items) => items.iter().for_each(|item| bounded(item, depth + 1)),
        Data::Map(pairs) => pairs.iter().for_each(|(_, value)| bounded(value, depth + 1)),
    }
}

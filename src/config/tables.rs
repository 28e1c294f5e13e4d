//! Lists of maps, as written: `server.env`, `roadcast.access.rules`. They are written in files
//! alone, and a later one replaces an earlier one whole.

use super::environment::Environment;
use super::error::{ConfigError, Origin};
use super::key::{Key, Kind};
use super::setting::Row;
use super::settings::Settings;
use super::yaml::{Data, Key as Name, Node};

impl Settings {
    /// Sets a key whose value is a list of maps, or of pairs.
    pub(super) fn set_table(
        &mut self,
        key: &'static Key,
        node: &Node,
        at: &dyn Fn(&Node) -> Origin,
        env: &Environment,
    ) {
        let maps: Vec<&Node> = match (&node.data, key.kind) {
            (Data::Null, _) => Vec::new(),
            (Data::List(items), _) => items.iter().collect(),
            (Data::Map(_), Kind::Pairs) => vec![node],
            _ => return self.not_a_table(key, &at(node)),
        };
        let mut rows = Vec::new();
        for map in maps {
            let Data::Map(pairs) = &map.data else { return self.not_a_table(key, &at(map)) };
            let mut cells = Vec::new();
            for (name, value) in flat(pairs, key) {
                let Some((words, list)) = value.words() else {
                    return self.not_a_table(key, &at(value));
                };
                cells.push((name, self.setting(key, key.path, words, list, at(value), env)));
            }
            rows.push(Row { origin: at(map), cells });
        }
        self.tables.insert(key.path, rows);
    }

    fn not_a_table(&mut self, key: &Key, origin: &Origin) {
        let problem = format!("expected {}", key.bounds());
        self.problems.push(ConfigError::value(origin, key.path, problem));
    }

    /// The rows of such a key; none where nobody wrote it.
    pub fn rows(&self, path: &str) -> &[Row] {
        self.tables.get(path).map_or(&[], Vec::as_slice)
    }
}

/// The fields of a map; of a map within a list of maps, its fields by `name.field`.
fn flat<'n>(pairs: &'n [(Name, Node)], key: &Key) -> Vec<(String, &'n Node)> {
    let mut flat = Vec::new();
    for (name, value) in pairs {
        match &value.data {
            Data::Map(within) if matches!(key.kind, Kind::Maps(_)) => {
                let name = &name.text;
                let path = |field: &Name| format!("{name}.{}", field.text);
                flat.extend(within.iter().map(|(field, value)| (path(field), value)));
            }
            _ => flat.push((name.text.clone(), value)),
        }
    }
    flat
}

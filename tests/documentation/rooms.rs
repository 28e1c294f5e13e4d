//! The table of rooms in ARCHITECTURE.md against what the sources import.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::{read, spans};

/// Names of modules of the crate's root, and what each may know or knows of others.
type Known = BTreeMap<String, BTreeSet<String>>;

/// `shard/` and `lane.rs` are modules; `ring/tcp.rs` is a part of one.
fn module(span: &str) -> Option<String> {
    let name = span.strip_suffix(".rs").or(span.strip_suffix('/')).unwrap_or(span);
    name.chars().all(|c| c.is_ascii_lowercase() || c == '_').then(|| name.to_owned())
}

/// What each module may know, as the last column says: modules in backquotes, `each other`,
/// `everything`, or the word that a row is headed with (**codecs**).
fn allowed(document: &str) -> Known {
    let (_, table) = document.split_once("| where | what | may know |\n|---|---|---|\n").unwrap();
    let rows = table.lines().map_while(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rows: Vec<(BTreeSet<String>, &str, &str)> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split(" | ").collect();
            let [place, what, knows] = cells[..] else { panic!("three cells: {row}") };
            (spans(place).filter_map(module).collect(), what, knows)
        })
        .collect();
    let all: BTreeSet<String> = rows.iter().flat_map(|(modules, ..)| modules.clone()).collect();
    let mut known = Known::new();
    for (modules, _, knows) in &rows {
        let mut may: BTreeSet<String> = spans(knows).filter_map(module).collect();
        let strange: Vec<_> = may.difference(&all).collect();
        assert!(strange.is_empty(), "ARCHITECTURE.md: no row has the module {strange:?}");
        for (others, what, _) in &rows {
            let word = what.strip_prefix("**").and_then(|rest| rest.split("**").next());
            if word.is_some_and(|word| knows.contains(word)) {
                may.extend(others.iter().cloned());
            }
        }
        if knows.contains("each other") {
            may.extend(modules.iter().cloned());
        }
        if knows.contains("everything") {
            may.extend(all.iter().cloned());
        }
        for module in modules {
            let before = known.insert(module.clone(), may.clone());
            assert!(before.is_none(), "ARCHITECTURE.md: `{module}` stands in two rows");
        }
    }
    known
}

/// The modules that `source` names as `crate::module` or `crate::{module, …}`, outside of comments
/// and of tests at its end.
fn imports(source: &str) -> BTreeSet<String> {
    let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code: Vec<&str> = source.lines().map(|line| line.split("//").next().unwrap()).collect();
    let code = code.join("\n");
    let mut found = BTreeSet::new();
    for path in code.split("crate::").skip(1) {
        // Of a list, what stands at its top.
        let (list, mut depth) = (path.starts_with('{'), 0);
        let mut word = String::new();
        let mut begins = true;
        for c in path.chars().chain([';']) {
            if c.is_ascii_alphanumeric() || c == '_' {
                word.push(c);
                continue;
            }
            if begins && !word.is_empty() {
                found.insert(std::mem::take(&mut word));
                begins = false;
            }
            word.clear();
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => begins = true,
                _ => {}
            }
            if !list || depth == 0 || c == ';' {
                break;
            }
        }
    }
    found
}

/// What each module of the crate's root imports of the others.
fn real() -> Known {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut known = Known::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            let below = entry.strip_prefix(&root).unwrap();
            if below.iter().any(|part| part == "tests" || part == "tests.rs") {
                continue;
            }
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                let first = below.iter().next().unwrap().to_str().unwrap();
                let module = module(first.trim_end_matches(".rs")).unwrap();
                let imported = imports(&std::fs::read_to_string(&entry).unwrap());
                known.entry(module).or_default().extend(imported);
            }
        }
    }
    for nothing in ["lib", "main"] {
        known.remove(nothing);
    }
    known.iter_mut().for_each(|(module, knows)| {
        knows.remove(module);
    });
    known
}

#[test]
fn imports_are_read_in_every_way_to_write_them() {
    let source = "use crate::lane;\nuse crate::{mesh::{Down, Up}, shard};\n//! crate::hub\n\
                  pub(crate) fn f() { crate::ring::probe() }\nuse crate::ws::{close, frame};\n\
                  #[cfg(test)]\nmod tests {\n    use crate::cli;\n}\n";
    let found = imports(source);
    assert!(found.iter().eq(["lane", "mesh", "ring", "shard", "ws"]), "{found:?}");
}

#[test]
fn no_module_knows_another_that_the_table_of_rooms_does_not_allow() {
    let (allowed, real) = (allowed(&read("ARCHITECTURE.md").unwrap()), real());
    let (rows, there): (Vec<_>, Vec<_>) = (allowed.keys().collect(), real.keys().collect());
    assert_eq!(rows, there, "ARCHITECTURE.md, \"Rooms\": each module of src/ has one row");
    let mut wrong = String::new();
    for (module, knows) in &real {
        for other in knows.iter().filter(|other| real.contains_key(*other)) {
            if !allowed[module].contains(other) {
                wrong += &format!("\n  {module} imports {other}");
            }
            if module < other && real[other].contains(module) {
                wrong += &format!("\n  {module} and {other} import each other");
            }
        }
    }
    assert!(wrong.is_empty(), "ARCHITECTURE.md, \"Rooms\", does not allow:{wrong}");
}

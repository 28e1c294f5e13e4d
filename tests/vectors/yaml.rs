//! Goal: a configuration that RoadRunner reads is read, and means the same. Method: texts in every
//! notation and with every mistake that came to mind, with what RoadRunner's reader, go-yaml v3,
//! answered to each (`scripts/yaml-vectors` asks it anew).

use roadcast::config::yaml::{self, Data, Node};
use serde_json::Value;

#[derive(serde::Deserialize)]
struct Vector {
    text: String,
    value: Value,
    refused: Option<String>,
}

/// What is read here although go-yaml refuses it. A tag says nothing here, so a wrong one neither.
const READ: [&str; 8] = [
    "%YAML 1.2\n---\na: b\n",
    "a: !!null x\n",
    "a: !!int x\n",
    "a: !!bool yes\n",
    "a: !!bool maybe\n",
    "a: !!binary '*'\n",
    "a: \"\\u00fc\\x41\\t\\e\\N\\_\\L\\P\\/\\\"\\\\\"\n",
    "a: [http://x:80/y?z=1,2]\n",
];

/// What is refused here although go-yaml reads it, since YAML does not allow it or it is hardly
/// meant.
const REFUSED: [&str; 5] = [
    "&x a: b\n*x : c\n",
    "a: [!foo, b]\n",
    "a: !foo,bar b\n",
    "a: \"\\'\"\n",
    "a: b\n\u{feff}c: d\n",
];

fn json(node: &Node) -> Value {
    match &node.data {
        Data::Null => Value::Null,
        Data::Scalar(text) => text.as_str().into(),
        Data::List(items) => items.iter().map(json).collect(),
        Data::Map(pairs) => {
            pairs.iter().map(|(key, value)| (key.text.clone(), json(value))).collect()
        }
    }
}

/// What a file with this text would say; a configuration is a map, or nothing.
fn read(text: &str) -> Result<Value, String> {
    let root = yaml::parse(text).map_err(|error| error.to_string())?.root;
    match root.data {
        Data::Map(_) | Data::Null => Ok(json(&root)),
        Data::Scalar(_) | Data::List(_) => Err("no sections".to_owned()),
    }
}

#[test]
fn what_roadrunners_reader_takes_is_read_alike_and_what_it_refuses_is_refused() {
    let vectors: Vec<Vector> = include_str!("yaml.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(vectors.len() > 300);
    let mut wrong = Vec::new();
    for Vector { text, value, refused } in &vectors {
        let (ours, text) = (read(text), text.as_str());
        let right = match (&ours, refused) {
            (Ok(ours), None) => ours == value,
            (Ok(_), Some(_)) => READ.contains(&text),
            (Err(_), None) => REFUSED.contains(&text),
            (Err(_), Some(_)) => true,
        };
        if !right {
            wrong.push(format!(
                "{text:?}: go-yaml {:?}, here {ours:?}",
                refused.as_ref().map_or(Ok(value), Err)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // No exception is left that is none.
    for text in READ.iter().chain(&REFUSED) {
        let vector =
            vectors.iter().find(|vector| vector.text == *text).expect("an exception is a vector");
        assert_eq!(read(text).is_ok(), vector.refused.is_some(), "{text:?}");
    }
}

//! A YAML document as a tree of scalars, lists and maps, each with its line and column.
//!
//! Scalars stay text: the schema, not YAML's guess, decides what `0777` or `yes` means. Bounded in size, depth and number
//! of nodes, aliases included, so that no file can exhaust memory or the stack.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

/// Bytes of a configuration file. Real ones have a few KiB.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Levels of nesting. RoadRunner's deepest key has six.
const DEPTH_MAX: usize = 64;
/// Nodes of a document, those made by aliases included: bounds the expansion of aliases of aliases.
const NODES_MAX: usize = 100_000;

/// A node and where it starts; both counted from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Line in the file.
    pub line: usize,
    /// Column in the line.
    pub column: usize,
    /// What the node holds.
    pub data: Data,
}

/// What a [`Node`] holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// Nothing, `~` or `null`.
    Null,
    /// Any other scalar, as written.
    Scalar(String),
    /// `[a, b]`, or lines that start with `-`.
    List(Vec<Node>),
    /// `key: value` pairs in the order of the file; no key occurs twice.
    Map(Vec<(Key, Node)>),
}

/// The key of a pair in a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key as written.
    pub text: String,
    /// Line in the file, from 1.
    pub line: usize,
    /// Column in the line, from 1.
    pub column: usize,
}

/// Why a text is no usable YAML document, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// Line in the file, from 1.
    pub line: usize,
    /// Column in the line, from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

/// Reads the one document of `text`; an empty text is `Null`.
pub fn parse(text: &str) -> Result<Node, SyntaxError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut loader = Loader::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| syntax(*error.marker(), error.info()))?;
        loader.take(event, span.start)?;
    }
    Ok(loader.root.unwrap_or(Node { line: 1, column: 1, data: Data::Null }))
}

/// Collections under construction, innermost last.
#[derive(Default)]
struct Loader {
    open: Vec<Open>,
    /// Anchored nodes with their size in nodes and their depth.
    anchors: BTreeMap<usize, (Node, usize, usize)>,
    nodes: usize,
    documents: usize,
    root: Option<Node>,
}

struct Open {
    node: Node,
    anchor: usize,
    /// A map's key that waits for its value.
    key: Option<Key>,
    merges: Vec<Node>,
}

impl Loader {
    fn take(&mut self, event: Event<'_>, at: Marker) -> Result<(), SyntaxError> {
        let node = |data| Node { line: at.line(), column: at.col() + 1, data };
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(syntax(at, "a second document; a configuration file holds one"));
                }
            }
            Event::SequenceStart(anchor, _) => self.begin(node(Data::List(Vec::new())), anchor, at)?,
            Event::MappingStart(anchor, _) => self.begin(node(Data::Map(Vec::new())), anchor, at)?,
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(mut done) = self.open.pop() else { return Ok(()) };
                merge(&mut done.node, done.merges);
                self.place(done.node, done.anchor, at)?;
            }
            Event::Scalar(text, style, anchor, _) => {
                let null =
                    style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let data = if null { Data::Null } else { Data::Scalar(text.into_owned()) };
                self.place(node(data), anchor, at)?;
            }
            Event::Alias(anchor) => {
                let Some((target, size, depth)) = self.anchors.get(&anchor) else {
                    return Err(syntax(at, "an alias to an anchor that is not complete"));
                };
                if self.open.len() + depth > DEPTH_MAX {
                    return Err(too_deep(at));
                }
                let (size, data) = (*size, target.data.clone());
                self.count(size, at)?;
                self.place(node(data), 0, at)?;
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn begin(&mut self, node: Node, anchor: usize, at: Marker) -> Result<(), SyntaxError> {
        if self.open.len() >= DEPTH_MAX {
            return Err(too_deep(at));
        }
        self.open.push(Open { node, anchor, key: None, merges: Vec::new() });
        Ok(())
    }

    fn place(&mut self, node: Node, anchor: usize, at: Marker) -> Result<(), SyntaxError> {
        self.count(1, at)?;
        if anchor > 0 {
            let (size, depth) = measure(&node);
            self.count(size, at)?;
            self.anchors.insert(anchor, (node.clone(), size, depth));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.node.data {
            Data::List(items) => items.push(node),
            Data::Map(pairs) => match open.key.take() {
                None => {
                    let text = match node.data {
                        Data::Scalar(text) => text,
                        Data::Null => String::new(),
                        Data::List(_) | Data::Map(_) => return Err(syntax(at, "a key must be a plain word")),
                    };
                    let key = Key { text, line: node.line, column: node.column };
                    if key.text != "<<" && pairs.iter().any(|(other, _)| other.text == key.text) {
                        let message = format!("the key `{}` occurs twice in this section", key.text);
                        return Err(SyntaxError { line: key.line, column: key.column, message });
                    }
                    open.key = Some(key);
                }
                Some(key) if key.text == "<<" => open.merges.push(node),
                Some(key) => pairs.push((key, node)),
            },
            Data::Null | Data::Scalar(_) => {}
        }
        Ok(())
    }

    fn count(&mut self, nodes: usize, at: Marker) -> Result<(), SyntaxError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES_MAX {
            return Err(syntax(at, &format!("more than {NODES_MAX} values, those of aliases included")));
        }
        Ok(())
    }
}

/// YAML's merge key (`<<: *defaults`): pairs that the map does not have itself; earlier sources win.
fn merge(node: &mut Node, merges: Vec<Node>) {
    let Data::Map(pairs) = &mut node.data else { return };
    let sources = merges.into_iter().flat_map(|source| match source.data {
        Data::List(items) => items,
        _ => vec![source],
    });
    for source in sources {
        let Data::Map(more) = source.data else { continue };
        for (key, value) in more {
            if !pairs.iter().any(|(own, _)| own.text == key.text) {
                pairs.push((key, value));
            }
        }
    }
}

/// Nodes in a tree, and its depth.
fn measure(node: &Node) -> (usize, usize) {
    let (mut size, mut depth) = (1, 0);
    let mut add = |child: &Node| {
        let (child_size, child_depth) = measure(child);
        size += child_size;
        depth = depth.max(child_depth);
    };
    match &node.data {
        Data::List(items) => items.iter().for_each(&mut add),
        Data::Map(pairs) => pairs.iter().for_each(|(_, value)| add(value)),
        Data::Null | Data::Scalar(_) => {}
    }
    (size, depth + 1)
}

fn syntax(at: Marker, message: &str) -> SyntaxError {
    SyntaxError { line: at.line(), column: at.col() + 1, message: message.to_owned() }
}

fn too_deep(at: Marker) -> SyntaxError {
    syntax(at, &format!("nested deeper than {DEPTH_MAX} levels"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(node: &Node) -> &[(Key, Node)] {
        match &node.data {
            Data::Map(pairs) => pairs,
            other => panic!("not a map: {other:?}"),
        }
    }

    #[test]
    fn values_carry_their_line_and_column_and_stay_text() {
        let root = parse("http:\n  address: 0777\n  on: \"null\"\n  off:\n").unwrap();
        let http = pairs(&pairs(&root)[0].1);
        assert_eq!((http[0].0.line, http[0].0.column), (2, 3));
        assert_eq!(http[0].1, Node { line: 2, column: 12, data: Data::Scalar("0777".into()) });
        assert_eq!(http[1].1.data, Data::Scalar("null".into()));
        assert_eq!(http[2].1.data, Data::Null);
    }

    #[test]
    fn a_syntax_error_says_where() {
        let error = parse("http:\n  address: [1, 2\nrpc: {}\n").unwrap_err();
        assert!(error.line >= 2, "{error:?}");
        assert!(parse("a: 1\n\tb: 2\n").is_err());
    }

    #[test]
    fn a_key_given_twice_is_an_error_at_the_second() {
        let error = parse("http: {}\nrpc: {}\nhttp: {}\n").unwrap_err();
        assert_eq!((error.line, error.column), (3, 1));
        assert!(error.message.contains("`http`"), "{error}");
    }

    #[test]
    fn aliases_and_merge_keys_are_resolved() {
        let root = parse("base: &b { a: 1, b: 2 }\nuse: { <<: *b, a: 3 }\n").unwrap();
        let used = pairs(&pairs(&root)[1].1);
        let shown: Vec<_> = used.iter().map(|(key, value)| (key.text.as_str(), value.data.clone())).collect();
        assert_eq!(shown, [("a", Data::Scalar("3".into())), ("b", Data::Scalar("2".into()))]);
    }

    #[test]
    fn aliases_of_aliases_are_bounded() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let previous = format!("*a{}", level - 1);
            text += &format!("a{level}: &a{level} [{}]\n", vec![previous; 10].join(", "));
        }
        assert!(parse(&text).unwrap_err().message.contains("aliases included"));
    }

    #[test]
    fn an_anchor_that_holds_its_own_alias_is_an_error() {
        assert!(parse("a: &a [*a]\n").is_err());
    }

    #[test]
    fn deep_nesting_is_bounded_in_every_notation() {
        for text in ["- ".repeat(5_000), "[".repeat(5_000), "{a: ".repeat(5_000), "? ".repeat(5_000)] {
            assert!(parse(&text).is_err());
        }
    }

    #[test]
    fn a_second_document_is_an_error() {
        assert_eq!(parse("---\na: 1\n---\nb: 2\n").unwrap_err().line, 3);
        assert_eq!(parse("").unwrap().data, Data::Null);
    }
}

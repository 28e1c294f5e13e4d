//! A YAML document as a tree of scalars, lists and maps, each with its line and column.
//!
//! Read by a port of libyaml, as RoadRunner's reader (go-yaml) is one: both take the same texts,
//! and `tests/vectors/yaml.rs` holds this module to what go-yaml answered. Scalars stay text: the
//! schema, not YAML's guess, decides what `0777` or `yes` means. Bounded in size, depth, number of
//! nodes and bytes of text, aliases included, so that no file can exhaust memory or the stack.

mod input;

use std::collections::BTreeMap;

use libyaml_safer::{Event, EventData, Mark, Parser, ScalarStyle};

use input::Input;

/// Bytes of a configuration file. Real ones have a few KiB.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Levels of nesting. RoadRunner's deepest key has six.
const DEPTH_MAX: usize = 64;
/// Nodes of a document, those made by aliases included: bounds the expansion of aliases of aliases.
const NODES_MAX: usize = 100_000;
/// Bytes of a document's scalars and keys, those repeated by aliases included: a file of
/// [`FILE_BYTES_MAX`] may repeat itself a few times.
const TEXT_BYTES_MAX: usize = 16 * FILE_BYTES_MAX;

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

impl Node {
    /// A scalar as one word, a list of them as its words, and whether it is a list; `None`: it
    /// holds more than that.
    pub fn words(&self) -> Option<(Vec<String>, bool)> {
        let text = |item: &Self| match &item.data {
            Data::Scalar(text) => Some(text.clone()),
            Data::Null => Some(String::new()),
            Data::List(_) | Data::Map(_) => None,
        };
        match &self.data {
            Data::List(items) => Some((items.iter().map(text).collect::<Option<_>>()?, true)),
            _ => Some((vec![text(self)?], false)),
        }
    }
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

/// What a text holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The first document; of an empty text, `Null`.
    pub root: Node,
    /// Line and column where another one begins that is not empty. It is not read, as go-yaml does
    /// not.
    pub another: Option<(usize, usize)>,
}

/// Reads the first document of `text`.
pub fn parse(text: &str) -> Result<Document, SyntaxError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let input = Input::new(text)?;
    let mut parser = Parser::new();
    parser.set_input(input.bytes());
    let mut next = || parser.parse().map_err(|error| unreadable(&error));
    let mut loader = Loader::default();
    loop {
        let event = next()?;
        match event.data {
            EventData::DocumentEnd { .. } => break,
            EventData::StreamEnd => {
                return Ok(Document { root: loader.into_root(), another: None });
            }
            _ => loader.take(event, &input)?,
        }
    }
    // What follows is no part of the configuration, also if it is no YAML.
    let another = loop {
        match next() {
            Ok(event) => match event.data {
                EventData::StreamEnd => break None,
                EventData::DocumentStart { .. } | EventData::DocumentEnd { .. } => {}
                EventData::Scalar { value, style: ScalarStyle::Plain, .. } if value.is_empty() => {}
                _ => break Some(place(event.start_mark)),
            },
            Err(error) => break Some((error.line, error.column)),
        }
    };
    Ok(Document { root: loader.into_root(), another })
}

/// Collections under construction, innermost last.
#[derive(Default)]
struct Loader {
    open: Vec<Open>,
    /// Anchored nodes with what they hold; `None` while they are not complete.
    anchors: BTreeMap<String, Option<(Node, Extent)>>,
    nodes: usize,
    bytes: usize,
    root: Option<Node>,
}

/// What a tree holds.
#[derive(Clone, Copy, Default)]
struct Extent {
    nodes: usize,
    /// Of scalars and keys.
    bytes: usize,
    depth: usize,
}

struct Open {
    node: Node,
    anchor: Option<String>,
    /// A map's key that waits for its value.
    key: Option<Name>,
    /// Keys that have been seen: all, also those that do not stay.
    names: Vec<String>,
    merges: Vec<Node>,
}

/// What a pair is for.
enum Name {
    Key(Key),
    /// `<<`
    Merge,
    /// `~`: a name for nothing. go-yaml leaves such pairs out.
    Null,
}

impl Loader {
    fn into_root(self) -> Node {
        self.root.unwrap_or(Node { line: 1, column: 1, data: Data::Null })
    }

    fn take(&mut self, event: Event, input: &Input) -> Result<(), SyntaxError> {
        let (at, end) = (event.start_mark, event.end_mark.index);
        let (line, column) = place(at);
        let node = |data| Node { line, column, data };
        match event.data {
            EventData::SequenceStart { anchor, .. } => {
                self.begin(node(Data::List(Vec::new())), anchor, at)?
            }
            EventData::MappingStart { anchor, .. } => {
                self.begin(node(Data::Map(Vec::new())), anchor, at)?
            }
            EventData::SequenceEnd | EventData::MappingEnd => {
                let Some(mut done) = self.open.pop() else { return Ok(()) };
                merge(&mut done.node, done.merges, at)?;
                self.place(done.node, done.anchor, false, at)?;
            }
            EventData::Scalar { anchor, tag, value, style, .. } => {
                let plain = style == ScalarStyle::Plain;
                // `!` alone says nothing.
                let tag = tag.as_deref().filter(|tag| *tag != "!");
                let null = match tag {
                    Some(tag) => tag == "tag:yaml.org,2002:null",
                    None => plain && matches!(&*value, "" | "~" | "null" | "Null" | "NULL"),
                };
                let merge =
                    value == "<<" && tag.map_or(plain, |tag| tag == "tag:yaml.org,2002:merge");
                let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                let value = if block { input.without_added_break(value, end) } else { value };
                self.place(
                    node(if null { Data::Null } else { Data::Scalar(value) }),
                    anchor,
                    merge,
                    at,
                )?;
            }
            EventData::Alias { anchor } => {
                let (extent, data) = match self.anchors.get(&anchor) {
                    Some(Some((target, extent))) => (*extent, target.data.clone()),
                    Some(None) => return Err(syntax(at, "an anchor that holds its own alias")),
                    None => return Err(syntax(at, "an alias to an anchor that is not there")),
                };
                if self.open.len() + extent.depth > DEPTH_MAX {
                    return Err(too_deep(at));
                }
                self.count(extent, at)?;
                self.place(node(data), None, false, at)?;
            }
            EventData::StreamStart { .. }
            | EventData::StreamEnd
            | EventData::DocumentStart { .. }
            | EventData::DocumentEnd { .. } => {}
        }
        Ok(())
    }

    fn begin(&mut self, node: Node, anchor: Option<String>, at: Mark) -> Result<(), SyntaxError> {
        if self.open.len() >= DEPTH_MAX {
            return Err(too_deep(at));
        }
        if let Some(anchor) = &anchor {
            self.anchors.insert(anchor.clone(), None);
        }
        self.open.push(Open { node, anchor, key: None, names: Vec::new(), merges: Vec::new() });
        Ok(())
    }

    fn place(
        &mut self,
        node: Node,
        anchor: Option<String>,
        merge: bool,
        at: Mark,
    ) -> Result<(), SyntaxError> {
        // A collection's own are counted already.
        let bytes = if let Data::Scalar(text) = &node.data { text.len() } else { 0 };
        self.count(Extent { nodes: 1, bytes, depth: 0 }, at)?;
        if let Some(anchor) = anchor {
            let extent = measure(&node);
            self.count(extent, at)?;
            self.anchors.insert(anchor, Some((node.clone(), extent)));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.node.data {
            Data::List(items) => items.push(node),
            Data::Map(pairs) => match open.key.take() {
                None => open.key = Some(name(node, merge, &mut open.names)?),
                Some(Name::Merge) => open.merges.push(node),
                Some(Name::Key(key)) => pairs.push((key, node)),
                Some(Name::Null) => {}
            },
            Data::Null | Data::Scalar(_) => {}
        }
        Ok(())
    }

    fn count(&mut self, more: Extent, at: Mark) -> Result<(), SyntaxError> {
        self.nodes = self.nodes.saturating_add(more.nodes);
        self.bytes = self.bytes.saturating_add(more.bytes);
        if self.nodes > NODES_MAX {
            return Err(syntax(
                at,
                &format!("more than {NODES_MAX} values, those of aliases included"),
            ));
        }
        if self.bytes > TEXT_BYTES_MAX {
            let message =
                format!("more than {TEXT_BYTES_MAX} bytes of values, those of aliases included");
            return Err(syntax(at, &message));
        }
        Ok(())
    }
}

/// What a key says, which must be the first of its text among `seen`.
fn name(node: Node, merge: bool, seen: &mut Vec<String>) -> Result<Name, SyntaxError> {
    let Node { line, column, data } = node;
    let error = |message: String| Err(SyntaxError { line, column, message });
    let text = match data {
        Data::Scalar(text) => text,
        Data::Null => return Ok(Name::Null),
        Data::List(_) | Data::Map(_) => return error("a key must be a plain word".to_owned()),
    };
    // A `<<` in quotes is a key as any other.
    let known = if merge { "\0<<".to_owned() } else { text.clone() };
    if seen.contains(&known) {
        return error(format!("the key `{text}` occurs twice in this section"));
    }
    seen.push(known);
    Ok(if merge { Name::Merge } else { Name::Key(Key { text, line, column }) })
}

/// YAML's merge key (`<<: *defaults`): pairs that the map does not have itself; earlier sources
/// win.
fn merge(node: &mut Node, merges: Vec<Node>, at: Mark) -> Result<(), SyntaxError> {
    let Data::Map(pairs) = &mut node.data else { return Ok(()) };
    let sources = merges.into_iter().flat_map(|source| match source.data {
        Data::List(items) => items,
        _ => vec![source],
    });
    for source in sources {
        let Data::Map(more) = source.data else {
            return Err(syntax(at, "`<<` takes a section, or a list of sections"));
        };
        for (key, value) in more {
            if !pairs.iter().any(|(own, _)| own.text == key.text) {
                pairs.push((key, value));
            }
        }
    }
    Ok(())
}

fn measure(node: &Node) -> Extent {
    let mut extent = Extent { nodes: 1, ..Extent::default() };
    let mut add = |key: &str, child: &Node| {
        let child = measure(child);
        extent.nodes += child.nodes;
        extent.bytes += key.len() + child.bytes;
        extent.depth = extent.depth.max(child.depth);
    };
    match &node.data {
        Data::List(items) => items.iter().for_each(|item| add("", item)),
        Data::Map(pairs) => pairs.iter().for_each(|(key, value)| add(&key.text, value)),
        Data::Scalar(text) => extent.bytes = text.len(),
        Data::Null => {}
    }
    Extent { depth: extent.depth + 1, ..extent }
}

/// Line and column, from 1.
fn place(at: Mark) -> (usize, usize) {
    (at.line as usize + 1, at.column as usize + 1)
}

/// What the parser says, and where.
fn unreadable(error: &libyaml_safer::Error) -> SyntaxError {
    let context = error.context().filter(|context| !context.is_empty());
    let context = context.map(|context| format!(" {context}")).unwrap_or_default();
    syntax(error.problem_mark().unwrap_or_default(), &format!("{}{context}", error.problem()))
}

fn syntax(at: Mark, message: &str) -> SyntaxError {
    let (line, column) = place(at);
    SyntaxError { line, column, message: message.to_owned() }
}

fn too_deep(at: Mark) -> SyntaxError {
    syntax(at, &format!("nested deeper than {DEPTH_MAX} levels"))
}

#[cfg(test)]
mod tests;

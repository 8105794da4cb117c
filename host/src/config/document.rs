//! The text of a configuration: YAML to a JSON value, and the place of each of its parts.
//!
//! One pass over the text builds a tree. Each [`Node`] of it holds a value and the place of that
//! value, so the two cannot disagree. `read` builds the tree and refuses the parts of YAML that a
//! configuration does not need. `scalar` decides between text, numbers, booleans and null. `join`
//! appends the lists of included files to a tree.

mod join;
mod read;
mod scalar;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

pub(super) use self::join::INCLUDE;
pub(super) use self::read::read;
use super::error::{Place, Problem};

/// The tree of a configuration, and the arguments of the command line that replace parts of it.
///
/// Paths such as `upstreams[0].endpoints[1].address` lead to a part. Errors show them as well. Each
/// part knows its file, so a path needs no other key to it.
#[derive(Debug)]
pub(super) struct Document {
    /// The names of the files. The first one is the main file.
    names: Vec<String>,
    root: Option<Node>,
    arguments: BTreeMap<String, String>,
}

/// The places of the parts of a configuration, for errors found after it was read.
#[derive(Debug, Clone, Default)]
pub struct Places(Option<Arc<Document>>);

impl Places {
    pub(super) fn new(document: Document) -> Self {
        Self(Some(Arc::new(document)))
    }

    /// Returns a problem with the value at `path`, such as `plugins[0].config.rate`.
    pub fn problem(&self, path: &str, message: impl Into<String>) -> Problem {
        let place = match &self.0 {
            Some(document) => document.value(path),
            None => Place::File(path.to_owned()),
        };
        Problem::new(place, message)
    }

    /// Whether the user wrote the value at `path`. Weir adds values that the user did not write.
    pub fn has(&self, path: &str) -> bool {
        self.0.as_ref().is_some_and(|document| document.has(path))
    }

    /// Notes that the value at `path` came from this argument of the command line.
    pub(crate) fn set_argument(&mut self, path: &str, argument: &str) {
        if let Some(document) = self.0.as_mut().and_then(Arc::get_mut) {
            document.set_argument(path.to_owned(), argument.to_owned());
        }
    }
}

/// A part of the text at one place.
#[derive(Debug, Clone)]
struct Node {
    /// The position of the file in [`Document::names`].
    file: usize,
    /// The place of the key in front of the part, or of the part itself if it has none.
    key: Position,
    value: Position,
    /// Whether the place holds an alias of the part. The parts inside it have no other place.
    is_alias: bool,
    part: Arc<Part>,
}

/// A value without a place of its own. An anchor and its aliases share one.
struct Part {
    size: Size,
    content: Content,
}

enum Content {
    Scalar(Value),
    List(Vec<Node>),
    /// By the segment that leads to the value in a path.
    Mapping(BTreeMap<String, Entry>),
}

#[derive(Clone)]
struct Entry {
    key: String,
    node: Node,
}

/// The size of a part with its aliases expanded.
#[derive(Clone, Copy)]
struct Size {
    /// Keys, scalars, lists and mappings.
    nodes: usize,
    /// The text of keys and scalars.
    bytes: usize,
    /// Lists and mappings inside each other.
    depth: usize,
}

/// A line and a column, both from 1, columns in characters.
type Position = (usize, usize);

impl Document {
    /// Returns a configuration that no file holds; `name` stands for the whole.
    pub(super) fn argument(name: &str) -> Self {
        let arguments = BTreeMap::from([(String::new(), name.to_owned())]);
        Self { names: vec![name.to_owned()], root: None, arguments }
    }

    /// Notes that the value at `path` came from the command line.
    pub(super) fn set_argument(&mut self, path: String, argument: String) {
        self.arguments.insert(path, argument);
    }

    fn has(&self, path: &str) -> bool {
        let of_plugin = below(path, "source");
        [path, &of_plugin].iter().any(|path| self.arguments.contains_key(*path))
            || self.node(path).is_some()
    }

    fn node(&self, path: &str) -> Option<&Node> {
        let mut rest = path;
        let mut node = self.root.as_ref()?;
        while !rest.is_empty() {
            let (first, others) = split(rest);
            (node, rest) = (node.child(first)?, others);
        }
        Some(node)
    }

    /// The place of the value at `path`, or of the nearest part that contains it.
    pub(super) fn value(&self, path: &str) -> Place {
        self.find(path, |node| node.value)
    }

    /// The file and line of the value at `path`, if it is in another file than the one at `from`.
    pub(super) fn elsewhere(&self, path: &str, from: &str) -> Option<String> {
        match (self.value(path), self.value(from)) {
            (Place::At(file, line, _), Place::At(own, ..)) if file != own => {
                Some(format!("{file}:{line}"))
            }
            _ => None,
        }
    }

    /// The place of the key at the end of `path`, or of the nearest part that contains it.
    pub(super) fn key(&self, path: &str) -> Place {
        self.find(path, |node| node.key)
    }

    fn find(&self, path: &str, side: fn(&Node) -> Position) -> Place {
        let (mut position, mut argument) = (None, None);
        let mut node = self.root.as_ref();
        let mut rest = path;
        loop {
            let end = path.len() - rest.len();
            match (path.get(..end).and_then(|prefix| self.arguments.get(prefix)), node) {
                (Some(found), _) => argument = Some(found),
                (None, Some(node)) => (position, argument) = (Some((node.file, side(node))), None),
                (None, None) => {}
            }
            if rest.is_empty() {
                break;
            }
            let (first, others) = split(rest);
            (node, rest) = (node.and_then(|node| node.child(first)), others);
        }
        match (argument, position) {
            (Some(argument), _) => Place::Argument(argument.clone()),
            (None, Some((file, at))) => self.at(file, at),
            (None, None) => Place::File(self.name(0).to_owned()),
        }
    }

    fn at(&self, file: usize, (line, column): Position) -> Place {
        Place::At(self.name(file).to_owned(), line, column)
    }

    fn name(&self, file: usize) -> &str {
        self.names.get(file).map_or("", String::as_str)
    }
}

impl Node {
    fn child(&self, segment: &str) -> Option<&Self> {
        if self.is_alias {
            return None;
        }
        match &self.part.content {
            Content::Scalar(_) => None,
            Content::List(nodes) => {
                let index = segment.strip_prefix('[')?.strip_suffix(']')?;
                nodes.get(index.parse::<usize>().ok()?)
            }
            Content::Mapping(entries) => entries.get(segment).map(|entry| &entry.node),
        }
    }
}

impl Part {
    /// Returns a copy of the value with its aliases expanded.
    fn to_value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(nodes) => nodes.iter().map(|node| node.part.to_value()).collect(),
            Content::Mapping(entries) => {
                let copy = |entry: &Entry| (entry.key.clone(), entry.node.part.to_value());
                Value::Object(entries.values().map(copy).collect())
            }
        }
    }
}

/// Shows no value: it may be a secret.
impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").finish_non_exhaustive()
    }
}

/// Returns the error for a configuration of more than [`MAX_BYTES`].
pub(super) fn too_large(name: &str) -> Problem {
    let message = format!("is larger than {} KiB", MAX_BYTES / 1024);
    Problem::new(Place::File(name.to_owned()), message)
}

/// The path of `key` below `path`.
pub(super) fn below(path: &str, key: &str) -> String {
    let plain = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    match (plain && !key.is_empty(), path.is_empty()) {
        (true, true) => key.to_owned(),
        (true, false) => format!("{path}.{key}"),
        (false, _) => format!("{path}[{key:?}]"),
    }
}

/// The path of the item `at` below `path`.
pub(super) fn item(path: &str, at: usize) -> String {
    format!("{path}[{at}]")
}

/// Splits the first segment off a path. `below` and `item` write segments below an empty path.
fn split(path: &str) -> (&str, &str) {
    let start = usize::from(path.starts_with('.'));
    let segment = path.get(start..).unwrap_or_default();
    let length = if segment.starts_with("[\"") {
        quoted(segment)
    } else if segment.starts_with('[') {
        segment.find(']').map(|end| end + 1)
    } else {
        segment.find(['.', '['])
    };
    segment.split_at_checked(length.unwrap_or(segment.len())).unwrap_or((segment, ""))
}

/// The length of `["…"]` at the start of a path.
fn quoted(path: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (at, byte) in path.bytes().enumerate().skip(2) {
        match byte {
            b'"' if !is_escaped => return Some(at + 2),
            _ => is_escaped = byte == b'\\' && !is_escaped,
        }
    }
    None
}

/// A thousand upstreams of ten endpoints take a quarter of it.
pub(super) const MAX_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests;

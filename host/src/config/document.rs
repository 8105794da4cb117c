//! The text of a configuration: YAML to a JSON value, and where each of its parts is written.
//!
//! `serde_yaml` reads the values but forgets their places, so `saphyr-parser` reads the same text for its events' marks. That
//! pass also refuses what a configuration has no use for, before anything is built from it: duplicate keys, several
//! documents, aliases that multiply.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScanError};
use serde_json::Value;

use super::error::{Place, Problem};

/// Where every key and value of a configuration is written.
///
/// Places are known by paths such as `upstreams[0].endpoints[1].address`, which errors show as well.
#[derive(Debug)]
pub(super) struct Document {
    name: String,
    marks: BTreeMap<String, Mark>,
    arguments: BTreeMap<String, String>,
}

/// Where the parts of a configuration are written, for who finds something wrong later.
#[derive(Debug, Clone, Default)]
pub struct Places(Option<Arc<Document>>);

impl Places {
    pub(super) fn new(document: Document) -> Self {
        Self(Some(Arc::new(document)))
    }

    /// Something wrong with the value at `path`, such as `plugins[0].config.rate`.
    pub fn problem(&self, path: &str, message: impl Into<String>) -> Problem {
        let place = match &self.0 {
            Some(document) => document.value(path),
            None => Place::File(path.to_owned()),
        };
        Problem::new(place, message)
    }

    /// Whether the value at `path` was written by the user, rather than made up for what was.
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

#[derive(Debug, Clone, Copy)]
struct Mark {
    key: Position,
    value: Position,
}

type Position = (usize, usize);

impl Document {
    /// A configuration that no file holds; `name` stands for the whole.
    pub(super) fn argument(name: &str) -> Self {
        let arguments = BTreeMap::from([(String::new(), name.to_owned())]);
        Self { name: name.to_owned(), marks: BTreeMap::new(), arguments }
    }

    /// What is at `path` came from the command line.
    pub(super) fn set_argument(&mut self, path: String, argument: String) {
        self.arguments.insert(path, argument);
    }

    fn has(&self, path: &str) -> bool {
        let of_plugin = below(path, "source");
        self.marks.contains_key(path)
            || [path, &of_plugin].iter().any(|path| self.arguments.contains_key(*path))
    }

    /// Where the value at `path` is written, or else the nearest thing that contains it.
    pub(super) fn value(&self, path: &str) -> Place {
        self.find(path, |mark| mark.value)
    }

    /// Where the key that `path` ends with is written.
    pub(super) fn key(&self, path: &str) -> Place {
        self.find(path, |mark| mark.key)
    }

    fn find(&self, path: &str, part: fn(&Mark) -> Position) -> Place {
        let mut path = path;
        loop {
            if let Some(argument) = self.arguments.get(path) {
                return Place::Argument(argument.clone());
            }
            if let Some(mark) = self.marks.get(path) {
                let (line, column) = part(mark);
                return Place::At(self.name.clone(), line, column);
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = path.get(..end).unwrap_or_default(),
                None if path.is_empty() => return Place::File(self.name.clone()),
                None => path = "",
            }
        }
    }
}

/// Tells that a configuration has more than [`MAX_BYTES`].
pub(super) fn too_large(name: &str) -> Problem {
    let message = format!("is larger than {} KiB", MAX_BYTES / 1024);
    Problem::new(Place::File(name.to_owned()), message)
}

/// Reads `text`, which `name` stands for in errors.
pub(super) fn read(name: &str, text: &str) -> Result<(Document, Value), Vec<Problem>> {
    if text.len() > MAX_BYTES {
        return Err(vec![too_large(name)]);
    }
    let mut reader = Reader {
        name,
        marks: BTreeMap::new(),
        anchors: HashMap::new(),
        frames: Vec::new(),
        problems: Vec::new(),
        documents: 0,
    };
    reader.run(text).map_err(|problem| vec![problem])?;
    let Reader { marks, mut problems, documents, .. } = reader;
    let document = Document { name: name.to_owned(), marks, arguments: BTreeMap::new() };
    if documents == 0 {
        return Err(vec![Problem::new(Place::File(name.to_owned()), "is empty")]);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let value = serde_yaml::from_str(text).map_err(|error| {
        let place = match error.location() {
            Some(at) => Place::At(name.to_owned(), at.line(), at.column()),
            None => Place::File(name.to_owned()),
        };
        vec![Problem::new(place, error.to_string())]
    })?;
    let value = to_json(&document, "", value, &mut problems);
    if problems.is_empty() { Ok((document, value)) } else { Err(problems) }
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

/// One pass over the events of the text.
struct Reader<'a> {
    name: &'a str,
    marks: BTreeMap<String, Mark>,
    /// Nodes in what an anchor stands for, aliases expanded.
    anchors: HashMap<usize, usize>,
    frames: Vec<Frame>,
    problems: Vec<Problem>,
    documents: usize,
}

/// A list or mapping that is being read.
struct Frame {
    path: String,
    anchor: usize,
    nodes: usize,
    inside: Inside,
}

enum Inside {
    List { next: usize },
    Mapping { key: Option<(String, Position)> },
}

impl Reader<'_> {
    fn run(&mut self, text: &str) -> Result<(), Problem> {
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| self.syntax(&error))?;
            let at = position(span.start);
            match event {
                Event::DocumentStart(_) => {
                    self.documents += 1;
                    if self.documents > 1 {
                        return Err(self
                            .problem(at, "a configuration is one document; a second begins here"));
                    }
                }
                Event::Scalar(text, _, anchor, _) => self.scalar(&text, anchor, at)?,
                Event::Alias(anchor) => self.alias(anchor, at)?,
                Event::SequenceStart(anchor, _) => {
                    self.open(anchor, at, Inside::List { next: 0 })?;
                }
                Event::MappingStart(anchor, _) => {
                    self.open(anchor, at, Inside::Mapping { key: None })?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.close(at)?,
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            }
        }
        Ok(())
    }

    fn scalar(&mut self, text: &str, anchor: usize, at: Position) -> Result<(), Problem> {
        if let Some(Frame { path, inside: Inside::Mapping { key: key @ None }, .. }) =
            self.frames.last_mut()
        {
            let mut path = below(path, text);
            let first = self.marks.get(&path).map(|mark| mark.key.0);
            // What is in the second one must not look like duplicates as well.
            while self.marks.contains_key(&path) {
                path.push('\'');
            }
            *key = Some((path, at));
            if let Some(line) = first {
                let message = format!("duplicate key \"{text}\"; the first is on line {line}");
                let problem = self.problem(at, message);
                self.problems.push(problem);
            }
            return self.count(1, at);
        }
        self.place(at)?;
        if anchor != 0 {
            self.anchors.insert(anchor, 1);
        }
        self.count(1, at)
    }

    /// The parts of an alias have no marks of their own: an error in one of them is placed at the alias.
    fn alias(&mut self, anchor: usize, at: Position) -> Result<(), Problem> {
        self.place(at)?;
        let Some(nodes) = self.anchors.get(&anchor).copied() else {
            return Err(self.problem(at, "the alias refers to a part that contains it"));
        };
        self.count(nodes, at)
    }

    fn open(&mut self, anchor: usize, at: Position, inside: Inside) -> Result<(), Problem> {
        let path = self.place(at)?;
        if self.frames.len() >= MAX_DEPTH {
            return Err(self.problem(at, format!("is nested more than {MAX_DEPTH} deep")));
        }
        self.frames.push(Frame { path, anchor, nodes: 1, inside });
        Ok(())
    }

    fn close(&mut self, at: Position) -> Result<(), Problem> {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        if frame.anchor != 0 {
            self.anchors.insert(frame.anchor, frame.nodes);
        }
        self.count(frame.nodes, at)
    }

    /// Notes where the value that begins here is, and answers its path.
    fn place(&mut self, at: Position) -> Result<String, Problem> {
        let (path, key) = match self.frames.last_mut() {
            None => (String::new(), at),
            Some(Frame { path, inside: Inside::List { next }, .. }) => {
                *next += 1;
                (item(path, *next - 1), at)
            }
            Some(Frame { inside: Inside::Mapping { key }, .. }) => match key.take() {
                Some(found) => found,
                None => return Err(self.problem(at, "a key must be text")),
            },
        };
        self.marks.entry(path.clone()).or_insert(Mark { key, value: at });
        Ok(path)
    }

    /// Adds to what the whole will be once its aliases are expanded.
    fn count(&mut self, nodes: usize, at: Position) -> Result<(), Problem> {
        let Some(frame) = self.frames.last_mut() else { return Ok(()) };
        frame.nodes = frame.nodes.saturating_add(nodes);
        if frame.nodes > MAX_NODES {
            return Err(
                self.problem(at, format!("has more than {MAX_NODES} values, aliases expanded"))
            );
        }
        Ok(())
    }

    fn syntax(&self, error: &ScanError) -> Problem {
        self.problem(position(*error.marker()), format!("not YAML: {}", error.info()))
    }

    fn problem(&self, (line, column): Position, message: impl Into<String>) -> Problem {
        Problem::new(Place::At(self.name.to_owned(), line, column), message)
    }
}

fn position(mark: Marker) -> Position {
    (mark.line(), mark.col() + 1)
}

/// Every part of YAML that JSON has; a key that is not text, a tag or an infinite number is a problem.
fn to_json(
    document: &Document,
    path: &str,
    value: serde_yaml::Value,
    problems: &mut Vec<Problem>,
) -> Value {
    let mut refuse = |message: &str| {
        problems.push(Problem::new(document.value(path), message));
        Value::Null
    };
    match value {
        serde_yaml::Value::Null => Value::Null,
        serde_yaml::Value::Bool(value) => value.into(),
        serde_yaml::Value::String(value) => value.into(),
        serde_yaml::Value::Number(number) => {
            match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(value), _, _) => value.into(),
                (_, Some(value), _) => value.into(),
                (_, _, Some(value)) if value.is_finite() => value.into(),
                _ => refuse("a number must be finite"),
            }
        }
        serde_yaml::Value::Tagged(tagged) => {
            refuse(&format!("the tag \"{}\" has no meaning here", tagged.tag))
        }
        serde_yaml::Value::Sequence(items) => {
            let items = items.into_iter().enumerate();
            items.map(|(at, value)| to_json(document, &item(path, at), value, problems)).collect()
        }
        serde_yaml::Value::Mapping(entries) => {
            let mut object = serde_json::Map::new();
            for (key, value) in entries {
                if let serde_yaml::Value::String(key) = key {
                    let value = to_json(document, &below(path, &key), value, problems);
                    object.insert(key, value);
                } else {
                    let text = serde_yaml::to_string(&key).unwrap_or_default();
                    let text = text.trim();
                    let place = document.key(&below(path, text));
                    problems.push(Problem::new(
                        place,
                        format!("a key must be text; write \"{text}\" in quotes"),
                    ));
                }
            }
            Value::Object(object)
        }
    }
}

/// A thousand upstreams of ten endpoints take a quarter of it.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// The deepest key of a configuration is at 6; a plugin's own may be deeper.
const MAX_DEPTH: usize = 64;

/// More than a file of [`MAX_BYTES`] needs, and few enough to be held several times over.
const MAX_NODES: usize = 200_000;

//! One pass over the events of YAML, which builds the tree of a configuration.
//!
//! The pass refuses duplicate keys, keys that are not text, several documents, tags, and aliases
//! that multiply. It measures each part before an alias may copy it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};
use serde_json::Value;

use super::{Content, Document, Entry, MAX_BYTES, Node, Part, Position, Size};
use super::{below, scalar, too_large};
use crate::config::error::{Place, Problem};

/// Reads `text`, which `name` stands for in errors.
///
/// # Errors
/// The text is not YAML, or a configuration must not contain a part of it. An error of syntax or
/// of size hides the others.
pub(in crate::config) fn read(name: &str, text: &str) -> Result<(Document, Value), Vec<Problem>> {
    let root = tree(name, text, 0)?;
    let value = root.part.to_value();
    let names = vec![name.to_owned()];
    Ok((Document { names, root: Some(root), arguments: BTreeMap::new() }, value))
}

/// Reads `text` as the file at the position `file`.
pub(super) fn tree(name: &str, text: &str, file: usize) -> Result<Node, Vec<Problem>> {
    if text.len() > MAX_BYTES {
        return Err(vec![too_large(name)]);
    }
    let mut reader = Reader {
        name,
        file,
        root: None,
        anchors: HashMap::new(),
        frames: Vec::new(),
        problems: Vec::new(),
    };
    reader.run(text).map_err(|problem| vec![problem])?;
    let Reader { root, problems, .. } = reader;
    let Some(root) = root else {
        return Err(vec![Problem::new(Place::File(name.to_owned()), "is empty")]);
    };
    if problems.is_empty() { Ok(root) } else { Err(problems) }
}

struct Reader<'a> {
    name: &'a str,
    file: usize,
    root: Option<Node>,
    /// The parts with an anchor that have ended.
    anchors: HashMap<usize, Arc<Part>>,
    frames: Vec<Frame>,
    problems: Vec<Problem>,
}

/// A list or mapping that has not ended.
struct Frame {
    at: Position,
    anchor: usize,
    size: Size,
    inside: Inside,
}

enum Inside {
    List(Vec<Node>),
    Mapping { key: Option<Key>, entries: BTreeMap<String, Entry> },
}

/// A key; its value has not ended.
struct Key {
    text: String,
    at: Position,
}

impl Reader<'_> {
    fn run(&mut self, text: &str) -> Result<(), Problem> {
        self.check_characters(text)?;
        let end = text.chars().count();
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| self.syntax(&error))?;
            let at = position(span.start);
            match event {
                Event::DocumentStart(_) if self.root.is_some() => {
                    return Err(
                        self.problem(at, "a configuration is one document; a second begins here")
                    );
                }
                Event::Scalar(value, style, anchor, tag) => {
                    let is_last = is_block(style) && span.end.index() >= end;
                    let is_longer = is_last && has_added_break(text, &value);
                    let value = value.strip_suffix('\n').filter(|_| is_longer).unwrap_or(&value);
                    self.scalar(value, style, anchor, tag.as_deref(), at)?;
                }
                Event::Alias(anchor) => self.alias(anchor, at)?,
                Event::SequenceStart(anchor, tag) => {
                    self.open(Inside::List(Vec::new()), anchor, tag.as_deref(), at)?;
                }
                Event::MappingStart(anchor, tag) => {
                    let inside = Inside::Mapping { key: None, entries: BTreeMap::new() };
                    self.open(inside, anchor, tag.as_deref(), at)?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.close(at)?,
                Event::DocumentStart(_)
                | Event::Nothing
                | Event::StreamStart
                | Event::StreamEnd
                | Event::DocumentEnd => {}
            }
        }
        Ok(())
    }

    /// Refuses characters that are not printable, and those that only YAML 1.1 takes for the end of
    /// a line. The parser would take U+0000 for the end of the text.
    fn check_characters(&self, text: &str) -> Result<(), Problem> {
        let Some((at, character)) = text.char_indices().find(|(_, c)| is_refused(*c)) else {
            return Ok(());
        };
        let before = text.get(..at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let code = format!("{:04X}", u32::from(character));
        let message =
            format!("the character U+{code} is not allowed; write \"\\u{code}\" in double quotes");
        Err(self.problem((line, column), message))
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        at: Position,
    ) -> Result<(), Problem> {
        self.check_prefix(tag, at)?;
        let value = scalar::value(text, style, tag);
        let is_key = self.expects_key();
        let fault = match &value {
            value if is_key => self.key_fault(text, value, tag),
            Ok(_) => None,
            Err(message) => Some(message.clone()),
        };
        self.problems.extend(fault.map(|message| self.problem(at, message)));
        let size = Size { nodes: 1, bytes: text.len(), depth: 0 };
        let content = Content::Scalar(value.unwrap_or_default());
        let part = self.share(Part { size, content }, anchor);
        if is_key {
            self.set_key(text, size, at);
        } else {
            self.add(part, at, false);
        }
        self.check_size(at)
    }

    /// Whether the next event is the key of a mapping.
    fn expects_key(&self) -> bool {
        let frame = self.frames.last().map(|frame| &frame.inside);
        matches!(frame, Some(Inside::Mapping { key: None, .. }))
    }

    fn key_fault(
        &self,
        text: &str,
        value: &Result<Value, String>,
        tag: Option<&Tag>,
    ) -> Option<String> {
        if let Some(Frame { inside: Inside::Mapping { entries, .. }, .. }) = self.frames.last()
            && let Some(first) = entries.get(&below("", text))
        {
            let line = first.node.key.0;
            return Some(format!("duplicate key \"{text}\"; the first is on line {line}"));
        }
        match value {
            Ok(Value::String(_)) => None,
            Err(message) if tag.is_some() => Some(message.clone()),
            _ => Some(format!("a key must be text; write \"{text}\" in quotes")),
        }
    }

    /// Adds the part of an anchor at one more place. Its size is checked before anything is copied.
    fn alias(&mut self, anchor: usize, at: Position) -> Result<(), Problem> {
        self.check_key(at)?;
        let Some(part) = self.anchors.get(&anchor).cloned() else {
            return Err(self.problem(at, "the alias refers to a part that contains it"));
        };
        if self.frames.len() + part.size.depth > MAX_DEPTH {
            let message = format!("is nested more than {MAX_DEPTH} deep, aliases expanded");
            return Err(self.problem(at, message));
        }
        self.add(part, at, true);
        self.check_size(at)
    }

    fn open(
        &mut self,
        inside: Inside,
        anchor: usize,
        tag: Option<&Tag>,
        at: Position,
    ) -> Result<(), Problem> {
        self.check_key(at)?;
        self.check_prefix(tag, at)?;
        if self.frames.len() >= MAX_DEPTH {
            return Err(self.problem(at, format!("is nested more than {MAX_DEPTH} deep")));
        }
        let fault = tag.and_then(|tag| scalar::check(&scalar::name(tag)).err());
        self.problems.extend(fault.map(|message| self.problem(at, message)));
        let size = Size { nodes: 1, bytes: 0, depth: 1 };
        self.frames.push(Frame { at, anchor, size, inside });
        Ok(())
    }

    fn close(&mut self, at: Position) -> Result<(), Problem> {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        let content = match frame.inside {
            Inside::List(nodes) => Content::List(nodes),
            Inside::Mapping { entries, .. } => Content::Mapping(entries),
        };
        let part = self.share(Part { size: frame.size, content }, frame.anchor);
        self.add(part, frame.at, false);
        self.check_size(at)
    }

    /// Shares a part with the aliases of its anchor; 0 is no anchor.
    fn share(&mut self, part: Part, anchor: usize) -> Arc<Part> {
        let part = Arc::new(part);
        if anchor != 0 {
            self.anchors.insert(anchor, part.clone());
        }
        part
    }

    fn set_key(&mut self, text: &str, size: Size, at: Position) {
        if let Some(Frame { size: whole, inside: Inside::Mapping { key, .. }, .. }) =
            self.frames.last_mut()
        {
            whole.add(size);
            *key = Some(Key { text: text.to_owned(), at });
        }
    }

    /// Adds a part to the list or mapping around it, or makes it the whole document.
    fn add(&mut self, part: Arc<Part>, at: Position, is_alias: bool) {
        let size = part.size;
        let file = self.file;
        let node = |key| Node { file, key, value: at, is_alias, part };
        let Some(frame) = self.frames.last_mut() else {
            self.root = Some(node(at));
            return;
        };
        frame.size.add(size);
        match &mut frame.inside {
            Inside::List(nodes) => nodes.push(node(at)),
            Inside::Mapping { key, entries } => {
                if let Some(Key { text, at }) = key.take() {
                    // The first of two equal keys stays.
                    let entry = entries.entry(below("", &text));
                    entry.or_insert_with(|| Entry { key: text, node: node(at) });
                }
            }
        }
    }

    /// Refuses a list, a mapping or an alias in place of a key.
    fn check_key(&self, at: Position) -> Result<(), Problem> {
        if self.expects_key() { Err(self.problem(at, "a key must be text")) } else { Ok(()) }
    }

    /// Refuses a tag with a long prefix. The parser copies the prefix for each tag, so reading ends
    /// at the first.
    fn check_prefix(&self, tag: Option<&Tag>, at: Position) -> Result<(), Problem> {
        if tag.is_some_and(|tag| tag.handle.len() > MAX_PREFIX) {
            let message = format!("the %TAG prefix of this tag has more than {MAX_PREFIX} bytes");
            return Err(self.problem(at, message));
        }
        Ok(())
    }

    fn check_size(&self, at: Position) -> Result<(), Problem> {
        let fault = self.frames.last().and_then(|frame| frame.size.fault());
        fault.map_or(Ok(()), |message| Err(self.problem(at, message)))
    }

    fn syntax(&self, error: &ScanError) -> Problem {
        self.problem(position(*error.marker()), format!("not YAML: {}", error.info()))
    }

    fn problem(&self, (line, column): Position, message: impl Into<String>) -> Problem {
        Problem::new(Place::At(self.name.to_owned(), line, column), message)
    }
}

impl Size {
    /// Adds a part inside. Each addition is checked, so the sums stay small.
    pub(super) fn add(&mut self, inner: Self) {
        self.nodes += inner.nodes;
        self.bytes += inner.bytes;
        self.depth = self.depth.max(inner.depth + 1);
    }

    /// Returns the bound that the size exceeds.
    pub(super) fn fault(&self) -> Option<String> {
        if self.nodes > MAX_NODES {
            return Some(format!("has more than {MAX_NODES} values, aliases expanded"));
        }
        let mebibytes = MAX_TEXT >> 20;
        (self.bytes > MAX_TEXT)
            .then(|| format!("has more than {mebibytes} MiB of text, aliases expanded"))
    }
}

fn is_block(style: ScalarStyle) -> bool {
    matches!(style, ScalarStyle::Literal | ScalarStyle::Folded)
}

fn is_refused(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' => false,
        '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}' => true,
        other => other.is_control(),
    }
}

/// Whether the parser added a line break to a block scalar at the end of `text`. It adds one to a
/// last line without one, unless the line is blank and has less indentation than the scalar.
fn has_added_break(text: &str, scalar: &str) -> bool {
    let (_, last) = text.rsplit_once(['\n', '\r']).unwrap_or(("", text));
    let is_blank = last.trim_matches(' ').is_empty();
    if !is_blank || last.is_empty() {
        return !is_blank;
    }
    // No mark has the indentation of a scalar behind an anchor. If the line counts, the scalar is
    // another one without it.
    let blocks = Parser::new_from_str(text.trim_end_matches(' ')).filter_map(|event| match event {
        Ok((Event::Scalar(text, style, ..), _)) if is_block(style) => Some(text),
        _ => None,
    });
    blocks.last().as_deref() != Some(scalar)
}

fn position(mark: Marker) -> Position {
    (mark.line(), mark.col() + 1)
}

/// The deepest key of a configuration is at 6; a plugin's own may be deeper. Copying, dropping and
/// checking a value recurse this deep.
const MAX_DEPTH: usize = 64;

/// More than a file of [`MAX_BYTES`] needs, and few enough to be held several times over.
const MAX_NODES: usize = 200_000;

/// Bytes of the prefix of a tag. YAML's own has 18.
const MAX_PREFIX: usize = 64;

/// Sixteen times [`MAX_BYTES`]: an alias copies its text, so a file may hold more than it has.
const MAX_TEXT: usize = 16 * MAX_BYTES;

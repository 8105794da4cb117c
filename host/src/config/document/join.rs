//! The lists of included files, appended to those of the main file.
//!
//! A part keeps its file, line and column when it moves into the joined tree. Each error therefore
//! names the file that has the fault.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::read::tree;
use super::{Content, Document, Entry, Node, Part, Size, below};
use crate::config::SCHEMA;
use crate::config::error::{Place, Problem, did_you_mean};
use crate::config::json_schema::properties;

/// The lists of included files by their keys, in the order of the files.
type Lists = BTreeMap<String, Vec<Node>>;

impl Document {
    /// Appends the lists of `files`, each a name and a text, and returns the joined value.
    ///
    /// # Errors
    /// A file is not YAML, or has a part that an included file must not have.
    pub(in crate::config) fn join(
        &mut self,
        files: Vec<(String, String)>,
    ) -> Result<Value, Vec<Problem>> {
        let mut lists = Lists::new();
        let mut problems = Vec::new();
        let mut size = self.root.as_ref().map_or(Size::EMPTY, |root| root.part.size);
        for (name, text) in files {
            let file = self.names.len();
            self.names.push(name);
            match tree(self.name(file), &text, file) {
                Ok(root) => {
                    size.add(root.part.size);
                    if let Some(fault) = size.fault() {
                        let place = Place::File(self.name(file).to_owned());
                        let message = format!("with this file the configuration {fault}");
                        return Err(vec![Problem::new(place, message)]);
                    }
                    problems.extend(self.take(&root, &mut lists));
                }
                Err(faults) => problems.extend(faults),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        self.append(lists, size);
        Ok(self.root.as_ref().map_or(Value::Null, |root| root.part.to_value()))
    }

    /// Moves the lists of an included file to `lists`, and returns the faults of its keys.
    fn take(&self, root: &Node, lists: &mut Lists) -> Vec<Problem> {
        let Content::Mapping(entries) = &root.part.content else {
            return vec![Problem::new(self.at(root.file, root.value), "expected a mapping")];
        };
        let mut problems = Vec::new();
        for Entry { key, node } in entries.values() {
            let is_known = LISTS.contains(&key.as_str());
            match &node.part.content {
                _ if !is_known => {
                    let place = self.at(node.file, node.key);
                    problems.push(Problem::new(place, self.foreign(key)));
                }
                Content::List(_) => lists.entry(key.clone()).or_default().push(node.clone()),
                content => {
                    let message = match content {
                        Content::Scalar(Value::Null) => {
                            "has no value; give it one or leave the key out"
                        }
                        _ => "expected a list",
                    };
                    let place = self.at(node.file, node.value);
                    problems.push(Problem::new(place, format!("{key}: {message}")));
                }
            }
        }
        problems
    }

    /// Describes the fault of a key that an included file must not have.
    fn foreign(&self, key: &str) -> String {
        let main = self.name(0);
        if key == INCLUDE {
            return format!("an included file cannot include others; list them in {main}");
        }
        if properties(&SCHEMA).any(|(known, _)| known == key) {
            return format!("\"{key}\" belongs in {main}; an included file has only lists");
        }
        format!("unknown key \"{key}\" in an included file{}", did_you_mean(key, &LISTS))
    }

    /// Appends lists to those of the main file; `size` is that of the whole.
    fn append(&mut self, lists: Lists, size: Size) {
        let Some(root) = &mut self.root else { return };
        let Content::Mapping(entries) = &root.part.content else { return };
        let mut entries = entries.clone();
        for (key, lists) in lists {
            let path = below("", &key);
            let own = entries.remove(&path).map(|entry| entry.node);
            // A value of another type is reported by `shape`.
            let node = match own {
                Some(own) if !matches!(own.part.content, Content::List(_)) => own,
                own => match joined(&own.into_iter().chain(lists).collect::<Vec<_>>()) {
                    Some(node) => node,
                    None => continue,
                },
            };
            entries.insert(path, Entry { key, node });
        }
        root.part = Arc::new(Part { size, content: Content::Mapping(entries) });
    }
}

impl Size {
    const EMPTY: Self = Self { nodes: 0, bytes: 0, depth: 0 };
}

/// Makes one list of several. It stands at the place of the first.
fn joined(lists: &[Node]) -> Option<Node> {
    let first = lists.first()?;
    let (file, key, value) = (first.file, first.key, first.value);
    let mut size = Size::EMPTY;
    for list in lists {
        size.add(list.part.size);
    }
    let items = lists.iter().flat_map(items).collect();
    let part = Arc::new(Part { size, content: Content::List(items) });
    Some(Node { file, key, value, is_alias: false, part })
}

/// Returns the items of a list. Those of an alias have the place of the alias.
fn items(list: &Node) -> Vec<Node> {
    let Content::List(items) = &list.part.content else { return Vec::new() };
    if !list.is_alias {
        return items.clone();
    }
    let at = |item: &Node| Node { part: Arc::clone(&item.part), key: list.value, ..list.clone() };
    items.iter().map(at).collect()
}

/// The keys of an included file. The others are settings of the whole, which one file decides.
const LISTS: [&str; 5] = ["listeners", "plugins", "registries", "upstreams", "routes"];

/// The key that includes files.
pub(in crate::config) const INCLUDE: &str = "include";

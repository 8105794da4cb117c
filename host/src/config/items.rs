//! Items of the lists of a configuration: the key that tells one item from the others.

use std::collections::HashMap;
use std::fmt;

use serde_json::Value;

/// The identity of an item: the text of its key, and how many items before it have the same. Two
/// listeners may have port 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Label<'a> {
    text: &'a str,
    earlier: usize,
}

/// Shows the text, and the number of a repetition.
impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)?;
        if self.earlier > 0 {
            write!(f, " #{}", self.earlier + 1)?;
        }
        Ok(())
    }
}

/// Returns the label of each item. An item without a key has none.
pub(super) fn labels(items: &[Value]) -> Vec<Option<Label<'_>>> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let label = |item| {
        let text = text(item)?;
        let count = seen.entry(text).or_default();
        let earlier = *count;
        *count += 1;
        Some(Label { text, earlier })
    };
    items.iter().map(label).collect()
}

/// Returns the positions of labels.
pub(super) fn positions<'a>(labels: &[Option<Label<'a>>]) -> HashMap<Label<'a>, usize> {
    let labels = labels.iter().enumerate();
    labels.filter_map(|(at, label)| Some(((*label)?, at))).collect()
}

fn text(item: &Value) -> Option<&str> {
    KEYS.iter().find_map(|key| item.get(key)?.as_str())
}

/// Plugins, upstreams and routes have a name, listeners and endpoints an address, registries a
/// host. Keys of plugins have an id.
const KEYS: [&str; 4] = ["name", "address", "host", "id"];

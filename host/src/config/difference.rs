//! The differences between two configurations, and those that need a restart.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::Config;
use super::document::{below, item};
use super::items::{Label, labels, positions};
use super::masked::{Secrets, masked};

/// One difference between two configurations.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// The path of the value, such as `upstreams[app].timeouts.connect`.
    pub path: String,
    /// The value before. Absent if it was added. Secrets are masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// The value after. Absent if it was removed. Secrets are masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// Returns the differences between two configurations as they are written. It masks nothing.
///
/// Items of a list are compared by `name`, `address` or `host`. An item without any of them is
/// compared by its position, after equal items at the beginning and at the end. A new order of
/// items is a change of the list. A list of scalars is one value.
pub fn difference(before: &Value, after: &Value) -> Vec<Change> {
    compare(Side { real: before, shown: before }, Side { real: after, shown: after })
}

/// Does the same as [`difference`], and masks the secrets. A secret that has changed is a change
/// from the mask to the mask.
pub fn masked_difference(before: &Value, after: &Value, secrets: &Secrets<'_>) -> Vec<Change> {
    let (shown_before, shown_after) = (masked(before, secrets), masked(after, secrets));
    compare(Side { real: before, shown: &shown_before }, Side { real: after, shown: &shown_after })
}

/// Returns the paths that have changed and take effect only after a restart.
pub fn needs_restart(before: &Config, after: &Config) -> Vec<String> {
    let changed = NEEDS_RESTART.iter().filter(|(_, value)| value(before) != value(after));
    changed.map(|(path, _)| (*path).to_owned()).collect()
}

/// A path, and its value in a configuration for comparison.
type Setting = (&'static str, fn(&Config) -> String);

/// The settings that are read at the start only.
const NEEDS_RESTART: [Setting; 7] = [
    ("workers", |config| config.workers.to_string()),
    ("admin.address", |config| format!("{:?}", config.admin.as_ref().map(|admin| &admin.address))),
    ("telemetry.metrics", |config| format!("{:?}", config.telemetry.metrics)),
    ("telemetry.log.file", |config| format!("{:?}", config.telemetry.log.file)),
    ("telemetry.log.access_file", |config| format!("{:?}", config.telemetry.log.access_file)),
    ("state.memory", |config| config.state.memory.to_string()),
    ("telemetry.tracing", |config| format!("{:?}", config.telemetry.tracing)),
];

/// A value of one configuration: the one to compare, and the same one without secrets.
#[derive(Clone, Copy)]
struct Side<'a> {
    real: &'a Value,
    shown: &'a Value,
}

impl<'a> Side<'a> {
    fn key(self, key: &str) -> Option<Self> {
        let real = self.real.get(key)?;
        // A mask hides everything below it.
        Some(Self { real, shown: self.shown.get(key).unwrap_or(self.shown) })
    }

    fn item(self, at: usize) -> Option<Self> {
        let real = self.real.get(at)?;
        Some(Self { real, shown: self.shown.get(at).unwrap_or(self.shown) })
    }

    /// Whether the value is shown with the parts inside it.
    fn is_open(self) -> bool {
        std::mem::discriminant(self.real) == std::mem::discriminant(self.shown)
    }

    /// Returns the items, if all are mappings.
    fn items(self) -> Option<&'a [Value]> {
        let items = self.real.as_array()?;
        items.iter().all(Value::is_object).then_some(items)
    }
}

fn compare(before: Side<'_>, after: Side<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    walk("", Some(before), Some(after), &mut changes);
    changes
}

fn walk(path: &str, before: Option<Side<'_>>, after: Option<Side<'_>>, to: &mut Vec<Change>) {
    if let (Some(before), Some(after)) = (before, after) {
        if before.real == after.real {
            return;
        }
        if before.is_open() && after.is_open() {
            if let (Value::Object(old), Value::Object(new)) = (before.real, after.real) {
                let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
                for key in keys {
                    walk(&below(path, key), before.key(key), after.key(key), to);
                }
                return;
            }
            if let (Some(old), Some(new)) = (before.items(), after.items()) {
                return lists(path, (before, old), (after, new), to);
            }
        }
    }
    let shown = |side: Option<Side<'_>>| side.map(|side| side.shown.clone());
    to.push(Change { path: path.to_owned(), before: shown(before), after: shown(after) });
}

fn lists(
    path: &str,
    (before, old): (Side<'_>, &[Value]),
    (after, new): (Side<'_>, &[Value]),
    to: &mut Vec<Change>,
) {
    let pairs = pairs(old, new);
    let (old, new) = (labels(old), labels(new));
    for (left, right) in &pairs {
        let name = match (left, right) {
            (_, Some(at)) => place(path, &new, *at),
            (Some(at), None) => place(path, &old, *at),
            (None, None) => continue,
        };
        let left = left.and_then(|at| before.item(at));
        walk(&name, left, right.and_then(|at| after.item(at)), to);
    }
    // The pairs are in the order of the old list.
    let both = pairs.iter().filter_map(|(left, right)| left.zip(*right));
    let mut kept: Vec<(usize, usize)> = both.collect();
    if !kept.is_sorted_by_key(|(_, right)| *right) {
        let before = kept.iter().map(|(left, _)| place("", &old, *left)).collect();
        kept.sort_unstable_by_key(|(_, right)| *right);
        let after = kept.iter().map(|(_, right)| place("", &new, *right)).collect();
        to.push(Change { path: path.to_owned(), before: Some(before), after: Some(after) });
    }
}

/// The path of an item: by its label, or by its position.
fn place(path: &str, labels: &[Option<Label<'_>>], at: usize) -> String {
    match labels.get(at) {
        Some(Some(label)) => format!("{path}[{label}]"),
        _ => item(path, at),
    }
}

/// Positions of an item before and after.
type Pair = (Option<usize>, Option<usize>);

/// Matches the items of two lists. The pairs are in the order of the old list, and the items that
/// are new follow.
fn pairs(old: &[Value], new: &[Value]) -> Vec<Pair> {
    let (left, right) = (labels(old), labels(new));
    let plain = |labels: &[Option<Label<'_>>]| -> Vec<usize> {
        labels.iter().enumerate().filter(|(_, l)| l.is_none()).map(|(at, _)| at).collect()
    };
    let mut pairs = by_position((old, &plain(&left)), (new, &plain(&right)));
    let (known, found) = (positions(&left), positions(&right));
    pairs.extend(known.iter().map(|(label, at)| (Some(*at), found.get(label).copied())));
    let added = found.iter().filter(|(label, _)| !known.contains_key(*label));
    pairs.extend(added.map(|(_, at)| (None, Some(*at))));
    pairs.sort_by_key(|(left, right)| (left.unwrap_or(usize::MAX), *right));
    pairs
}

/// Matches items without labels, given by their positions.
fn by_position((old, left): (&[Value], &[usize]), (new, right): (&[Value], &[usize])) -> Vec<Pair> {
    let is_equal = |pair: &(&usize, &usize)| old.get(*pair.0) == new.get(*pair.1);
    let start = left.iter().zip(right).take_while(is_equal).count();
    let shorter = left.len().min(right.len()) - start;
    let end = left.iter().rev().zip(right.iter().rev()).take(shorter).take_while(is_equal).count();
    let middle = |all: &[usize]| all.get(start..all.len() - end).unwrap_or_default().to_vec();
    let last = |all: &[usize]| all.get(all.len() - end..).unwrap_or_default().to_vec();
    let mut pairs: Vec<Pair> = Vec::new();
    let mut zip = |left: Vec<usize>, right: Vec<usize>| {
        let count = left.len().max(right.len());
        pairs.extend((0..count).map(|at| (left.get(at).copied(), right.get(at).copied())));
    };
    zip(left.iter().take(start).copied().collect(), right.iter().take(start).copied().collect());
    zip(middle(left), middle(right));
    zip(last(left), last(right));
    pairs
}

#[cfg(test)]
mod tests;

//! The shape of a configuration: whether each key, type and scalar is as the JSON Schema demands.
//!
//! `serde` stops at the first fault and forgets its place. This module walks the value and the
//! schema of the same types side by side and reports every fault. It removes the faulty parts, so
//! that `check` can look at the rest.

use std::collections::BTreeSet;
use std::ops::Bound;

use serde_json::{Map, Value};

use super::document::{Document, below, item};
use super::error::{Problem, did_you_mean, nearest};
use super::formats::{Format, format, range};
use super::json_schema::{self as schema, choices};

/// Faults of shape.
pub(super) struct Shape<'a> {
    document: &'a Document,
    problems: Vec<Problem>,
    /// The paths of the faults, sorted: those below a path stand together.
    paths: BTreeSet<String>,
}

impl<'a> Shape<'a> {
    /// Compares `value` with `schema`. Removes keys from `value` that are unknown or have a wrong
    /// value.
    pub(super) fn of(document: &'a Document, schema: &Value, value: &mut Value) -> Self {
        Self::of_part(document, "", schema, value)
    }

    /// Does the same as [`Self::of`] for the part of a document at `path`, with the schema of that
    /// part.
    pub(super) fn of_part(
        document: &'a Document,
        path: &str,
        schema: &Value,
        value: &mut Value,
    ) -> Self {
        let mut shape = Self { document, problems: Vec::new(), paths: BTreeSet::new() };
        shape.walk(path, schema, value);
        shape
    }

    /// Whether a fault that `check` finds at `path` may only follow from a known fault.
    pub(super) fn is_faulty_at(&self, path: &str) -> bool {
        if path.is_empty() {
            return !self.paths.is_empty();
        }
        let is_below = |separator: char| {
            let start = format!("{path}{separator}");
            let range = (Bound::Included(start.as_str()), Bound::Unbounded);
            let first = self.paths.range::<str, _>(range).next();
            first.is_some_and(|first| first.starts_with(&start))
        };
        self.paths.contains(path) || is_below('.') || is_below('[')
    }

    /// Whether there are faults.
    pub(super) fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// Returns the faults.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// Returns whether `value` can be used.
    fn walk(&mut self, path: &str, schema: &Value, value: &mut Value) -> bool {
        let Some(own) = schema.as_object().filter(|schema| !schema.is_empty()) else {
            return true;
        };
        if let Value::Array(items) = value
            && schema::allows(schema, "array")
        {
            return self.array(path, schema, items);
        }
        if let Some(format) = schema.get("format").and_then(Value::as_str).and_then(format) {
            return self.text(path, own, format, value);
        }
        if let Some(choices) = choices(schema) {
            return self.choice(path, &choices, value);
        }
        let Some(expected) = schema.get("type").and_then(Value::as_str) else { return true };
        match (expected, value) {
            ("object", Value::Object(object)) => self.object(path, schema, object),
            ("integer", Value::Number(number)) if !number.is_f64() => {
                self.integer(path, own, number)
            }
            ("string", Value::String(_))
            | ("boolean", Value::Bool(_))
            | ("number", Value::Number(_)) => true,
            (_, value) => self.mismatch(path, expected, value),
        }
    }

    fn object(&mut self, path: &str, schema: &Value, object: &mut Map<String, Value>) -> bool {
        let mut meant = Vec::new();
        object.retain(|key, value| {
            let place = below(path, key);
            if let Some(schema) = schema::of_key(schema, key) {
                return self.walk(&place, schema, value);
            }
            let keys: Vec<&str> = schema::properties(schema).map(|(key, _)| key.as_str()).collect();
            let hint = did_you_mean(key, &keys);
            let message = format!("unknown key \"{key}\"{}{hint}", inside(path));
            meant.extend(nearest(key, &keys));
            self.problems.push(Problem::new(self.document.key(&place), message));
            self.paths.insert(place);
            false
        });
        for key in schema::required(schema) {
            let place = below(path, key);
            // A required key that is misspelt or has a wrong value was reported already.
            if !object.contains_key(key) && !meant.contains(&key) && !self.is_faulty_at(&place) {
                self.problems.push(Problem::new(
                    self.document.value(path),
                    format!("missing key \"{key}\"{}", inside(path)),
                ));
                self.paths.insert(place);
            }
        }
        true
    }

    fn array(&mut self, path: &str, schema: &Value, items: &mut [Value]) -> bool {
        if items.is_empty() && schema.get("minItems").is_some_and(|least| *least != 0) {
            return self.refuse(path, "is an empty list; give it an item or leave the key out");
        }
        let Some(schema) = schema.get("items") else { return true };
        let mut usable = true;
        for (at, value) in items.iter_mut().enumerate() {
            usable &= self.walk(&item(path, at), schema, value);
        }
        usable
    }

    fn text(
        &mut self,
        path: &str,
        schema: &Map<String, Value>,
        format: &Format,
        value: &Value,
    ) -> bool {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return self.mismatch(path, "string", value),
        };
        let bound = |name| schema.get(name).and_then(Value::as_str);
        if let Err(message) = format.check(&text, bound("x-minimum"), bound("x-maximum")) {
            return self.refuse(path, &message);
        }
        if value.is_number() && !schema::allows_in(schema, "integer") {
            return self.mismatch(path, "string", value);
        }
        true
    }

    fn integer(
        &mut self,
        path: &str,
        schema: &Map<String, Value>,
        number: &serde_json::Number,
    ) -> bool {
        let bound = |name| schema.get(name).and_then(Value::as_i64);
        let (least, most) = (bound("minimum"), bound("maximum"));
        let value = number.as_i64().unwrap_or(i64::MAX);
        if least.is_some_and(|least| value < least) || most.is_some_and(|most| value > most) {
            let text = |bound: Option<i64>| bound.map(|bound| bound.to_string());
            let message = range(&number.to_string(), text(least).as_deref(), text(most).as_deref());
            return self.refuse(path, &message);
        }
        true
    }

    fn choice(&mut self, path: &str, choices: &[&str], value: &Value) -> bool {
        match value {
            Value::String(text) if choices.contains(&text.as_str()) => true,
            Value::String(text) => self
                .refuse(path, &format!("unknown value \"{text}\"{}", did_you_mean(text, choices))),
            other => {
                let message = format!("{} is none of {}", found(other), choices.join(", "));
                self.refuse(path, &message)
            }
        }
    }

    fn mismatch(&mut self, path: &str, expected: &str, value: &Value) -> bool {
        let wanted = match expected {
            "object" => "a mapping",
            "array" => "a list",
            "integer" => "a whole number",
            "boolean" => "true or false",
            "string" => "text",
            other => other,
        };
        let message = match value {
            Value::Null => "has no value; give it one or leave the key out".to_owned(),
            Value::Number(_) | Value::Bool(_) if expected == "string" => {
                format!("expected text; write \"{value}\" in quotes")
            }
            value => format!("expected {wanted}, found {}", found(value)),
        };
        self.refuse(path, &message)
    }

    fn refuse(&mut self, path: &str, message: &str) -> bool {
        let message =
            if path.is_empty() { message.to_owned() } else { format!("{path}: {message}") };
        self.problems.push(Problem::new(self.document.value(path), message));
        self.paths.insert(path.to_owned());
        false
    }
}

fn inside(path: &str) -> String {
    if path.is_empty() { " at the top level".to_owned() } else { format!(" in {path}") }
}

fn found(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::String(text) => format!("\"{text}\""),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::json;

    use super::*;
    use crate::config::document::read;

    fn schema() -> Value {
        let listener = json!({ "type": "object", "required": ["address"],
            "properties": { "address": { "type": "boolean" }, "a": { "enum": ["x"] } } });
        json!({ "type": "object", "required": ["routes"], "properties": {
            "listeners": { "type": "array", "items": listener }, "routes": { "type": "array" } } })
    }

    fn lines(text: &str) -> Vec<String> {
        let (document, mut value) = read("weir.yaml", text).unwrap();
        let problems = Shape::of(&document, &schema(), &mut value).into_problems();
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_path_is_faulty_if_a_fault_is_at_it_or_below() {
        let document = Document::argument("--upstream");
        let paths = ["a", "a-b.c", "b[0].d", "b[10]", "c[\"x.y\"].e", "e.f.g", "e.fg"];
        let shape = Shape {
            document: &document,
            problems: Vec::new(),
            paths: paths.map(str::to_owned).into(),
        };
        for path in ["", "a", "a-b", "b", "b[0]", "b[10]", "c", "c[\"x.y\"]", "e", "e.f", "e.fg"] {
            assert!(shape.is_faulty_at(path), "{path}");
        }
        for path in ["a.b", "a-", "b[1]", "b[1", "b[", "c[\"x.", "d", "e.", "e.g", "f"] {
            assert!(!shape.is_faulty_at(path), "{path}");
        }
        let whole = Shape { paths: [String::new()].into(), ..shape };
        assert!(whole.is_faulty_at("") && !whole.is_faulty_at("a"));
        assert!(!Shape { paths: BTreeSet::new(), ..whole }.is_faulty_at(""));
    }

    #[test]
    fn a_key_is_missing_unless_it_is_wrong() {
        assert_eq!(
            lines("listeners: [{}, { address: 1 }, { adress: x }, { address: true }]"),
            [
                "weir.yaml:1:13: missing key \"address\" in listeners[0]",
                "weir.yaml:1:28: listeners[1].address: expected true or false, found 1",
                "weir.yaml:1:35: unknown key \"adress\" in listeners[2]; did you mean \"address\"?",
                "weir.yaml:1:1: missing key \"routes\" at the top level",
            ]
        );
    }

    #[test]
    fn a_fault_is_one_line_whatever_the_keys_and_values_are() {
        assert_eq!(
            lines("\"\\n\": 1\nlisteners: [{ a: \"\\e[2J\\n\", address: true }]\nroutes: []"),
            [
                "weir.yaml:1:1: unknown key \"\\n\" at the top level; expected listeners or routes",
                "weir.yaml:2:18: listeners[0].a: unknown value \"\\u{1b}[2J\\n\"; expected x",
            ]
        );
    }

    #[test]
    fn many_missing_keys_take_no_more_time_than_a_long_text() {
        let start = Instant::now();
        let text = format!("routes: []\nlisteners: [{}]", "{},".repeat(40_000));
        assert_eq!(lines(&text).len(), 40_000);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
}

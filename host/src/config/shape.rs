//! The shape of a configuration: whether each key, type and scalar is as the JSON Schema demands.
//!
//! `serde` stops at the first fault and forgets its place. This module walks the value and the
//! schema of the same types side by side and reports every fault. It removes the faulty parts, so
//! that `check` can look at the rest.

use serde_json::{Map, Value};

use super::document::{Document, below, item};
use super::error::{Problem, did_you_mean, nearest};
use super::json_schema::{self as schema, choices};
use super::text::{Format, format, range};

/// Faults of shape.
pub(super) struct Shape<'a> {
    document: &'a Document,
    problems: Vec<Problem>,
    paths: Vec<String>,
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
        let mut shape = Self { document, problems: Vec::new(), paths: Vec::new() };
        shape.walk(path, schema, value);
        shape
    }

    /// Whether a fault that `check` finds at `path` may only follow from a known fault.
    pub(super) fn is_faulty_at(&self, path: &str) -> bool {
        self.paths.iter().any(|faulty| {
            let rest = faulty.strip_prefix(path);
            rest.is_some_and(|rest| {
                path.is_empty() || rest.is_empty() || rest.starts_with(['.', '['])
            })
        })
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
        if let Some(format) = schema.get("format").and_then(Value::as_str).and_then(format) {
            return self.text(path, own, format, value);
        }
        if let Some(choices) = choices(schema) {
            return self.choice(path, &choices, value);
        }
        let Some(expected) = schema.get("type").and_then(Value::as_str) else { return true };
        match (expected, value) {
            ("object", Value::Object(object)) => self.object(path, schema, object),
            ("array", Value::Array(items)) => self.array(path, schema, items),
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
            self.paths.push(place);
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
                self.paths.push(place);
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
        let integers = schema.get("type").is_some_and(|kind| kind.as_array().is_some());
        if value.is_number() && !integers {
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
        self.paths.push(path.to_owned());
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

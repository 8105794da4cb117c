//! Looking into a JSON Schema: the steps that every walk through one shares.
//!
//! The configuration's own schema is free of references; a plugin's may have them.

use serde_json::{Map, Value};

/// Returns the part that `schema` refers to by `$ref`, in the document `root`.
pub(crate) fn target<'a>(root: &'a Value, schema: &Value) -> Option<&'a Value> {
    let path = schema.get("$ref")?.as_str()?.strip_prefix('#')?;
    root.pointer(path)
}

/// Returns the schemas of an object's known keys.
pub(crate) fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

/// Returns the schema of a key of an object: its own, or that of keys without one of their own.
pub(crate) fn of_key<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    let own = schema.get("properties").and_then(|keys| keys.get(key));
    own.or_else(|| schema.get("additionalProperties").filter(|schema| !schema.is_boolean()))
}

/// Returns the keys that an object must have.
pub(crate) fn required(schema: &Value) -> impl Iterator<Item = &str> {
    let keys = schema.get("required").and_then(Value::as_array);
    keys.into_iter().flatten().filter_map(Value::as_str)
}

/// Whether a value may be of this type.
pub(crate) fn allows(schema: &Value, kind: &str) -> bool {
    schema.as_object().is_some_and(|schema| allows_in(schema, kind))
}

/// Does the same as [`allows`] for the members of a schema.
pub(crate) fn allows_in(schema: &Map<String, Value>, kind: &str) -> bool {
    match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(|one| one == kind),
        Some(one) => one == kind,
        None => false,
    }
}

/// Returns the texts that a value may have, if the schema lists them.
pub(crate) fn choices(schema: &Value) -> Option<Vec<&str>> {
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        let texts: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
        return (!texts.is_empty()).then_some(texts);
    }
    let variants = schema.get("oneOf").and_then(Value::as_array)?;
    Some(variants.iter().filter_map(|variant| variant.get("const")?.as_str()).collect())
}

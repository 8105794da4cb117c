//! Secrets in a plugin's configuration: at values that the schema marks with `x-weir-secret`,
//! `env:NAME` and `file:PATH` are read.
//!
//! Each generation reads them when it is loaded. The admin API does not show them.

use std::path::Path;

use serde_json::Value;

use super::schema::{Fault, dotted};
use crate::config::{self, json_schema as schema};

/// Returns the configuration with its secrets. Relative paths are below `base`. `schema` is JSON
/// that [`super::schema::check`] has accepted.
///
/// # Errors
///
/// Each secret that cannot be read.
pub(super) fn reveal(schema: &str, config: &Value, base: &Path) -> Result<Value, Vec<Fault>> {
    let places = places(schema, config);
    let mut revealed = config.clone();
    let mut faults = Vec::new();
    for place in places {
        let Some(Value::String(text)) = revealed.pointer_mut(&place) else { continue };
        match config::secret(text, base) {
            Ok(secret) => *text = secret,
            Err(message) => faults.push(Fault { path: dotted(&place), message }),
        }
    }
    if faults.is_empty() { Ok(revealed) } else { Err(faults) }
}

/// Returns the JSON pointers (RFC 6901) of the values that are secrets by one schema or more.
pub(super) fn places_by_any(schemas: &[String], config: &Value) -> Vec<String> {
    let mut all: Vec<_> = schemas.iter().flat_map(|schema| places(schema, config)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Returns the JSON pointers (RFC 6901) of the secrets in a configuration.
fn places(schema: &str, config: &Value) -> Vec<String> {
    let schema = serde_json::from_str(schema).unwrap_or(Value::Null);
    let mut places = Vec::new();
    find(&schema, &schema, config, &mut String::new(), &mut places, 0);
    places.sort_unstable();
    places.dedup();
    places
}

/// Collects the JSON pointers (RFC 6901) of the secrets in `value`. The pointer of `value` itself
/// is `at`.
fn find(
    root: &Value,
    schema: &Value,
    value: &Value,
    at: &mut String,
    places: &mut Vec<String>,
    depth: u32,
) {
    // A schema may refer to itself, to any depth.
    if depth > MAX_DEPTH {
        return;
    }
    let mut descend = |schema: &Value, value: &Value, at: &mut String| {
        find(root, schema, value, at, places, depth + 1);
    };
    if let Some(target) = schema::target(root, schema) {
        descend(target, value, at);
    }
    for word in ["allOf", "anyOf", "oneOf"] {
        for part in schema.get(word).and_then(Value::as_array).into_iter().flatten() {
            descend(part, value, at);
        }
    }
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let Some(schema) = schema::of_key(schema, name) else { continue };
                let length = at.len();
                at.push('/');
                at.push_str(&name.replace('~', "~0").replace('/', "~1"));
                descend(schema, member, at);
                at.truncate(length);
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.get("items") else { return };
            for (index, item) in items.iter().enumerate() {
                let length = at.len();
                at.push_str(&format!("/{index}"));
                descend(schema, item, at);
                at.truncate(length);
            }
        }
        Value::String(_) if schema.get(MARK) == Some(&Value::Bool(true)) => {
            places.push(at.clone());
        }
        _ => {}
    }
}

/// The keyword of a schema for a secret value. `weir_sdk::Secret` sets it.
const MARK: &str = "x-weir-secret";

/// Maximum depth, beyond that of any real configuration.
const MAX_DEPTH: u32 = 64;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SCHEMA: &str = r##"{
        "$defs": {
            "Secret": { "type": "string", "x-weir-secret": true },
            "Key": { "properties": { "secret": { "$ref": "#/$defs/Secret" }, "next": { "$ref": "#/$defs/Key" } } }
        },
        "properties": {
            "keys": { "type": "array", "items": { "$ref": "#/$defs/Key" } },
            "users": { "additionalProperties": { "$ref": "#/$defs/Secret" } },
            "either": { "anyOf": [{ "$ref": "#/$defs/Secret" }, { "type": "null" }] },
            "text": { "type": "string" }
        }
    }"##;

    #[test]
    fn secrets_are_read_where_the_schema_has_them_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), "env:CARGO_PKG_NAME\n").unwrap();
        let config = json!({
            "keys": [{ "secret": "file:key", "next": { "secret": "env:CARGO_PKG_NAME" } }],
            "users": { "a/~b": "env:CARGO_PKG_NAME" },
            "either": "plain",
            "text": "env:CARGO_PKG_NAME",
        });
        let revealed = reveal(SCHEMA, &config, folder.path()).unwrap();
        let wanted = json!({
            // The content of a file is not resolved again.
            "keys": [{ "secret": "env:CARGO_PKG_NAME", "next": { "secret": "weir" } }],
            "users": { "a/~b": "weir" },
            "either": "plain",
            "text": "env:CARGO_PKG_NAME",
        });
        assert_eq!(revealed, wanted);
    }

    #[test]
    fn a_value_that_one_schema_of_two_has_as_a_secret_is_one() {
        let secret = || json!({ "x-weir-secret": true });
        let of =
            |name: &str| json!({ "properties": { name: secret(), "both": secret() } }).to_string();
        let config = json!({ "both": "a", "old": "b", "new": "c", "plain": "d" });
        let places = places_by_any(&[of("old"), of("new")], &config);
        assert_eq!(places, ["/both", "/new", "/old"]);
        assert!(places_by_any(&[], &config).is_empty());
    }

    #[test]
    fn a_secret_that_cannot_be_had_is_told_with_its_place() {
        let config = json!({ "keys": [{}, { "secret": "file:none" }], "users": { "ann": "env:" } });
        let faults = reveal(SCHEMA, &config, Path::new("/nowhere")).unwrap_err();
        let paths: Vec<_> = faults.iter().map(|fault| fault.path.as_str()).collect();
        assert_eq!(paths, [".keys[1].secret", ".users.ann"]);
        assert!(faults[0].message.contains("/nowhere/none"), "{}", faults[0].message);
    }

    #[test]
    fn a_schema_that_refers_to_itself_for_ever_ends() {
        let schema = r##"{ "$ref": "#" }"##;
        assert_eq!(reveal(schema, &json!("env:X"), Path::new("")), Ok(json!("env:X")));
        assert_eq!(reveal("", &Value::Null, Path::new("")), Ok(Value::Null));
    }
}

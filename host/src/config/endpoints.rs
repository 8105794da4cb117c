//! The file of endpoints that an upstream names. Its faults have a place, as those of the
//! configuration do.

use std::path::Path;
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::check::Check;
use super::document::Document;
use super::error::{ConfigErrors, Place, Problem};
use super::shape::Shape;
use super::{NamedEndpoint, SCHEMA, file, folder, open};

/// Reads a file of endpoints: a list, or a mapping with the key `endpoints`. The list may be empty.
///
/// # Errors
/// The file cannot be read, is neither YAML nor JSON, or has faults.
pub fn endpoints(path: &Path) -> Result<Vec<NamedEndpoint>, ConfigErrors> {
    // A pipe could be waited for without end.
    if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        let place = Place::File(path.display().to_string());
        return Err(Problem::new(place, "is not a file").into());
    }
    let (document, value, _) = open(path)?;
    written(&document, value, folder(path))
}

fn written(
    document: &Document,
    mut value: Value,
    base: &Path,
) -> Result<Vec<NamedEndpoint>, ConfigErrors> {
    let (path, schema) = if value.is_array() { ("", &LIST) } else { (ENDPOINTS, &MAPPING) };
    let shape = Shape::of_part(document, "", schema, &mut value);
    let list = match value {
        Value::Object(mut keys) => keys.remove(ENDPOINTS).unwrap_or_default(),
        list => list,
    };
    let list = match serde_json::from_value::<Vec<file::Endpoint>>(list) {
        Ok(list) => list,
        Err(_) if shape.has_problems() => return Err(ConfigErrors::new(shape.into_problems())),
        Err(error) => return Err(Problem::new(document.value(path), error.to_string()).into()),
    };
    let mut check = Check::new(document, base);
    let endpoints = check.written(path, list);
    let mut problems: Vec<Problem> =
        check.problems.into_iter().map(|(_, problem)| problem).collect();
    problems.extend(shape.into_problems());
    if problems.is_empty() { Ok(endpoints) } else { Err(ConfigErrors::new(problems)) }
}

/// The key of the list, in the file and in the configuration.
const ENDPOINTS: &str = "endpoints";

/// The schema of a list, as in the configuration. It may be empty: a generator of the file may find
/// no server.
static LIST: LazyLock<Value> = LazyLock::new(|| {
    let list = SCHEMA.pointer("/properties/upstreams/items/properties/endpoints");
    let mut list = list.cloned().unwrap_or_default();
    if let Some(keys) = list.as_object_mut() {
        keys.remove("minItems");
    }
    list
});

/// The schema of a mapping with a list.
static MAPPING: LazyLock<Value> = LazyLock::new(
    || json!({ "type": "object", "required": [ENDPOINTS], "properties": { ENDPOINTS: *LIST } }),
);

#[cfg(test)]
mod tests;

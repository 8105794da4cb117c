//! The JSON Schema of the configuration, and the reference page made from it.
//!
//! Both come from the types that read the file, and their comments are the descriptions. Neither
//! can drift from the program.

use std::fmt::Write as _;

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform as _};
use serde_json::{Map, Value};
use weir_sdk_build::wrapped;

use super::file::File;
use super::formats::FORMATS;
use super::json_schema::{self as parts, allows, choices};

/// Returns the JSON Schema (draft 2020-12) of a configuration file.
///
/// `x-minimum` and `x-maximum` bound values with a unit. The standard has no keyword for that.
pub fn schema() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<File>();
    RecursiveTransform(tidy).transform(&mut schema);
    schema.to_value()
}

/// Returns the page docs/configuration.md.
pub fn reference() -> String {
    let schema = schema();
    let mut page = INTRODUCTION.to_owned();
    let title = |path: &str| match path {
        "" => "## The file".to_owned(),
        path => format!("## `{path}`"),
    };
    section(&mut page, "", &schema, &title);
    page.push_str(
        "\n## How values are written\n\n| type | written as | examples |\n|---|---|---|\n",
    );
    let mut seen = Vec::new();
    for format in FORMATS.iter() {
        if !seen.contains(&format.name) {
            seen.push(format.name);
            let examples: Vec<String> = format.examples.iter().map(|e| format!("`{e}`")).collect();
            line(&mut page, &[format.name, format.meaning, &examples.join(", ")]);
        }
    }
    wrapped(&page)
}

/// Returns the keys of a plugin's configuration in Markdown, from its JSON Schema.
pub fn plugin_keys(schema: &Value) -> String {
    let schema = inline(schema, schema, 0);
    let mut page = String::new();
    if has_keys(&schema) {
        section(&mut page, "", &schema, &|path| match path {
            "" => String::new(),
            path => format!("**`{path}`**"),
        });
    } else {
        page.push_str("It has no configuration.\n");
    }
    wrapped(&page)
}

/// Returns a schema with its references replaced by their targets, and without the null of optional
/// values.
fn inline(root: &Value, schema: &Value, depth: u32) -> Value {
    match schema {
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| inline(root, item, depth)).collect())
        }
        Value::Object(members) => {
            let mut members = members.clone();
            let target = parts::target(root, schema);
            members.remove("$ref");
            // A schema that refers to itself is expanded to this depth and no further.
            if let Some(Value::Object(target)) = target.filter(|_| depth < DEEPEST) {
                for (key, value) in target {
                    members.entry(key.clone()).or_insert_with(|| value.clone());
                }
                return inline(root, &Value::Object(members), depth + 1);
            }
            if let Some(Value::Array(choices)) = members.get("anyOf")
                && let [only, null] = choices.as_slice()
                && null.get("type").is_some_and(|kind| kind == "null")
                && let Value::Object(only) = only.clone()
            {
                members.remove("anyOf");
                for (key, value) in only {
                    members.entry(key).or_insert(value);
                }
                return inline(root, &Value::Object(members), depth + 1);
            }
            members.remove("$defs");
            let members = members.iter().map(|(key, value)| {
                let value = match (key.as_str(), value) {
                    // The keys here are those of a configuration, not of a schema.
                    ("properties", Value::Object(keys)) => {
                        let keys = keys.iter();
                        keys.map(|(key, value)| (key.clone(), inline(root, value, depth))).collect()
                    }
                    _ => inline(root, value, depth),
                };
                (key.clone(), value)
            });
            let mut schema = Schema::from(members.collect::<Map<_, _>>());
            tidy(&mut schema);
            schema.to_value()
        }
        other => other.clone(),
    }
}

/// Removes three things: null, which `serde` accepts and a file must not contain; the defaults of
/// whole mappings, which the reference would repeat; the names of Rust's types.
fn tidy(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(Value::Array(kinds)) = object.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [kind] = kinds.as_slice() {
            let kind = kind.clone();
            object.insert("type".to_owned(), kind);
        }
    }
    if object.get("default").is_some_and(|value| value.is_null() || value.is_object()) {
        object.remove("default");
    }
    let rust = |format: &str| format.starts_with("uint") || format == "double";
    if object.get("format").and_then(Value::as_str).is_some_and(rust) {
        object.remove("format");
    }
    // These lists may be left out, and they may not be empty.
    if object.contains_key("minItems")
        && object.get("default").is_some_and(|value| value.as_array().is_some_and(Vec::is_empty))
    {
        object.remove("default");
    }
}

/// Writes a table of the keys of the mapping at `path`, and then those of the mappings inside.
fn section(page: &mut String, path: &str, schema: &Value, title: &dyn Fn(&str) -> String) {
    let required = |key: &str| parts::required(schema).any(|name| name == key);
    let heading = title(path);
    if !heading.is_empty() {
        let _ = write!(page, "\n{heading}\n\n");
    }
    if !path.is_empty()
        && let Some(text) = description(schema)
    {
        let _ = write!(page, "{text}\n\n");
    }
    page.push_str("| key | type | default | meaning |\n|---|---|---|---|\n");
    let mut ordered: Vec<_> = parts::properties(schema).collect();
    ordered.sort_by_key(|(key, _)| !required(key));
    for (key, schema) in &ordered {
        let default = if required(key) { "required".to_owned() } else { default(schema) };
        line(page, &[&format!("`{key}`"), &kind(schema), &default, &meaning(schema)]);
    }
    for (key, schema) in ordered {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let (items, others) = (schema.get("items"), schema.get("additionalProperties"));
        if has_keys(schema) {
            section(page, &path, schema, title);
        }
        if let Some(items) = items.filter(|items| has_keys(items)) {
            section(page, &format!("{path}[]"), items, title);
        }
        if let Some(others) = others.filter(|others| has_keys(others)) {
            section(page, &format!("{path}.NAME"), others, title);
        }
    }
}

fn has_keys(schema: &Value) -> bool {
    schema.get("properties").is_some()
}

fn kind(schema: &Value) -> String {
    if schema.get("x-weir-secret") == Some(&Value::Bool(true)) {
        return "secret".to_owned();
    }
    if let Some(format) = schema.get("format").and_then(Value::as_str) {
        let or_list = if allows(schema, "array") { ", or a list of them" } else { "" };
        return format!("{format}{or_list}");
    }
    if let Some(Value::Array(numbers)) = schema.get("enum").filter(|_| choices(schema).is_none()) {
        let numbers: Vec<String> = numbers.iter().map(|number| format!("`{number}`")).collect();
        return numbers.join(", ");
    }
    if let Some(choices) = choices(schema) {
        let choices: Vec<String> = choices.iter().map(|choice| format!("`{choice}`")).collect();
        return choices.join(", ");
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("array") => format!("list of {}", schema.get("items").map(kind).unwrap_or_default()),
        Some("object") => "mapping".to_owned(),
        Some("string") => "text".to_owned(),
        Some("boolean") => "`true`, `false`".to_owned(),
        Some("integer") => "integer".to_owned(),
        Some("number") => "number".to_owned(),
        _ => "anything".to_owned(),
    }
}

fn default(schema: &Value) -> String {
    match schema.get("default") {
        Some(Value::String(text)) if text.is_empty() => "empty".to_owned(),
        Some(Value::String(text)) => format!("`{text}`"),
        Some(Value::Array(items)) => {
            let items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            format!("`[{}]`", items.join(", "))
        }
        Some(value) => format!("`{value}`"),
        None => "–".to_owned(),
    }
}

/// Returns the description, the bounds, and the meaning of each value of an enumeration.
fn meaning(schema: &Value) -> String {
    let mut text = description(schema).unwrap_or_default();
    let bound = |name| {
        schema.get(name).map(|bound| bound.as_str().map_or(bound.to_string(), str::to_owned))
    };
    let least = bound("x-minimum").or_else(|| bound("minimum"));
    let most = bound("x-maximum").or_else(|| bound("maximum"));
    if let (Some(least), Some(most)) = (least, most)
        && schema.get("enum").is_none()
    {
        let _ = write!(text, " From `{least}` to `{most}`.");
    }
    let variants = schema.get("items").unwrap_or(schema).get("oneOf").and_then(Value::as_array);
    for variant in variants.into_iter().flatten() {
        let name = variant.get("const").and_then(Value::as_str).unwrap_or_default();
        let _ = write!(text, " `{name}`: {}", description(variant).unwrap_or_default());
    }
    text
}

fn description(schema: &Value) -> Option<String> {
    let text = schema.get("description")?.as_str()?;
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn line(page: &mut String, cells: &[&str]) {
    let cells: Vec<String> =
        cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', "\\n")).collect();
    let _ = writeln!(page, "| {} |", cells.join(" | "));
}

/// The most references that are followed one after another.
const DEEPEST: u32 = 8;

const INTRODUCTION: &str = "# Configuration

<!-- Made by `weir schema --reference > docs/configuration.md`; a test fails when it is out of date. -->

A configuration is one YAML document, or several that `include` joins. It is strict: an unknown key, a number without its unit and an
unknown name are errors. Each error has its file, line and column, and `weir check -c FILE` shows
all errors at once. Paths are relative to the main file. A key without a value is an error too: leave the
key out, or write `{}` for a mapping's defaults. `weir schema` prints the JSON Schema for editors.
The files in configs/ are examples. The file and each text file that it names (certificates, keys,
secrets, lists of users) are UTF-8. A byte order mark at the beginning is ignored.
";

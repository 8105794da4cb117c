//! The page docs/admin.md, made from the table of operations.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use http::StatusCode;
use schemars::SchemaGenerator;
use serde_json::{Value, json};

use crate::admin::model::Problem;
use crate::admin::openapi::Schemas;
use crate::admin::operation::{Content, Operation};
use crate::admin::routes::ROUTES;
use crate::config::plugin_keys;
use crate::telemetry::events::KINDS;

fn page() -> String {
    let mut schemas = Schemas::new("/$defs");
    let mut types = Vec::new();
    let mut page = INTRODUCTION.to_owned();
    let kinds = KINDS.map(|kind| format!("`{kind}`")).join(", ");
    page = page.replace("KINDS", &kinds);
    for operation in ROUTES {
        describe(&mut page, operation, &mut schemas, &mut types);
    }
    let problem = schemas.answers.subschema_for::<Problem>().to_value();
    types.extend(name(&problem));
    types.sort();
    types.dedup();
    let definitions = Value::Object(schemas.definitions());
    page.push_str(
        "\n## Types\n\nA member that is `required` is always in a response, perhaps as null. Times \
         are seconds since 1970-01-01T00:00:00Z.\n",
    );
    for name in types {
        let definition = definitions.get(&name).cloned().unwrap_or_default();
        let meaning = definition.get("description").and_then(Value::as_str).unwrap_or_default();
        let _ = write!(page, "\n### `{name}`\n\n{}\n", meaning.replace('\n', " "));
        if definition.get("properties").is_some() {
            let of = format!("#/$defs/{name}");
            let schema = json!({ "$ref": of, "$defs": definitions });
            let _ = write!(page, "\n{}", plugin_keys(&schema).trim_start());
        }
    }
    weir_sdk_build::wrapped(&page)
}

fn describe(
    page: &mut String,
    operation: &Operation,
    schemas: &mut Schemas,
    types: &mut Vec<String>,
) {
    let Operation { method, path, role, summary, .. } = operation;
    let _ = write!(page, "\n### {method} {path}\n\n{summary} Role: `{role}`.\n\n");
    for parameter in operation.query {
        let _ = writeln!(page, "- Parameter `{}`: {}", parameter.name, parameter.meaning);
    }
    if let Some(body) = &operation.body {
        let body = told(body, &mut schemas.requests, types);
        let _ = writeln!(page, "- Body: {body}.");
    }
    let success = &operation.success;
    let content = told(&success.content, &mut schemas.answers, types);
    let _ = writeln!(page, "- {}: {} {content}.", success.status, success.meaning);
    for (status, meaning) in operation.refusals {
        let _ = writeln!(page, "- {status}: {meaning}");
    }
}

/// Returns the media types of a body and the name of its type.
fn told(content: &Content, of: &mut SchemaGenerator, types: &mut Vec<String>) -> String {
    let media: Vec<String> = content.media.iter().map(|media| format!("`{media}`")).collect();
    let media = media.join(" or ");
    let schema = content.schema.map(|schema| schema(of).to_value());
    match schema.as_ref().and_then(name) {
        Some(name) => {
            let link = name.to_ascii_lowercase();
            let told = format!("[{name}](#{link}) as {media}");
            types.push(name);
            told
        }
        None => format!("As {media}"),
    }
}

fn name(schema: &Value) -> Option<String> {
    Some(schema.get("$ref")?.as_str()?.rsplit('/').next()?.to_owned())
}

#[test]
fn the_reference_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/admin.md");
    let page = page();
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "out of date; run this test with UPDATE_GOLDEN=1");
}

#[test]
fn every_refusal_has_a_status_that_exists() {
    for operation in ROUTES {
        for (status, meaning) in operation.refusals {
            let status = StatusCode::from_u16(*status).unwrap();
            assert!(status.is_client_error() || status.is_server_error(), "{status}");
            assert!(meaning.ends_with('.'), "{meaning}");
        }
        assert!(operation.summary.ends_with('.'), "{}", operation.summary);
    }
}

const INTRODUCTION: &str = include_str!("reference/introduction.md");

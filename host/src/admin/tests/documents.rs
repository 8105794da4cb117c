//! The OpenAPI document: every answer is as it says.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::standin::with;
use super::{Reply, get};
use crate::admin::openapi::DOCUMENT;
use crate::admin::operation::Operation;

/// Checks a value by a schema of the document.
fn check(schema: &Value, value: &Value, of: &str) {
    assert!(!schema.is_null(), "{of} has no schema");
    let root = json!({ "allOf": [schema], "components": DOCUMENT["components"] });
    let validator = jsonschema::validator_for(&root).unwrap();
    let faults: Vec<String> = validator
        .iter_errors(value)
        .map(|fault| format!("{}: {fault}", fault.instance_path()))
        .collect();
    assert!(faults.is_empty(), "{of}: {faults:?}\n{value:#}");
}

/// Checks that an answer is as the document says.
pub(super) fn is_described(operation: &Operation, reply: &Reply) {
    let method = operation.method.as_str().to_ascii_lowercase();
    let described = &DOCUMENT["paths"][operation.path][method];
    let answer = &described["responses"][reply.status.to_string()];
    let content = &answer["content"][reply.header("content-type")];
    let of = format!("{} {}", operation.method, operation.path);
    assert!(content.is_object(), "{of}: {} is not described", reply.header("content-type"));
    if reply.header("content-type") == "application/json" {
        check(&content["schema"], &reply.json(), &of);
    }
}

/// Checks that an answer is a problem.
pub(super) fn is_problem(reply: &Reply) {
    assert_eq!(reply.header("content-type"), "application/problem+json");
    assert_eq!(reply.json()["status"], reply.status);
    let content = &DOCUMENT["components"]["responses"]["Refusal"]["content"];
    check(&content["application/problem+json"]["schema"], &reply.json(), "a refusal");
}

#[test]
fn the_document_is_whole() {
    let document = &*DOCUMENT;
    assert_eq!(document["openapi"], "3.1.1");
    let mut ids = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
            let params = operation["parameters"].as_array().unwrap();
            let of_path = params.iter().filter(|parameter| parameter["in"] == "path").count();
            assert_eq!(of_path, path.matches('{').count(), "{method} {path}");
        }
    }
    assert_eq!(ids.len(), crate::admin::routes::ROUTES.len());
    // Every reference leads somewhere.
    let mut references = Vec::new();
    collect(document, &mut references);
    assert!(references.len() > 30);
    for reference in references {
        let target = document.pointer(reference.strip_prefix('#').unwrap());
        assert!(target.is_some(), "{reference}");
    }
}

fn collect<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            into.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|value| collect(value, into));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, into)),
        _ => {}
    }
}

#[test]
fn a_schema_of_the_document_refuses_what_it_does_not_describe() {
    let problem = json!({ "$ref": "#/components/schemas/Problem" });
    let root = json!({ "allOf": [problem], "components": DOCUMENT["components"] });
    let validator = jsonschema::validator_for(&root).unwrap();
    let good =
        json!({ "type": "about:blank", "title": "", "status": 404, "detail": "", "error": "" });
    assert!(validator.is_valid(&good));
    let mut more = good.clone();
    more["more"] = json!(1);
    assert!(!validator.is_valid(&more) && !validator.is_valid(&json!({})));
}

#[test]
fn the_document_is_served() {
    with(async |api| {
        let served = get(&api, "/api/openapi.json").await;
        assert_eq!(served.json(), *DOCUMENT);
        assert_eq!(served.header("content-type"), "application/json");
    });
}

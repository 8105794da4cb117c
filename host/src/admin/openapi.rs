//! The OpenAPI 3.1 document of the API, made from the table of operations.

use std::sync::LazyLock;

use http::Method;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::model::Problem;
use super::operation::{Content, Operation};
use super::refusal::PROBLEM;
use super::routes::ROUTES;

/// The document. It is the same for every process of this version.
pub(super) static DOCUMENT: LazyLock<Value> = LazyLock::new(document);

fn document() -> Value {
    let mut schemas = Schemas::new("/components/schemas");
    let problem = schemas.answers.subschema_for::<Problem>();
    let mut paths = Map::new();
    for operation in ROUTES {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        if let Value::Object(methods) = path {
            let method = operation.method.as_str().to_ascii_lowercase();
            methods.insert(method, described(operation, &mut schemas));
        }
    }
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "Weir admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "http://127.0.0.1:9091", "description": "The default address." }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas.definitions(),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "responses": {
                "Refusal": {
                    "description": "The request was not carried out. Nothing has changed.",
                    "content": { (PROBLEM): { "schema": problem } },
                },
            },
        },
    })
}

fn described(operation: &Operation, schemas: &mut Schemas) -> Value {
    let refusal = json!({ "$ref": "#/components/responses/Refusal" });
    let mut responses = Map::new();
    let success = &operation.success;
    let answer = json!({
        "description": success.meaning,
        "content": content(&success.content, &mut schemas.answers),
    });
    responses.insert(success.status.to_string(), answer);
    for (status, meaning) in operation.refusals {
        let refusal = json!({ "$ref": "#/components/responses/Refusal", "description": meaning });
        responses.insert(status.to_string(), refusal);
    }
    responses.insert("default".to_owned(), refusal);
    let mut described = json!({
        "operationId": id(operation),
        "summary": operation.summary,
        "x-weir-role": operation.role,
        "parameters": parameters(operation),
        "responses": responses,
    });
    if let (Some(body), Value::Object(members)) = (&operation.body, &mut described) {
        let content = content(body, &mut schemas.requests);
        members.insert("requestBody".to_owned(), json!({ "required": true, "content": content }));
    }
    described
}

/// Returns a name of an operation for programs: `put_plugins_name`.
fn id(operation: &Operation) -> String {
    let mut id = operation.method.as_str().to_ascii_lowercase();
    for segment in operation.path.split('/').skip(2) {
        id.push('_');
        id.extend(segment.chars().filter(|c| !matches!(c, '{' | '}')).map(|c| match c {
            '.' => '_',
            other => other,
        }));
    }
    id
}

fn parameters(operation: &Operation) -> Vec<Value> {
    let path = operation.param_names().map(|name| {
        let text = json!({ "type": "string" });
        json!({ "name": name, "in": "path", "required": true, "schema": text })
    });
    let query = operation.query.iter().map(|parameter| {
        json!({
            "name": parameter.name,
            "in": "query",
            "description": parameter.meaning,
            "schema": parameter.kind.schema(),
        })
    });
    let header =
        |name: &str| json!({ "name": name, "in": "header", "schema": { "type": "string" } });
    let header = match (&operation.method, operation.path) {
        (&Method::PUT, "/api/config") => Some(header("If-Match")),
        (_, "/api/events") => Some(header("Last-Event-ID")),
        _ => None,
    };
    path.chain(query).chain(header).collect()
}

fn content(content: &Content, generator: &mut SchemaGenerator) -> Value {
    let mut media = Map::new();
    for name in content.media {
        let schema = content.schema.map(|schema| json!({ "schema": schema(generator) }));
        media.insert((*name).to_owned(), schema.unwrap_or_else(|| json!({})));
    }
    media.into()
}

/// The schemas of requests and responses. A member with a default may be left out of a request, and
/// is always in a response.
pub(super) struct Schemas {
    pub(super) requests: SchemaGenerator,
    pub(super) answers: SchemaGenerator,
}

impl Schemas {
    /// Creates generators that put named types below `path`.
    pub(super) fn new(path: &'static str) -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = path.into())
        };
        Self {
            requests: settings().for_deserialize().into_generator(),
            answers: settings().for_serialize().into_generator(),
        }
    }

    /// Returns the named types.
    pub(super) fn definitions(mut self) -> Map<String, Value> {
        let mut all = self.requests.take_definitions(true);
        all.extend(self.answers.take_definitions(true));
        all
    }
}

//! [`Operation`]: the description of one request that the API answers, and the way from a path to
//! it.

use futures_util::future::LocalBoxFuture;
use http::{Method, Response};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::Admin;
use super::call::Call;
use super::refusal::Refusal;
use super::reply::{JSON, YAML};
use crate::config::Role;
use crate::control::Answer;

/// One request that the API answers.
pub(super) struct Operation {
    /// The method. HEAD is answered where GET is.
    pub(super) method: Method,
    /// The path. A segment in braces is a parameter.
    pub(super) path: &'static str,
    /// The role that a token needs.
    pub(super) role: Role,
    /// The purpose, for the documentation.
    pub(super) summary: &'static str,
    /// The parameters of the query.
    pub(super) query: &'static [Parameter],
    /// The body of the request.
    pub(super) body: Option<Content>,
    /// The response to a request that is carried out.
    pub(super) success: Success,
    /// The statuses of refusals that belong to this operation, with their reasons.
    pub(super) refusals: &'static [(u16, &'static str)],
    /// Carries the request out.
    pub(super) handler: Handler,
}

/// Carries a request out.
pub(super) type Handler = for<'a> fn(&'a Admin, Call) -> LocalBoxFuture<'a, Outcome>;

/// The outcome of a request.
pub(super) type Outcome = Result<Response<Answer>, Refusal>;

/// A parameter of a query.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) meaning: &'static str,
}

/// The values of a parameter.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    Flag,
    /// A number from 1 on.
    Number,
    /// One of these words.
    Word(&'static [&'static str]),
}

impl Kind {
    /// Returns the type of JSON Schema.
    pub(super) fn schema_type(self) -> &'static str {
        match self {
            Self::Text | Self::Word(_) => "string",
            Self::Flag => "boolean",
            Self::Number => "integer",
        }
    }

    /// Returns the schema.
    pub(super) fn schema(self) -> Value {
        match self {
            Self::Word(words) => json!({ "type": self.schema_type(), "enum": words }),
            Self::Number => json!({ "type": self.schema_type(), "minimum": 1 }),
            Self::Text | Self::Flag => json!({ "type": self.schema_type() }),
        }
    }
}

/// The response to a request that was carried out.
pub(super) struct Success {
    pub(super) status: u16,
    pub(super) meaning: &'static str,
    pub(super) content: Content,
}

/// The media types of a body, and its schema.
pub(super) struct Content {
    pub(super) media: &'static [&'static str],
    /// Makes the schema. A body without one is bytes.
    pub(super) schema: Option<fn(&mut SchemaGenerator) -> Schema>,
}

impl Content {
    pub(super) const fn json<T: JsonSchema>() -> Self {
        Self { media: &[JSON], schema: Some(SchemaGenerator::subschema_for::<T>) }
    }

    pub(super) const fn json_or_yaml<T: JsonSchema>() -> Self {
        Self { media: &[JSON, YAML], schema: Some(SchemaGenerator::subschema_for::<T>) }
    }

    pub(super) const fn events<T: JsonSchema>() -> Self {
        Self { media: &[EVENTS], schema: Some(SchemaGenerator::subschema_for::<T>) }
    }
}

impl Success {
    pub(super) const fn ok(meaning: &'static str, content: Content) -> Self {
        Self { status: 200, meaning, content }
    }
}

impl Operation {
    /// Returns the values of the path's parameters if the path is this operation's.
    pub(super) fn params(&self, path: &str) -> Option<Vec<String>> {
        let (mut own, mut asked) = (self.path.split('/'), path.split('/'));
        let mut params = Vec::new();
        loop {
            match (own.next(), asked.next()) {
                (None, None) => return Some(params),
                (Some(own), Some(asked)) if own.starts_with('{') => {
                    params.push(decoded(asked).filter(|value| !value.is_empty())?);
                }
                (own, asked) if own == asked => {}
                _ => return None,
            }
        }
    }

    /// Returns the names of the path's parameters.
    pub(super) fn param_names(&self) -> impl Iterator<Item = &'static str> {
        let segments = self.path.split('/');
        segments.filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }
}

/// Returns the methods of an Allow field for operations of one path.
pub(super) fn allowed<'a>(operations: impl Iterator<Item = &'a Operation>) -> String {
    let mut methods = Vec::new();
    for operation in operations {
        methods.push(operation.method.as_str());
        if operation.method == Method::GET {
            methods.push("HEAD");
        }
    }
    methods.join(", ")
}

/// Decodes a segment of a path (RFC 3986 §2.1). Returns `None` if it is not text.
fn decoded(segment: &str) -> Option<String> {
    let mut pieces = segment.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let digits = piece.get(..2).filter(|digits| !digits.starts_with('+'))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(piece.get(2..)?.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// The media type of a stream of events.
pub(super) const EVENTS: &str = "text/event-stream";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::routes::ROUTES;

    fn params(template: &str, path: &str) -> Option<Vec<String>> {
        let operation = ROUTES.iter().find(|operation| operation.path == template).unwrap();
        operation.params(path)
    }

    #[test]
    fn a_path_is_compared_by_its_segments() {
        let endpoint = "/api/upstreams/{name}/endpoints/{address}";
        let one = |path| params(endpoint, path);
        let wanted = Some(vec!["app".to_owned(), "[::1]:80".to_owned()]);
        assert_eq!(one("/api/upstreams/app/endpoints/[::1]:80"), wanted);
        assert_eq!(one("/api/upstreams/app/endpoints/%5b::1%5D:80"), wanted);
        for path in [
            "/api/upstreams/app/endpoints",
            "/api/upstreams/app/endpoints/",
            "/api/upstreams/app/endpoints/a/",
            "/api/upstreams//endpoints/a",
            "//api/upstreams/app/endpoints/a",
            "/api/upstreams/app/endpoints/%f",
            "/api/upstreams/app/endpoints/%+f",
            "/api/upstreams/app/endpoints/%ff",
        ] {
            assert_eq!(one(path), None, "{path}");
        }
        assert_eq!(params("/api/status", "/api/status"), Some(Vec::new()));
        assert_eq!(params("/api/status", "/api/statu"), None);
    }

    #[test]
    fn methods_of_a_path_are_listed() {
        let of = |path| allowed(ROUTES.iter().filter(move |operation| operation.path == path));
        assert_eq!(of("/api/plugins/{name}"), "GET, HEAD, PUT");
        assert_eq!(of("/api/reload"), "POST");
    }
}

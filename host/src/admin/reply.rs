//! Responses.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use crate::control::Answer;

/// Returns a response of JSON, indented for people.
pub(super) fn json<T: Serialize>(status: StatusCode, value: &T) -> Response<Answer> {
    match serde_json::to_string_pretty(value) {
        Ok(text) => text_of(status, JSON, text + "\n"),
        Err(error) => {
            // Maps with keys other than text have no JSON, and no response has one.
            tracing::error!(error = &error as &dyn std::error::Error, "write a response as JSON");
            text_of(StatusCode::INTERNAL_SERVER_ERROR, JSON, "{}\n".to_owned())
        }
    }
}

/// Returns a response of text.
pub(super) fn text_of(status: StatusCode, media: &'static str, text: String) -> Response<Answer> {
    let mut response = Response::new(Answer::Whole(Full::from(Bytes::from(text))));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Adds the tag of a configuration to a response.
pub(super) fn tagged(mut response: Response<Answer>, tag: &str) -> Response<Answer> {
    // A tag is hexadecimal, so it is always a field's value.
    if let Ok(value) = HeaderValue::from_str(&format!("\"{tag}\"")) {
        response.headers_mut().insert(ETAG, value);
    }
    response
}

/// The media type of JSON.
pub(super) const JSON: &str = "application/json";

/// The media type of YAML (RFC 9512).
pub(super) const YAML: &str = "application/yaml";

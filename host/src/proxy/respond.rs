//! The one place that turns errors and fixed answers into responses.

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use super::error::ProxyError;
use crate::config::Respond;
use crate::listen::body::Body;
use crate::telemetry::record::RequestId;

/// The answer to a request that failed: a status and the request's id, nothing of the inside.
pub fn to(error: &ProxyError, id: RequestId) -> Response<Body> {
    let status = error.status();
    let reason = status.canonical_reason().unwrap_or("error");
    let mut response =
        Response::new(Body::full(format!("{} {reason}\nrequest {id}\n", status.as_u16())));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        fields.insert(REQUEST_ID, id);
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        fields.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// A route's fixed answer.
pub fn fixed(respond: &Respond) -> Response<Body> {
    let mut response = Response::new(Body::full(respond.body.clone()));
    *response.status_mut() = respond.status;
    for (name, value) in &respond.headers {
        response.headers_mut().append(name.clone(), value.clone());
    }
    response
}

/// Tells a client which lines of the log speak of its request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

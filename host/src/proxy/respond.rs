//! Responses for errors and fixed answers. No other module creates them.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Response, StatusCode};
use http_body::Body as _;

use super::error::ProxyError;
use crate::config::{ErrorPage, Respond};
use crate::message::body::Body;
use crate::message::grpc::{GRPC_MESSAGE, GRPC_STATUS, GrpcStatus};
use crate::message::peer::RequestId;
use crate::upstream::error::{Cause, SendError};

/// Returns the response to a failed request: a status and the request's id, without internal
/// details. The first of the `pages` for the status has the text.
pub fn to(error: &ProxyError, id: RequestId, pages: &[ErrorPage]) -> Response<Body> {
    let status = error.status();
    let code = status.as_u16();
    let is_of =
        |page: &&ErrorPage| page.status.iter().any(|(low, high)| (*low..=*high).contains(&code));
    let (content_type, text) = match pages.iter().find(is_of) {
        Some(page) => {
            let text = page.text.replace("${request_id}", &id.to_string());
            (page.content_type, text.replace("${status}", status.as_str()))
        }
        None => {
            let reason = status.canonical_reason().unwrap_or("error");
            ("text/plain; charset=utf-8", format!("{code} {reason}\nrequest {id}\n"))
        }
    };
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    name(fields, id);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        fields.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// Adds the request's id.
fn name(fields: &mut HeaderMap, id: RequestId) {
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        fields.insert(REQUEST_ID, id);
    }
}

/// Returns the response to a failed call of gRPC: its status in the head, without trailers.
pub fn to_call(error: &ProxyError, id: RequestId) -> Response<Body> {
    let status = error.status();
    let code = match error {
        ProxyError::Send(SendError { cause: Cause::TotalTimeout }) => GrpcStatus::DEADLINE_EXCEEDED,
        _ => GrpcStatus::from_http(status),
    };
    let reason = status.canonical_reason().unwrap_or("error");
    let mut response = Response::new(Body::empty());
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    fields.insert(GRPC_STATUS, code.value());
    // The reasons are words of ASCII without `%`, so nothing needs the encoding of gRPC.
    if let Ok(message) = HeaderValue::try_from(format!("{reason}, request {id}")) {
        fields.insert(GRPC_MESSAGE, message);
    }
    name(fields, id);
    response
}

/// Returns the fixed answer of a route.
pub fn fixed(respond: &Respond) -> Response<Body> {
    let mut response = Response::new(Body::full(respond.body.clone()));
    *response.status_mut() = respond.status;
    for (name, value) in &respond.headers {
        response.headers_mut().append(name.clone(), value.clone());
    }
    response
}

/// Redirects a request to HTTPS, with the same host and path. The method stays (RFC 9110 §15.4.9).
pub fn to_https(head: &Parts, authority: &Authority, port: u16) -> Response<Body> {
    let host = authority.host();
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let path = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    // Host and path have passed the checks of the client's request.
    if let Ok(location) = HeaderValue::try_from(format!("https://{host}{port}{path}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// Converts a response to the one for HEAD: the same head as for GET, without content (RFC 9110
/// §9.3.2). Of the servers of the three protocols, only that of HTTP/1.1 checks the method.
pub fn without_content(mut response: Response<Body>) -> Response<Body> {
    let length = response.body().size_hint().exact().filter(|length| *length > 0);
    if let Some(length) = length {
        response.headers_mut().entry(CONTENT_LENGTH).or_insert_with(|| length.into());
    }
    response.map(|_| Body::empty())
}

/// The field with the request's id, which identifies its lines in the log for a client.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

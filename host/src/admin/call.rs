//! A request to an operation: its path parameters, its query and its body.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::operation::Parameter;
use super::refusal::Refusal;
use crate::config;

/// A request to an operation.
pub(super) struct Call {
    /// The values of the path's parameters, in their order, decoded.
    params: Vec<String>,
    query: Vec<(String, String)>,
    pub(super) request: Request<Incoming>,
}

impl Call {
    /// Reads the query of a request.
    ///
    /// # Errors
    /// A parameter is unknown to the operation, or is given twice.
    pub(super) fn new(
        request: Request<Incoming>,
        params: Vec<String>,
        known: &[Parameter],
    ) -> Result<Self, Refusal> {
        let mut query = Vec::<(String, String)>::new();
        let text = request.uri().query().unwrap_or_default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !known.iter().any(|parameter| parameter.name == key) {
                return Err(Refusal::bad_request(unknown(key, known)));
            }
            if query.iter().any(|(earlier, _)| earlier == key) {
                return Err(Refusal::bad_request(format!("{key}: is given twice")));
            }
            query.push((key.to_owned(), value.to_owned()));
        }
        Ok(Self { params, query, request })
    }

    /// Returns a parameter of the path.
    pub(super) fn param(&self, at: usize) -> &str {
        self.params.get(at).map(String::as_str).unwrap_or_default()
    }

    /// Returns a parameter of the query.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns whether a parameter of the query is `true`.
    ///
    /// # Errors
    /// It is another text than `true` and `false`.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Refusal> {
        match self.query(name) {
            None | Some("false") => Ok(false),
            Some("true" | "") => Ok(true),
            Some(other) => {
                Err(Refusal::bad_request(format!("{name}: {other:?} is neither true nor false")))
            }
        }
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// Reads the body as text.
    ///
    /// # Errors
    /// The body is too large, too slow, broken or no text.
    pub(super) async fn text(self) -> Result<String, Refusal> {
        let bytes = self.bytes().await?;
        String::from_utf8(bytes.into())
            .map_err(|_| Refusal::bad_request("the body is not text in UTF-8"))
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    /// As [`Call::text`], or the JSON is not as it should be.
    pub(super) async fn json<T: DeserializeOwned>(self) -> Result<T, Refusal> {
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Refusal::bad_request(format!("the body: {error}")))
    }

    async fn bytes(self) -> Result<Bytes, Refusal> {
        let body = Limited::new(self.request.into_body(), config::MAX_BYTES);
        let read = timeout(BODY_TIME, body.collect()).await.map_err(|_| {
            Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")
        })?;
        let read = read.map_err(|error| {
            let is_large = error.is::<LengthLimitError>();
            let status =
                if is_large { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
            Refusal::new(status, format!("read the body: {error}"))
        })?;
        Ok(read.to_bytes())
    }
}

fn unknown(key: &str, known: &[Parameter]) -> String {
    let names: Vec<&str> = known.iter().map(|parameter| parameter.name).collect();
    if names.is_empty() {
        return format!("unknown parameter {key:?}; there are no parameters here");
    }
    format!("unknown parameter {key:?}; the parameters are {}", names.join(", "))
}

/// The time for a body of at most 1 MiB. Clients are near.
const BODY_TIME: Duration = Duration::from_secs(10);

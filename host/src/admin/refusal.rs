//! Refusals: problem details (RFC 9457).

use http::header::{ALLOW, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, Response, StatusCode};

use super::live::LiveError;
use super::model::{Fault, Problem};
use super::reply;
use crate::config::ConfigErrors;
use crate::control::Answer;
use crate::state::orders::OrderError;

/// A status and a reason, for the client.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) reason: String,
    faults: Vec<Fault>,
    /// Boxed, as most results of the API are no refusals.
    field: Option<Box<(HeaderName, HeaderValue)>>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into(), faults: Vec::new(), field: None }
    }

    pub(super) fn bad_request(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }

    pub(super) fn unprocessable(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, reason)
    }

    pub(super) fn not_found(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, reason)
    }

    /// Refuses a method where only the `allowed` ones are known.
    pub(super) fn method(allowed: &str) -> Self {
        let refusal = Self::new(StatusCode::METHOD_NOT_ALLOWED, format!("allowed here: {allowed}"));
        refusal.with(ALLOW, allowed)
    }

    /// Refuses a request without the right token.
    pub(super) fn unauthorized() -> Self {
        let reason = "present a token of admin.token or admin.tokens: Authorization: Bearer …";
        let refusal = Self::new(StatusCode::UNAUTHORIZED, reason);
        refusal.with(WWW_AUTHENTICATE, "Bearer realm=\"weir\"")
    }

    fn with(mut self, name: HeaderName, value: &str) -> Self {
        self.field = HeaderValue::from_str(value).ok().map(|value| Box::new((name, value)));
        self
    }

    /// Makes the response.
    pub(super) fn response(self) -> Response<Answer> {
        let problem = Problem {
            kind: "about:blank".to_owned(),
            title: self.status.canonical_reason().unwrap_or_default().to_owned(),
            status: self.status.as_u16(),
            detail: self.reason.clone(),
            error: self.reason,
            errors: self.faults,
        };
        let mut response = reply::json(self.status, &problem);
        let fields = response.headers_mut();
        fields.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
        if let Some(field) = self.field {
            fields.insert(field.0, field.1);
        }
        response
    }
}

impl From<ConfigErrors> for Refusal {
    fn from(errors: ConfigErrors) -> Self {
        let faults = Fault::all(&errors);
        Self { faults, ..Self::unprocessable(errors.to_string()) }
    }
}

impl From<OrderError> for Refusal {
    fn from(error: OrderError) -> Self {
        let status = match error {
            OrderError::Config(errors) => return errors.into(),
            OrderError::Changed(_) => StatusCode::PRECONDITION_FAILED,
            OrderError::NothingBefore | OrderError::Refused(_) => StatusCode::CONFLICT,
            OrderError::NoRevision(_) => StatusCode::NOT_FOUND,
            OrderError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
            OrderError::Busy | OrderError::Ending => StatusCode::SERVICE_UNAVAILABLE,
        };
        let is_busy = matches!(error, OrderError::Busy);
        let refusal = Self::new(status, error.to_string());
        if is_busy { refusal.with(RETRY_AFTER, "1") } else { refusal }
    }
}

impl From<LiveError> for Refusal {
    fn from(error: LiveError) -> Self {
        let status = match error {
            LiveError::NoUpstream(_) | LiveError::NoEndpoint(_) => StatusCode::NOT_FOUND,
        };
        Self::new(status, error.to_string())
    }
}

/// The media type of problem details.
pub(super) const PROBLEM: &str = "application/problem+json";

//! The error in the access record of a response with a body that ended early.

use crate::message::body::BodyError;

/// Returns the side at fault for the early end of a response's body.
pub(super) fn side(error: &BodyError) -> &'static str {
    match error {
        BodyError::Request(failure) => failure.side().label(),
        BodyError::Stopped | BodyError::Filter => "plugin",
        BodyError::Capsules(_) => "client",
        _ => "upstream",
    }
}

/// Returns one word for the kind of the failure.
pub(super) fn failure(error: &BodyError) -> &'static str {
    match error {
        BodyError::Aborted => "aborted",
        BodyError::TooLarge { .. } => "too_large",
        BodyError::Length { .. } => "length",
        BodyError::Trailers(_) => "trailers",
        BodyError::Timeout => "timeout",
        BodyError::Slow => "rate",
        BodyError::Stopped => "stopped",
        BodyError::Filter => "filter",
        BodyError::Request(failure) => failure.label(),
        BodyError::Client(_) | BodyError::Capsules(_) | BodyError::Origin(_) => "framing",
    }
}

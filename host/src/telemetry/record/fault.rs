//! What access records say of a response's body that ended early.

use crate::message::body::BodyError;

/// Whose fault it is that a response's body ended early.
pub(super) fn side(error: &BodyError) -> &'static str {
    match error {
        BodyError::Request(failure) => failure.side().label(),
        BodyError::Stopped | BodyError::Filter => "plugin",
        _ => "upstream",
    }
}

/// One word for what happened to it.
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
        BodyError::Client(_) | BodyError::Origin(_) => "framing",
    }
}

//! [`Decision`]: the decision of a filter on a message, from a call or from memory.

use http::Response;

use crate::message::body::Body;
use crate::message::edit::Edits;
use crate::message::peer::RequestId;
use crate::plugins::generation::CallError;
use crate::plugins::memo::{CallInput, Conclusion, StoredDecision};
use crate::plugins::seat::Seat;

/// The checked decision of a filter.
pub(super) enum Decision {
    Next,
    Edit(Edits, Vec<u8>),
    Reply(Response<Body>),
}

impl Decision {
    pub(super) fn answer(&self) -> Conclusion<'_> {
        match self {
            Self::Next => Conclusion::Next,
            Self::Edit(edits, context) => Conclusion::Edit(edits, context),
            Self::Reply(_) => Conclusion::Other,
        }
    }
}

impl From<StoredDecision> for Decision {
    fn from(passing: StoredDecision) -> Self {
        passing.map_or(Self::Next, |(edits, context)| Self::Edit(edits, context))
    }
}

/// Returns the stored decision of a pure filter on a request or its response. Without a stored one,
/// calls the filter and stores its decision.
pub(super) fn recall<T: From<Decision>>(
    (seat, request): (&Seat, RequestId),
    remembers: bool,
    input: CallInput<'_>,
    answer: fn(&T) -> Conclusion<'_>,
    ask: impl FnOnce() -> Result<T, CallError>,
) -> Result<T, CallError> {
    if !remembers {
        return ask();
    }
    if let Some(passing) = seat.recall(input) {
        return Ok(Decision::from(passing).into());
    }
    let step = ask()?;
    seat.learn(answer(&step), request);
    Ok(step)
}

/// Compares the decision of a shadow generation with that of the serving one.
pub(super) fn compare(own: Option<&Decision>, decision: &Decision) -> &'static str {
    let is_same = match (own, decision) {
        (None, _) => return "failed",
        (Some(Decision::Next), Decision::Next) => true,
        (Some(Decision::Edit(own, _)), Decision::Edit(other, _)) => own == other,
        (Some(Decision::Reply(own)), Decision::Reply(other)) => {
            own.status() == other.status() && own.headers() == other.headers()
        }
        _ => false,
    };
    if is_same { "same" } else { "different" }
}

//! The data that a passed filter leaves for the response.

use std::rc::Rc;

use http::Response;
use http::request::Parts;

use super::caller::{self, ResponseContext};
use super::decision::{Decision, compare};
use crate::message::body::Body;
use crate::message::check;
use crate::message::input::{RequestView, SavedInputs};
use crate::message::peer::RequestId;
use crate::plugins::generation::CallError;
use crate::plugins::seat::{FilterShape, Seat};
use crate::telemetry::record::Record;

/// A filter that a request has passed.
pub(super) struct Visit {
    pub(super) seat: Rc<Seat>,
    pub(super) shape: Rc<FilterShape>,
    pub(super) context: Vec<u8>,
    pub(super) kept: SavedInputs,
    pub(super) wants_body: bool,
    /// The generation that decides on the response if this one fails. Present if this one is on
    /// trial.
    pub(super) before: Option<Box<Fallback>>,
    /// The shadow generation that also saw the request, and its context.
    pub(super) shadow: Option<(Rc<Seat>, Vec<u8>)>,
}

/// The serving generation, and the request as it would have seen it.
pub(super) struct Fallback {
    pub(super) seat: Rc<Seat>,
    pub(super) head: Parts,
    pub(super) authority: String,
}

impl Fallback {
    pub(super) fn new(seat: &Rc<Seat>, view: &RequestView<'_>) -> Box<Self> {
        let (seat, head) = (Rc::clone(seat), check::copy(view.head));
        Box::new(Self { seat, head, authority: view.authority.to_owned() })
    }
}

impl Visit {
    pub(super) fn decide(
        &self,
        response: &Response<Body>,
        request: RequestId,
        record: &Record,
    ) -> Result<Decision, CallError> {
        let Self { seat, shape, kept, context, .. } = self;
        caller::response(seat, shape, ResponseContext { kept, context, request }, response, record)
    }

    /// Calls the shadow generation with the same response, if it requests the same inputs.
    pub(super) fn shadow_response(
        &self,
        (seat, context): (&Seat, &[u8]),
        request: RequestId,
        response: &Response<Body>,
        decision: &Result<Decision, CallError>,
    ) {
        let Ok(shape) = seat.shape(request) else { return };
        if !shape.on_response || shape.response_inputs != self.shape.response_inputs {
            return;
        }
        let memory = ResponseContext { kept: &self.kept, context, request };
        let own = caller::shadow_response(seat, shape, memory, response).ok();
        if let Ok(decision) = decision {
            self.seat.slot.metrics.shadow(compare(own.as_ref(), decision));
        }
    }
}

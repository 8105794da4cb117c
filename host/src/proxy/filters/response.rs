//! The response side of a chain: a response passes back through the filters that its request
//! passed.

use std::sync::Arc;

use http::Response;
use http_body::Body as _;

use super::body::FilteredBody;
use super::caller::span;
use super::decision::Decision;
use super::visit::{Fallback, Visit};
use super::{Chain, FailedTrial, bounds};
use crate::config::OnFailure;
use crate::message::body::Body;
use crate::message::check;
use crate::message::edit::Edits;
use crate::message::input::RequestView;
use crate::message::tunnel::Tunnel;
use crate::plugins::function::Function;
use crate::plugins::generation::CallError;
use crate::proxy::error::ProxyError;
use crate::proxy::respond;
use crate::status;
use crate::telemetry::record::Record;

impl Chain<'_> {
    /// Passes a response back through the filters of its request. If a filter fails and is closed
    /// on failure, an error response replaces it.
    ///
    /// # Errors
    ///
    /// The state for [`Self::go_on`], if a generation on trial failed.
    pub fn on_response(
        &mut self,
        mut response: Response<Body>,
        record: &mut Record,
    ) -> Result<Response<Body>, Box<FailedTrial>> {
        while let Some(mut visit) = self.visits.pop() {
            if !visit.shape.on_response {
                continue;
            }
            let decision = visit.decide(&response, self.subject().id, record);
            if decision.is_err()
                && let Some(before) = visit.before.take()
            {
                return Err(Box::new(FailedTrial { visit, before, response }));
            }
            response = self.follow(response, &visit, decision, record);
        }
        Ok(response)
    }

    /// Continues after a failure of a generation on trial. The serving generation decides instead.
    pub async fn go_on(&mut self, failed: Box<FailedTrial>, record: &mut Record) -> Response<Body> {
        let mut failed = *failed;
        loop {
            let FailedTrial { mut visit, before, response } = failed;
            let decision = self.again(&mut visit, *before, &response, record).await;
            let response = self.follow(response, &visit, decision, record);
            match self.on_response(response, record) {
                Ok(response) => return response,
                Err(next) => failed = *next,
            }
        }
    }

    /// Applies the decision of a filter to a response.
    fn follow(
        &self,
        response: Response<Body>,
        visit: &Visit,
        decision: Result<Decision, CallError>,
        record: &mut Record,
    ) -> Response<Body> {
        if let Some((shadow, context)) = &visit.shadow {
            visit.shadow_response((shadow, context), self.subject().id, &response, &decision);
        }
        match decision {
            Ok(Decision::Next) => response,
            Ok(Decision::Edit(edits, context)) => {
                self.edit(response, edits, visit, context, record)
            }
            Ok(Decision::Reply(reply)) => reply,
            Err(_) if visit.seat.slot.on_failure == OnFailure::Open => {
                record.skipped(&visit.seat.slot.name);
                response
            }
            Err(error) => {
                let error = ProxyError::Filter(Arc::clone(&visit.seat.slot.name), error.kind());
                self.refuse(&error, record)
            }
        }
    }

    fn refuse(&self, error: &ProxyError, record: &mut Record) -> Response<Body> {
        record.error(error.side().label(), error.kind());
        respond::to(error, self.subject().id, &self.route.errors)
    }

    /// Applies edits to a response, and passes its body through the filter if the edits request it.
    fn edit(
        &self,
        mut response: Response<Body>,
        edits: Edits,
        visit: &Visit,
        context: Vec<u8>,
        record: &mut Record,
    ) -> Response<Body> {
        record.attributes(&visit.seat.slot.name, edits.attributes());
        let (wants_body, adds_fields) = (edits.wants_body, edits.adds_fields());
        edits.apply_to_response(&mut response);
        if adds_fields && bounds::is_too_large(response.headers(), self.reaches) {
            return self.refuse(&ProxyError::ResponseTooLarge, record);
        }
        // The bytes of a tunnel are no content.
        if !wants_body || response.extensions().get::<Tunnel>().is_some() {
            return response;
        }
        let is_bodiless = self.is_head || !status::may_have_content(response.status());
        if is_bodiless && !check::is_empty(response.headers()) {
            // A head has the same fields with its body and without (RFC 9110 §8.6, §9.3.2). Only
            // the filter knows the length of the changed body. An empty body would not be passed to
            // the filter.
            response.headers_mut().remove(http::header::CONTENT_LENGTH);
            return response.map(|_| Body::empty());
        }
        if is_bodiless || response.body().is_end_stream() {
            return response;
        }
        response.headers_mut().remove(http::header::CONTENT_LENGTH);
        let seat = &visit.seat;
        let (span, skips) = (span(seat, Function::ResponseBody, record), record.skips());
        let id = self.subject().id;
        response.map(|body| FilteredBody::response(body, seat, id, context, (span, skips)))
    }

    /// Lets the serving generation decide on a response on which the generation on trial failed.
    ///
    /// The serving generation must not see the context of another generation. Therefore it is
    /// called for the request as well. Only the context of that call counts, because the request
    /// has already been sent. If it would have replied itself, its reply replaces the response, so
    /// that a forbidden response does not get out.
    async fn again(
        &self,
        visit: &mut Visit,
        before: Fallback,
        response: &Response<Body>,
        record: &mut Record,
    ) -> Result<Decision, CallError> {
        let Fallback { seat, head, authority } = before;
        if !seat.shape(self.subject().id)?.on_response {
            return Ok(Decision::Next);
        }
        let view = &RequestView { head: &head, authority: &authority, subject: self.subject };
        let (shape, decision) = self.request(&seat, view, record).await?;
        visit.context = match decision {
            Decision::Next => Vec::new(),
            Decision::Edit(_, context) => context,
            Decision::Reply(reply) => return Ok(Decision::Reply(reply)),
        };
        visit.kept = shape.response_inputs.keep(view);
        (visit.seat, visit.shape) = (seat, shape);
        visit.decide(response, self.subject().id, record)
    }
}

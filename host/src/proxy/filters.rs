//! The filters of a route, in order for requests and in reverse order for responses.
//!
//! The view of a request determines the generation of each plugin, from the request's head to the
//! last byte of its response. If a generation on trial fails, the serving one repeats the work. If
//! the serving one fails, `on_failure` decides.

mod body;
mod bounds;
mod caller;
mod decision;
mod visit;

use std::rc::Rc;
use std::sync::Arc;

use http::request::Parts;
use http::uri::Authority;
use http::{Method, Response};
use http_body::Body as _;
use weir_runtime::Kind;

use super::error::ProxyError;
use super::respond;
use crate::config::{ListenerLimits, OnFailure, PluginId};
use crate::message::body::Body;
use crate::message::check;
use crate::message::edit::Edits;
use crate::message::exchange::Exchange;
use crate::message::input::RequestView;
use crate::message::subject::Subject;
use crate::plugins::function::Function;
use crate::plugins::generation::CallError;
use crate::plugins::seat::{Seat, Shape};
use crate::plugins::view::{Choice, Pinned};
use crate::route::Route;
use crate::status;
use crate::telemetry::record::Record;
use crate::upstream::Reaches;
use body::FilteredBody;
use caller::Step;
use decision::{Decision, compare};
use visit::{Fallback, Visit};

pub(super) use bounds::{RESPONSE_BYTES, RESPONSE_FIELDS};
pub(super) use caller::span;

/// The filters that one request passes, with the data that they left for its response.
pub struct Chain<'a> {
    route: &'a Route,
    pinned: &'a Pinned,
    subject: &'a Subject<'a>,
    reaches: &'a Reaches,
    limits: &'a ListenerLimits,
    /// Whether the response has no content, independent of its status.
    is_head: bool,
    visits: Vec<Visit>,
    /// The index of its first filter in the route, and the upstream that an earlier filter chose.
    from: (usize, Option<Arc<str>>),
}

/// A response on which a generation on trial failed.
pub struct FailedTrial {
    visit: Visit,
    before: Box<Fallback>,
    response: Response<Body>,
}

/// The result of the request side of a chain.
pub enum Way {
    /// The request goes on, to this upstream if a filter chose one.
    On(Option<Arc<str>>),
    /// A filter replied, and its response goes back.
    Back(Response<Body>),
    /// The request goes to a middleware, which calls the rest of the chain itself.
    Through(Middleware),
}

/// A middleware among the filters.
#[derive(Clone)]
pub struct Middleware {
    /// The plugin.
    pub plugin: PluginId,
    /// The index of the first filter after it.
    pub next: usize,
    /// The upstream that a filter before it chose.
    pub upstream: Option<Arc<str>>,
}

impl<'a> Chain<'a> {
    /// Creates a chain for a new request.
    pub fn new(
        route: &'a Route,
        pinned: &'a Pinned,
        subject: &'a Subject<'a>,
        reaches: &'a Reaches,
        limits: &'a ListenerLimits,
        method: &Method,
    ) -> Self {
        let (is_head, visits) = (*method == Method::HEAD, Vec::new());
        Self { route, pinned, subject, reaches, limits, is_head, visits, from: (0, None) }
    }

    /// Returns the part of a chain after a middleware.
    #[must_use]
    pub fn after(self, middleware: Middleware) -> Self {
        Self { from: (middleware.next, middleware.upstream), ..self }
    }

    /// Returns the limits of the request's listener.
    pub fn limits(&self) -> &'a ListenerLimits {
        self.limits
    }

    /// Returns the plugin generations that serve the request.
    pub fn pinned(&self) -> &'a Pinned {
        self.pinned
    }

    /// Returns the facts about the request and its client.
    pub fn subject(&self) -> &'a Subject<'a> {
        self.subject
    }

    /// Passes a request through the filters.
    ///
    /// # Errors
    ///
    /// - [`ProxyError::Filter`] if a filter failed and its plugin is closed on failure.
    /// - [`ProxyError::HeadersTooLarge`] if the added fields make the header section larger than
    ///   the listener's limits.
    pub async fn on_request(
        &mut self,
        head: &mut Parts,
        authority: &mut Authority,
        record: &mut Record,
    ) -> Result<Way, ProxyError> {
        let (pinned, mut has_grown) = (self.pinned(), false);
        let (from, mut upstream) = std::mem::take(&mut self.from);
        for (at, &plugin) in self.route.filters.iter().enumerate().skip(from) {
            let lane = pinned.lane(plugin).ok_or(ProxyError::Missing("filter"))?;
            let (slot, choice) = (lane.slot(), lane.choose(pinned.roll));
            if choice.first.generation.plugin.kind() == Kind::Middleware {
                self.check_growth(head, has_grown)?;
                return Ok(Way::Through(Middleware { plugin, next: at + 1, upstream }));
            }
            let view = &RequestView { head, authority: authority.as_str(), subject: self.subject };
            let answer = match self.begin(choice.first, view, record) {
                Ok((shape, Step::Decision(decision))) => {
                    Ok((self.visit(choice.first, shape, choice.fallback, view), decision))
                }
                // Boxed: few requests reach this, and the others need not reserve room for it.
                begun => Box::pin(self.ask_on(&choice, begun, view, record)).await,
            };
            let (mut visit, decision) = match answer {
                Ok(answer) => answer,
                Err(_) if slot.on_failure == OnFailure::Open => continue,
                Err(error) => return Err(ProxyError::Filter(Arc::clone(&slot.name), error.kind())),
            };
            visit.shadow = choice.shadow.and_then(|seat| {
                let context = self.shadow_request(seat, &decision, view)?;
                Some((Rc::clone(seat), context))
            });
            match decision {
                Decision::Next => {}
                Decision::Edit(edits, context) => {
                    visit.context = context;
                    visit.wants_body = edits.wants_body;
                    upstream = edits.upstream.clone().or(upstream);
                    has_grown |= edits.adds_fields();
                    edits.apply_to_request(head, authority);
                }
                // The response does not pass this filter's own response side, only that of the
                // filters before it.
                Decision::Reply(response) => return Ok(Way::Back(response)),
            }
            self.visits.push(visit);
        }
        self.check_growth(head, has_grown)?;
        Ok(Way::On(upstream))
    }

    fn check_growth(&self, head: &Parts, has_grown: bool) -> Result<(), ProxyError> {
        if !has_grown {
            return Ok(());
        }
        check::within(&head.headers, self.limits.header_bytes, self.limits.header_count)?;
        Ok(())
    }

    /// Returns whether a filter sees the request's body.
    pub fn wants_request_body(&self) -> bool {
        self.visits.iter().any(|visit| visit.wants_body)
    }

    /// Passes the request's body through the filters that requested it.
    pub fn on_request_body(
        &self,
        mut body: Body,
        exchange: &Rc<Exchange>,
        record: &Record,
    ) -> Body {
        for Visit { seat, context, wants_body, .. } in &self.visits {
            if *wants_body && !body.is_end_stream() {
                let span = span(seat, Function::RequestBody, record);
                let id = self.subject().id;
                body = FilteredBody::request(body, seat, id, context, exchange, span);
            }
        }
        body
    }

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
            Err(_) if visit.seat.slot.on_failure == OnFailure::Open => response,
            Err(error) => {
                let error = ProxyError::Filter(Arc::clone(&visit.seat.slot.name), error.kind());
                self.refuse(&error, record)
            }
        }
    }

    fn refuse(&self, error: &ProxyError, record: &mut Record) -> Response<Body> {
        record.error(error.side().label(), error.kind());
        respond::to(error, self.subject().id)
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
        let (wants_body, adds_fields) = (edits.wants_body, edits.adds_fields());
        edits.apply_to_response(&mut response);
        if adds_fields && bounds::is_too_large(response.headers(), self.reaches) {
            return self.refuse(&ProxyError::ResponseTooLarge, record);
        }
        if !wants_body {
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
        let span = span(seat, Function::ResponseBody, record);
        let id = self.subject().id;
        response.map(|body| FilteredBody::response(body, seat, id, context, span))
    }

    /// Continues the call of the chosen generation up to a decision. If it fails, calls its
    /// fallback.
    async fn ask_on(
        &self,
        choice: &Choice<'_>,
        begun: Result<(Rc<Shape>, Step), CallError>,
        view: &RequestView<'_>,
        record: &mut Record,
    ) -> Result<(Visit, Decision), CallError> {
        let first = match begun {
            Ok((shape, step)) => {
                let decision = self.finish(choice.first, view, step, record).await;
                decision.map(|decision| (shape, decision))
            }
            Err(error) => Err(error),
        };
        let (seat, (shape, decision), before) = match (first, choice.fallback) {
            (Ok(answer), before) => (choice.first, answer, before),
            (Err(_), Some(before)) => (before, self.request(before, view, record).await?, None),
            (Err(error), None) => return Err(error),
        };
        Ok((self.visit(seat, shape, before, view), decision))
    }

    /// Returns the data of a filter that is kept for the response.
    fn visit(
        &self,
        seat: &Rc<Seat>,
        shape: Rc<Shape>,
        before: Option<&Rc<Seat>>,
        view: &RequestView<'_>,
    ) -> Visit {
        Visit {
            seat: Rc::clone(seat),
            kept: shape.response_inputs.keep(view),
            before: before.filter(|_| shape.on_response).map(|seat| Fallback::new(seat, view)),
            shape,
            context: Vec::new(),
            wants_body: false,
            shadow: None,
        }
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

    /// Calls the shadow generation with the same request, and counts whether its decision is the
    /// same. Returns its context, if it has one.
    fn shadow_request(
        &self,
        seat: &Seat,
        decision: &Decision,
        view: &RequestView<'_>,
    ) -> Option<Vec<u8>> {
        let own = self.shadow(seat, view)?.ok();
        seat.slot.metrics.shadow(compare(own.as_ref(), decision));
        match own? {
            Decision::Edit(_, context) => Some(context),
            Decision::Next => Some(Vec::new()),
            Decision::Reply(_) => None,
        }
    }
}

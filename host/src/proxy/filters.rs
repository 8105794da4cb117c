//! The filters of a route, in order for requests and in reverse order for responses.
//!
//! The view of a request determines the generation of each plugin, from the request's head to the
//! last byte of its response. If a generation on trial fails, the serving one repeats the work. If
//! the serving one fails, `on_failure` decides.

mod body;
mod bounds;
mod caller;
mod decision;
mod response;
mod visit;

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use http::request::Parts;
use http::uri::Authority;
use http::{Method, Response};
use http_body::Body as _;
use weir_runtime::Kind;

use super::error::ProxyError;
use crate::config::{ListenerLimits, OnFailure, PluginId};
use crate::message::body::Body;
use crate::message::check;
use crate::message::exchange::Exchange;
use crate::message::input::RequestView;
use crate::message::subject::Subject;
use crate::plugins::function::Function;
use crate::plugins::generation::CallError;
use crate::plugins::seat::{FilterShape, Seat};
use crate::plugins::view::{Choice, Pinned};
use crate::route::Route;
use crate::telemetry::record::Record;
use crate::upstream::Reaches;
use body::{BodyReply, FilteredBody, RequestWatch};
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
    /// The response of a filter of the request's body, once one of them can make one.
    reply: OnceCell<BodyReply>,
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
        let (is_head, visits, reply) = (*method == Method::HEAD, Vec::new(), OnceCell::new());
        Self { route, pinned, subject, reaches, limits, is_head, visits, reply, from: (0, None) }
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

    /// Returns the most bytes that the request's body may have.
    pub fn body_limit(&self) -> u64 {
        self.route.limits.body.unwrap_or(self.limits.body)
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
    /// - [`ProxyError::Refused`] if the added fields make the header section larger than
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
                Err(_) if slot.on_failure == OnFailure::Open => {
                    record.skipped(&slot.name);
                    continue;
                }
                Err(error) => return Err(ProxyError::Filter(Arc::clone(&slot.name), error.kind())),
            };
            visit.shadow = choice.shadow.and_then(|seat| {
                let context = self.shadow_request(seat, &decision, view)?;
                Some((Rc::clone(seat), context))
            });
            match decision {
                Decision::Next => {}
                Decision::Edit(mut edits, context) => {
                    record.attributes(&slot.name, edits.attributes());
                    visit.context = context;
                    visit.wants_body = edits.wants_body;
                    upstream = edits.upstream.take().or(upstream);
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
                let reply = Rc::clone(self.reply.get_or_init(Rc::default));
                let watch = RequestWatch { exchange: Rc::clone(exchange), reply };
                let skips = record.skips();
                body = FilteredBody::request(body, seat, id, context, watch, (span, skips));
            }
        }
        body
    }

    /// Takes the response of a filter that stopped the request's body, if one did and made one.
    pub fn take_reply(&self) -> Option<Response<Body>> {
        self.reply.get()?.take()
    }

    /// Continues the call of the chosen generation up to a decision. If it fails, calls its
    /// fallback.
    async fn ask_on(
        &self,
        choice: &Choice<'_>,
        begun: Result<(Rc<FilterShape>, Step), CallError>,
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
        shape: Rc<FilterShape>,
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

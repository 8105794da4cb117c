//! The filters of a route, in order for requests and in reverse for responses.
//!
//! A request meets each plugin in the generation that its view has, from its head to the last byte of its response. What
//! a generation on trial fails at, the one before does again; what that fails at, `on_failure` decides.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::uri::Authority;
use http::{Method, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use weir_runtime::filter::{Answer, Changes, Fetch, RequestDecision, ResponseDecision};

use super::body::Exchange;
use super::edit::{self, Edits};
use super::error::ProxyError;
use super::filtered::Filtered;
use super::input::{Kept, Subject};
use super::respond;
use crate::config::{ListenerLimits, OnFailure};
use crate::listen::body::Body;
use crate::plugins::generation::Failure;
use crate::plugins::seat::{Function, Seat, Shape};
use crate::plugins::slot::Slot;
use crate::plugins::view::{Choice, Pinned};
use crate::telemetry::record::Record;
use crate::telemetry::trace::FILTER;
use crate::upstream::Reach;
use crate::upstream::send::Outgoing;

/// The filters that one request passes, and what they left for its response.
pub struct Chain<'a> {
    filters: &'a [usize],
    pinned: &'a Pinned,
    subject: &'a Subject<'a>,
    reaches: &'a [Reach],
    limits: &'a ListenerLimits,
    method: Method,
    passed: Vec<Passed>,
}

/// A filter that a request has passed.
struct Passed {
    slot: Arc<Slot>,
    seat: Rc<Seat>,
    shape: Rc<Shape>,
    context: Vec<u8>,
    kept: Kept,
    wants_body: bool,
    /// The generation in the shadow that saw the request too, and its context.
    shadow: Option<(Rc<Seat>, Vec<u8>)>,
}

/// Where the request side of a chain led.
pub enum Way {
    /// On: to this upstream if a filter chose one.
    On(Option<usize>),
    /// Back, with a filter's reply.
    Back(Response<Body>),
}

/// What a filter decided, checked.
enum Decided {
    Next,
    Edit(Edits, Vec<u8>),
    Reply(Response<Body>),
}

impl<'a> Chain<'a> {
    /// A chain that nothing has passed yet.
    pub fn new(
        filters: &'a [usize],
        pinned: &'a Pinned,
        subject: &'a Subject<'a>,
        reaches: &'a [Reach],
        limits: &'a ListenerLimits,
        method: Method,
    ) -> Self {
        Self { filters, pinned, subject, reaches, limits, method, passed: Vec::new() }
    }

    /// The generations of plugins that its request meets.
    pub fn pinned(&self) -> &'a Pinned {
        self.pinned
    }

    /// Whose request it is.
    pub fn subject(&self) -> &'a Subject<'a> {
        self.subject
    }

    /// Passes a request through the filters.
    ///
    /// # Errors
    /// [`ProxyError::Filter`] if one failed and its plugin is closed on failure.
    pub async fn on_request(
        &mut self,
        head: &mut Parts,
        authority: &mut Authority,
        record: &mut Record,
    ) -> Result<Way, ProxyError> {
        let (pinned, mut upstream) = (self.pinned, None);
        for &index in self.filters {
            let Some(lane) = pinned.lane(index) else { continue };
            let (slot, choice) = (&lane.slot, lane.choose(pinned.roll));
            let asked = self.ask(slot, &choice, head, authority, record).await;
            let (seat, shape, decided) = match asked {
                Ok(answer) => answer,
                Err(_) if slot.on_failure == OnFailure::Open => continue,
                Err(error) => return Err(ProxyError::Filter(Arc::clone(&slot.name), error.kind())),
            };
            let shadow = choice.shadow.and_then(|shadow| {
                self.ask_shadow(slot, shadow, &decided, head, authority)
                    .map(|context| (Rc::clone(shadow), context))
            });
            let mut passed = Passed {
                slot: Arc::clone(slot),
                seat,
                kept: shape.response_inputs.keep(head, authority.as_str(), self.subject),
                shape,
                context: Vec::new(),
                wants_body: false,
                shadow,
            };
            match decided {
                Decided::Next => {}
                Decided::Edit(edits, context) => {
                    passed.context = context;
                    passed.wants_body = edits.wants_body;
                    upstream = edits.upstream.or(upstream);
                    edits.apply_to_request(head, authority);
                }
                // Its own response side does not see it, that of the filters before it does.
                Decided::Reply(response) => return Ok(Way::Back(response)),
            }
            self.passed.push(passed);
        }
        Ok(Way::On(upstream))
    }

    /// Whether a filter sees the request's body.
    pub fn wants_request_body(&self) -> bool {
        self.passed.iter().any(|passed| passed.wants_body)
    }

    /// Hands the request's body to the filters that asked for it.
    pub fn on_request_body(&self, mut body: Body, exchange: &Rc<Exchange>) -> Body {
        for Passed { slot, seat, context, wants_body, .. } in &self.passed {
            if *wants_body && !body.is_end_stream() {
                body = Filtered::request(body, slot, seat, context, exchange);
            }
        }
        body
    }

    /// Passes a response back through the filters that its request passed. A filter that fails and is closed on failure
    /// replaces it.
    pub fn on_response(
        &mut self,
        mut response: Response<Body>,
        record: &mut Record,
    ) -> Response<Body> {
        while let Some(passed) = self.passed.pop() {
            if !passed.shape.on_response {
                continue;
            }
            let decided = passed.decide(&response, self.limits, record);
            if let Some((shadow, context)) = &passed.shadow {
                passed.shadow_response(shadow, context, &response, &decided);
            }
            match decided {
                Ok(Decided::Next) => {}
                Ok(Decided::Edit(edits, context)) => {
                    let wants_body = edits.wants_body;
                    edits.apply_to_response(&mut response);
                    if wants_body && self.has_body(&response) {
                        response.headers_mut().remove(http::header::CONTENT_LENGTH);
                        response = response.map(|body| {
                            Filtered::response(body, &passed.slot, &passed.seat, context)
                        });
                    }
                }
                Ok(Decided::Reply(reply)) => response = reply,
                Err(_) if passed.slot.on_failure == OnFailure::Open => {}
                Err(error) => {
                    let error = ProxyError::Filter(Arc::clone(&passed.slot.name), error.kind());
                    record.error(error.side().label(), error.kind());
                    response = respond::to(&error, self.subject.id);
                }
            }
        }
        response
    }

    fn has_body(&self, response: &Response<Body>) -> bool {
        let is_bodiless =
            matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        self.method != Method::HEAD && !is_bodiless && !response.body().is_end_stream()
    }

    /// Has the generation that a request meets decide, or the one before it.
    async fn ask(
        &self,
        slot: &Slot,
        choice: &Choice<'_>,
        head: &Parts,
        authority: &Authority,
        record: &mut Record,
    ) -> Result<(Rc<Seat>, Rc<Shape>, Decided), Failure> {
        let first = choice.first;
        match (self.ask_one(slot, first, head, authority, record).await, choice.fallback) {
            (Ok((shape, decided)), _) => Ok((Rc::clone(first), shape, decided)),
            (Err(_), Some(before)) => {
                let (shape, decided) = self.ask_one(slot, before, head, authority, record).await?;
                Ok((Rc::clone(before), shape, decided))
            }
            (Err(error), None) => Err(error),
        }
    }

    async fn ask_one(
        &self,
        slot: &Slot,
        seat: &Rc<Seat>,
        head: &Parts,
        authority: &Authority,
        record: &mut Record,
    ) -> Result<(Rc<Shape>, Decided), Failure> {
        let shape = Rc::clone(seat.shape(slot)?);
        if !shape.on_request {
            return Ok((shape, Decided::Next));
        }
        let mut decision = traced(slot, Function::Request, record, || {
            self.decide(slot, seat, &shape, head, authority)
        })?;
        let mut fetches = 0;
        while let RequestDecision::Fetch(mut fetch) = decision {
            fetches += 1;
            if fetches > MAX_FETCHES {
                let what = format!("on-fetch: it fetches more than {MAX_FETCHES} times");
                return Err(seat.reject(slot, what));
            }
            let context = std::mem::take(&mut fetch.context);
            // Boxed: few requests come here, and the others need not carry the room for it.
            let answer = Box::pin(self.fetch(slot, fetch, authority, record)).await;
            let answer = answer.map_err(|what| seat.reject(slot, what))?;
            decision = traced(slot, Function::Fetch, record, || {
                let answer = answer.as_ref().map(Answered::borrow).map_err(|reason| &**reason);
                seat.call(slot, Function::Fetch, |filter| match &answer {
                    Ok((status, headers, body)) => {
                        let (status, headers, body) = (*status, &headers[..], *body);
                        let answer = Answer { status, headers, body };
                        filter.on_fetch(&context, Ok(answer))
                    }
                    Err(reason) => filter.on_fetch(&context, Err(reason)),
                })
            })?;
        }
        let decided = self.check(slot, decision, head).map_err(|what| seat.reject(slot, what))?;
        Ok((shape, decided))
    }

    fn decide(
        &self,
        slot: &Slot,
        seat: &Seat,
        shape: &Shape,
        head: &Parts,
        authority: &Authority,
    ) -> Result<RequestDecision, Failure> {
        shape.inputs.with(head, authority.as_str(), self.subject, |inputs| {
            seat.call(slot, Function::Request, |filter| filter.on_request(inputs))
        })
    }

    fn check(
        &self,
        slot: &Slot,
        decision: RequestDecision,
        head: &Parts,
    ) -> Result<Decided, String> {
        Ok(match decision {
            RequestDecision::Next => Decided::Next,
            RequestDecision::Edit(Changes { edits, context }) => {
                let edits = Edits::of_request(edits, |name| self.upstream(slot, name))?;
                edits.within(&head.headers, self.limits)?;
                Decided::Edit(edits, context)
            }
            RequestDecision::Reply(reply) => Decided::Reply(edit::reply(reply, self.limits)?),
            RequestDecision::Fetch(_) => return Err("it fetches without end".to_owned()),
        })
    }

    /// Asks the generation in the shadow the same, and counts whether it decides the same. Its context, if it has one.
    fn ask_shadow(
        &self,
        slot: &Slot,
        seat: &Rc<Seat>,
        decided: &Decided,
        head: &Parts,
        authority: &Authority,
    ) -> Option<Vec<u8>> {
        let shape = seat.shape(slot).cloned().ok()?;
        if !shape.on_request {
            return Some(Vec::new());
        }
        let decision = self.decide(slot, seat, &shape, head, authority);
        // A fetch is not made twice, so nothing is known of what would follow.
        if let Ok(RequestDecision::Fetch(_)) = decision {
            return None;
        }
        let own = decision
            .map_err(drop)
            .and_then(|decision| self.check(slot, decision, head).map_err(drop));
        slot.metrics.shadow(compare(own.as_ref().ok(), decided));
        match own {
            Ok(Decided::Edit(_, context)) => Some(context),
            Ok(Decided::Next) => Some(Vec::new()),
            Ok(Decided::Reply(_)) | Err(()) => None,
        }
    }

    /// Makes the request that a filter asks for. The outer error is the plugin's fault; the inner one it is told.
    async fn fetch(
        &self,
        slot: &Slot,
        fetch: Fetch,
        authority: &Authority,
        record: &mut Record,
    ) -> Result<Result<Answered, String>, String> {
        let reach = self.upstream(slot, &fetch.upstream).and_then(|at| self.reaches.get(at));
        let reach = reach.ok_or_else(|| edit::not_allowed(&fetch.upstream))?;
        let limit = match fetch.timeout_ms {
            0 => FETCH,
            ms => Duration::from_millis(ms.into()).min(LONGEST_FETCH),
        };
        let (mut head, body) = edit::request(fetch, authority)?.into_parts();
        let host = head.headers.get(http::header::HOST).cloned();
        let host = host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default();
        let exchange = Exchange::start(body.is_end_stream(), Rc::default());
        let (subject, pinned) = (self.subject, self.pinned);
        let outgoing = Outgoing {
            head: &mut head,
            body,
            authority: host,
            subject,
            exchange,
            pinned,
            is_own: false,
        };
        let answer = tokio::time::timeout(limit, async {
            let response = reach.send(outgoing, record).await.map_err(|error| error.to_string())?;
            let (head, body) = response.into_parts();
            let body = http_body_util::Limited::new(body, MAX_ANSWER).collect().await;
            let body = body.map_err(|error| error.to_string())?.to_bytes();
            Ok(Answered { head, body })
        });
        Ok(answer.await.unwrap_or_else(|_| Err(format!("no answer within {limit:?}"))))
    }

    /// The index of an upstream that the plugin may reach.
    fn upstream(&self, slot: &Slot, name: &str) -> Option<usize> {
        let is_named =
            |at: &&usize| self.reaches.get(**at).is_some_and(|r| &*r.upstream().name == name);
        slot.upstreams.iter().find(is_named).copied()
    }
}

impl Passed {
    fn decide(
        &self,
        response: &Response<Body>,
        limits: &ListenerLimits,
        record: &Record,
    ) -> Result<Decided, Failure> {
        let (slot, seat) = (&*self.slot, &self.seat);
        let decision = traced(slot, Function::Response, record, || {
            self.call(seat, &self.shape, &self.context, response)
        })?;
        check_response(decision, response, limits).map_err(|what| seat.reject(slot, what))
    }

    fn call(
        &self,
        seat: &Seat,
        shape: &Shape,
        context: &[u8],
        response: &Response<Body>,
    ) -> Result<ResponseDecision, Failure> {
        let status = response.status().as_u16();
        shape.response_inputs.with(response.headers(), &self.kept, |inputs| {
            seat.call(&self.slot, Function::Response, |filter| {
                filter.on_response(status, inputs, context)
            })
        })
    }

    /// Asks the generation in the shadow the same, if it wants the same to decide by.
    fn shadow_response(
        &self,
        seat: &Seat,
        context: &[u8],
        response: &Response<Body>,
        decided: &Result<Decided, Failure>,
    ) {
        let Ok(shape) = seat.shape(&self.slot).cloned() else { return };
        if !shape.on_response || shape.response_inputs != self.shape.response_inputs {
            return;
        }
        let own = self.call(seat, &shape, context, response).map_err(drop);
        let own = own.and_then(|decision| {
            check_response(decision, response, &ListenerLimits::default()).map_err(drop)
        });
        if let Ok(decided) = decided {
            self.slot.metrics.shadow(compare(own.as_ref().ok(), decided));
        }
    }
}

fn check_response(
    decision: ResponseDecision,
    response: &Response<Body>,
    limits: &ListenerLimits,
) -> Result<Decided, String> {
    Ok(match decision {
        ResponseDecision::Next => Decided::Next,
        ResponseDecision::Edit(Changes { edits, context }) => {
            let edits = Edits::of_response(edits)?;
            edits.within(response.headers(), limits)?;
            Decided::Edit(edits, context)
        }
        ResponseDecision::Reply(reply) => Decided::Reply(edit::reply(reply, limits)?),
    })
}

/// Whether a generation in the shadow decides as the one that serves.
fn compare(own: Option<&Decided>, decided: &Decided) -> &'static str {
    let is_same = match (own, decided) {
        (None, _) => return "failed",
        (Some(Decided::Next), Decided::Next) => true,
        (Some(Decided::Edit(own, _)), Decided::Edit(other, _)) => own == other,
        (Some(Decided::Reply(own)), Decided::Reply(other)) => {
            own.status() == other.status() && own.headers() == other.headers()
        }
        _ => false,
    };
    if is_same { "same" } else { "different" }
}

/// Calls under a span if the request is traced.
fn traced<T>(
    slot: &Slot,
    function: Function,
    record: &Record,
    call: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let Some(mut span) = record.span(FILTER) else { return call() };
    span.attribute("weir.plugin", slot.name.to_string());
    span.attribute("weir.plugin.function", function.name());
    let result = call();
    if let Err(error) = &result {
        span.error(error.kind());
    }
    result
}

/// The answer to a fetch.
struct Answered {
    head: http::response::Parts,
    body: bytes::Bytes,
}

impl Answered {
    #[allow(clippy::type_complexity, reason = "a record for one call")]
    fn borrow(&self) -> (u16, Vec<(&str, &[u8])>, &[u8]) {
        let fields = self.head.headers.iter();
        let headers = fields.map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        (self.head.status.as_u16(), headers, &self.body)
    }
}

/// Fetches that one plugin may make for one request.
const MAX_FETCHES: usize = 4;

/// Time for a fetch that does not say, and at the most.
const FETCH: Duration = Duration::from_secs(5);
const LONGEST_FETCH: Duration = Duration::from_secs(60);

/// Bytes of an answer's body.
const MAX_ANSWER: usize = 256 << 10;

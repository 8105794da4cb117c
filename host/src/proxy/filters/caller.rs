//! The questions to one generation of one filter: its calls, the fetches that it requests, and the
//! check of its decisions.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt as _;
use weir_runtime::filter::{self, Changes, Fetch, RequestDecision, ResponseDecision};
use weir_runtime::{FilterInstance, with_causes};

use super::Chain;
use super::decision::{Decision, recall};
use crate::message::body::Body;
use crate::message::edit::{self, Edits};
use crate::message::exchange::Exchange;
use crate::message::headers;
use crate::message::input::{RequestView, SavedInputs};
use crate::message::peer::RequestId;
use crate::plugins::function::Function;
use crate::plugins::generation::CallError;
use crate::plugins::memo::{CallInput, Conclusion};
use crate::plugins::seat::{FilterShape, Seat};
use crate::plugins::slot::Slot;
use crate::telemetry::record::Record;
use crate::telemetry::trace::{FILTER, Span};
use crate::upstream::send::UpstreamRequest;

/// The checked answer of a filter to a request.
pub(super) enum Step {
    Decision(Decision),
    Fetch(PendingFetch),
}

impl Step {
    fn answer(&self) -> Conclusion<'_> {
        match self {
            Self::Decision(decision) => decision.answer(),
            Self::Fetch(_) => Conclusion::Other,
        }
    }
}

impl From<Decision> for Step {
    fn from(decision: Decision) -> Self {
        Self::Decision(decision)
    }
}

/// A checked fetch.
pub(super) struct PendingFetch {
    /// Name of the upstream.
    upstream: Arc<str>,
    request: Request<Body>,
    limit: Duration,
    context: Vec<u8>,
}

impl Chain<'_> {
    /// Calls a generation for a request, and makes the fetches that it requests.
    pub(super) async fn request(
        &self,
        seat: &Seat,
        view: &RequestView<'_>,
        record: &mut Record,
    ) -> Result<(Rc<FilterShape>, Decision), CallError> {
        let (shape, step) = self.begin(seat, view, record)?;
        Ok((shape, self.finish(seat, view, step, record).await?))
    }

    /// Calls a generation for a request, up to its first fetch. Most filters request none, and then
    /// no future is needed.
    pub(super) fn begin(
        &self,
        seat: &Seat,
        view: &RequestView<'_>,
        record: &Record,
    ) -> Result<(Rc<FilterShape>, Step), CallError> {
        let shape = Rc::clone(seat.shape(self.subject.id)?);
        if !shape.on_request {
            return Ok((shape, Step::Decision(Decision::Next)));
        }
        let step = shape.inputs.with(view, |inputs| {
            let input = CallInput { function: Function::Request, status: 0, inputs, context: &[] };
            recall((seat, self.subject.id), shape.remembers_requests, input, Step::answer, || {
                traced(seat, Function::Request, record, || self.call(seat, inputs, view.authority))
            })
        })?;
        Ok((shape, step))
    }

    /// Makes the fetches that a generation requests until it decides.
    pub(super) async fn finish(
        &self,
        seat: &Seat,
        view: &RequestView<'_>,
        mut step: Step,
        record: &mut Record,
    ) -> Result<Decision, CallError> {
        let mut fetches = 0;
        loop {
            let fetch = match step {
                Step::Decision(decision) => return Ok(decision),
                Step::Fetch(fetch) => fetch,
            };
            fetches += 1;
            step = self.resume(seat, view, fetch, fetches, record).await?;
        }
    }

    /// Calls a shadow generation. Its fetches are not made, so its decision after a fetch stays
    /// unknown.
    pub(super) fn shadow(
        &self,
        seat: &Seat,
        view: &RequestView<'_>,
    ) -> Option<Result<Decision, CallError>> {
        let shape = match seat.shape(self.subject.id) {
            Ok(shape) => Rc::clone(shape),
            Err(error) => return Some(Err(error)),
        };
        if !shape.on_request {
            return Some(Ok(Decision::Next));
        }
        let step = shape.inputs.with(view, |inputs| self.call(seat, inputs, view.authority));
        match step {
            Ok(Step::Decision(decision)) => Some(Ok(decision)),
            Ok(Step::Fetch(_)) => None,
            Err(error) => Some(Err(error)),
        }
    }

    fn call(
        &self,
        seat: &Seat,
        inputs: &[Option<&[u8]>],
        authority: &str,
    ) -> Result<Step, CallError> {
        let check = |decision| check(&seat.slot, decision, authority, 0);
        let call = |filter: &mut FilterInstance| filter.on_request(inputs);
        seat.call(Function::Request, self.subject.id, call, check)
    }

    /// Makes a fetch and passes its answer to the filter.
    async fn resume(
        &self,
        seat: &Seat,
        view: &RequestView<'_>,
        mut fetch: PendingFetch,
        fetches: usize,
        record: &mut Record,
    ) -> Result<Step, CallError> {
        let context = std::mem::take(&mut fetch.context);
        let answer = self.fetch(fetch, record).await;
        traced(seat, Function::Fetch, record, || {
            let answer = answer.as_ref().map(FetchAnswer::borrow).map_err(|reason| &**reason);
            let call = |filter: &mut FilterInstance| match &answer {
                Ok((status, headers, body)) => {
                    let (status, headers, body) = (*status, &headers[..], *body);
                    filter.on_fetch(&context, Ok(filter::Answer { status, headers, body }))
                }
                Err(reason) => filter.on_fetch(&context, Err(reason)),
            };
            let check = |decision| check(&seat.slot, decision, view.authority, fetches);
            seat.call(Function::Fetch, self.subject.id, call, check)
        })
    }

    /// Makes the request of a filter. The error is the text for the filter.
    async fn fetch(&self, fetch: PendingFetch, record: &mut Record) -> Result<FetchAnswer, String> {
        let PendingFetch { upstream, request, limit, .. } = fetch;
        let reach = self.reaches.named(&upstream).ok_or("there is no such upstream")?;
        let (mut head, body) = request.into_parts();
        let host = head.headers.get(http::header::HOST).cloned();
        let host = host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default();
        let exchange = Exchange::start(Rc::default());
        let request = UpstreamRequest {
            head: &mut head,
            body,
            authority: host,
            subject: self.subject,
            exchange,
            pinned: self.pinned,
            timeouts: None,
            is_own: false,
        };
        let answer = tokio::time::timeout(limit, async {
            let response = reach.send(request, record).await.map_err(|error| error.to_string())?;
            let (mut head, body) = response.into_parts();
            // Fields about that connection must not be copied to another. Trailers are not passed
            // to the filter at all.
            drop(headers::strip_connection(&mut head.headers));
            let body = http_body_util::Limited::new(body, MAX_ANSWER).collect().await;
            let body = body.map_err(|error| error.to_string())?.to_bytes();
            Ok(FetchAnswer { head, body })
        });
        answer.await.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")))
    }
}

/// Checks the answer of a filter after `fetches` fetches.
fn check(
    slot: &Slot,
    decision: RequestDecision,
    authority: &str,
    fetches: usize,
) -> Result<Step, String> {
    Ok(Step::Decision(match decision {
        RequestDecision::Next => Decision::Next,
        RequestDecision::Edit(Changes { edits, context }) => {
            let edits = Edits::of_request(edits, |name| upstream(slot, name))?;
            Decision::Edit(edits, context)
        }
        RequestDecision::Reply(reply) => Decision::Reply(edit::reply(reply)?),
        RequestDecision::Fetch(_) if fetches == MAX_FETCHES => {
            return Err(format!("it fetches more than {MAX_FETCHES} times"));
        }
        RequestDecision::Fetch(fetch) => {
            return check_fetch(slot, fetch, authority).map(Step::Fetch);
        }
    }))
}

fn check_fetch(slot: &Slot, mut fetch: Fetch, authority: &str) -> Result<PendingFetch, String> {
    let upstream = upstream(slot, &fetch.upstream);
    let upstream = upstream.ok_or_else(|| filter::not_allowed(&fetch.upstream))?;
    let limit = match fetch.timeout_ms {
        0 => FETCH,
        ms => Duration::from_millis(ms.into()).min(LONGEST_FETCH),
    };
    let context = std::mem::take(&mut fetch.context);
    let request = edit::request(fetch, authority)?;
    Ok(PendingFetch { upstream, request, limit, context })
}

/// The name of an upstream, if the plugin may reach it.
fn upstream(slot: &Slot, name: &str) -> Option<Arc<str>> {
    slot.upstreams.iter().find(|known| ***known == *name).cloned()
}

/// The inputs of a filter for a response, except the response itself.
#[derive(Clone, Copy)]
pub(super) struct ResponseContext<'a> {
    pub(super) kept: &'a SavedInputs,
    pub(super) context: &'a [u8],
    /// The id of the request.
    pub(super) request: RequestId,
}

/// Calls a generation for a response.
pub(super) fn response(
    seat: &Seat,
    shape: &FilterShape,
    memory: ResponseContext<'_>,
    response: &Response<Body>,
    record: &Record,
) -> Result<Decision, CallError> {
    let ResponseContext { kept, context, request } = memory;
    let status = response.status().as_u16();
    shape.response_inputs.with(response.headers(), kept, |inputs| {
        let input = CallInput { function: Function::Response, status, inputs, context };
        recall((seat, request), shape.remembers_responses, input, Decision::answer, || {
            traced(seat, Function::Response, record, || call_response(seat, input, request))
        })
    })
}

/// Calls a shadow generation for a response.
pub(super) fn shadow_response(
    seat: &Seat,
    shape: &FilterShape,
    memory: ResponseContext<'_>,
    response: &Response<Body>,
) -> Result<Decision, CallError> {
    let ResponseContext { kept, context, request } = memory;
    let status = response.status().as_u16();
    shape.response_inputs.with(response.headers(), kept, |inputs| {
        let input = CallInput { function: Function::Response, status, inputs, context };
        call_response(seat, input, request)
    })
}

fn call_response(
    seat: &Seat,
    input: CallInput<'_>,
    request: RequestId,
) -> Result<Decision, CallError> {
    let CallInput { function, status, inputs, context } = input;
    let call = |filter: &mut FilterInstance| filter.on_response(status, inputs, context);
    seat.call(function, request, call, check_response)
}

fn check_response(decision: ResponseDecision) -> Result<Decision, String> {
    Ok(match decision {
        ResponseDecision::Next => Decision::Next,
        ResponseDecision::Edit(Changes { edits, context }) => {
            Decision::Edit(Edits::of_response(edits)?, context)
        }
        ResponseDecision::Reply(reply) => Decision::Reply(edit::reply(reply)?),
    })
}

/// Makes a call within a span if the request is traced.
pub(super) fn traced<T>(
    seat: &Seat,
    function: Function,
    record: &Record,
    call: impl FnOnce() -> Result<T, CallError>,
) -> Result<T, CallError> {
    let Some(mut span) = span(seat, function, record) else { return call() };
    let result = call();
    if let Err(error) = &result {
        span.error(error.kind(), &with_causes(error));
    }
    result
}

/// Begins the span of a filter's function if the request is traced.
pub(in crate::proxy) fn span(seat: &Seat, function: Function, record: &Record) -> Option<Span> {
    let mut span = record.span(FILTER)?;
    let generation = i64::try_from(seat.generation.number).unwrap_or(i64::MAX);
    span.attribute("weir.plugin", seat.slot.name.to_string());
    span.attribute("weir.plugin.generation", generation);
    span.attribute("weir.plugin.function", function.name());
    Some(span)
}

/// The answer to a fetch.
struct FetchAnswer {
    head: http::response::Parts,
    body: bytes::Bytes,
}

impl FetchAnswer {
    #[allow(clippy::type_complexity, reason = "a record for one call")]
    fn borrow(&self) -> (u16, Vec<(&str, &[u8])>, &[u8]) {
        let fields = self.head.headers.iter();
        let headers = fields.map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        (self.head.status.as_u16(), headers, &self.body)
    }
}

/// Maximum number of fetches of one plugin for one request.
const MAX_FETCHES: usize = 4;

/// Default and maximum time of a fetch.
const FETCH: Duration = Duration::from_secs(5);
const LONGEST_FETCH: Duration = Duration::from_secs(60);

/// Maximum number of bytes of an answer's body.
const MAX_ANSWER: usize = 256 << 10;

//! Answers of standard components. The request's own future runs the component until the head of
//! its response, and then the response's body runs it. The response is checked.

mod body;
pub(super) mod feed;
mod run;

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, Version, header};
use http_body::Body as _;
use weir_h3::message::content_length;
use weir_runtime::service::GuestBody;
use weir_runtime::{PluginError, with_causes};

use super::body::RequestBody;
use super::errand::ComponentContext;
use super::error::ProxyError;
use super::filters::{Chain, Middleware, RESPONSE_BYTES, RESPONSE_FIELDS};
use super::{Proxy, filters};
use crate::config::PluginId;
use crate::message::body::Body;
use crate::message::check::Checked;
use crate::message::exchange::{BodyFailure, Exchange};
use crate::message::{check, headers};
use crate::plugins::function::Function;
use crate::plugins::seat::Seat;
use crate::plugins::slot::{Role, Slot};
use crate::route::Route;
use crate::status;
use crate::telemetry::record::Record;
use body::ComponentBody;
use run::ComponentRun;

/// A component that is to answer a request.
pub(super) struct ComponentTarget<'a> {
    plugin: PluginId,
    role: Role,
    context: Rc<ComponentContext>,
    checked: &'a Checked,
    /// The authority that the component sees.
    host: &'a Authority,
}

/// The reason why a component gave no response.
enum ComponentError {
    /// The maximum number of requests is running.
    Busy,
    /// The request's body failed first.
    Request(BodyFailure),
    /// The component failed.
    Plugin(PluginError),
}

impl<'a> ComponentTarget<'a> {
    /// Creates the target for a component in place of an upstream.
    pub(super) fn component(
        proxy: &Rc<Proxy>,
        route: &Arc<Route>,
        chain: &Chain<'_>,
        checked: &'a Checked,
        host: &'a Authority,
        plugin: PluginId,
    ) -> Self {
        let context = ComponentContext::new(proxy, route, chain, None);
        Self { plugin, role: Role::Component, context, checked, host }
    }

    /// Creates the target for a middleware, which may call the rest of the chain.
    pub(super) fn middleware(
        proxy: &Rc<Proxy>,
        route: &Arc<Route>,
        chain: &Chain<'_>,
        checked: &'a Checked,
        host: &'a Authority,
        middleware: Middleware,
    ) -> Self {
        let plugin = middleware.plugin;
        let context = ComponentContext::new(proxy, route, chain, Some(middleware));
        Self { plugin, role: Role::Filter, context, checked, host }
    }

    /// Runs the component and returns its response.
    ///
    /// # Errors
    ///
    /// [`ProxyError`] if the component gives no response or an invalid one.
    pub(super) async fn answer(
        self,
        head: &mut Parts,
        body: Body,
        chain: &Chain<'_>,
        record: &mut Record,
    ) -> Result<Response<Body>, ProxyError> {
        let Self { checked, host, .. } = self;
        let pinned = chain.pinned();
        let lane = pinned.lane(self.plugin).ok_or(ProxyError::Missing("component"))?;
        let (slot, choice) = (lane.slot(), lane.choose(pinned.roll));
        let peer = chain.subject().peer;
        if self.role == Role::Component {
            record.component(&slot.name);
            headers::toward_upstream(head, &checked.authority, host, peer);
        }
        head.uri = absolute(&head.uri, peer.tls, host);

        let exchange = Exchange::start(record.request_bytes());
        if !body.is_end_stream() && headers::is_grpc(&head.headers, peer.protocol) {
            exchange.unpace();
        }
        let wait = choice.first.generation.bounds.wait;
        let declared = checked.declared;
        let limits = (chain.limits(), chain.body_limit());
        let mut body = RequestBody::wrap(body, Rc::clone(&exchange), declared, limits, Some(wait))?;
        if chain.wants_request_body() {
            body = chain.on_request_body(body, &exchange, record);
        }
        // A middleware may have sent the request on before it failed, so it gets no second attempt.
        let again =
            choice.fallback.filter(|_| body.is_end_stream() && self.role == Role::Component);
        let copied = |head: &Parts| Request::from_parts(check::copy(head), ());
        let answering = self.on(choice.first, copied(head), body, (&exchange, record));
        let mut answered = answering.await;
        if let (Err(ComponentError::Plugin(_)), Some(serving)) = (&answered, again) {
            let answering = self.on(serving, copied(head), Body::empty(), (&exchange, record));
            answered = answering.await;
        }
        if let Some(went) = self.context.went() {
            record.adopt(went);
        }
        exchange.unpace();
        answered.map_err(|error| error.told(slot))
    }

    async fn on(
        &self,
        seat: &Rc<Seat>,
        head: Request<()>,
        body: Body,
        (exchange, record): (&Exchange, &Record),
    ) -> Result<Response<Body>, ComponentError> {
        let mut span = filters::span(seat, Function::Handle, record);
        let answered = self.ask(seat, head, body, exchange).await;
        if let Err(error) = &answered {
            if let Some(span) = &mut span {
                span.error(error.kind(), &error.reason());
            }
            if let ComponentError::Plugin(error) = error {
                seat.fail(Function::Handle, self.context.id(), error);
            }
        }
        answered
    }

    async fn ask(
        &self,
        seat: &Rc<Seat>,
        head: Request<()>,
        body: Body,
        exchange: &Exchange,
    ) -> Result<Response<Body>, ComponentError> {
        let place = seat.place().ok_or(ComponentError::Busy)?;
        let is_head = head.method() == Method::HEAD;
        let start = Instant::now();
        let wait = seat.generation.bounds.wait;
        let mut run =
            ComponentRun::begin(seat, place, (&self.role, &self.context), head.map(|()| body))?;
        let response = tokio::select! {
            biased;
            response = run.head(exchange) => response?,
            () = exchange.stalled(Some(wait)) => {
                let plugin = Arc::clone(&seat.slot.name);
                let error = PluginError::Timeout { plugin, call: "handle", limit: wait };
                return Err(ComponentError::Plugin(error));
            }
        };
        seat.function(Function::Handle).duration.observe(start.elapsed().as_secs_f64());
        let invalid = |what: &str| seat.invalid(what);
        let response = respond(run, response, is_head, wait).map_err(invalid)?;
        Ok(match self.role {
            Role::Component => via(response),
            _ => response,
        })
    }
}

impl ComponentError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Busy => "concurrency",
            Self::Request(_) => "request",
            Self::Plugin(error) => error.kind(),
        }
    }

    /// Returns the text for a span.
    fn reason(&self) -> String {
        match self {
            Self::Busy => "too many requests run".to_owned(),
            Self::Request(failure) => failure.label().to_owned(),
            Self::Plugin(error) => with_causes(error),
        }
    }

    fn told(self, slot: &Slot) -> ProxyError {
        let name = Arc::clone(&slot.name);
        match self {
            Self::Request(failure) => ProxyError::RequestBody(failure),
            Self::Plugin(PluginError::Timeout { .. }) => ProxyError::ComponentTimeout(name),
            other => ProxyError::Filter(name, other.kind()),
        }
    }
}

impl From<PluginError> for ComponentError {
    fn from(error: PluginError) -> Self {
        Self::Plugin(error)
    }
}

/// Checks the response of a component in the same way as that of an origin. The returned body runs
/// the component.
fn respond(
    run: ComponentRun,
    response: Response<GuestBody>,
    is_head: bool,
    wait: Duration,
) -> Result<Response<Body>, &'static str> {
    let (mut head, body) = response.into_parts();
    if !(200..600).contains(&head.status.as_u16()) {
        return Err("handle: its status is not that of a final response");
    }
    head.version = Version::default();
    let named = headers::strip_connection(&mut head.headers);
    check::within(&head.headers, RESPONSE_BYTES, RESPONSE_FIELDS)
        .map_err(|_| "handle: the header section of its response is too large")?;
    let declared = content_length(&head.headers);
    let declared = declared.map_err(|_| "handle: its content-length is none")?;
    if is_head || !status::may_have_content(head.status) {
        if head.status != StatusCode::NOT_MODIFIED && !is_head {
            head.headers.remove(header::CONTENT_LENGTH);
        }
        run.linger(wait);
        return Ok(Response::from_parts(head, Body::empty()));
    }
    let mut body = Body::stream(ComponentBody::new(run, body, declared, wait));
    named.withhold(&mut body);
    Ok(Response::from_parts(head, body))
}

/// Treats the response of a component as that of an origin.
fn via(mut response: Response<Body>) -> Response<Body> {
    headers::toward_client(&mut response);
    response
}

/// Returns the full URL, from which a component learns scheme and authority.
fn absolute(uri: &Uri, is_encrypted: bool, host: &Authority) -> Uri {
    let mut parts = uri.clone().into_parts();
    parts.scheme = Some(if is_encrypted { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(host.clone());
    // The target `*` of OPTIONS is not the path of a URL.
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

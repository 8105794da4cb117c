//! The network requests of a component while it serves a request. They reach only upstreams that
//! its configuration names, over the worker's own connections.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use http::request::Parts;
use http::{HeaderValue, Method, Response, header};
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;
use weir_h3::message::content_length;
use weir_runtime::service::{Ask, Errand, GuestBody, HttpError, Incoming, channel};

use super::body::RequestBody;
use super::component::feed::feed;
use super::error::ProxyError;
use super::filters::{Chain, Middleware};
use super::{Proxy, Worker};
use crate::config::ListenerLimits;
use crate::message::body::{Body, BodyError};
use crate::message::check::Checked;
use crate::message::exchange::Exchange;
use crate::message::nominated::Nominated;
use crate::message::peer::{Peer, RequestId};
use crate::message::subject::Subject;
use crate::message::{check, headers};
use crate::plugins::slot::Slot;
use crate::plugins::view::Pinned;
use crate::route::Route;
use crate::task::Tasks;
use crate::telemetry::record::Record;
use crate::upstream::error::Cause;
use crate::upstream::pool::ConnectError;
use crate::upstream::{Reach, send};

/// The data of the worker that a component's request needs while its response streams.
pub(super) struct ComponentContext {
    proxy: Rc<Proxy>,
    peer: Peer,
    id: RequestId,
    route: Arc<Route>,
    pinned: Pinned,
    /// Present for a middleware, which may call the rest of the chain.
    middleware: Option<Middleware>,
    /// The record of the rest of the chain.
    went: RefCell<Option<Record>>,
}

impl ComponentContext {
    /// Copies the data of a request's chain, without its lifetime.
    pub(super) fn new(
        proxy: &Rc<Proxy>,
        route: &Arc<Route>,
        chain: &Chain<'_>,
        middleware: Option<Middleware>,
    ) -> Rc<Self> {
        let subject = chain.subject();
        Rc::new(Self {
            proxy: Rc::clone(proxy),
            peer: *subject.peer,
            id: subject.id,
            route: Arc::clone(route),
            pinned: chain.pinned().clone(),
            middleware,
            went: RefCell::default(),
        })
    }

    /// Returns the id of the request that the component serves.
    pub(super) fn id(&self) -> RequestId {
        self.id
    }

    /// Returns the tasks that continue after the end of the response.
    pub(super) fn tasks(&self) -> &Tasks {
        &self.proxy.worker.tasks
    }

    /// Takes the record of the rest of the chain.
    pub(super) fn went(&self) -> Option<Record> {
        self.went.take()
    }

    /// Makes a request of a component, up to the last byte of the answer.
    pub(super) fn run(self: &Rc<Self>, slot: &Arc<Slot>, ask: Ask) -> LocalBoxFuture<'static, ()> {
        let (context, slot) = (Rc::clone(self), Arc::clone(slot));
        Box::pin(async move {
            let is_next = matches!(ask, Ask::Next(_));
            let (Ask::Send(errand) | Ask::Next(errand)) = ask;
            let Errand { request, limit, mut answer } = errand;
            let asked = async {
                if is_next {
                    context.next(request).await
                } else {
                    context.send(&slot, request, limit).await
                }
            };
            let answered = tokio::select! {
                answered = asked => answered,
                // The component does not want the answer any more.
                () = answer.closed() => return,
            };
            pass(answered, answer).await;
        })
    }

    /// Passes the request through the rest of the chain: the filters after a middleware, and the
    /// end of the route.
    async fn next(&self, request: http::Request<GuestBody>) -> Result<Response<Body>, HttpError> {
        let Self { proxy, peer, id, route, pinned, .. } = self;
        let middleware = self.middleware.clone().ok_or(HttpError::HttpRequestDenied)?;
        let (mut head, body) = request.into_parts();
        let authority = head.uri.authority().cloned().ok_or(HttpError::HttpRequestUriInvalid)?;
        head.headers.remove(header::HOST);
        let (declared, named) = self.admit(&mut head)?;
        let limits = self.limits()?;
        let checked = Checked { authority, declared };
        let subject = Subject::new(peer, *id, &route.name, &proxy.state.geoip);
        let chain = Chain::new(route, pinned, &subject, &proxy.reaches, limits, &head.method);
        let mut chain = chain.after(middleware);
        let Worker { telemetry, metrics, .. } = &*proxy.worker;
        let mut record = Record::aside(telemetry, metrics, peer, *id);
        let mut body = Body::stream(body.map_err(|_| BodyError::Aborted));
        named.withhold(&mut body);
        let response = proxy.pass(&mut head, body, route, &checked, &mut chain, &mut record).await;
        self.went.replace(Some(record));
        Ok(response)
    }

    async fn send(
        &self,
        slot: &Slot,
        request: http::Request<GuestBody>,
        limit: Option<Duration>,
    ) -> Result<Response<Body>, HttpError> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let reach = self.allowed(slot, &host).ok_or_else(|| {
            tracing::info!(
                plugin = &*slot.name,
                request_id = %self.id,
                host,
                "a request of the plugin was refused: its host is no upstream among its allow.upstreams"
            );
            HttpError::HttpRequestDenied
        })?;
        let sending = self.forward(slot, reach, &host, request);
        let Some(limit) = limit else { return sending.await };
        tokio::time::timeout(limit, sending).await.unwrap_or(Err(HttpError::HttpResponseTimeout))
    }

    async fn forward(
        &self,
        slot: &Slot,
        reach: &Reach,
        host: &str,
        request: http::Request<GuestBody>,
    ) -> Result<Response<Body>, HttpError> {
        let (mut head, body) = request.into_parts();
        let (declared, named) = self.admit(&mut head)?;
        let authority = HeaderValue::from_str(host);
        head.headers.insert(header::HOST, authority.map_err(|_| HttpError::HttpRequestUriInvalid)?);
        let limits = self.limits()?;
        let exchange = Exchange::start(Rc::default());
        // The component sends this body, not the client.
        exchange.unpace();
        let idle = reach.upstream().timeouts.idle;
        let told = |error: BodyError| told(&ProxyError::from(error));
        let mut body = Body::stream(body.map_err(|_| BodyError::Aborted));
        named.withhold(&mut body);
        let body =
            RequestBody::wrap(body, Rc::clone(&exchange), declared, (limits, limits.body), idle);
        let mut body = body.map_err(told)?;
        if declared.is_none() && !http_body::Body::is_end_stream(&body) {
            body = reach.settle(body).await.map_err(told)?;
        }
        let subject = Subject::new(&self.peer, self.id, &self.route.name, &self.proxy.state.geoip);
        let request = send::UpstreamRequest {
            head: &mut head,
            body,
            authority: host,
            subject: &subject,
            exchange,
            pinned: &self.pinned,
            timeouts: None,
            is_own: false,
        };
        let Worker { telemetry, metrics, .. } = &*self.proxy.worker;
        let mut record = Record::aside(telemetry, metrics, &self.peer, self.id);
        let sent = reach.send(request, &mut record).await;
        let mut response = sent.map_err(|error| {
            let plugin = &*slot.name;
            tracing::debug!(plugin, request_id = %self.id, upstream = host, %error, "request of a plugin failed");
            self::told(&error.into())
        })?;
        headers::strip_connection(response.headers_mut()).withhold(response.body_mut());
        Ok(response)
    }

    /// Checks the head of a request like that of a client. Returns the length of its body, and the
    /// fields that its trailers must not contain.
    fn admit(&self, head: &mut Parts) -> Result<(Option<u64>, Nominated), HttpError> {
        if head.method == Method::CONNECT {
            return Err(HttpError::HttpRequestMethodInvalid);
        }
        let named = headers::from_client(&mut head.headers, true);
        let limits = self.limits()?;
        check::within(&head.headers, limits.header_bytes, limits.header_count)
            .map_err(|_| HttpError::HttpRequestHeaderSectionSize(None))?;
        let declared = content_length(&head.headers);
        Ok((declared.map_err(|_| HttpError::HttpRequestBodySize(None))?, named))
    }

    fn limits(&self) -> Result<&ListenerLimits, HttpError> {
        let listener = self.proxy.state.listener(self.peer.listener);
        listener.map(|listener| &listener.limits).ok_or(HttpError::HttpProtocolError)
    }

    fn allowed(&self, slot: &Slot, host: &str) -> Option<&Reach> {
        let is_allowed = slot.upstreams.iter().any(|name| **name == *host);
        self.proxy.reaches.named(host).filter(|_| is_allowed)
    }
}

/// Passes the awaited answer to a component, then its body piece by piece.
async fn pass(
    answered: Result<Response<Body>, HttpError>,
    answer: oneshot::Sender<Result<Response<Incoming>, HttpError>>,
) {
    let response = match answered {
        Ok(response) => response,
        Err(error) => return drop(answer.send(Err(error))),
    };
    let (head, body) = response.into_parts();
    if http_body::Body::is_end_stream(&body) {
        return drop(answer.send(Ok(Response::from_parts(head, Incoming::empty()))));
    }
    let (feeding, incoming) = channel();
    if answer.send(Ok(Response::from_parts(head, incoming))).is_ok() {
        feed(body, feeding, Rc::default()).await;
    }
}

/// Converts the error of a failed request for the component.
fn told(error: &ProxyError) -> HttpError {
    let cause = match error {
        ProxyError::Send(error) => &error.cause,
        ProxyError::RequestBody(_) => return HttpError::HttpRequestBodySize(None),
        _ => return HttpError::HttpProtocolError,
    };
    match cause {
        Cause::NoEndpoint(_) | Cause::Declined(_) => HttpError::DestinationUnavailable,
        Cause::Connect { source, .. } => match source {
            ConnectError::Saturated(_) | ConnectError::Share(_) => {
                HttpError::ConnectionLimitReached
            }
            ConnectError::Io(_) => HttpError::ConnectionRefused,
            ConnectError::Tls(_) => HttpError::TlsProtocolError,
            ConnectError::Timeout(_) => HttpError::ConnectionTimeout,
        },
        Cause::FirstByteTimeout | Cause::TotalTimeout => HttpError::HttpResponseTimeout,
        Cause::RequestBody(_) => HttpError::HttpRequestBodySize(None),
        Cause::Missing(_) | Cause::Refused(_) | Cause::Closed(_) | Cause::Broken(_) => {
            HttpError::HttpProtocolError
        }
    }
}

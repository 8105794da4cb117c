//! The path of one request from listener to listener, on one screen.
//!
//! `listen` hands each request of each protocol to [`Follower::serve`], on the worker's own thread.
//! The request gets the present [`Proxy`], which answers every request. [`error`] has the possible
//! failures, and only [`respond`] turns them into responses.

pub mod body;
mod component;
mod errand;
pub mod error;
pub mod filters;
mod follower;
mod forwards;
mod mirror;
pub mod respond;
mod tunnel;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use http::request::Parts;
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use rand::RngExt as _;
use rand::rngs::SmallRng;

use crate::config::ErrorPage;
use crate::message::body::Body;
use crate::message::check::{self, CheckError, Checked};
use crate::message::exchange::{Exchange, Side};
use crate::message::forwarded;
use crate::message::headers;
use crate::message::interim::Interim;
use crate::message::peer::{Peer, RequestId};
use crate::message::subject::Subject;
use crate::message::tunnel::Upgrade;
use crate::plugins::view::{Pinned, View};
use crate::route::{Action, Route};
use crate::state::State;
use crate::state::current::Current;
use crate::task::Tasks;
use crate::telemetry::Telemetry;
use crate::telemetry::metrics::Local;
use crate::telemetry::record::Record;
use crate::upstream::Reaches;
use crate::upstream::send::UpstreamRequest;
use body::RequestBody;
use component::ComponentTarget;
use error::ProxyError;
use filters::{Chain, Way};
use tunnel::TunnelBody;

pub use follower::Follower;

/// One worker's part of one configuration. It stays on the worker's thread. A request keeps it to
/// its end, so a reload or a swap never splits a request.
pub struct Proxy {
    state: Arc<State>,
    reaches: Rc<Reaches>,
    /// The generations of the plugins.
    view: Rc<View>,
    worker: Rc<Worker>,
}

/// The part of a worker that configurations do not change.
struct Worker {
    telemetry: Arc<Telemetry>,
    metrics: Rc<Local>,
    random: RefCell<SmallRng>,
    /// Tasks for the work of a component after the end of its response, and for copies of requests.
    tasks: Tasks,
    /// The copies of requests at this moment.
    copies: Rc<Cell<usize>>,
}

impl Proxy {
    /// Creates the proxy of the present state. It keeps the connections and instances of `before`.
    fn follow(current: &Current, worker: &Rc<Worker>, before: Option<&Proxy>) -> Self {
        // The number is read first: a change after it is noticed by the next request.
        let version = current.version();
        let state = current.state();
        let view = View::new(&state.plugins, version, before.map(|before| &*before.view));
        let reaches = match before.filter(|before| Arc::ptr_eq(&before.state, &state)) {
            Some(before) => Rc::clone(&before.reaches),
            None => {
                worker.metrics.forget_routes();
                Rc::new(Reaches::new(&state.upstreams, before.map(|before| &*before.reaches)))
            }
        };
        Self { state, reaches, view: Rc::new(view), worker: Rc::clone(worker) }
    }

    /// Answers a request. Every failure becomes a response. Dropping the future cancels the
    /// upstream's work.
    fn serve(
        self: Rc<Self>,
        request: Request<Body>,
        peer: Peer,
        interim: Interim,
    ) -> impl Future<Output = Response<Body>> + use<> {
        let Worker { telemetry, metrics, random, .. } = &*self.worker;
        let id = RequestId(random.borrow_mut().random());
        let peer = match self.state.listener(peer.listener) {
            Some(listener) if !listener.trusted_proxies.is_empty() => {
                forwarded::resolve(request.headers(), peer, &listener.trusted_proxies)
            }
            _ => peer,
        };
        let mut record = Record::start(telemetry, metrics, &request, &peer, id);
        let (mut head, body) = request.into_parts();
        // This is not an `async fn`, and the head is passed by reference. A future reserves room
        // for each argument by value and again for its destination. This future is moved before it
        // runs.
        async move {
            let response =
                match self.forward(&mut head, body, (&peer, &interim), id, &mut record).await {
                    Ok(response) => response,
                    Err(error) => fail(&error, id, &self.state.config.errors, &mut record),
                };
            record.finish(match head.method {
                Method::HEAD => respond::without_content(response),
                _ => response,
            })
        }
    }

    /// Finds the route and passes the request through its filters. The response passes back through
    /// them.
    async fn forward(
        self: &Rc<Self>,
        head: &mut Parts,
        body: Body,
        (peer, interim): (&Peer, &Interim),
        id: RequestId,
        record: &mut Record,
    ) -> Result<Response<Body>, ProxyError> {
        let listener = self.state.listener(peer.listener).ok_or(ProxyError::Missing("listener"))?;
        let limits = &listener.limits;
        check::within(&head.headers, limits.header_bytes, limits.header_count)?;
        let checked = check::check(head, || listener.default_host(peer))?;
        if let Some(port) = listener.redirect {
            return Ok(respond::to_https(head, &checked.authority, port));
        }
        // This precedes all reading and adding of fields, so that routes and filters see the fields
        // that the origin gets.
        if peer.via.is_none() {
            forwarded::remove_identity(&mut head.headers);
        }
        let named = headers::from_client(&mut head.headers, limits.underscores_in_headers);
        let body = named.withheld(body);
        let (host, client) = (checked.authority.as_str(), peer.client.ip());
        let route = self.state.router.find(head, host, client);
        let route = route.ok_or(ProxyError::NoRoute)?;
        record.route(&route.series);
        let body = tunnel::admit(head, body, route, peer.protocol)?;
        let pinned = Pinned::new(Rc::clone(&self.view), id.0);
        let subject = Subject::new(peer, id, &route.name, &self.state.geoip)
            .captured(route.captures(head.uri.path()))
            .informed_by(interim);
        let mut chain = Chain::new(route, &pinned, &subject, &self.reaches, limits, &head.method);
        Ok(self.pass(head, body, route, &checked, &mut chain, record).await)
    }

    /// Passes a request through filters to its answer, and the response back.
    #[allow(
        clippy::manual_async_fn,
        reason = "as for `serve`: no room twice for what is given by value"
    )]
    fn pass<'a>(
        self: &'a Rc<Self>,
        head: &'a mut Parts,
        body: Body,
        route: &'a Arc<Route>,
        checked: &'a Checked,
        chain: &'a mut Chain<'_>,
        record: &'a mut Record,
    ) -> impl Future<Output = Response<Body>> {
        async move {
            let mut host = checked.authority.clone();
            let response = match chain.on_request(head, &mut host, record).await {
                Ok(Way::Back(reply)) => Ok(reply),
                Ok(Way::On(upstream)) => {
                    let to = Destination { route, upstream, checked, host: &host };
                    self.answer(head, body, to, chain, record).await
                }
                Ok(Way::Through(_)) if head.extensions.get::<Upgrade>().is_some() => {
                    Err(CheckError::Unsupported("a tunnel through a component").into())
                }
                Ok(Way::Through(middleware)) => {
                    let target =
                        ComponentTarget::middleware(self, route, chain, checked, &host, middleware);
                    // Boxed, so that requests of other routes do not reserve room for it.
                    Box::pin(target.answer(head, body, chain, record)).await
                }
                Err(error) => Err(error),
            };
            let id = chain.subject().id;
            let response = response.unwrap_or_else(|error| {
                let reply = chain.take_reply();
                reply.unwrap_or_else(|| fail(&error, id, &route.errors, record))
            });
            match chain.on_response(response, record) {
                Ok(response) => response,
                // Boxed, because it is rare: a generation on trial fails a few times, then its
                // trial ends.
                Err(failed) => Box::pin(chain.go_on(failed, record)).await,
            }
        }
    }

    /// Performs the action of the route with the request that the filters returned.
    async fn answer(
        self: &Rc<Self>,
        head: &mut Parts,
        body: Body,
        to: Destination<'_>,
        chain: &Chain<'_>,
        record: &mut Record,
    ) -> Result<Response<Body>, ProxyError> {
        let Destination { route, upstream, checked, host } = to;
        let mut keep = None;
        let reach = match (upstream, &route.action) {
            (None, Action::Respond(respond)) => return Ok(respond::fixed(respond)),
            (None, Action::Component(id)) => {
                let target = ComponentTarget::component(self, route, chain, checked, host, *id);
                return Box::pin(target.answer(head, body, chain, record)).await;
            }
            (None, Action::ConnectUdp(relay)) => {
                let bytes = record.request_bytes();
                // Boxed, so that requests of other routes do not reserve room for it.
                return Box::pin(tunnel::udp(relay, head, body, chain.subject(), bytes)).await;
            }
            (Some(name), _) => self.reaches.named(&name),
            (None, Action::Upstream(id)) => self.reaches.get(*id),
            (None, Action::Split(split)) => {
                let chosen = split.choose(&head.headers, chain.subject().id.0);
                keep = chosen.as_ref().and_then(|chosen| chosen.keep);
                chosen.and_then(|chosen| self.reaches.get(chosen.upstream))
            }
        };
        let reach = reach.ok_or(ProxyError::Missing("upstream"))?;
        if let Some(answer) = forwards::count_down(head)? {
            return Ok(answer);
        }

        let (pinned, subject) = (chain.pinned(), chain.subject());
        headers::toward_upstream(head, &checked.authority, host, subject.peer);
        let exchange = Exchange::start(record.request_bytes());
        if !body.is_end_stream() && headers::is_grpc(&head.headers, subject.peer.protocol) {
            exchange.unpace();
        }
        let idle = route.timeouts.idle.unwrap_or(reach.upstream().timeouts.idle);
        let is_tunnel = head.extensions.get::<Upgrade>().is_some();
        // The bytes of a tunnel are no content, which could be settled or filtered.
        let mut body = if is_tunnel {
            TunnelBody::wrap(body, &exchange)
        } else {
            let limits = (chain.limits(), chain.body_limit());
            RequestBody::wrap(body, Rc::clone(&exchange), checked.declared, limits, idle)?
        };
        if !is_tunnel
            && checked.declared.is_none()
            && !body.is_end_stream()
            && head.method.is_safe()
        {
            body = reach.settle(body).await?;
        }
        if chain.wants_request_body() && !is_tunnel {
            body = chain.on_request_body(body, &exchange, record);
        }
        let authority = host.as_str();
        if !is_tunnel {
            body = mirror::copied(self, route, head, body, authority, subject);
        }
        let timeouts = Some(&route.timeouts);
        let is_own = true;
        let request =
            UpstreamRequest { head, body, authority, subject, exchange, pinned, timeouts, is_own };
        let mut response = reach.send(request, record).await?;
        headers::toward_client(&mut response);
        if let Some(cookie) = keep.and_then(|share| share.cookie(subject.scheme() == "https")) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        Ok(response)
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").finish_non_exhaustive()
    }
}

/// The destination of a request, as its route and its filters chose it.
struct Destination<'a> {
    route: &'a Arc<Route>,
    /// The name of the upstream that a filter chose.
    upstream: Option<Arc<str>>,
    checked: &'a Checked,
    /// The authority that the origin sees.
    host: &'a Authority,
}

/// Notes a failure and creates its response.
fn fail(
    error: &ProxyError,
    id: RequestId,
    pages: &[ErrorPage],
    record: &mut Record,
) -> Response<Body> {
    record.error(error.side().label(), error.kind());
    if let Some(reason) = error.cut() {
        record.cut(reason);
    }
    log(error, id);
    if record.is_call() { respond::to_call(error, id) } else { respond::to(error, id, pages) }
}

/// Logs the whole chain of causes, once.
fn log(error: &ProxyError, id: RequestId) {
    let chain = error as &dyn std::error::Error;
    match error.side() {
        Side::Upstream => tracing::warn!(request_id = %id, error = chain, "request failed"),
        _ if error.status() == StatusCode::INTERNAL_SERVER_ERROR => {
            tracing::error!(request_id = %id, error = chain, "request failed");
        }
        _ => tracing::debug!(request_id = %id, error = chain, "request refused"),
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::config::{self, Config, ListenerId, Overrides, PluginId, UpstreamId};
    use crate::message::peer::Protocol;

    fn size_of_result<A, B, C, F>(_: impl Fn(Rc<Proxy>, A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    /// Serves a request by a configuration of one listener, an answer of 200 and no plugin, changed
    /// by `change`.
    async fn status(change: impl FnOnce(&mut Config)) -> StatusCode {
        let text = "listeners: [{ address: '127.0.0.1:0' }]\n\
                    upstreams: [{ name: app, endpoints: [{ address: '127.0.0.1:1' }] }]\n\
                    routes: [{ respond: { body: passed } }]";
        let mut config =
            config::from_text("test", text, "".as_ref(), &Overrides::default()).unwrap();
        change(&mut config);
        let telemetry = Telemetry::counting();
        let (id, metrics) = (ListenerId::new(0), &telemetry.metrics);
        let state = State::build(Arc::new(config), &[id], metrics, None).unwrap();
        let current = Arc::new(Current::new(Arc::new(state), "start"));
        let tasks = Tasks::new(CancellationToken::new(), CancellationToken::new());
        let proxy = Follower::new(current, telemetry, tasks);
        let peer = Peer {
            client: "192.0.2.7:999".parse().unwrap(),
            local: "127.0.0.1:80".parse().unwrap(),
            protocol: Protocol::H1,
            version: http::Version::HTTP_11,
            tls: false,
            listener: id,
            via: None,
        };
        let request = Request::builder().uri("/").header("host", "a").body(Body::empty()).unwrap();
        proxy.serve(request, peer, Interim::none()).await.status()
    }

    #[tokio::test]
    async fn a_part_that_is_missing_is_answered_with_500_and_lets_nothing_pass() {
        assert_eq!(status(|_| {}).await, StatusCode::OK);
        let missing = PluginId::new(9);
        let filter = status(|config| config.routes[0].filters.push(missing));
        assert_eq!(filter.await, StatusCode::INTERNAL_SERVER_ERROR, "filter");
        let component = config::Action::Component(missing);
        let component = status(|config| config.routes[0].action = component);
        assert_eq!(component.await, StatusCode::INTERNAL_SERVER_ERROR, "component");
        let upstream = config::Action::Upstream(UpstreamId::new(9));
        let upstream = status(|config| config.routes[0].action = upstream);
        assert_eq!(upstream.await, StatusCode::INTERNAL_SERVER_ERROR, "upstream");
        let balancer = status(|config| {
            config.routes[0].action = config::Action::Upstream(UpstreamId::new(0));
            config.upstreams[0].balancer = missing;
        });
        assert_eq!(balancer.await, StatusCode::INTERNAL_SERVER_ERROR, "balancer");
    }

    /// Each listener moves the future of a request several times before it is polled, and keeps one
    /// for each request.
    #[test]
    fn a_request_s_future_stays_small() {
        let size = size_of_result(Proxy::serve);
        assert!(size <= 3648, "{size} bytes");
    }
}

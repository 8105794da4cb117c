//! One request, from the edge to the edge: the path on one screen.
//!
//! [`Proxy::serve`] is called by `listen` for each request of each protocol, on the worker's own thread. It answers every
//! request; what can fail is in [`error`], and [`respond`] alone turns that into responses.

pub mod body;
pub mod error;
pub mod headers;
pub mod message;
pub mod respond;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::{Request, Response};
use http_body::Body as _;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::listen::body::Body;
use crate::route::Action;
use crate::state::State;
use crate::telemetry::Telemetry;
use crate::telemetry::metrics::Local;
use crate::telemetry::record::{Record, RequestId};
use crate::upstream::send::Outgoing;
use crate::upstream::{Reach, Upstream};
use body::{Exchange, RequestBody};
use error::ProxyError;

/// What one worker needs to serve requests; lives on its thread.
pub struct Proxy {
    state: Arc<State>,
    reaches: Vec<Reach>,
    telemetry: Arc<Telemetry>,
    metrics: Rc<Local>,
    random: RefCell<SmallRng>,
}

/// Who asks, and by which way.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// The client's address.
    pub client: SocketAddr,
    /// The listener's address.
    pub local: SocketAddr,
    /// The protocol, for records and metrics only.
    pub protocol: Protocol,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// Index of the listener in the configuration.
    pub listener: usize,
}

/// The protocol of a request, for labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.0 or HTTP/1.1.
    H1,
    /// HTTP/2.
    H2,
    /// HTTP/3.
    H3,
}

impl Protocol {
    /// The value of the `protocol` label.
    pub fn label(self) -> &'static str {
        match self {
            Self::H1 => "h1",
            Self::H2 => "h2",
            Self::H3 => "h3",
        }
    }
}

impl Proxy {
    /// Makes one worker's proxy.
    pub fn new(state: Arc<State>, telemetry: Arc<Telemetry>) -> Self {
        let reach = |upstream: &Arc<Upstream>| {
            let metrics = telemetry.metrics.plugin(&upstream.balancer_name, 1);
            Reach::new(Arc::clone(upstream), metrics)
        };
        let reaches = state.upstreams.iter().map(reach).collect();
        let metrics = Rc::new(Local::new(&telemetry.metrics));
        let random = RefCell::new(SmallRng::from_rng(&mut rand::rng()));
        Self { state, reaches, telemetry, metrics, random }
    }

    /// Answers a request; every failure becomes a response. Dropping the future cancels the upstream's work.
    pub async fn serve(&self, request: Request<Body>, peer: Peer) -> Response<Body> {
        let id = RequestId(self.random.borrow_mut().random());
        let mut record = Record::start(&self.telemetry, &self.metrics, &request, &peer, id);
        let response = match self.forward(request, &peer, &mut record).await {
            Ok(response) => response,
            Err(error) => {
                record.error(error.side().label(), error.kind());
                log(&error, id);
                respond::to(&error, id)
            }
        };
        record.finish(response)
    }

    async fn forward(
        &self,
        request: Request<Body>,
        peer: &Peer,
        record: &mut Record,
    ) -> Result<Response<Body>, ProxyError> {
        let limits = self.state.limits(peer.listener);
        let (mut head, body) = request.into_parts();
        let checked = message::check(&head)?;
        let route =
            self.state.router.find(&head, checked.authority.as_str()).ok_or(ProxyError::NoRoute)?;
        record.route(&route.name);
        let reach = match &route.action {
            Action::Respond(respond) => return Ok(respond::fixed(respond)),
            Action::Upstream(index) => self.reaches.get(*index).ok_or(ProxyError::NoRoute)?,
        };

        headers::toward_upstream(&mut head, &checked.authority, peer);
        let exchange = Exchange::start(false, record.request_bytes());
        let idle = reach.upstream().timeouts.idle;
        let mut body =
            RequestBody::wrap(body, Rc::clone(&exchange), checked.declared, limits, idle)?;
        if checked.declared.is_none() && !body.is_end_stream() && head.method.is_safe() {
            body = RequestBody::settle(body).await?;
        }
        let request = Request::from_parts(head, body);
        let outgoing = Outgoing { request, authority: checked.authority.as_str(), peer, exchange };
        let mut response = reach.send(outgoing, record).await?;
        headers::toward_client(response.headers_mut());
        Ok(response)
    }

    /// Closes idle connections to origins that were idle for too long.
    pub fn sweep(&self) {
        self.reaches.iter().flat_map(Reach::pools).for_each(|pool| pool.sweep());
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").finish_non_exhaustive()
    }
}

/// Tells operators the whole chain of causes, once.
fn log(error: &ProxyError, id: RequestId) {
    let chain = error as &dyn std::error::Error;
    match error.side() {
        error::Side::Upstream => tracing::warn!(request_id = %id, error = chain, "request failed"),
        _ => tracing::debug!(request_id = %id, error = chain, "request refused"),
    }
}

//! One worker's way to one upstream: pick an endpoint, get a connection, send, and send again where that is safe.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response};
use http_body::Body as _;
use tokio::time::Instant;

use super::balance::{Chooser, NoPick, Question, Turn};
use super::body::{Bounds, Exchanged};
use super::connect::{Connection, Pool};
use super::h1::{H1Error, Received, head};
use super::share::Network;
use super::{Endpoint, Upstream};
use crate::listen::body::Body;
use crate::plugins::view::{Pinned, View};
use crate::proxy::body::Exchange;
use crate::proxy::error::ProxyError;
use crate::proxy::subject::Subject;
use crate::telemetry::record::Record;
use crate::telemetry::trace::{ATTEMPT, PICK};

/// One worker's share of an upstream: its balancer instance and its connections.
pub struct Reach {
    upstream: Arc<Upstream>,
    chooser: RefCell<Chooser>,
    pools: Vec<Rc<Pool>>,
}

/// A request on its way, with what later steps need to know of it.
pub struct Outgoing<'a> {
    /// The head as the origin gets it.
    pub head: &'a mut Parts,
    /// The body.
    pub body: Body,
    /// The authority that it is for.
    pub authority: &'a str,
    /// Whose request it is.
    pub subject: &'a Subject<'a>,
    /// How far the request's body has come.
    pub exchange: Rc<Exchange>,
    /// The generations of plugins that it meets.
    pub pinned: &'a Pinned,
    /// Whether it is the client's request, whose endpoint the access record names, and not one made on the way.
    pub is_own: bool,
}

impl Reach {
    /// Makes one worker's share.
    pub fn new(upstream: Arc<Upstream>) -> Self {
        let pool = |endpoint: &Arc<Endpoint>| {
            let (limits, connect) = (upstream.limits.clone(), upstream.timeouts.connect);
            Rc::new(Pool::new(Arc::clone(endpoint), limits, connect))
        };
        let pools = upstream.endpoints.iter().map(pool).collect();
        let chooser = RefCell::new(Chooser::new(Arc::clone(&upstream)));
        Self { upstream, chooser, pools }
    }

    /// The upstream that this reaches.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// The connections to each endpoint.
    pub fn pools(&self) -> &[Rc<Pool>] {
        &self.pools
    }

    /// Lets go of the balancer's generations that are over.
    pub fn forget(&self, view: &View) {
        if let Some(lane) = view.lane(self.upstream.balancer) {
            self.chooser.borrow_mut().sweep(lane);
        }
    }

    /// Sends a request to an endpoint that the balancer chooses and returns the response, its body still streaming.
    ///
    /// An endpoint that cannot be connected to is passed over for another pick, three in all. An idle
    /// connection that turns out closed is replaced by a fresh one to the same endpoint (RFC 9110 §9.2.2, RFC 9112
    /// §9.3.1) if the method is idempotent and there is no body; one that is known to be closed is never used.
    ///
    /// # Errors
    /// [`ProxyError`] when no endpoint is healthy, none can be reached, or the exchange failed.
    pub async fn send(
        &self,
        outgoing: Outgoing<'_>,
        record: &mut Record,
    ) -> Result<Response<Body>, ProxyError> {
        let total = self.upstream.timeouts.total.map(|total| Instant::now() + total);
        // Pinned here, so that the two ways to wait share its room.
        let sending = pin!(self.attempts(outgoing, record, total));
        match total {
            None => sending.await,
            Some(at) => tokio::time::timeout_at(at, sending)
                .await
                .unwrap_or_else(|_| Err(ProxyError::TotalTimeout)),
        }
    }

    async fn attempts(
        &self,
        outgoing: Outgoing<'_>,
        record: &mut Record,
        total: Option<Instant>,
    ) -> Result<Response<Body>, ProxyError> {
        let Outgoing { head, body, authority, subject, exchange, pinned, is_own } = outgoing;
        let mut turn = Turn::default();
        loop {
            let question = Question { head, authority, subject };
            let (id, endpoint, pool) = self.pick(&question, &mut turn, pinned, record)?;
            if is_own {
                record.attempt(&self.upstream.name, &endpoint.name);
            }
            endpoint.metrics.requests.inc();
            let in_flight = endpoint.enter();
            let mut span = record.span(ATTEMPT);
            record.propagate(&mut head.headers);
            let start = std::time::Instant::now();
            let connection = match pool.take(Network::of(subject.peer.client.ip())).await {
                Ok(connection) => connection,
                Err(error) => {
                    endpoint.metrics.error(error.kind());
                    self.chooser.borrow_mut().ended(id, NO_STATUS, start.elapsed());
                    if let Some(span) = &mut span {
                        span.error(error.kind());
                    }
                    turn.failed(id);
                    if turn.attempt < MAX_ATTEMPTS && error.is_of_endpoint() {
                        tracing::debug!(endpoint = &*endpoint.name, %error, "trying another endpoint");
                        continue;
                    }
                    return Err(ProxyError::connect(&endpoint.name, error));
                }
            };
            let encoded = head::encode(head, !body.is_end_stream());
            let informed = is_own.then_some(subject);
            let sending = Sending { head, encoded, pool: &pool, exchange: &exchange, informed };
            let sent = self.exchange(sending, connection, body).await;
            let (received, connection) = sent.inspect_err(|error| {
                endpoint.metrics.error(error.kind());
                self.chooser.borrow_mut().ended(id, NO_STATUS, start.elapsed());
                if let Some(span) = &mut span {
                    span.error(error.kind());
                }
            })?;
            // A request may go on for as long as its response does.
            exchange.unpace();
            let (duration, status) = (start.elapsed(), received.head.status.as_u16());
            endpoint.metrics.duration.observe(duration.as_secs_f64());
            self.chooser.borrow_mut().ended(id, status, duration);
            if let Some(mut span) = span {
                span.attribute("http.response.status_code", i64::from(status));
            }
            let exchanged = Exchanged {
                connection,
                decoder: received.decoder,
                keep_alive: received.keep_alive,
                upload: received.upload,
                in_flight,
                exchange,
            };
            let bounds = Bounds { idle: self.upstream.timeouts.idle, total };
            return Ok(Response::from_parts(received.head, exchanged.into_body(bounds)));
        }
    }

    fn pick(
        &self,
        question: &Question<'_>,
        turn: &mut Turn,
        pinned: &Pinned,
        record: &Record,
    ) -> Result<(u32, Arc<Endpoint>, Rc<Pool>), ProxyError> {
        let span = record.span(PICK);
        let lane = pinned.lane(self.upstream.balancer);
        let pick = |lane| self.chooser.borrow_mut().pick(question, turn, lane, pinned.roll);
        let picked = lane.map_or(Err(NoPick::Unhealthy), pick);
        let chosen = picked.and_then(|id| {
            let index = usize::try_from(id).unwrap_or(usize::MAX);
            let (endpoint, pool) = (self.upstream.endpoints.get(index), self.pools.get(index));
            Ok((id, endpoint.ok_or(NoPick::Unhealthy)?, pool.ok_or(NoPick::Unhealthy)?))
        });
        let name = || Arc::clone(&self.upstream.name);
        let (id, endpoint, pool) = chosen.map_err(|none| match none {
            NoPick::Unhealthy => ProxyError::NoEndpoint(name()),
            NoPick::Declined => ProxyError::Declined(name()),
        })?;
        if let Some(mut span) = span {
            span.attribute("weir.endpoint", endpoint.name.to_string());
            let balancer = lane.map(|lane| lane.slot.name.to_string());
            span.attribute("weir.balancer", balancer.unwrap_or_default());
        }
        Ok((id, Arc::clone(endpoint), Rc::clone(pool)))
    }

    /// Sends over `connection`; if that was closed while it was idle, over a fresh one.
    async fn exchange(
        &self,
        sending: Sending<'_>,
        mut connection: Connection,
        body: Body,
    ) -> Result<(Received, Connection), ProxyError> {
        let replayable =
            connection.is_reused() && body.is_end_stream() && is_idempotent(&sending.head.method);
        match self.attempt(&sending, &mut connection, body).await {
            Err(ProxyError::Exchange(H1Error::Closed)) if replayable => {}
            sent => return sent.map(|received| (received, connection)),
        }
        let fresh = connection.replace().await;
        let mut fresh = fresh.map_err(|e| ProxyError::connect(sending.pool.endpoint(), e))?;
        let received = self.attempt(&sending, &mut fresh, Body::empty()).await?;
        Ok((received, fresh))
    }

    async fn attempt(
        &self,
        sending: &Sending<'_>,
        connection: &mut Connection,
        body: Body,
    ) -> Result<Received, ProxyError> {
        let first_byte = self.upstream.timeouts.first_byte;
        sending.exchange.restart();
        let inform = |head| {
            // An origin that says anything is at work: the time until its final head begins anew, a few times at most.
            sending.exchange.restart();
            if let Some(subject) = sending.informed {
                subject.inform(head);
            }
        };
        let (wire, limits) = (&mut connection.wire, &self.upstream.limits);
        let answer = wire.exchange(sending.head, body, sending.encoded.clone(), limits, &inform);
        tokio::select! {
            biased;
            answer = answer => answer.map_err(|e| ProxyError::exchange(e, sending.exchange)),
            () = sending.exchange.stalled(first_byte) => Err(ProxyError::FirstByteTimeout),
        }
    }
}

/// One request on its way to one endpoint.
struct Sending<'a> {
    head: &'a Parts,
    encoded: Bytes,
    pool: &'a Rc<Pool>,
    exchange: &'a Exchange,
    /// Whose client gets the interim responses.
    informed: Option<&'a Subject<'a>>,
}

/// Picks for one request: endpoints that refuse the connection cost one each.
const MAX_ATTEMPTS: u32 = 3;

/// What a balancer is told when no response came.
const NO_STATUS: u16 = 0;

/// Whether sending it twice does no more than once (RFC 9110 §9.2.2).
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE
    )
}

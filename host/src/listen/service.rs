//! Serves the requests of one TCP connection of HTTP/2 or HTTP/1.1.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use http::header::ALT_SVC;
use http::{HeaderValue, Request, Response};

use super::{Edge, Handler};
use crate::message::body::Body;
use crate::message::complete;
use crate::message::interim::Interim;
use crate::message::peer::{Peer, Protocol};
use crate::task::Tasks;

/// Serves the requests of one connection.
pub(super) struct Service<H> {
    pub(super) edge: Arc<Edge>,
    pub(super) peer: Peer,
    handler: Rc<H>,
    pub(super) tasks: Tasks,
    /// Bytes that the client has taken, from
    /// [`Stalling::written`](super::stall::Stalling::written).
    pub(super) written: Rc<Cell<u64>>,
}

impl<H: Handler> Service<H> {
    pub(super) fn new(
        edge: &Arc<Edge>,
        handler: &Rc<H>,
        tasks: &Tasks,
        peer: Peer,
        written: Rc<Cell<u64>>,
    ) -> Self {
        let (edge, handler, tasks) = (Arc::clone(edge), Rc::clone(handler), tasks.clone());
        Self { edge, peer, handler, tasks, written }
    }

    /// Answers a request. Its interim responses go to `interim`.
    pub(super) async fn answer(
        &self,
        request: Request<Body>,
        protocol: Protocol,
        interim: Interim,
    ) -> Response<Body> {
        let peer = Peer { protocol, version: request.version(), ..self.peer };
        let mut response = self.handler.serve(request, peer, interim).await;
        complete::complete(&mut response);
        if let Some(alt_svc) = &self.edge.alt_svc {
            let clear = HeaderValue::from_static("clear");
            let value = if self.tasks.is_draining() { clear } else { alt_svc.clone() };
            response.headers_mut().insert(ALT_SVC, value);
        }
        response
    }

    /// Logs why a connection ended early.
    pub(super) fn report(&self, error: &(dyn std::error::Error + 'static)) {
        tracing::debug!(client = %self.peer.client, error, "connection ended early");
    }
}

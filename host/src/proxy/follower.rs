//! [`Follower`]: gives each request of a worker the present configuration.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use http::{Request, Response};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use super::{Proxy, Worker};
use crate::message::body::Body;
use crate::message::interim::Interim;
use crate::message::peer::Peer;
use crate::state::current::Current;
use crate::task::Tasks;
use crate::telemetry::Telemetry;
use crate::telemetry::metrics::Local;

/// One worker's way to the present [`Proxy`]. It follows publications and swaps by one atomic
/// comparison for each request.
pub struct Follower {
    current: Arc<Current>,
    worker: Rc<Worker>,
    proxy: RefCell<Rc<Proxy>>,
}

impl Follower {
    /// Creates the follower of one worker.
    pub fn new(current: Arc<Current>, telemetry: Arc<Telemetry>, tasks: Tasks) -> Self {
        let metrics = Rc::new(Local::new(&telemetry.metrics));
        let random = RefCell::new(SmallRng::from_rng(&mut rand::rng()));
        let worker = Rc::new(Worker { telemetry, metrics, random, tasks, copies: Rc::default() });
        let proxy = RefCell::new(Rc::new(Proxy::follow(&current, &worker, None)));
        Self { current, worker, proxy }
    }

    /// Answers a request by the present configuration.
    pub fn serve(
        &self,
        request: Request<Body>,
        peer: Peer,
        interim: Interim,
    ) -> impl Future<Output = Response<Body>> + use<> {
        self.proxy().serve(request, peer, interim)
    }

    /// Returns the proxy of the present configuration.
    fn proxy(&self) -> Rc<Proxy> {
        let proxy = self.proxy.borrow();
        if proxy.view.version() == self.current.version() {
            return Rc::clone(&proxy);
        }
        drop(proxy);
        self.refresh()
    }

    #[cold]
    fn refresh(&self) -> Rc<Proxy> {
        let before = Rc::clone(&self.proxy.borrow());
        let proxy = Rc::new(Proxy::follow(&self.current, &self.worker, Some(&before)));
        self.proxy.replace(Rc::clone(&proxy));
        proxy
    }

    /// Follows the present configuration without waiting for a request, closes connections to
    /// origins that were idle for too long, and drops generations that have ended.
    pub fn sweep(&self) {
        let proxy = self.proxy();
        proxy.reaches.iter().for_each(|reach| reach.sweep(&proxy.view));
    }
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").finish_non_exhaustive()
    }
}

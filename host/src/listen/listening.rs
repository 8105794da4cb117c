//! [`Listening`]: an open listener over all its settings.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::handover::Group;
use super::{Edge, Kept, Sockets};
use crate::config::ListenerId;

/// An open listener: its sockets, and the settings for new connections.
#[derive(Debug)]
pub struct Listening {
    /// Names the listener.
    pub id: ListenerId,
    /// The bound address.
    pub address: SocketAddr,
    edge: Mutex<Arc<Edge>>,
    /// A handle of the sockets of each worker. A worker that begins gets another one.
    sockets: Mutex<Vec<Sockets>>,
    /// The workers whose QUIC endpoint is open.
    endpoints: AtomicUsize,
    /// Whether another process accepts on the same sockets.
    is_shared: AtomicBool,
}

/// Counts an open QUIC endpoint until dropped.
#[derive(Debug)]
pub(super) struct EndpointGuard(Arc<Listening>);

impl Drop for EndpointGuard {
    fn drop(&mut self) {
        self.0.endpoints.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Listening {
    /// Creates a listener of bound sockets.
    pub fn new(edge: Edge, sockets: Vec<Sockets>) -> Self {
        let (id, address) = (edge.id, edge.address);
        let (edge, sockets) = (Mutex::new(Arc::new(edge)), Mutex::new(sockets));
        let (endpoints, is_shared) = (AtomicUsize::new(0), AtomicBool::new(false));
        Self { id, address, edge, sockets, endpoints, is_shared }
    }

    /// Returns the settings for a new connection.
    pub fn edge(&self) -> Arc<Edge> {
        Arc::clone(&self.edge.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the settings for new connections.
    pub fn set_edge(&self, edge: Arc<Edge>) {
        *self.edge.lock().unwrap_or_else(PoisonError::into_inner) = edge;
    }

    /// Returns the sockets of a worker.
    ///
    /// # Errors
    ///
    /// No file descriptors are left.
    pub fn sockets(&self, worker: usize) -> io::Result<Option<Sockets>> {
        self.lock().get(worker).map(Sockets::try_clone).transpose()
    }

    /// Returns another handle of the UDP sockets of each worker.
    ///
    /// # Errors
    ///
    /// No file descriptors are left.
    pub fn udp(&self) -> io::Result<Vec<Sockets>> {
        let sockets = self.lock();
        let udp = sockets.iter().map(|sockets| Ok(sockets.try_clone()?.split().1));
        Ok(udp.collect::<io::Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// Replaces the TCP sockets by others, or with `None` closes the handles here. Those of the
    /// workers close when their tasks drain.
    pub fn set_tcp(&self, others: Option<Vec<Sockets>>) {
        let mut others = others.into_iter().flatten();
        for sockets in self.lock().iter_mut() {
            sockets.tcp = others.next().map(|sockets| sockets.tcp).unwrap_or_default();
        }
    }

    /// Adds UDP sockets to a listener that has none.
    pub fn set_udp(&self, others: Vec<Sockets>) {
        for (sockets, other) in self.lock().iter_mut().zip(others) {
            (sockets.udp, sockets.group) = (other.udp, other.group);
        }
    }

    /// Closes the UDP sockets if no worker has connections on them any more.
    pub fn close_udp(&self) {
        if self.endpoints.load(Ordering::Acquire) > 0 {
            return;
        }
        for sockets in self.lock().iter_mut() {
            let workers = sockets.group.workers();
            (sockets.udp, sockets.group) = (None, Arc::new(Group::none(workers)));
        }
    }

    /// Counts an open QUIC endpoint.
    pub(super) fn endpoint(self: &Arc<Self>) -> EndpointGuard {
        self.endpoints.fetch_add(1, Ordering::AcqRel);
        EndpointGuard(Arc::clone(self))
    }

    /// Notes that another process accepts on the same sockets.
    pub fn share(&self) {
        self.is_shared.store(true, Ordering::Release);
    }

    /// Whether another process accepts on the same sockets.
    pub(super) fn is_shared(&self) -> bool {
        self.is_shared.load(Ordering::Acquire)
    }

    /// Returns whether the listener has sockets of TCP and of UDP.
    pub fn kinds(&self) -> (bool, bool) {
        let sockets = self.lock();
        let first = sockets.first();
        (
            first.is_some_and(|sockets| !sockets.tcp.is_empty()),
            first.is_some_and(|sockets| sockets.udp.is_some()),
        )
    }

    /// Keeps the sockets for a process that takes over.
    ///
    /// # Errors
    ///
    /// No file descriptors are left.
    pub fn kept(&self) -> io::Result<Option<Kept>> {
        Kept::of(&self.lock())
    }

    /// Finds out which older processes have ended. A call every few seconds saves time: packets are
    /// checked for older generations only while such processes live.
    pub fn sweep(&self) {
        if let Some(sockets) = self.lock().first() {
            sockets.group.older.sweep();
        }
    }

    /// Returns whether no worker uses the sockets any more.
    pub fn is_unused(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) == 1
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Sockets>> {
        // Each change is an assignment, so a panic leaves the list whole.
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

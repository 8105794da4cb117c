//! [`Listening`]: an open listener over all its settings.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
}

impl Listening {
    /// Creates a listener of bound sockets.
    pub fn new(edge: Edge, sockets: Vec<Sockets>) -> Self {
        let (id, address) = (edge.id, edge.address);
        let (edge, sockets) = (Mutex::new(Arc::new(edge)), Mutex::new(sockets));
        Self { id, address, edge, sockets }
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

    /// Finds out which older processes have ended ([`Kept::sweep`]).
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

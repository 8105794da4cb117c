//! Sockets: accept connections of all three protocols and turn them into requests.
//!
//! [`bind()`] runs on the control thread. [`serve`] runs on each worker's thread with that worker's
//! share of the sockets. Above this layer a request is a `Request<Body>` of any protocol. This
//! layer bounds the harm that an unreliable or hostile client can do to a connection. The
//! [`Handler`] decides on the content of requests.

mod adopt;
mod bind;
mod early;
mod edge;
mod effort;
mod frames;
mod gather;
mod h1;
mod h2;
mod h3;
mod handover;
mod heads;
mod inbox;
mod interject;
mod kept;
mod keys;
mod listening;
mod older;
mod preamble;
mod relay;
mod roster;
mod sender;
mod service;
mod sip;
mod socket;
mod stall;
mod steer;
mod tcp;
mod tunnel;

#[cfg(target_os = "linux")]
mod kernel;
#[cfg(not(target_os = "linux"))]
#[path = "portable.rs"]
mod kernel;

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;

use http::{Request, Response};

pub use self::adopt::{AdoptError, Inherited, adopt};
pub use self::bind::{BindError, bind};
pub use self::edge::{Common, Edge};
pub use self::h3::Endpoints;
use self::handover::Group;
pub use self::kept::{Feed, Kept, OfferError, Offered};
pub use self::keys::Keys;
pub use self::listening::Listening;
use crate::message::body::Body;
use crate::message::interim::Interim;
use crate::message::peer::Peer;
use crate::task::Tasks;

/// Answers requests; `server` makes the proxy one, and tests use stand-ins.
pub trait Handler: 'static {
    /// Answers a request. Interim responses go to `interim`. Dropping the future cancels the
    /// request.
    fn serve(
        &self,
        request: Request<Body>,
        peer: Peer,
        interim: Interim,
    ) -> impl Future<Output = Response<Body>>;
}

/// One worker's share of a listener's sockets. [`bind()`] creates it, and [`serve`] serves it on
/// the worker's thread.
#[derive(Debug)]
pub struct Sockets {
    address: SocketAddr,
    worker: usize,
    /// Usually one. A worker has several if the process that bound them had more workers.
    tcp: Vec<TcpListener>,
    /// The socket that the worker sends with. The group has the sockets that it reads.
    udp: Option<UdpSocket>,
    group: Arc<Group>,
}

impl Sockets {
    /// Returns the bound address: the configured one, with the assigned port if the configured port
    /// is 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the sockets of TCP and those of UDP apart.
    pub fn split(self) -> (Option<Self>, Option<Self>) {
        let Self { address, worker, tcp, udp, group } = self;
        let part = |tcp: Vec<TcpListener>, udp: Option<UdpSocket>| {
            let is_some = !tcp.is_empty() || udp.is_some();
            is_some.then(|| Self { address, worker, tcp, udp, group: Arc::clone(&group) })
        };
        (part(tcp, None), part(Vec::new(), udp))
    }

    /// Returns another handle of the same sockets.
    ///
    /// # Errors
    ///
    /// No file descriptors are left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            address: self.address,
            worker: self.worker,
            tcp: self.tcp.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?,
            udp: self.udp.as_ref().map(UdpSocket::try_clone).transpose()?,
            group: Arc::clone(&self.group),
        })
    }
}

/// Starts accepting on a worker's sockets. Returns at once, and the work runs in `tasks`.
///
/// When `tasks` drains, no new connection is accepted, and open ones end after their present
/// requests. `endpoints` are those of the worker: a listener that is opened again while its last
/// QUIC connections still end goes on with its endpoint.
///
/// # Errors
///
/// The runtime does not accept the sockets.
pub fn serve<H: Handler>(
    sockets: Sockets,
    listening: &Arc<Listening>,
    endpoints: &Endpoints,
    handler: &Rc<H>,
    tasks: &Tasks,
) -> io::Result<()> {
    for listener in sockets.tcp {
        tcp::serve(listener, listening, Rc::clone(handler), tasks)?;
    }
    if let Some(socket) = sockets.udp {
        let share = (socket, sockets.worker, &sockets.group);
        h3::serve(share, listening, endpoints, Rc::clone(handler), tasks)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;

//! The choice of a connection for one request: over QUIC or TCP, one that is open or a new one.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use super::{ConnectError, Connection, Open, Pool};
use crate::upstream::connect::Spoken;
use crate::upstream::h3::H3Lease;
use crate::upstream::lease::Lease;
use crate::upstream::share::{Asker, Network};
use crate::upstream::shared::SharedLease;

impl Pool {
    /// Takes the right to send one request of a client of this network: an idle connection that is
    /// still open, the one that was used last, or a fresh one. If connections serve several
    /// requests at once, it is a part of one.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]. Nothing has been sent in that case.
    pub(in crate::upstream) async fn lease(
        self: &Rc<Self>,
        asker: Asker<'_>,
    ) -> Result<Lease, ConnectError> {
        // Few origins offer tunnels over HTTP/2 and HTTP/3, and those that choose them by
        // themselves still speak HTTP/1.1.
        let network = asker.network();
        let is_h1 = asker.is_tunnel && !self.connector.is_fixed();
        let over_quic = self.h3.alternative().port().filter(|_| !is_h1);
        if over_quic.is_none() && (is_h1 || self.spoken.get() == Some(Spoken::H1)) {
            return self.take(asker.peer).await.map(Lease::H1);
        }
        if let Some(lease) = self.part(network, over_quic.is_some())? {
            return Ok(lease);
        }
        // Boxed, so that requests over HTTP/1.1 do not reserve room for it.
        match over_quic {
            Some(_) => Box::pin(self.race(asker)).await,
            None => Box::pin(self.by_tcp(asker)).await,
        }
    }

    /// Takes a part of an open connection, if one has room.
    fn part(
        self: &Rc<Self>,
        network: Network,
        over_quic: bool,
    ) -> Result<Option<Lease>, ConnectError> {
        if over_quic {
            let lease = H3Lease::take(self, network)?;
            return Ok(lease.map(|lease| Lease::H3(Box::new(lease))));
        }
        let lease = SharedLease::take(self, network)?;
        Ok(lease.map(|(lease, ())| Lease::H2(Box::new(lease))))
    }

    /// Opens connections of QUIC until one has room. A connection over TCP serves the request if it
    /// is there first, and QUIC goes on for later ones.
    async fn race(self: &Rc<Self>, asker: Asker<'_>) -> Result<Lease, ConnectError> {
        let (connections, network) = (self.h3.connections(), asker.network());
        loop {
            let limit = self.limits.borrow().connections;
            if connections.len() >= limit {
                match self.await_room(network).await? {
                    Some(lease) => return Ok(lease),
                    None if connections.len() >= limit => {
                        return Err(ConnectError::Saturated(limit));
                    }
                    None => {}
                }
            }
            // Further connections to an origin that permits no request are of no use.
            if connections.has_unused() {
                break;
            }
            let growth = connections.grow(self);
            if let Some(lease) = self.ready(network)? {
                return Ok(lease);
            }
            let mut growth = pin!(growth);
            let mut by_tcp = pin!(self.by_tcp(asker));
            let grown = match tokio::time::timeout(HEAD_START, &mut growth).await {
                Ok(grown) => grown,
                Err(_) => tokio::select! {
                    biased;
                    grown = &mut growth => grown,
                    lease = &mut by_tcp => match lease {
                        Ok(lease) => return Ok(lease),
                        // QUIC may still succeed.
                        Err(error) => growth.await.map_err(|_| error),
                    },
                },
            };
            match grown {
                Ok(()) => {
                    if let Some(lease) = self.part(network, true)? {
                        return Ok(lease);
                    }
                    // The origin has ended the connection at once, or wants TCP.
                    if connections.len() == 0 {
                        break;
                    }
                }
                Err(_) => break,
            }
        }
        self.by_tcp(asker).await
    }

    /// Waits until a connection of QUIC has room. The origin gives permission for more requests
    /// some time after others have ended.
    async fn await_room(self: &Rc<Self>, network: Network) -> Result<Option<Lease>, ConnectError> {
        let Some(connection) = self.h3.connections().first() else { return Ok(None) };
        let allowed = tokio::time::timeout(self.connect_timeout.get(), connection.allowed()).await;
        if allowed.is_err() {
            return Ok(None);
        }
        self.part(network, true)
    }

    /// Takes a connection over TCP that is open already.
    fn ready(self: &Rc<Self>, network: Network) -> Result<Option<Lease>, ConnectError> {
        if self.spoken.get() != Some(Spoken::H1) {
            return self.part(network, false);
        }
        let Some(wire) = self.idle() else { return Ok(None) };
        let open = Open::new(self, self.enter(network)?, true);
        Ok(Some(Lease::H1(Connection { wire, open })))
    }

    /// Opens connections over TCP until one has room.
    async fn by_tcp(self: &Rc<Self>, asker: Asker<'_>) -> Result<Lease, ConnectError> {
        loop {
            if self.spoken.get() == Some(Spoken::H1) {
                return self.take(asker.peer).await.map(Lease::H1);
            }
            if let Some(lease) = self.part(asker.network(), false)? {
                return Ok(lease);
            }
            let limit = self.limits.borrow().connections;
            if self.h2.len() >= limit {
                return Err(ConnectError::Saturated(limit));
            }
            self.h2.grow(self).await?;
        }
    }
}

/// The time that QUIC gets before a connection over TCP is tried too.
const HEAD_START: Duration = Duration::from_millis(250);

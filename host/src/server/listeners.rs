//! [`Listeners`]: the open listeners of the process. It opens, changes and closes them, in steps: a
//! plan, a preparation that may fail and changes nothing, and a completion that cannot fail.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::worker::{Part, WorkerOrder, Workers};
use super::{ServerError, failed, misplaced};
use crate::config::source::Stamp;
use crate::config::{self, Config, ListenerId, Protocols};
use crate::handoff::Begun;
use crate::listen::{self, Common, Edge, Inherited, Keys, Listening, Sockets};
use crate::telemetry::metrics::Metrics;

/// The open listeners, in the order of the configuration.
pub(super) struct Listeners {
    workers: usize,
    open: Vec<Entry>,
    /// Listeners that have left, and whose last connections still end.
    leaving: Vec<Entry>,
    next: usize,
    keys: Keys,
    /// Sockets that another process has bound: an older Weir, or systemd.
    inherited: RefCell<Vec<Inherited>>,
}

/// A listener with its configuration.
#[derive(Clone)]
struct Entry {
    config: config::Listener,
    listening: Arc<Listening>,
    serves: Kinds,
}

/// The kinds of sockets on which a listener accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Kinds {
    tcp: bool,
    udp: bool,
}

impl Kinds {
    fn of(protocols: Protocols) -> Self {
        Self { tcp: protocols.h1 || protocols.h2, udp: protocols.h3 }
    }
}

/// The listeners of a configuration: each with its id, and the present listener of its address.
pub(super) struct Plan(Vec<(ListenerId, Option<Entry>)>);

impl Plan {
    /// Returns the ids of the listeners, in the order of the configuration.
    pub(super) fn ids(&self) -> Vec<ListenerId> {
        self.0.iter().map(|(id, _)| *id).collect()
    }
}

/// The listeners of a configuration, with all that must be opened.
pub(super) struct Prepared(Vec<Step>);

/// The way of one listener into a configuration.
struct Step {
    entry: Entry,
    before: Kinds,
    /// The settings for new connections, if they change.
    edge: Option<Edge>,
    /// Sockets that were bound for it.
    tcp: Option<Vec<Sockets>>,
    udp: Option<Vec<Sockets>>,
    /// The sockets of each worker, of the parts that open.
    shares: Vec<Vec<Sockets>>,
}

/// A change of which the workers must hear.
pub(super) enum Change {
    /// A listener with the sockets of each worker.
    Opened(Arc<Listening>, Vec<Sockets>),
    Closed(ListenerId, Part),
}

impl Change {
    /// Tells every worker.
    pub(super) fn tell(self, workers: &Workers) {
        match self {
            Self::Closed(id, part) => workers.order(|_| Some(WorkerOrder::Close(id, part))),
            Self::Opened(listening, sockets) => {
                let mut sockets = sockets.into_iter();
                workers.order(|_| Some(WorkerOrder::Open(sockets.next()?, Arc::clone(&listening))));
            }
        }
    }
}

impl Listeners {
    /// Creates the listeners of a process that has none yet, with sockets that another process has
    /// bound.
    pub(super) fn new(workers: usize, keys: Keys, inherited: Vec<Inherited>) -> Self {
        let (open, leaving) = (Vec::new(), Vec::new());
        let inherited = RefCell::new(inherited);
        Self { workers, open, leaving, next: 0, keys, inherited }
    }

    /// Returns the secrets that all listeners share.
    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Closes inherited sockets that no listener has.
    pub(super) fn drop_inherited(&self) {
        for inherited in self.inherited.take() {
            let address = inherited.address();
            tracing::info!(%address, "closing sockets that no listener of the configuration has");
        }
    }

    /// Returns the files of all certificates, with stamps from before they were read.
    pub(super) fn files(&self) -> Vec<(PathBuf, Stamp)> {
        self.iter().flat_map(|listening| listening.edge().files().to_vec()).collect()
    }

    /// Loads the certificates again whose files have changed. Those that cannot be used change
    /// nothing.
    pub(super) fn renew(&self, metrics: &Metrics) {
        for Entry { config, listening, .. } in &self.open {
            let edge = listening.edge();
            if edge.is_fresh() {
                continue;
            }
            // The source is the same, so the former certificates stay on failure.
            if let Ok(edge) = edge.follow(config, Common { metrics, keys: &self.keys }) {
                edge.tell(metrics);
                listening.set_edge(Arc::new(edge));
            }
        }
        self.note_certificates(metrics);
    }

    fn note_certificates(&self, metrics: &Metrics) {
        for listening in self.iter() {
            let edge = listening.edge();
            metrics.certificates(&listening.address.to_string(), edge.certificates());
        }
    }

    /// Returns the addresses, as bound.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.open.iter().map(|entry| entry.listening.address)
    }

    /// Returns the open listeners.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Listening>> {
        self.open.iter().map(|entry| &entry.listening)
    }

    /// Finds the present listeners of a configuration's addresses, and gives ids to new ones. Of
    /// several listeners with port 0, the first one is the first one again.
    pub(super) fn plan(&mut self, listeners: &[config::Listener]) -> Plan {
        let mut known: Vec<&Entry> = self.open.iter().chain(&self.leaving).collect();
        let mut next = self.next;
        let mut planned = Vec::new();
        for listener in listeners {
            let at = known.iter().position(|entry| entry.config.address == listener.address);
            let entry = at.map(|at| known.remove(at).clone());
            let id = entry.as_ref().map_or_else(
                || {
                    next += 1;
                    ListenerId::new(next - 1)
                },
                |entry| entry.listening.id,
            );
            planned.push((id, entry));
        }
        self.next = next;
        Plan(planned)
    }

    /// Opens the sockets and loads the certificates that a configuration needs. Changes nothing.
    ///
    /// # Errors
    /// [`ServerError::Config`], with the place of the cause.
    pub(super) fn prepare(
        &self,
        plan: Plan,
        config: &Config,
        metrics: &Metrics,
    ) -> Result<Prepared, ServerError> {
        let listeners = config.listeners.iter().enumerate();
        let steps = plan.0.into_iter().zip(listeners).map(|((id, known), (at, listener))| {
            let path = format!("listeners[{at}]");
            match known {
                Some(entry) => self.change(entry, listener, (config, &path), metrics),
                None => self.open(id, listener, (config, &path), metrics),
            }
        });
        steps.collect::<Result<_, _>>().map(Prepared)
    }

    fn open(
        &self,
        id: ListenerId,
        listener: &config::Listener,
        (config, path): (&Config, &str),
        metrics: &Metrics,
    ) -> Result<Step, ServerError> {
        let sockets = self.bind(listener, (config, path))?;
        let address = sockets.first().map_or(listener.address, Sockets::address);
        let edge = Edge::new(id, listener, address, Common { metrics, keys: &self.keys })
            .map_err(|error| misplaced(config, &format!("{path}.tls"), &error))?;
        let serves = Kinds::of(listener.protocols);
        let shares = vec![shares(&sockets).map_err(failed("duplicate sockets"))?];
        let listening = Arc::new(Listening::new(edge, sockets));
        let entry = Entry { config: listener.clone(), listening, serves };
        Ok(Step { entry, before: Kinds::default(), edge: None, tcp: None, udp: None, shares })
    }

    fn change(
        &self,
        known: Entry,
        listener: &config::Listener,
        (config, path): (&Config, &str),
        metrics: &Metrics,
    ) -> Result<Step, ServerError> {
        let Entry { listening, serves: before, config: old } = known;
        let present = listening.edge();
        let edge = if old == *listener && present.is_fresh() {
            None
        } else {
            let edge = present.follow(listener, Common { metrics, keys: &self.keys });
            Some(edge.map_err(|error| misplaced(config, &format!("{path}.tls"), &error))?)
        };
        let serves = Kinds::of(listener.protocols);
        // TCP sockets close with their part. Those of UDP stay until the last connection has ended.
        let needs_udp = serves.udp && !listening.kinds().1;
        let address = listening.address;
        let bind = |is_needed: bool, protocols: Protocols| {
            let part = config::Listener { address, protocols, ..listener.clone() };
            is_needed.then(|| self.bind(&part, (config, path))).transpose()
        };
        let h1 = Protocols { h1: true, h2: false, h3: false };
        let tcp = bind(serves.tcp && !before.tcp, h1)?;
        let udp = bind(needs_udp, Protocols { h1: false, h3: true, ..h1 })?;
        let mut opened = Vec::new();
        let duplicate = failed("duplicate sockets");
        let shared = (|| {
            opened.extend(tcp.as_deref().map(shares).transpose()?);
            opened.extend(udp.as_deref().map(shares).transpose()?);
            if serves.udp && !before.udp && udp.is_none() {
                opened.push(listening.udp()?);
            }
            Ok(())
        })();
        shared.map_err(duplicate)?;
        let entry = Entry { config: listener.clone(), listening, serves };
        Ok(Step { entry, before, edge, tcp, udp, shares: opened })
    }

    fn bind(
        &self,
        listener: &config::Listener,
        (config, path): (&Config, &str),
    ) -> Result<Vec<Sockets>, ServerError> {
        let inherited = {
            let mut inherited = self.inherited.borrow_mut();
            let at = inherited.iter().position(|it| serves(it.address(), listener.address));
            at.map(|at| inherited.remove(at))
        };
        if let Some(inherited) = inherited {
            return listen::adopt(listener, inherited, self.workers)
                .map_err(|error| misplaced(config, &format!("{path}.address"), &error));
        }
        let port = listener.address.port();
        let is_ours = self.open.iter().chain(&self.leaving);
        let is_ours = is_ours.into_iter().any(|entry| entry.listening.address.port() == port);
        listen::bind(listener, self.workers, is_ours)
            .map_err(|error| misplaced(config, &format!("{path}.address"), &error))
    }

    /// Takes the listeners of a configuration in place of the present ones. Returns the changes of
    /// which the workers must hear.
    pub(super) fn complete(&mut self, prepared: Prepared, metrics: &Metrics) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut before = std::mem::take(&mut self.open);
        for Step { entry, before: had, edge, tcp, udp, shares } in prepared.0 {
            let listening = &entry.listening;
            before.retain(|old| old.listening.id != listening.id);
            self.leaving.retain(|old| old.listening.id != listening.id);
            if let Some(edge) = edge {
                edge.tell(metrics);
                listening.set_edge(Arc::new(edge));
            }
            if tcp.is_some() || (had.tcp && !entry.serves.tcp) {
                listening.set_tcp(tcp);
            }
            if let Some(udp) = udp {
                listening.set_udp(udp);
            }
            let Kinds { tcp, udp } = entry.serves;
            let parts = [(Part::Tcp, had.tcp, tcp), (Part::Udp, had.udp, udp)];
            let closed = parts.into_iter().filter(|(_, had, has)| *had && !has);
            changes.extend(closed.map(|(part, ..)| Change::Closed(listening.id, part)));
            let opened = |share| Change::Opened(Arc::clone(listening), share);
            changes.extend(shares.into_iter().map(opened));
            if had == Kinds::default() {
                let protocols = entry.config.protocols;
                tracing::info!(address = %listening.address, %protocols, "listening");
            }
            self.open.push(entry);
        }
        for mut entry in before {
            let (id, Kinds { tcp, udp }) = (entry.listening.id, std::mem::take(&mut entry.serves));
            let parts = [(Part::Tcp, tcp), (Part::Udp, udp)];
            let parts = parts.into_iter().filter(|(_, serves)| *serves);
            changes.extend(parts.map(|(part, _)| Change::Closed(id, part)));
            entry.listening.set_tcp(None);
            metrics.certificates(&entry.listening.address.to_string(), &[]);
            tracing::info!(address = %entry.listening.address, "not listening any more");
            self.leaving.push(entry);
        }
        self.note_certificates(metrics);
        changes
    }

    /// Closes the sockets of listeners whose last connections have ended. Returns whether some are
    /// left.
    pub(super) fn retire(&mut self) -> bool {
        self.leaving.retain(|entry| !entry.listening.is_unused());
        let has_unserved = |entry: &&Entry| !entry.serves.udp && entry.listening.kinds().1;
        self.open.iter().filter(has_unserved).for_each(|entry| entry.listening.close_udp());
        !self.leaving.is_empty() || self.open.iter().any(|entry| has_unserved(&entry))
    }

    /// Takes the sockets over from the process before, which does not read them any more. `begun`
    /// are its handshakes, by listener in the order of its offer.
    pub(super) fn take_over(&self, begun: &[Vec<Begun>]) -> Result<(), ServerError> {
        for listening in self.iter() {
            let kept = listening.kept().map_err(failed("duplicate sockets"))?;
            // An id belongs to one connection, so a listener may know those of all.
            let begun: Vec<Begun> = begun.iter().flatten().cloned().collect();
            if let Some(kept) = kept {
                kept.take_over(&begun);
            }
        }
        Ok(())
    }

    /// Finds out which older processes have ended.
    pub(super) fn sweep(&self) {
        for listening in self.iter() {
            listening.sweep();
        }
    }

    /// Closes the handles of TCP sockets. Those of the workers close when they drain.
    pub(super) fn close(&self) {
        self.iter().for_each(|listening| listening.set_tcp(None));
    }
}

/// Returns another handle of the sockets of each worker.
fn shares(sockets: &[Sockets]) -> io::Result<Vec<Sockets>> {
    sockets.iter().map(Sockets::try_clone).collect()
}

/// Whether a bound address is that of a listener, whose port may be any.
fn serves(bound: SocketAddr, wanted: SocketAddr) -> bool {
    bound.ip() == wanted.ip() && (bound.port() == wanted.port() || wanted.port() == 0)
}

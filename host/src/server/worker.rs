//! The worker threads, and the orders of the supervisor to them.

use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{ServerError, failed, local_runtime};
use crate::config::ListenerId;
use crate::listen::{self, Endpoints, Listening, Sockets};
use crate::proxy::Follower;
use crate::state::current::Current;
use crate::task::Tasks;
use crate::telemetry::Telemetry;

/// An order of the supervisor to a worker.
pub(super) enum WorkerOrder {
    /// Accepts on these sockets.
    Open(Sockets, Arc<Listening>),
    /// Ends a part of a listener: no new connections, and GOAWAY to the open ones.
    Close(ListenerId, Part),
    /// Follows the present configuration at once, without waiting for a request.
    Follow,
}

/// A part of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// HTTP/1.1 and HTTP/2.
    Tcp,
    /// HTTP/3.
    Udp,
}

/// The worker threads.
pub(super) struct Workers {
    threads: Vec<JoinHandle<()>>,
    /// No bound: each order belongs to a change by an operator, and the supervisor makes one change
    /// at a time.
    orders: Vec<mpsc::UnboundedSender<WorkerOrder>>,
    /// Each worker cancels its token at its end, also after a panic.
    ends: Vec<CancellationToken>,
    /// The first worker to end cancels it.
    any_end: CancellationToken,
}

/// The data that all workers begin with.
#[derive(Clone)]
pub(super) struct Beginning {
    pub(super) current: Arc<Current>,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) listeners: Vec<Arc<Listening>>,
    pub(super) drain: CancellationToken,
    pub(super) close: CancellationToken,
}

impl Workers {
    /// Starts the threads, and waits until each accepts.
    pub(super) fn start(count: usize, beginning: &Beginning) -> Result<Self, ServerError> {
        let (started, starts) = sync_channel(count);
        let (mut threads, mut orders, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        let any_end = CancellationToken::new();
        for number in 0..count {
            let (sender, receiver) = mpsc::unbounded_channel();
            let worker = Worker {
                number,
                orders: receiver,
                beginning: Beginning {
                    // Child tokens: every poll of a task locks its own token, and workers share no
                    // lock.
                    drain: beginning.drain.child_token(),
                    close: beginning.close.child_token(),
                    ..beginning.clone()
                },
            };
            let (end, started) = (CancellationToken::new(), started.clone());
            let guards = (end.clone().drop_guard(), any_end.clone().drop_guard());
            let thread = std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || {
                    let _guards = guards;
                    worker.run(&started);
                })
                .map_err(failed("start a worker thread"))?;
            threads.push(thread);
            orders.push(sender);
            ends.push(end);
        }
        drop(started);
        Self::wait(&starts, threads.len())?;
        Ok(Self { threads, orders, ends, any_end })
    }

    fn wait(starts: &Receiver<io::Result<()>>, workers: usize) -> Result<(), ServerError> {
        for _ in 0..workers {
            let start = starts.recv().map_err(|_| ServerError::Worker)?;
            start.map_err(failed("serve on a worker thread"))?;
        }
        Ok(())
    }

    pub(super) fn count(&self) -> usize {
        self.threads.len()
    }

    /// Sends an order to each worker.
    pub(super) fn order(&self, mut order: impl FnMut(usize) -> Option<WorkerOrder>) {
        for (number, worker) in self.orders.iter().enumerate() {
            if let Some(order) = order(number) {
                // A worker that has ended ends the process.
                let _ = worker.send(order);
            }
        }
    }

    /// Returns a token that the first worker to end cancels.
    pub(super) fn any_end(&self) -> CancellationToken {
        self.any_end.clone()
    }

    pub(super) async fn all_ended(&self) {
        for end in &self.ends {
            end.cancelled().await;
        }
    }

    pub(super) fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker thread panicked");
            }
        }
    }
}

/// The parts of one worker thread.
struct Worker {
    number: usize,
    orders: mpsc::UnboundedReceiver<WorkerOrder>,
    beginning: Beginning,
}

impl Worker {
    fn run(self, started: &SyncSender<io::Result<()>>) {
        match local_runtime() {
            Ok(runtime) => runtime.block_on(self.serve(started)),
            Err(error) => drop(started.send(Err(error))),
        }
    }

    async fn serve(mut self, started: &SyncSender<io::Result<()>>) {
        let Beginning { current, telemetry, listeners, drain, close } = self.beginning;
        let tasks = Tasks::new(drain, close.clone());
        let proxy = Rc::new(Follower::new(current, telemetry, tasks.clone()));
        let mut open = Open {
            proxy,
            tasks: tasks.clone(),
            parts: HashMap::new(),
            endpoints: Endpoints::default(),
        };
        for listening in listeners {
            let sockets = listening.sockets(self.number);
            let opened = sockets.and_then(|sockets| match sockets {
                Some(sockets) => open.open(sockets, &listening),
                None => Ok(()),
            });
            if let Err(error) = opened {
                drop(started.send(Err(error)));
                return;
            }
        }
        drop(started.send(Ok(())));
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        loop {
            tokio::select! {
                biased;
                () = tasks.draining() => break,
                order = self.orders.recv() => match order {
                    Some(order) => open.obey(order),
                    // The supervisor is gone, and the process ends.
                    None => break,
                },
                _ = sweep.tick() => open.proxy.sweep(),
            }
        }
        // The listeners must not be kept open by orders that nobody obeys any more.
        drop((self.orders, open.parts));
        tasks.finished().await;
        // The grace period is over for some clients. quinn's own tasks still have to send them
        // CONNECTION_CLOSE.
        if close.is_cancelled() {
            tokio::time::sleep(LAST_WORDS).await;
        }
    }
}

/// The open listeners of a worker.
struct Open {
    proxy: Rc<Follower>,
    tasks: Tasks,
    /// Begins the drain of each open part.
    parts: HashMap<(ListenerId, Part), CancellationToken>,
    endpoints: Endpoints,
}

impl Open {
    fn obey(&mut self, order: WorkerOrder) {
        match order {
            WorkerOrder::Open(sockets, listening) => {
                if let Err(error) = self.open(sockets, &listening) {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(address = %listening.address, error, "open a listener");
                }
            }
            WorkerOrder::Close(id, part) => {
                if let Some(drain) = self.parts.remove(&(id, part)) {
                    drain.cancel();
                }
            }
            WorkerOrder::Follow => self.proxy.sweep(),
        }
    }

    fn open(&mut self, sockets: Sockets, listening: &Arc<Listening>) -> io::Result<()> {
        let (tcp, udp) = sockets.split();
        for (part, sockets) in [(Part::Tcp, tcp), (Part::Udp, udp)] {
            let Some(sockets) = sockets else { continue };
            let drain = self.tasks.drain_token();
            let tasks = self.tasks.part(drain.clone());
            listen::serve(sockets, listening, &self.endpoints, &self.proxy, &tasks)?;
            self.parts.insert((listening.id, part), drain);
        }
        Ok(())
    }
}

/// The time that a worker goes on after it has cut its connections off.
const LAST_WORDS: Duration = Duration::from_millis(20);

/// The interval of the search for connections to origins that were idle for too long.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

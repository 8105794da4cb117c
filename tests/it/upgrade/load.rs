//! Clients that send requests without pause while the processes change.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::Request;
use tokio::task::JoinHandle;

use crate::support::{Body, Client, Origin, Protocol, Weir, spawn, until, within};

/// Clients that send requests without pause. Of each protocol, one keeps its connection as long as
/// Weir does, and one opens a connection for each request.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<(Arc<Counts>, JoinHandle<()>)>,
}

/// The exchanges of one client.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    answered: AtomicUsize,
    /// Requests that a kept connection did not take any more.
    refused: AtomicUsize,
}

/// The exchanges of all clients.
#[derive(Debug)]
pub(crate) struct Outcome {
    answered: usize,
    refused: usize,
}

impl Load {
    /// Begins. All requests of the test go through the load.
    pub(crate) async fn start(weir: &Weir) -> Self {
        let (stop, address) = (Arc::new(AtomicBool::new(false)), weir.address());
        let mut clients = Vec::new();
        for protocol in Protocol::ALL {
            for keeps in [true, false] {
                let (counts, stop) = (Arc::new(Counts::default()), Arc::clone(&stop));
                let client = run(address, protocol, keeps, Arc::clone(&counts), stop);
                clients.push((counts, spawn(client)));
            }
        }
        Self { stop, clients }
    }

    /// Waits until each client has had further answers.
    pub(crate) async fn go_on(&self) {
        for (counts, client) in &self.clients {
            let wanted = counts.answered.load(Ordering::SeqCst) + MORE;
            let has_more = async || {
                assert!(!client.is_finished(), "a client has failed");
                (counts.answered.load(Ordering::SeqCst) >= wanted).then_some(())
            };
            until("answers under load", has_more).await;
        }
    }

    /// Ends the requests. A kept connection may have been refused once for each of the `upgrades`.
    pub(crate) async fn stop(self, upgrades: usize) -> Outcome {
        self.stop.store(true, Ordering::SeqCst);
        let mut outcome = Outcome { answered: 0, refused: 0 };
        for (counts, client) in self.clients {
            client.await.unwrap();
            let refused = counts.refused.load(Ordering::SeqCst);
            assert!(refused <= upgrades, "a client was refused {refused} times");
            outcome.refused += refused;
            outcome.answered += counts.answered.load(Ordering::SeqCst);
        }
        outcome
    }
}

impl Outcome {
    /// Checks that the origin has seen no request whose answer was lost.
    pub(crate) fn nothing_lost(&self, origin: &Origin) {
        println!("{} requests were answered, {} refused", self.answered, self.refused);
        assert_eq!(origin.requests(), self.answered, "requests at the origin were answered");
    }

    /// The number of requests that were answered.
    pub(crate) fn answered(&self) -> usize {
        self.answered
    }

    /// Checks that no connection was refused either.
    pub(crate) fn nothing_refused(&self) {
        assert_eq!(self.refused, 0, "kept connections were refused");
    }
}

/// The answers that show that a client goes on.
const MORE: usize = 5;

async fn run(
    address: SocketAddr,
    protocol: Protocol,
    keeps: bool,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
) {
    let is_stopped = || stop.load(Ordering::SeqCst);
    while !is_stopped() {
        let client = Client::connect(address, protocol).await;
        let mut is_new = true;
        while !is_stopped() && (is_new || keeps) {
            let request = Request::get("/bytes/20000").body(Body::empty()).unwrap();
            match within("an answer", client.try_send(request)).await {
                Ok(mut answer) => {
                    assert_eq!(answer.status, 200, "{protocol:?}");
                    let count = answer.count().await;
                    assert!(matches!(count, Ok(20_000)), "{protocol:?}: {count:?}");
                    counts.answered.fetch_add(1, Ordering::SeqCst);
                }
                // The process that drains has closed the connection, or has said that it will.
                Err(_) if !is_new => {
                    counts.refused.fetch_add(1, Ordering::SeqCst);
                    break;
                }
                Err(failure) => panic!("{protocol:?}: the first request: {failure:?}"),
            }
            is_new = false;
        }
    }
}

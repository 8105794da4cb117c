//! [`Orders`]: the way to the supervisor, for signals, commands and the admin API.
//!
//! The supervisor carries orders out one after another. Each order has an answer. The queue is
//! bounded: a client that asks faster than the supervisor works is refused.

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

pub use crate::config::Change;
use crate::config::ConfigErrors;

/// An order to the supervisor.
#[derive(Debug)]
pub enum Order {
    /// Reads the configuration's files again and serves by them.
    Reload,
    /// Serves by this text in place of the present configuration.
    Put {
        /// The configuration, YAML.
        text: String,
        /// The tag that the present configuration must have, if the client names one.
        if_match: Option<String>,
        /// Whether the order only reports the changes that it would make.
        is_dry_run: bool,
    },
    /// Returns to an earlier revision: the one before the present, or a given one.
    Rollback {
        /// The number of the revision.
        revision: Option<u64>,
    },
    /// Finishes the requests in flight, accepts no more, and ends the process.
    Drain,
    /// Starts the binary on disk and hands the listeners over to it.
    Upgrade,
}

/// The outcome of an order that was carried out.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Applied {
    /// The number of the revision that serves, from 1.
    pub revision: u64,
    /// The tag of the configuration that serves, for If-Match (RFC 9110 §8.8.3). Without quotes.
    pub tag: String,
    /// The differences from the configuration before.
    pub changes: Vec<Change>,
    /// Keys that changed and take effect only after a restart.
    pub needs_restart: Vec<String>,
    /// Parts that are allowed and probably a mistake.
    pub warnings: Vec<String>,
}

/// The reason why an order was not carried out. Nothing has changed in that case.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The configuration has faults.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The client's tag is not the present one: another client was faster.
    #[error("the configuration has changed meanwhile: its tag is {0}")]
    Changed(String),
    /// There is no revision to return to.
    #[error("there is no earlier revision")]
    NothingBefore,
    /// No revision has this number.
    #[error("revision {0} is not kept any more")]
    NoRevision(u64),
    /// The order does not apply to this process now.
    #[error("{0}")]
    Refused(String),
    /// The order failed.
    #[error("{0}")]
    Failed(String),
    /// Too many orders wait.
    #[error("too many orders wait")]
    Busy,
    /// The process ends.
    #[error("Weir is shutting down")]
    Ending,
}

/// An order, and the way of its answer.
#[derive(Debug)]
pub struct Errand {
    /// The order.
    pub order: Order,
    /// Takes the answer. The sender may have gone.
    pub answer: oneshot::Sender<Result<Applied, OrderError>>,
}

/// Sends orders to the supervisor. Clones share the queue.
#[derive(Debug, Clone)]
pub struct Orders(mpsc::Sender<Errand>);

impl Orders {
    /// Creates the queue. The supervisor reads the receiver.
    pub fn new() -> (Self, mpsc::Receiver<Errand>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }

    /// Sends an order and waits for its answer. An order that was sent is carried out, even if the
    /// future is dropped.
    ///
    /// # Errors
    ///
    /// [`OrderError`]. Nothing has changed in that case.
    pub async fn send(&self, order: Order) -> Result<Applied, OrderError> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Errand { order, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => OrderError::Busy,
            mpsc::error::TrySendError::Closed(_) => OrderError::Ending,
        })?;
        answered.await.unwrap_or(Err(OrderError::Ending))
    }
}

/// Orders that may wait. Each takes up to some seconds, and their senders are few people and
/// programs.
const WAITING: usize = 16;

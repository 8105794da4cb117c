//! Counters of clients that were cut off, by reason.

use prometheus::IntCounterVec;

use super::Set;
use crate::message::peer::Protocol;

/// Counts clients that were cut off. Clones share the counters.
#[derive(Debug, Clone)]
pub struct Cut(IntCounterVec);

/// The reason for cutting a client off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The connection only kept the server busy: frames without content, reset streams, endless
    /// lines.
    Flood,
    /// The client sent the body of a request below the listener's rate.
    SlowRequest,
    /// The client took a response below the listener's rate.
    SlowResponse,
    /// The client held its share of the connections to an endpoint while these were scarce.
    Share,
}

impl Reason {
    const ALL: [Self; 4] = [Self::Flood, Self::SlowRequest, Self::SlowResponse, Self::Share];

    /// Returns the value of the `reason` label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Flood => "flood",
            Self::SlowRequest => "slow_request",
            Self::SlowResponse => "slow_response",
            Self::Share => "share",
        }
    }
}

impl Cut {
    pub(super) fn register(set: &mut Set) -> Self {
        let counters = set.counters(
            "http_clients_cut_total",
            "Connections and requests that were ended because their client took too much; reason is flood, slow_request, slow_response or share.",
            &["protocol", "reason"],
        );
        for protocol in [Protocol::H1, Protocol::H2, Protocol::H3] {
            for reason in Reason::ALL {
                counters.with_label_values(&[protocol.label(), reason.label()]);
            }
        }
        Self(counters)
    }

    /// Counts one client. Looks the counter up by its labels, which only rare events can afford.
    pub fn count(&self, protocol: Protocol, reason: Reason) {
        self.0.with_label_values(&[protocol.label(), reason.label()]).inc();
    }
}

//! Clients that were cut off, and why.

use prometheus::IntCounterVec;

use super::Set;
use crate::message::peer::Protocol;

/// Counts clients that were cut off. Clones share the counters.
#[derive(Debug, Clone)]
pub struct Cut(IntCounterVec);

/// Why a client was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Its connection only kept the server busy: frames that carry nothing, streams that are reset,
    /// endless lines.
    Flood,
    /// It sent a request's body below the listener's rate.
    SlowRequest,
    /// It took a response below the listener's rate.
    SlowResponse,
    /// It held its share of the connections to an endpoint when these were scarce.
    Share,
}

impl Reason {
    const ALL: [Self; 4] = [Self::Flood, Self::SlowRequest, Self::SlowResponse, Self::Share];

    /// The value of the `reason` label.
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
            "Connections and requests that ended since their client took too much; reason is flood, slow_request, slow_response or share.",
            &["protocol", "reason"],
        );
        for protocol in [Protocol::H1, Protocol::H2, Protocol::H3] {
            for reason in Reason::ALL {
                counters.with_label_values(&[protocol.label(), reason.label()]);
            }
        }
        Self(counters)
    }

    /// Counts one. Looks its counter up by labels: for what is rare.
    pub fn count(&self, protocol: Protocol, reason: Reason) {
        self.0.with_label_values(&[protocol.label(), reason.label()]).inc();
    }
}

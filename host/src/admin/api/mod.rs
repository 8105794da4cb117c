//! The operations.

pub(super) mod configuration;
pub(super) mod endpoints;
pub(super) mod events;
pub(super) mod plugins;
pub(super) mod process;

use std::time::Duration;

use http::StatusCode;
use tokio::time::timeout;

use super::Admin;
use super::refusal::Refusal;
use crate::state::orders::{Applied, Order};

impl Admin {
    /// Sends an order to the supervisor and waits for its answer.
    async fn order(&self, order: Order) -> Result<Applied, Refusal> {
        let answer = timeout(ORDER_TIME, self.reach.orders.send(order)).await;
        let answer = answer.map_err(|_| {
            let reason = "the order is still being carried out; GET /api/status tells the outcome";
            Refusal::new(StatusCode::GATEWAY_TIMEOUT, reason)
        })?;
        Ok(answer?)
    }
}

/// The longest wait for the supervisor. A configuration with many large plugins takes minutes to
/// compile without a cache.
const ORDER_TIME: Duration = Duration::from_secs(300);

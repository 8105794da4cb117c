//! Work that depends on the content of a connection's bytes, and fair turns for other connections.
//!
//! A task that always finds bytes yields to others only when tokio's budget for it is spent, and
//! that budget counts reads. One read can hold thousands of frames or chunk sizes, and each costs
//! as much as a read. [`Effort`] therefore spends the budget for them too.

use std::task::{Context, Poll, ready};

use tokio::task::coop;

/// The work that one connection has caused but not paid for.
#[derive(Debug)]
pub(super) struct Effort {
    owed: usize,
    /// Pieces of work per unit of tokio's budget, which has 128 units for each turn of a task.
    unit: usize,
}

impl Effort {
    pub(super) fn new(unit: usize) -> Self {
        Self { owed: 0, unit: unit.max(1) }
    }

    /// Adds work, which the next turns pay for.
    pub(super) fn add(&mut self, work: usize) {
        self.owed += work;
    }

    /// Completes when the work is paid for. Until then, other tasks of the worker get their turns.
    pub(super) fn poll_paid(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.owed >= self.unit {
            ready!(coop::poll_proceed(cx)).made_progress();
            self.owed -= self.unit;
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn work_gives_others_their_turn() {
        let mut effort = Effort::new(10);
        let mut turns = 0;
        poll_fn(|cx| {
            turns += 1;
            effort.add(if turns == 1 { 10 * 1000 + 9 } else { 0 });
            effort.poll_paid(cx)
        })
        .await;
        assert!((4..=1000).contains(&turns), "1,000 units in {turns} turns");
        assert_eq!(effort.owed, 9, "less than a unit waits for more");
    }
}

//! Slows clients down that present wrong tokens.
//!
//! Only responses to wrong tokens are held back. A right token is answered at once, regardless of
//! earlier guesses from its address. Otherwise any process on this machine could lock the operator
//! out. The delay does not slow a guesser that waits for no response. The defence is a long random
//! token, and the log shows guesses.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use crate::control::network;
use crate::net::Throttle;

/// The time of each client's next response to a wrong token: one in each [`STEP`].
#[derive(Default)]
pub(super) struct Guesses {
    /// The end of the last response's step, by client. An entry with a past time has no effect.
    next: RefCell<HashMap<IpAddr, Instant>>,
    log: Throttle,
    unlogged: Cell<u64>,
}

impl Guesses {
    /// Counts a wrong token, and returns the delay of its response. The delay is zero after a quiet
    /// step, and at most [`MOST`].
    pub(super) fn delay(&self, client: IpAddr) -> Duration {
        self.unlogged.set(self.unlogged.get() + 1);
        if self.log.is_due() {
            let count = self.unlogged.take();
            tracing::warn!(%client, count, "the admin API was given a wrong token");
        }
        self.turn(network(client), Instant::now())
    }

    fn turn(&self, network: IpAddr, now: Instant) -> Duration {
        let mut next = self.next.borrow_mut();
        if next.len() >= CLIENTS && !next.contains_key(&network) {
            next.retain(|_, at| *at > now);
        }
        let is_known = next.len() < CLIENTS || next.contains_key(&network);
        let at = next.entry(if is_known { network } else { OTHERS }).or_insert(now);
        let turn = (*at).max(now);
        *at = (turn + STEP).min(now + MOST);
        turn - now
    }
}

/// The time between two responses. No person mistypes a token more often.
const STEP: Duration = Duration::from_secs(1);

/// The longest delay of a response. Clients give up soon after it.
const MOST: Duration = Duration::from_secs(5);

/// The number of clients with an entry of their own, about 64 KiB. Further clients share one entry.
const CLIENTS: usize = 1024;

/// The entry of further clients.
const OTHERS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + number).into()
    }

    #[test]
    fn wrong_tokens_of_one_client_are_answered_one_a_second() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        let waits: Vec<_> = (0..8).map(|_| guesses.turn(client(1), now).as_secs()).collect();
        assert_eq!(waits, [0, 1, 2, 3, 4, 5, 5, 5]);
        assert_eq!(guesses.turn(client(2), now), Duration::ZERO, "another client");
        assert_eq!(guesses.turn(client(1), now + MOST), Duration::ZERO, "after a quiet time");
        assert_eq!(guesses.turn(client(1), now + MOST + STEP / 2), STEP / 2);
    }

    #[test]
    fn any_number_of_clients_takes_bounded_memory() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        for number in 0..CLIENTS as u32 {
            assert_eq!(guesses.turn(client(number), now), Duration::ZERO);
        }
        let strangers: Vec<_> =
            (0..3).map(|n| guesses.turn(client(1 << 20 | n), now).as_secs()).collect();
        assert_eq!(strangers, [0, 1, 2], "they share a turn");
        assert_eq!(guesses.turn(client(7), now), STEP, "a known one has its own");
        for number in 0..100_000 {
            guesses.turn(client(number), now);
        }
        assert_eq!(guesses.next.borrow().len(), CLIENTS + 1);
        assert_eq!(guesses.turn(client(1 << 21), now + 2 * MOST), Duration::ZERO);
        assert_eq!(guesses.next.borrow().len(), 1, "past steps are forgotten");
    }
}

//! The share of each network in the connections of a pool, so that the clients of one network leave
//! some to others.
//!
//! Each network may use a fixed multiple of the number of free connections. A single network thus
//! stops at its share. The next network gets the same share of the rest, and returned connections
//! are divided evenly. While most of the connections are free, nothing is looked up.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;

use crate::message::peer::Peer;

/// The network of a client: an IPv4 /24, the smallest that is routed by itself, or an IPv6 /56,
/// which most providers assign to one customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network(u64);

impl Network {
    /// Returns the network of an address.
    pub(super) fn of(address: IpAddr) -> Self {
        Self(match address {
            IpAddr::V4(address) => V4 | u64::from(address.to_bits() >> 8),
            IpAddr::V6(address) => V6 | (address.to_bits() >> 72) as u64,
        })
    }
}

/// The client that a connection is wanted for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) peer: &'a Peer,
    /// Whether it wants a tunnel.
    pub(super) is_tunnel: bool,
}

impl Asker<'_> {
    /// Returns the network of the client.
    pub(super) fn network(&self) -> Network {
        Network::of(self.peer.client.ip())
    }
}

/// The networks that use the connections of a pool.
#[derive(Debug)]
pub(super) struct Holders {
    bounds: Cell<Bounds>,
    used: RefCell<Used>,
}

/// The bounds of a pool.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    limit: usize,
    /// Number of connections in use at which the comparison of networks begins.
    scarce: usize,
    /// The connections that a network may use, as a multiple of the free ones.
    times: f64,
}

impl Bounds {
    fn new(limit: usize, share: f64) -> Self {
        let is_bound = share < 1.0;
        let scarce = if is_bound { (limit as f64 * share) as usize } else { usize::MAX };
        let times = if is_bound { share / (1.0 - share) } else { f64::INFINITY };
        Self { limit, scarce, times }
    }
}

/// The reason why a network gets no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PlaceRefused {
    /// All connections are in use, by any networks.
    Full,
    /// Few connections are free, and the network uses its share.
    Share,
}

/// The places of the connections in use, and the network that holds each.
#[derive(Debug, Default)]
struct Used {
    /// Networks by place. [`NOBODY`] marks a free place.
    places: Vec<Network>,
    free: Vec<u32>,
}

impl Holders {
    /// Creates the holders of a pool of `limit` connections. `share` is the part that a single
    /// network may use.
    pub(super) fn new(limit: usize, share: f64) -> Self {
        Self { bounds: Cell::new(Bounds::new(limit, share)), used: RefCell::default() }
    }

    /// Follows the bounds of another configuration. Connections in use stay.
    pub(super) fn adjust(&self, limit: usize, share: f64) {
        self.bounds.set(Bounds::new(limit, share));
    }

    /// Notes that a client of this network uses a connection, and returns its place.
    ///
    /// # Errors
    ///
    /// [`PlaceRefused`] if no connection is free, or the network must leave the rest to others.
    pub(super) fn enter(&self, network: Network) -> Result<u32, PlaceRefused> {
        let used = &mut *self.used.borrow_mut();
        let count = used.places.len() - used.free.len();
        // Below this number no network can exceed its share.
        let bounds = self.bounds.get();
        if count >= bounds.scarce && !bounds.may_enter(used, count, network) {
            return Err(if count >= bounds.limit {
                PlaceRefused::Full
            } else {
                PlaceRefused::Share
            });
        }
        if let Some(place) = used.free.pop() {
            if let Some(free) = used.at(place) {
                *free = network;
            }
            return Ok(place);
        }
        let place = u32::try_from(used.places.len()).map_err(|_| PlaceRefused::Full)?;
        used.places.push(network);
        Ok(place)
    }

    /// Notes that a connection is not used any more.
    pub(super) fn leave(&self, place: u32) {
        let used = &mut *self.used.borrow_mut();
        if let Some(holder) = used.at(place) {
            *holder = NOBODY;
            used.free.push(place);
        }
    }
}

impl Bounds {
    #[cold]
    fn may_enter(self, used: &Used, count: usize, network: Network) -> bool {
        let held = used.places.iter().filter(|holder| **holder == network).count();
        (held as f64) < self.times * self.limit.saturating_sub(count) as f64
    }
}

impl Used {
    fn at(&mut self, place: u32) -> Option<&mut Network> {
        self.places.get_mut(usize::try_from(place).ok()?)
    }
}

const NOBODY: Network = Network(0);
const V4: u64 = 1 << 63;
const V6: u64 = 1 << 62;

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str) -> Network {
        Network::of(address.parse().unwrap())
    }

    /// Returns the number of further connections that a network gets until it is refused.
    fn taken(holders: &Holders, network: Network) -> usize {
        std::iter::from_fn(|| holders.enter(network).ok()).take(10_000).count()
    }

    #[test]
    fn addresses_of_one_network_are_one() {
        assert_eq!(network("192.0.2.1"), network("192.0.2.255"));
        assert_ne!(network("192.0.2.1"), network("192.0.3.1"));
        assert_eq!(network("2001:db8:0:100::1"), network("2001:db8:0:1ff:ffff::"));
        assert_ne!(network("2001:db8:0:100::1"), network("2001:db8:0:200::1"));
        assert_ne!(network("::"), NOBODY);
        assert_ne!(network("0.0.0.0"), network("::"));
    }

    #[test]
    fn a_network_alone_has_its_share_and_leaves_the_rest() {
        let holders = Holders::new(1000, 0.75);
        let (one, other) = (network("192.0.2.1"), network("198.51.100.1"));
        assert_eq!(taken(&holders, one), 750);
        assert!(holders.enter(other).is_ok(), "another is served");
        // The rest is divided in the same way, and returned connections go to the network with the
        // fewest.
        assert_eq!(taken(&holders, other), 187);
        (0..750).for_each(|place| holders.leave(place));
        assert_eq!(taken(&holders, network("203.0.113.1")), 609);
        assert!(holders.enter(one).is_ok());
    }

    #[test]
    fn a_network_that_uses_none_is_not_blamed_for_a_full_pool() {
        let holders = Holders::new(8, 0.5);
        let mut full = Vec::new();
        for number in 0..8 {
            full.push(holders.enter(network(&format!("192.0.{number}.1"))));
        }
        assert!(full.iter().all(Result::is_ok), "{full:?}");
        assert_eq!(holders.enter(network("203.0.113.1")), Err(PlaceRefused::Full));
        holders.leave(0);
        assert!(holders.enter(network("203.0.113.1")).is_ok());
        let holders = Holders::new(8, 0.5);
        assert_eq!(taken(&holders, network("192.0.2.1")), 4);
        assert_eq!(holders.enter(network("192.0.2.1")), Err(PlaceRefused::Share));
    }

    #[test]
    fn what_is_given_back_can_be_used_again() {
        let holders = Holders::new(8, 0.5);
        let network = network("192.0.2.1");
        for _ in 0..100 {
            let places: Vec<_> = std::iter::from_fn(|| holders.enter(network).ok()).collect();
            assert_eq!(places.len(), 4);
            places.into_iter().for_each(|place| holders.leave(place));
        }
        assert_eq!(holders.used.borrow().places.len(), 4);
    }

    #[test]
    fn small_pools_serve_everybody_and_a_whole_share_bounds_nobody() {
        for limit in 1..10 {
            assert!(taken(&Holders::new(limit, 0.01), network("192.0.2.1")) >= 1, "{limit}");
            let holders = Holders::new(limit, 0.75);
            assert!(taken(&holders, network("192.0.2.1")) * 4 >= limit * 3, "{limit}");
        }
        // With a share of 1, only the pool's own limit applies.
        assert_eq!(taken(&Holders::new(10, 1.0), network("192.0.2.1")), 10_000);
    }
}

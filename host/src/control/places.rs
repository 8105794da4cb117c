//! The connections of a control listener. Their number is bounded. A new one gets a place unless a
//! request is at work in every place.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;

use tokio::sync::Notify;

/// Places for a number of connections. Clones share them.
///
/// A connection *waits* while its client has to send or to take something. If all places are taken,
/// the client with the most connections loses its oldest waiting one. One client cannot keep
/// another out. Several clients together push out only each other's oldest connections. A
/// connection with a request at work does not wait, and it keeps its place.
#[derive(Clone)]
pub(super) struct Places {
    limit: usize,
    taken: Rc<RefCell<Taken>>,
}

#[derive(Default)]
struct Taken {
    next: u64,
    /// Connections by age.
    open: BTreeMap<u64, Open>,
}

struct Open {
    network: IpAddr,
    waits: bool,
    lost: Rc<Notify>,
}

impl Places {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, taken: Rc::default() }
    }

    /// Whether a new connection takes the place of another.
    pub(super) fn is_full(&self) -> bool {
        self.taken.borrow().open.len() >= self.limit
    }

    /// Takes a place for a connection of `client`. Returns `None` if every place is at work.
    pub(super) fn take(&self, client: IpAddr) -> Option<ConnectionPlace> {
        let network = network(client);
        if self.is_full() && !self.taken.borrow_mut().close_one(Some(network)) {
            return None;
        }
        let mut taken = self.taken.borrow_mut();
        let (number, lost) = (taken.next, Rc::<Notify>::default());
        taken.next += 1;
        taken.open.insert(number, Open { network, waits: true, lost: Rc::clone(&lost) });
        let answered = Notify::new();
        Some(ConnectionPlace { number, lost, answered, places: self.clone() })
    }

    /// Closes a connection that waits, if there is one.
    pub(super) fn make_room(&self) {
        self.taken.borrow_mut().close_one(None);
    }
}

impl Taken {
    /// Closes a waiting connection of the client with the most connections. Returns false if there
    /// is none.
    fn close_one(&mut self, newcomer: Option<IpAddr>) -> bool {
        let mut counts = HashMap::<IpAddr, usize>::new();
        for network in self.open.values().map(|open| open.network).chain(newcomer) {
            *counts.entry(network).or_default() += 1;
        }
        // The order is from the youngest to the oldest: of equals `max_by_key` takes the last,
        // which is the oldest.
        let waiting = self.open.iter().rev().filter(|(_, open)| open.waits);
        let most = waiting.max_by_key(|(_, open)| counts.get(&open.network));
        let Some(number) = most.map(|(number, _)| *number) else { return false };
        if let Some(open) = self.open.remove(&number) {
            open.lost.notify_one();
        }
        true
    }
}

/// The place of one connection. Dropping it gives the place back.
pub(super) struct ConnectionPlace {
    number: u64,
    lost: Rc<Notify>,
    answered: Notify,
    places: Places,
}

impl ConnectionPlace {
    /// Marks the request as at work. No other connection gets the place.
    pub(super) fn hold(&self) {
        self.set_waits(false);
    }

    /// Marks the connection as waiting for its client. A new connection may get the place.
    pub(super) fn release(&self) {
        self.set_waits(true);
    }

    /// Notes that the response is on its way.
    pub(super) fn set_answered(&self) {
        self.answered.notify_one();
    }

    /// Completes once the response is on its way. Cancel safe.
    pub(super) async fn answered(&self) {
        self.answered.notified().await;
    }

    /// Completes when another connection has got the place. Cancel safe.
    pub(super) async fn lost(&self) {
        self.lost.notified().await;
    }

    fn set_waits(&self, waits: bool) {
        if let Some(open) = self.places.taken.borrow_mut().open.get_mut(&self.number) {
            open.waits = waits;
        }
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.places.taken.borrow_mut().open.remove(&self.number);
    }
}

/// Returns the network that counts as one client: one IPv4 address, or an IPv6 /64, as a host has
/// all addresses of it.
pub(crate) fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn client(last: u8) -> IpAddr {
        [127, 0, 0, last].into()
    }

    fn is_lost(place: &ConnectionPlace) -> bool {
        place.lost().now_or_never().is_some()
    }

    #[test]
    fn the_client_with_the_most_loses_its_oldest() {
        let places = Places::new(4);
        let few = places.take(client(1)).unwrap();
        let many: Vec<_> = (0..3).map(|_| places.take(client(2)).unwrap()).collect();
        assert!(places.is_full());
        let newcomer = places.take(client(3)).unwrap();
        let lost: Vec<_> = many.iter().map(is_lost).collect();
        assert_eq!(lost, [true, false, false]);
        assert!(!is_lost(&few) && !is_lost(&newcomer));
        // A lost place is not given back twice.
        drop(many);
        assert_eq!(places.taken.borrow().open.len(), 2);
    }

    #[test]
    fn of_equal_clients_the_oldest_connection_goes() {
        let places = Places::new(3);
        let all: Vec<_> = (0..30).map(|last| places.take(client(last)).unwrap()).collect();
        let lost = all.iter().filter(|place| is_lost(place)).count();
        assert_eq!((lost, places.taken.borrow().open.len()), (27, 3));
        assert!(
            all.iter().skip(27).all(|place| places.taken.borrow().open.contains_key(&place.number))
        );
    }

    #[test]
    fn a_newcomer_s_own_client_counts_it_too() {
        let places = Places::new(2);
        let (other, own) = (places.take(client(1)).unwrap(), places.take(client(2)).unwrap());
        let newcomer = places.take(client(2)).unwrap();
        assert!(is_lost(&own) && !is_lost(&other) && !is_lost(&newcomer));
    }

    #[test]
    fn a_request_at_work_keeps_its_place() {
        let places = Places::new(2);
        let (busy, silent) = (places.take(client(1)).unwrap(), places.take(client(1)).unwrap());
        busy.hold();
        let next = places.take(client(1)).unwrap();
        assert!(is_lost(&silent) && !is_lost(&busy));
        next.hold();
        assert!(places.take(client(2)).is_none(), "both are at work");
        busy.release();
        assert!(places.take(client(2)).is_some());
        assert!(is_lost(&busy));
    }

    #[test]
    fn room_is_made_without_a_newcomer_too() {
        let places = Places::new(8);
        places.make_room();
        let (busy, silent) = (places.take(client(1)).unwrap(), places.take(client(1)).unwrap());
        busy.hold();
        places.make_room();
        places.make_room();
        assert!(is_lost(&silent) && !is_lost(&busy));
    }

    #[test]
    fn a_network_is_an_address_of_ipv4_and_a_64_of_ipv6() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
        assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}

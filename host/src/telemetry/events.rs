//! [`Events`]: the changes inside a process, for programs that follow them over the admin API.
//!
//! The last events stay in a ring. A subscription is a position in it. A reader that falls behind
//! loses the events that left the ring and hears of the loss. The ring is the only queue: readers
//! cost no memory of their own, and an emitter waits for none of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde_json::Value;
use tokio::sync::watch;

/// A change that operators may want to hear of.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The kind, one of [`KINDS`].
    pub kind: &'static str,
    /// The details, an object. They must hold no secret.
    pub data: Value,
}

/// An event with its number and its time.
#[derive(Debug, PartialEq)]
pub struct Emitted {
    /// The number since the start of the process, from 1.
    pub number: u64,
    /// The time of the event.
    pub at: SystemTime,
    /// The event.
    pub event: Event,
}

/// The events of a process. Clones share them.
#[derive(Debug, Clone)]
pub struct Events(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Distinguishes the numbers of this process from those of another.
    epoch: u64,
    ring: Mutex<Ring>,
    /// The number of the last event. It wakes readers.
    last: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    last: u64,
    kept: VecDeque<Arc<Emitted>>,
}

/// A reader's position in the events.
#[derive(Debug)]
pub struct Subscription {
    events: Events,
    woken: watch::Receiver<u64>,
    /// The number of the last event that was read.
    read: u64,
    /// Whether the reader has missed events of an earlier process.
    is_foreign: bool,
}

/// The next item for a reader.
#[derive(Debug, PartialEq)]
pub enum Next {
    /// An event.
    Event(Arc<Emitted>),
    /// Events were lost: their number, if it is known.
    Lost(Option<u64>),
}

/// Every kind of event.
pub const KINDS: [&str; 8] =
    ["reload", "swap", "trial", "health", "certificate", "drain", "upgrade", "discovery"];

impl Default for Events {
    fn default() -> Self {
        let ring = Mutex::new(Ring::default());
        Self(Arc::new(Shared { epoch: rand::random(), ring, last: watch::Sender::new(0) }))
    }
}

impl Events {
    /// Emits an event. Never waits for a reader.
    pub fn emit(&self, event: Event) {
        let number = {
            let mut ring = self.ring();
            let number = ring.last + 1;
            ring.last = number;
            if ring.kept.len() == KEPT {
                ring.kept.pop_front();
            }
            ring.kept.push_back(Arc::new(Emitted { number, at: SystemTime::now(), event }));
            number
        };
        // Two emitters may come here in either order, and readers need the later number.
        self.0.last.send_if_modified(|last| {
            let is_later = *last < number;
            *last = number.max(*last);
            is_later
        });
    }

    /// Subscribes to the events from now on, or to those after the event with the id `last`. An id
    /// of another process, or text that is no id, counts as a loss, and every kept event follows.
    pub fn subscribe(&self, last: Option<&str>) -> Subscription {
        let woken = self.0.last.subscribe();
        let newest = self.ring().last;
        let known = last.map(|id| self.number(id).filter(|number| *number <= newest));
        let (read, is_foreign) = match known {
            None => (newest, false),
            Some(Some(number)) => (number, false),
            Some(None) => (0, true),
        };
        Subscription { events: self.clone(), woken, read, is_foreign }
    }

    /// Returns the id of an event for [`Events::subscribe`]. It is unique among processes.
    pub fn id(&self, number: u64) -> String {
        format!("{:016x}-{number}", self.0.epoch)
    }

    fn number(&self, id: &str) -> Option<u64> {
        let (epoch, number) = id.split_once('-')?;
        let is_own = u64::from_str_radix(epoch, 16) == Ok(self.0.epoch);
        number.parse().ok().filter(|_| is_own)
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // A panic inside leaves the ring whole: the event is there or not.
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    /// Returns the next event, or a loss. Waits until there is one. Cancel safe.
    pub async fn next(&mut self) -> Next {
        loop {
            self.woken.borrow_and_update();
            if let Some(next) = self.take() {
                return next;
            }
            // The sender lives in `events`, so this never fails.
            let _ = self.woken.changed().await;
        }
    }

    fn take(&mut self) -> Option<Next> {
        let ring = self.events.ring();
        if std::mem::take(&mut self.is_foreign) {
            // All that is kept follows: none of it counts as lost once more.
            self.read = ring.kept.front().map_or(ring.last, |first| first.number - 1);
            return Some(Next::Lost(None));
        }
        let first = ring.kept.front()?.number;
        let lost = first.saturating_sub(self.read + 1);
        if lost > 0 {
            self.read = first - 1;
            return Some(Next::Lost(Some(lost)));
        }
        let at = usize::try_from(self.read + 1 - first).ok()?;
        let event = Arc::clone(ring.kept.get(at)?);
        self.read = event.number;
        Some(Next::Event(event))
    }
}

/// Events for replay. A client that reconnects after some seconds misses none, also while a reload
/// of a hundred upstreams emits one for each. They take some 100 KiB.
pub const KEPT: usize = 256;

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use serde_json::json;

    use super::*;

    fn emit(events: &Events, count: u64) {
        for _ in 0..count {
            events.emit(Event { kind: "health", data: json!({}) });
        }
    }

    /// Returns the numbers of the events that are there, and losses as negative numbers.
    fn read(subscription: &mut Subscription) -> Vec<i64> {
        let mut read = Vec::new();
        while let Some(next) = subscription.next().now_or_never() {
            read.push(match next {
                Next::Event(event) => event.number as i64,
                Next::Lost(lost) => lost.map_or(i64::MIN, |lost| -(lost as i64)),
            });
        }
        read
    }

    #[test]
    fn a_reader_gets_the_events_after_its_subscription_in_order() {
        let events = Events::default();
        emit(&events, 2);
        let mut now = events.subscribe(None);
        assert!(read(&mut now).is_empty());
        emit(&events, 3);
        assert_eq!(read(&mut now), [3, 4, 5]);
        assert_eq!(read(&mut events.subscribe(Some(&events.id(2)))), [3, 4, 5]);
        assert!(read(&mut events.subscribe(Some(&events.id(5)))).is_empty());
    }

    #[tokio::test]
    async fn a_waiting_reader_wakes_up() {
        let events = Events::default();
        let mut subscription = events.subscribe(None);
        let next = subscription.next();
        tokio::pin!(next);
        assert!(futures_util::poll!(&mut next).is_pending());
        emit(&events, 1);
        assert!(matches!(next.await, Next::Event(event) if event.number == 1));
    }

    #[test]
    fn a_slow_reader_loses_the_oldest_events_and_hears_how_many() {
        let events = Events::default();
        let mut slow = events.subscribe(None);
        emit(&events, KEPT as u64 + 10);
        let got = read(&mut slow);
        assert_eq!((got[0], got[1], got.len()), (-10, 11, KEPT + 1));
        assert_eq!(got.last(), Some(&(KEPT as i64 + 10)));
        emit(&events, 1);
        assert_eq!(read(&mut slow), [KEPT as i64 + 11]);
    }

    #[test]
    fn an_id_of_another_process_is_a_loss_and_all_kept_events_follow() {
        let (events, other) = (Events::default(), Events::default());
        emit(&events, 2);
        emit(&other, 1);
        for id in [other.id(1).as_str(), "", "1", "x-1", &events.id(3)] {
            assert_eq!(read(&mut events.subscribe(Some(id))), [i64::MIN, 1, 2], "{id:?}");
        }
        emit(&events, KEPT as u64);
        let got = read(&mut events.subscribe(Some("x")));
        assert_eq!((got[0], got[1], got.len()), (i64::MIN, 3, KEPT + 1));
    }
}

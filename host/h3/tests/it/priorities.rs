//! Priorities (RFC 9218): by field and by PRIORITY_UPDATE.

use weir_h3::{Config, Priority};

use super::client::Outcome::Status;
use super::run;
use super::server::{Pair, connect};
use super::wire::*;

fn priority(urgency: u8, incremental: bool) -> Priority {
    Priority { urgency, incremental }
}

impl Pair {
    async fn update(&mut self, id: u64, value: &str) {
        self.client.say(PRIORITY_REQUEST, &[&varint(id)[..], value.as_bytes()].concat()).await;
    }

    fn priority(&self, id: u64) -> Priority {
        self.log.priorities.borrow()[&id]
    }
}

#[test]
fn the_field_sets_the_priority() {
    run(async {
        let pair = connect(Config::default()).await;
        for (id, (value, expected)) in (0..).step_by(4).zip([
            ("u=1, i", priority(1, true)),
            ("u=0", priority(0, false)),
            ("u=9, x=7", Priority::default()),
            ("", Priority::default()),
        ]) {
            let request = post("/", &[("priority", value)]);
            assert_eq!(pair.client.outcome(request).await, Status(200));
            assert_eq!(pair.priority(id), expected, "{value:?}");
        }
    });
}

/// RFC 9218 §7.1: updates may come before the request, and the last one counts.
#[test]
fn an_update_may_come_before_the_request() {
    run(async {
        let mut pair = connect(Config::default()).await;
        pair.update(8, "u=7").await;
        pair.update(8, "u=2, i").await;
        pair.update(4 * 127, "u=0").await;
        pair.client.assert_serves().await;
        pair.client.assert_serves().await;
        let request = post("/", &[("priority", "u=5")]);
        assert_eq!(pair.client.outcome(request).await, Status(200));
        assert_eq!(pair.priority(8), priority(2, true), "the update overrides the field");
        assert_eq!(pair.priority(0), Priority::default());
    });
}

#[test]
fn an_update_may_come_after_the_request() {
    run(async {
        let mut pair = connect(Config::default()).await;
        let mut waiting = pair.client.send(post("/wait", &[("priority", "u=5")])).await;
        pair.log.until(|log| log.heads.borrow().first().map(|_| ())).await;
        pair.update(0, "u=0, i").await;
        // Its effect is visible once later bytes of the control stream have an effect.
        pair.client.say(GOAWAY, &[0]).await;
        while !pair.handle.is_client_going() {
            pair.client.assert_serves().await;
        }
        pair.log.release.notify_one();
        assert_eq!(waiting.outcome().await, Status(200));
        assert_eq!(pair.priority(0), priority(0, true));
        // An update for a request that is over changes nothing.
        pair.update(0, "u=1").await;
        pair.client.assert_serves().await;
    });
}

#[test]
fn urgent_responses_come_first() {
    run(async {
        let pair = connect(Config::default()).await;
        let mut streams = Vec::new();
        for value in ["u=6", "u=7", "u=1", "u=4"] {
            streams.push(pair.client.send(post("/bulk", &[("priority", value)])).await);
        }
        pair.log.until(|log| log.heads.borrow().get(3).map(|_| ())).await;
        tokio::task::yield_now().await;
        pair.log.release.notify_waiters();
        let order = std::cell::RefCell::new(Vec::new());
        let reading = streams.into_iter().zip([6, 7, 1, 4]).map(|(mut stream, urgency)| {
            let order = &order;
            async move {
                assert_eq!(stream.answer().await.unwrap().body.len(), 1 << 20);
                order.borrow_mut().push(urgency);
            }
        });
        futures_util::future::join_all(reading).await;
        assert_eq!(order.into_inner(), [1, 4, 6, 7]);
    });
}
